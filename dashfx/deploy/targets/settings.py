"""Settings of ONNX Runtime for an execution provider: as JSON beside a file, and as a session that is tried here."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from dashfx.deploy.runtime import CPU, load_proto
from dashfx.deploy.targets.check import findings, row_shape, sizes_of, type_of, with_sizes
from dashfx.deploy.targets.named import TARGETS, Target
from dashfx.errors import ConfigError, did_you_mean, first_line

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suited:
    """A file and a provider.

    Attributes:
        findings: what of the file it does not take, by its documentation or by a try on this machine.
        checked: what was seen here, and what was not, in a line.
        settings: what makes the session.
    """

    path: Path
    target: Target
    findings: tuple[str, ...]
    checked: str
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        found = self.findings or ("nothing in the file speaks against it",)
        lines = [*(f"{self.path.name}, {self.target.name}: {each}" for each in found)]
        return "\n".join([*lines, f"{self.path.name}, {self.target.name}: {self.checked}"])


def named(name: str) -> Target:
    """The target of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TARGETS:
        raise ConfigError(
            f"--for {name}: no such provider{did_you_mean(name, TARGETS)}; there are {', '.join(TARGETS)}"
        )
    return TARGETS[name]


def suited(path: Path, target: Target) -> Suited:
    """What the provider takes of a file, and settings for it.

    Raises:
        ExportError: no ONNX file of a known form.
    """
    proto = load_proto(path)
    sizes = sizes_of(proto, row_shape(path, proto))
    settings = settings_of(target, proto, sizes)
    found, checked = _tried(path, proto, target, settings, sizes)
    return Suited(path, target, (*findings(proto, target), *found), checked, settings)


def settings_of(target: Target, proto: onnx.ModelProto, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What `session` takes: providers with their options, options of the session, and sizes of free axes."""
    options = dict(target.options)
    if target.name == "tensorrt" and sizes:
        whole = ",".join(f"{name}:{'x'.join(map(str, s))}" for name, s in with_sizes(proto, sizes).items())
        options |= {f"trt_profile_{which}_shapes": whole for which in ("min", "opt", "max")}
    fixed = {} if target.shapes == "free" else dict(sizes)
    after = [[name, {}] for name in (*target.after, *([CPU] if target.provider != CPU else []))]
    return {
        "provider": target.provider,
        "package": target.package,
        "providers": [[target.provider, options], *after],
        "session_options": {"graph_optimization_level": "ORT_ENABLE_ALL", **target.session},
        "free_dimension_overrides": fixed,
    }


def session(path: str | Path, settings: Mapping[str, Any]) -> onnxruntime.InferenceSession:
    """The file in ONNX Runtime, by such settings."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for name, value in settings["session_options"].items():
        level = name == "graph_optimization_level"
        setattr(options, name, getattr(onnxruntime.GraphOptimizationLevel, value) if level else value)
    for name, size in settings["free_dimension_overrides"].items():
        options.add_free_dimension_override_by_name(name, size)
    providers = [(name, given) for name, given in settings["providers"]]
    with redirect_stdout(StringIO()):  # it prints what goes wrong, and tries again
        return onnxruntime.InferenceSession(str(path), options, providers=providers)


def _tried(
    path: Path, proto: onnx.ModelProto, target: Target, settings: Mapping[str, Any], sizes: Mapping[str, int]
) -> tuple[list[str], str]:
    """What a run of one row here says: findings, and what was seen; on the CPU where the provider is not here."""
    there = target.provider in onnxruntime.get_available_providers()
    try:
        used = _run(path, proto, settings if there else _on_cpu(settings), sizes)
    except Exception as error:  # ONNX Runtime raises classes of its own without a common base
        return [f"ONNX Runtime stops: {first_line(error)}"], "tried here on one row"
    if used == target.provider:
        return [], f"opened and run here on {used}"
    why = f"{target.provider} does not start here" if there else f"{target.provider} is not here"
    shapes = "; with the sizes of its settings it runs on the CPU" if settings["free_dimension_overrides"] else ""
    return [], f"by its documentation ({target.source}); unchecked: {why}, it is in {target.package}{shapes}"


def _on_cpu(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "providers": [[CPU, {}]]}


def _run(path: Path, proto: onnx.ModelProto, settings: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """One call with zeros; the provider that was first in fact."""
    onnxruntime.set_default_logger_severity(4)
    try:
        opened = session(path, settings)
        shapes = with_sizes(proto, sizes)
        opened.run(None, {each.name: np.zeros(shapes[each.name], type_of(each)) for each in proto.graph.input})
    finally:
        onnxruntime.set_default_logger_severity(2)  # the default; there is no way to ask for the former value
    return str(opened.get_providers()[0])


def to_json(files: Sequence[Suited]) -> str:
    """What stands in `session_options.PROVIDER.json`: of each file its settings, findings and what was checked."""
    told = {
        each.path.name: {**each.settings, "findings": list(each.findings), "checked": each.checked} for each in files
    }
    return json.dumps({"files": told}, indent=2) + "\n"
