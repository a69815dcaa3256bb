"""Augmentation: of training batches alone, drawn by the seed, in step with y; and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dashfx.data import Data, load_data
from dashfx.data.augment import PRESETS
from dashfx.data.base import Augmented
from dashfx.errors import DataError
from dashfx.task import LossOptions, load_task

X = np.random.default_rng(0).standard_normal((60, 2, 16)).astype(np.float32)
IMAGES = np.random.default_rng(0).standard_normal((60, 2, 16, 8)).astype(np.float32)
Y = np.arange(60) % 3


def batches(data: Data, part: str = "train", seed: int | None = 1) -> torch.Tensor:
    return torch.cat([x for x, _ in data.loader(part, 8, seed=seed)])


@pytest.mark.parametrize("x", [X, IMAGES], ids=["series", "images"])
@pytest.mark.parametrize("name", [*PRESETS, "flip,scale"])
def test_only_shuffled_train_batches_change_and_the_seed_tells_how(name: str, x: np.ndarray) -> None:
    plain, data = load_data((x, Y)), load_data((x, Y), augment=name)
    assert not torch.equal(batches(data), batches(plain))
    assert torch.equal(batches(data), batches(data)) and not torch.equal(batches(data), batches(data, seed=2))
    for part, seed in (("train", None), ("valid", None), ("test", None), ("valid", 1)):
        assert torch.equal(batches(data, part, seed), batches(plain, part, seed))
    assert data.normalisation == plain.normalisation


def test_a_batch_is_the_same_whatever_was_drawn_before() -> None:
    data = load_data((X, Y), augment="signal")
    rows = Augmented(data.train, data.augment, seed=3)
    first, second = [5, 1, 8], [2, 9, 4]
    alone = rows.__getitems__(second)[0]
    rows.__getitems__(first)
    assert torch.equal(rows.__getitems__(second)[0], alone)
    assert not torch.equal(Augmented(data.train, data.augment, seed=4).__getitems__(second)[0], alone)


def test_finished_data_are_augmented_too() -> None:
    data = load_data((X, Y))
    assert torch.equal(batches(load_data(data, augment="flip")), batches(load_data((X, Y), augment="flip")))
    assert load_data(data) is data


def test_flip_takes_y_along_where_it_has_positions() -> None:
    data = load_data((X, X[:, :1]), normalise=False, augment="flip")
    flipped = [(x[:, :1], y) for x, y in data.loader("train", 8, seed=1)]
    assert all(torch.equal(x, y) for x, y in flipped)
    plain = batches(load_data((X, X[:, :1]), normalise=False))[:, :1]
    assert not torch.equal(torch.cat([x for x, _ in flipped]), plain)


def test_crops_are_shifts() -> None:
    x = batches(load_data((np.abs(X) + 1, Y), normalise=False, augment="crop"))
    plain = batches(load_data((np.abs(X) + 1, Y), normalise=False))
    shifts = [next(s for s in range(-2, 3) if torch.equal(a, shifted(b, s))) for a, b in zip(x, plain, strict=True)]
    assert set(shifts) == {-2, -1, 0, 1, 2}


def shifted(x: torch.Tensor, by: int) -> torch.Tensor:
    moved = torch.zeros_like(x)
    n = x.shape[-1]
    moved[:, max(0, by) : n + min(0, by)] = x[:, max(0, -by) : n + min(0, -by)]
    return moved


@pytest.mark.parametrize("options", [LossOptions(), LossOptions("focal"), LossOptions(class_weights="balanced")])
def test_mixup_of_classes_is_learned_as_shares(options: LossOptions) -> None:
    data = load_data((X, Y), augment="mixup")
    task = load_task("classify", data, options)
    for x, y in data.loader("train", 8, seed=1):
        assert y.shape == (len(x), 3) and torch.allclose(y.sum(1), torch.ones(len(x)))
        assert torch.isfinite(task.loss(torch.randn(len(x), 3), y))
    numbers = torch.arange(3)
    output = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    assert task.loss(output, torch.eye(3)) == pytest.approx(float(task.loss(output, numbers)))  # unmixed rows


def test_own_function(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\nhalf = 0.5\ndef halved(x, y, generator):\n    return x * 0.5, y\n"
        "def shorter(x, y, generator):\n    return x[..., 1:], y\ndef alone(x, y, generator):\n    return x\n"
    )
    data = load_data((X, Y), augment=f"{tmp_path / 'mine.py'}:halved")
    assert torch.equal(batches(data), batches(load_data((X, Y))) / 2)
    for name, word in (
        ("half", "not a function"),
        ("halfed", "did you mean"),
        ("shorter", "shapes"),
        ("alone", "Tensor"),
    ):
        with pytest.raises(DataError, match=word):
            batches(load_data((X, Y), augment=f"{tmp_path / 'mine.py'}:{name}"))


def test_refused() -> None:
    with pytest.raises(DataError, match="did you mean 'jitter'"):
        load_data((X, Y), augment="flip,jiter")
    with pytest.raises(DataError, match="mixup mixes rows"):
        load_data((X, np.arange(16) % 3 + np.zeros((60, 1), np.int64)), augment="mixup")
    with pytest.raises(DataError, match="crop would leave positions"):
        batches(load_data((X, X), augment="crop"))
