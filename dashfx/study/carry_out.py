"""A study carried out: a plan goes in; a folder of runs with `study.json` and `study.md` comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dashfx.config.run import RunConfig
from dashfx.errors import ConfigError, ProxyError, RunFolderError
from dashfx.genotype import Genotype
from dashfx.pipeline import check_options
from dashfx.pipeline import search as search_pipeline
from dashfx.proxy import Correlation
from dashfx.run.folder import make_root, write_text
from dashfx.run.preflight import check_search
from dashfx.run.prepare import prepare
from dashfx.stages.rewrite import rewritten
from dashfx.study.markdown import to_markdown
from dashfx.study.plan import FILE, RANDOM, UNTOUCHED, Plan, same_options
from dashfx.study.runs import Outcome, Search, carried_out, checked
from dashfx.study.scores import distinct, rank_correlation, score_of
from dashfx.study.summary import Summary, summarised
from dashfx.train.processes import launched
from dashfx.train.progress import QUIET, Observer

FACTS, TABLE = "study.json", "study.md"


@dataclass(frozen=True)
class Study:
    """What a study found."""

    plan: Plan
    summary: Summary
    folder: Path


def study(
    plan: Plan,
    out: str | Path,
    *,
    resume: bool = False,
    observer: Observer = QUIET,
    workers: int | str | None = None,
    search: Search | None = None,
) -> Study:
    """Search with each method and each seed, train what was found by one recipe, and compare.

    Every run has a folder of its own in `out`, named method-seed. What is there is not run again, and a run that was
    killed goes on from its checkpoints.

    Args:
        out: the folder; it holds nothing yet, unless `resume`.
        workers: as of `dashfx.search`, for the independent trainings of each run.
        search: what runs a configuration, for tests.

    Raises:
        DashfxError: a plan that cannot be carried out, before anything is trained.
    """
    root = Path(out)
    _check_folder(root, plan, resume)
    _check_named(plan)
    configs = {trial: plan.config(trial) for trial in plan.trials()}
    if search is None:
        check_methods(plan, root)
        search = _searching(observer, workers)
    write_text(make_root(root) / FILE, plan.to_yaml())
    outcomes = list[Outcome]()
    for number, (trial, config) in enumerate(configs.items(), 1):
        observer.note(f"run {number} of {len(configs)}: {trial.name}")
        outcomes.append(carried_out(trial, config, root, search))
        checked(outcomes)
        _write(plan, summarised(plan, outcomes), root)
    summary = summarised(plan, outcomes, correlations(plan, outcomes))
    _write(plan, summary, root)
    return Study(plan, summary, root)


def check_methods(plan: Plan, root: Path) -> None:
    """Whether each method can be run on the model and data, as far as that is known before training.

    Raises:
        DashfxError: one cannot; the message names it.
    """
    for method in plan.rows:
        config = plan.config(plan.of(method)[0])
        assert config.model is not None and config.data is not None  # `_check_named` has looked
        try:
            run = prepare(config.model, config.data, config=config, check=check_search)
            program, supernet = rewritten(run)
            check_options(run, program, supernet)
        except (ConfigError, RunFolderError) as error:
            raise type(error)(f"method {method}: {error}") from None


def correlations(plan: Plan, outcomes: Sequence[Outcome]) -> dict[str, list[Correlation]]:
    """How each method's own score orders the random choices and the untouched model, a correlation a seed.

    All methods are asked about the same genotypes; a method without a score, and a study of too few results that
    differ, has none.
    """
    truth = distinct([(o.genotype, o.test) for o in outcomes if o.done and o.trial.method in (RANDOM, UNTOUCHED)])
    found = dict[str, list[Correlation]]()
    for each in outcomes:
        if each.done and each.trial.method in plan.methods and (one := _correlation(each, truth)):
            found.setdefault(each.trial.method, []).append(one)
    return found


def _correlation(outcome: Outcome, truth: Mapping[Genotype, float]) -> Correlation | None:
    try:
        score = score_of(outcome.folder)
        return rank_correlation(score, truth, outcome.maximise) if score else None
    except (ProxyError, RunFolderError):  # too few genotypes, or a folder whose checkpoints are gone
        return None


def _searching(observer: Observer, workers: int | str | None) -> Search:
    def search(config: RunConfig, folder: Path, resume: bool) -> object:
        assert config.model is not None
        return search_pipeline(
            config.model, config.data, config=config, out=folder, observer=observer, resume=resume, workers=workers
        )

    return search


def _check_folder(root: Path, plan: Plan, resume: bool) -> None:
    """Whether the folder can take this study: methods, seeds and random choices may be added to one, options not."""
    if launched() > 1:
        raise ConfigError("a study runs one training after the other: start it without torchrun or accelerate launch")
    if resume:
        same_options(Plan.load(root), plan.options, root)
    elif root.exists() and (not root.is_dir() or any(path.suffix != ".part" for path in root.iterdir())):
        raise RunFolderError(
            f"--out {root}: it exists and is not empty; give another folder, or --resume to carry that study on"
        )


def _check_named(plan: Plan) -> None:
    for name in ("model", "data"):
        if not isinstance(plan.options.get(name), str):
            raise ConfigError(f"a study needs {name!r} by name, such as file.py:Class, so that its runs can be resumed")


def _write(plan: Plan, summary: Summary, root: Path) -> None:
    write_text(root / FACTS, json.dumps(summary.to_dict(plan), indent=1) + "\n")
    write_text(root / TABLE, to_markdown(summary, plan))
