"""Models for signals, from deepecgkit, pytorch-tcn and braindecode."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from zoo.entry import Entry, call, of_shapes


def deepecgkit_models() -> Iterator[Entry]:
    from deepecgkit.models.factory import build_model
    from deepecgkit.registry import get_model, get_model_names

    for name in get_model_names():
        lengths = of_shapes(*((1, length) for length in (500, 1000, 3000, 5000, 8000)))
        family = get_model(name).__module__.rpartition(".")[2]
        build = call(build_model, name, input_channels=1, output_size=4)
        yield Entry("deepecgkit", name, family, build, lengths)


def pytorch_tcn_models() -> Iterator[Entry]:
    """Every combination of the settings that change the graph."""
    from pytorch_tcn import TCN

    norms = ("weight_norm", "batch_norm", "layer_norm", None)
    for causal, norm, gate, skip in product((True, False), norms, (False, True), (False, True)):
        settings = {"causal": causal, "use_norm": norm, "use_gate": gate, "use_skip_connections": skip}
        name = " ".join(["causal" if causal else "centred", str(norm), *["gate"] * gate, *["skips"] * skip])
        build = call(TCN, 3, [8, 8, 12], **settings)
        yield Entry("pytorch-tcn", name, str(norm), build, of_shapes((3, 64)))


def braindecode_models() -> Iterator[Entry]:
    """Each model with the signal's shape that the package's own table names for it."""
    import braindecode.models as home
    from braindecode.models.util import models_dict

    rows = csv.DictReader((Path(home.__file__).parent / "summary.csv").open(encoding="utf-8-sig"))
    said = {row["Model"]: row["get_#Parameters"] for row in rows}
    for name, kind in models_dict.items():
        signal: dict[str, Any] = {"n_chans": 22, "n_outputs": 4, "n_times": 1000, "sfreq": 250}
        signal |= {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)\b", said.get(name, "")) if key in signal}
        if "chs_info" in said.get(name, "") or name in ("DGCNN", "EEGSym"):  # these want places of electrodes, too
            signal |= {"n_chans": 19, "chs_info": _electrodes(19)}
        signal |= {"LUNA": {"n_times": 520}, "Labram": {"n_chans": 128}}.get(name, {})  # whole patches; every electrode
        shape = (signal["n_chans"], signal["n_times"])
        yield Entry("braindecode", name, name, call(kind, **signal), of_shapes(shape))


def _electrodes(count: int) -> list[dict[str, Any]]:
    """Names of the 10-20 system, at made-up places."""
    names = ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz"]
    names += ["C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1", "O2"]
    places = np.random.default_rng(0).random((count, 12))
    return [{"ch_name": name, "kind": "eeg", "loc": place} for name, place in zip(names, places, strict=False)]
