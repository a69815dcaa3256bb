"""Deployments, ways in which a file may be run on the CPU: threads, levels of optimisation and precisions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Final, Literal

from dashfx.errors import ConfigError
from dashfx.plugins import Count

LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "off": "ORT_DISABLE_ALL",
}
FLOAT: Final = "float32"
INT8: Final = "int8"


@dataclass(frozen=True)
class Deployment:
    """How a file is run.

    Attributes:
        level: of ONNX Runtime's optimisation of the graph, a key of `LEVELS`.
        precision: which file, "float32" or "int8".
    """

    threads: int = 1
    level: str = "all"
    precision: str = FLOAT

    @property
    def session_options(self) -> Mapping[str, Any]:
        """As `dashfx.deploy.targets.settings` has them."""
        threads = {"intra_op_num_threads": self.threads, "inter_op_num_threads": 1}
        return {"graph_optimization_level": LEVELS[self.level], **threads}

    def __str__(self) -> str:
        return f"{self.precision} on {self.threads} thread{'s' * (self.threads > 1)}, graph level {self.level}"


class Deployments(ABC):
    """Ways to run a model, of which one is chosen together with it."""

    @abstractmethod
    def options(self) -> tuple[Deployment, ...]:
        """Those that there are, the most wanted one first."""


@dataclass(frozen=True)
class Sessions(Deployments):
    """Every number of threads with every precision and level of ONNX Runtime's optimisation; few threads come first.

    The paper chooses networks together with the design of an accelerator; here the session takes the design's place.
    """

    threads: tuple[Count, ...] = (1, 2)
    precisions: tuple[Literal["float32", "int8"], ...] = (FLOAT, INT8)
    levels: tuple[Literal["all", "extended", "basic", "off"], ...] = ("all",)

    paper: ClassVar[str] = "Yang et al., Co-Exploration of Neural Architectures and Heterogeneous ASICs, DAC 2020"
    row: ClassVar[str] = "92"

    def __post_init__(self) -> None:
        for name in ("threads", "precisions", "levels"):
            if not getattr(self, name):
                raise ConfigError(f"deployment sessions: {name} is an empty list; give at least one, or leave it out")

    def options(self) -> tuple[Deployment, ...]:
        every = product(sorted(set(self.threads)), dict.fromkeys(self.precisions), dict.fromkeys(self.levels))
        return tuple(Deployment(threads, level, precision) for threads, precision, level in every)


DEPLOYMENTS: dict[str, type[Deployments]] = {"sessions": Sessions}
