"""The ceiling on a run's supernet: the space that is searched under it, known before anything is built."""

from __future__ import annotations

from dashfx.config.run import RunConfig
from dashfx.cost.ceiling.rule import Held, held
from dashfx.cost.ceiling.supernet import Plain
from dashfx.cost.counts import parameters_of
from dashfx.cost.macs import Macs
from dashfx.errors import ConfigError
from dashfx.frontend.tracing import Program
from dashfx.passes.substitute import clinging
from dashfx.run.run import Run
from dashfx.space import BESIDE, Candidate


def under_ceiling(config: RunConfig, program: Program) -> Held:
    """The configuration's space for a traced model, as far as its ceiling lets it.

    Raises:
        ConfigError: it changes options that a probe of the sites would have to see as they are.
    """
    branch = Candidate(1, 1, BESIDE)
    sites = program.sites.items()
    stuck = [name for name, site in sites if clinging(site, program.model.get_submodule(name), branch)]
    plain = Plain(parameters_of(program.model), lambda: Macs().whole(program))
    found = held(config.space.build(program.ndim), config.space, program.sites, plain, config.search.batch_size, stuck)
    if found.acts and config.space.sites == "auto":
        raise ConfigError(
            f"space.sites=auto asks what new taps of dense kernels add, and {found.sentence()}; search all sites, give "
            "fewer kernels (--kernels), or --ceiling none"
        )
    return found


def tell(run: Run, found: Held) -> None:
    """What the supernet costs, at the head of a run; where the ceiling acts, its report keeps that too."""
    if found.acts:
        run.note(found.sentence())
    elif run.strategy.judges_mixtures:
        run.session.observer.note(found.sentence())
