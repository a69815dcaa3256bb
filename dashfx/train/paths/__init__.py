"""Regularisation of residual paths while a plain model is trained."""

from dashfx.train.paths.drop import DropPaths, residual_paths

__all__ = ["DropPaths", "residual_paths"]
