"""Texts of ONNX files, and numbers made of them: what a predictor of any network's worth can read."""
