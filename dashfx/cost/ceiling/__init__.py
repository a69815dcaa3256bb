"""What a supernet costs beside its model, counted before it is built, and the options that leave under a ceiling."""
