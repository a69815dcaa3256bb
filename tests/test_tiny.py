"""The whole pipeline in seconds: from a user's file to a checked ONNX file, and again from where it was interrupted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toys import FAST, SIZE, arrays

import dashfx
from dashfx.deploy.runtime import OnnxModel, read_metadata
from dashfx.errors import RunFolderError
from dashfx.pipeline import retrain_genotype
from dashfx.report.page import write_report
from dashfx.run.result import Result
from dashfx.stages.export import onnx_metric
from dashfx.stages.reopen import lowered_of, model_of, result_of
from dashfx.train.progress import Epoch, Observer, read_log

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv1 = nn.Conv1d(2, width, 3, padding=1)
        self.norm = nn.BatchNorm1d(width)
        self.conv2 = nn.utils.weight_norm(nn.Conv1d(width, width, 3, padding=1))
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(width, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv1(x)))
        return self.fc(self.drop(torch.relu(self.conv2(x)).amax(-1)))
"""
FILES = {
    ".lock",
    "autotune.json",
    "config.yaml",
    "data.json",
    "env.json",
    "log.jsonl",
    "checkpoints",
    "genotype.json",
    "result.json",
    "report.html",
    "model.safetensors",
    "model.onnx",
    "load_model.py",
    "predict.py",
    "net.py",
}
CONFIG = {**FAST, "model_args": {"width": 5}}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    (folder / "net.py").write_text(NET)
    np.savez(folder / "waves.npz", **arrays())
    return folder


def search(user: Path, out: str, **options: Any) -> Result:
    return dashfx.search(f"{user / 'net.py'}:Net", str(user / "waves.npz"), config=CONFIG, out=user / out, **options)


@pytest.fixture(scope="module")
def finished(user: Path) -> Result:
    return search(user, "straight")


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_the_folder_holds_the_run(finished: Result) -> None:
    folder = finished.folder
    assert folder is not None and {path.name for path in folder.iterdir()} == FILES
    facts = json.loads((folder / "result.json").read_text())
    assert facts["valid"] == finished.valid and facts["test"] == finished.test
    assert dashfx.Genotype.load(folder / "genotype.json") == finished.genotype
    assert set(finished.genotype) == {"conv1", "conv2"}
    stages = [event["name"] for event in read_log(folder / "log.jsonl") if event["event"] == "stage"]
    expected = [
        "trace",
        "canonicalise",
        "substitute",
        "prune",
        "annotate",
        "search",
        "discretise",
        "lower",
        "retrain",
        "compare",
        "export",
        "report",
    ]
    assert stages == expected and list(finished.seconds) == ["load", *expected]
    account = finished.account
    assert account is not None and facts["account"] == account.to_dict() and account.rows["report"]["other"] > 0
    seconds = {**finished.seconds, "else": account.of("else")}
    assert 0 < account.share < 1 and account.total == pytest.approx(sum(seconds.values()), abs=0.05)


def test_the_report_is_written_anew_from_the_folder(finished: Result, tmp_path: Path) -> None:
    assert finished.folder is not None
    run, result = result_of(finished.folder)
    assert result.seconds == {name: round(seconds, 2) for name, seconds in finished.seconds.items()}
    result = replace(result, seconds=finished.seconds)
    write_report(tmp_path / "report.html", result, run.config, run.inputs.data)
    assert (tmp_path / "report.html").read_text() == (finished.folder / "report.html").read_text()


def test_the_model_is_the_users_own(finished: Result) -> None:
    assert type(finished.model).__name__ == "Net" and type(finished.model).__module__.startswith("_user_net")
    assert not any(type(module).__module__.startswith("dashfx") for module in finished.model.modules())
    assert finished.model.conv1.out_channels == 5 and not finished.model.training
    for name, choice in finished.genotype.items():
        conv = finished.model.get_submodule(name)
        assert (conv.kernel_size, conv.dilation) == (choice.kernel, choice.dilation)
    keys = load_file(finished.folder / "model.safetensors").keys()
    assert set(keys) == set(finished.model.state_dict()) and "conv2.weight_g" in keys


def test_the_onnx_file_gives_the_same_answers_and_metric(finished: Result) -> None:
    run, model, _ = model_of(finished.folder)
    onnx = OnnxModel(finished.folder / "model.onnx")
    x = torch.randn(5, 2, SIZE + 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(onnx(x), model(x), rtol=1e-4, atol=1e-5)
    assert finished.onnx_valid == pytest.approx(finished.valid)
    assert onnx_metric(finished.folder / "model.onnx", run.inputs.data, run.inputs.task, "test") == pytest.approx(
        finished.test
    )
    assert dashfx.Genotype.from_json(read_metadata(finished.folder / "model.onnx")["genotype"]) == finished.genotype


def test_the_loader_gives_the_model_back_without_dashfx(finished: Result) -> None:
    x = torch.randn(2, 2, SIZE, generator=torch.Generator().manual_seed(0))
    torch.save({"x": x, "y": finished.model(x).detach()}, finished.folder.parent / "pair.pt")
    code = (
        "import sys; sys.modules['dashfx'] = None; import torch, load_model; pair = torch.load('../pair.pt');"
        "assert torch.equal(load_model.load()(pair['x']), pair['y'])"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=finished.folder, check=True)


class Interrupt(Observer):
    """Stops after so many epochs of a stage, as Ctrl-C or a power cut would; a line may be half-written by then."""

    def __init__(self, stage: str, epochs: int) -> None:
        self._stage, self._epochs = stage, epochs

    def epoch(self, facts: Epoch) -> None:
        if (facts.stage, facts.epoch + 1) == (self._stage, self._epochs):
            raise KeyboardInterrupt


@pytest.mark.parametrize(("stage", "epochs"), [("search", 1), ("retrain", 1)])
def test_an_interrupted_run_ends_as_if_nothing_had_happened(
    user: Path, finished: Result, stage: str, epochs: int
) -> None:
    out = f"interrupted-{stage}"
    with pytest.raises(KeyboardInterrupt):
        search(user, out, observer=Interrupt(stage, epochs))
    torch.manual_seed(123)
    if stage == "search":
        with pytest.raises(RunFolderError, match=r"holds no genotype\.json: its search has not finished"):
            model_of(user / out)
    else:
        with pytest.raises(RunFolderError, match="the run has not finished"):
            model_of(user / out)
    resumed = search(user, out, resume=True)
    assert resumed.genotype == finished.genotype
    assert same_weights(resumed.model, finished.model)
    assert (resumed.valid, resumed.test) == (finished.valid, finished.test)
    assert [(e.stage, e.epoch, e.loss, e.metric, dict(e.mixtures)) for e in resumed.history] == [
        (e.stage, e.epoch, e.loss, e.metric, dict(e.mixtures)) for e in finished.history
    ]


@pytest.mark.parametrize("stage", ["search", "one-by-one"])
def test_a_search_whose_candidates_leave_resumes_and_lowers_the_same(
    user: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    growth = {"init": "grow", "shrink": 0.9, "epochs": 6, "discretise": "one-by-one", "recovery": 0.5}
    config = {**CONFIG, "search": {**CONFIG["search"], **growth}}

    def run(out: str, **options: Any) -> Result:
        return dashfx.search(f"{user / 'net.py'}:Net", str(user / "waves.npz"), config=config, out=out, **options)

    straight, out = run(str(user / f"{stage}-straight")), str(user / f"{stage}-stopped")
    with pytest.raises(KeyboardInterrupt):
        run(out, observer=Interrupt(stage, 5 if stage == "search" else 1))
    resumed = run(out, resume=True)
    assert resumed.genotype == straight.genotype and same_weights(resumed.model, straight.model)
    plain, genotype = lowered_of(out)
    assert genotype == straight.genotype
    assert {name: plain.get_submodule(name).kernel_size for name in genotype} == {
        name: choice.kernel for name, choice in genotype.items()
    }


def test_what_a_probe_left_alone_is_left_alone_when_lowered_again(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.stages.export.exported", lambda *_: (None, None))  # exporting takes seconds
    auto = {"space": {**CONFIG["space"], "sites": "auto", "probe": 3}, "search": {**CONFIG["search"], "init": "grow"}}
    model, data, out = f"{user / 'net.py'}:Net", str(user / "waves.npz"), str(user / "probed")
    result = dashfx.search(model, data, config={**CONFIG, **auto}, out=out)
    plain, genotype = lowered_of(out)
    assert len(genotype) == 1 and genotype == result.genotype
    assert [tuple(p.shape) for p in plain.parameters()] == [tuple(p.shape) for p in result.model.parameters()]


def test_a_resumed_run_must_be_the_same(user: Path, finished: Result) -> None:
    with pytest.raises(RunFolderError, match=r"model_args\.width: 5 there"):
        dashfx.search(f"{user / 'net.py'}:Net", str(user / "waves.npz"), config=FAST, out=finished.folder, resume=True)
    with pytest.raises(RunFolderError, match="exists and is not empty"):
        search(user, "straight")


def test_an_earlier_run_can_be_opened(finished: Result) -> None:
    run, model, genotype = model_of(finished.folder)
    assert genotype == finished.genotype and same_weights(model, finished.model)
    assert run.config.model_args == {"width": 5} and len(run.inputs.data.test) > 0


def test_an_earlier_run_can_be_opened_after_its_checkpoint_is_gone(finished: Result, tmp_path: Path) -> None:
    assert finished.folder is not None
    copied = Path(shutil.copytree(finished.folder, tmp_path / "copy"))
    config = copied / "config.yaml"
    text = (
        config.read_text()
        .replace("checkpoint: null", "checkpoint: gone.pt")
        .replace("new_head: false", "new_head: true")
    )
    config.write_text(text.replace("weights: inherit", "weights: pretrained"))
    run, model, _ = model_of(copied)
    assert same_weights(model, finished.model) and run.config.checkpoint == "gone.pt"  # as a report anew tells it


def test_what_the_search_left_can_be_lowered_again(user: Path, finished: Result) -> None:
    plain, genotype = lowered_of(finished.folder)
    assert genotype == finished.genotype and list(plain.state_dict()) == list(finished.model.state_dict())
    again = retrain_genotype(f"{user / 'net.py'}:Net", str(user / "waves.npz"), genotype, start=plain, config=CONFIG)
    assert same_weights(again.model, finished.model)  # retraining from there is what the run itself did


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run's folder"):
        model_of(tmp_path)
