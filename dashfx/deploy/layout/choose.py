"""Choice of layout: the rewritings of a file that are measured to be faster on this machine, and answer alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import helper
from torch import Tensor

from dashfx.deploy.layout.crops import without_crops
from dashfx.deploy.layout.graph import external
from dashfx.deploy.layout.linear import with_flat_rows, with_scaled_weights, with_whole_gelu
from dashfx.deploy.layout.products import as_products
from dashfx.deploy.layout.reach import last_steps
from dashfx.deploy.layout.resizing import with_constant_factors
from dashfx.deploy.layout.sequences import as_2d
from dashfx.deploy.runtime import load_proto
from dashfx.deploy.timing import medians
from dashfx.errors import ExportError, VerifyError, first_line

logger = logging.getLogger(__name__)

GAIN = 1.03  # how many times as fast a file has to be; medians of one file differ by less
SECONDS = 0.5  # for the calls of both files
LAYOUT_KEY = "layout"

Rewrite = Callable[[onnx.ModelProto], tuple[onnx.ModelProto, int]]
Times = Callable[[Sequence[Path], Sequence[Tensor], float], Sequence[float]]

REWRITINGS: dict[str, tuple[Rewrite, ...]] = {  # in the order in which they are tried, each on what was kept before
    "crops behind convs in their padding": (without_crops,),
    "convs on the last steps alone": (last_steps,),
    "1-D convs as 2-D": (as_2d,),
    "linear layers on flat rows": (with_whole_gelu, with_scaled_weights, with_flat_rows),
    "resizing by constant factors": (with_constant_factors,),
    "convs over few places as products": (as_products,),
}


@dataclass(frozen=True)
class Layout:
    """A file and what was rewritten in it, with each one's gain, and in `text` also what was not kept and why.

    Attributes:
        kept: names of REWRITINGS with how often each was done.
    """

    kept: dict[str, int]
    text: str


def faster_layout(
    path: Path, inputs: Sequence[Tensor], check: Callable[[Path], object], times: Times | None = None
) -> Layout | None:
    """Rewrite the file where that is faster and passes `check`; None where nothing in it can be.

    Each of REWRITINGS is tried on the file as the ones before it left it, and kept where it is `GAIN` times as fast.

    Args:
        inputs: those of one call, by which files are timed.
        check: raises a VerifyError for a file whose answers differ.
        times: of such files, as `medians`.
    """
    before = load_proto(path)
    if external(before):
        return None
    kept: dict[str, int] = {}
    said: list[str] = []
    for name, steps in REWRITINGS.items():
        proto, count = _rewritten(load_proto(path), steps)
        if not count:
            continue
        draft = path.with_name(f"rewritten-{path.name}")
        told = "; ".join(f"{number} {each}" for each, number in {**kept, name: count}.items())
        helper.set_model_props(proto, {p.key: p.value for p in before.metadata_props} | {LAYOUT_KEY: told})
        draft.write_bytes(proto.SerializeToString())
        gain, why = _gain(path, draft, inputs, check, times or medians)
        said.append(f"{count} {name}: {why}")
        if gain:
            draft.replace(path)
            kept[name] = count
    return Layout(kept, "; ".join(said)) if said else None


def _rewritten(proto: onnx.ModelProto, steps: Sequence[Rewrite]) -> tuple[onnx.ModelProto, int]:
    """After all steps, and how much the one that did most of them did."""
    counts = []
    for step in steps:
        proto, count = step(proto)
        counts.append(count)
    return proto, max(counts)


def _gain(
    path: Path, draft: Path, inputs: Sequence[Tensor], check: Callable[[Path], object], times: Times
) -> tuple[bool, str]:
    """Whether the draft is better, and why."""
    try:
        old, new = times([path, draft], inputs, SECONDS)
        how = f"{old / new:.2f} times as fast on this machine ({1e3 * new:.3g} ms a call, before {1e3 * old:.3g} ms)"
        if old < GAIN * new:
            return False, f"not kept, {how}, less than {GAIN:g} times"
        check(draft)
    except (ExportError, VerifyError) as error:
        return False, f"not kept, it answers otherwise ({error})"
    except Exception as error:  # ONNX Runtime raises classes of its own without a common base
        return False, f"not kept, ONNX Runtime does not take it ({first_line(error)})"
    return True, how
