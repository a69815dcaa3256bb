"""The only place that prints: results on stdout; progress, notes, the log and errors on stderr."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from statistics import median
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dashfx.cli import BEGAN
from dashfx.cli.tables import shared as tables
from dashfx.train.pace import Pace
from dashfx.train.progress import Epoch, Observer

if TYPE_CHECKING:
    from dashfx.passes import PassResult

OUT = Console(markup=False, highlight=False, emoji=False)
ERR = Console(markup=False, highlight=False, emoji=False, stderr=True)

BAR = 20  # columns
MIXTURE_ROWS = 8  # of two sites each, so that the display leaves room on a small terminal


def show(*parts: RenderableType) -> None:
    """Results, on stdout."""
    for part in parts:
        OUT.print(part)


def line(text: str) -> None:
    """One line on stdout, whatever its length."""
    OUT.print(text, soft_wrap=True)


def text(whole: str) -> None:
    """Text of many lines on stdout, as it is."""
    OUT.print(whole, soft_wrap=True, end="")


def note(text: str) -> None:
    _say("note", text, "cyan")


def warn(text: str) -> None:
    _say("warning", text, "yellow")


def error(text: str) -> None:
    """One line, also where the text has several."""
    _say("error", " ".join(part.strip() for part in text.splitlines() if part.strip()), "bold red")


# Data that are generated or converted once, which can take minutes.
SLOW_DATA = ("dashfx.data.sets.darcy", "dashfx.data.nb360")


def show_log(*names: str) -> None:
    """The library's log, or that of some of its modules, on stderr."""
    for name in names or ("dashfx",):
        logger = logging.getLogger(name)
        if not _is_shown(logger):
            logger.addHandler(LogHandler())
        logger.setLevel(logging.INFO)


def _is_shown(logger: logging.Logger | None) -> bool:
    while logger is not None:
        if any(isinstance(handler, LogHandler) for handler in logger.handlers):
            return True
        logger = logger.parent
    return False


class LogHandler(logging.Handler):
    """Prints through the console, so that lines stand above a live display instead of inside it."""

    def emit(self, record: logging.LogRecord) -> None:
        ERR.print(f"{record.name}: {record.getMessage()}", style="dim", soft_wrap=True)


def progress(quiet: bool) -> Progress:
    """What to give a run as its observer, used as a context manager."""
    if quiet:
        return Quiet()
    show_log(*SLOW_DATA)
    return Progress()


class Progress(Observer):
    """A line per stage; within a training stage a live display on a terminal, and a line per epoch elsewhere."""

    def __init__(self) -> None:
        self.began = BEGAN
        self._stage, self._outcome = "loading", ""
        self._pace = Pace()
        self._epoch: Epoch | None = None
        self._elsewhere: dict[str, Epoch] = {}  # trainings that workers do at the same time, each at its last epoch
        self._step, self._steps, self._began = 0, 0, 0.0
        self._evaluations = (0, 0)  # done, of
        interactive = ERR.is_terminal and not ERR.is_dumb_terminal
        self._live = (
            Live(get_renderable=self._draw, console=ERR, transient=True, refresh_per_second=4) if interactive else None
        )

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stage = ""
        if self._live:
            self._live.stop()

    def stage(self, name: str, detail: str = "") -> None:
        self._stage, self._outcome = name, detail
        self._epoch, self._step, self._steps, self._evaluations = None, 0, 0, (0, 0)
        self._elsewhere.clear()

    def stage_done(self, name: str, seconds: float, detail: str = "") -> None:
        self._pace.finished(name)
        text = f"{name:<13} {seconds:7.1f} s  {detail or self._outcome}"
        self._stage = ""
        if self._live:
            self._live.refresh()  # else the finished display stands below the line until the next refresh
        ERR.print(text.rstrip(), soft_wrap=True)

    def planned(self, epochs: Mapping[str, float], at_most: bool = False) -> None:
        self._pace.planned(epochs, at_most)

    def passed(self, result: PassResult) -> None:
        self._outcome = tables.counts(result)

    def step(self, stage: str, epoch: int, step: int, steps: int) -> None:
        if step == 1:
            self._began = time.perf_counter()
        self._step, self._steps = step, steps

    def epoch(self, facts: Epoch) -> None:
        self._pace.epoch(facts)
        if facts.stage == self._stage:
            self._epoch, self._step = facts, 0
            self._outcome = (
                f"{tables.counted(facts.epoch + 1, 'epoch')}, loss {facts.loss:.3g}, best valid {facts.best:.4f}"
            )
        else:
            self._elsewhere[facts.stage] = facts
        if self._live is None:
            ERR.print(epoch_line(facts), soft_wrap=True)
            if facts.epoch == 0 and (left := self._pace.left()):
                ERR.print(f"{facts.stage}: the whole run has {self._pace.about} {_clock(left)} left", soft_wrap=True)

    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None:
        self._evaluations = (done, total)
        self._outcome = f"{done} evaluated" + (f", best {best:.4g}" if best is not None else "")
        if self._live is None and done % max(1, total // 10) == 0:
            ERR.print(f"{stage} {done}/{total}{self._outcome.removeprefix(f'{done} evaluated')}", soft_wrap=True)

    def note(self, text: str) -> None:
        note(text)

    def _draw(self) -> RenderableType:
        if not self._stage:
            return Text("")
        if self._elsewhere:
            return trainings(self._stage, self._elsewhere)
        done, total = self._evaluations
        if total:
            bar = Table.grid(padding=(0, 1))
            bar.add_row(Text(self._stage, "bold"), ProgressBar(total=total, completed=done, width=BAR), self._outcome)
            return bar
        if not self._steps:
            return Text(f"{self._stage} ...", "bold")
        last = self._epoch
        rows: list[RenderableType] = [_bar(self._stage, last, self._step, self._steps, self._pace.left())]
        if last:
            rows += [Text("  " + ", ".join(_figures(last))), mixtures(last)]
        elif self._step > 1:
            rows.append(Text(f"  {(self._step - 1) / (time.perf_counter() - self._began):.1f} steps/s"))
        return Group(*rows)


class Quiet(Progress):
    """Shows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._live = None

    def stage_done(self, name: str, seconds: float, detail: str = "") -> None: ...

    def epoch(self, facts: Epoch) -> None: ...

    def evaluated(self, stage: str, done: int, total: int, best: float | None) -> None: ...

    def note(self, text: str) -> None: ...


def epoch_line(facts: Epoch) -> str:
    """An epoch for a log, in less than 80 columns."""
    return "  ".join([f"{facts.stage} {facts.counted}", *_figures(facts)])


def trainings(stage: str, last: Mapping[str, Epoch]) -> Group:
    """How far trainings are that go on at the same time, by the last epoch of each, a row a training."""
    rows = Table.grid(padding=(0, 1))
    for name, facts in last.items():
        bar = ProgressBar(total=facts.epochs, completed=facts.epoch + 1, width=BAR)
        rows.add_row("", Text(name, "bold"), f"epoch {facts.epoch + 1}/{facts.epochs}", bar, f"best {facts.best:.4f}")
    return Group(Text(f"{stage} ...", "bold"), rows)


def mixtures(facts: Epoch) -> Table:
    """How far each site's mixture is concentrated: its largest coefficient and whose it is, two sites a row."""
    grid = Table.grid(padding=(0, 1))
    tops = list(facts.mixtures.items())
    cells = [_mixture(name, coefficient, choice) for name, (coefficient, choice) in tops[: 2 * MIXTURE_ROWS]]
    for pair in zip(cells[::2], [*cells[1::2], ("", "", "")], strict=False):
        grid.add_row("", *pair[0], *pair[1])
    if len(tops) > len(cells):
        grid.add_row("", f"and {len(tops) - len(cells)} more")
    return grid


def _mixture(name: str, coefficient: float, choice: str) -> tuple[RenderableType, ...]:
    name = name if len(name) <= 16 else f"..{name[-14:]}"
    return name, ProgressBar(total=1.0, completed=coefficient, width=6), f"{coefficient:.2f} {choice}"


def _figures(facts: Epoch) -> list[str]:
    figures = [
        f"loss {facts.loss:.3g}",
        f"valid {facts.metric:.4f}",
        f"best {facts.best:.4f}",
        f"lr {facts.lr:.1g}",
        f"{facts.steps_per_second:.{int(facts.steps_per_second < 10)}f}/s",
    ]
    tops = [coefficient for coefficient, _ in facts.mixtures.values()]
    # the largest coefficient of a site's mixture, the median over sites: 1 where every choice is made
    return [*figures, f"coef {median(tops):.2f}"] if tops else figures


def _bar(stage: str, last: Epoch | None, step: int, steps: int, whole: float | None) -> Table:
    epoch = min(last.epoch + 2, last.epochs) if last else 1
    of = last.of if last else ""
    row = Table.grid(padding=(0, 1))
    about = "at most" if last and last.open else "about"
    left = f"{about} {_clock((last.epochs - last.epoch - 1) * last.seconds)} left" if last else ""
    left += f", {_clock(whole)} of the run" if whole else ""
    row.add_row(Text(stage, "bold"), f"epoch {epoch}{of}", ProgressBar(total=steps, completed=step, width=BAR), left)
    return row


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _say(kind: str, text: str, style: str) -> None:
    ERR.print(Text.assemble((f"{kind}: ", style), text), soft_wrap=True)
