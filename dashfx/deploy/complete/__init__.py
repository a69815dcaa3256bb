"""Complete files: ONNX files that take raw rows, or give probabilities and labels, in one graph with the model."""
