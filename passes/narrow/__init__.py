"""Narrower models: which channels depend on each other, which may leave, and the pass that removes them."""

from dashfx.passes.narrow.channels import Channels, Group, along, masked, read_channels
from dashfx.passes.narrow.narrow import Narrow, channels_of, narrowed
from dashfx.passes.narrow.parts import Part

__all__ = ["Channels", "Group", "Narrow", "Part", "along", "channels_of", "masked", "narrowed", "read_channels"]
