"""The rule of the ceiling: which options of which convs leave, or become branches, before a search begins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from dashfx.config.ceiling import Ceiling, read_ceiling
from dashfx.config.space import SpaceConfig
from dashfx.cost.base import TotalCost
from dashfx.cost.ceiling.supernet import Plain, mixture_macs, mixture_weights, own_weights, stands_beside, step_macs
from dashfx.cost.counts import conv_macs
from dashfx.cost.parameters import Parameters
from dashfx.passes.prune import survivors
from dashfx.passes.substitute import check_room
from dashfx.site import Site
from dashfx.space import BESIDE, DENSE, Candidate, SearchSpace, literal

SMALL = 0.01  # of the model's parameters: what a conv's options may add, however small the conv


@dataclass(frozen=True)
class Offer:
    """What a conv is offered.

    Attributes:
        space: its candidates by the space, and `now` those under the ceiling.
        why: what the ceiling did here; empty where nothing.
    """

    site: Site
    space: tuple[Candidate, ...]
    now: tuple[Candidate, ...]
    why: str = ""

    def times(self, candidates: Sequence[Candidate]) -> float:
        """The weights of a mixture over the conv's own."""
        return mixture_weights(self.site, candidates) / own_weights(self.site)


@dataclass(frozen=True)
class Held:
    """A space under its ceiling, and what its supernet costs.

    Attributes:
        space: with what the ceiling changed as overrides.
        rows: of a step.
    """

    space: SearchSpace
    plain: Plain
    rows: int
    ceiling: Ceiling | None
    offers: Mapping[str, Offer] = field(default_factory=dict)

    @property
    def acts(self) -> bool:
        return any(offer.why for offer in self.offers.values())

    @property
    def params(self) -> float:
        """Of the supernet."""
        return _params(self.plain, self.offers, lambda offer: offer.now)

    @property
    def steps(self) -> float:
        """The multiply-adds of a step over those of the model's own, by estimate."""
        return _steps(self.plain, self.offers, self.rows, lambda offer: offer.now)

    def sentence(self) -> str:
        """What the supernet costs, and what the ceiling did to it."""
        now = self._costs(self.params, self.steps)
        if not self.acts:
            return f"the supernet of this space has {now}{self._beyond()}"
        changed = [offer for offer in self.offers.values() if offer.why]
        branches = sum(stands_beside(offer.now) for offer in changed)
        before = _params(self.plain, self.offers, lambda offer: offer.space)
        steps = _steps(self.plain, self.offers, self.rows, lambda offer: offer.space)
        did = [f"at {branches} of {len(self.offers)} convs kernels stand beside the own one"] if branches else []
        did += [f"at {len(changed) - branches} convs options leave"] if branches < len(changed) else []
        return (
            f"the supernet of the whole space would have {self._costs(before, steps)}; under the ceiling "
            f"(space.ceiling) {' and '.join(did)}, and it has {now}{self._beyond()}"
        )

    def _costs(self, params: float, steps: float) -> str:
        said: TotalCost = Parameters()
        return (
            f"{said.say(params)} parameters, {params / max(1, self.plain.params):.3g} times the model's, and at a step "
            f"of {self.rows} rows some {steps:.2g} times the multiply-adds"
        )

    def _beyond(self) -> str:
        if self.ceiling is None or not self.acts or not _broken(self, self.ceiling):
            return ""
        return ", which is above the ceiling still: give fewer kernels, or exclude convs"


def held(
    space: SearchSpace,
    options: SpaceConfig,
    sites: Mapping[str, Site],
    plain: Plain,
    rows: int,
    stuck: Collection[str] = (),
) -> Held:
    """The space under the ceiling of its options.

    1. The ceiling acts where the supernet would have more than `space.ceiling_from` parameters, and more than the
       ceiling's multiple of the model's.
    2. Then a conv whose options together have more than that multiple of its own weights gets, instead of dense kernels
       of each size, branches of that size beside its own kernel, which cost a number a tap for each channel.
    3. While the supernet is above the ceiling still, in parameters or in the multiply-adds of a step, the option of the
       most taps leaves at the conv whose options have the most weights; own kernels stay.
    4. Families, candidates and overrides that are named stay as they are.

    Args:
        stuck: convs that can have no branches.

    Raises:
        SpaceError: the options of a conv could not be held in memory.
    """
    searched = {name: site for name, site in sites.items() if _included(name, options)}
    offers = {name: offer for name, site in searched.items() if (offer := _offer(space, site)).space}
    for offer in offers.values():
        check_room(offer.site, offer.space)  # what no machine holds is a mistake, not an option too many
    found = Held(space, plain, rows, read_ceiling(options.ceiling), offers)
    if found.ceiling is None or found.params <= max(options.ceiling_from, found.ceiling.params * plain.params):
        return found
    free = [name for name in offers if not _named(name, options)]
    turned = {n: _beside(offers[n], found.ceiling, plain) for n in free if n not in stuck}
    return _cut(replace(found, offers={**offers, **turned}), found.ceiling, free)


def _included(name: str, options: SpaceConfig) -> bool:
    return any(fnmatchcase(name, glob) for glob in options.include) and not any(
        fnmatchcase(name, glob) for glob in options.exclude
    )


def _named(name: str, options: SpaceConfig) -> bool:
    given = options.families is not None or options.candidates is not None
    return given or any(fnmatchcase(name, glob) for glob in options.overrides)


def _offer(space: SearchSpace, site: Site) -> Offer:
    left = set(survivors(site, choices := space.for_site(site.name, site.original))[0])
    kept = tuple(choice for choice in choices if choice in left)
    return Offer(site, kept, kept)


def _beside(offer: Offer, ceiling: Ceiling, plain: Plain) -> Offer:
    """The offer with branches in the place of dense kernels, where these are too many and those can stand (rule 2)."""
    site, times = offer.site, offer.times(offer.space)
    adds = mixture_weights(site, offer.space) - own_weights(site)
    if times <= ceiling.params or adds <= SMALL * plain.params or {c.family for c in offer.space} != {DENSE}:
        return offer
    turned = [c if c == site.original else _branch(c) for c in offer.space]
    left = set(survivors(site, tuple(turned))[0])
    now = tuple(choice for choice in turned if choice in left)
    if not stands_beside(now) or (after := offer.times(now)) >= times:
        return offer
    return replace(offer, now=now, why=f"{times:.3g} times its weights, as branches beside it {after:.2g} times")


def _branch(choice: Candidate) -> Candidate:
    return Candidate(choice.kernel, choice.dilation, BESIDE)


def _cut(found: Held, ceiling: Ceiling, free: Sequence[str]) -> Held:
    """Options leave one by one (rule 3), and what has changed becomes overrides of the space."""
    offers = dict(found.offers)
    while _broken(found := replace(found, offers=dict(offers)), ceiling):
        heavy = {n: mixture_weights(offers[n].site, offers[n].now) for n in free if _spare(offers[n])}
        if not heavy:
            break
        name = max(heavy, key=heavy.__getitem__)
        offer = offers[name]
        gone = max(_spare(offer), key=lambda c: (c.taps, c.span))
        why = offer.why or f"{offer.times(offer.space):.3g} times its weights"
        offers[name] = replace(offer, now=tuple(c for c in offer.now if c != gone), why=f"{why}; {gone} leaves")
    changed = tuple((literal(n), _listed(offer)) for n, offer in found.offers.items() if offer.why)
    return replace(found, space=replace(found.space, overrides=(*found.space.overrides, *changed)))


def _spare(offer: Offer) -> list[Candidate]:
    """What can leave."""
    return [c for c in offer.now if c != offer.site.original] if len(offer.now) > 1 else []


def _listed(offer: Offer) -> tuple[Candidate, ...]:
    """The choices as a space has them: it adds the own kernel."""
    return tuple(c for c in offer.now if c != offer.site.original) or offer.now


def _broken(found: Held, ceiling: Ceiling) -> bool:
    return found.params > ceiling.params * found.plain.params or found.steps > ceiling.macs


def _params(plain: Plain, offers: Mapping[str, Offer], of: Callable[[Offer], tuple[Candidate, ...]]) -> float:
    return plain.params + sum(mixture_weights(o.site, of(o)) - own_weights(o.site) for o in offers.values())


def _steps(plain: Plain, offers: Mapping[str, Offer], rows: int, of: Callable[[Offer], tuple[Candidate, ...]]) -> float:
    own = rows * sum(conv_macs(o.site, o.site.original) for o in offers.values())
    mixed = sum(mixture_macs(o.site, of(o), rows) for o in offers.values())
    whole = step_macs(plain.macs - own / rows + mixed / rows, _params(plain, offers, of), rows)
    return whole / step_macs(plain.macs, plain.params, rows)
