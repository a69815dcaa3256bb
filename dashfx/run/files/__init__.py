"""Files of a run's folder: its lock, checks of its path, and paths that stay right when it is moved."""
