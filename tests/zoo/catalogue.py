"""Names of packages go in; their models, each with facts from a survey, in the order in which to run them, come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from zoo import images, signals, volumes
from zoo.entry import Entry

MOST_PARAMS = 60_000_000  # of a model that is run; a supernet holds several times as many

PACKAGES: Mapping[str, Callable[[], Iterator[Entry]]] = {
    "pytorchcv": images.pytorchcv_models,
    "torchvision": images.torchvision_models,
    "timm": images.timm_models,
    "monai": volumes.monai_models,
    "deepecgkit": signals.deepecgkit_models,
    "segmentation-models-pytorch": images.smp_models,
    "pytorch-tcn": signals.pytorch_tcn_models,
    "braindecode": signals.braindecode_models,
}
HARD = ("segmentation-models-pytorch", "pytorch-tcn", "braindecode")

Facts = dict[str, Any]


def in_order(entries: Iterable[Entry], surveyed: Mapping[tuple[str, str], Facts]) -> list[Entry]:
    """What a survey did not rule out: the smallest of each family, of each kind of layers in it, and then the rest."""
    runnable = [entry for entry in entries if _runnable(surveyed.get((entry.package, entry.name), {}))]
    by_size = sorted(runnable, key=lambda entry: surveyed[entry.package, entry.name]["params"])
    families, kinds = set[tuple[str, str]](), set[tuple[str, str, str]]()
    rounds: tuple[list[Entry], ...] = ([], [], [])
    for entry in by_size:
        family = entry.package, entry.family
        kind = *family, surveyed[entry.package, entry.name]["kinds"]
        rounds[0 if family not in families else 1 if kind not in kinds else 2].append(entry)
        families.add(family)
        kinds.add(kind)
    return [entry for each in rounds for entry in each]


def _runnable(facts: Facts) -> bool:
    return "params" in facts and "skipped" not in facts and facts["params"] <= MOST_PARAMS
