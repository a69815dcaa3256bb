"""Half precision: a float ONNX file goes in; a checked fp16 file for GPUs, of float32 inputs and outputs, comes out."""
