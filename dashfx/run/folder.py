"""Folder of a run: made once, never half-written, refused where it belongs to something else."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashfx.config.files import flat, read_yaml
from dashfx.config.json import read_json
from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError, DashfxError, RunFolderError, first_line
from dashfx.run.environment import environment, installed_version
from dashfx.run.files.lock import HOLDER, LOCK
from dashfx.run.files.place import check_place
from dashfx.run.files.portable import as_written, localised
from dashfx.train.checkpoints import sync_folder
from dashfx.train.processes import launched

SHOWN = 8  # differences in one line of an error


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def env(self) -> Path:
        return self.root / "env.json"

    @property
    def log(self) -> Path:
        return self.root / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def autotune(self) -> Path:
        return self.root / "autotune.json"

    @property
    def latency(self) -> Path:
        """With a budget of latency: the time of each conv with each candidate."""
        return self.root / "latency.json"

    @property
    def data(self) -> Path:
        return self.root / "data.json"

    @property
    def evaluations(self) -> Path:
        """The rows of a black-box search or of a warm start."""
        return self.root / "evaluations.jsonl"

    @property
    def probe(self) -> Path:
        """What each site gained in the probe, where there was one."""
        return self.root / "probe.json"

    @property
    def study(self) -> Path:
        """Every trial of the tuning, as Optuna's journal."""
        return self.root / "study.journal"

    @property
    def tuned(self) -> Path:
        """The best options that tuning found, and its trials."""
        return self.root / "tuned.json"

    @property
    def budget(self) -> Path:
        """What was decided for a budget of wall time."""
        return self.root / "budget.json"

    @property
    def retrained(self) -> Path:
        """The options that the model was trained with, where they are not those of `config`."""
        return self.root / "retrain.yaml"

    @property
    def genotype(self) -> Path:
        return self.root / "genotype.json"

    @property
    def searched(self) -> Path:
        """What the search chose, where the untouched model was handed back in its place."""
        return self.root / "genotype-searched.json"

    @property
    def result(self) -> Path:
        return self.root / "result.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def weights(self) -> Path:
        return self.root / "model.safetensors"

    @property
    def onnx(self) -> Path:
        return self.root / "model.onnx"

    @property
    def int8(self) -> Path:
        """The same model in int8, where one was asked for."""
        return self.root / "model.int8.onnx"

    @property
    def ensemble(self) -> Path:
        """The average of several models, where one was asked for."""
        return self.root / "ensemble.onnx"

    @property
    def members(self) -> Path:
        """Weights and loaders of the models that are averaged."""
        return self.root / "ensemble"

    @property
    def ensemble_loader(self) -> Path:
        return self.root / "load_ensemble.py"

    @property
    def complete(self) -> Path:
        """The same model with pre- or postprocessing in the graph, where that was asked for."""
        return self.root / "model.complete.onnx"

    @property
    def complete_int8(self) -> Path:
        """The same for the int8 file."""
        return self.root / "model.int8.complete.onnx"

    @property
    def predict(self) -> Path:
        """A program that asks the ONNX file about raw rows, without dashfx."""
        return self.root / "predict.py"

    @property
    def loader(self) -> Path:
        return self.root / "load_model.py"


def check_folder(path: str | Path, config: RunConfig, *, resume: bool) -> None:
    """Whether the folder can take this run; nothing is made, so a mistake found later leaves nothing behind.

    Raises:
        RunFolderError: not empty without `resume`, nothing to resume, or a run of another configuration, of another
            version of dashfx or of another number of processes.
    """
    folder = RunFolder(Path(path))
    if not resume:
        check_place(path)
    if resume:
        _check_same(folder, config)
    elif folder.root.exists() and (not folder.root.is_dir() or not _is_empty(folder.root)):
        raise RunFolderError(
            f"--out {path}: it exists and is not empty; give another folder, or --resume to continue that run"
        )


def make_root(path: str | Path) -> Path:
    """The folder itself, empty where there was none.

    Raises:
        RunFolderError: not writable.
    """
    root = Path(path)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission")
    except OSError as error:
        raise RunFolderError(f"--out {path}: cannot be written ({error.strerror or error})") from None
    return root


def make_folder(path: str | Path, config: RunConfig, alone: bool = True) -> RunFolder:
    """The folder, with the run's configuration and environment where they do not stand there yet.

    Args:
        alone: nobody else writes there, so what a killed run had begun to write is removed.

    Raises:
        RunFolderError: not writable.
    """
    folder = RunFolder(make_root(path))
    try:
        if not folder.config.exists():  # the first file of all: with it a run can be continued
            write_text(folder.config, config.to_yaml())
        if not folder.env.exists():
            write_text(folder.env, json.dumps({**environment(), "directory": str(Path.cwd())}, indent=2) + "\n")
        folder.checkpoints.mkdir(exist_ok=True)
        if alone:
            _remove_drafts(folder)
    except OSError as error:
        raise RunFolderError(f"--out {path}: cannot be written ({error.strerror or error})") from None
    return folder


def missing_folders(path: str | Path) -> tuple[Path, ...] | None:
    """What `make_folder` would make, innermost first; None where the folder holds a run already."""
    root = Path(path)
    return None if RunFolder(root).config.exists() else tuple(p for p in (root, *root.parents) if not p.exists())


def remove_folder(folder: RunFolder, made: Iterable[Path]) -> None:
    """Remove all that a run has written, and the folders that were made for it but for those that others use by now."""
    for path in folder.root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in made:
        with contextlib.suppress(OSError):  # another run has begun beside this one
            path.rmdir()


def existing_folder(path: str | Path) -> tuple[RunFolder, RunConfig]:
    """An earlier run's folder and its configuration, with the paths at which the files that it names are now.

    Raises:
        RunFolderError: not a run's folder.
    """
    folder = RunFolder(Path(path))
    return folder, _localised(folder, written_config(path))


def written_config(path: str | Path) -> RunConfig:
    """An earlier run's configuration as it stands in its folder, with paths as they were given.

    Raises:
        RunFolderError: not a run's folder.
    """
    folder = RunFolder(Path(path))
    if not folder.config.is_file():
        raise RunFolderError(f"{path} is not a run's folder: it has no config.yaml; give what an earlier --out named")
    return _parsed(folder, folder.config)


def as_given(path: str | Path, config: RunConfig) -> RunConfig:
    """Options of an earlier run with the paths as its `config.yaml` has them."""
    return as_written(config, written_config(path), existing_folder(path)[1])


def retrained_config(folder: RunFolder, config: RunConfig) -> RunConfig:
    """The options that the model was trained with: `config`, or what tuning or a budget made of it.

    Raises:
        RunFolderError: a damaged file.
    """
    return _localised(folder, _parsed(folder, folder.retrained)) if folder.retrained.is_file() else config


def write_text(path: Path, text: str) -> None:
    """Write a neighbour and rename it, so that the file is never half-written, also where the power is cut."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def read_facts(path: Path, remedy: str) -> dict[str, Any]:
    """The object in one of a run's JSON files.

    Args:
        remedy: what to do about a damaged one.

    Raises:
        RunFolderError: it is damaged.
    """
    facts = read_json(path, RunFolderError, remedy)
    if not isinstance(facts, dict):
        raise RunFolderError(f"{path} is damaged (it holds a {type(facts).__name__}, not names and values); {remedy}")
    return facts


@contextlib.contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Inside, a run's file is read or its contents are taken apart; whatever fails there is the file's fault.

    Raises:
        RunFolderError: it is damaged.
    """
    try:
        yield
    except DashfxError:
        raise
    except Exception as error:  # of foreign bytes, whatever a library makes of them
        raise RunFolderError(f"{path} is damaged ({type(error).__name__}: {first_line(error)}); {remedy}") from None


def other_packages(folder: RunFolder) -> list[str]:
    """The packages whose version is not that of the folder's run, `NAME OLD there, NEW now`."""
    return [
        f"{name} {there} there, {here} now"
        for name, there in _packages(folder).items()
        if (here := installed_version(name)) != there
    ]


def _packages(folder: RunFolder) -> dict[str, str]:
    return dict(_environment_of(folder).get("packages", {}))


def _environment_of(folder: RunFolder) -> dict[str, Any]:
    """What `env.json` holds; nothing where a run was killed before it was written.

    Raises:
        RunFolderError: it is damaged.
    """
    if not folder.env.is_file():
        return {}
    remedy = "remove it to go on without a look at the versions of that run"
    facts = read_facts(folder.env, remedy)
    if not isinstance(facts.get("packages", {}), dict):
        raise RunFolderError(f"{folder.env} is damaged (its 'packages' are no names and versions); {remedy}")
    return facts


def _parsed(folder: RunFolder, path: Path) -> RunConfig:
    try:
        options = read_yaml(path)
    except ConfigError as error:
        raise RunFolderError(f"{error}; restore it from a copy, or start another run") from None
    try:
        return RunConfig.parse(options)
    except ConfigError as error:
        versions = ""
        with contextlib.suppress(RunFolderError):
            there, here = _packages(folder).get("dashfx"), installed_version("dashfx")
            versions = f"; it is of dashfx {there}, this is {here}" if there != here else ""
        raise RunFolderError(f"{path} cannot be used: {error}{versions}") from None


def _localised(folder: RunFolder, config: RunConfig) -> RunConfig:
    directory = None
    with contextlib.suppress(RunFolderError):  # what needs the file says so
        directory = _environment_of(folder).get("directory")
    return localised(config, folder.root, Path(directory) if isinstance(directory, str) else None)


def _is_empty(root: Path) -> bool:
    """Whether nothing stands there but what a run that was killed at once had begun to write."""
    return all(path.suffix == ".part" or path.name in (LOCK, HOLDER) for path in root.iterdir())


def _remove_drafts(folder: RunFolder) -> None:
    """Of a killed run: neighbours that were not renamed, and the scratch folders of weights and ONNX files."""
    for draft in [*folder.root.glob("*.part"), *folder.checkpoints.glob("*.part")]:
        draft.unlink()
    files = (folder.weights, folder.loader, folder.onnx, folder.int8, folder.complete, folder.complete_int8)
    for path in (*files, folder.ensemble, folder.ensemble_loader):
        for scratch in folder.root.glob(f".{path.name}.*"):
            shutil.rmtree(scratch)
    for scratch in folder.members.glob(".member_*"):
        shutil.rmtree(scratch)
    for draft in folder.root.rglob("*.py.part"):  # of sources, which may stand in folders of their own
        draft.unlink()


def _check_same(folder: RunFolder, config: RunConfig) -> None:
    written, (_, before) = written_config(folder.root), existing_folder(folder.root)
    env = _environment_of(folder)
    config = as_written(config, written, before)
    old = {**flat(written.model_dump(mode="json")), "dashfx": _packages(folder).get("dashfx")}
    new = {**flat(config.model_dump(mode="json")), "dashfx": installed_version("dashfx")}
    old["processes"], new["processes"] = env.get("processes", 1), launched()
    if not env:
        old = {**old, "dashfx": new["dashfx"], "processes": new["processes"]}
    changed = [
        f"{key}: {old.get(key)!r} there, {new.get(key)!r} now" for key in old | new if old.get(key) != new.get(key)
    ]
    if changed:
        more = f"; and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise RunFolderError(
            f"--resume {folder.root}: that run had other settings ({'; '.join(changed[:SHOWN])}{more}); "
            "use the same ones, or another --out"
        )
