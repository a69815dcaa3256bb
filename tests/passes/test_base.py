"""What every pass has: requires, call, ensures, a record, and a manager that runs several."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dashfx.errors import PassError
from dashfx.frontend.tracing import Program, trace
from dashfx.passes import AbstractPass, Edit, PassManager, PassResult
from dashfx.site import Skip


class Freeze(AbstractPass):
    """Freezes the site `0`; leaves the others, and says so."""

    preserves = "values"

    def requires(self, program: Program) -> None:
        if "0" not in program.sites:
            raise self.fail("there is no site '0': give a model with one")

    def call(self, program: Program) -> PassResult:
        weight = program.model.get_submodule("0").weight
        edits = [Edit("0", "frozen")] if weight.requires_grad else []
        weight.requires_grad_(False)
        return self.result(program, edits, [Skip("1", "not the first")])


class Broken(Freeze):
    def ensures(self, program: Program) -> None:
        raise self.fail("it never holds")


def traced() -> Program:
    return trace(nn.Sequential(nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 3)), torch.zeros(1, 1, 9))


def test_a_pass_says_what_it_did() -> None:
    program = traced()
    result = Freeze()(program.graph_module)
    assert result.modified and result.edits == (Edit("0", "frozen"),) and result.name == "freeze"
    assert str(result) == "freeze: 1 edits, 1 skips\n  0: frozen\n  1: left alone, not the first"
    assert not Freeze()(program.graph_module).modified
    assert program.skips == [Skip("1", "not the first")]  # once, though two runs found it


def test_requires_and_ensures_name_the_pass() -> None:
    with pytest.raises(PassError, match="pass freeze: there is no site '0'"):
        Freeze()(trace(nn.Sequential(nn.Conv1d(1, 1, 1)), torch.zeros(1, 1, 9)).graph_module)
    with pytest.raises(PassError, match="pass broken: it never holds"):
        Broken()(traced().graph_module)


def test_a_manager_runs_passes_in_order() -> None:
    results = PassManager([Freeze(), Freeze()])(traced().graph_module)
    assert [result.modified for result in results] == [True, False]
