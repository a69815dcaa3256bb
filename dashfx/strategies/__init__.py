"""Search strategies, gradient and black-box: their base, the engine that trains mixtures, and their parts.

Imports cost, blackbox, ops, train.
"""
