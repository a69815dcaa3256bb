"""A task as it is named at the command line and the options of its loss go in; what is misspelt there is refused.

Nothing has to be known of the data for it, so that none have to be read; `load_task` then says what does not fit them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashfx.errors import TaskError, did_you_mean
from dashfx.task.base import Score, pick
from dashfx.task.classify import LOSSES as CLASS_LOSSES
from dashfx.task.classify import OPTIONS as CLASS_OPTIONS
from dashfx.task.classify import dense_scores
from dashfx.task.classify import scores as class_scores
from dashfx.task.load import data_kind
from dashfx.task.losses import REGRESSION, LossOptions
from dashfx.task.multilabel import LOSSES as LABEL_LOSSES
from dashfx.task.multilabel import OPTIONS as LABEL_OPTIONS
from dashfx.task.multilabel import scores as label_scores
from dashfx.task.regress import OPTIONS as REGRESSION_OPTIONS
from dashfx.task.regress import SCORES as REGRESSION_SCORES
from dashfx.usercode import is_code, load_object


@dataclass(frozen=True)
class Names:
    """What can be said of a task.

    Attributes:
        options: of the loss, beside its name.
        scores: the metrics; for two classes or labels, as their number does not change the names.
    """

    losses: tuple[str, ...]
    options: tuple[str, ...]
    scores: Mapping[str, Score]


KNOWN = {
    "classify": Names(CLASS_LOSSES, CLASS_OPTIONS, class_scores(2)),
    "multilabel": Names(LABEL_LOSSES, LABEL_OPTIONS, label_scores(2)),
    "regress": Names(tuple(REGRESSION), REGRESSION_OPTIONS, REGRESSION_SCORES),
    "dense-classify": Names(CLASS_LOSSES, CLASS_OPTIONS, dense_scores(2)),
}


def check_names(spec: str | None, options: LossOptions) -> None:
    """Whether there are such a task, metric and loss; a user's own file is imported.

    Raises:
        TaskError: one is not there.
    """
    data_kind(spec)
    name, _, metric = (spec or "").partition(":")
    if name in KNOWN:
        names = KNOWN[name]
        options.allow(name, names.losses, *names.options)
        if metric:
            pick(names.scores, metric, name)
    elif spec is not None and is_code(spec):
        load_object(spec, TaskError)
    else:
        _check_loss(options.name)


def _check_loss(name: str | None) -> None:
    """Whether any task has the loss, where the data are to say which task it is."""
    losses = dict.fromkeys(loss for names in KNOWN.values() for loss in names.losses)
    if name is not None and name not in losses:
        raise TaskError(f"no task has a loss {name!r}{did_you_mean(name, losses)}; there are {', '.join(losses)}")
