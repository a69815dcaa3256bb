"""Combinators over passes: their laws, rollback, the log that replays, and the flow of a rewriting in five lines."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import dashfx
from dashfx.errors import PassError
from dashfx.frontend.analysis import graph_hash
from dashfx.frontend.tracing import Program, trace
from dashfx.passes import (
    AbstractPass,
    Annotate,
    Canonicalise,
    Deepen,
    Discretise,
    Edit,
    Enlarge,
    Lower,
    PassResult,
    Prune,
    Substitute,
    attempt,
    choice,
    everywhere,
    repeat,
    seq,
)

SPACE = dashfx.SearchSpace.product([3, 5], [1, 2])


@dataclass(frozen=True)
class Count(AbstractPass):
    """Adds one to a number, up to `most`."""

    most: int = 3
    preserves = "values"

    def call(self, program: Program) -> PassResult:
        if (now := number(program)) >= self.most:
            return self.result(program, ())
        program.model.number = now + 1
        return self.result(program, [Edit("0", f"{now + 1}")])


@dataclass(frozen=True)
class Fails(AbstractPass):
    """Fails after it has changed something."""

    preserves = "shapes"

    def call(self, program: Program) -> PassResult:
        program.model.number = 99
        raise self.fail("never")


def number(program: Program) -> int:
    return getattr(program.model, "number", 0)


def traced() -> Program:
    return trace(nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv1d(2, 1, 3)), torch.zeros(2, 1, 9))


def outcome(step: AbstractPass) -> tuple[object, ...]:
    """What it comes to: the number, the edits and what was applied, or that it fails and leaves what it found."""
    program = traced()
    try:
        result = step(program)
    except PassError:
        return ("fails",)
    return number(program), result.edits, result.applied


ONE, TWO, NEVER = Count(1), Count(2), Fails()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (seq(seq(ONE, TWO), Count()), seq(ONE, seq(TWO, Count()))),
        (seq(seq(), ONE), ONE),
        (seq(ONE, seq()), ONE),
        (choice(choice(NEVER, NEVER), ONE), choice(NEVER, choice(NEVER, ONE))),
        (choice(ONE, NEVER), ONE),
        (choice(NEVER, ONE), ONE),
        (attempt(NEVER), seq()),
        (attempt(ONE), choice(ONE, seq())),
        (attempt(attempt(ONE)), attempt(ONE)),
        (seq(attempt(seq(ONE, NEVER)), TWO), TWO),
        (seq(NEVER, ONE), NEVER),
        (choice(NEVER, NEVER), NEVER),
        (repeat(NEVER), seq()),
    ],
)
def test_laws(left: AbstractPass, right: AbstractPass) -> None:
    assert outcome(left) == outcome(right)


def test_a_repetition_ends_at_a_fixed_point() -> None:
    program = traced()
    result = repeat(Count(7))(program)
    assert number(program) == 7 and len(result.edits) == 7
    assert not Count(7)(program).modified and not repeat(Count(7))(program).modified
    with pytest.raises(PassError, match="pass repeat: count still changes something after 4 turns"):
        repeat(Count(7), 4)(traced())


def test_what_a_failed_choice_tried_is_said() -> None:
    with pytest.raises(PassError, match="pass choice: none of 2 passes can be made: pass fails: never; pass fails"):
        choice(NEVER, NEVER)(traced())


def test_everywhere_goes_where_it_can() -> None:
    program = traced()
    result = everywhere(lambda name: Enlarge(name, 5), lambda site: site.in_channels == 2)(program)
    assert [edit.site for edit in result.edits] == ["2"]
    result = everywhere(lambda name: Enlarge(name, 3 if name == "2" else 5))(program)
    assert [edit.site for edit in result.edits] == ["0"]  # a kernel of 3 would lose taps of the 5 that is there
    assert everywhere(Deepen).preserves == "values" and seq(Count(), NEVER).preserves == "shapes"


def test_the_flow_of_a_rewriting_is_five_lines() -> None:
    model, x = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.Conv1d(2, 1, 3)), torch.zeros(2, 1, 9)
    supernet = dashfx.rewrite(model, x, SPACE)
    genotype = supernet.genotype()
    flow = seq(Canonicalise(), Substitute(SPACE), Prune(), Annotate())
    program = trace(model, x)
    flow(program)
    assert graph_hash(program.graph_module) != graph_hash(trace(model, x).graph_module)
    seq(Discretise(genotype), Lower())(program)
    assert graph_hash(program.graph_module) == graph_hash(trace(dashfx.lower(supernet, genotype), x).graph_module)
    with pytest.raises(PassError, match="still mixes"):
        seq(flow, Lower(), Discretise(genotype))(trace(model, x))


def test_a_log_replays_to_the_same_graph() -> None:
    program, again = traced(), traced()
    strategy = seq(attempt(Enlarge("0", 2)), everywhere(lambda name: Enlarge(name, 5)), repeat(Deepen("0")))
    result = strategy(program)
    assert [type(step).__name__ for step in result.applied] == ["Enlarge", "Enlarge", "Deepen"]
    seq(*result.applied)(again)
    assert graph_hash(again.graph_module) == graph_hash(program.graph_module)
    swapped = seq(*reversed(result.applied))
    with pytest.raises(PassError, match="'0' is no conv that can be searched"):
        swapped(traced())
