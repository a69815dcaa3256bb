"""ParZC's predictor: a network that learns the order of values, with dropout that stays on for its spread.

Dong et al., "ParZC: Parametric Zero-Cost Proxies for Efficient NAS", 2024; the spread after Gal and Ghahramani,
"Dropout as a Bayesian Approximation", ICML 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dashfx.blackbox.predictors.base import Fitted, Predicted, Predictor
from dashfx.blackbox.predictors.networks.nets import Nets, trained
from dashfx.plugins import Count, Positive

PASSES = 20  # with dropout, for the spread


@dataclass(frozen=True)
class Ranking(Predictor):
    """A network trained by `diff_kendall`; its scores are brought to the values' unit by a line of least squares.

    Args:
        sharpness: beta of the loss, for values and scores in deviations.
        dropout: share of hidden units that are left out at a time; the spread is the deviation over such passes.
    """

    hidden: Count = 32
    steps: Count = 150
    sharpness: Positive = 2.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    has_spread: ClassVar[bool] = True
    paper: ClassVar[str] = "Dong et al., ParZC: Parametric Zero-Cost Proxies for Efficient NAS, 2024"
    row: ClassVar[str] = "72"

    def fit(self, x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
        return Ordered(self, x, y, seed)


def diff_kendall(found: Tensor, y: Tensor, sharpness: float) -> Tensor:
    """Mean over pairs of tanh(beta dx / 2) tanh(beta dy / 2): Kendall's tau for beta to infinity, without ties.

    Args:
        found, y: (n,), of 2 or more; with gradient in `found`.
    """
    a, b = torch.triu_indices(len(y), len(y), 1)
    pairs = torch.tanh(sharpness / 2 * (found[a] - found[b])) * torch.tanh(sharpness / 2 * (y[a] - y[b]))
    return pairs.mean()


class Ordered(Fitted):
    """A trained network and the line from its scores to values."""

    def __init__(self, settings: Ranking, x: np.ndarray, y: np.ndarray, seed: int) -> None:
        self._scaler, self._seed = StandardScaler().fit(x), seed
        target = torch.from_numpy((y - y.mean()) / (y.std() or 1.0))[:, None]
        nets = Nets(x.shape[1], settings.hidden, 1, torch.Generator().manual_seed(seed), dropout=settings.dropout)
        rows = torch.from_numpy(self._scaler.transform(x))
        self._nets = trained(
            nets, rows, target, settings.steps, loss=lambda f, t: -diff_kendall(f[0, :, 0], t[:, 0], settings.sharpness)
        )
        scores, self._slope = self._scores(x), 0.0
        if scores.std() > 0:
            self._slope = float(((scores - scores.mean()) * (y - y.mean())).mean() / scores.var())
        self._offset = float(y.mean() - self._slope * scores.mean())

    def mean(self, x: np.ndarray) -> np.ndarray:
        return self._scores(x) * self._slope + self._offset

    @torch.no_grad()
    def predict(self, x: np.ndarray) -> Predicted:
        """Dropout is drawn alike at every call."""
        rows = torch.from_numpy(self._scaler.transform(x)).expand(PASSES, -1, -1)
        self._nets.generator.manual_seed(self._seed)
        spread = self._nets.train()(rows)[..., 0].std(0).numpy() * abs(self._slope)
        self._nets.eval()
        return Predicted(self.mean(x), spread)

    @torch.no_grad()
    def _scores(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._nets(torch.from_numpy(self._scaler.transform(x)))[0, :, 0].numpy()
        return found
