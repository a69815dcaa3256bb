"""The Fourier path: an aggregated conv, or a plain one, as a product of spectra.

Imports geometry and algorithms' base of ops.
"""
