"""Searchable convs for classes of the user's: one runs their own forward, one goes by an adapter's plain conv."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.errors import ModelError
from dashfx.frontend.custom_forward import ConvRecorder, Recorded, input_of, reshaped, tensor_of, with_parameter
from dashfx.ops.aggconv import AggConv
from dashfx.ops.algorithms.base import aggregate
from dashfx.ops.geometry import ConvSpec, lattice_on
from dashfx.ops.mixture import Sampled
from dashfx.site import Site
from dashfx.space import Candidate


def settings_of(site: Site) -> dict[str, Any]:
    """The arguments of `AggConv` that follow from a site."""
    shape = {"in_channels": site.in_channels, "out_channels": site.out_channels, "groups": site.groups}
    pads = {"padding": site.padding, "padding_mode": site.padding_mode, "causal": site.causal}
    return {**shape, **pads, "stride": site.stride, "original": site.original, "bias": site.bias}


class HostedConv(AggConv):
    """y = sum_i coef_i * conv_i(x), where conv_i is the user's conv with candidate i's kernel, dilation and weight.

    So the one-hot law holds whatever the forward does. Where it hands its input straight to one functional conv
    (`Hosting.direct`), the kernels it computes are mixed by the algorithms; else the results are.

    With weights w_i that started as s_i, out of the user's w, and T(w) the result with w, the growth law is kept by
    y = sum_i coef_i * (T(w_i) - fade * T(s_i)) + fade * sum_i coef_i * T(w): at the start the first term is zero, and
    with fade 0 the mixture alone is left.

    Attributes:
        host: the user's conv without its weight; everything else that it learns (bias, gain) stays there.
    """

    site: Site

    def __init__(self, site: Site, conv: nn.Module, candidates: Iterable[Candidate], algorithm: str = "auto") -> None:
        assert site.hosting is not None
        weight = conv.get_parameter(site.hosting.weight)
        super().__init__(
            candidates=candidates,
            **{**settings_of(site), "bias": False},
            # What mixes results in the user's own forward leaves no choice of algorithm.
            algorithm=algorithm if site.hosting.direct else "mixed_results",
            device=weight.device,
            dtype=weight.dtype,
        )
        self.site, self.hosting = site, site.hosting
        self.host: nn.Module = with_parameter(conv, site.hosting.weight, None)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__") or "host" not in self._modules:  # copying asks for __deepcopy__
                raise
            return getattr(self.host, name)  # such as a gain that the model reads

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        super().reset_parameters(generator)
        bias = getattr(getattr(self, "host", None), "bias", None)
        if isinstance(bias, Tensor):
            bias.uniform_(-self._bound(self.original), self._bound(self.original), generator=generator)

    def forward(self, *args: Any, **options: Any) -> Any:
        coef = self._spread(self.drawn())
        if self.hosting.direct and len(args) + len(options) == 1:  # what else is given may change the result
            return self.mix(input_of((args, options)), coef)
        first, *others = self._runs(args, options)
        y = self._mixed([tensor_of(output) for output in (first, *others)], coef)
        return (y, *first[1:]) if isinstance(first, tuple) else y

    def mix(self, x: Tensor, coef: Tensor, algorithm: str | None = None) -> Tensor:
        if self.hosting.direct:
            return super().mix(x, coef, algorithm)
        return self._mixed([tensor_of(output) for output in self._runs((x,), {})], coef)

    def _spread(self, coef: Tensor | Sampled) -> Tensor:
        """As coefficients: the user's forward runs with all candidates, also where one alone was drawn."""
        if isinstance(coef, Tensor):
            return coef
        one = torch.zeros_like(self.alpha, requires_grad=False)
        one[coef.index] = 1.0
        return one if coef.gate is None else one * coef.gate.to(one.dtype)

    def lowered(self, weight: nn.Parameter) -> nn.Module:
        """The user's conv with the one candidate that is left."""
        (candidate,) = self.candidates
        return reshaped(self.host, self.hosting, self.original, candidate, weight)

    def _complete(self) -> bool:
        # What a forward makes of a weight may depend on zeros around it.
        return all(candidate == self.original for candidate in self.candidates)

    def _kernels(self) -> list[tuple[Candidate, Tensor]]:
        """Candidates and weights of the terms: w_i for each i, and for a grown conv s_i for each i, and w."""
        own = list(zip(self.candidates, self.weights, strict=True))
        if self.residual is None:
            return own
        spec = ConvSpec((self.original,), (self.padding,), self.stride)
        one = self.residual.new_ones(1)
        lattices = [lattice_on(self.spec.offsets(i), spec) for i in range(len(own))]
        starts = [aggregate([lattice], [self.residual], one)[0] for lattice in lattices]
        return [*own, *zip(self.candidates, starts, strict=True), (self.original, self.residual)]

    def _shares(self, coef: Tensor) -> Tensor:
        """The factor of each of `_kernels`."""
        if self.residual is None:
            return coef
        fade = self.fade.to(coef)
        return torch.cat([coef, -fade * coef, (fade * coef.sum()).reshape(1)])

    def _runs(self, args: tuple[Any, ...], options: dict[str, Any]) -> list[Any]:
        return [self._as(candidate, weight)(*args, **options) for candidate, weight in self._kernels()]

    def _mixed(self, results: list[Tensor], coef: Tensor) -> Tensor:
        shares = self._shares(coef).to(results[0].dtype)
        return torch.stack([share * y for share, y in zip(shares, results, strict=True)]).sum(0)

    def _as(self, candidate: Candidate, weight: Tensor) -> nn.Module:
        return reshaped(self.host, self.hosting, self.original, candidate, weight)

    def mixture(self, x: Tensor, coef: Tensor) -> tuple[ConvSpec, list[Tensor], Tensor, Tensor | None]:
        """For a direct forward: the kernels and the bias that it computes, as terms of the algorithms."""
        calls = [self._seen(candidate, weight, x) for candidate, weight in self._kernels()]
        kernels, n = [call["weight"] for call in calls], len(self.candidates)
        if self.residual is None:
            return self.spec, kernels, coef, calls[0]["bias"]
        fade = self.fade.to(kernels[0].dtype)
        left = [own - fade * start for own, start in zip(kernels[:n], kernels[n : 2 * n], strict=True)]
        coefs = torch.cat([coef, (self.fade.to(coef) * coef.sum()).reshape(1)])
        return self._grown_spec, [*left, kernels[-1]], coefs, calls[0]["bias"]

    def _seen(self, candidate: Candidate, weight: Tensor, x: Tensor) -> dict[str, Any]:
        with ConvRecorder(stop=True) as recorder, suppress(Recorded):
            self._as(candidate, weight)(x)
        return recorder.calls[0]


class AdaptedConv(AggConv):
    """An AggConv in the place of a class that an adapter describes.

    Attributes:
        author: the user's conv, to be rebuilt by lowering; in a tuple, so that it is no submodule.
    """

    author: tuple[nn.Module]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__") or "author" not in vars(self):
                raise
            return getattr(self.author[0], name)

    def forward(self, *args: Any, **options: Any) -> Tensor:
        """Further arguments may switch things on that the plain conv knows nothing of: they have to be off.

        Raises:
            ModelError: one is not.
        """
        x = input_of((args, options))
        given = [v for v in (*args, *options.values()) if v is not x and v is not None and v is not False]
        if given:
            raise ModelError(f"{self._where()}an adapted conv takes no argument beside its input, got {given[0]!r}")
        return super().forward(x)
