"""The amended gradient against its closed form and against explicit matrices."""

from __future__ import annotations

import pytest
import torch
from bilevel import Bilevel
from smooth import batch, smooth
from torch import Tensor, nn
from toys import CLASSES

from dashfx.strategies.updates import Amended


@pytest.mark.parametrize("eta", [0.1, 0.25])
def test_it_comes_to_its_closed_form(eta: float) -> None:
    assert Bilevel(Amended(eta)).fit() == pytest.approx((2 / (1 + 4 * eta),) * 2, abs=1e-4)


class OneConv(nn.Module):
    """So few weights that their matrix is small."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv1d(2, 1, 3, padding=1), nn.Linear(1, CLASSES)
        self.fc.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(nn.functional.gelu(self.conv(x)).square().mean(-1))


def test_the_gradient_is_that_of_explicit_matrices() -> None:
    """d2L/da dw and d2L/dw2 row by row."""
    made, train, valid = smooth(update=Amended(0.3), net=OneConv()), batch(1, 1), batch(1, 2)
    made.begin_epoch(0, 3)
    found = torch.cat(made.update.gradient(made, train, valid))
    made.begin_epoch(0, 3)
    slopes = made.gradients(made.loss(valid), [*made.alphas, *made.learning])
    direct, v = slopes[0], torch.cat([each.flatten() for each in slopes[1:]])
    coef = made.coefficients()
    first = made.gradients(made.loss(train, coef=coef), made.learning, create_graph=True)
    rows = torch.cat([each.flatten() for each in first])
    both = [torch.autograd.grad(row, [*made.learning, *made.alphas], retain_graph=True) for row in rows]
    curved = torch.stack([torch.cat([each.flatten() for each in row[:-1]]) for row in both])
    mixed = torch.stack([row[-1] for row in both])
    torch.testing.assert_close(found, direct - 0.3 * mixed.T @ curved @ v, rtol=1e-8, atol=1e-12)
