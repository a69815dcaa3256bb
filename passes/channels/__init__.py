"""Channel dependency analysis: which modules have to change together where a conv gets other channels, and how."""

from dashfx.passes.channels.axes import Axis, Group, Segment
from dashfx.passes.channels.follow import Channels, follow
from dashfx.passes.channels.resize import blocks, resize

__all__ = ["Axis", "Channels", "Group", "Segment", "blocks", "follow", "resize"]
