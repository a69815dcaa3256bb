"""Estimate of a run before it starts: the supernet's size, memory and time, and how far the network sees."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

from torch import Tensor, nn

from dashfx.cost.counts import parameters_of
from dashfx.frontend.analysis import receptive_fields
from dashfx.frontend.tracing import Program, copy_model
from dashfx.run.ledger import peak_memory
from dashfx.run.run import Run
from dashfx.space import size_text
from dashfx.stages.finalists import epoch_ratio, planned_epochs
from dashfx.stages.retrain import epochs_of
from dashfx.stages.search import proposed
from dashfx.train.fit import Batch, Learner, Supervised
from dashfx.train.pace import of_supernet

STEPS = 3  # timed of each learner, after one that is not
PATIENCE = 20.0  # seconds for the steps of one learner; one step is always timed
VALIDATION = 1.15  # of training's time: what validation and checkpoints add, roughly
LONG = 3600.0  # seconds of a run, from which on it is said what makes it shorter
LARGE = 4.0  # times the model's parameters, from which on the supernet is called large


@dataclass(frozen=True)
class Estimate:
    """What a run with the present options would take.

    Attributes:
        parameters, supernet_parameters: of the model, and of the supernet that is trained.
        memory: peak bytes while a few steps were measured.
        search_step, plain_step: seconds of a training step; the former None where no supernet is trained.
        seconds: of the whole run, by stage.
        open: stages whose seconds are the most that they take, as validation ends them.
    """

    parameters: int
    supernet_parameters: int
    memory: int
    search_step: float | None
    plain_step: float
    seconds: dict[str, float]
    open: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def advice(self) -> list[str]:
        """What makes a long run shorter, or a large supernet smaller."""
        found = []
        growth = self.supernet_parameters / max(1, self.parameters)
        if self.search_step is not None and growth > LARGE:
            found.append(
                f"the supernet has {growth:.0f} times the model's parameters: a smaller space (--kernels 3,5 "
                "--dilations 1,2), or fewer convs (--include, --exclude) makes it smaller"
            )
        if self.total > LONG:
            found.append(
                "shorter: --budget 1h divides that time among the stages; so do fewer epochs (--epochs, "
                "--retrain-epochs), a smaller space, or a share of the data at each epoch (search.fraction)"
            )
        return found


def estimate(run: Run, supernet: nn.Module) -> Estimate:
    """Times a few steps of the supernet and of the untouched model on copies, and counts the rest from the options."""
    inputs, accelerator, config = run.inputs, run.session.accelerator, run.config
    plain = Supervised(inputs.for_retraining().start_model(), inputs.task, config.retrain, accelerator)
    plain_step, search_step = step_seconds(run, plain, config.retrain.batch_size), None
    if (training := run.strategy.training) is not None:
        engine = training.engine(copy_model(supernet), inputs.task, config.search, accelerator)
        engine.training_data(inputs.data)
        search_step = step_seconds(run, engine, config.search.batch_size)
    seconds, bounds, ratio = {}, epochs_of(run), epoch_ratio(run, supernet)
    for stage, epochs in planned_epochs(config, bounds, proposed(run), ratio).items():
        options, step = (config.search, search_step) if of_supernet(stage) else (config.retrain, plain_step)
        steps = math.ceil(options.fraction * len(inputs.data.train) / options.batch_size)
        seconds[stage] = VALIDATION * epochs * steps * (step or 0.0)
    memory = peak_memory(accelerator.device)
    given, searched = parameters_of(plain.plain), parameters_of(supernet)
    ended = () if bounds.given else tuple(stage for stage in seconds if not of_supernet(stage) and stage != "tune")
    return Estimate(given, searched, memory, search_step, plain_step, seconds, ended)


def step_seconds(run: Run, learner: Learner, batch_size: int) -> float:
    """The median of a few training steps on real batches."""
    learner.begin_epoch(0, run.config.seed)
    learner.train_mode()
    batches, times = _batches(run, batch_size), list[float]()
    began = time.perf_counter()
    for number, (x, y) in enumerate(islice(batches, STEPS + 1)):
        started = time.perf_counter()
        float(learner.step((x, y)))
        times += [time.perf_counter() - started] if number or time.perf_counter() - began > PATIENCE else []
        if times and time.perf_counter() - began > PATIENCE:
            break
    return sorted(times)[len(times) // 2]


def _batches(run: Run, size: int) -> Iterator[Batch]:
    device = run.session.accelerator.device
    loader = run.inputs.data.loader("train", size, seed=run.config.seed, drop_last=True)
    return ((x.to(device), y.to(device)) for x, y in cycle(loader))


@dataclass(frozen=True)
class Sight:
    """How far a network sees, against the input's size (Richter et al., "(Input) size matters for CNNs", 2021).

    Attributes:
        whole: the largest receptive field ahead of the last pooling over everything.
        late: convs whose input has seen the whole of every axis already: what they add are borders.
    """

    size: tuple[int, ...]
    whole: tuple[float, ...]
    late: tuple[str, ...]

    def sentence(self) -> str:
        """Whether larger kernels are likely to pay; how far that holds stands in docs/reference/results.md."""
        field, size = size_text(tuple(round(each) for each in self.whole)), size_text(self.size)
        if any(seen < n for seen, n in zip(self.whole, self.size, strict=True)):
            return (
                f"the network sees {field} of an input of {size}, so that no answer can depend on the whole: larger "
                "kernels and dilations are likely to pay"
            )
        if self.late:
            names = ", ".join(self.late[:4]) + (f" and {len(self.late) - 4} more" if len(self.late) > 4 else "")
            return (
                f"the network sees {field} of an input of {size}, and {names} get inputs that have seen the whole "
                "already: larger kernels are not likely to pay there (--exclude); a longer training may pay more"
            )
        return f"the network sees {field} of an input of {size}: whether other kernels pay is open"


def sight(program: Program, example: Tensor) -> Sight | None:
    """What a traced model sees of inputs like `example`; None where that is not known."""
    fields, size = receptive_fields(program.graph_module), tuple(example.shape[2:])
    finite = [f for f in fields.values() if f and len(f) == len(size) and all(map(math.isfinite, f))]
    if not finite:
        return None
    late = []
    for node in program.graph_module.graph.nodes:
        if node.op == "call_module" and str(node.target) in program.sites and node.all_input_nodes:
            seen = fields.get(node.all_input_nodes[0].name)
            if seen and len(seen) == len(size) and all(s >= n for s, n in zip(seen, size, strict=True)):
                late.append(str(node.target))
    return Sight(size, max(finite, key=math.prod), tuple(dict.fromkeys(late)))
