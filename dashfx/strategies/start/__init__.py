"""Starts of a search: what is known or measured before a supernet is trained."""
