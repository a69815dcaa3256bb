"""Deployment: ONNX files written, repaired, run and verified, and the loader of a run's weights.

Imports frontend, ops and what they may.
"""
