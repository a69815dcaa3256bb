"""A finished run that was made up, and its report: what the tests of the report share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from dashfx.config.run import RunConfig
from dashfx.cost.budgets import Spent
from dashfx.cost.latency import Figures, Latency
from dashfx.data import Data
from dashfx.deploy.export import ExportReport
from dashfx.deploy.verify import Case, VerifyReport
from dashfx.genotype import Genotype
from dashfx.report.page import write_report
from dashfx.run.result import Network, Result, Standing
from dashfx.site import Site
from dashfx.space import Candidate
from dashfx.train.progress import Epoch

EVIL = "<script>alert('x')</script>"
ESCAPED = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"
K3, K5, K7 = Candidate((3, 3)), Candidate((5, 5), (2, 2)), Candidate((7, 7))
CHOICES = Genotype({"a": K5, "b": K7}, "argmax")
SPACE = {"kernels": [3, 5, 7], "dilations": [1, 2]}


def config(**search: object) -> RunConfig:
    return RunConfig.parse({"model": "net.py:Net", "space": SPACE, "search": search})


def site(name: str) -> Site:
    return Site(name, 4, 4, K3, (1, 1), ((1, 1), (1, 1)), 1, True, "zeros", ((8, 8),))


def epoch(stage: str, i: int, n: int, metric: float, mixtures: Mapping[str, tuple[float, str]] | None = None) -> Epoch:
    return Epoch(stage, i, n, 1.0 / (i + 1), metric, metric, 0.1, 1.0, 10.0, mixtures or {})


def exported() -> ExportReport:
    cases = (Case(((1, 1, 8, 8),), 1.2e-7), Case(((5, 1, 8, 8),), 3.4e-7))
    verification = VerifyReport(Path("model.onnx"), ("CPUExecutionProvider",), 1e-4, cases)
    axes = {"input": ("batch",)}
    return ExportReport(
        Path("model.onnx"), 12345, 18, "dynamo", axes, ("a narrower axis",), verification, Counter(Conv=2)
    )


def written(folder: Path, result: Result, config: RunConfig, data: Data) -> str:
    write_report(folder / "report.html", result, config, data)
    return (folder / "report.html").read_text(encoding="utf-8")


def standing(origin: str, valid: float, test: float | None = 0.8, **more: Any) -> Standing:
    """A finalist; measured on the test part unless `test` is None."""
    figures = None if test is None else more.pop("figures", Figures(valid, test, 1, 1))
    return Standing(
        origin, origin, **{"genotype": CHOICES, "stage": "retrain", "figures": figures, **more}, valid=valid
    )


def figures_of(result: Result) -> Result:
    """The result with everything that a page can show."""
    latency = Latency(0.002, 0.001, 0.004, 30, 1)
    searched = standing("searched", 0.9, figures=Figures(0.9, 0.8, 12_345, 67_890, latency), kept=True)
    untouched = standing("untouched", 0.85, figures=Figures(0.85, 0.8, 1_234, 6_789), stage="control")
    edges = (("input", "a"), ("a", "b"), ("a", "head"), ("b", "head"), ("head", "output"))
    before, after = {"a": (3.0, 3.0), "b": (5.0, 5.0)}, {"a": (9.0, 9.0), "b": (15.0, 15.0)}
    spent = Spent("latency=2ms", "latency", "seconds", 0.002, 0.002, 0.003, False, "budget latency=2ms: missed by 1 ms")
    return replace(
        result,
        finalists=(searched, untouched),
        budgets=(spent,),
        notes=[*result.notes, spent.sentence],
        network=Network(("a", "b", "head"), edges, before, after, ((5.0, 5.0), (15.0, 15.0))),
        memory=dict.fromkeys(result.seconds, 10**9),
    )


class Balance(HTMLParser):
    """Collects text, and elements that are opened and not closed."""

    VOID = frozenset({"meta", "br", "rect", "path", "image", "use"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.tags: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[name] += 1
        if name not in self.VOID:
            self.open.append(name)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[name] += 1

    def handle_endtag(self, name: str) -> None:
        if name not in self.VOID:
            assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text += data
