"""A recurrent network and a batch it accepts go in; how badly its cells regress synthetic sequences comes out.

The input of the first recurrent layer is replaced by a linear encoding of one signal, and a linear decoder reads
another signal from the last recurrent layer's output, so the score is of the cells and of what stands between them.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.errors import ProxyError
from dashfx.frontend.recording import forward
from dashfx.proxy.gennas.regression import Regressor, Stages, regress
from dashfx.proxy.gennas.tasks import Task

ROWS, STEPS, WIDTH = 8, 16, 64
LR = 1e-3


def is_recurrent(module: nn.Module) -> bool:
    """Recurrent layers and no spatial conv; a conv net with a recurrent head is tapped at its conv stages."""
    convs = any(isinstance(m, nn.modules.conv._ConvNd) and max(m.kernel_size) > 1 for m in module.modules())
    return not convs and any(isinstance(m, nn.RNNBase) for m in module.modules())


def regress_recurrent(module: nn.Module, inputs: Tensor, task: Task, seed: int, iterations: int) -> float:
    """Loss after `iterations` steps of Adam on the last stage's signals, as (8 rows, 16 steps, 64 features).

    Raises:
        ProxyError: recurrent layers that the batch does not reach, or a task without a signal for sequences.
    """
    layers = _layers_run(module, inputs)
    model = Regressor(_Cells(module, inputs, layers), [nn.LazyLinear(WIDTH)]).to(inputs.device)
    source, target = (_sequences(task, 2 * seed + i).to(inputs.device) for i in range(2))
    with torch.no_grad():
        model(source)  # the decoder learns its width
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    return regress(model, lambda: source, source, Stages([target], [1.0]), optimizer, iterations)


def _sequences(task: Task, seed: int) -> Tensor:
    """(rows, steps, width): each feature is one signal over time."""
    signals = [s for s in task.stages[-1].used(1) if s.kind != "resize"]
    if not signals:
        raise ProxyError(f"task {task.name!r} has no signal for sequences on its last stage: add sin1d, dot or gdot")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.empty(ROWS)
    maps = [signal.maps(rows, WIDTH, (STEPS,), generator) for signal in signals]
    return torch.stack([m.expand(ROWS, -1, -1) for m in maps]).sum(0).mT.contiguous()


def _layers_run(module: nn.Module, inputs: Tensor) -> list[nn.RNNBase]:
    """The recurrent layers in the order of their first calls."""
    run: dict[nn.RNNBase, None] = {}
    with ExitStack() as hooks, torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.RNNBase):
                hooks.enter_context(layer.register_forward_pre_hook(lambda layer, _: run.update({layer: None})))
        forward(module, inputs)
    if not run:
        raise ProxyError(f"no recurrent layer of {type(module).__name__} runs on the batch: nothing to score")
    return list(run)


class _Reached(Exception):
    """The last recurrent layer has answered: the decoder of the model is not needed."""


class _Cells(nn.Module):
    """The model from its first recurrent layer's input to its last one's output, behind a linear encoder."""

    def __init__(self, model: nn.Module, inputs: Tensor, layers: list[nn.RNNBase]) -> None:
        super().__init__()
        self.model = model
        self.encoder = nn.Linear(WIDTH, layers[0].input_size)
        self._inputs = inputs[torch.arange(ROWS) % len(inputs)]
        self._first, self._last = (layers[0],), (layers[-1],)  # in tuples: they are modules of the model already

    def forward(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = []

        def enter(layer: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            encoded = self.encoder(x)
            # A state made for the model's own batch would not fit; without one the layer starts from zeros
            return (encoded if layer.batch_first else encoded.transpose(0, 1),), {}

        def leave(layer: nn.RNNBase, args: Any, output: tuple[Tensor, Any]) -> None:
            found.append(output[0] if layer.batch_first else output[0].transpose(0, 1))
            raise _Reached

        first = self._first[0].register_forward_pre_hook(enter, with_kwargs=True)
        with first, self._last[0].register_forward_hook(leave), suppress(_Reached):
            self.model(self._inputs)
        return found
