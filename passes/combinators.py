"""Strategy combinators over passes: one after another, the first that can be made, again and again, everywhere.

Böhler et al., "Using Rewrite Strategies for Efficient Functional Automatic Differentiation", 2023; the combinators are
those of Visser, Benaissa and Tolmach, "Building Program Optimizers with Rewriting Strategies", ICFP 1998. A pass fails
where it raises a PassError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from dashfx.errors import PassError
from dashfx.frontend.tracing import Program, copy_program
from dashfx.passes.base import AbstractPass, PassResult
from dashfx.plugins import published
from dashfx.site import Site

MOST = 100  # turns of a repetition


PAPER = "Böhler et al., Using Rewrite Strategies for Efficient Functional Automatic Differentiation, 2023"
ROW = "121"


@published(PAPER, ROW)
def seq(*steps: AbstractPass) -> Seq:
    """All steps in order; it fails where one of them does. Without steps it does nothing."""
    return Seq(steps)


@published(PAPER, ROW)
def choice(first: AbstractPass, *others: AbstractPass) -> Choice:
    """The first of these that does not fail; it fails where all do."""
    return Choice((first, *others))


@published(PAPER, ROW)
def attempt(step: AbstractPass) -> Choice:
    """The step, or nothing where it fails: `choice(step, seq())`."""
    return choice(step, seq())


@published(PAPER, ROW)
def repeat(step: AbstractPass, most: int = MOST) -> Repeat:
    """The step again and again, until it changes nothing or fails; it fails where `most` turns are not enough."""
    return Repeat(step, most)


@published(PAPER, ROW)
def everywhere(make: Callable[[str], AbstractPass], where: Callable[[Site], bool] = lambda site: True) -> Everywhere:
    """An attempt of `make(name)` at every site that `where` holds for, in the order of the forward pass."""
    return Everywhere(make, where)


class Combined(AbstractPass):
    """Passes made of others. What failed half-way leaves the program as it was.

    The record has all edits, and `applied` the passes that were run and did not fail: `seq(*result.applied)` replays
    them.
    """

    combines: ClassVar[bool] = True

    def record(self, program: Program, done: list[PassResult]) -> PassResult:
        edits = tuple(edit for each in done for edit in each.edits)
        skips = tuple(dict.fromkeys(skip for each in done for skip in each.skips))
        applied = tuple(step for each in done for step in each.applied)
        return PassResult(program.graph_module, edits, skips, self.name, applied)


@dataclass(frozen=True)
class Seq(Combined):
    """See `seq`."""

    steps: tuple[AbstractPass, ...]

    @property
    def preserves(self) -> Literal["values", "shapes"]:  # type: ignore[override]
        return _weakest(self.steps)

    def call(self, program: Program) -> PassResult:
        return self.record(program, [step(program) for step in self.steps])


@dataclass(frozen=True)
class Choice(Combined):
    """See `choice`."""

    steps: tuple[AbstractPass, ...]

    @property
    def preserves(self) -> Literal["values", "shapes"]:  # type: ignore[override]
        return _weakest(self.steps)

    def call(self, program: Program) -> PassResult:
        said: list[str] = []
        for step in self.steps:
            result = _tried(step, program)
            if isinstance(result, PassResult):
                return self.record(program, [result])
            said.append(str(result))
        raise self.fail(f"none of {len(self.steps)} passes can be made: {'; '.join(said)}")


@dataclass(frozen=True)
class Repeat(Combined):
    """See `repeat`."""

    step: AbstractPass
    most: int = MOST

    @property
    def preserves(self) -> Literal["values", "shapes"]:  # type: ignore[override]
        return self.step.preserves

    def call(self, program: Program) -> PassResult:
        done: list[PassResult] = []
        for _ in range(self.most):
            result = _tried(self.step, program)
            if isinstance(result, PassError) or not result.modified:
                return self.record(program, done)
            done.append(result)
        raise self.fail(f"{self.step.name} still changes something after {self.most} turns")


@dataclass(frozen=True)
class Everywhere(Combined):
    """See `everywhere`."""

    make: Callable[[str], AbstractPass]
    where: Callable[[Site], bool] = field(default=lambda site: True)

    @property
    def preserves(self) -> Literal["values", "shapes"]:  # type: ignore[override]
        return self.make("").preserves

    def call(self, program: Program) -> PassResult:
        names = [name for name, site in program.sites.items() if self.where(site)]
        done = [_tried(self.make(name), program) for name in names]
        return self.record(program, [each for each in done if isinstance(each, PassResult)])


def _tried(step: AbstractPass, program: Program) -> PassResult | PassError:
    """What a step makes of the program, which stays as it is where it fails."""
    twin = copy_program(program)
    try:
        result = step(twin)
    except PassError as error:
        return error
    if result.modified:
        program.graph_module = twin.graph_module
    return result


def _weakest(steps: tuple[AbstractPass, ...]) -> Literal["values", "shapes"]:
    return "values" if all(step.preserves == "values" for step in steps) else "shapes"


COMBINATORS: dict[str, Callable[..., Combined]] = {
    "seq": seq,
    "choice": choice,
    "attempt": attempt,
    "repeat": repeat,
    "everywhere": everywhere,
}
