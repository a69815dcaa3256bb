"""Int8 at chosen convs: kept where metric and budgets hold, chosen anew where they do not; and a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import onnx
import pytest
from toys import FAST, ToyNet, toy_data

import dashfx
from dashfx import Candidate, Genotype
from dashfx.cost.budgets import Limit, Limits, read_budget
from dashfx.deploy.quantise.choose import Judge
from dashfx.deploy.quantise.chosen import Draft
from dashfx.run.prepare import prepare
from dashfx.stages.files import precise
from dashfx.stages.files.precise import chosen

K3 = Candidate(3)
NAMES = ("a", "b", "c")


class Told:
    """Drafts of which the test says what each loses; the file has no node of "gone"."""

    def __init__(self, loss: Callable[[frozenset[str]], float], limit: float = 0.1) -> None:
        self.judge = Judge(lambda _: 0.0, 0.9, True, limit, "as the test says")
        self._loss, self.asked = loss, list[set[str]]()

    def known(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name != "gone")

    def draft(self, names: Iterable[str]) -> Draft:
        held = self.known(names)
        self.asked.append(set(held))
        metric = 0.9 - self._loss(frozenset(held))
        return Draft(Path("-".join(held) or "none"), held, metric, self.judge.allows(metric))

    def drop(self, name: str) -> float:
        return self._loss(frozenset({name}))

    def error(self, name: str) -> float:
        return {"a": 0.1, "b": 0.2, "c": 0.3}[name]

    def reverted(self, names: Iterable[str]) -> Draft | None:
        return self.draft(["reverted", *names])


def limits(most: float, names: Iterable[str] = NAMES) -> Limits:
    """Each conv costs 2 in float and 1 in int8."""
    costs, small = ({name: {K3: cost} for name in names} for cost in (2.0, 1.0))
    own, own_int8 = (dict.fromkeys(names, cost) for cost in (2.0, 1.0))
    return Limits((Limit(read_budget("params=1"), most, 0.0, own, costs, own_int8=own_int8, int8=small),))


def genotype(*bits: str) -> Genotype:
    return Genotype(dict.fromkeys(NAMES, K3), "argmax", dict.fromkeys(bits, 8))


def costing(more: float = 0.0) -> Callable[[Path], dict[str, float]]:
    """What files cost: as planned, and so much more each conv in int8."""

    def costs(path: Path) -> dict[str, float]:
        count = 0 if path.name == "none" else len(path.name.split("-"))
        return {"params=1": 6.0 - count * (1.0 - more)}

    return costs


def names(draft: Draft | None) -> set[str]:
    assert draft is not None
    return set(draft.names)


def test_what_was_chosen_is_kept_where_it_holds() -> None:
    drafts = Told(lambda names: 0.01 * len(names))
    assert names(chosen(drafts, genotype("b"), limits(5.0), costing())) == {"b"} and drafts.asked == [{"b"}]
    assert names(chosen(drafts, genotype("b", "c"), None, costing())) == {"b", "c"}


def test_a_choice_that_loses_too_much_is_made_anew_within_the_budgets() -> None:
    drafts = Told(lambda names: 0.5 * ("a" in names))
    assert names(chosen(drafts, genotype("a"), limits(5.0), costing())) == {"b"}
    assert names(chosen(drafts, genotype("a", "b"), limits(4.0), costing())) == {"b", "c"}


def test_without_budgets_the_most_sensitive_go_back() -> None:
    drafts = Told(lambda names: 0.5 * (names == {"a", "b"}))
    found = chosen(drafts, genotype("a", "b"), None, costing())
    assert names(found) == {"reverted", "a", "b"}


def test_bits_that_nobody_chose_are_chosen_by_each_conv_s_drop() -> None:
    drafts = Told(lambda names: 0.02 * len(names))
    assert names(chosen(drafts, genotype(), limits(4.0), costing())) == {"a", "b"}  # of the least errors
    assert names(chosen(drafts, genotype(), limits(9.0), costing())) == set()


def test_a_budget_that_the_file_misses_is_planned_for_anew() -> None:
    drafts = Told(lambda names: 0.01 * len(names))
    assert names(chosen(drafts, genotype("a"), limits(5.0), costing(0.3))) == {"a", "b"}
    assert names(chosen(drafts, genotype("a"), limits(5.0), costing(0.6))) == {"a", "b", "c"}


def test_of_drafts_that_all_miss_the_nearest_is_kept() -> None:
    drafts = Told(lambda names: 0.01 * len(names))
    assert names(chosen(drafts, genotype("a"), limits(3.0), costing(0.5))) == {"a", "b", "c"}


def test_drops_that_do_not_add_up_are_planned_for_anew() -> None:
    drafts = Told(lambda names: {1: 0.04, 2: 0.3}.get(len(names), 0.9), 0.1)
    assert names(chosen(drafts, genotype(), limits(5.0), costing())) == {"a"}
    # No one conv holds the budget of 4, and two lose too much.
    assert "reverted" in names(chosen(drafts, genotype(), limits(4.0), costing()))


def test_what_the_file_has_no_node_of_stays_in_float() -> None:
    drafts = Told(lambda names: 0.0)
    found = chosen(drafts, genotype(), limits(5.0, (*NAMES, "gone")), costing())
    assert "gone" not in names(found) and len(names(found)) == 3


class Formed:
    """Drafts of a form, of which the test says what each takes; the file of the convs `broken` cannot be made."""

    made: ClassVar[list[Path]] = []

    def __init__(self, path: Path, folder: Path, *_: object, beside: Path) -> None:
        if path.name == "broken":
            raise RuntimeError("no such thing")
        self.made.append(beside)
        self.path = path

    def seconds(self, paths: list[Path]) -> list[float]:
        return [{"float": 2.0, "bare": 1.0}[path.name] for path in paths]


@pytest.mark.parametrize(
    ("names", "missed", "form"),
    [
        ({"float": "ab", "bare": "ab"}, {}, "as it was"),  # the faster one
        ({"float": "ab", "bare": "a"}, {}, ""),  # the one with all that was chosen
        ({"float": "ab", "bare": "a"}, {"float": 8.0}, "as it was"),  # the one that holds the budget
        ({"float": None, "bare": "a"}, {}, "as it was"),
        ({"float": "a", "bare": None}, {}, ""),
        ({"float": None, "bare": None}, {}, ""),
        ({"broken": "ab", "bare": None}, {}, "as it was"),
        ({"float": "ab", "broken": "ab"}, {}, ""),
    ],
)
def test_of_two_forms_the_better_one(
    names: dict[str, str | None], missed: dict[str, float], form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(prepare(ToyNet, toy_data(), config=FAST), limits=limits(5.0))

    def draft(drafts: Formed, *_: object) -> Draft | None:
        found = names[drafts.path.name]
        return None if found is None else Draft(drafts.path, tuple(found), 0.9, True)

    monkeypatch.setattr(precise, "Drafts", Formed)
    monkeypatch.setattr(precise, "chosen", draft)
    monkeypatch.setattr(precise, "measuring", lambda *_: lambda path: {"params=1": missed.get(path.name, 4.0)})
    forms = dict(zip(("", "as it was"), map(Path, names), strict=True))
    judge = Judge(lambda _: 0.9, 0.9, True, 0.1, "as the test says")
    found = precise.best_form(run, forms, tmp_path, judge, genotype("a", "b"), ToyNet())
    assert found[0] == form and found[2] == (draft(found[1]) if names[found[1].path.name] else None)
    assert set(Formed.made) == {next(iter(forms.values()))}  # both are held against the float file
    Formed.made.clear()


def in_int8(path: Path) -> set[str]:
    """The convs and matrix products of a file that read dequantised inputs and weights."""
    graph = onnx.load(str(path)).graph
    maker = {name: node.op_type for node in graph.node for name in node.output}
    return {n.name for n in graph.node if {maker.get(name) for name in n.input[:2]} == {"DequantizeLinear"}}


CONFIG = {
    **FAST,
    "search": {**FAST["search"], "budgets": ["size=0.6x", "latency=9s"]},
    "export": {"int8": True, "max_drop": 1.0, "dynamic_size": False, "layout": "off"},
}


class Wide(ToyNet):
    """Wide enough for int8 to be smaller."""

    def __init__(self) -> None:
        super().__init__(16)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dashfx.run.result.Result]:
    folder = tmp_path_factory.mktemp("run") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent))
        patch.setattr("dashfx.cost.latency.model.latencies", lambda models, *_, free=True: [latency() for _ in models])
        patch.setattr("dashfx.cost.latency.model.int8_latencies", lambda models, *_: [latency() for _ in models])
        return folder, dashfx.search(Wide, toy_data(), out=folder, config=CONFIG)


def latency() -> dashfx.cost.latency.Latency:
    return dashfx.cost.latency.Latency(1e-3, 1e-3, 1e-3, 5, 1)


def test_a_search_chooses_kernels_and_bits_that_hold_the_budgets_in_the_file(
    searched: tuple[Path, dashfx.run.result.Result],
) -> None:
    folder, found = searched
    small = found.int8
    assert small is not None and small.path == folder / "model.int8.onnx" and found.genotype.bits
    assert in_int8(small.path) == set(found.genotype.bits) <= {"conv1", "conv2"}
    assert not in_int8(folder / "model.onnx")
    size, time = found.budgets
    assert size.held and "model.int8.onnx has" in size.sentence and time.held
    assert size.estimated == pytest.approx(size.measured, rel=0.1)
    written = Genotype.load(folder / "genotype.json")
    assert written == found.genotype and written.bits == found.genotype.bits
    assert json.loads(dashfx.deploy.runtime.read_metadata(folder / "model.onnx")["genotype"])["dashfx_genotype"] == 1
    assert any(note.startswith("int8: on 57 training rows") for note in found.notes)
    assert size.sentence in (folder / "report.html").read_text()
    facts = json.loads((folder / "result.json").read_text())
    assert [each["name"] for each in facts["files"]] == ["model.onnx", "model.int8.onnx"]
    assert [each.metric for each in found.files] == [found.onnx_valid, small.metric]
    assert [each["rows"] for each in facts["files"][1]["latency"]] == [1, 16] and facts["fp16"] is None


def test_the_same_without_int8_is_refused_where_float_is_too_large(tmp_path: Path) -> None:
    config = {**CONFIG, "export": {}, "search": {**CONFIG["search"], "budgets": ["size=0.6x"]}}
    with pytest.raises(dashfx.errors.DashfxError, match="the least that this model and space can have"):
        dashfx.search(Wide, toy_data(), out=tmp_path / "run", config=config)
