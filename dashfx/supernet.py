"""Supernets: a user's model becomes one of searchable convs (`rewrite`), and a plain model comes out (`lower`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from dashfx.config.search import SearchConfig
from dashfx.cost.base import CostModel
from dashfx.cost.counts import expected_cost
from dashfx.errors import ConfigError, ModelError, SpaceError
from dashfx.frontend.inputs import mapped
from dashfx.frontend.tracing import Program, trace
from dashfx.genotype import Genotype
from dashfx.ops import SoftGumbel, Softmax, Tying, sites_of, tie
from dashfx.ops.relaxations.base import geometric
from dashfx.passes import AbstractPass, Annotate, Canonicalise, Discretise, Lower, PassManager, Prune, Substitute
from dashfx.passes.discretise import Weights
from dashfx.passes.narrow import narrowed
from dashfx.passes.substitute import Init
from dashfx.plugins import find
from dashfx.space import SearchSpace, literal
from dashfx.strategies.rules import SelectionRule
from dashfx.train.schedule import fade

log = logging.getLogger(__name__)
FADE: float = SearchConfig.model_fields["fade"].default


class Supernet(nn.Module):
    """What `rewrite` adds to a user's model: its class becomes a subclass of its own class and of this one.

    `supernet.sites` maps site names to their AggConv. Where the user's model has a `sites` of its own, that one stays,
    and `dashfx.ops.sites_of(supernet)` gives the sites. The same holds for the methods: `Supernet.cost(supernet)`.

    In a training loop of one's own, the mixtures want an optimiser of their own (`arch_parameters`, Adam at about 0.01)
    beside that of the weights, and `progress` at every step. Lowering drops what the other candidates did, so the
    lowered model wants some training of its own.
    """

    _own_class: type[nn.Module]
    _example: tuple[Any, ...]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "sites":
                return sites_of(self)
            raise

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What moves or casts the model (`.to`, `.double`) moves and casts its example too."""
        object.__setattr__(self, "_example", mapped(self._example, fn))
        return super()._apply(fn, recurse)

    def genotype(self, rule: str | SelectionRule = "argmax") -> Genotype:
        """One candidate per site, by "argmax", "contribution", "energy", `file.py:Class` or a rule object.

        Raises:
            ConfigError: no rule of that name.
        """
        found: SelectionRule = find("rule", rule)
        return found.select(sites_of(self))

    def arch_parameters(self) -> list[nn.Parameter]:
        """The architecture logits, one (n_candidates,) per site."""
        return [site.alpha for site in sites_of(self).values()]

    def tie(self, by: Tying) -> None:
        """Have sites share their logits candidate by candidate: "all", "stage", "shape"; "none" unties them.

        The logits of `arch_parameters` stay one a site; tied ones all get the mean of their sites' gradients.

        Raises:
            ConfigError: as of `dashfx.ops.tie`.
        """
        tie(sites_of(self), by)

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but the architecture logits."""
        arch = {id(alpha) for alpha in Supernet.arch_parameters(self)}
        return [parameter for parameter in self.parameters() if id(parameter) not in arch]

    def progress(self, share: float, *, faded: float = FADE, tau: tuple[float, float] | None = None) -> None:
        """Set what changes in the course of training, when `share` of it (0 to 1) is done; call it before every step.

        Args:
            faded: the share of training by which nothing is left of the original kernels' residuals (`search.fade`).
            tau: the temperature of the mixtures at the start and at the end, geometric in between (`search.tau`); left
                as it is without it.

        Raises:
            ConfigError: a share outside of [0, 1].
        """
        if not 0 <= share <= 1:
            raise ConfigError(f"progress: a share of the training, {share!r} is not between 0 and 1: give step / steps")
        for site in sites_of(self).values():
            site.fade.fill_(fade(share, faded))
            if tau is not None and isinstance(site.relaxation, SoftGumbel | Softmax):
                site.relaxation.now = geometric(*tau, share)

    def cost(self, model: str | CostModel = "span") -> Tensor:
        """The mean over the sites of the cost expected under their mixtures, a scalar with gradient for the logits.

        Args:
            model: "span" (size over input size), "taps" (taps over the largest candidate's), or a cost model.

        Raises:
            ConfigError: no cost of that name.
        """
        sites = sites_of(self)
        known: CostModel = find("cost", model)
        return expected_cost(known.table(sites), {name: site.coefficients() for name, site in sites.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        # pickle looks classes up by name, and this one was made at run time
        return _unpickled, (self._own_class,), self.__getstate__()


def rewrite(
    model: nn.Module,
    example_input: Any,
    space: SearchSpace,
    init: Init = "grow",
    *,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    algorithm: str = "auto",
    generator: torch.Generator | None = None,
) -> Any:
    """A copy of `model` whose spatial convs are mixtures over the space; a `Supernet` of the user's own class.

    Args:
        example_input: a tensor (batch, channels, *size), a tuple of positional arguments, or a dict by name.
        init: "grow", the default here, keeps the model's output for every mixture: for a model that has been trained.
            "fresh" draws the searched weights anew: the default of `dashfx.search` and the command line
            (`search.init`), which start from untrained models.
        include, exclude: globs over module names.
        generator: for the fresh weights; torch's own by default.

    Raises:
        ModelError: the forward fails on the example, there is no conv to search, or the model is a supernet already.
        SpaceError: no candidate fits a site.
    """
    program = trace(model, example_input)
    PassManager(rewriting_passes(space, init, include, exclude, algorithm, generator))(program.graph_module)
    return as_supernet(program)


def rewriting_passes(
    space: SearchSpace,
    init: Init,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
    algorithm: str = "auto",
    generator: torch.Generator | None = None,
    alone: Mapping[str, str] | None = None,
    equal: bool = False,
) -> list[AbstractPass]:
    """The passes from a traced model to a supernet, in order.

    Args:
        equal: whether candidates stay that coincide at their site.
    """
    substitute = Substitute(space, init, tuple(include), tuple(exclude), algorithm, generator, alone or {})
    return [Canonicalise(), substitute, Prune(equal), Annotate()]


def lowering_passes(genotype: Genotype, weights: Weights = "inherit") -> list[AbstractPass]:
    """The passes from a traced supernet to a plain model, in order."""
    return [Discretise(genotype, weights), Lower()]


def lower(supernet: nn.Module, genotype: Genotype, weights: Weights = "inherit") -> nn.Module:
    """The plain model: torch.nn modules only, the user's class, the user's keys; the supernet stays as it is.

    Args:
        weights: "inherit" starts each conv from the aggregated kernel restricted to the chosen support, "own" from the
            chosen candidate's weight alone, "fresh" draws all weights anew.

    Raises:
        ModelError: not a supernet.
        GenotypeError: the genotype does not fit the sites.
    """
    if not isinstance(supernet, Supernet):
        inside = next((n for n, m in supernet.named_children() if isinstance(m, Supernet)), None)
        hint = f": pass .{inside}" if inside else ""
        raise ModelError(f"expected what dashfx.rewrite returned, got {type(supernet).__name__}{hint}")
    _warn_of_residuals(supernet)
    return _lowered(supernet, genotype, weights)


def _lowered(supernet: Any, genotype: Genotype, weights: Weights) -> nn.Module:
    program = trace(supernet, supernet._example)
    PassManager(lowering_passes(genotype, weights))(program.graph_module)
    return with_widths(as_plain(program), program.example, genotype)


def with_widths(model: nn.Module, example: Any, genotype: Genotype) -> nn.Module:
    """A plain model with the widths that a genotype names; itself where it names none.

    Raises:
        PassError: channels that cannot leave this model.
    """
    if not genotype.widths:
        return model
    return narrowed(model, example, {name: width.channels for name, width in genotype.widths.items()})


def specialise(model: nn.Module, example_input: Any, genotype: Genotype, init: Init = "grow") -> nn.Module:
    """`model` with the genotype's kernels and dilations, without a supernet.

    With init "grow" each searched conv starts from the model's own kernel restricted to the chosen support; with
    "fresh" it is drawn anew. All other weights stay. Of a choice of several kernels each part starts so, and of a sum
    each tap of the own kernel is in one part.

    Raises:
        GenotypeError: a site that the model does not have, or several kernels in a conv that cannot hold them.
    """
    choices = tuple((literal(name), choice.parts) for name, choice in genotype.items())
    if not choices:
        raise SpaceError("an empty genotype changes nothing: search the model first")
    program = trace(model, example_input)
    space, globs = SearchSpace(choices[0][1], choices), [glob for glob, _ in choices]
    PassManager(rewriting_passes(space, init, globs, equal=True))(program.graph_module)
    # What has grown holds the model's own kernel, residual included, of which each choice inherits its taps.
    return _lowered(as_supernet(program), genotype, "inherit" if init == "grow" else "own")


def as_supernet(program: Program) -> nn.Module:
    """The rewritten model of a traced program, as a `Supernet` of its own class.

    Raises:
        ModelError: there is no site, or the model is, or holds, a supernet.
    """
    model = program.model
    inside = next((name for name, module in model.named_modules() if isinstance(module, Supernet)), None)
    if inside is not None:
        where = f"{type(model).__name__} has a supernet at {inside!r}" if inside else "the model is a supernet already"
        raise ModelError(f"{where}: rewrite what it was made from, or what dashfx.lower makes of it")
    if not program.sites:
        named = [f"{skip.name}: {skip.reason}" if skip.name else skip.reason for skip in program.skips[:3]]
        reasons = "; ".join(named) or "it has no convs"
        more = f"; and {len(program.skips) - 3} more, see `dashfx check`" if len(program.skips) > 3 else ""
        raise ModelError(f"the model has no conv to search ({reasons}{more})")
    own: Any = type(model)
    model.__class__ = _class_of(own)
    object.__setattr__(model, "_example", program.example)
    return model


@cache
def _class_of(own: Any) -> Any:
    """The class of supernets of models of a user's class."""
    return type(f"Super{own.__name__}", (own, Supernet), {"_own_class": own, "__module__": __name__})


def _unpickled(own: Any) -> Any:
    kind = _class_of(own)
    return kind.__new__(kind)


def _warn_of_residuals(supernet: nn.Module) -> None:
    """What lies outside the chosen kernels is lost with the residuals, which one's own loop may never have faded."""
    left = [name for name, site in sites_of(supernet).items() if site.residual is not None and float(site.fade) > 0]
    if left:
        log.warning(
            "lower: the original kernels still count at %d sites (%s first): taps outside the chosen kernels are lost; "
            "call supernet.progress(share) while it is trained, and train the lowered model",
            len(left),
            left[0],
        )


def as_plain(program: Program) -> nn.Module:
    """The lowered model of a traced supernet, of the user's own class again."""
    supernet = program.model
    assert isinstance(supernet, Supernet)
    plain, own = cast(nn.Module, supernet), supernet._own_class
    del supernet._example
    plain.__class__ = own
    return plain
