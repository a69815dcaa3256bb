"""`dashfx lower`: a run's folder goes in; the plain model as the search left it, not retrained, is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashfx.cli import render
from dashfx.cli.options import shared as options
from dashfx.cli.tables import shared as tables
from dashfx.errors import RunFolderError

if TYPE_CHECKING:
    from torch import nn

    from dashfx.config.run import RunConfig
    from dashfx.genotype import Genotype

Out = Annotated[Path | None, typer.Option(help="a new folder; by default RUN/lowered", show_default=False)]


def lower(run: options.Folder, out: Out = None, data: options.MovedData = None, quiet: options.Quiet = False) -> None:
    """Write RUN's searched model as torch.nn layers only, with the weights that the search left."""
    from dashfx.run.folder import existing_folder
    from dashfx.stages.reopen import lowered_of

    _, settings = existing_folder(run)
    model, genotype = lowered_of(run, data)
    folder = new_folder(out or run / "lowered")
    write_model(model, genotype, settings, folder)
    if not quiet:
        render.show(tables.genotype(genotype, {}), tables.files(folder))


def write_model(model: nn.Module, genotype: Genotype, settings: RunConfig, folder: Path) -> None:
    """Weights, genotype, and the file that rebuilds the model without dashfx."""
    from dashfx.deploy.loader import save_weights, write_loader
    from dashfx.frontend.model import build, load_model
    from dashfx.run.files.portable import copy_model

    source = load_model(options.given(settings.model, options.NO_MODEL), settings.model_args)
    save_weights(model, folder / "model.safetensors")
    genotype.save(folder / "genotype.json")
    copy_model(source, folder)
    reference = build(source, settings.seed)
    where, grown, widths = folder / "load_model.py", genotype.is_grown, bool(genotype.widths)
    given = source.spec, source.args
    write_loader(where, model, reference, *given, names=genotype, grown=grown, widths=widths)


def new_folder(path: Path) -> Path:
    """An empty folder, made where there is none.

    Raises:
        RunFolderError: it holds something already, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        taken = any(path.iterdir())
    except OSError as error:
        raise RunFolderError(f"--out {path}: cannot be written ({error.strerror or error})") from None
    if taken:
        raise RunFolderError(f"--out {path}: it is not empty; give another folder")
    return path
