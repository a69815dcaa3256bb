"""`dashfx report`: a run's folder goes in and its page is written anew; of several, performance profiles are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashfx.cli import render
from dashfx.cli.options import shared as options
from dashfx.errors import ConfigError, RunFolderError, did_you_mean

METHODS = ("strategy", "folder")

Runs = Annotated[list[Path], typer.Argument(help="folders of runs, or folders that hold them", metavar="RUN...")]
Method = Annotated[str, typer.Option(help="what tells methods apart: strategy, or folder (its name without the seed)")]
Out = Annotated[Path, typer.Option(help="where the profiles go")]


def report(
    runs: Runs, method: Method = "strategy", data: options.MovedData = None, out: Out = Path("profiles")
) -> None:
    """Write the page of one RUN anew, or compare the methods of several over their tasks."""
    for path in runs:
        if not path.is_dir():
            raise RunFolderError(f"no such folder: {path}")
    if method not in METHODS:
        raise ConfigError(f"--method {method!r}{did_you_mean(method, METHODS)}; there are {', '.join(METHODS)}")
    if len(runs) == 1 and (runs[0] / "config.yaml").is_file():
        rebuilt(runs[0], data)
        return
    profiles(runs, method, out)


def rebuilt(folder: Path, data: str | None = None) -> None:
    from dashfx.report.page import write_report
    from dashfx.run.folder import RunFolder, as_given
    from dashfx.stages.reopen import result_of

    run, result = result_of(folder, data)
    path = RunFolder(folder).report
    write_report(path, result, as_given(folder, run.config), run.inputs.data)
    render.line(str(path))


def profiles(runs: list[Path], method: str, out: Path) -> None:
    from dashfx.cli.tables.shared import standings as shown
    from dashfx.report.profiles import standings
    from dashfx.report.profiles_page import write_profiles

    found = standings(runs, "folder" if method == "folder" else "strategy")
    for task, missing in found.missing:
        render.note(f"{task}: no run of {missing}; it counts as worse than any")
    render.show(shown(found))
    for path in write_profiles(out, found):
        render.line(str(path))
