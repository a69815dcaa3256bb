"""Every error a user can cause, each carrying one line that says what, where, why and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DashfxError(Exception):
    """Base of the errors that the command line prints as one line with exit code 2."""


class ModelError(DashfxError):
    """The model cannot be loaded, called or rewritten."""


class AdapterError(DashfxError):
    """An adapter of `register_conv` whose plain conv is not the user's; the message names the class."""


class SpaceError(DashfxError):
    """A search space, candidate or site setting that cannot hold."""


class GenotypeError(DashfxError):
    """A genotype file that is broken, of another version, or of another model."""


class DataError(DashfxError):
    """Data of the wrong kind, shape, range or split."""


class TaskError(DashfxError):
    """A task or metric that is unknown or does not fit the model's output."""


class CheckpointError(DashfxError):
    """A checkpoint that cannot be read safely or does not fit the model."""


class ConfigError(DashfxError):
    """An option that is unknown or has a value that cannot be used."""


class RunFolderError(DashfxError):
    """A run folder that cannot be written, resumed or read."""


class PassError(DashfxError):
    """A pass whose requirement or promise does not hold; the message names the pass."""


class ExportError(DashfxError):
    """The ONNX exporter refused the model."""


class VerifyError(DashfxError):
    """An exported model whose answers differ from PyTorch's."""


class TrainingError(DashfxError):
    """Training that cannot go on."""


class DivergedError(TrainingError):
    """Training whose loss or weights are no longer finite."""


class ProxyError(DashfxError):
    """A model, batch, proxy task or list of results that a proxy cannot score."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A parenthesis with the nearest known names, or the empty string where none is near.

    >>> did_you_mean("clasify", ["classify", "regress"])
    " (did you mean 'classify'?)"
    """
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    if not near:
        return ""
    return f" (did you mean {' or '.join(repr(n) for n in near)}?)"


def first_line(error: BaseException, limit: int = 200) -> str:
    """The first line of an error that is not empty, cut to `limit` characters; the class where the error is silent."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[0] if len(lines[0]) <= limit else lines[0][: limit - 3] + "..."
