"""Folders of runs that must have come to the same, however they were trained: every file, tensor and number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*")}


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Every tensor and number of a checkpoint by its place, but for times."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if pairs is None:
        return {} if name.endswith(("seconds", "steps_per_second")) or "/spent/" in name else {name: value}
    return {key: each for inner, part in pairs for key, each in flat(part, f"{name}/{inner}").items()}


def assert_same(out: Path, straight: Path) -> None:
    assert files(out) == files(straight)
    for name in sorted({"genotype.json", "model.safetensors"} & files(straight)):
        assert (out / name).read_bytes() == (straight / name).read_bytes(), name
    for path in sorted(straight.glob("checkpoints/*.pt")):
        expected, found = (flat(torch.load(p, weights_only=True)) for p in (path, out / "checkpoints" / path.name))
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            assert torch.equal(found[key], value) if isinstance(value, torch.Tensor) else found[key] == value, key
    results = [json.loads((folder / "result.json").read_text()) for folder in (out, straight)]
    found, expected = ({key: each[key] for key in ("valid", "test", "control", "kept")} for each in results)
    assert found == expected
    if (straight / "tuned.json").exists():
        studies = [flat(json.loads((folder / "tuned.json").read_text())) for folder in (out, straight)]
        assert studies[0] == studies[1]
