"""Search of widths: gates are trained with the weights of a model, and channels leave until its budgets are held."""

from dashfx.strategies.widths.costs import WidthCost
from dashfx.strategies.widths.gated import Gated, Pruned
from dashfx.strategies.widths.strategy import Narrowing

__all__ = ["Gated", "Narrowing", "Pruned", "WidthCost"]
