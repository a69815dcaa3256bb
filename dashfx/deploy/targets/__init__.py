"""Execution providers of ONNX Runtime: what they take of a file, settings that suit them, and files bound to one."""
