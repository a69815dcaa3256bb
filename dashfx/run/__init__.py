"""A run: its inputs, session and ledger, its folder, preflight checks and result.

Imports all rooms from errors to tune.
"""
