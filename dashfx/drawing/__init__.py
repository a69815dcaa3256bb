"""Drawing: kernels as pictures and fragments of HTML, for reports and notebooks.

Knows options (`dashfx.space`) only.
"""
