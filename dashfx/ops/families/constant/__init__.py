"""Families without parameters, whose kernels are constant: skips, zeros and average pools."""
