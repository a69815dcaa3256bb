"""Run before any package of the zoo is imported: lets those with compiled parts import beside a CPU build of torch."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import torch

_KEPT: list[Any] = []  # a library's operators last as long as the object


def prepare() -> None:
    """Declare torchvision's operators and take torchaudio's own Python code, where their compiled parts cannot load."""
    if _KEPT:
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):  # torchvision registers shapes for these at import
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)
    extension: Any = ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
    extension.fail_if_no_align = lambda function: function
    sys.modules[extension.__name__] = extension
