"""Surrogate searches: what a predictor makes of the genomes so far decides which are evaluated next."""
