"""SWATS: a training begins with Adam and goes on with SGD, at a rate that Adam's own steps tell.

After Keskar and Socher, "Improving Generalization Performance by Switching from Adam to SGD", 2017, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dashfx.config.search import FitConfig
from dashfx.plugins import Positive, Share, published

ADAM = "lam"  # of a weight: the mean of the projected rates so far
SGD = "rate"  # of a weight: SGD's rate as a multiple of the schedule's, once its group has switched


class Swats(torch.optim.Optimizer):
    """Adam, until the rate gamma at which SGD would go as far along Adam's step has settled; then SGD at that rate.

    gamma = d.d / (-d.g) for Adam's step d and the gradient g, lam <- beta2 lam + (1 - beta2) gamma. The switch comes
    where |lam / (1 - beta2^k) - gamma| < `tolerance` at step k > 1; from then on v <- beta1 v + g and the step is
    -(1 - beta1) Lam v. Here each group of weights switches by itself, where in the paper all do at once, and gamma, lam
    and Lam are multiples of the learning rate, so that a schedule goes on through the switch.
    """

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999), tolerance: float = 1e-9
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": 0.0, "eps": 1e-8, "tolerance": tolerance})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            # A weight decay is part of the gradient, as in torch's own Adam.
            grads = [p.grad.add(p, alpha=group["weight_decay"]) if group["weight_decay"] else p.grad for p in params]
            if any(SGD in self.state[p] for p in params):
                self._sgd(group, params, grads)
            elif params:
                self._adam(group, params, grads)
        return loss

    def _sgd(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        beta1, rate = group["betas"][0], max(self.state[p].get(SGD, 0.0) for p in params)
        for p, g in zip(params, grads, strict=True):
            state = self.state[p]
            state[SGD] = rate
            v = state.setdefault("momentum_buffer", torch.zeros_like(p))
            v.mul_(beta1).add_(g)
            p.sub_((1 - beta1) * rate * group["lr"] * v)

    def _adam(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        (beta1, beta2), projected = group["betas"], []
        for p, g in zip(params, grads, strict=True):
            state = self.state[p]
            k = state["step"] = state.get("step", 0) + 1
            m, s = (state.setdefault(name, torch.zeros_like(p)) for name in ("exp_avg", "exp_avg_sq"))
            m.lerp_(g, 1 - beta1)
            s.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            denom = (s.sqrt() / (1 - beta2**k) ** 0.5).add_(group["eps"])
            p.addcdiv_(m, denom, value=-group["lr"] / (1 - beta1**k))
            d = (m / denom).double() / (1 - beta1**k)  # the step over -lr
            projected.append(torch.stack([d.square().sum(), (d * g).sum()]))
        length, along = torch.stack(projected).sum(0).tolist()
        if along:  # a step at right angles to its gradient tells nothing
            self._look(group, params, length / along)

    def _look(self, group: dict[str, Any], params: list[Tensor], gamma: float) -> None:
        """Whether the projected rate has settled."""
        beta2 = group["betas"][1]
        lam = beta2 * max((self.state[p].get(ADAM, 0.0) for p in params), key=abs) + (1 - beta2) * gamma
        k = max(self.state[p]["step"] for p in params)
        mean = lam / (1 - beta2**k)
        settled = k > 1 and mean > 0 and group["lr"] * abs(mean - gamma) < group["tolerance"]
        for p in params:
            self.state[p].update({SGD: mean} if settled else {ADAM: lam})


@published("Keskar and Socher, Improving Generalization Performance by Switching from Adam to SGD, 2017", "91")
def swats(
    groups: list[dict[str, Any]], config: FitConfig, *, beta2: Share = 0.999, tolerance: Positive = 1e-9
) -> torch.optim.Optimizer:
    """Adam first, then SGD at a rate that Adam's steps tell, from when that has settled to within `tolerance`."""
    return Swats(groups, config.lr, (config.momentum, beta2), tolerance)
