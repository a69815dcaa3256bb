"""Short trainings of models that go on from one another: each leaves its best weights under its name."""

from __future__ import annotations

from torch import Tensor, nn

from dashfx.config.run import RetrainConfig
from dashfx.run.run import Run
from dashfx.train.checkpoints import read_state, write_atomically
from dashfx.train.fit import Supervised, fit

STAGE, BEST = "evaluate", "best.pt"


def trained_apart(run: Run, model: nn.Module, options: RetrainConfig, name: str) -> float:
    """The best metric on the validation part; the weights that gave it stand under `name` from here on.

    A resumed run goes on with the checkpoint that a killed one has left of it.

    Raises:
        DivergedError: training diverges.
    """
    session = run.session
    if session.workers is not None:
        run.note("grown networks are trained one after another in this process; workers train the finalists")
    folder = session.checkpoints / name if session.checkpoints else None
    if folder and session.is_main:
        folder.mkdir(exist_ok=True)
    session.wait()
    learner = Supervised(model, run.inputs.task, options, session.accelerator)
    fitted = fit(learner, run.inputs.data, stage=STAGE, seed=run.config.seed, folder=folder, resume=session.resume)
    if folder is None:
        run.ledger.weights[name] = fitted.best_weights
    elif session.is_main:
        write_atomically({"learner": fitted.best_weights}, folder / BEST)
        (folder / f"{STAGE}-last.pt").unlink(missing_ok=True)
    session.wait()
    return fitted.best


def weights_of(run: Run, name: str) -> dict[str, Tensor]:
    """The weights that `trained_apart` has left.

    Raises:
        RunFolderError: they cannot be read.
    """
    if run.session.checkpoints is None:
        return run.ledger.weights[name]
    weights: dict[str, Tensor] = read_state(run.session.checkpoints / name / BEST)["learner"]
    return weights
