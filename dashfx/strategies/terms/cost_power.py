"""FBNet's penalty as its best-known third-party code has it: a power of the expected cost is added to the loss.

Wu et al., "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search", CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from dashfx.plugins import Positive
from dashfx.strategies.expected import Expected, expected_cost_of
from dashfx.strategies.terms.base import Moment, Term

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine


@dataclass
class CostPower(Term):
    """weight * (E / E_untouched)^power, added: the third-party form, in shares of the untouched model's cost.

    So the weight means the same on every machine; that code's .2 and .6 are for milliseconds of one phone.

    Args:
        cost: of a whole network, as budgets name it.
    """

    cost: str = "latency"
    weight: float = 0.2
    power: Positive = 0.6
    paper: ClassVar[str] = "Wu et al., FBNet, CVPR 2019 (third-party code)"
    row: ClassVar[str] = "104"
    expected: Expected | None = field(default=None, init=False, repr=False, compare=False)

    def begin(self, engine: Engine) -> None:
        self.expected = expected_cost_of(engine, self.cost)

    def __call__(self, now: Moment) -> Tensor:
        assert self.expected is not None  # `begin` comes first
        return (self.expected(now.coef) / self.expected.untouched) ** self.power
