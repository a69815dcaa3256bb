"""Effort: how much a run trains, as a few options under one word; docs/reference/results.md says what each brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EFFORTS: dict[str, dict[str, Any]] = {
    # No choice: every conv gets several kernels that share its channels, beside the untouched model.
    "quick": {"search": {"strategy": "ladder:most=1"}, "finalists": {"longer": False}, "ensemble": {"count": "auto"}},
    "default": {},
    # After DASHA (Xu et al., "Specialized Foundation Models Struggle to Beat Supervised Baselines", ICLR 2025): search,
    # tuning by halving, a last training on all rows; several seeds and an average of the best beside it.
    "thorough": {
        "finalists": {"count": 2, "seeds": 3, "refit": True},
        "tune": {"trials": 16},
        "ensemble": {"count": 3},
    },
}


def under(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` over those of the effort that they name: what a user says wins, one option at a time."""
    merged = dict(options)
    for name, block in EFFORTS.get(str(options.get("effort")), {}).items():
        given = options.get(name) or {}
        if isinstance(given, Mapping):
            merged[name] = {**block, **given}
    return merged
