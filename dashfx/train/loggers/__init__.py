"""Loggers of scalars: what a run tells of its epochs goes to TensorBoard, MLflow or Weights & Biases, each an extra."""
