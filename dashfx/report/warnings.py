"""Warnings of a finished run: what its reader should doubt, one sentence each with what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mode

from dashfx.config.run import RunConfig
from dashfx.cost.ceiling.rule import held
from dashfx.cost.ceiling.supernet import Plain
from dashfx.cost.counts import conv_parameters, parameters_of
from dashfx.data import Data
from dashfx.data.checks.leaks import MARK
from dashfx.report.figures import changes
from dashfx.run.result import LONGER, RANDOM, SEARCHED, UNTOUCHED, WIDER, Result
from dashfx.space import Candidate
from dashfx.train.convergence import FEWEST
from dashfx.train.progress import Epoch

EVEN_SHARES = 1.5  # a top coefficient below this many even shares has not won
FEW_ROWS = 100
ONNX_GAP = 0.01  # relative


def warnings_of(result: Result, config: RunConfig, data: Data) -> list[str]:
    """Everything that speaks against taking the result at its word; empty where nothing was found."""
    epochs = stage(result.history, "search")
    return [
        *_leaks(data),
        *_beaten(result),
        *_choices(result, config),
        *_cheapest(result, config),
        *_undecided(result, config, epochs),
        *_moving(epochs),
        *_apart(result, config),
        *_retraining(result),
        *_metrics(result),
        *_little_data(result, config, data),
    ]


def stage(history: Sequence[Epoch], name: str) -> list[Epoch]:
    return [epoch for epoch in history if epoch.stage == name]


def best_index(result: Result, epochs: Sequence[Epoch]) -> int:
    """The epoch whose weights were kept: the last with the best metric."""
    best = 0
    for i, epoch in enumerate(epochs):
        best = best if result.task.better(epochs[best].metric, epoch.metric) else i
    return best


def candidates_left(result: Result, config: RunConfig) -> dict[str, Sequence[Candidate]]:
    """The candidates that the configuration's space leaves at each site after pruning, under its ceiling."""
    if not result.sites:
        return {}
    space = config.space.build(mode(site.ndim for site in result.sites.values()))
    plain = Plain(_own_parameters(result), lambda: math.inf)  # only parameters are known any more
    found = held(space, config.space, result.sites, plain, config.search.batch_size)
    return {name: offer.now for name, offer in found.offers.items()}


def _own_parameters(result: Result) -> int:
    """Of the untouched model, as the chosen one tells."""
    chosen = [(site, result.genotype[name]) for name, site in result.sites.items() if name in result.genotype]
    grown = sum(conv_parameters(site, choice) - conv_parameters(site, site.original) for site, choice in chosen)
    return parameters_of(result.model) - grown


def _choices(result: Result, config: RunConfig) -> list[str]:
    if not config.search.judges_mixtures or not result.chosen:
        return []
    if not result.changed:
        return [
            "Every site kept its own kernel and dilation, so the search changed nothing: widen the space, or search "
            "longer (search.epochs)."
        ]
    choices = set(map(str, result.chosen.values()))
    if len(choices) > 1 or len(result.chosen) == 1 or config.search.tie != "none":
        return []
    cheap, left = _at_the_lowest_cost(result, config)
    penalty = f"the cost penalty (search.cost_weight={config.search.cost_weight:g}) or " if 2 * cheap > left else ""
    return [
        f"All {len(result.chosen)} sites chose {choices.pop()}, which {penalty}the initialisation can cause as well as "
        f"the data: repeat with another seed{' and with search.cost_weight=0' if penalty else ''}, and compare with "
        "--strategy random."
    ]


def _leaks(data: Data) -> list[str]:
    """What the data's own check has found: rows that stand in two parts make every figure too good."""
    return [f"A leak: {note.removeprefix(MARK)}" for note in data.notes if note.startswith(MARK)]


def _beaten(result: Result) -> list[str]:
    """Controls that are as good as the searched model on validation."""
    searched = result.finalist(SEARCHED)
    if searched is None or math.isnan(searched.value):
        return []
    own, found = searched.value, (result.finalist(origin) for origin in (UNTOUCHED, LONGER, WIDER, RANDOM))
    rivals = {each.name: each.value for each in found if each}
    lost = [f"{name} ({value:.4g})" for name, value in rivals.items() if not result.task.better(own, value)]
    if not lost:
        return []
    return [
        f"On the validation part the searched model ({own:.4g}) did not beat {' and '.join(lost)}: the search has not "
        "paid here; repeat with other seeds (--seeds) or another space before relying on it."
    ]


def _cheapest(result: Result, config: RunConfig) -> list[str]:
    """Choices that the cost penalty alone would make too."""
    if not config.search.judges_mixtures or not config.search.cost_weight or len(result.chosen) < 2:
        return []
    if not result.changed or len(set(map(str, result.chosen.values()))) == 1:  # said of the choices already
        return []
    cheap, left = _at_the_lowest_cost(result, config)
    if 2 * cheap <= left:
        return []
    return [
        f"{cheap} of {left} sites took the candidate with the lowest {config.search.cost}, which the cost "
        f"penalty (search.cost_weight={config.search.cost_weight:g}) can decide without the data: repeat with "
        "search.cost_weight=0."
    ]


def _at_the_lowest_cost(result: Result, config: RunConfig) -> tuple[int, int]:
    """How many sites took their cheapest candidate, where there is a penalty, and how many had a choice."""
    size = (lambda c: c.taps) if config.search.cost == "taps" else (lambda c: sum(c.span))
    left = {name: found for name, found in candidates_left(result, config).items() if len(found) > 1}
    cheap = [n for n, c in result.chosen.items() if n in left and size(c) == min(map(size, left[n]))]
    return len(cheap) if config.search.cost_weight else 0, len(left)


def _undecided(result: Result, config: RunConfig, epochs: Sequence[Epoch]) -> list[str]:
    if not epochs:
        return []
    left = {name: len(found) for name, found in candidates_left(result, config).items()}
    names = [n for n, (share, _) in epochs[-1].mixtures.items() if left.get(n, 1) > 1 and share < EVEN_SHARES / left[n]]
    if not names:
        return []
    return [
        f"{_sites(names)} undecided when the search ended, with a top coefficient below {EVEN_SHARES:g} times an even "
        "share: search longer (search.epochs), or raise search.alpha_lr."
    ]


def _moving(epochs: Sequence[Epoch]) -> list[str]:
    """Choices that changed in the last tenth of the search."""
    tail = math.ceil(len(epochs) / 10)
    names = list(dict.fromkeys(name for i, name in changes(epochs) if i >= len(epochs) - tail))
    if not names:
        return []
    period = "epoch" if tail == 1 else f"{tail} epochs"
    return [
        f"{_sites(names)} still changing the leading candidate in the last {period} of the search: search longer "
        "(search.epochs)."
    ]


def _apart(result: Result, config: RunConfig) -> list[str]:
    """Searches that differ by their seeds alone and chose differently."""
    agreement = result.agreement
    if agreement is None or agreement.seeds < 2 or agreement.verdict == "the same":
        return []
    apart = len(agreement.decisions) - agreement.agreed
    if agreement.verdict == "open":
        said = "agree no more than chance may do, so that the choice is open"
    else:
        said = f"differ at {apart} of {len(agreement.decisions)} decisions, where the choice is not one"
    tie = "tie choices (search.tie), " if config.search.tie == "none" else ""
    return [
        f"{agreement.seeds} searches that only their seeds tell apart {said}: {tie}search longer (search.epochs), or "
        "compare with --strategy random."
    ]


def _retraining(result: Result) -> list[str]:
    """Trainings that have not converged, and else a best epoch that was the last of a given number."""
    searched = result.finalist(SEARCHED)
    names = {searched.stage if searched else "retrain": "searched" if searched else "retrained"}
    names |= {each.stage: each.name for each in result.finalists if each.figures and each.origin != LONGER}
    ended = {name: result.convergence(stage) for stage, name in names.items()}
    told = [f"The {name} model's {found.sentence}." for name, found in ended.items() if found and not found.converged]
    return told or _too_short(result, names) or _last_is_best(result, next(iter(names)))


def _too_short(result: Result, names: Mapping[str, str]) -> list[str]:
    """Trainings, as stage -> name, that say nothing of whether they have converged."""
    short = [name for of, name in names.items() if 0 < len(stage(result.history, of)) < FEWEST]
    if not short:
        return []
    return [
        f"Fewer than {FEWEST} epochs do not tell whether a training has converged ({' and '.join(short)}): more epochs "
        "come before kernels (--retrain-epochs)."
    ]


def _last_is_best(result: Result, name: str) -> list[str]:
    epochs = stage(result.history, name)
    if any(epoch.open for epoch in epochs):  # the rate fell until the last one, and validation had said when
        return []
    if len(epochs) < 2 or not result.task.better(epochs[-1].metric, epochs[best_index(result, epochs[:-1])].metric):
        return []
    return [f"The best epoch of retraining was the last of {len(epochs)}, so more may help: raise retrain.epochs."]


def _metrics(result: Result) -> list[str]:
    found = []
    for part, value in (("validation", result.valid), ("test", result.test)):
        if math.isnan(value):
            found.append(
                f"There is no {result.task.metric_name} on the {part} part: check that the part holds every class, or "
                "choose another metric (--task)."
            )
    torch = result.valid if result.refit is None else result.refit
    gap = abs(torch - result.onnx_valid) if result.onnx_valid is not None else 0.0
    if gap > ONNX_GAP * abs(torch):
        found.append(
            f"On the validation part ONNX Runtime gives {result.onnx_valid:.4g} and PyTorch {torch:.4g}: trust "
            "the former for deployment, and repeat with --amp no if the run used lower precision."
        )
    return found


def _little_data(result: Result, config: RunConfig, data: Data) -> list[str]:
    found = []
    if config.limit is not None:
        found.append(
            f"At most {config.limit} rows of each part were used, so the figures are for trying out: leave limit away."
        )
    for part in ("valid", "test"):
        rows = len(data.part(part))
        if rows < FEW_ROWS:
            found.append(
                f"The {part} part has {rows} rows, so {result.task.metric_name} moves by chance from one split to "
                "another: give more data, or average over seeds."
            )
    return found


def _sites(names: Sequence[str]) -> str:
    first = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"1 site ({first}) was" if len(names) == 1 else f"{len(names)} sites ({first}) were"
