"""Gradient strategies: the engine that trains mixtures, and its updates, monitors, rules.

Imports cost, blackbox, ops, train.
"""
