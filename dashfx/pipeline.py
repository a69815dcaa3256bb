"""The whole pipeline: a model and data go in; a searched, retrained and exported model and its run folder come out.

Read `search` from top to bottom: its stages have the same names here, in the log, in the report and in errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import convert_to_fp32
from torch import Tensor, nn

from dashfx.config.run import CONTROLS, RunConfig
from dashfx.cost.latency import Contender, Figures, compare
from dashfx.frontend.tracing import Program, trace
from dashfx.genotype import Genotype
from dashfx.ops import drop_residuals, sites_of
from dashfx.run.folder import write_text
from dashfx.run.preflight import check_search, check_training
from dashfx.run.run import ModelLike, Run, configured, prepare
from dashfx.site import Site, Skip
from dashfx.space import SearchSpace
from dashfx.stages.budget import keep_budget
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.export import Control, Result, write_outputs, write_summary
from dashfx.stages.finalists import Retrained, retrained, tuned
from dashfx.stages.retrain import fit_stage, plan, retrain, specialised
from dashfx.stages.rewrite import give_lead, probe, retrained_sites, rewritten, take_algorithms
from dashfx.stages.search import best_genotype, check_evaluators, warm_start
from dashfx.stages.tune import check_space, trial_epochs
from dashfx.strategies.engine import Engine
from dashfx.strategies.one_by_one import Settling, mixed
from dashfx.strategies.rules import RandomChoice, load_rule
from dashfx.strategies.updates import STRATEGIES
from dashfx.task import Task
from dashfx.train.fit import metric_over
from dashfx.train.progress import QUIET, Observer


def search(
    model: ModelLike,
    data: Any,
    *,
    task: str | Task | None = None,
    space: SearchSpace | None = None,
    strategy: str | None = None,
    out: str | Path | None = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    observer: Observer = QUIET,
    resume: bool = False,
) -> Result:
    """Find a kernel size and dilation for each conv of `model` on `data`, retrain, and export a checked ONNX file.

    Args:
        model: `file.py:Class`, a class, a factory or an instance; a checkpoint is named in `config`.
        data: whatever `load_data` takes.
        task: "classify", "multilabel", "regress", `file.py:function` or a Task; by default what the data suggests.
        space: the candidates; by default the configuration's.
        strategy: "dash"; "evolution", "random-search" and "local" ask an evaluator what genotypes are worth; "random"
            and "untouched" are the controls that go through the same retraining.
        out: the run's folder; without it nothing is written and no ONNX file is made.
        resume: continue the run in `out`.

    Raises:
        DashfxError: bad input, in one line that says what to do.
    """
    config = configured(config, model, data, task, space, strategy)
    check_search(config)
    run = prepare(model, data, task=task, out=out, config=config, observer=observer, resume=resume)
    program, supernet = rewritten(run)  # trace, canonicalise, substitute, prune, annotate
    check_options(run, program, supernet)
    if out is not None:
        run.use_folder(out)  # all that a user can get wrong has been checked by now
    if run.config.space.sites == "auto":
        with run.stage("probe", f"{run.config.space.probe} batches"):
            alone = probe(run, supernet)
        program, supernet = rewritten(run, alone)
    chance = random_control(run.config, supernet)
    if run.config.budget:
        with run.stage("budget", run.config.budget):
            keep_budget(run, supernet)

    with run.stage("search", _search_plan(run.config)):
        genotype = choose(run, supernet)
    if run.config.search.strategy == "dash" and run.config.search.discretise == "one-by-one":
        with run.stage("settle", f"one of {len(genotype)} sites at a time"):
            genotype = settle(run, supernet)
    run.agree(genotype)
    if run.folder and run.is_main:
        write_text(run.folder.genotype, genotype.to_json())

    if run.config.tune.wanted:
        with run.stage("tune", tuning_plan(run.config)):
            run.tuned = tuned(run, supernet, genotype)
    best = retrained(run, supernet, genotype)  # discretise, lower, retrain; where tuned, also without the tuned options

    facts = retrained_sites(best.run, program), program.skips
    return finished(best, *facts, run.config.control, chance)  # and so on to export


def retrain_genotype(
    model: ModelLike,
    data: Any,
    genotype: Genotype,
    *,
    start: nn.Module | None = None,
    task: str | Task | None = None,
    out: str | Path | None = None,
    config: RunConfig | Mapping[str, Any] | None = None,
    observer: Observer = QUIET,
    resume: bool = False,
) -> Result:
    """Train and export `model` with the kernels of a genotype that is known already.

    Args:
        start: the lowered model to start from, such as `dashfx.stages.reopen.lowered_of(folder)`; without it the
            model's fresh weights, or its checkpoint's.

    Raises:
        DashfxError: bad input, or a genotype of another model.
    """
    config = configured(config, model, data, task)
    check_training(config)
    run = prepare(model, data, task=task, out=out, config=config, observer=observer, resume=resume).for_retraining()
    with run.stage("trace"):
        program = trace(run.given_model(), run.example)
    plain = start or specialised(run, genotype)
    if out is not None:
        run.use_folder(out)
    if run.folder and run.is_main:
        write_text(run.folder.genotype, genotype.to_json())
    if run.config.budget:
        with run.stage("budget", run.config.budget):
            keep_budget(run, None, genotype)
    with run.stage("retrain", plan(f"{run.config.retrain.weights} weights", run.config.retrain.epochs)):
        best = Retrained(run, genotype, *retrain(run, plain))
    return finished(best, program.sites, program.skips, control=False)


def check_options(run: Run, program: Program, supernet: nn.Module) -> None:
    """Whether what the options name is there and fits the traced model; nothing is written before.

    Raises:
        DashfxError: an evaluator, a space of tuning or a width for retraining that cannot be used.
    """
    check_evaluators(run, supernet)
    if run.config.tune.wanted:
        check_space(run)
    retrained_sites(run, program)


def choose(run: Run, supernet: nn.Module) -> Genotype:
    """One candidate per site: by training the mixtures, by evaluating genotypes, or by one of the controls."""
    config, sites = run.config.search, sites_of(supernet)
    if config.strategy == "random":
        return RandomChoice(run.config.seed).select(sites)
    if config.strategy == "untouched":
        return Genotype({name: site.original for name, site in sites.items()}, "untouched")
    if not run.config.trains_supernet:
        return best_genotype(run, supernet)
    if config.warm_start:
        warm_start(run, supernet)
    elif config.init == "grow" and config.strategy == "dash":
        give_lead(supernet, config.lead)
    engine = train_mixtures(run, supernet)
    if config.strategy != "dash":
        return best_genotype(run, supernet, engine)
    return load_rule(config.rule).select(sites)


def random_control(config: RunConfig, supernet: nn.Module) -> Genotype | None:
    """What chance chooses among the same candidates, drawn before any of them leaves; None unless asked for."""
    if not config.random_control or config.search.strategy in CONTROLS:
        return None
    return RandomChoice(config.seed).select(sites_of(supernet))


def train_mixtures(run: Run, supernet: nn.Module) -> Engine:
    """Weights and architecture parameters of the supernet, trained together."""
    config = run.config.search
    engine = Engine(supernet, run.task, config, run.accelerator, STRATEGIES[config.alpha_on])
    take_algorithms(run, supernet)
    fitted = fit_stage(run, engine, "search")
    if fitted.stopped:
        run.note(f"search stopped after epoch {len(fitted.history)}: {fitted.stopped}")
    drop_residuals(supernet)  # they have faded to nothing and are part of no candidate
    return engine


def settle(run: Run, supernet: nn.Module) -> Genotype:
    """One candidate per site, decided one after the other while the search goes on."""
    config = run.config.search
    rule = load_rule(config.rule)
    if mixed(sites_of(supernet)):
        strategy = STRATEGIES[config.alpha_on]
        fit_stage(run, Settling(supernet, run.task, config, run.accelerator, strategy, rule), "settle")
    return rule.select(sites_of(supernet))


def finished(
    best: Retrained,
    sites: dict[str, Site],
    skips: Iterable[Skip],
    control: bool,
    chance: Genotype | None = None,
) -> Result:
    """Compare with the controls, measure each model on the test part once, export, and write it all down.

    Args:
        control: train the untouched model too, and hand back the better one.
        chance: a random choice per site to train too, for comparison only.
    """
    run, strategy, epochs = best.run, best.run.config.search.strategy, best.run.config.retrain.epochs
    result = Result(best.genotype, best.model, run.task, best.valid, float("nan"), sites, tuple(skips))
    rivals = [Contender(strategy if strategy in CONTROLS else "searched", best.model, best.valid)]
    if control and strategy not in CONTROLS:
        with run.stage("control", plan("the untouched model", epochs)):
            rivals.append(never_worse(run, result))
    if chance is not None:
        with run.stage("random", plan("a random choice per site", epochs)):
            rivals.append(Contender("random", *retrain(run, specialised_by(run, chance, "random"), "random")))
    with run.stage("compare", f"{len(rivals)} models"):
        result.models = compared(run, rivals)
    result.test = result.models[result.control.kept if result.control else rivals[0].name].test
    if run.folder and run.is_main:
        if run.tuned or run.config.budget:
            write_text(run.folder.retrained, run.config.to_yaml())
        with run.stage("export"):
            write_outputs(run, run.folder, result)
    result.seconds, result.history, result.notes = run.seconds, run.history, run.notes
    result.memory = run.memory
    result.evaluations, result.tuned = run.evaluations, run.tuned
    if run.folder and run.is_main:
        result.folder = run.folder.root
        write_summary(run, run.folder, result)
    run.accelerator.wait_for_everyone()
    return result


def never_worse(run: Run, result: Result) -> Contender:
    """Train the untouched model by the same recipe, and hand it back unless the searched one beats it on validation."""
    model, valid = retrain(run, run.start_model(), "control")
    searched = run.task.better(result.valid, valid)
    kept = "searched" if searched else "untouched"
    result.control = Control(result.valid, valid, kept, result.genotype)
    run.note(f"control: {result.control}")
    untouched = Contender("untouched", model, valid)
    if searched:
        return untouched
    if run.folder and run.is_main:
        write_text(run.folder.searched, result.genotype.to_json())
    result.genotype = Genotype({name: result.sites[name].original for name in result.genotype}, "untouched")
    result.model, result.valid = model, valid
    return untouched


def compared(run: Run, rivals: Sequence[Contender]) -> dict[str, Figures]:
    """What each model is worth on the test part, on which nothing is chosen, and what it costs."""
    tested = [replace(each, test=metric_of(run, each.model, "test")) for each in rivals]
    return compare(tested, run.example[:1], timed=run.folder is not None and run.is_main)


def metric_of(run: Run, plain: nn.Module, part: str) -> float:
    """The metric of a plain model over a part of the data; the model ends on the CPU, in eval mode."""
    accelerator, loader = run.accelerator, run.data.loader(part, 4 * run.config.retrain.batch_size)
    plain.to(accelerator.device).eval()

    def predict(x: Tensor) -> Tensor:
        with accelerator.autocast():
            output = plain(x)
        return convert_to_fp32(output)  # as the fit loop's models give it

    metric = metric_over(predict, loader, run.task, accelerator)
    plain.cpu()
    return metric


def tuning_plan(config: RunConfig) -> str:
    options = config.tune
    limits = {"trials": options.trials, "minutes": options.minutes}
    said = " or ".join(f"{limit:g} {name}" for name, limit in limits.items() if limit)
    return f"{options.sampler}, {said}, {trial_epochs(options, config.retrain.epochs)} epochs each"


def _search_plan(config: RunConfig) -> str:
    if config.trains_supernet:
        return plan(config.search.strategy, config.search.epochs)
    if config.search.strategy in CONTROLS:
        return config.search.strategy
    return f"{config.search.strategy} by {config.blackbox.evaluator}, {config.blackbox.evaluations} evaluations"
