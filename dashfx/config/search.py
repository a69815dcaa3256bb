"""Options of a search: how weights and mixtures are trained, which strategy chooses, and whom it asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from dashfx.config.base import Strict

AUTO: Final = "auto"
WIDTHS: Final = "widths"  # the strategy that leaves kernels alone


class FitConfig(Strict):
    """How weights are trained.

    Attributes:
        epochs: passes over `fraction` of the training data; retraining also takes "auto".
        optimizer: of the weights: "sgd", "adam", "adamw", "lion", "swats" or `file.py:function`.
        lr: the peak learning rate of the schedule.
        schedule: "onecycle", "cosine", "steps", "constant", "warmup-stable-decay" or `file.py:function`; "auto" is one
            cycle where the number of epochs is given.
        clip: the largest norm of all gradients together; 0 turns clipping off.
        fraction: the share of the training data that an epoch draws afresh.
        milestones: for schedule "steps": shares of the epochs after which the rate is multiplied by 0.2.
    """

    epochs: int | Literal["auto"] = 60
    batch_size: int = Field(64, ge=1)
    optimizer: str = "adamw"
    lr: float = Field(3e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    clip: float = Field(1.0, ge=0)
    schedule: str = AUTO
    milestones: tuple[float, ...] = (0.3, 0.6, 0.8)
    fraction: float = Field(1.0, gt=0, le=1)


FROM_PYTHON = " from Python"  # what the text of a strategy ends with that was given as an object
UPDATES = {"train": "one-level", "held-out": "first-order"}  # the values of `search.alpha_on`, as `update` was called


class SearchConfig(FitConfig):
    """How mixtures are trained and one candidate is chosen.

    What names an object is written `name`, `name:key=value,key=value` or `file.py:Class:key=value`, see
    `dashfx.plugins`.

    Attributes:
        strategy: "ladder" proposes a few spans by rule, the same for all convs; "dash" chooses conv by conv; "widths"
            leaves kernels alone; "evolution", "random-search" and "local" evaluate genotypes one by one, see
            `BlackBoxConfig`; "random" and "untouched" are controls that train no mixture and go through the same
            retraining. A run that says nothing, or "auto", has the ladder, and DASH where it says anything else of
            `search` (a budget and a checkpoint do) or names kernels and dilations, or families.
        relaxation: how architecture parameters become coefficients: "soft-gumbel" (the paper) or "softmax".
        update: "one-level" learns the architecture parameters on the training loss (the paper), "first-order" on a
            share of the training data that the weights do not see.
        monitors: what looks at the search after each epoch beside `patience` and `shrink`.
        terms: what is added to the loss beside `cost`.
        edits: what is done to the candidates before the search, such as "within:share=0.5".
        budgets: the most that the chosen model may cost, each as "latency=2ms" or "params=0.7x" of the untouched one.
        widths: also choose how many channels each layer keeps, under budgets, by this gate on each channel: "taylor",
            "trainable" or "sigmoid"; "" leaves widths alone. Without a word on kernels each conv keeps its own.
        pareto: so many choices of the trained mixtures are shown, from the cheapest on, with what each is worth by the
            search's own weights; 0 for none.
        pareto_cost: over which cost; by default that of the first budget, or latency.
        latency_threads, latency_provider: what latency is measured on: threads of ONNX Runtime, and its execution
            provider by its short name, such as "cpu" or "cuda".
        init: "grow" starts from the model's own weights and output, "fresh" draws searched weights anew.
        alpha_lr, alpha_optimizer: the architecture parameters' own rate, and "adam" or "sgd".
        held_out: the share that "first-order" learns them on.
        warmup: the share of epochs before the architecture parameters move.
        tie: which sites share their logits candidate by candidate and choose alike: "none" (the paper), "all", "stage"
            (those of one output size) or "shape" (one shape of weight, stride and groups), see `dashfx.ops.ties`.
        seeds: how many times the search is run, each time from a start drawn anew; what they agree on is reported, and
            each proposes its choice.
        as_retrained: search the network that is retrained, with `retrain.model_args` and `retrain.dropout`.
        tau: the temperature of the relaxation at the start and at the end; geometric in between.
        lead: the share of a grown conv's mixture that its own kernel has at the start; 0 starts even.
        fade: the share of epochs over which a grown conv's residual kernel fades away.
        cost, cost_weight: the penalty on the expected cost ("span" or "taps"), and its weight in the loss.
        patience: stop when no site's choice has changed for this many epochs; 0 never stops early.
        rule: how a candidate is chosen: "argmax", "contribution" or "energy".
        shrink: candidates leave whose coefficient stays below this share of their site's largest; 0 keeps all.
        discretise: "at-once" when the search is done, or "one-by-one" with training in between.
        recovery: for "one-by-one": how much is trained after each site, as a share of an epoch.
        freeze: "unsearched" trains the searched convs alone; all other weights and batch-norm statistics stay.
        lr_rest: the learning rate of all weights but those of the searched convs, as a share of `lr`.
        warm_start: the evaluator, such as "gennas", whose values set the mixtures that "dash" starts from; "" for none.
        autotune: measure, before the search, which algorithm computes each mixture fastest; false takes an estimate.
    """

    epochs: int = Field(30, ge=1)
    optimizer: str = "sgd"
    lr: float = Field(0.1, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    schedule: str = "cosine"
    strategy: str = "dash"
    relaxation: str = "soft-gumbel"
    update: str = "one-level"
    monitors: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    widths: str = ""
    pareto: int = Field(0, ge=0)
    pareto_cost: str = ""
    latency_threads: int = Field(1, ge=1)
    latency_provider: str = "cpu"
    init: Literal["grow", "fresh"] = "fresh"
    alpha_lr: float = Field(0.05, gt=0)
    alpha_optimizer: str = "adam"
    held_out: float = Field(0.3, gt=0, lt=1)
    warmup: float = Field(0.2, ge=0, lt=1)
    tie: Literal["none", "all", "stage", "shape"] = "none"
    seeds: int = Field(1, ge=1)
    as_retrained: bool = False
    tau: tuple[float, float] = (1.0, 1.0)
    lead: float = Field(0.0, ge=0, lt=1)
    fade: float = Field(0.6, ge=0, le=1)
    cost: str = "span"
    cost_weight: float = Field(0.1, ge=0)
    patience: int = Field(0, ge=0)
    rule: str = "argmax"
    shrink: float = Field(0.0, ge=0, lt=1)
    discretise: Literal["at-once", "one-by-one"] = "at-once"
    recovery: float = Field(0.2, gt=0, le=1)
    freeze: Literal["none", "unsearched"] = "none"
    lr_rest: float = Field(1.0, gt=0)
    warm_start: str = ""
    autotune: bool = True

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_called_before(cls, options: Any) -> Any:
        """`alpha_on`, in files of earlier versions, is `update`."""
        if not isinstance(options, Mapping) or "alpha_on" not in options:
            return options
        rest, before = {name: value for name, value in options.items() if name != "alpha_on"}, options["alpha_on"]
        if before not in UPDATES:
            raise ValueError(f"alpha_on is called update now, and was {' or '.join(UPDATES)}, not {before!r}")
        if rest.setdefault("update", UPDATES[before]) != UPDATES[before]:
            raise ValueError(f"alpha_on={before} is called update={UPDATES[before]} now; leave alpha_on out")
        return rest

    @field_validator("widths", mode="before")
    @classmethod
    def _a_flag_is_the_plain_gate(cls, value: Any) -> Any:
        return {True: "taylor", False: ""}[value] if isinstance(value, bool) else value

    @property
    def kind(self) -> str:
        """The strategy's name, or the class of an object, without its arguments."""
        return re.split(r"[:(]|" + FROM_PYTHON, self.strategy, maxsplit=1)[0]

    @property
    def is_control(self) -> bool:
        """Whether the strategy looks at nothing, as far as its name tells."""
        return self.kind in ("random", "untouched", "Control")

    @property
    def asks_nobody(self) -> bool:
        """Whether the strategy does without the evaluator that options name, as far as its name tells."""
        return self.is_control or self.kind in ("ladder", "Ladder", "joint", "JointSearch", WIDTHS, "Narrowing")

    @property
    def judges_mixtures(self) -> bool:
        """Whether the choice is read from trained mixtures, as far as the strategy's name tells."""
        return self.kind in ("dash", "Gradient")


class BlackBoxConfig(Strict):
    """How the strategies that only see values go about it.

    Attributes:
        evaluator: what a genotype is worth: a proxy ("gennas" and others, see `dashfx.proxy`), "supernet" (shared
            weights of a supernet that is trained first), "train" (a short training), or a table, FILE.json or FILE.csv.
        evaluations: how many genotypes are proposed; those met before cost nothing.
        objectives: "valid", which is what the evaluator says, and behind it costs that are to be low, such as
            "latency". All that nothing dominates is in the result; the best by "valid" is the choice.
        start: the `evaluations.jsonl` of another run: its genotypes are evaluated first, the best first.
        started: how many of them.
        cache: a JSONL file that runs share: what was evaluated there with the same model, data, evaluator, recipe and
            seed is not evaluated again; "" for none.
        population, tournament: of "evolution"; `search.strategy` may also say `evolution:population=20`.
        epochs: of a short training.
        batch_size: how many rows a proxy sees.
        together: how many genotypes are proposed before the first of them has a value. With `--workers` that many are
            evaluated at a time; another number is another search, whoever evaluates.
    """

    evaluator: str = "gennas"
    evaluations: int = Field(200, ge=1)
    objectives: tuple[str, ...] = ("valid",)
    start: str = ""
    started: int = Field(10, ge=1)
    cache: str = ""
    population: int = Field(50, ge=1)
    tournament: int = Field(10, ge=1)
    epochs: int = Field(3, ge=1)
    batch_size: int = Field(16, ge=2)
    together: int = Field(1, ge=1)

    @field_validator("objectives")
    @classmethod
    def _begins_with_valid(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if names[:1] != ("valid",) or len(set(names)) < len(names):
            raise ValueError("write valid, by which the choice is made, then costs, each once, as valid,latency")
        return names

    @property
    def costs(self) -> tuple[str, ...]:
        """The objectives beside the first."""
        return self.objectives[1:]
