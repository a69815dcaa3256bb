"""Names of what a user has not named: the folders of runs."""
