"""Methods on the command line: the option that names one, and the tables that show them and compare them."""
