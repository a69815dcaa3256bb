"""Every mistake of a user's is one line on stderr and exit code 2, and nothing is trained or left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from dashfx.cli.main import run

MODELS = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self, num_classes=4):
        super().__init__(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, num_classes))

class Needy(Net):
    def __init__(self, width):
        super().__init__()

class Plain(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 4))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with models and data, good and bad."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(MODELS)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 1, 8, 8)).astype(np.float32), np.arange(40) % 4
    hole = x.copy()
    hole[3, 0, 2, 1] = np.nan
    np.savez("good.npz", x=x, y=y)
    np.savez("rank.npz", x=x[:, 0, 0, 0], y=y)
    np.savez("nan.npz", x=hole, y=y)
    np.savez("labels.npz", x_train=x, y_train=y, x_test=x, y_test=y + 1)
    np.savez("empty.npz", x_train=x, y_train=y, x_test=x[:0], y_test=y[:0])
    np.savez("objects.npz", x=np.array([[1], [2, 3]], dtype=object), y=np.arange(2))
    Path("taken").mkdir()
    Path("taken", "thesis.tex").write_text("mine")
    return tmp_path


def search(*more: str, model: str = "net.py:Net", data: str = "good.npz") -> list[str]:
    return ["search", model, "--data", data, "--out", "out", *more]


BAD: dict[str, tuple[list[str], str]] = {
    "no file": (search(model="nut.py:Net"), "no such file: nut.py (did you mean 'net.py'?)"),
    "no class": (search(model="net.py:Nett"), "did you mean 'Net'"),
    "a budget's unit": (search("--max", "latency=2KB"), "write one such as 1s, 1ms, 1us, or 0.7x of the model"),
    "an ensemble of one": (search("--ensemble", "1"), "an average needs 2 models or more"),
    "an ensemble of more than is trained": (search("--ensemble", "3"), "--ensemble 3: this run trains 2 models that"),
    "an ensemble without a control": (search("--ensemble", "2", "--no-control"), "this run trains 1 model that may"),
    "a teacher that is none": (search("--distil", "--strategy", "dash"), "give ensemble.count (--ensemble 2) too"),
    "a share of nothing": (search("--set", "ensemble.share=0"), "option 'ensemble.share'"),
    "a temperature of nothing": (search("--set", "ensemble.temperature=0"), "option 'ensemble.temperature'"),
    "a budget too small": (search("--max", "params=1k", "memory=1KB"), "budget memory=1KB: the least that this model"),
    "no spec": (search(model="net.py"), "write file.py:Class"),
    "needs arguments": (search(model="net.py:Needy"), "give --model-args width=..."),
    "unknown argument": (search("--model-args", "num_clases=4"), "did you mean 'num_classes'"),
    "model argument without =": (search("--model-args", "4"), "write name=value"),
    "no convs": (search(model="net.py:Plain"), "no conv to search"),
    "no convs, check": (["check", "net.py:Plain", "--input", "1x8x8"], "no conv to search"),
    "output and labels": (search("--model-args", "num_classes=7"), "gives 7 outputs, the data has 4 classes"),
    "no such data": (search(data="god.npz"), "did you mean 'good.npz'"),
    "rank": (search(data="rank.npz"), "x"),
    "NaN": (search(data="nan.npz"), "NaN"),
    "labels out of range": (search(data="labels.npz"), "label"),
    "empty split": (search(data="empty.npz"), "test"),
    "object arrays": (search(data="objects.npz"), "object"),
    "no data": (["search", "net.py:Net"], "no data"),
    "no model": (["search", "--data", "good.npz"], "no model"),
    "unknown option": (search("--epoch", "3"), "--epochs"),
    "unknown verb": (["serch"], "Did you mean 'search'"),
    "not a number": (search("--epochs", "many"), "--epochs"),
    "epochs of retraining": (search("--retrain-epochs", "some"), "give a number of epochs, 1 or more, or auto"),
    "a schedule without a length": (search("--set", "retrain.schedule=cosine"), "give retrain.epochs a number"),
    "unknown setting": (search("--set", "search.epoch=3"), "did you mean 'epochs'"),
    "setting of a wrong kind": (search("--set", "search.epochs=-1"), "search.epochs"),
    "setting without =": (search("--set", "search.epochs"), "name=value"),
    "no such configuration": (search("--config", "none.yaml"), "none.yaml"),
    "unknown task": (search("--task", "clasify"), "did you mean 'classify'"),
    "unknown metric": (search("--task", "classify:acuracy"), "did you mean 'accuracy'"),
    "task for other data": (search("--task", "regress"), "regress"),
    "unknown preset": (search("--space", "dash2"), "did you mean 'dash2d'"),
    "unknown rule": (search("--rule", "armgax"), "did you mean 'argmax'"),
    "unknown strategy": (
        search("--strategy", "darts"),
        "(did you mean 'dash'?); there are dash, ladder, evolution",
    ),
    "unknown device": (search("--device", "tpu"), "choose auto, cpu or cuda"),
    "sizes": (search("--kernels", "3;5"), "write whole numbers as 3,5,7"),
    "kernels beyond memory": (search("--kernels", "3,99999999"), "give smaller kernels or exclude the site"),
    "kernel of 0": (search("--kernels", "0,3"), "at least 1"),
    "no original to grow": (
        search("--init", "grow", "--kernels", "5,7", "--dilations", "1", "--set", "space.keep_original=false"),
        "growing needs its own k3 d1 in the space",
    ),
    "no such checkpoint": (search("--checkpoint", "w.pt"), "no such checkpoint"),
    "nothing included": (search("--include", "stem*"), "not included by stem*"),
    "taken out": ([*search()[:-1], "taken"], "not empty"),
    "unwritable out": ([*search()[:-1], "net.py/run"], "cannot be written"),
    "resume without out": (["search", "--resume"], "--resume needs --out"),
    "resume nothing": (["search", "--resume", "--out", "nowhere"], "not a run's folder"),
    "input": (["check", "net.py:Net", "--input", "1,8,8"], "such as 3x32x32"),
    "input of other channels": (["check", "net.py:Net", "--input", "3x8x8"], "2x3x8x8"),
    "no input": (["check", "net.py:Net"], "--input 3x32x32"),
    "no such run": (["show", "nowhere"], "no such run folder or genotype file: nowhere"),
    "no genotype": (["show", "net.py"], "not a genotype"),
    "a folder of something else": (["show", "taken"], "taken is not a run's folder: it has no genotype.json"),
    "pretrained by nothing": (
        search("--weights", "pretrained"),
        "starts from a checkpoint's kernels",
    ),
    "a new head for nothing": (search("--new-head"), "new_head says how a checkpoint is read: give --checkpoint"),
    "retrain nothing": (["retrain", "nowhere"], "not a run's folder"),
    "lower nothing": (["lower", "taken"], "not a run's folder"),
    "report nothing": (["report", "nowhere"], "no such folder: nowhere"),
    "report no run": (["report", "."], "no finished run in ."),
    "report by what": (["report", ".", "--method", "folders"], "did you mean 'folder'?"),
    "export nothing": (["export", "nowhere"], "no such run folder or file"),
    "export into a folder": (["export", "net.py", "--out", "taken"], "it is a folder; name the file"),
    "export a foreign file": (["export", "net.py"], "has no load()"),
    "evaluate nothing": (["eval", "nowhere.onnx", "--data", "good.npz"], "nowhere.onnx"),
    "evaluate a foreign file": (["eval", "net.py", "--data", "good.npz"], "give an .onnx file"),
}


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if not line.startswith("note: ")]
    assert "Traceback" not in said
    assert errors[-1].startswith("error: "), said
    assert sum(line.startswith("error: ") for line in errors) == 1
    return errors[-1]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--rule=armgax", "did you mean 'argmax'"),
        ("--set=search.cost=spam", "did you mean 'span'"),
        ("--sites=auto", "give --checkpoint, or --init grow"),
        ("--strategy=evolution --evaluator=genas", "did you mean 'gennas'"),
        ("--strategy=evolution --evaluator=none.json", "none.json"),
        ("--strategy=evolution --set=blackbox.tournament=60", "a tournament of 60"),
        ("--strategy=evolution --warm-start=gennas", "is for strategy dash"),
        ("--warm-start=supernet", "give a proxy, train or a table"),
        ("--strategy=local --budget=1h", "counts evaluations"),
        ("--weights=pretrained", "give --checkpoint"),
        ("--device=tpu", "choose auto, cpu or cuda"),
        ("--device=cpu --amp=fp16", "needs a GPU"),
        ("--task=clasify", "did you mean 'classify'"),
        ("--task=classify:acuracy", "did you mean 'accuracy'"),
        ("--task=mine.py:task", "no such file: mine.py"),
        ("--loss=fokal", "no task has a loss 'fokal' (did you mean 'focal'?)"),
        ("--task=regress --loss=focal", "task regress has no loss 'focal'"),
        ("--task=regress --set=loss.label_smoothing=0.1", "task regress has no option loss.label_smoothing"),
        ("--augment=flip,crup", "did you mean 'crop'"),
        ("--augment=mine.py:augment", "no such file: mine.py"),
        ('--tune=3 --set=tune.space={"momentm":[0.9]}', "did you mean 'momentum'"),
        ('--tune=3 --set=tune.space={"augment":[null,"jiter"]}', "did you mean 'jitter'"),
    ],
)
def test_options_are_refused_before_model_and_data_are_read(
    place: Path, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    assert run(search(*option.split(), model="never.py:Read", data="never.npz")) == 2
    assert said in only_line(capsys)


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(arguments) == 2
    assert said in only_line(capsys)
    assert sorted(path.name for path in place.joinpath("taken").iterdir()) == ["thesis.tex"]
    assert not (place / "runs").exists()


def test_a_checkpoint_with_other_keys_names_the_nearest(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {"0.weigth": torch.zeros(4, 1, 3, 3), "0.bias": torch.zeros(4), "4.weight": torch.zeros(4, 4)}
    torch.save(weights, "w.pt")
    assert run(search("--checkpoint", "w.pt")) == 2
    line = only_line(capsys)
    assert "2 of 4 names are missing" in line and "'0.weight' (did you mean '0.weigth'?)" in line and "'4.bias'" in line


def test_an_onnx_file_of_somebody_else(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 8, 8])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, 8, 8])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "theirs", [x], [y])
    onnx.save(onnx.helper.make_model(graph), "theirs.onnx")
    assert run(["eval", "theirs.onnx", "--data", "good.npz"]) == 2
    assert "not an ONNX file of dashfx" in only_line(capsys)


def test_what_is_no_mistake_of_the_user_keeps_its_traceback(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Callable[..., object]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("dashfx.cli.options.shared.configuration", broken)
    with pytest.raises(ZeroDivisionError):
        run(search())
