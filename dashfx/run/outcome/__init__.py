"""Outcome of a run in facts: where each finalist stands, which is kept and why, and what an average is worth."""
