"""Latency in ONNX Runtime: models timed in turn, tables of convs and candidates, and sums that are corrected."""

from dashfx.cost.latency.measure import Figures, Latency, Place, compare, latencies, written

__all__ = ["Figures", "Latency", "Place", "compare", "latencies", "written"]
