"""Raw rows of a user's files through a complete file are what dashfx makes of them; and nothing else passes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from user_files import CASES, NAMES, Case, Net

from dashfx.data import Data, Normalisation
from dashfx.data.raw import form_of_finished, raw_data
from dashfx.deploy.complete import file as complete_file
from dashfx.deploy.complete.after import HOLDS, INDEX, LABEL, PROBABILITIES, scores
from dashfx.deploy.complete.file import Around, Complete, Rows, completed
from dashfx.deploy.complete.running import CompleteModel
from dashfx.deploy.export import export
from dashfx.deploy.programs import predict
from dashfx.deploy.quantise.choose import Judge, quantise
from dashfx.errors import DataError, ExportError, VerifyError
from dashfx.genotype import Genotype
from dashfx.stages.export import data_facts, metadata, onnx_metric, real_rows
from dashfx.task import LossOptions, Task, evaluate, in_data_units, load_task

Made = tuple[Path, torch.nn.Module, Data, Task, np.ndarray]
Maker = Callable[[str], Made]


def plain(case: Case, folder: Path) -> Made:
    """A model's file and what it was made from, with the raw rows of the test part."""
    data, rows = case.load(folder)
    task = load_task(case.task, data, LossOptions(normalise_targets=None))
    model = in_data_units(Net(data).eval(), task.target)
    path, facts = folder / "model.onnx", metadata(data, task, Genotype({}, "own"))
    export(model, data.train.__getitems__([0, 1])[0], path, metadata=facts, layout="off")
    return path, model, data, task, rows


def around(data: Data, before: bool = True, meaning: bool = True) -> Around:
    assert data.raw is not None
    return Around(data.raw if before else None, data.normalisation, data.kind, data.labels, meaning)


def complete(made: Made, before: bool = True, meaning: bool = True) -> Complete:
    path, model, data, *_ = made
    wanted = around(data, before, meaning)
    read = real_rows(data)
    rows = Rows(real_rows(raw_data(data, wanted.raw)) if wanted.raw else read, read)
    return completed(path, path.with_name("model.complete.onnx"), model, wanted, rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """The files of a case, written once."""
    known: dict[str, Made] = {}

    def of(name: str) -> Made:
        if name not in known:
            known[name] = plain(CASES[name], tmp_path_factory.mktemp("made"))
        return known[name]

    return of


def run(path: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
    assert given.type != "tensor(uint8)" or rows.dtype == np.uint8  # values are not cast into it
    found = session.run(None, {given.name: rows.astype(kinds[given.type])})
    return dict(zip([each.name for each in session.get_outputs()], found, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_raw_rows_of_files_give_what_dashfx_says(name: str, made: Maker) -> None:
    _, model, data, _, rows = made(name)
    found = complete(made(name))
    x, _ = data.test.__getitems__(list(range(len(data.test))))
    with torch.no_grad():
        answers = model(x).numpy()
    told = run(found.path, rows)
    assert found.error is not None and list(told) == list(found.gives)
    scale = np.abs(answers).max()
    if data.kind == "dense":
        np.testing.assert_allclose(told["output"] / scale, answers / scale, atol=1e-5)
        assert list(told) == ["output"] and np.abs(answers[:, 0] - 50).max() < 30  # in the data's units
        return
    likely = torch.from_numpy(answers)
    expected = (likely.sigmoid() if data.kind == "multilabel" else likely.softmax(1)).numpy()
    np.testing.assert_allclose(told[PROBABILITIES], expected, atol=2e-5)
    if data.kind == "multilabel":
        np.testing.assert_array_equal(told[HOLDS], told[PROBABILITIES] > 0.5)
    else:
        np.testing.assert_array_equal(told[INDEX], told[PROBABILITIES].argmax(1))
    if data.kind == "classes":
        assert told[LABEL].tolist() == [NAMES[place] for place in told[INDEX]]


@pytest.mark.parametrize("name", ["images", "stereo", "far from zero", "several labels", "numbers to regress"])
def test_the_metric_through_a_complete_file_is_that_of_the_plain_one(name: str, made: Maker) -> None:
    files = made(name)
    path, _, data, task, _ = files
    found = complete(files)
    assert onnx_metric(found.path, data, task, "test") == pytest.approx(onnx_metric(path, data, task, "test"), abs=1e-4)


def test_either_half_alone(made: Maker) -> None:
    files = made("series")
    _, model, data, _, rows = files
    x, _ = data.test.__getitems__([0, 1, 2])
    with torch.no_grad():
        expected = model(x)
    before = complete(files, meaning=False)
    assert before.gives == ("output",) and "normalisation" not in CompleteModel(before.path).metadata
    np.testing.assert_allclose(run(before.path, rows[:3])["output"], expected.numpy(), atol=1e-5)
    behind = complete(files, before=False)
    assert behind.gives == (PROBABILITIES, INDEX, LABEL) and "normalisation" in CompleteModel(behind.path).metadata
    np.testing.assert_allclose(run(behind.path, x.numpy())[PROBABILITIES], expected.softmax(1).numpy(), atol=1e-5)


def test_what_stays_outside_is_said(made: Maker) -> None:
    found = complete(made("resized images"))
    assert str(found.path.name) in str(found) and "uint8 rows of 6x6x3, channels last" in str(found)
    assert "decoded to RGB and turned upright" in str(found) and "stretched to 6x6" in str(found)


def test_sizes_stay_free_where_the_model_takes_them(made: Maker) -> None:
    files = made("classes of positions")
    found = complete(files)
    rng = np.random.default_rng(1)
    assert run(found.path, rng.normal(size=(3, 2, 31)))[INDEX].shape == (3, 31)


@pytest.fixture(scope="module")
def small(made: Maker) -> Made:
    """An int8 file, with what it was made from."""
    path, _, data, *_ = files = made("images")
    judge = Judge(lambda file: 1.0, 1.0, True, 1.0, "as a test has it")
    given, _ = data.train.__getitems__(list(range(16)))
    found = quantise(path, path.with_name("model.int8.onnx"), given, given, judge, lambda paths, *_: [1.0] * len(paths))
    assert found.path is not None
    return (found.path, *files[1:])


def test_int8_keeps_its_nodes(small: Made) -> None:
    path, _, data, _, rows = small
    found = complete(small)
    before, after = (Counter(n.op_type for n in onnx.load(str(each)).graph.node) for each in (path, found.path))
    for kind in ("Conv", "Gemm", "QuantizeLinear", "DequantizeLinear"):
        assert before[kind] == after[kind] > 0
    read, _ = data.test.__getitems__(list(range(len(rows))))
    expected = CompleteModel(path).rows(read).softmax(1)
    np.testing.assert_allclose(run(found.path, rows)[PROBABILITIES], expected.numpy(), atol=0.02)


def test_int8_with_other_rows_is_found_out(small: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = complete_file._prepared
    monkeypatch.setattr(complete_file, "_prepared", lambda whole, given: prepared(whole, given) + 1.0)
    with pytest.raises(VerifyError, match="the int8 file's answers move by"):
        complete(small)


def test_another_normalisation_is_found_out(made: Maker, tmp_path: Path) -> None:
    """The file and the PyTorch model with the same mistake agree; what dashfx reads does not."""
    files = made("series")
    path, model, data, *_ = files
    wrong = around(data)
    normalisation = Normalisation(data.normalisation.mean[::-1], data.normalisation.std)
    read = real_rows(data)
    rows = Rows(real_rows(raw_data(data, data.raw)), read)
    with pytest.raises(VerifyError, match="on raw rows its answers differ by"):
        completed(
            path, tmp_path / "c.onnx", model, Around(wrong.raw, normalisation, data.kind, data.labels, True), rows
        )
    assert not (tmp_path / "c.onnx").exists()


def test_other_names_are_found_out(made: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    files = made("series")
    real = complete_file.add_labels
    monkeypatch.setattr(complete_file, "add_labels", lambda graph, kind, names: real(graph, kind, names[::-1]))
    with pytest.raises(VerifyError, match="is not that of the largest probability"):
        complete(files)


def test_a_complete_file_is_not_completed_again(made: Maker) -> None:
    files = made("series")
    found = complete(files)
    with pytest.raises(ExportError, match="complete file already"):
        complete((found.path, *files[1:]))


def test_rows_of_another_kind_are_one_line(made: Maker, tmp_path: Path) -> None:
    files = made("channels last")
    data, model = files[2], CompleteModel(complete(files).path)
    other, _ = CASES["series"].load(tmp_path)
    with pytest.raises(DataError, match="channels last are wanted"):
        model.data(other)
    assert data.raw is not None
    with pytest.raises(DataError, match="noise in place of rows"):
        raw_data(replace(data, raw=replace(data.raw, noise=True)), data.raw)


def test_finished_data_are_as_their_arrays(tmp_path: Path) -> None:
    data, _ = CASES["one channel"].load(tmp_path)
    form = form_of_finished(replace(data, raw=None))
    assert form.shape == (1, 12) and form.layout == "first" and form.dtype == "float32"


@pytest.mark.parametrize("kind", ["classes", "multilabel"])
def test_scores_have_the_probabilities_that_they_come_from(kind: str) -> None:
    given = torch.tensor([[3.0, -1.0, 0.5], [200.0, -200.0, 0.0]])
    likely = given.softmax(1) if kind == "classes" else given.sigmoid()
    back = scores(likely, kind)  # type: ignore[arg-type]
    assert back.isfinite().all()
    torch.testing.assert_close(back.softmax(1) if kind == "classes" else back.sigmoid(), likely, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["images", "grey images", "sounds", "stereo", "sounds of several lengths"])
def test_predict_reads_files_for_either_file(name: str, made: Maker) -> None:
    files = made(name)
    path, model, data, task, _ = files
    facts = json.loads(json.dumps(data_facts(data, task)))
    found = complete(files)
    paths = sorted(files[0].parent.glob("*/test/*/*.*"))
    x, _ = data.test.__getitems__(list(range(len(paths))))
    with torch.no_grad():
        expected = model(x).numpy()
    session, told = predict.opened(found.path)
    assert told["raw"] and told["probabilities"]
    plain_session, none = predict.opened(path)
    assert none == {"raw": None, "probabilities": False}
    for file, wanted in zip(paths, expected, strict=True):
        rows = predict.load(file, facts)
        (scored,) = predict.answers(predict.normalised(rows, facts), plain_session)
        np.testing.assert_allclose(scored, wanted, atol=2e-4)
        (likely,) = predict.answers(predict.as_taken(rows, told["raw"], file), session)
        assert predict.said(likely, facts, True) == predict.said(wanted, facts) == NAMES[int(wanted.argmax())]


def test_a_label_that_is_unlikelier_than_not_does_not_hold() -> None:
    facts = {"labels": ["a", "b"], "kind": "multilabel"}
    assert predict.said(np.array([0.4, 0.6]), facts, True) == "b"
    assert predict.said(np.array([0.4, 0.6]), facts) == "a, b"


@pytest.mark.parametrize(
    ("change", "why"),
    [({"rate": 16000}, "resample it"), ({"shape": [1, 900]}, "sounds of 900 samples"), ({"rate": 0}, "dashfx eval")],
)
def test_a_sound_that_does_not_fit_is_one_line(
    change: dict[str, object], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _ = CASES["sounds"].load(tmp_path)
    assert data.raw is not None
    facts = {"raw": {**data.raw.to_dict(), **change}, "reading": {}, "input_shape": data.input_shape}
    with pytest.raises(SystemExit) as stopped:
        predict.load(next(tmp_path.rglob("*.wav")), facts)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and why in error and error.count("\n") == 1


def test_evaluate_takes_a_complete_model_as_any(made: Maker) -> None:
    files = made("images")
    _, model, data, task, _ = files
    opened = CompleteModel(complete(files).path)
    expected = evaluate(model, data.loader("test", 4), task)
    assert evaluate(opened.rows, opened.data(data).loader("test", 4), task) == pytest.approx(expected)
