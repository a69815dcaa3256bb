"""Strategies that train mixtures, rules that pick from them, and what choices cost."""
