"""Rewriting: a run's model becomes its supernet, with the sites that are worth a search and how each is computed.

So are the convs of a plain model while it is trained.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from accelerate.utils import broadcast_object_list
from torch import nn

from dashfx.config.run import RunConfig
from dashfx.errors import ModelError, SpaceError
from dashfx.frontend.tracing import Program, trace
from dashfx.ops import TuningTable, sites_of, tie, tune
from dashfx.ops.autotune.choose import BUDGET
from dashfx.ops.autotune.table import cache_file
from dashfx.ops.fourier.plain_convs import computed_by, faster_convs, large_convs
from dashfx.run.folder import RunFolder, read_facts, reading, write_text
from dashfx.run.inputs import check_model
from dashfx.run.outcome.account import MEASURING
from dashfx.run.prepare import note_idle_globs
from dashfx.run.run import Run
from dashfx.site import Site, frozen_note
from dashfx.space import NESTED, Candidate, SearchSpace
from dashfx.stages.costs.ceiling import tell, under_ceiling
from dashfx.stages.costs.measuring import affordable, for_search
from dashfx.strategies.start.probe import batches_of, gains, left_alone
from dashfx.strategies.start.transfer import matches
from dashfx.supernet import as_supernet, rewriting_passes
from dashfx.train.fit import derive_seed
from dashfx.train.recipe import dropouts


def rewritten(run: Run, alone: Mapping[str, str] | None = None) -> tuple[Program, nn.Module]:
    """The traced program and the supernet that was made of its model.

    Args:
        alone: sites that are not searched, each with the reason.
    """
    config, space_config, inputs = run.config, run.config.space, run.inputs.for_search()
    with run.stage("trace"):
        program = trace(with_dropout(inputs.given_model(), config), inputs.example)
    found = under_ceiling(config, program)
    space = found.space
    if config.search.init == "grow":
        check_growth(program, space)
    note_idle_globs(run, [*program.sites, *(skip.name for skip in program.skips)])
    torch.manual_seed(derive_seed(config.seed, "rewrite"))
    if alone is None:
        tell(run, found)
    globs = space_config.include, space_config.exclude
    for step in rewriting_passes(space, config.search.init, *globs, alone=alone):
        with run.stage(step.name):
            run.session.observer.passed(step(program.graph_module))
    _note_frozen(run, program)
    supernet = as_supernet(program)
    tie(sites_of(supernet), config.search.tie)
    return program, supernet


def with_dropout(model: nn.Module, config: RunConfig) -> nn.Module:
    """The model, with the dropout of retraining where that is what is searched, in place."""
    if config.search.as_retrained and config.retrain.dropout is not None:
        for module in dropouts(model):
            module.p = config.retrain.dropout
    return model


def _note_frozen(run: Run, program: Program) -> None:
    """A note, once, where weights are searched that the user does not train."""
    if note := frozen_note(program.sites.values()):
        run.note(note)


def check_growth(program: Program, space: SearchSpace) -> None:
    """Growing asks for each site's own kernel among its candidates, so that the model can also stay as it is.

    Raises:
        SpaceError: a site whose own kernel is not in the space.
    """
    for site in program.sites.values():
        own = site.original
        choices = space.for_site(site.name, own)
        if own not in choices and Candidate(own.kernel, own.dilation, NESTED) not in choices:
            raise SpaceError(
                f"site {site.name!r}: growing needs its own {own} in the space; "
                "set space.keep_original=true, or search.init=fresh"
            )


def retrained_sites(run: Run, program: Program) -> dict[str, Site]:
    """The sites as they are in the model that is retrained: another one than was searched with `retrain.model_args`.

    Raises:
        ModelError: it has other sites, so that choices could not go over to it.
    """
    if not run.config.retrain.model_args:
        return program.sites
    wide = run.inputs.for_retraining()
    check_model(wide)
    sites, known = trace(wide.fresh_model(), wide.example).sites, {*program.sites, *(s.name for s in program.skips)}
    if run.config.retrain.transfer:
        matches(list(sites), list(program.sites))
        return {name: sites.get(name, site) for name, site in program.sites.items()}
    apart = [name for name in program.sites if name not in sites] + [name for name in sites if name not in known]
    if apart:
        where = "searched" if apart[0] in program.sites else "retrained"
        raise ModelError(
            f"retrain.model_args {run.config.retrain.model_args}: only the {where} model has a site {apart[0]!r}, and "
            "choices go over by name; give arguments that change widths only, or set retrain.transfer=true"
        )
    return {name: sites[name] for name in program.sites}


def probed(run: Run, program: Program, supernet: nn.Module) -> tuple[Program, nn.Module]:
    """Program and supernet with only the sites that a probe finds worth a search, where `space.sites` is "auto"."""
    if run.config.space.sites != "auto":
        return program, supernet
    with run.stage("probe", f"{run.config.space.probe} batches"):
        alone = probe(run, supernet)
    return rewritten(run, alone)


def probe(run: Run, supernet: nn.Module) -> dict[str, str]:
    """The sites that are not worth a search, each with the reason; a resumed run takes them from its folder."""
    config, inputs, session = run.config, run.inputs, run.session
    gained = probe_gains(session.folder)
    if session.is_main and not gained:
        batches = batches_of(inputs.data, config.space.probe, config.search.batch_size, config.seed)
        gained = gains(supernet, batches, inputs.task, session.accelerator.device)
        if session.folder:
            write_text(session.folder.probe, json.dumps(gained, indent=2) + "\n")
    (gained,) = broadcast_object_list([gained])
    alone = left_alone(gained, config.space.share)
    run.note(f"the probe leaves {len(alone)} of {len(gained)} sites alone")
    return alone


def probe_gains(folder: RunFolder | None) -> dict[str, float]:
    """What each site gained in a run's probe; empty where there was none so far."""
    path = folder.probe if folder else None
    if path is None or not path.is_file():
        return {}
    remedy = "remove it, and the probe is made again"
    facts = read_facts(path, remedy)
    with reading(path, remedy):
        return {name: float(gain) for name, gain in facts.items()}


def take_algorithms(run: Run, supernet: nn.Module, seconds: float = BUDGET) -> None:
    """How each mixture is computed: as this run's folder has it, or as measured now by one process for all.

    What is not measured within `seconds`, or a small share of the search's own time, is estimated.

    So a resumed run computes as before. Elsewhere the times of earlier runs on this machine are taken, see
    `dashfx.ops.autotune.table.cache_file`, and what is not known is measured.
    """
    sites, session = sites_of(supernet), run.session
    if session.is_main:
        path, wanted = session.folder.autotune if session.folder else None, run.config.search.autotune
        with run.ledger.part(MEASURING):
            tuning = tune(
                supernet,
                run.inputs.first_rows(run.config.search.batch_size).to(session.accelerator.device),
                kept=TuningTable.load(path),
                cache=cache_file() if wanted else None,
                budget=min(seconds, BUDGET, for_search(run)) if wanted else 0,
            )
        if path is not None:
            tuning.table.save(path)
        session.observer.note(str(tuning))
    (choices,) = broadcast_object_list([{name: site.choices for name, site in sites.items()}])
    for name, site in sites.items():
        site.choices = choices[name]


@contextmanager
def accelerated(run: Run, model: nn.Module, known: Mapping[str, str] | None = None) -> Iterator[int]:
    """Inside, the Fourier path computes the convs of a plain model that are faster by it.

    Args:
        known: what `fourier_convs` gave elsewhere; None asks it now.

    Yields:
        how many convs these are.
    """
    choices = fourier_convs(run, model) if known is None else known
    with computed_by(model, choices):
        yield len(choices)


def fourier_convs(run: Run, model: nn.Module) -> dict[str, str]:
    """The convs of a plain model that are faster by the Fourier path, with algorithms (`ops.fourier.plain_convs`).

    On a CPU in full precision only: nothing else was measured. The folder keeps what was chosen, so that a resumed run
    computes as before, and one process chooses for all.
    """
    config, session, choices = run.config.retrain, run.session, dict[str, str]()
    place = session.accelerator
    other = place.device.type != "cpu" or place.mixed_precision != "no" or config.compile or config.channels_last
    if config.autotune and not other and large_convs(model):
        if session.is_main:
            path = session.folder.autotune if session.folder else None
            x = run.inputs.first_rows(config.batch_size)
            with run.ledger.part(MEASURING):
                seconds = min(BUDGET, affordable(run, model, config))
                choices, tuning = faster_convs(
                    model, x, kept=TuningTable.load(path), cache=cache_file(), budget=seconds
                )
            if tuning is not None and path is not None:
                tuning.table.save(path)
        (choices,) = broadcast_object_list([choices])
    return choices
