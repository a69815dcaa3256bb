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

from dashfx.blackbox import best_genotype, check_evaluators, warm_start
from dashfx.budget import keep_budget
from dashfx.comparison import Contender, Figures, compare
from dashfx.config import CONTROLS, RunConfig
from dashfx.evaluators import specialised_by
from dashfx.genotype import Genotype
from dashfx.ops import drop_residuals, sites_of
from dashfx.outputs import Control, Result, write_outputs, write_summary
from dashfx.preflight import check_search, check_training
from dashfx.progress import QUIET, Observer
from dashfx.rewriting import give_lead, probe, retrained_sites, rewritten, take_algorithms
from dashfx.run import ModelLike, Run, configured, prepare
from dashfx.runfolder import write_text
from dashfx.search.base import Engine
from dashfx.search.dash import STRATEGIES
from dashfx.search.selection import RandomChoice, load_rule
from dashfx.search.settle import Settling, mixed
from dashfx.site import Site, Skip
from dashfx.space import SearchSpace
from dashfx.supernet import as_plain, lowering_passes
from dashfx.task import Task
from dashfx.tracing import Program, trace
from dashfx.train import Fitted, Learner, Supervised, fit, metric_over
from dashfx.tune import Tuned, check_space, trial_epochs, tune_run, with_values


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
            run, genotype = tuned(run, supernet, genotype)
    plain = lowered(run, supernet, genotype)  # discretise, lower

    facts = retrained_sites(run, program), program.skips
    return finished(run.for_retraining(), plain, genotype, *facts, run.config.control, chance)  # and so on to export


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
        start: the lowered model to start from, such as `dashfx.reopen.lowered_of(folder)`; without it the model's
            fresh weights, or its checkpoint's.

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
    return finished(run, plain, genotype, program.sites, program.skips, control=False)


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


def tuned(run: Run, supernet: nn.Module, genotype: Genotype) -> tuple[Run, Genotype]:
    """The run with the options of retraining that did best on the validation part, and the genotype by its rule.

    What the study has found stands in the run's folder, where a resumed run takes it from.
    """

    def chosen(tried: Run) -> Genotype:
        same = tried.config.search.rule == run.config.search.rule
        return genotype if same else load_rule(tried.config.search.rule).select(sites_of(supernet))

    def start(tried: Run) -> nn.Module:
        return lowered(tried.unheard(), supernet, chosen(tried))

    path = run.folder.tuned if run.folder else None
    known = path is not None and path.is_file()
    run.tuned = Tuned.load(path) if path is not None and known else tune_run(run, genotype, start)
    if path is not None and run.is_main and not known:
        write_text(path, run.tuned.to_json())
    run.note(f"tune: trial {run.tuned.number + 1} of {len(run.tuned.trials)} is the best, {run.tuned}")
    better = run.with_config(with_values(run.config, run.tuned.values))
    if chosen(better) != genotype and run.folder and run.is_main:
        write_text(run.folder.genotype, chosen(better).to_json())
    run.accelerator.wait_for_everyone()
    return better, chosen(better)


def fit_stage(run: Run, learner: Learner, stage: str, from_start: bool = False) -> Fitted:
    """Train as the run does everywhere: with its seed, its checkpoints and its listeners."""
    fitted = fit(
        learner,
        run.data,
        stage=stage,
        seed=run.config.seed,
        folder=run.checkpoints,
        resume=run.resume,
        observer=run.observer,
        from_start=from_start,
    )
    run.history += fitted.history
    return fitted


def lowered(run: Run, supernet: nn.Module, genotype: Genotype) -> nn.Module:
    """The plain model that retraining starts from."""
    if run.config.retrain.weights != "inherit" or not run.config.trains_supernet:
        return specialised(run.for_retraining(), genotype)
    program = trace(supernet, run.example)
    for step in lowering_passes(genotype, run.config.inherited):
        with run.stage(step.name):  # discretise, lower
            run.observer.passed(step(program.graph_module))
    return as_plain(program)


def specialised(run: Run, genotype: Genotype) -> nn.Module:
    """The genotype's model without a supernet: from the checkpoint's kernels, or from fresh weights."""
    with run.stage("lower", "fresh weights" if run.starts_fresh else "the checkpoint's weights"):
        if run.config.search.strategy == "untouched":
            return run.start_model()
        return specialised_by(run, genotype, "lower")


def finished(
    run: Run,
    plain: nn.Module,
    genotype: Genotype,
    sites: dict[str, Site],
    skips: Iterable[Skip],
    control: bool,
    chance: Genotype | None = None,
) -> Result:
    """Retrain, compare with the controls, measure each model on the test part once, export, and write it all down.

    Args:
        control: train the untouched model too, and hand back the better one.
        chance: a random choice per site to train too, for comparison only.
    """
    options = run.config.retrain
    with run.stage("retrain", _plan(f"{options.weights} weights", options.epochs)):
        plain, valid = retrain(run, plain)
    result = Result(genotype, plain, run.task, valid, float("nan"), sites, tuple(skips))
    strategy = run.config.search.strategy
    rivals = [Contender(strategy if strategy in CONTROLS else "searched", plain, valid)]
    if control and strategy not in CONTROLS:
        with run.stage("control", _plan("the untouched model", options.epochs)):
            rivals.append(never_worse(run, result))
    if chance is not None:
        with run.stage("random", _plan("a random choice per site", options.epochs)):
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


def retrain(run: Run, plain: nn.Module, stage: str = "retrain") -> tuple[nn.Module, float]:
    """The model with the weights of its best epoch on the validation part, and its metric there.

    A trained model may be at its best already: then it stays as it came.
    """
    learner = Supervised(plain, run.task, run.config.retrain, run.accelerator)
    fitted = fit_stage(run, learner, stage, from_start=run.config.retrain.weights != "fresh")
    if fitted.best_epoch < 0:
        run.note(f"{stage}: every epoch is worse than the model that it began with, which is kept as it is")
    if fitted.stopped:
        run.note(f"{stage} stopped after epoch {len(fitted.history)}: {fitted.stopped}")
    trained = run.accelerator.unwrap_model(learner.model)
    trained.load_state_dict(fitted.best_weights)
    for parameter in trained.parameters():
        parameter.data = parameter.data.cpu().contiguous()  # files know no other layout
    return trained.cpu().eval(), fitted.best


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


def _plan(what: str, epochs: int) -> str:
    return f"{what}, {epochs} epochs"


def _search_plan(config: RunConfig) -> str:
    if config.trains_supernet:
        return _plan(config.search.strategy, config.search.epochs)
    if config.search.strategy in CONTROLS:
        return config.search.strategy
    return f"{config.search.strategy} by {config.blackbox.evaluator}, {config.blackbox.evaluations} evaluations"
