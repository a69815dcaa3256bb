"""dashfx: rewrites a CNN, searches its kernel sizes and dilations, hands back an ordinary model and an ONNX file."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dashfx.blackbox.optimisers.evolution import Evolution as Evolution
    from dashfx.config.run import RunConfig as RunConfig
    from dashfx.data import Data as Data
    from dashfx.data import load_data as load_data
    from dashfx.deploy.export import export as export
    from dashfx.errors import DashfxError as DashfxError
    from dashfx.frontend.adapters import register_conv as register_conv
    from dashfx.frontend.tracing import Program as Program
    from dashfx.frontend.tracing import trace as trace
    from dashfx.genotype import Genotype as Genotype
    from dashfx.ops import AggConv as AggConv
    from dashfx.ops.relaxations import SoftGumbel as SoftGumbel
    from dashfx.pipeline import search as search
    from dashfx.run.result import Result as Result
    from dashfx.site import Site as Site
    from dashfx.site import Skip as Skip
    from dashfx.space import Candidate as Candidate
    from dashfx.space import SearchSpace as SearchSpace
    from dashfx.space import Shared as Shared
    from dashfx.stages.evaluators import ByProxy as ByProxy
    from dashfx.strategies.base import Control as Control
    from dashfx.strategies.evaluated.blackbox import BlackBox as BlackBox
    from dashfx.strategies.gradient import DASH as DASH
    from dashfx.strategies.gradient import Gradient as Gradient
    from dashfx.strategies.ladder import Ladder as Ladder
    from dashfx.strategies.rules import Argmax as Argmax
    from dashfx.strategies.rules import RandomChoice as RandomChoice
    from dashfx.strategies.updates import OneLevel as OneLevel
    from dashfx.supernet import Supernet as Supernet
    from dashfx.supernet import lower as lower
    from dashfx.supernet import rewrite as rewrite
    from dashfx.supernet import specialise as specialise
    from dashfx.task import Task as Task

try:
    __version__ = version("dashfx")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0.0.0"

_HOME = {
    "AggConv": "ops",
    "Argmax": "strategies.rules",
    "BlackBox": "strategies.evaluated.blackbox",
    "ByProxy": "stages.evaluators",
    "Candidate": "space",
    "Control": "strategies.base",
    "DASH": "strategies.gradient",
    "DashfxError": "errors",
    "Data": "data",
    "Evolution": "blackbox.optimisers.evolution",
    "Genotype": "genotype",
    "Gradient": "strategies.gradient",
    "Ladder": "strategies.ladder",
    "OneLevel": "strategies.updates",
    "Program": "frontend.tracing",
    "RandomChoice": "strategies.rules",
    "Result": "run.result",
    "RunConfig": "config.run",
    "SearchSpace": "space",
    "Shared": "space",
    "Site": "site",
    "Skip": "site",
    "SoftGumbel": "ops.relaxations",
    "Supernet": "supernet",
    "Task": "task",
    "export": "deploy.export",
    "load_data": "data",
    "lower": "supernet",
    "register_conv": "frontend.adapters",
    "rewrite": "supernet",
    "search": "pipeline",
    "specialise": "supernet",
    "trace": "frontend.tracing",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Public names load on first use: importing torch takes seconds that `dashfx --help` should not."""
    if name not in _HOME:
        raise AttributeError(f"module 'dashfx' has no attribute {name!r}")
    return getattr(import_module(f"dashfx.{_HOME[name]}"), name)
