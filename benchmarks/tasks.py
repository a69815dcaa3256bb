"""The data sets of the table of results: what each is read from, the network, a recipe for a CPU core, and the paper's.

A small run takes minutes to two hours of one core for all variants: few epochs and channels, of the largest sets a part
of the rows. A full run has all rows, and search, space and retraining from the preset of the paper's task that is most
like it. Anchors are published figures on the whole test part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dashfx.config import presets


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        data: as `--data`, files without their folder; `full_data` takes its place in a full run.
        args, settings: of the model's class and of the run, in both sizes.
        small_args, small: those that only a small run has; `full_args`, `full` likewise.
        like: the preset that a full run takes its recipe from.
        anchors: published test metrics.
    """

    data: str
    model: str
    like: str
    args: tuple[str, ...] = ()
    small_args: tuple[str, ...] = ()
    full_args: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    full_data: str = ""
    anchors: str = ""

    def options(self, full: bool) -> list[str]:
        """What `--set` takes; later ones win."""
        sized = (*paper(self.like), *self.settings, *self.full) if full else (*self.settings, *self.small)
        return list(sized)

    def arguments(self, full: bool) -> list[str]:
        return [*self.args, *(self.full_args if full else self.small_args)]


def paper(preset: str) -> tuple[str, ...]:
    """The paper's search, space, tuning and retraining for one of its tasks."""
    blocks = presets.find(preset).options() | {"tune": {"sampler": "grid", "halving": 0}}
    return tuple(
        f"{block}.{name}={json.dumps(value)}"
        for block in ("search", "space", "tune", "retrain")
        for name, value in blocks[block].items()
    )


def recipe(search: int, retrain: int, batch: int, *more: str) -> tuple[str, ...]:
    """Epochs and batch of a small run; as there are few steps, architecture parameters take larger ones."""
    stages = (f"{name}.epochs={epochs}" for name, epochs in (("search", search), ("retrain", retrain)))
    return (*stages, *batches(batch), "search.alpha_lr=0.1", "search.autotune=false", *more)


def batches(size: int) -> tuple[str, ...]:
    return f"search.batch_size={size}", f"retrain.batch_size={size}"


def series(name: str, classes: int, anchors: str, batch: int, small: tuple[str, ...]) -> Entry:
    """A set of the UCR archive."""
    return Entry(
        f"{name}.npz",
        "dashfx.backbones:WRN1d",
        "satellite",
        args=(f"num_classes={classes}",),
        small_args=("width=8",),
        settings=("task=classify:error",),
        small=small,
        full=batches(batch),
        anchors=anchors,
    )


def music(name: str, channels: str, anchors: str, small: tuple[str, ...]) -> Entry:
    """Piano rolls: every frame predicts the keys of the next."""
    adam = [f"{stage}.{option}" for stage in ("search", "retrain") for option in ("optimizer=adamw", "lr=0.002")]
    return Entry(
        f"{name}.npz",
        "dashfx.backbones:TCN",
        "deepsea",
        args=("num_classes=88", "in_channels=88", "head=dense", "kernel=3"),
        small_args=("channels=[48,48]", "dropout=0.2"),
        full_args=(f"channels={channels}", "dropout=0.2"),
        settings=("task=multilabel:nll", "normalise=false", *TCN_SPACE, *adam, "search.cost_weight=0.001"),
        small=small,
        full=("search.epochs=60", "retrain.epochs=60", "retrain.schedule=cosine", *batches(16)),
        anchors=anchors,
    )


def flow(data: str, anchors: str, small: tuple[str, ...], full_data: str = "") -> Entry:
    """Darcy flow: a field of permeabilities to its pressure."""
    return Entry(
        data,
        "dashfx.backbones:WRN",
        "darcy",
        args=("num_classes=1", "width=1", "dense=true"),
        small_args=("depth=10",),
        full_args=("depth=16",),
        settings=("task=regress:relative_l2", "normalise=positions", "loss.normalise_targets=true"),
        small=("search.lr=0.03", *small),
        full=("retrain.model_args={width: 4}",),
        full_data=full_data,
        anchors=anchors,
    )


TCN_SPACE = ("space.kernels=[3,5,7,9]", "space.dilations=[1,2,4,8,16]")

ENTRIES: dict[str, Entry] = {
    "ACSF1": series("ACSF1", 10, "ResNet .084, InceptionTime .080, ROCKET .114", 16, recipe(20, 60, 16)),
    "ECG5000": series("ECG5000", 5, "ResNet .065, InceptionTime .059, ROCKET .053", 32, recipe(16, 30, 32)),
    "CricketX": series("CricketX", 12, "ResNet .201, InceptionTime .146, ROCKET .180", 32, recipe(20, 60, 32)),
    "FaceAll": series("FaceAll", 14, "ResNet .133, InceptionTime .193, ROCKET .053", 32, recipe(20, 60, 32)),
    "RefrigerationDevices": series(
        "RefrigerationDevices", 3, "ResNet .470, InceptionTime .483, ROCKET .463", 32, recipe(10, 30, 16)
    ),
    "peptides": Entry(
        "peptides.npz",
        "dashfx.backbones:WRN1d",
        "deepsea",
        args=("num_classes=21", "in_channels=20"),
        small_args=("width=16",),
        settings=("task=multilabel:map", "normalise=false"),
        small=recipe(8, 24, 64),
        anchors="none known",
    ),
    "darcy-16": flow("darcy16.npz", "none known", recipe(5, 12, 20)),
    "JSB": music("jsb", "[150,150]", "TCN 8.10", recipe(10, 24, 16)),
    "Crop": series("Crop", 24, "ResNet .257, InceptionTime .228; DASH .123 (Satellite)", 256, recipe(6, 12, 64)),
    "PhysioNet": Entry(
        "ecg.npz",
        "dashfx.backbones:WRN1d",
        "ecg",
        args=("num_classes=4",),
        small_args=("width=8",),
        settings=("task=classify:f1", "reading.window=1000", "loss.class_weights=balanced"),
        small=recipe(4, 8, 32, "reading.stride=1000", "limit=3000"),
        full=("reading.stride=250",),
        anchors="WRN .57, DASH .68, expert .72",
    ),
    "LUDB": Entry(
        "waves.npz",
        "dashfx.backbones:UNet",
        "ecg",
        args=("num_classes=4", "ndim=1"),
        small_args=("width=8",),
        full_args=("width=32",),
        settings=("task=dense-classify:iou",),
        small=recipe(4, 10, 8),
        full=batches(32),
        anchors="U-Net: P .844, QRS .919, T .864",
    ),
    "CIFAR-10": Entry(
        "cifar10_train20k.npz+cifar10_test10k.npz",
        "dashfx.backbones:WRN",
        "cifar100",
        args=("num_classes=10", "width=1", "depth=16"),
        settings=("task=classify:error", "augment=image"),
        small=recipe(4, 6, 64, "search.fraction=0.5"),
        full=("retrain.model_args={width: 4}",),
        anchors="ResNet-20 .083 with all 50,000",
    ),
    "Nottingham": music("nottingham", "[150,150,150,150]", "TCN 3.07", recipe(6, 15, 16)),
    "darcy": flow(
        "darcy:169/2/100-20-40",
        "WRN .073, DASH .0079, expert .008",
        recipe(5, 10, 4),
        "darcy:421/5/900-100-100",
    ),
}
