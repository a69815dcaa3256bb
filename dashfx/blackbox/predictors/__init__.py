"""Predictors of what genomes are worth, from those that were evaluated; a fit is a function of its rows and a seed."""

from __future__ import annotations

from dashfx.blackbox.predictors.base import Fitted, Predictor
from dashfx.blackbox.predictors.best import Best
from dashfx.blackbox.predictors.boosting import Boosting
from dashfx.blackbox.predictors.gp import GaussianProcess
from dashfx.blackbox.predictors.networks.ensemble import Ensemble
from dashfx.blackbox.predictors.networks.ranking import Ranking
from dashfx.blackbox.predictors.ridge import Ridge
from dashfx.blackbox.predictors.svr import SupportVectors

PREDICTORS: dict[str, type[Predictor]] = {
    "ridge": Ridge,
    "gp": GaussianProcess,
    "boosting": Boosting,
    "svr": SupportVectors,
    "best": Best,
    "ensemble": Ensemble,
    "ranking": Ranking,
}

__all__ = [
    "PREDICTORS",
    "Best",
    "Boosting",
    "Ensemble",
    "Fitted",
    "GaussianProcess",
    "Predictor",
    "Ranking",
    "Ridge",
    "SupportVectors",
]
