"""Training steps on a GPU in ten minutes: layers, supernets, image networks at 224x224, and the paper's Fig. 2 and 3.

    python -m benchmarks.gpu --out runs/gpu              # any CUDA device
    python -m benchmarks.gpu --toy --out runs/gpu-toy    # seconds on a CPU: whether it runs, not how fast

Each problem is computed as the plain network, by `auto` as it chooses without a measurement, by `auto` measured, with
convs merged by dilation (`grouped_dilation`) and as the sum of all convs (`mixed_results`). A step is forward, backward
of all parameters (of a layer also of its input) and SGD. Steps are queued one after the other between CUDA events, the
host waits once behind the last; what is printed is the median after a warm-up with half the distance of the quartiles,
and the ratio to the plain network, which is timed again behind the others (`drift`). Memory is the most bytes at once
beyond what is held between steps. `waits` says how often the host waits for the device within a step: CUDA's
synchronisation warnings, 0 where there are none. `graph` is a step replayed from a CUDA graph, or why there is none.
dashfx's own steps, of the fit loop and of a search, are among the supernets.

A row is one line of OUT/rows.jsonl and is not measured again. Problems come in the order in which they matter; those
that the minutes do not reach are named. In bf16 convs run under autocast; in float32 TF32 is as torch has it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dashfx import SearchSpace, rewrite
from dashfx.backbones import TCN, WRN, ConvNeXt, ResNet18, WRN1d
from dashfx.config.run import RetrainConfig
from dashfx.config.search import SearchConfig
from dashfx.errors import DashfxError, first_line
from dashfx.ops.autotune.choose import tune
from dashfx.ops.autotune.suite import SUITE, Layer
from dashfx.ops.autotune.table import machine
from dashfx.ops.autotune.timing import peak_bytes
from dashfx.strategies.gradient import DASH
from dashfx.task import Task
from dashfx.train.fit import Learner, Supervised, make_accelerator
from dashfx.train.progress import end_last_line, read_log

Step = Callable[[], object]
PLAIN, RULE, MEASURED = "plain", "auto", "auto, measured"
FIT, SEARCH = "fit loop", "search"
WAYS = (PLAIN, RULE, MEASURED, "grouped_dilation", "mixed_results")
OWN = (PLAIN, FIT, RULE, SEARCH)  # dashfx's steps beside bare ones of the same models
TUNING = 10.0  # seconds that `auto` may measure
SECONDS, STEPS = 1.0, 30  # of one row, and the most steps in them
WARM_UP = 3
KERNELS, DILATIONS = (3, 5, 7, 9, 11, 13, 15), (1, 3, 7, 15, 31, 63, 127)


@dataclass(frozen=True)
class Problem:
    """What is trained: a network or a layer, for batches of one shape.

    Attributes:
        build: the plain model.
        shape: (batch, C, *size).
        space: None for a layer, which has its own.
        layer: the layer of the suite, where the problem is one.
    """

    part: str
    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    space: SearchSpace | None = None
    layer: Layer | None = None
    ways: tuple[str, ...] = WAYS
    bf16: bool = False

    @property
    def key(self) -> str:
        return f"{self.part} / {self.name}{', bf16' if self.bf16 else ''}"


@dataclass(frozen=True)
class Row:
    """One way to compute a problem: seconds a step, bytes, waits of the host, and a step from a CUDA graph."""

    problem: str
    way: str
    seconds: float | None
    spread: float = 0.0
    bytes: int = 0
    parameters: int = 0
    waits: int | None = None
    graph: float | None = None
    why: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0, help="after which no further row is measured")
    parser.add_argument("--toy", action="store_true", help="tiny sizes on whatever device there is")
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type != "cuda" and not options.toy:
        parser.error("torch sees no GPU here; --toy runs the same at tiny sizes on a CPU")
    end, path = time.monotonic() + 60 * options.minutes, options.out / "rows.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    there = {(row["problem"], row["way"]): Row(**row) for row in read_log(path) if "way" in row}
    print(f"{machine(device)}; torch.backends.cuda.matmul.allow_tf32={torch.backends.cuda.matmul.allow_tf32}")
    left: list[str] = []
    for problem in toys() if options.toy else problems():
        for way in (*problem.ways, "drift"):
            if (problem.key, way) in there:
                continue
            if time.monotonic() > end:
                left.append(f"{problem.key} {way}")
                continue
            there[problem.key, way] = row = measured(problem, way, device, 2 if options.toy else STEPS)
            end_last_line(path)
            with path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(row)) + "\n")
    print("\n".join(table(list(there.values()))))
    print(f"not reached, {len(left)} rows: {'; '.join(left)}" if left else "all rows")


def problems() -> Iterator[Problem]:
    """What matters first comes first."""
    small = SearchSpace.product([3, 5], [1, 2])
    whole, plane = SearchSpace.preset("dash1d"), SearchSpace.preset("dash2d")
    resnet, convnext = ResNet18, lambda: ConvNeXt(1000, depths=(3, 3, 9, 3), widths=(96, 192, 384, 768))
    for bf16 in (False, True):
        yield Problem("supernet", "WRN-16-1 at 32x32", lambda: WRN(16, 1), (64, 3, 32, 32), plane, bf16=bf16)
        yield Problem("supernet", "WRN 1-D at 1000", lambda: WRN1d(width=16), (64, 1, 1000), whole, bf16=bf16)
        yield Problem(
            "supernet", "TCN at 1000", lambda: TCN(num_classes=10, in_channels=1), (32, 1, 1000), whole, bf16=bf16
        )
        for name, build in (("ResNet-18", resnet), ("ConvNeXt-T", convnext)):
            for said, space in (("default space", plane), ("{3, 5} x {1, 2}", small)):
                yield Problem("image", f"{name} at 224, {said}", build, (32, 3, 224, 224), space, bf16=bf16)
    for layer in SUITE:
        yield of_layer(layer)
    for c in range(1, 8):  # Fig. 2: more candidates at n = 1000
        space = SearchSpace.product(KERNELS[:c], DILATIONS[:c])
        yield Problem("Fig. 2", f"{c * c} candidates", lambda: WRN1d(width=16), (128, 1, 1000), space)
    for n in (2**i for i in range(5, 12)):  # Fig. 3: longer inputs
        space = SearchSpace.product(KERNELS[:5], DILATIONS[:5])
        yield Problem("Fig. 3", f"n = {n}", lambda: WRN1d(width=16), (128, 1, n), space)
    yield Problem("own steps", "WRN-16-1 at 32x32", lambda: WRN(16, 1), (64, 3, 32, 32), plane, ways=OWN)


def toys() -> Iterator[Problem]:
    """One of each kind, as small as it can be."""
    small = SearchSpace.product([3, 5], [1])
    yield Problem("supernet", "WRN 1-D at 16", lambda: WRN1d(width=2), (2, 1, 16), small)
    yield Problem(
        "image", "ResNet-18 at 32", lambda: ResNet18(width=2), (2, 3, 32, 32), small, ways=(PLAIN, RULE), bf16=True
    )
    yield of_layer(replace(SUITE[0], in_channels=2, out_channels=2, size=(8, 8), batch=2))
    yield Problem("own steps", "WRN 1-D at 16", lambda: WRN1d(width=2), (2, 1, 16), small, ways=OWN)


def of_layer(layer: Layer) -> Problem:
    shape = (layer.batch, layer.in_channels, *layer.size)
    return Problem("layer", layer.name, layer.plain, shape, layer=layer)


def measured(problem: Problem, way: str, device: torch.device, steps: int) -> Row:
    """A row; one that finds no memory, or cannot be computed so, says why."""
    try:
        step, parameters = step_of(problem, PLAIN if way == "drift" else way, device)
        times = timed(step, device, steps)
        low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
        row = Row(problem.key, way, middle, (high - low) / 2 / middle, peak_bytes(step, device), parameters)
        row = replace(row, waits=waits(step, device))
        if device.type != "cuda" or way not in (PLAIN, RULE):
            return row
        return graphed(row, step, device, steps)
    except (torch.OutOfMemoryError, DashfxError) as error:
        return Row(problem.key, way, None, why=first_line(error))


def step_of(problem: Problem, way: str, device: torch.device) -> tuple[Step, int]:
    """A training step, and the number of the model's parameters."""
    torch.manual_seed(0)
    x = torch.randn(problem.shape, device=device)
    model = built(problem, way, x).to(device).train()
    count = sum(p.numel() for p in model.parameters())
    if way in (FIT, SEARCH):
        return own_step(model, x, way), count
    if problem.layer is not None:
        x.requires_grad_()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        with precision(problem, device):
            loss = model(x).float().square().mean()
        loss.backward()
        optimiser.step()

    return step, count


def precision(problem: Problem, device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16, enabled=problem.bf16)


def built(problem: Problem, way: str, x: Tensor) -> nn.Module:
    """The plain network, or the supernet that is computed that way; mixtures of a search are measured too."""
    if way in (PLAIN, FIT):
        return problem.build()
    algorithm = RULE if way in (MEASURED, SEARCH) else way
    if problem.layer is not None:
        model: nn.Module = problem.layer.aggconv(algorithm).to(x.device)
    else:
        assert problem.space is not None
        model = rewrite(problem.build(), x[:2].cpu(), problem.space, "fresh", algorithm=algorithm).to(x.device)
    if way == MEASURED:
        with precision(problem, x.device):
            tune(model, x, budget=TUNING)
    return model


def own_step(model: nn.Module, x: Tensor, way: str) -> Step:
    """A step as dashfx's fit loop takes it, of a plain model or of a search by the paper's strategy."""
    with torch.no_grad():
        y = torch.zeros_like(model(x).float())
    task = Task("mean", nn.functional.mse_loss, _no_metric, "none", maximise=False, kind=None)
    place = make_accelerator("auto", "no")
    learner: Learner = Supervised(model, task, RetrainConfig(epochs=1), place)
    if way == SEARCH:
        learner = DASH.engine(model, task, SearchConfig(), place)
    learner.begin_epoch(0, 0)
    learner.train_mode()
    return lambda: learner.step((x, y))


def _no_metric() -> Any:
    raise NotImplementedError("steps are timed, nothing is judged")


def timed(step: Step, device: torch.device, steps: int = STEPS) -> list[float]:
    """Seconds of each of some steps after a warm-up; on a GPU queued, with one wait behind the last."""
    for _ in range(WARM_UP):
        step()
    if device.type != "cuda":
        return [_clocked(step) for _ in range(steps)]
    torch.cuda.synchronize(device)
    each = _clocked(lambda: (step(), torch.cuda.synchronize(device)))
    count = max(3, min(steps, int(SECONDS / each)))
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    marks[0].record()
    for mark in marks[1:]:
        step()
        mark.record()
    torch.cuda.synchronize(device)
    return [1e-3 * begin.elapsed_time(end) for begin, end in pairwise(marks)]


def _clocked(step: Step) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def waits(step: Step, device: torch.device) -> int | None:
    """How often the host waits for the device in one step; None where there is no GPU to wait for."""
    if device.type != "cuda":
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in caught)


def graphed(row: Row, step: Step, device: torch.device, steps: int) -> Row:
    """With the step replayed from a CUDA graph, or why it cannot be captured."""
    try:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return replace(row, graph=statistics.median(timed(graph.replay, device, steps)))
    except Exception as error:  # whatever a capture that is not allowed raises
        torch.cuda.synchronize(device)
        return replace(row, why=f"no graph: {first_line(error)}")


def table(rows: Sequence[Row]) -> list[str]:
    """Markdown: a table a part, a line a row, and the geometric mean of each way's ratios."""
    plain = {row.problem: row for row in rows if row.way == PLAIN and row.seconds}
    lines: list[str] = []
    for part in dict.fromkeys(row.problem.partition(" / ")[0] for row in rows):
        own = [row for row in rows if row.problem.startswith(f"{part} / ")]
        lines += [
            "",
            f"| {part} | way | ms | spread | times plain | memory, times | parameters, times | waits | graph, ms |",
        ]
        lines += ["| --- " * 9 + "|", *(_line(row, plain.get(row.problem)) for row in own)]
        for way in dict.fromkeys(row.way for row in own if row.way != PLAIN):
            ratios = [
                r.seconds / plain[r.problem].seconds for r in own if r.way == way and r.seconds and r.problem in plain
            ]
            if ratios:
                lines.append(f"| **geometric mean** | {way} | | | {statistics.geometric_mean(ratios):.2f} | | | | |")
    return lines[1:]


def _line(row: Row, plain: Row | None) -> str:
    name = row.problem.partition(" / ")[2]
    if row.seconds is None:
        return f"| {name} | {row.way} | {row.why} | | | | | | |"
    ratios = ["", "", ""]
    if plain is not None and plain.seconds:
        memory, parameters = row.bytes / max(1, plain.bytes), row.parameters / plain.parameters
        ratios = [f"{row.seconds / plain.seconds:.2f}", f"{memory:.2f}", f"{parameters:.2f}"]
    graph = f"{1e3 * row.graph:.3g}" if row.graph else row.why
    waited = "" if row.waits is None else str(row.waits)
    cells = [name, row.way, f"{1e3 * row.seconds:.3g}", f"{row.spread:.1%}", *ratios, waited, graph]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
