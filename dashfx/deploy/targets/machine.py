"""Machine that an optimised file is bound to: ONNX Runtime's version and the processor that kernels are chosen by."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import onnxruntime

from dashfx.errors import ExportError

OPTIMISED_KEY = "optimised"
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "sve")  # what kernels are chosen by


def this_machine() -> dict[str, str]:
    """What an optimised file is bound to: ONNX Runtime's version, and the processor with its vector instructions."""
    name, flags = platform.processor() or platform.machine(), ""
    with suppress(OSError):
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()]
        told = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        name = told.get("model name", name)
        words = set((told.get("flags") or told.get("Features") or "").split())
        flags = " ".join(flag for flag in FLAGS if flag in words)
    system = f"{platform.system()} {platform.machine()}"
    return {"onnxruntime": onnxruntime.__version__, "system": system, "processor": name, "instructions": flags}


def check_machine(path: Path, metadata: Mapping[str, str]) -> None:
    """Raise an ExportError for an optimised file of another machine or version of ONNX Runtime."""
    if OPTIMISED_KEY not in metadata:
        return
    try:
        told = json.loads(metadata[OPTIMISED_KEY])
        bound, of = dict(told["machine"]), str(told["of"])
    except (ValueError, TypeError, KeyError) as error:
        raise ExportError(f"{path}: its metadata {OPTIMISED_KEY!r} is damaged ({error}); export it again") from None
    here = this_machine()
    other = [
        f"{name} {bound.get(name)} there, {value} here" for name, value in here.items() if bound.get(name) != value
    ]
    if other:
        raise ExportError(f"{path} was optimised for another machine ({'; '.join(other)}); take {of}")
