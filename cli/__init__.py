"""The command line: one file a verb, the options that they share, and `render`, the only place that prints."""
