"""Retraining: the plain model that a genotype makes, and what training makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from dashfx.errors import ConfigError
from dashfx.frontend.tracing import copy_model, trace
from dashfx.genotype import Genotype
from dashfx.ops import sites_of
from dashfx.run.outcome.account import SAVING
from dashfx.run.run import Run
from dashfx.stages.evaluators import specialised_by
from dashfx.stages.rewrite import accelerated
from dashfx.supernet import as_plain, lowering_passes, with_widths
from dashfx.train.convergence import Convergence, convergence
from dashfx.train.fit import Fitted, Learner, Supervised, fit
from dashfx.train.length import Bounds, bounds_of
from dashfx.train.paths import residual_paths
from dashfx.train.progress import Epoch


def lowered(run: Run, supernet: nn.Module, genotype: Genotype) -> nn.Module:
    """The plain model that retraining starts from."""
    if run.config.retrain.weights == "inherit" and (found := run.ledger.narrower.get(genotype)) is not None:
        return copy_model(found)
    if run.config.retrain.weights != "inherit" or run.strategy.training is None:
        return specialised(run.for_retraining(), genotype)
    program = trace(holding([supernet, *run.ledger.supernets], genotype), run.inputs.example)
    for step in lowering_passes(genotype, "inherit" if run.strategy.judges_mixtures else "own"):
        with run.stage(step.name):  # discretise, lower
            run.session.observer.passed(step(program.graph_module))
    return with_widths(as_plain(program), run.inputs.example, genotype)


def holding(supernets: Sequence[nn.Module], genotype: Genotype) -> nn.Module:
    """The first supernet that has all candidates of a genotype yet; the first where none has.

    A search that drops candidates on its way leaves none that a further one may have chosen.
    """

    def holds(supernet: nn.Module) -> bool:
        left = {name: set(site.candidates) for name, site in sites_of(supernet).items()}
        return all(left.get(name, set()).issuperset(choice.parts) for name, choice in genotype.items())

    return next(filter(holds, supernets), supernets[0])


def specialised(run: Run, genotype: Genotype) -> nn.Module:
    """The genotype's model without a supernet: from the checkpoint's kernels, or from fresh weights."""
    inputs = run.inputs
    with run.stage("lower", "fresh weights" if inputs.starts_fresh else "the checkpoint's weights"):
        if run.config.search.kind == "untouched":
            return inputs.start_model()
        return specialised_by(inputs, genotype, "lower")


@dataclass(frozen=True)
class Retrained:
    """A model after its training, with the weights of its best epoch on the validation part.

    Attributes:
        valid: its metric on the validation part.
        judged: the mean metric of the last epochs there, by which models are told apart; `loss` the mean loss.
        history: its epochs.
        convergence: whether it has converged, as far as these tell; None of fewer than five.
    """

    model: nn.Module
    valid: float
    judged: float
    loss: float
    history: tuple[Epoch, ...]
    convergence: Convergence | None = None


def retrain(
    run: Run,
    plain: nn.Module,
    stage: str = "retrain",
    make: Callable[..., Supervised] = Supervised,
    convs: Mapping[str, str] | None = None,
) -> Retrained:
    """The model after its training by the run's recipe.

    A trained model may be at its best already: then it stays as it came.

    Args:
        make: the learner of a model, task, recipe and accelerator.
        convs: what the Fourier path computes, where that has been decided, see `accelerated`.
    """
    options, accelerator = run.config.retrain, run.session.accelerator
    with accelerated(run, plain, convs) as count:
        if count:
            run.session.observer.note(
                f"{stage}: {count} large kernels go through the Fourier path, which is faster here"
            )
        learner = make(plain, run.inputs.task, options, accelerator)
        fitted = fit_stage(run, learner, stage, from_start=options.weights != "fresh")
    if fitted.best_epoch < 0:
        run.note(f"{stage}: every epoch is worse than the model that it began with, which is kept as it is")
    if fitted.stopped:
        run.note(f"{stage} stopped after epoch {len(fitted.history)}: {fitted.stopped}")
    model = unwrapped(learner, fitted)
    found = convergence(fitted.history, run.inputs.task.maximise, run.inputs.task.metric_name)
    return Retrained(model, fitted.best, fitted.judged, fitted.valid_loss, tuple(fitted.history), found)


def unwrapped(learner: Learner, fitted: Fitted) -> nn.Module:
    """The model with its best weights as it came: nothing of what trained it is left on it, gradients included."""
    learner.release()
    trained = learner.plain
    trained.load_state_dict(fitted.best_weights)
    for parameter in trained.parameters():
        parameter.data = parameter.data.cpu().contiguous()  # files know no other layout
        parameter.grad = None
    return trained.cpu().eval()


def fit_stage(run: Run, learner: Learner, stage: str, from_start: bool = False) -> Fitted:
    """Train as the run does everywhere: with its seed, its checkpoints and its listeners."""
    fitted = fit(
        learner,
        run.inputs.data,
        stage=stage,
        seed=run.config.seed,
        folder=run.session.checkpoints,
        resume=run.session.resume,
        observer=run.session.observer,
        from_start=from_start,
    )
    run.ledger.spent(SAVING, fitted.saving)
    for epoch in run.session.untold(fitted.history):
        run.session.observer.epoch(epoch)
    run.ledger.history.extend(fitted.history)
    return fitted


def check_paths(run: Run) -> None:
    """Whether there are residual branches to drop, where `retrain.drop_path` asks for it.

    Raises:
        ConfigError: there is none.
    """
    if not run.config.retrain.drop_path:
        return
    inputs = run.inputs.for_retraining()
    names, left = residual_paths(inputs.fresh_model(), [inputs.example])
    if not names:
        raise ConfigError(
            f"retrain.drop_path={run.config.retrain.drop_path:g}: none of the {len(left)} additions in the graph has "
            "a branch that ends with a module of its own; leave it out, or set retrain.dropout"
        )
    if left:
        some = ", ".join(left[:3])
        run.note(f"retrain.drop_path drops {len(names)} branches; {len(left)} additions stay whole: {some}")


def epochs_of(run: Run) -> Bounds:
    """The least and the most epochs of a retraining by the run's recipe, and what is reckoned with."""
    return bounds_of(run.config.retrain, len(run.inputs.data.train), run.session.accelerator.num_processes)


def plan(what: str, run: Run) -> str:
    """What a stage that retrains says of itself when it begins."""
    return f"{what}, {epochs_of(run)}"
