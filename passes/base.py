"""Base class of passes: a law, checked before and after one rewrite of a traced model, and a record of its edits."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import fx

from dashfx.errors import PassError
from dashfx.frontend.tracing import Program
from dashfx.site import Skip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Edit:
    """One thing that a pass changed, at one site."""

    site: str
    what: str


@dataclass(frozen=True)
class PassResult:
    """The graph after a pass, what was edited, and what was left alone with the reason.

    Attributes:
        applied: the passes that were run, one, or of a combination all of them in order.
    """

    graph_module: fx.GraphModule
    edits: tuple[Edit, ...] = ()
    skips: tuple[Skip, ...] = ()
    name: str = ""
    applied: tuple[AbstractPass, ...] = ()

    @property
    def modified(self) -> bool:
        return bool(self.edits)

    def __str__(self) -> str:
        edits = [f"  {edit.site}: {edit.what}" for edit in self.edits]
        skips = [f"  {skip.name}: left alone, {skip.reason}" for skip in self.skips]
        return "\n".join([f"{self.name}: {len(edits)} edits, {len(skips)} skips", *edits, *skips])


class AbstractPass(ABC):
    """One rewrite. Call it with a program or its graph; the module tree in `graph_module.meta["model"]` is rewritten.

    A pass is idempotent: a second run edits nothing. `preserves` says what holds for every input: "values" (same
    output) or "shapes" (same output shape, other values).
    """

    preserves: ClassVar[Literal["values", "shapes"]]
    combines: ClassVar[bool] = False  # it runs other passes, which its record names

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def requires(self, program: Program) -> None:
        """Raise PassError where the input is not what this pass works on."""

    @abstractmethod
    def call(self, program: Program) -> PassResult:
        """Rewrite `program` and say what was done."""

    def ensures(self, program: Program) -> None:
        """Raise PassError where the output is not what this pass promises."""

    def __call__(self, given: fx.GraphModule | Program) -> PassResult:
        program = given if isinstance(given, Program) else Program(given)
        self.requires(program)
        result = self.call(program)
        program.graph_module = result.graph_module  # of a program that was given, where the pass has made another graph
        self.ensures(Program(result.graph_module))
        log.info("%s", result)
        return result if self.combines else replace(result, applied=(self,))

    def fail(self, message: str) -> PassError:
        return PassError(f"pass {self.name}: {message}")

    def result(self, program: Program, edits: Iterable[Edit], skips: Iterable[Skip] = ()) -> PassResult:
        """The record of this run; new skips join the program's."""
        skips = tuple(skips)
        program.skips.extend(skip for skip in skips if skip not in program.skips)
        return PassResult(program.graph_module, tuple(edits), skips, self.name)


class PassManager:
    """Runs passes in order and keeps their results."""

    def __init__(self, passes: Iterable[AbstractPass]) -> None:
        self.passes = tuple(passes)

    def __call__(self, graph_module: fx.GraphModule) -> list[PassResult]:
        results = []
        for each in self.passes:
            results.append(each(graph_module))
            graph_module = results[-1].graph_module
        return results
