"""Methods that learn nothing of the candidates, or only which of a few rules does best: what others have to beat."""

from __future__ import annotations

from dashfx.config.methods.base import Method

CONTROLS: dict[str, Method] = {
    "ladder": Method(
        "A few spans by rule, the same for all convs, race by short trainings.",
        {"search": {"strategy": "ladder:multiscale=false,strict=false"}},
        needs="short trainings of a few rungs",
        ours="all of it; what a run without a word on its strategy does, without the average",
    ),
    "random": Method("A uniform draw for each conv.", {"search": {"strategy": "random"}}),
    "untouched": Method("The model as it is.", {"search": {"strategy": "untouched"}}),
}
