"""Options of the last comparison: which models are trained beside the searched one, how often, and for how long."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dashfx.config.base import Strict


class FinalistsConfig(Strict):
    """Which models are trained in full, and how the one that is handed back is told from the others.

    Attributes:
        count: how many of the search's proposals are trained in full, beside the controls.
        seeds: each of these models is trained so often, with other weights and another order of the rows, and judged by
            the mean; the weights that are handed back are those of the seed that is judged best.
        folds: above 1, these trainings are repeated with other validation rows: the training part is shared out among
            `folds` - 1 further splits; for few validation rows, by whose chance models are hardly told apart.
        halving: of the proposals that race, one in so many goes on after each rung.
        share: the length of the last rung before the full training, as a share of it; a rung before it is `halving`
            times shorter.
        longer: also train the untouched model for as long as all training that led to the searched one: "auto" where
            its usual training has not converged, and for three times that at most, true always, false never.
        wider: arguments of the model's class that make a wider untouched model, which is trained too and may be handed
            back; the value "auto" is the whole number that makes it as large as the searched model.
        refit: train the model that is kept once more on the training and the validation part together.
    """

    count: int = Field(1, ge=1)
    seeds: int = Field(1, ge=1, le=100)
    folds: int = Field(1, ge=1, le=20)
    halving: int = Field(3, ge=2)
    share: float = Field(1 / 6, gt=0, lt=1)
    longer: bool | Literal["auto"] = "auto"
    wider: dict[str, Any] = Field(default_factory=dict)
    refit: bool = False

    @property
    def trainings(self) -> int:
        """How often each model of the last rung is trained."""
        return self.seeds * self.folds
