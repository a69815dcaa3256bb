"""Copies of a user's model: what its convs, hooks and closures refer to is carried over."""
