"""Changes of a search on its way: candidates leave, options change, it goes back; its optimisers go on all the same."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dashfx.config.search import SearchConfig
from dashfx.errors import ConfigError, TrainingError, did_you_mean
from dashfx.ops import AggConv
from dashfx.ops.relaxations import Relaxation
from dashfx.ops.ties import alike
from dashfx.strategies.engine.derivatives import Derivatives
from dashfx.strategies.monitors import Action, Drop, Monitor, Rollback, Set, Stop
from dashfx.strategies.terms import ExpectedCost
from dashfx.train.processes import forget, spread

# Options that a monitor may change while the search goes on: those that are read again at every epoch or step.
CHANGEABLE = (
    *("epochs", "batch_size", "fraction", "lr", "lr_rest", "weight_decay", "momentum", "clip"),
    *("alpha_lr", "warmup", "fade", "cost_weight"),
)


class Changing(Derivatives):
    """What the monitors of a search may ask for, done to its sites, options and optimisers."""

    config: SearchConfig
    relaxation: Relaxation
    _monitors: list[Monitor]
    _cost: ExpectedCost

    def _begin_changes(self) -> None:
        """Remember what the search began with, where it may go back."""
        self.ring = max((monitor.ring for monitor in self._monitors), default=0)
        self._whole = {name: _outline(site) for name, site in self.sites.items()} if self.ring else {}
        self._given, self._changes = self.config, dict[str, float]()
        self._back: Rollback | None = None
        self._returns: list[tuple[int, dict[str, float]]] = []

    @abstractmethod
    def _take_parameters(self) -> None:
        """Optimisers for the parameters that there are now."""

    def act(self, actions: Sequence[Action]) -> str | None:
        """Do what the monitors ask for: candidates leave, options change, the search goes back, or it stops."""
        stop = next((action.reason for action in actions if isinstance(action, Stop)), None)
        back = next((action for action in actions if isinstance(action, Rollback)), None)
        if back is not None and stop is None:
            self._plan_return(back)
            return None
        drops = [action for action in actions if isinstance(action, Drop)]
        gone = {(name, drop.candidate) for drop in drops for name in alike(self.sites, drop.site)}
        for name in sorted({name for name, _ in gone}):
            candidates = self.sites[name].candidates
            self.keep(name, [i for i, candidate in enumerate(candidates) if (name, candidate) not in gone])
        self.change({action.option: action.value for action in actions if isinstance(action, Set)})
        return stop

    def _plan_return(self, back: Rollback) -> None:
        taken = (back.epoch, dict(back.changes))
        if taken in self._returns:
            raise TrainingError(
                f"a monitor goes back to epoch {back.epoch} again with the same changes ({taken[1] or 'none'}), "
                "so the search would not end; let it change an option, or stop"
            )
        self._returns.append(taken)
        self._back = back

    def goes_back(self) -> int | None:
        return self._back.epoch if self._back else None

    def go_back(self, state: Mapping[str, Any]) -> None:
        """What monitors remember and how often the search went back stay; all else is as it was."""
        assert self._back is not None
        monitors, returns = copy.deepcopy([monitor.state_dict() for monitor in self._monitors]), self._returns
        for name, outline in self._whole.items():
            vars(self.sites[name]).update(_copied(outline))  # candidates that have left since are there again
        self.load_state_dict({**state, "monitors": monitors, "returns": returns})
        self.change(self._back.changes)
        self._back = None

    def change(self, changes: Mapping[str, float]) -> None:
        """Other options from here on; the optimisers go on with what they knew.

        Raises:
            ConfigError: an option that a search cannot change on its way, or a value that it cannot have.
        """
        if not changes:
            return
        for name in changes:
            if name not in CHANGEABLE:
                raise ConfigError(
                    f"a monitor sets search.{name}{did_you_mean(name, CHANGEABLE)}, which is settled when a search "
                    f"begins; it may set {', '.join(CHANGEABLE)}"
                )
        known = self._known()
        self._take_changes({**self._changes, **changes})
        self._renew(known)

    def _take_changes(self, changes: Mapping[str, float]) -> None:
        self._changes = dict(changes)
        self.config = type(self._given).parse({**self._given.model_dump(), **changes})
        self._cost.weight = self.config.cost_weight

    def keep(self, name: str, indices: Sequence[int]) -> None:
        """Only these candidates of a site stay; the optimisers go on with what they knew of them."""
        site, before, known = self.sites[name], self.sites[name].alpha, self._known()
        site.keep(indices)
        moments = known["alphas"].pop(before, {})
        known["alphas"][site.alpha] = {
            k: v[list(indices)] if isinstance(v, Tensor) and v.ndim else v for k, v in moments.items()
        }
        self._renew(known)

    def _known(self) -> dict[str, dict[Tensor, Any]]:
        """What the optimisers know of each parameter."""
        return {name: dict(optimiser.state) for name, optimiser in self.optimisers.items()}

    def _renew(self, known: Mapping[str, Mapping[Tensor, Any]] | None = None) -> None:
        """Wrapper and optimisers for the parameters that there are now: both know only those that they were made of.

        Args:
            known: what the new optimisers go on with.
        """
        if self.accelerator.num_processes > 1:
            self.model = spread(self.plain, self.accelerator, self.relaxation.sampled)
        forget(self.accelerator, self.optimisers.values())
        self._take_parameters()
        for name, state in (known or {}).items():
            for group in self.optimisers[name].param_groups:
                self.optimisers[name].state.update({p: state[p] for p in group["params"] if state.get(p)})


def _outline(site: AggConv) -> dict[str, Any]:
    """A site's attributes as they are now: `AggConv.keep` puts others in their place and changes none."""
    return _copied(vars(site))


def _copied(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in attributes.items()}
