"""Ensemble: the best trained models of a run averaged into one, and a single model that learns from the average."""
