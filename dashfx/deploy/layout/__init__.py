"""Rewritings of an ONNX graph to forms that ONNX Runtime's CPU kernels compute faster, and the choice among them."""
