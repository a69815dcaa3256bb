"""A run with an ensemble and a distilled model: its files, its figures, and what an interruption leaves of it."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toys import FAST, SIZE, ToyNet, arrays, toy_data
from typer.testing import CliRunner

import dashfx
import dashfx.pipeline
from dashfx.cli.main import app
from dashfx.cost.latency import Figures
from dashfx.deploy.programs.averaged import Averaged
from dashfx.deploy.runtime import OnnxModel, read_metadata
from dashfx.errors import VerifyError
from dashfx.genotype import Genotype
from dashfx.report.page import write_report
from dashfx.run.outcome.ensemble import Ensemble, Member
from dashfx.run.result import DISTILLED, SEARCHED, UNTOUCHED, Result
from dashfx.stages.ensemble import distil
from dashfx.stages.reopen import model_of, result_of
from dashfx.stages.retrain import Retrained
from dashfx.train.progress import Epoch, Observer

NET = (Path(__file__).parents[2] / "toys.py").read_text(encoding="utf-8")
EXPECTED = {"averaged.py", "member_1.py", "member_1.safetensors", "member_2.py", "member_2.safetensors"}


def options(**more: Any) -> dict[str, Any]:
    search = {**FAST["search"], "epochs": 2, "autotune": False}
    retrain = {"epochs": 4, "batch_size": 16, "lr": 0.02, "weights": "fresh", "autotune": False}
    own = {"count": 2, "distil": True, **more.pop("ensemble", {})}
    return {**FAST, "search": search, "retrain": retrain, "control": True, "ensemble": own, **more}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Her folder: a model, and waves whose classes are harder to tell than the toys'."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "net.py").write_text(NET.replace("from dashfx.data import Data, load_data\n", "Data = None\n"))
    np.savez(folder / "waves.npz", **arrays(120))
    return folder


def search(user: Path, out: Path | None, **more: Any) -> Result:
    keywords = {name: more.pop(name) for name in ("observer", "resume") if name in more}
    return dashfx.search(
        f"{user / 'net.py'}:ToyNet", str(user / "waves.npz"), config=options(**more), out=out, **keywords
    )


@pytest.fixture(scope="module")
def finished(user: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return search(user, tmp_path_factory.mktemp("straight") / "run", export={"int8": True})


def root_of(result: Result) -> Path:
    assert result.folder is not None
    return result.folder


def ensemble_of(result: Result) -> Ensemble:
    assert result.ensemble is not None
    return result.ensemble


def answers_of(folder: Path, file: str = "load_ensemble.py") -> torch.Tensor:
    """Those of what a loader of the folder gives to x.pt, in a process that has no dashfx."""
    code = (
        "import sys; sys.modules['dashfx'] = None; import runpy, torch;"
        f"model = runpy.run_path({str(folder / file)!r})['load']();"
        f"torch.save(model(torch.load({str(folder / 'x.pt')!r})), {str(folder / 'y.pt')!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder.parent)
    answers: torch.Tensor = torch.load(folder / "y.pt")
    return answers


def test_the_files_stand_in_the_folder(finished: Result) -> None:
    folder = root_of(finished)
    assert {path.name for path in (folder / "ensemble").iterdir() if path.is_file()} == EXPECTED
    assert (folder / "ensemble.onnx").is_file() and (folder / "load_ensemble.py").is_file()
    assert (folder / "model.onnx").is_file() and not (folder / "ensemble.int8.onnx").exists()
    assert any(note.startswith("int8: the ensemble's file stays in float") for note in finished.notes)


def test_the_file_gives_the_log_of_the_mean_probability(finished: Result) -> None:
    """Of the models that stand in the folder beside it, whatever they are."""
    folder, x = root_of(finished), torch.randn(5, 2, SIZE + 3, generator=torch.Generator().manual_seed(0))
    run, _, _ = model_of(folder)
    members = {each.name: each for each in finished.finalists}
    probabilities = []
    for number, member in enumerate(ensemble_of(finished).members, start=1):
        weights = load_file(folder / "ensemble" / f"member_{number}.safetensors")
        plain = run.inputs.fresh_model()
        for name, choice in members[member.name].genotype.items():
            conv = plain.get_submodule(name)
            padding = tuple(d * (k - 1) // 2 for k, d in zip(choice.kernel, choice.dilation, strict=True))
            made = nn.Conv1d(conv.in_channels, conv.out_channels, choice.kernel, 1, padding, choice.dilation)
            plain.set_submodule(name, made)
        plain.load_state_dict(weights)
        probabilities.append(plain.eval()(x).detach().softmax(1))
    wanted = torch.stack(probabilities).mean(0).log()
    torch.testing.assert_close(OnnxModel(folder / "ensemble.onnx").rows(x), wanted, rtol=1e-4, atol=1e-4)
    torch.save(x, folder / "x.pt")
    torch.testing.assert_close(answers_of(folder), wanted, rtol=1e-5, atol=1e-5)


def test_the_file_says_what_it_is(finished: Result) -> None:
    facts, alone = (read_metadata(root_of(finished) / f"{name}.onnx") for name in ("ensemble", "model"))
    said = json.loads(facts.pop("ensemble"))
    assert said["average"] == "softmax" and list(said["members"]) == [m.name for m in ensemble_of(finished).members]
    assert Genotype.from_json(json.dumps(said["members"][SEARCHED])) == finished.chosen
    for own in (facts, alone):
        own.pop("layout", None)  # of each by itself, as measured
    alone.pop("genotype")
    assert alone == facts


def test_figures_stand_beside_those_of_the_single_model(finished: Result) -> None:
    found = ensemble_of(finished)
    assert found.figures is not None and found.alone is not None and found.exported is not None
    assert found.alone.valid == finished.valid and found.alone.test == finished.test
    assert found.onnx_valid == pytest.approx(found.figures.valid)
    own = [each.figures for each in finished.finalists if each.name in {m.name for m in found.members} and each.figures]
    assert found.figures.parameters == sum(each.parameters for each in own)
    assert found.figures.flops == sum(each.flops for each in own)
    assert found.figures.latency is not None and found.alone.latency is not None
    steps = {
        stage: sum(e.steps for e in finished.history if e.stage == stage) for stage in ("search", "retrain", "control")
    }
    assert found.steps == sum(steps.values()) and all(steps.values())
    distilled = finished.finalist(DISTILLED)
    assert distilled is not None and distilled.search_steps == found.steps and distilled.steps == steps["retrain"]
    assert found.alone_steps == (found.steps + distilled.steps if distilled.kept else found.alone_steps)


def test_result_terminal_and_report_say_so(finished: Result, tmp_path: Path) -> None:
    folder, found = root_of(finished), ensemble_of(finished)
    facts = json.loads((folder / "result.json").read_text())
    assert Ensemble.from_dict(facts["ensemble"]) == found
    sentence = found.sentence("accuracy")
    assert f"{found.steps:,} against {found.alone_steps:,}" in sentence and "latency of a row" in sentence
    assert sentence in finished.notes
    text = (folder / "report.html").read_text()
    assert "<h2>Ensemble</h2>" in text and "ensemble of 2" in text and f"{found.steps:,}" in text
    run, result = result_of(folder)
    assert result.ensemble == found
    write_report(tmp_path / "report.html", result, run.config, run.inputs.data)
    assert "<h2>Ensemble</h2>" in (tmp_path / "report.html").read_text()


@pytest.fixture
def moved(finished: Result, user: Path, tmp_path: Path) -> Path:
    """The run's folder alone, where no source of hers is."""
    shutil.copytree(root_of(finished), tmp_path / "there", ignore=shutil.ignore_patterns("checkpoints"))
    shutil.copy(user / "waves.npz", tmp_path / "waves.npz")
    text = (tmp_path / "there" / "config.yaml").read_text().replace(str(user), "/nowhere")
    (tmp_path / "there" / "config.yaml").write_text(text)
    for file in (tmp_path / "there").rglob("*.py"):
        file.write_text(file.read_text().replace(str(user), "/nowhere"))
    return tmp_path / "there"


def said(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_verbs_work_on_a_copied_folder(moved: Path) -> None:
    data = ("--data", moved.parent / "waves.npz")
    assert "120 rows, ensemble, ONNX Runtime" in said("eval", moved, *data)
    assert "waves test, 24 rows, ONNX Runtime" in said("eval", moved / "ensemble.onnx", *data, "--part", "test")
    assert "report.html" in said("report", moved, *data)
    shown = said("show", moved)
    assert "ensemble of 2" in shown and "load_ensemble.py" in shown
    before = (moved / "model.onnx").read_bytes(), read_metadata(moved / "ensemble.onnx")
    assert "opset 19" in said("export", moved / "load_ensemble.py", "--opset", "19")
    assert (moved / "model.onnx").read_bytes() == before[0]  # the single model's file is another
    assert read_metadata(moved / "ensemble.onnx")["ensemble"] == before[1]["ensemble"]


def test_raw_rows_are_answered_without_dashfx(moved: Path) -> None:
    np.save(moved / "rows.npy", np.load(moved.parent / "waves.npz")["x"][:7])
    command = [sys.executable, "predict.py", "rows.npy", "--model", "ensemble.onnx", "--out", "answers.npy"]
    done = subprocess.run(command, check=True, cwd=moved, capture_output=True, text=True)
    answers = np.load(moved / "answers.npy")
    np.testing.assert_allclose(np.exp(answers).sum(1), 1.0, rtol=1e-4)  # logs of probabilities
    assert [line.split(": ")[1] for line in done.stdout.splitlines()] == [str(each) for each in answers.argmax(1)]


class Stop(Observer):
    """Ends the process's work in the middle of a stage, as Ctrl-C does."""

    def __init__(self, stage: str) -> None:
        self.where = stage, 1

    def epoch(self, facts: Epoch) -> None:
        if (facts.stage, facts.epoch) == self.where:
            raise KeyboardInterrupt


@pytest.fixture
def without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports take seconds."""
    monkeypatch.setattr("dashfx.stages.ensemble.average.written", lambda _, __, ___, found: found)
    monkeypatch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))


@pytest.mark.parametrize("stage", ["control", "distil"])
def test_an_interrupted_run_ends_as_one_that_was_not(
    stage: str, user: Path, finished: Result, tmp_path: Path, without_files: None
) -> None:
    more = {"export": {"int8": True}}
    with pytest.raises(KeyboardInterrupt):
        search(user, tmp_path / "run", observer=Stop(stage), **more)
    assert (tmp_path / "run" / "checkpoints" / f"{stage}-last.pt").is_file()
    result = search(user, tmp_path / "run", resume=True, **more)
    ours, theirs = result.model.state_dict(), finished.model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    values = [(each.name, each.valid, each.kept) for each in result.finalists]
    assert values == [(each.name, each.valid, each.kept) for each in finished.finalists]
    figures, wanted = ensemble_of(result).figures, ensemble_of(finished).figures
    assert figures and wanted and (figures.valid, figures.test) == (wanted.valid, wanted.test)
    metrics = [(e.stage, e.loss, e.metric) for e in result.history]
    assert metrics == [(e.stage, e.loss, e.metric) for e in finished.history]


@pytest.mark.parametrize(("gain", "kept"), [(0.01, True), (0.0, False), (-0.01, False), (float("nan"), False)])
def test_the_distilled_model_is_kept_only_where_it_is_better(
    gain: float, kept: bool, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = distil.retrain

    def judged(run: Any, model: nn.Module, stage: str, make: Any) -> Retrained:
        done = trained(run, model, stage, make)
        return Retrained(done.model, 0.0, best[0] + gain, done.loss, done.history)

    best: list[float] = []

    def members(decision: Any) -> Any:
        best.append(decision.kept.judged)
        return members_of(decision)

    members_of = distil.members_of
    monkeypatch.setattr(distil, "retrain", judged)
    monkeypatch.setattr(distil, "members_of", members)
    result = search(user, None)
    distilled, standing = result.finalist(DISTILLED), result.kept
    assert distilled is not None and standing is not None and distilled.kept == kept
    assert (standing.origin == DISTILLED) == kept and standing.stage == ("distil" if kept else standing.stage)
    assert distilled.genotype == standing.genotype == result.genotype
    note = next(note for note in result.notes if note.startswith("distil: "))
    assert note.endswith("it is handed back" if kept else "not better, so that one stays")
    won = SEARCHED if result.genotype == result.chosen else UNTOUCHED
    assert f"{won} is kept" in result.verdict and (", distilled" in result.verdict) == kept
    assert result.to_dict()["kept"] == standing.origin
    assert {each.name for each in ensemble_of(result).members} == {SEARCHED, UNTOUCHED}


def test_a_distillation_that_diverges_has_lost(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(*_: Any) -> None:
        raise dashfx.errors.DivergedError("stage distil: the loss is nan")

    monkeypatch.setattr(distil, "retrain", diverges)
    result = search(user, None)
    distilled = result.finalist(DISTILLED)
    assert distilled is not None and not distilled.kept and np.isnan(distilled.valid)
    assert any(note.startswith("distil: the training diverges") for note in result.notes)
    assert ensemble_of(result).figures is not None


def test_a_file_that_is_not_what_pytorch_computes_is_left_out_and_the_run_goes_on(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differs(*_: Any) -> None:
        raise VerifyError("output differs from PyTorch's")

    monkeypatch.setattr("dashfx.stages.ensemble.average.write_onnx", differs)
    monkeypatch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))
    result = search(user, tmp_path / "run", ensemble={"distil": False})
    found = ensemble_of(result)
    assert found.exported is None and found.onnx_valid is None and found.why == "output differs from PyTorch's"
    assert found.figures is not None and not (tmp_path / "run" / "ensemble.onnx").exists()
    assert found.sentence("accuracy").endswith("; no file: output differs from PyTorch's")
    assert "There is no file of it: output differs" in (tmp_path / "run" / "report.html").read_text()
    assert result.finalist(DISTILLED) is None


def test_an_instance_from_python_has_a_loader_that_takes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.ensemble.average.write_onnx", lambda *_: (None, 0.5))
    monkeypatch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))
    torch.manual_seed(0)
    model = ToyNet()
    result = dashfx.search(model, toy_data(), config=options(ensemble={"distil": False}), out=tmp_path / "run")
    whole = runpy.run_path(str(tmp_path / "run" / "load_ensemble.py"))["load"](ToyNet())
    assert type(whole).__name__ == Averaged.__name__ and len(whole.members) == 2
    assert sum(p.numel() for p in whole.parameters()) == ensemble_of(result).figures.parameters  # type: ignore[union-attr]


def test_members_of_other_widths_are_rebuilt_each_as_it_is(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After tuning, the recipe that lost is a member too, with the width that its options say."""
    monkeypatch.setattr("dashfx.stages.ensemble.average.write_onnx", lambda *_: (None, 0.5))
    monkeypatch.setattr("dashfx.stages.files.deliver.exported", lambda *_: (None, None))
    tune = {"trials": 9, "epochs": 1, "sampler": "grid", "space": {"lr": [0.01], "model_args.width": [6]}}
    result = search(user, tmp_path / "run", tune=tune, ensemble={"count": 3, "distil": False})
    found = ensemble_of(result)
    assert found.why == "" and {each.name for each in found.members} == {"tuned", "plain", "untouched"}
    files = sorted((tmp_path / "run" / "ensemble").glob("*.safetensors"))
    widths = dict(zip([each.name for each in found.members], map(width_of, files), strict=True))
    finals = result.tuned and result.tuned.finals
    assert finals and widths == {"tuned": 6, "plain": 4, "untouched": 6 if finals["kept"] == "tuned" else 4}
    torch.save(torch.zeros(2, 2, SIZE), tmp_path / "run" / "x.pt")
    assert answers_of(tmp_path / "run").shape == (2, 3)


def width_of(file: Path) -> int:
    return load_file(file)["conv1.bias"].numel()


def test_an_ensemble_has_no_complete_file_and_a_note_says_so(user: Path, tmp_path: Path) -> None:
    result = search(user, tmp_path / "run", export={"preprocess": True}, ensemble={"count": 2})
    assert {path.name for path in root_of(result).glob("*.onnx")} == {
        "model.onnx",
        "model.complete.onnx",
        "ensemble.onnx",
    }
    assert any(note.startswith("complete: ensemble.onnx takes normalised inputs") for note in result.notes)


def test_a_retraining_makes_no_ensemble_and_says_so(user: Path) -> None:
    genotype = Genotype({name: dashfx.Candidate(5) for name in ("conv1", "conv2")})
    spec, data = f"{user / 'net.py'}:ToyNet", str(user / "waves.npz")
    result = dashfx.pipeline.retrain_genotype(spec, data, genotype, config=options())
    assert ensemble_of(result).figures is None
    assert ensemble_of(result).sentence("accuracy").startswith("no ensemble: 1 model that may be handed back")
    assert result.to_dict()["ensemble"]["why"] and any(note.startswith("ensemble: 1 model") for note in result.notes)


def test_names_of_members_that_hold_commas_stay_apart() -> None:
    members = tuple(Member(name, "retrain", 0.9, 10) for name in ("untouched, longer, seed 2", "untouched, longer"))
    figures = Figures(0.9, 0.8, 10, 20, None)
    text = Ensemble(members, "probabilities", figures, figures).sentence("accuracy")
    assert text.startswith("ensemble of 2 (untouched, longer, seed 2; untouched, longer) against")
