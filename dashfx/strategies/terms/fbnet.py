"""Penalties on the expected cost of a whole network: FBNet's, and the one of its best-known third-party code.

Wu et al., "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search", CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from accelerate.utils import convert_to_fp32
from torch import Tensor

from dashfx.plugins import Positive
from dashfx.strategies.expected import Expected, expected_cost_of
from dashfx.strategies.terms.base import Moment, Term

if TYPE_CHECKING:
    from dashfx.strategies.engine import Engine

PARTS = 1000.0  # of the untouched model's cost, in which E is counted: the logarithm wants numbers well above 1


@dataclass
class OfNetwork(Term):
    """A function of E / E_untouched, E the expected cost of the whole network.

    Args:
        cost: of a whole network, as budgets name it.
    """

    cost: str = "latency"
    row: ClassVar[str] = "104"
    expected: Expected | None = field(default=None, init=False, repr=False, compare=False)

    def begin(self, engine: Engine) -> None:
        self.expected = expected_cost_of(engine, self.cost)

    def share(self, now: Moment) -> Tensor:
        """E / E_untouched, a scalar with gradient."""
        assert self.expected is not None  # `begin` comes first
        return self.expected(now.coef) / self.expected.untouched


@dataclass
class CostLog(OfNetwork):
    """The loss becomes L * scale * log(E)^power (eq. 2), by the term L * (scale * log(E)^power - 1).

    The paper counts E in microseconds of its phone; here it is counted in thousandths of the untouched model's cost,
    and an E below two of them counts as two. Other terms are added beside it.
    """

    scale: Positive = 0.2
    power: Positive = 0.6
    paper: ClassVar[str] = "Wu et al., FBNet, CVPR 2019"

    def __call__(self, now: Moment) -> Tensor:
        loss = now.engine.task.loss(convert_to_fp32(now.output), now.batch[1])
        return loss * (self.scale * (PARTS * self.share(now)).clamp(min=2.0).log() ** self.power - 1)


@dataclass
class CostPower(OfNetwork):
    """weight * (E / E_untouched)^power, added: the third-party form, in shares of the untouched model's cost.

    So the weight means the same on every machine; that code's .2 and .6 are for milliseconds of one phone.
    """

    weight: float = 0.2
    power: Positive = 0.6
    paper: ClassVar[str] = "Wu et al., FBNet, CVPR 2019 (third-party code)"

    def __call__(self, now: Moment) -> Tensor:
        return self.share(now) ** self.power
