"""Complete, the stage: beside each ONNX file of the single model one that takes raw rows, or says what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from dashfx.data.form import RawForm
from dashfx.data.raw import form_of_finished, raw_data
from dashfx.deploy.complete.file import Around, Complete, Rows, beside, completed
from dashfx.errors import ConfigError, ExportError, VerifyError
from dashfx.run.inputs import Inputs
from dashfx.run.run import Run
from dashfx.stages.export import real_rows
from dashfx.stages.files.quantise import int8_beside
from dashfx.task import TASKS, in_data_units


def raw_form(inputs: Inputs) -> RawForm:
    """How the run's rows are before dashfx reads them.

    Raises:
        ConfigError: that is not known.
    """
    form = inputs.data.raw or form_of_finished(inputs.data)
    if not form.shape:
        raise ConfigError(
            "--preprocess: the data.json of this run is of an earlier version, which says nothing of raw rows, and its "
            "data are not here; say where they are by --data"
        )
    return form


def check_complete(inputs: Inputs) -> None:
    """Whether what is asked of complete files is known; asked before anything is trained.

    Raises:
        ConfigError: it is not.
    """
    if inputs.config.export.postprocess:
        check_meaning(inputs)


def check_meaning(inputs: Inputs) -> None:
    """Whether the task says what a model's outputs mean.

    Raises:
        ConfigError: it is the user's own.
    """
    if inputs.task.name not in TASKS:
        raise ConfigError(
            f"export.postprocess: the task {inputs.task.name!r} is your own, and what its outputs mean is not known; "
            "leave it out, or put it into your model"
        )


def complete_files(
    inputs: Inputs, model: nn.Module, paths: Sequence[Path], preprocess: bool, postprocess: bool
) -> list[Complete]:
    """Beside each of the model's ONNX files the complete one.

    Raises:
        ConfigError: the run's rows or answers are not of a known form.
        ExportError, VerifyError: as `completed`.
    """
    form = raw_form(inputs) if preprocess else None
    if postprocess:
        check_meaning(inputs)
    data, options = inputs.data, inputs.config.export
    around = Around(form, data.normalisation, data.kind, data.labels, postprocess)
    rows = None
    if not (inputs.data.raw and inputs.data.raw.noise):
        read = real_rows(data)
        rows = Rows(real_rows(raw_data(data, form)) if form else read, read)
    whole = in_data_units(model, inputs.task.target)
    tolerance, seed = options.tolerance, inputs.config.seed
    return [completed(path, beside(path), whole, around, rows, tolerance=tolerance, seed=seed) for path in paths]


def complete(run: Run, model: nn.Module) -> None:
    """The complete files of the run's folder, where some are asked for, each with a note; what fails is one too."""
    folder, options = run.session.writes, run.config.export
    if folder is None or not (options.preprocess or options.postprocess):
        return
    paths = [path for path in (folder.onnx, int8_beside(folder.onnx)) if path.is_file()]
    with run.stage("complete"):
        for path in paths:
            try:
                (found,) = complete_files(run.inputs, model, [path], options.preprocess, options.postprocess)
                run.note(f"complete: {found}")
            except (ExportError, VerifyError) as error:  # the plain file is there, and stays
                run.note(f"complete: no file beside {path.name}: {error}")
        if folder.ensemble.is_file():
            run.note(f"complete: {folder.ensemble.name} takes normalised inputs, as it has no complete file beside it")
