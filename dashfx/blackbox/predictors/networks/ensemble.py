"""BANANAS: an ensemble of networks, whose disagreement is the spread of what it predicts.

White, Neiswanger and Savani, "BANANAS: Bayesian Optimization with Neural Architectures for NAS", AAAI 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dashfx.blackbox.predictors.base import Fitted, Predicted, Predictor
from dashfx.blackbox.predictors.networks.nets import Nets, trained
from dashfx.errors import ConfigError
from dashfx.plugins import Count


@dataclass(frozen=True)
class Ensemble(Predictor):
    """Networks that differ in their first weights alone: their mean, and their deviation as the spread.

    After the paper, whose loss is a relative error; values may be 0 here, so it is the square.

    Args:
        networks: 2 at least.
        hidden: units of each of two layers.
        steps: of training, each on all rows.

    Raises:
        ConfigError: fewer than 2 networks.
    """

    networks: Count = 5
    hidden: Count = 32
    steps: Count = 100
    has_spread: ClassVar[bool] = True
    paper: ClassVar[str] = "White et al., BANANAS: Bayesian Optimization with Neural Architectures for NAS, AAAI 2021"
    row: ClassVar[str] = "X6"

    def __post_init__(self) -> None:
        if self.networks < 2:
            raise ConfigError("predictor ensemble with networks=1: one network disagrees with nobody; give 2 or more")

    def fit(self, x: np.ndarray, y: np.ndarray, seed: int) -> Disagreeing:
        return Disagreeing(self, x, y, seed)


class Disagreeing(Fitted):
    """Trained networks; the spread is an unbiased deviation over them."""

    def __init__(self, settings: Ensemble, x: np.ndarray, y: np.ndarray, seed: int) -> None:
        self._scaler = StandardScaler().fit(x)
        self._mean, self._deviation = float(y.mean()), float(y.std())  # of one value everywhere, nothing is learned
        target = (y - self._mean) / (self._deviation or 1.0)
        generator = torch.Generator().manual_seed(seed)
        nets = Nets(x.shape[1], settings.hidden, 1, generator, settings.networks)
        rows = torch.from_numpy(self._scaler.transform(x))
        self._nets = trained(nets, rows, torch.from_numpy(target)[:, None], settings.steps)

    def values(self, x: Tensor) -> Tensor:
        """(n, n_features) -> (networks, n), with gradient in x."""
        mean, scale = (torch.from_numpy(each) for each in (self._scaler.mean_, self._scaler.scale_))
        found: Tensor = self._nets((x - mean) / scale)[..., 0] * self._deviation + self._mean
        return found

    @torch.no_grad()
    def predict(self, x: np.ndarray) -> Predicted:
        found = self.values(torch.from_numpy(np.asarray(x, dtype=np.float64)))
        return Predicted(found.mean(0).numpy(), found.std(0).numpy())
