"""Search strategies, the base: a context goes in, a genotype comes out; and evaluators, which say what one is worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from accelerate import Accelerator
from torch import Tensor, nn

from dashfx.blackbox.base import History, Row
from dashfx.blackbox.genomes import G, GenotypeSpace, Space
from dashfx.config.run import RetrainConfig, RunConfig
from dashfx.config.search import SearchConfig
from dashfx.cost.base import Choices
from dashfx.cost.budgets import Limit, Limits
from dashfx.data import Data
from dashfx.genotype import Genotype
from dashfx.ops import AggConv
from dashfx.ops.relaxations import Relaxation
from dashfx.plugins import find
from dashfx.strategies.engine import Engine
from dashfx.strategies.rules import RandomChoice, SelectionRule
from dashfx.strategies.updates import Update
from dashfx.task import Task
from dashfx.train.checkpoints import Fitted
from dashfx.train.fit import Learner


class Context(Protocol):
    """What a strategy may use of a run."""

    @property
    def supernet(self) -> nn.Module:
        """The model whose convs are mixtures; the strategy may change it in place."""

    @property
    def sites(self) -> Mapping[str, AggConv]:
        """Its mixtures, site name -> AggConv."""

    @property
    def config(self) -> RunConfig: ...

    @property
    def limits(self) -> Limits | None:
        """What the chosen genotype may cost; None where there is no budget."""

    @property
    def costs(self) -> Mapping[str, Limit]:
        """Objective -> what it costs, for those beside what an evaluator says."""

    @property
    def task(self) -> Task: ...

    @property
    def data(self) -> Data: ...

    @property
    def accelerator(self) -> Accelerator: ...

    def train(self, learner: Learner, stage: str = "search") -> Fitted:
        """Train with the run's seed, checkpoints and listeners; a resumed run goes on where it was."""

    def take_algorithms(self) -> None:
        """Measure how each mixture is computed fastest; before training, once the candidates are settled."""

    def model_of(self, genotype: Genotype) -> nn.Module:
        """The plain model with the genotype's kernels, its weights untrained or the checkpoint's."""

    def start_of(self, genotype: Genotype) -> nn.Module:
        """The same as a training of it starts: with the weights that the search has left, where it trains some."""

    def keep_model(self, genotype: Genotype, model: nn.Module) -> None:
        """Have retraining that inherits weights start from this model, where the genotype is chosen."""

    @property
    def example(self) -> Tensor:
        """Two rows of the train part, by which models are traced."""

    def trained(self, model: nn.Module, options: RetrainConfig, name: str) -> float:
        """The best metric of a model on the validation part over a training by these options.

        Args:
            name: of its checkpoints in the run's folder, and of its best weights, see `trained_weights`.

        Raises:
            DivergedError: the training diverges.
        """

    def trained_weights(self, name: str) -> dict[str, Tensor]:
        """The best weights of a training that is done."""

    def trained_values(self, genotypes: Sequence[Genotype], options: RetrainConfig) -> list[float]:
        """The best metric of each genotype's model on the validation part over a training by these options.

        NaN where it diverges. The run's workers do these trainings, where it has some.
        """

    def history(self, space: Space[G]) -> History[G]:
        """The evaluations that a killed run has left, to which new ones are added."""

    def found_recipe(self, rows: Sequence[Row[Any]], best: Row[Any], epochs: int) -> None:
        """Hear of the recipe that a search has found with its choice.

        Args:
            rows: genomes are pairs of a genotype and a recipe.
            epochs: of a whole evaluation.
        """

    def on_row(self, row: Row[Genotype]) -> None:
        """Tell of an evaluation."""

    def note(self, text: str) -> None:
        """Tell the user something, in the log and the report."""

    def turn_to(self, stage: str, detail: str) -> None:
        """What follows is another stage in the log, the report and the seconds."""


class Training(Protocol):
    """How a supernet is trained: a gradient strategy, whether it is the search or what another one reads from."""

    @property
    def relaxation(self) -> Relaxation: ...

    @property
    def update(self) -> Update: ...

    @property
    def rule(self) -> SelectionRule: ...

    @property
    def holds_out(self) -> bool:
        """Whether a part of it looks at a share of the training part that the weights never see."""

    def plan(self, config: RunConfig) -> str: ...

    def train(self, context: Context) -> Engine:
        """The run's supernet, trained."""

    def engine(
        self,
        supernet: nn.Module,
        task: Task,
        config: SearchConfig,
        accelerator: Accelerator,
        limits: Limits | None = None,
    ) -> Engine:
        """What trains a supernet, by these settings, for a choice within limits."""


class Strategy(ABC):
    """How one candidate a site is found, as a frozen dataclass.

    Attributes:
        is_control: it looks at nothing, so that nothing is compared with it.
        judges_mixtures: the choice is read from trained mixtures, whose weights the lowered model can inherit; else it
            has the weights that its candidates had when they were judged.
        narrows: it chooses widths, so that budgets are those of whole models and kernels alone need not hold them.
        evaluator: who says what genotypes are worth, where somebody does.
    """

    is_control: ClassVar[bool] = False
    narrows: ClassVar[bool] = False
    judges_mixtures: ClassVar[bool] = False
    evaluator: Evaluator | None = None

    @abstractmethod
    def search(self, context: Context) -> Genotype:
        """One candidate a site; every process of a run must come to the same."""

    def proposals(self, context: Context) -> tuple[Genotype, ...]:
        """What may be handed back, the likeliest first: trainings tell which is the best; by default its one choice."""
        return (self.search(context),)

    @property
    def proposed(self) -> int:
        """How many it is going to propose, as far as that is known before: what a run's length is planned by."""
        return 1

    @property
    def origin(self) -> str:
        """The name under which what it finds stands in the result."""
        return "searched"

    @property
    def training(self) -> Training | None:
        """How the supernet is trained, where it is."""
        return None

    def plan(self, config: RunConfig) -> str:
        """What the stage says of itself when it begins."""
        return config.search.strategy

    def check(self, config: RunConfig) -> None:
        """Whether the options fit, before data are read.

        Raises:
            ConfigError: they do not.
        """

    def beside(self, sites: Mapping[str, AggConv], config: RunConfig) -> Choices:
        """What it may choose beside the candidates of the mixtures, so that budgets know what that costs."""
        return {}

    def require(self, sites: Mapping[str, AggConv], limits: Limits | None, config: RunConfig) -> None:
        """Whether there is anything to choose at these sites, before anything is written.

        Raises:
            ConfigError: there is not.
        """


@dataclass(frozen=True)
class Control(Strategy):
    """A choice without a look at anything, which every search has to beat."""

    rule: SelectionRule = field(default_factory=RandomChoice)
    is_control: ClassVar[bool] = True

    @property
    def origin(self) -> str:
        return self.rule.name

    def search(self, context: Context) -> Genotype:
        return self.rule.within(context.sites, context.limits)


class Evaluating(ABC):
    """An evaluator at work on one run's model.

    Attributes:
        maximise: whether larger values are better.
    """

    maximise: bool = True

    @abstractmethod
    def value(self, genotype: Genotype) -> float:
        """The same at every call; not a finite number where the genotype could not be evaluated."""

    def values(self, genotypes: Sequence[Genotype]) -> list[float]:
        """The value of each, in order."""
        return [self.value(genotype) for genotype in genotypes]

    def values_at(self, genotypes: Sequence[Genotype], fidelity: float) -> list[float]:
        """The same by a share of a whole evaluation, from an evaluator with `takes_fidelity`."""
        raise NotImplementedError

    def space(self, sites: Mapping[str, AggConv]) -> Space[Genotype]:
        """The genotypes that can be evaluated."""
        return GenotypeSpace.of(sites)


class Evaluator(ABC):
    """The settings of what says what a genotype is worth, as a frozen dataclass.

    Attributes:
        training: how the supernet is trained first, for one that reads trained mixtures.
        takes_fidelity: it can evaluate by less than a whole evaluation.
        trains: for how many epochs it trains each network; 0 where it does not.
    """

    training: Training | None = None
    trains: int = 0
    takes_fidelity: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """In notes and in `Genotype.rule`."""
        return type(self).__name__

    @abstractmethod
    def begin(self, context: Context, engine: Engine | None = None) -> Evaluating:
        """At work on a run's model; nothing is measured on the test part.

        Args:
            engine: of the trained supernet, where `training` is set.

        Raises:
            DashfxError: it does not fit the model.
        """


def evaluator_of(text: str, config: RunConfig, **more: object) -> Evaluator:
    """The evaluator of that name, with the options of `blackbox` where the text does not say otherwise."""
    options = config.blackbox
    found: Evaluator = find("evaluator", text, batch_size=options.batch_size, epochs=options.epochs, **more)
    return found
