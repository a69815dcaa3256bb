"""Autotuning: times and memory of each algorithm, measured or estimated, the choice, and the table.

Imports ops but not fourier.
"""
