"""Records: windows, padding, masks and crops; splits and votes by record; and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dashfx.data import Data, load_data
from dashfx.data.checks.survey import survey
from dashfx.data.reading import Reading
from dashfx.data.splits.split import _usual_class
from dashfx.errors import DataError
from dashfx.strategies.engine import hold_out
from dashfx.task import evaluate, load_task

RNG = np.random.default_rng(0)
LENGTHS = np.array([10, 25, 7, 40, 31, 12, 18, 22, 9, 30] * 3)
LABELS = np.arange(30) % 2
# Ten groups of three rows, of which three hold one row of class 1 each.
MINGLED = {"x": np.eye(30), "y": (np.arange(30) % 3 == 0) & (np.arange(30) < 9), "groups": np.arange(30) // 3}


def flat(channels: int = 1) -> dict[str, np.ndarray]:
    """Thirty records, whose value is 1000 times the record's number plus the sample's."""
    values = np.concatenate([1000 * i + np.arange(n) for i, n in enumerate(LENGTHS)]).astype(np.float32)
    x = values if channels == 1 else np.stack([values + 0.25 * c for c in range(channels)], 1)
    return {"x": x, "lengths": LENGTHS, "y": LABELS}


def read(arrays: Any, **reading: Any) -> Data:
    return load_data(arrays, normalise=False, reading=Reading(**reading))


def everything(data: Data) -> dict[str, np.ndarray]:
    return {part: data.part(part).__getitems__(range(len(data.part(part))))[0].numpy() for part in PARTS}


PARTS = ("train", "valid", "test")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("window", "stride"), [(8, 0), (8, 3), (20, 5)])
def test_windows_lie_in_their_record_and_no_record_in_two_parts(channels: int, window: int, stride: int) -> None:
    data = read(flat(channels), window=window, stride=stride)
    rows = everything(data)
    records = {part: x[:, 0, 0].astype(int) // 1000 for part, x in rows.items()}
    starts = np.concatenate([x[:, 0, 0].astype(int) % 1000 for x in rows.values()])
    expected = sum(max(0, (n - window) // (stride or window) + 1) for n in LENGTHS)
    assert sum(map(len, rows.values())) == expected
    assert not (starts % (stride or window)).any()
    for part, x in rows.items():
        assert x.shape[1:] == (channels, window)
        assert np.array_equal(x[:, 0], x[:, 0, :1] + np.arange(window))  # consecutive samples of one record
        assert np.array_equal(data.part(part).targets, LABELS[records[part]])
        for other in PARTS:
            assert other == part or not set(records[part]) & set(records[other])
    assert any("shorter records are left out" in note for note in data.notes)


def test_pad_mask_and_crop() -> None:
    for fit, channels, length in (("pad", 1, 40), ("mask", 2, 40), ("crop", 1, 7)):
        data = read(flat(), fit=fit)
        assert data.input_shape == (channels, length)
        for part in PARTS:
            for x, record in zip(everything(data)[part], data.part(part).index, strict=True):
                n = min(length, LENGTHS[record])
                first = (LENGTHS[record] - length) // 2 if fit == "crop" else 0
                assert np.array_equal(x[0, :n], 1000 * record + first + np.arange(n))
                assert not x[0, n:].any()
                if fit == "mask":
                    assert np.array_equal(x[1], np.arange(length) < n)


def test_crops_move_in_training_alone_and_come_again_for_the_same_seed() -> None:
    data = read(flat(), fit="crop", length=9)
    one, again, other = (torch.cat([x for x, _ in data.loader("train", 4, seed=seed)]) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    starts = {seed: set((x[:, 0, 0] % 1000).tolist()) for seed, x in (("one", one), ("other", other))}
    assert len(starts["one"]) > 3 and not torch.equal(one.sort(0)[0], other.sort(0)[0])
    valid = [torch.cat([x for x, _ in data.loader("valid", 4)]) for _ in range(2)]
    assert torch.equal(*valid)


def test_lists_of_unequal_arrays_are_records_and_plain_series_can_be_cut() -> None:
    rng = np.random.default_rng(0)
    ragged = [rng.random((3, n)).astype(np.float32) for n in LENGTHS]
    assert read({"x": ragged, "y": LABELS}, fit="pad").input_shape == (3, 40)
    data = read({"x": rng.random((20, 2, 50)), "y": np.arange(20) % 2}, window=25)
    assert data.input_shape == (2, 25) and sum(len(data.part(part)) for part in PARTS) == 40
    assert not set(data.train.records) & set(data.test.records)  # type: ignore[arg-type]


def test_groups_are_not_split() -> None:
    rng = np.random.default_rng(0)
    patients = np.array([f"p{i % 12}" for i in range(60)])
    data = load_data({"x": rng.random((60, 1, 8)), "y": np.arange(60) % 2, "groups": patients})
    seen = [set(patients[data.part(part).index]) for part in PARTS]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert set.union(*seen) == set(patients)


def test_other_data_are_read_to_the_length_of_the_first() -> None:
    first = read(flat(), fit="pad")
    longer = {"x": [np.ones(n, np.float32) for n in (3, 90) * 10], "y": LABELS[:20]}
    assert load_data(longer, reading=first.reading).input_shape == first.input_shape == (1, 40)
    assert Reading.from_json(first.reading.to_json()) == first.reading


def test_what_is_held_out_of_train_keeps_records_whole() -> None:
    data = read(flat(), window=8, stride=2)
    kept, held = hold_out(data, 0.3)
    assert len(kept.train) + len(held.train) == len(data.train)
    assert not np.intersect1d(kept.train.records, held.train.records).size  # type: ignore[arg-type]


def test_flat_npz_stays_on_the_disk(tmp_path: Path) -> None:
    np.savez(tmp_path / "records.npz", **flat())
    data = read(tmp_path / "records.npz", window=8)
    assert isinstance(data.train.x.records.values, np.memmap)  # type: ignore[union-attr]


def test_metrics_by_record_count_votes() -> None:
    x = np.zeros((30, 1, 6), np.float32)
    x[:, 0, :2], x[:, 0, 2:4], x[:, 0, 4:] = (np.where(LABELS, 1, -1)[:, None] * sign for sign in (1, 1, -1))
    arrays = {"x": x, "y": LABELS}

    def model(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([-rows.mean((1, 2)), rows.mean((1, 2))], 1)

    for vote, expected in ((False, 2 / 3), (True, 1.0)):  # two of three windows are right
        data = read(arrays, window=2, vote=vote)
        for batch in (1, 4, 1000):
            assert evaluate(model, data.loader("test", batch), load_task("classify", data)) == pytest.approx(expected)


def patients(vote: bool) -> Data:
    """12 persons of 4 records each, two of either class; the mean of a record is its class."""
    y = np.arange(48) % 2
    x = [np.full(20 + i % 5, 2.0 * kind - 1, np.float32) for i, kind in enumerate(y)]
    return read({"x": x, "y": y, "groups": np.arange(48) // 4}, window=10, vote=vote)


def test_records_vote_and_groups_are_split() -> None:
    def model(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([-rows.mean((1, 2)), rows.mean((1, 2))], 1)

    for vote in (False, True):
        data = patients(vote)
        assert evaluate(model, data.loader("test", 7), load_task("classify", data)) == 1.0
    facts = {each.part: (each.rows, each.records, each.groups) for each in survey(data).parts}
    assert sum(records or 0 for _, records, _ in facts.values()) == 48
    assert sum(groups or 0 for *_, groups in facts.values()) == 12
    kept, held = hold_out(data, 0.3)
    for one, other in ((data.train, data.test), (data.train, data.valid), (kept.train, held.train)):
        assert not np.intersect1d(one.groups, other.groups).size  # type: ignore[arg-type]


def test_a_record_is_drawn_for_the_class_of_most_of_its_rows() -> None:
    """Of 20 groups, ten have two rows of class 0 and one of class 1, the others the reverse; both kinds are drawn."""
    y = np.array([[0, 0, 1], [1, 1, 0]])[np.arange(20) % 2].ravel()
    groups = np.repeat(np.arange(20), 3)
    data = load_data({"x": RNG.random((60, 1, 8)), "y": y, "groups": groups}, seed=3)
    for part in ("test", "valid"):
        drawn = np.unique(data.part(part).groups)  # type: ignore[arg-type]
        assert {0, 1} == set((drawn % 2).tolist()) and len(drawn) in (3, 4)
        assert abs(int((drawn % 2 == 0).sum()) - int((drawn % 2 == 1).sum())) <= 1
    assert _usual_class(groups, y).tolist() == [0, 1] * 10


def test_offsets_survive_in_records() -> None:
    x = [1.7e9 + RNG.random(n) for n in (20, 30, 25, 40) * 5]
    data = load_data({"x": x, "y": np.arange(20) % 2}, reading=Reading(window=10))
    assert torch.cat([x for x, _ in data.loader("train", 16)]).std() == pytest.approx(1, abs=0.01)


def test_series_of_time_and_channels_are_told_where_lengths_differ() -> None:
    x = [RNG.random((n, 3)) for n in (20, 30) * 10]
    assert read({"x": x, "y": np.arange(20) % 2}, fit="pad").input_shape == (3, 30)


@pytest.mark.parametrize(
    ("arrays", "reading", "words"),
    [
        ({"x": np.eye(9), "y": np.arange(9) % 2, "groups": np.arange(9) // 3}, {"vote": True}, ("classes 0 and 1",)),
        (flat(), {}, ("7 to 40 samples", "reading.window=N")),
        (flat(), {"window": 50}, ("longest record has 40", "reading.window=50")),
        (flat(), {"window": 5, "fit": "pad"}, ("exclude each other",)),
        (flat(), {"fit": "pad", "log_mel": 8}, ("for sound files",)),
        (flat(), {"fit": "pad", "rate": 8}, ("for sound files",)),
        (flat(), {"fit": "pad", "stride": 8}, ("reading.window=N too",)),
        (flat(), {"fit": "pad", "columns": ("a", "b")}, ("called x and y",)),
        (read(flat(), window=5), {"window": 5}, ("finished data",)),
        (flat() | {"lengths": LENGTHS[:-1]}, {"window": 5}, ("add up to",)),
        (flat() | {"lengths": LENGTHS * 1.0}, {"window": 5}, ("whole numbers",)),
        (flat() | {"y": LABELS[:5]}, {"window": 5}, ("30 records", "y_train 5")),
        (flat() | {"groups": LABELS[:5]}, {"fit": "pad"}, ("groups has shape (5,)",)),
        (flat() | {"y": np.arange(30) // 29}, {"window": 5}, ("class 1 is in 1 of 30 records", "valid and test need")),
        (
            flat() | {"y": np.arange(30) // 28},
            {"window": 5},
            ("class 1 is in 2 of 30 records", "train, valid and test"),
        ),
        (
            flat() | {"y": np.array(["beat", "noise"])[np.arange(30) // 29]},
            {"window": 5},
            ("class noise is in 1 of 30",),
        ),
        (
            flat() | {"y": np.where(LENGTHS < 9, 3, 0)},
            {"window": 9},
            ("every record of class 3 is shorter", "window=9"),
        ),
        (MINGLED, {}, ("class 1 would be missing from test", "lesser one in its groups")),
        ({"x": np.ones((9, 3, 8, 8)), "y": np.arange(9)}, {"window": 5}, ("cuts series",)),
        ({"x": np.ones((9, 8)), "y": np.ones((9, 8))}, {"window": 4}, ("one a record",)),
        ({"x": np.ones((9, 8)), "y": np.arange(9)}, {"fit": "pad"}, ("reading.fit", "leave it out")),
        ({"x": np.eye(9), "y": np.arange(9) % 2}, {"vote": True}, ("reading.vote needs records",)),
        ({"x": [np.ones((2, 3)), np.ones((1, 4))], "y": [0, 1]}, {"fit": "pad"}, ("differ in L alone",)),
    ],
)
def test_bad_records(arrays: dict[str, Any], reading: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        read(arrays, **reading)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
