"""Targets, what y means: classes, labels or numbers to regress; and classes matched by name to those of a model.

Imports only the rest of data and what data may import.
"""

from dashfx.data.targets.names import renumbered
from dashfx.data.targets.read import Targets, read_targets

__all__ = ["Targets", "read_targets", "renumbered"]
