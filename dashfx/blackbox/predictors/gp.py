"""Gaussian process over features, with one length scale and noise, both by the likelihood of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dashfx.blackbox.predictors.base import Fitted, Predictor
from dashfx.blackbox.predictors.wrapped import Regressed


@dataclass(frozen=True)
class GaussianProcess(Predictor):
    """A Matern kernel of smoothness 5/2 plus noise; its scale, length and noise maximise the likelihood of the rows."""

    has_spread: ClassVar[bool] = True
    paper: ClassVar[str] = "Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006"

    def fit(self, x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
        from sklearn.gaussian_process import (
            GaussianProcessRegressor,  # seconds, that a search without this need not wait
        )
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        length = float(np.sqrt(x.shape[1]))  # about how far apart standardised rows are
        smooth = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(length, (length / 10, length * 100), nu=2.5)
        kernel = smooth + WhiteKernel(0.1, (1e-4, 1e1))
        return Regressed(GaussianProcessRegressor(kernel, random_state=seed % 2**32), x, y, tells_spread=True)
