"""Gates on channels: which of them a narrower model keeps, learned while it is trained."""

from typing import Any

from dashfx.ops.gates.base import Gate
from dashfx.ops.gates.channels import ChannelGates, GatedChannels
from dashfx.ops.gates.sigmoid import SigmoidGates
from dashfx.ops.gates.taylor import Taylor
from dashfx.ops.gates.trainable import TrainableGate, trainable_gate

GATES: dict[str, Any] = {"taylor": Taylor, "trainable": TrainableGate, "sigmoid": SigmoidGates}

__all__ = [
    "GATES",
    "ChannelGates",
    "Gate",
    "GatedChannels",
    "SigmoidGates",
    "Taylor",
    "TrainableGate",
    "trainable_gate",
]
