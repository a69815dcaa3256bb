"""Families of dense convs some of whose numbers are not free: sparse, of two values, or zero at most input channels."""
