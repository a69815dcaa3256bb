"""The algorithms that compute an aggregated conv, by name."""

from dashfx.ops.algorithms.base import Algorithm
from dashfx.ops.algorithms.grouped_dilation import GroupedDilation
from dashfx.ops.algorithms.mixed_results import MixedResults
from dashfx.ops.algorithms.mixed_weights import MixedWeights
from dashfx.ops.algorithms.polyphase import Polyphase
from dashfx.ops.fourier.algorithm import Fourier

ALGORITHMS: dict[str, Algorithm] = {
    "mixed_results": MixedResults(),
    "mixed_weights": MixedWeights(),
    "grouped_dilation": GroupedDilation(),
    "polyphase": Polyphase(),
    "fourier": Fourier(),
    "fourier_recompute": Fourier(recompute=True),
}

__all__ = ["ALGORITHMS", "Algorithm", "Fourier", "GroupedDilation", "MixedResults", "MixedWeights", "Polyphase"]
