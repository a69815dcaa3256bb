"""Engines: supernets in training, their derivatives, what may change on the way, and rows held out from the weights."""

from dashfx.strategies.engine.changes import CHANGEABLE
from dashfx.strategies.engine.derivatives import Derivatives
from dashfx.strategies.engine.engine import Engine, mixing
from dashfx.strategies.engine.held_out import hold_out

__all__ = ["CHANGEABLE", "Derivatives", "Engine", "hold_out", "mixing"]
