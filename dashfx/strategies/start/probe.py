"""Probe of sites before a search: what new taps are worth at each, from batches on a grown supernet.

Growing keeps the model's output for every mixture, so all that a site can gain comes from taps that its conv did not
have. In a short descent they move, and nothing else. With g_s(t) the loss gradient of batch t for the new taps of site
s, m_s(t) the sum of such gradients so far, M_s the map from the candidates' weights to their mixture and W_s the site's
own kernel:

    D_s(t) = -STEP * |W_s| * m_s(t) / |M_s m_s(t)|     each step moves the mixed kernel equally far, by its own measure
    gain_s = -sum over t of <g_s(t + 1), D_s(t)>

The gain is the loss that site s took away, to first order (loss change allocation, Lan et al., NeurIPS 2019). A step is
judged by the gradient of the next batch, which it has not seen, so fitting noise gains nothing. Candidates share taps,
and their steps add up there: hence the distance is that of the mixture.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

import torch
from torch import Tensor, nn

from dashfx.data import Data
from dashfx.ops import AggConv, sites_of
from dashfx.ops.algorithms.base import aggregate
from dashfx.ops.geometry import dense_lattice
from dashfx.task import Task
from dashfx.train.fit import Batch, derive_seed

STEP = 0.001  # of the kernel's norm: with larger ones trained kernels overshoot, and every gain turns negative


def batches_of(data: Data, count: int, batch_size: int, seed: int) -> Iterator[Batch]:
    """So many batches of the train part, round and round."""
    seeds = (derive_seed(seed, "probe", turn) for turn in range(count))
    turns = (data.loader("train", batch_size, seed=each, drop_last=True) for each in seeds)
    return islice(chain.from_iterable(turns), count)


def gains(supernet: nn.Module, batches: Iterable[Batch], task: Task, device: torch.device) -> dict[str, float]:
    """Site name -> gain, in units of the loss; the supernet stays as it is.

    Args:
        batches: at least two; a site's gain is the sum over all but the last.
    """
    probed = copy.deepcopy(supernet).to(device).train()
    sites = sites_of(probed)
    taps = {name: _NewTaps(site) for name, site in sites.items()}
    total = torch.zeros(len(sites), device=device)
    for x, y in batches:
        loss = task.loss(probed(x.to(device)), y.to(device))
        weights = [weight for each in taps.values() for weight in each.weights]
        gradients = iter(torch.autograd.grad(loss, weights))
        total += torch.stack([each.step([next(gradients) for _ in each.weights]) for each in taps.values()])
    return dict(zip(sites, total.tolist(), strict=True))


class _NewTaps:
    """The candidates' weights of one site, of which only taps move that its conv did not have."""

    def __init__(self, site: AggConv) -> None:
        self.weights = list(site.weights)
        self._new, self._coef, self._lattice = site.new_taps(), site.coefficients().detach(), dense_lattice(site.spec)
        self._length = STEP * site.kernel().detach().norm()  # the site has just grown, so this is the conv's own kernel
        self._sum = [torch.zeros_like(weight) for weight in self.weights]
        self._moved: list[Tensor] | None = None

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> Tensor:
        """Descend; what the step before took from the loss of this batch, a scalar."""
        own = [gradient * new for gradient, new in zip(gradients, self._new, strict=True)]
        gain = own[0].new_zeros(())
        if self._moved is not None:
            gain = -torch.stack([(g * moved).sum() for g, moved in zip(own, self._moved, strict=True)]).sum()
        for mean, g in zip(self._sum, own, strict=True):
            mean += g
        norm = aggregate([self._lattice], self._sum, self._coef)[0].norm()
        scale = self._length / norm.clamp_min(torch.finfo(norm.dtype).tiny)
        self._moved = [-scale * g for g in self._sum]
        for weight, moved in zip(self.weights, self._moved, strict=True):
            weight += moved
        return gain


def left_alone(gained: Mapping[str, float], share: float) -> dict[str, str]:
    """Which sites are not worth a search, and why: all but the best `share` of them, and those that gain nothing.

    The best one is never left alone.
    """
    order = sorted(gained, key=lambda name: -gained[name])
    best = [name for name in order[: math.ceil(share * len(order))] if gained[name] > 0] or order[:1]
    reasons = {n: f"the probe ranks it {i + 1} of {len(order)}, gain {gained[n]:.2g}" for i, n in enumerate(order)}
    return {name: reason for name, reason in reasons.items() if name not in best}
