"""Searches on tables of trained networks: spaces and their values, black boxes, gradient methods, and their report."""
