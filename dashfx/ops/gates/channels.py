"""GatedChannels, the mixture over channels that leave together, and the gates of a whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from dashfx.ops.gates.base import Gate
from dashfx.ops.mixture import Mixture


class GatedChannels(Mixture):
    """A gate for each channel of a group; its options are its channels, of which any number may stay.

    Attributes:
        seen: (n,) sums of what a gradient has shown of each channel, and over how many steps `steps`, 0-dim.
    """

    seen: Tensor
    steps: Tensor
    relaxation: Gate

    def __init__(self, name: str, count: int, gate: Gate) -> None:
        super().__init__()
        self.name, self.relaxation = name, gate
        self.candidates = tuple(range(count))  # type: ignore[arg-type]
        self._add_logits(None, None)
        with torch.no_grad():
            self.alpha.copy_(gate.start(count))
        self.register_buffer("seen", torch.zeros(count))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self) -> Tensor:
        """(n,): what each channel is multiplied with."""
        return self.relaxation(self.alpha, self.mask, None)

    @torch.no_grad()
    def look(self) -> None:
        """Take note of the gradient that has reached the gates."""
        if self.alpha.grad is not None:
            self.seen += self.alpha.grad**2
            self.steps += 1

    @torch.no_grad()
    def worth(self) -> Tensor:
        """(n,): by which channels leave, the least first."""
        if self.relaxation.learns:
            return self.relaxation.worth(self.alpha)
        return self.seen / self.steps.clamp_min(1)

    @torch.no_grad()
    def forget(self) -> None:
        """What was seen so far does not count any more."""
        self.seen.zero_()
        self.steps.zero_()

    def only(self, *indices: int) -> GatedChannels:
        """A copy that holds these channels alone."""
        made = GatedChannels(self.name, len(self.candidates), self.relaxation)
        made.load_state_dict(self.state_dict())
        made.keep(indices)
        return made

    def keep(self, indices: Sequence[int]) -> None:
        super().keep(indices)
        self.seen = self.seen[list(indices)]


class ChannelGates(nn.Module):
    """The gates of a model, by group.

    Args:
        groups: name -> numbers of its channels in the model, which together are all from 0 on.
    """

    order: Tensor

    def __init__(self, groups: Mapping[str, Sequence[int]], gate: Gate) -> None:
        super().__init__()
        self.each = nn.ModuleList(GatedChannels(name, len(units), gate) for name, units in groups.items())
        places = torch.tensor([unit for units in groups.values() for unit in units])
        self.register_buffer("order", places.argsort(), persistent=False)
        self.given: Tensor | None = None

    def forward(self) -> Tensor:
        """(channels,): what each channel of the model is multiplied with."""
        return self.joined([mixture() for mixture in self.mixtures]) if self.given is None else self.given

    def joined(self, rows: Sequence[Tensor]) -> Tensor:
        """Numbers of each group, in the order of the model's channels."""
        return torch.cat(list(rows))[self.order]

    @property
    def mixtures(self) -> list[GatedChannels]:
        """One a group."""
        return cast("list[GatedChannels]", list(self.each))

    @property
    def mask(self) -> Tensor:
        """(channels,): True where a channel is there yet."""
        return self.joined([mixture.mask for mixture in self.mixtures])

    @torch.no_grad()
    def close(self, units: Sequence[int]) -> None:
        """These channels leave for good."""
        gone = torch.zeros(len(self.order), dtype=torch.bool, device=self.order.device)
        gone[list(units)] = True
        start = 0
        places = torch.empty_like(gone)
        places[self.order] = gone  # back to the order of the groups
        for mixture in self.mixtures:
            count = len(mixture.mask)
            mixture.mask &= ~places[start : start + count]
            start += count

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "given": None}
