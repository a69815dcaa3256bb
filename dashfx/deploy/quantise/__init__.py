"""Post-training quantisation: a float ONNX file and training rows go in; a checked int8 file comes out."""
