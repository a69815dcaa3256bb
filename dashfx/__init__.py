"""dashfx: rewrites a CNN, searches its kernel sizes and dilations, hands back an ordinary model and an ONNX file."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dashfx.adapters import register_conv as register_conv
    from dashfx.config import RunConfig as RunConfig
    from dashfx.data import Data as Data
    from dashfx.data import load_data as load_data
    from dashfx.errors import DashfxError as DashfxError
    from dashfx.export import export as export
    from dashfx.genotype import Genotype as Genotype
    from dashfx.ops import AggConv as AggConv
    from dashfx.outputs import Result as Result
    from dashfx.pipeline import search as search
    from dashfx.site import Site as Site
    from dashfx.site import Skip as Skip
    from dashfx.space import Candidate as Candidate
    from dashfx.space import SearchSpace as SearchSpace
    from dashfx.supernet import Supernet as Supernet
    from dashfx.supernet import lower as lower
    from dashfx.supernet import rewrite as rewrite
    from dashfx.supernet import specialise as specialise
    from dashfx.task import Task as Task
    from dashfx.tracing import Program as Program
    from dashfx.tracing import trace as trace

try:
    __version__ = version("dashfx")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0.0.0"

_HOME = {
    "AggConv": "ops",
    "Candidate": "space",
    "Data": "data",
    "DashfxError": "errors",
    "Genotype": "genotype",
    "Program": "tracing",
    "Result": "outputs",
    "RunConfig": "config",
    "SearchSpace": "space",
    "Site": "site",
    "Skip": "site",
    "Supernet": "supernet",
    "Task": "task",
    "export": "export",
    "load_data": "data",
    "lower": "supernet",
    "register_conv": "adapters",
    "rewrite": "supernet",
    "search": "pipeline",
    "specialise": "supernet",
    "trace": "tracing",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Public names load on first use: importing torch takes seconds that `dashfx --help` should not."""
    if name not in _HOME:
        raise AttributeError(f"module 'dashfx' has no attribute {name!r}")
    return getattr(import_module(f"dashfx.{_HOME[name]}"), name)


class _Package(ModuleType):
    """Keeps `dashfx.search` and `dashfx.export` the functions that they are documented to be.

    Importing a submodule binds it on its package, which would put the modules of the same names in their place.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
