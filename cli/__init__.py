"""The command line: one file a verb, the options that they share, and `render`, the only place that prints."""

import time

BEGAN = time.perf_counter()  # when a user began to wait: before anything large is imported
