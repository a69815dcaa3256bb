"""Stages of the pipeline, one a file, by the stage's name.

Imports report, run and what they may; only pipeline and cli import it.
"""
