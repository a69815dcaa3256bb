"""Strategies that evaluate genotypes one by one, with their cache and their limits."""
