"""Splits of rows: disjoint parts drawn by a seed, folds of them, and two parts joined again."""
