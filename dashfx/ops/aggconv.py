"""The conv of a supernet: candidates that differ in kernel size and dilation, mixed by architecture coefficients."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dashfx.errors import SpaceError
from dashfx.frontend.copies.members import Members, carry
from dashfx.ops.algorithms import ALGORITHMS
from dashfx.ops.algorithms.base import aggregate
from dashfx.ops.autotune.estimate import choose
from dashfx.ops.checks import axes_of, check_channels, check_input, check_names, per_axis, sides
from dashfx.ops.families import families_at, misfit
from dashfx.ops.families.layout import laid_out, layout_without
from dashfx.ops.geometry import ConvSpec, dense_lattice, lattice_on
from dashfx.ops.growth import check_source, covered, lacking, shared_taps, taps_of
from dashfx.ops.mixture import Mixture, Sampled
from dashfx.ops.sampled import sampled
from dashfx.site import Site
from dashfx.space import Candidate, candidate_padding, check_mixable

# What a measured choice of algorithm is kept by: grown or not, the input's channels and size, the dtype computed in.
Use = tuple[bool, tuple[int, ...], torch.dtype]


class AggConv(Mixture):
    """y = sum_i coef_i * conv_i(x) + bias over candidates i (DASH, Shen et al. 2022, eq. 2).

    conv_i has candidate i's kernel, which its family makes of its parameters (`dashfx.ops.families`); of a family
    without a bias, such as a skip, coef_i counts nothing of the bias.

    Takes (batch, in_channels, *size) or (in_channels, *size). The number of spatial axes is the largest that
    `candidates`, `stride`, `padding` and `original` show; single ints hold for every axis. Every candidate gives the
    output size of `original` with `padding` (see `dashfx.space.candidate_padding`).

    Args:
        padding: of `original`: one int, one per axis, or (left, right) per axis. None is "same": each candidate is
            padded by half its extent, all of it on the left when causal.
        original: the conv that this one stands for, as Candidate or (kernel, dilation).
        algorithm: "auto" or a name in `dashfx.ops.algorithms.ALGORITHMS`.

    Attributes:
        candidates: as they stand in a genotype; `families` says what each is computed by.
        weights: of dense candidates one each, (out, in / groups, *kernel), else as `theta` has it; the bias is shared.
        fade: what share of `residual` counts, see `grow_from`; a 0-dim buffer to be filled in place.
        facts: of the conv that it stands for, as far as a kernel depends on them.
        site: all facts of that conv in a traced model; None for one built by hand.
        members: what that conv has beyond torch.nn's: its attributes stand here, its class's members are found.
        choices: for algorithm "auto": what `dashfx.ops.autotune.choose` measured to be fastest; else by estimate.

    Raises:
        SpaceError: settings that cannot hold together.
    """

    fade: Tensor
    residual: Tensor | None
    bias: nn.Parameter | None
    _cover: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        candidates: Iterable[Candidate],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | Sequence[tuple[int, int]] | None = None,
        original: Candidate | tuple[Any, Any] | None = None,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        causal: bool = False,
        algorithm: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.site: Site | None = None
        self.members: Members | None = None
        choices = tuple(candidates)
        check_channels(in_channels, out_channels, groups)
        check_names(padding_mode, (*ALGORITHMS, "auto"), algorithm)
        if not choices:
            raise SpaceError("AggConv: no candidates; give at least one kernel size and one dilation")
        for choice in choices:
            check_mixable(choice)
        if padding is not None and original is None:
            raise SpaceError(f"AggConv: padding {padding!r} of which conv? give (kernel, dilation) as `original` too")
        base = original if isinstance(original, Candidate) else Candidate(*(original or (1,)))
        ndim = max(base.ndim, *(c.ndim for c in choices), axes_of(stride), axes_of(padding))
        self.original = base.for_ndim(ndim)
        if padding is None:
            point = Candidate((1,) * ndim)
            self.padding = candidate_padding(((0, 0),) * ndim, point, self.original, causal)
        else:
            self.padding = sides(padding, ndim)
        strides = per_axis(stride, ndim, "stride")
        channels = in_channels, out_channels, self.original, strides, self.padding, groups
        self.facts = Site("", *channels, bias, padding_mode, (), causal=causal)
        self._take([choice.for_ndim(ndim) for choice in choices])
        paddings = tuple(self.facts.padding_of(c) for c in self.candidates)
        self.spec = ConvSpec(self.candidates, paddings, strides, groups, padding_mode)
        self._original_spec = ConvSpec((self.original,), (self.padding,), strides)
        self._grown_spec = self.spec.with_term(self.original, self.padding)  # the residual is one more term
        self.in_channels, self.out_channels, self.algorithm = in_channels, out_channels, algorithm
        self.choices: dict[Use, str] = {}

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))

        self.weights = nn.ParameterList(empty(*shape) for shape in self._layout.shapes)
        self.register_parameter("bias", empty(out_channels) if bias else None)
        self._add_logits(device, dtype)
        self.register_buffer("fade", torch.ones((), device=device, dtype=dtype))
        self.register_buffer("residual", None)
        self.register_buffer(
            "_cover", covered(self.spec, self._original_spec.offsets(0)).to(self.fade), persistent=False
        )
        self.lacks: tuple[Tensor | None, ...] | None = None
        self.reset_parameters()

    def _take(self, choices: Sequence[Candidate]) -> None:
        for choice in choices:
            if reason := misfit(self.facts, choice):
                raise SpaceError(f"AggConv: {choice}: {reason}")
        self.families = families_at(self.facts, choices)
        self.candidates = tuple(f.chosen(c) for f, c in zip(self.families, choices, strict=True))
        self._layout = laid_out(self.facts, self.candidates, self.families)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__") or (members := vars(self).get("members")) is None:
                raise
            return members.find(name, self)

    @property
    def ndim(self) -> int:
        return self.spec.ndim

    @property
    def stride(self) -> tuple[int, ...]:
        return self.spec.stride

    @property
    def groups(self) -> int:
        return self.spec.groups

    @property
    def padding_mode(self) -> str:
        return self.spec.padding_mode

    @property
    def shareable(self) -> bool:
        """Whether several plain convs can stand in its place: nothing of the user's own hangs on it."""
        return type(self) is AggConv and not self.members

    @property
    def terms(self) -> ConvSpec:
        """What the algorithms mix: the candidates, and the residual of a grown conv as one more."""
        return self.spec if self.residual is None else self._grown_spec

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """As nn.Conv: uniform within 1 / sqrt(fan_in), each candidate by its own fan-in; alpha is zero, no residual."""
        for weight, bound in zip(self.weights, self._layout.bounds, strict=True):
            weight.uniform_(-bound, bound, generator=generator)
        if self.bias is not None:
            bound = self._bound(self.original)
            self.bias.uniform_(-bound, bound, generator=generator)
        self.alpha.zero_()
        self.fade.fill_(1)
        self.residual = None

    # Compiled, a mixture is no faster, and takes a minute a site until then.
    @torch.compiler.disable(reason="a searched conv is mixed outside of compiled graphs: leave out fullgraph=True")
    def __call__(self, *args: Any, **options: Any) -> Any:
        """As any module's; `torch.compile` breaks its graph here and compiles what stands between searched convs."""
        return super().__call__(*args, **options)

    def forward(self, input: Tensor) -> Tensor:  # torch's name of it, for those who call a conv by it
        coef = self.drawn()
        return self.alone(input, coef) if isinstance(coef, Sampled) else self.mix(input, coef)

    def mix(self, x: Tensor, coef: Tensor, algorithm: str | None = None) -> Tensor:
        """The pure function: x (batch, in, *size) or (in, *size), coef (n_candidates,) -> (batch, out, *output_size).

        Args:
            algorithm: a name in `ALGORITHMS` to use instead of the conv's own.

        Raises:
            SpaceError: the input's channels, axes or size do not fit.
        """
        if x.dim() == self.ndim + 1:
            return self.mix(x.unsqueeze(0), coef, algorithm).squeeze(0)
        check_input(self._where(), x, self.in_channels, self.spec, self.original, self.padding)
        spec, weights, coefs, bias = self.mixture(x, coef)
        name = algorithm or self.algorithm
        if name == "auto":
            name = self.choices.get(self.use_of(x)) or choose(spec, tuple(x.shape), self.out_channels)
        return ALGORITHMS[name](x, weights, coefs, spec, bias)

    def use_of(self, x: Tensor) -> Use:
        """The key in `choices` of an input (batch, in, *size): one choice holds for every batch size."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        return self.residual is not None, tuple(x.shape[1:]), dtype

    def alone(self, x: Tensor, one: Sampled) -> Tensor:
        """One candidate alone, a dense one by what is cheapest; of a grown site with what is left of the residual.

        Equals `mix` with a one-hot coef in value, and in the gradients of x, of the candidate's parameters and of the
        bias; the others' parameters have none.
        """
        if x.dim() == self.ndim + 1:
            return self.alone(x.unsqueeze(0), one).squeeze(0)
        check_input(self._where(), x, self.in_channels, self.spec, self.original, self.padding)
        return sampled(self, x, one)

    def theta(self, index: int) -> list[Tensor]:
        """The parameters of a candidate, of the shapes that its family has."""
        return [self.weights[place] for place in self._layout.places[index]]

    def plain_weights(self, index: int) -> list[Tensor]:
        """The weights of the convs that a candidate is lowered to."""
        return self.families[index].plain(self.theta(index), self.facts, self.candidates[index])

    def own_kernels(self) -> list[Tensor]:
        """Of each candidate its own kernel, (out, in / groups, *kernel)."""
        if self._layout.is_plain:
            return list(self.weights)
        terms = enumerate(zip(self.families, self.candidates, strict=True))
        return [family.kernel(self.theta(i), self.facts, c, self.fade) for i, (family, c) in terms]

    def norms(self) -> Tensor:
        """Of each candidate the norm of its kernel, (n_candidates,)."""
        return torch.stack([kernel.norm() for kernel in self.own_kernels()])

    @torch.no_grad()
    def put(self, index: int, kernel: Tensor) -> None:
        """A candidate starts from a kernel (out, in / groups, *kernel), as near to it as its family comes."""
        own = self.theta(index)
        fitted = self.families[index].fit(kernel, own, self.facts, self.candidates[index])
        for weight, value in zip(own, fitted, strict=True):
            weight.copy_(value)

    def kernel(self, coef: Tensor | None = None) -> Tensor:
        """The aggregated dense kernel, residual included: (out, in / groups, *frame).

        The frame spans the taps of all candidates, which share their centre up to half a tap.
        """
        spec, weights, coefs = self._terms(self.coefficients() if coef is None else coef)
        return aggregate([dense_lattice(spec)], weights, coefs)[0]

    def restricted(self, index: int, coef: Tensor | None = None) -> Tensor:
        """The aggregated kernel, residual included, read at the taps of candidate `index`: (out, in / groups, *kernel).

        With coef one-hot on the candidate and no residual these are its weights.
        """
        spec, weights, coefs = self._terms(self.coefficients() if coef is None else coef)
        return aggregate([lattice_on(spec.offsets(index), spec)], weights, coefs)[0]

    def nearest(self, index: int) -> Tensor:
        """The kernel of candidate `index` that is nearest to `restricted`: what of the mixture it can keep."""
        kernel, family, own = self.restricted(index), self.families[index], self.candidates[index]
        if family.exact:
            return kernel
        return family.kernel(family.fit(kernel, self.theta(index), self.facts, own), self.facts, own, kernel)

    def new_taps(self) -> list[Tensor]:
        """Per candidate 1 at the taps that the original conv does not have, else 0: (*kernel)."""
        original = self._original_spec.offsets(0)
        return [1 - shared_taps(self.spec.offsets(i), original).to(self.fade) for i in range(len(self.candidates))]

    def covers(self) -> list[bool]:
        """Per candidate whether it has all taps of the original conv, so that it can start as that."""
        whole: list[bool] = self._cover.flatten(1).bool().all(1).tolist()
        return [each and family.exact for each, family in zip(whole, self.families, strict=True)]

    @torch.no_grad()
    def keep(self, indices: Sequence[int]) -> None:
        """Only these candidates stay, with their weights, logits and growth; the others are gone for good."""
        super().keep(indices)
        paddings = tuple(self.spec.paddings[i] for i in indices)
        self.spec = replace(self.spec, candidates=self.candidates, paddings=paddings)
        self._grown_spec = self.spec.with_term(self.original, self.padding)
        self.families = tuple(self.families[i] for i in indices)
        self._layout, left = layout_without(self._layout, indices, self.families)
        self.weights = nn.ParameterList([self.weights[place] for place in left])
        self._cover = self._cover[list(indices)]
        self.lacks = None
        self.choices = {}  # measured with candidates that are gone
        if self._complete():
            self.residual = None

    def only(self, *indices: int) -> AggConv:
        """A copy that holds these candidates alone, without a residual and tied to nothing."""
        tie, self.tie = self.tie, None  # whose sites would be copied too
        try:
            alone = copy.deepcopy(self)
        finally:
            self.tie = tie
        carry(self, alone, self.members.attributes if self.members else ())  # which may be parts of the model
        alone.keep(indices)
        alone.free()
        alone.residual = None
        return alone

    @torch.no_grad()
    def grow_from(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Start from a trained conv: weight (out, in / groups, *original.kernel), bias (out,).

        Each candidate takes the original's taps that lie in its support, its other taps start at zero, and the rest is
        carried by `residual`: fade * residual[p] * (1 - sum of coef_i over candidates i with a tap at p). So at fade 1
        the output is the original conv's for every coef, and at fade 0 it is the pure mixture. A family that has not
        every kernel starts as near as it comes, and fade times what it lacks there is added to its own.

        Raises:
            SpaceError: shapes that are not the original conv's.
        """
        check_source(self, weight, bias)
        source, spec = weight.to(self.alpha), self._original_spec
        for term in range(len(self.candidates)):
            self.put(term, taps_of(source, spec, self.spec.offsets(term)))
        if self.bias is not None:
            self.bias.copy_(torch.zeros_like(self.bias) if bias is None else bias)
        self.residual = None if self._complete() else source.clone(memory_format=torch.contiguous_format)
        self.lacks = None
        self.fade.fill_(1)

    def extra_repr(self) -> str:
        facts = f"{self.in_channels}, {self.out_channels}, [{', '.join(map(str, self.candidates))}], "
        facts += f"stride={self.stride}, padding={self.padding}, original={self.original}, algorithm={self.algorithm}"
        facts += f", groups={self.groups}" if self.groups > 1 else ""
        facts += f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else ""
        return facts + (", bias=False" if self.bias is None else "") + (", grown" if self.residual is not None else "")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # candidates that have left the search, a residual or none: follow the file
        left, own = state_dict.get(prefix + "kept", self.kept).tolist(), self.kept.tolist()
        if left != own and set(left) <= set(own):
            self.keep([own.index(position) for position in left])
        saved = state_dict.get(prefix + "residual")
        if saved is not None and self.residual is None:
            shape = self.out_channels, self.in_channels // self.groups, *self.original.kernel
            self.residual = self.alpha.new_zeros(shape)
        elif saved is None and prefix + "alpha" in state_dict:
            self.residual = None
        self.lacks = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _complete(self) -> bool:
        """Whether nothing is left for a residual: every candidate holds all of the original's taps."""
        return bool(self._cover.all()) and all(family.exact for family in self.families)

    def mixture(self, x: Tensor, coef: Tensor) -> tuple[ConvSpec, list[Tensor], Tensor, Tensor | None]:
        """What the algorithms take for an input x."""
        return *self._terms(coef), self.bias if self._layout.all_biased else self._share_of_bias(coef)

    def _share_of_bias(self, coef: Tensor) -> Tensor | None:
        """What counts of the bias: the coefficients of families that have one; as a conv has grown, all of it."""
        if self.bias is None:
            return None
        share = torch.stack([coef[i] for i, family in enumerate(self.families) if family.biased] or [0 * coef[0]]).sum()
        return self.bias * (share if self.residual is None else share + self.fade * (1 - share))

    def _terms(self, coef: Tensor) -> tuple[ConvSpec, list[Tensor], Tensor]:
        """What the algorithms mix; the residual has coefficient 1."""
        kernels = self.own_kernels()
        if self.residual is None:
            return self.terms, kernels, coef
        if not self._layout.is_plain:
            pairs = zip(kernels, lacking(self), strict=True)
            kernels = [own if lack is None else own + self.fade * lack for own, lack in pairs]
        uncovered = 1 - torch.tensordot(coef.to(self._cover.dtype), self._cover, dims=1)  # (*original.kernel)
        rest = self.residual * (self.fade * uncovered)
        return self.terms, [*kernels, rest], torch.cat([coef, coef.new_ones(1)])

    def _bound(self, candidate: Candidate) -> float:
        return (self.in_channels // self.groups * candidate.taps) ** -0.5


def sites_of(model: nn.Module) -> dict[str, AggConv]:
    """Every AggConv of a model by its module name, each once."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AggConv)}


def drop_residuals(model: nn.Module) -> None:
    """Leave every site of a grown model with its candidates alone."""
    for site in sites_of(model).values():
        site.residual = None
