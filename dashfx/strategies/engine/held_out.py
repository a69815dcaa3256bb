"""Rows held out: a share of the training part that the weights of a search never see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dashfx.data import Data
from dashfx.train.fit import derive_seed


def hold_out(data: Data, share: float) -> tuple[Data, Data]:
    """The data with a share of its train part taken out, and with that share as its train part; records stay whole."""
    train, records = data.train, data.train.units
    units = np.arange(len(train)) if records is None else np.unique(records)
    order = units[np.random.default_rng(derive_seed("held-out", len(train))).permutation(len(units))]
    cut = min(max(1, round(share * len(order))), len(order) - 1)
    rows = [each if records is None else np.flatnonzero(np.isin(records, each)) for each in (order[cut:], order[:cut])]
    kept, held = (replace(data, train=train.subset(each)) for each in rows)
    return kept, held
