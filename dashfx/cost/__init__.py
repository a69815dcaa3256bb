"""Costs of a choice and of a network: parameters, multiply-adds, measured latency.

Imports ops, deploy and what they may.
"""
