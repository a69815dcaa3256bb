"""Inference of a plain model on a run's device, in the precision that it was trained in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils import convert_to_fp32
from torch import Tensor, nn


@contextmanager
def answering(accelerator: Accelerator, plain: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside, the model answers on the device, in eval mode, as the fit loop's models do; it ends on the CPU."""
    plain.to(accelerator.device).eval()

    def predict(x: Tensor) -> Tensor:
        with torch.no_grad(), accelerator.autocast():
            output: Tensor = plain(x.to(accelerator.device))
        answer: Tensor = convert_to_fp32(output)
        return answer

    yield predict
    plain.cpu()
