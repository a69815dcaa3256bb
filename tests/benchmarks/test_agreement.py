"""The measurement of agreement: rows that are not made twice, and a table that counts pairs of seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys

from benchmarks import agreement
from benchmarks.agreement import Row, agreed, append, read, table


def row(seed: int, choices: str, variant: str = "all", data: str = "a", shares: float = 0.5) -> Row:
    names = [f"conv{i}" for i in range(len(choices))]
    counts = dict.fromkeys(names, 4) | {"fixed": 1}
    picked = dict(zip(names, choices, strict=True)) | {"fixed": "x"}
    return Row(data, variant, seed, 10, picked, dict.fromkeys(names, shares), counts)


def test_pairs_of_seeds_are_counted_without_what_had_no_choice() -> None:
    found = agreed([row(0, "xy", shares=0.2), row(1, "xy", shares=0.4), row(2, "xz", shares=0.9)])
    assert (found.pairs, found.whole) == (3, 1)
    assert found.alike == pytest.approx(4 / 6) and found.chance == 0.25 and found.coefficient == pytest.approx(0.5)


def test_a_line_a_variant_over_all_sets() -> None:
    rows = [row(seed, "xy", data=data) for data in "ab" for seed in (0, 1)]
    rows += [row(0, "xy", "faithful"), row(1, "zy", "faithful"), row(0, "xy", "held-out")]
    lines = table(rows).splitlines()[2:]
    assert lines == [
        "| faithful | 1, 2, 10 | 0.50 | 0.25 | 0 of 1 | 0.50 |",
        "| all | 2, 2, 10 | 1.00 | 0.25 | 2 of 2 | 0.50 |",
    ]


def test_a_line_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, row(0, "x"))
    path.write_text(path.read_text() + '{"data": "a", "vari')
    assert [each.seed for each in read(path)] == [0]
    append(path, row(1, "x"))
    assert [each.seed for each in read(path)] == [0, 1]


def test_a_row_is_one_search_and_is_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "toy.npz", **toys.arrays())
    small = ["search.lr=0.05", "space.kernels=[3,5]", "space.dilations=[1,2]"]
    model = f"{Path(toys.__file__)}:ToyNet"
    given = ["--model", model, "--args", "width=4", "--classes", "", "--data", str(tmp_path / "toy.npz")]
    given += ["--seeds", "0", "1", "--variants", "all", "all+longer", "--steps", "6", "--out", str(tmp_path / "out")]
    given += [part for each in small for part in ("--set", each)]
    monkeypatch.setattr("sys.argv", ["agreement.py", *given])
    agreement.main()
    rows = read(tmp_path / "out" / "rows.jsonl")
    assert [each.key[1:] for each in rows] == [("all", 0), ("all+longer", 0), ("all", 1), ("all+longer", 1)]
    assert all(len(set(each.choices.values())) == 1 and set(each.candidates.values()) == {4} for each in rows)
    assert [each.steps for each in rows] == [6, 18, 6, 18]

    def never(*_: Any) -> Row:
        raise AssertionError

    monkeypatch.setattr(agreement, "run", never)
    agreement.main()
