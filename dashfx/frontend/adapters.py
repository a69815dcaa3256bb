"""A class of conv and two functions go in: what plain conv it equals, and back; `register_conv` keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from dashfx.errors import AdapterError, first_line
from dashfx.frontend.convs import PLAIN, read_padding, read_padding_mode, write_padding
from dashfx.space import Candidate, candidate_padding

TOLERANCE = 1e-4  # relative; some classes compute in float32 whatever they are given


@dataclass(frozen=True)
class Adapter:
    """How a class of conv equals a plain one.

    Attributes:
        to_site: the user's conv -> the torch.nn conv that computes the same, with the same parameters.
        from_site: (the user's conv, a torch.nn conv of other kernel, dilation, padding and weights) -> a conv of the
            user's class that computes the same as the second. Raising ValueError refuses that kernel.
    """

    to_site: Callable[[Any], nn.Module]
    from_site: Callable[[Any, Any], nn.Module]
    shipped: bool = False


ADAPTERS: dict[type[nn.Module], Adapter] = {}


def register_conv(
    cls: type[nn.Module], to_site: Callable[[Any], nn.Module], from_site: Callable[[Any, Any], nn.Module]
) -> None:
    """Teach dashfx a class of conv, see `Adapter`; a later call for the same class replaces the first.

    The one-hot law is checked on every conv of the class when a model is traced: with its own kernel and with others
    both must give the same, and lowering must keep class and keys.

    Raises:
        AdapterError: `cls` is no subclass of nn.Module, or is one of torch.nn's own convs.
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)) or cls in PLAIN:
        raise AdapterError(f"register_conv takes a class of conv of your own, not {cls!r}")
    ADAPTERS[cls] = Adapter(to_site, from_site)


def adapter_of(module: nn.Module) -> Adapter | None:
    """The adapter of the module's own class; subclasses may compute something else and need their own."""
    cls = type(module)
    return ADAPTERS.get(cls) or SHIPPED.get(f"{cls.__module__}.{cls.__qualname__}")


def as_plain(module: nn.Module, adapter: Adapter) -> _ConvNd:
    """The plain conv that an adapter gives.

    Raises:
        AdapterError: it gives none, or raises.
    """
    try:
        plain = adapter.to_site(module)
    except Exception as error:  # the user's code
        raise AdapterError(f"{_name(module)}: to_site fails: {first_line(error)}") from error
    if type(plain) not in PLAIN:
        given = type(plain).__name__
        raise AdapterError(f"{_name(module)}: to_site gave {given}; give an nn.Conv1d, nn.Conv2d or nn.Conv3d")
    assert isinstance(plain, _ConvNd)
    return plain


def with_kernel(plain: _ConvNd, candidate: Candidate, causal: bool) -> _ConvNd:
    """The plain conv with another kernel and random weights, by the shape contract."""
    make: Callable[..., _ConvNd] = type(plain)
    other = make(
        plain.in_channels,
        plain.out_channels,
        candidate.kernel,
        stride=plain.stride,
        dilation=candidate.dilation,
        groups=plain.groups,
        bias=plain.bias is not None,
    ).to(plain.weight)
    original = Candidate(plain.kernel_size, plain.dilation)
    write_padding(other, candidate_padding(read_padding(plain), original, candidate, causal), plain.padding_mode)
    return other


def is_causal(plain: _ConvNd) -> bool:
    """Whether a plain conv pads by its extent on the left only."""
    (extent, *more) = Candidate(plain.kernel_size, plain.dilation).extent
    return not more and extent > 0 and read_padding(plain) == ((extent, 0),) and plain.padding_mode != "circular"


def check(module: nn.Module, adapter: Adapter, x: Tensor) -> None:
    """Hold an adapter to the one-hot law on an input of the size that was seen, with the conv's own kernel and others.

    The caller sets eval mode and switches gradients off.

    Raises:
        AdapterError: what `to_site` or `from_site` gives differs, or class or keys do.
    """
    plain = as_plain(module, adapter)
    _same(module, plain, x, "to_site", Candidate(plain.kernel_size, plain.dilation))
    k, d = plain.kernel_size, plain.dilation
    for candidate in (Candidate(tuple(n + 2 for n in k), d), Candidate(k, tuple(n + 1 for n in d))):
        other = with_kernel(plain, candidate, is_causal(plain))
        try:
            theirs = adapter.from_site(module, other)
        except ValueError:
            continue
        except Exception as error:  # the user's code
            raise AdapterError(f"{_name(module)}: from_site fails for {candidate}: {first_line(error)}") from error
        if type(theirs) is not type(module) or theirs.state_dict().keys() != module.state_dict().keys():
            raise AdapterError(f"{_name(module)}: from_site gave a {type(theirs).__name__} with other class or keys")
        _same(theirs.eval(), other, x, "from_site", candidate)


def refusal(module: nn.Module, adapter: Adapter, plain: _ConvNd, candidate: Candidate) -> str | None:
    """Why the user's class cannot take `candidate`, or None."""
    try:
        adapter.from_site(module, with_kernel(plain, candidate, is_causal(plain)))
    except Exception as error:  # the user's code
        return f"{type(module).__name__} refuses it: {first_line(error)}"
    return None


def _same(theirs: nn.Module, plain: nn.Module, x: Tensor, what: str, candidate: Candidate) -> None:
    try:
        answer, expected = theirs(x), plain(x)
    except Exception as error:  # the user's code
        broken = f"{what} breaks the one-hot law at {candidate}"
        raise AdapterError(f"{_name(theirs)}: {broken}: {first_line(error)}") from error
    near = answer.shape == expected.shape and torch.allclose(
        answer, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max().clamp_min(1e-3))
    )
    if not near:
        raise AdapterError(
            f"{_name(theirs)}: {what} breaks the one-hot law: at {candidate} the class and the plain conv give other "
            "answers; correct the adapter given to register_conv"
        )


def _name(module: nn.Module) -> str:
    kind = type(module)
    home = f"{kind.__module__}." if "." in kind.__module__ else ""  # a file's module has a name that dashfx made up
    return f"adapter of {home}{kind.__qualname__}"


# Shipped adapters, by qualified name, so that nothing is imported that the user does not have.


def _temporal_to_site(conv: Any) -> nn.Module:
    """pytorch-tcn: pads by a layer of its own, with a buffer of that length for streaming."""
    padder = conv.padder
    mode = {"ConstantPad1d": "zeros", "ReflectionPad1d": "reflect", "ReplicationPad1d": "replicate"}
    plain = nn.Conv1d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, 0, conv.dilation, conv.groups, False
    ).to(conv.weight)
    plain.weight, plain.bias = conv.weight, conv.bias
    padding = ((padder.left_padding, padder.right_padding),)
    write_padding(plain, padding, mode.get(type(padder.pad).__name__, "circular"))
    return plain


def _temporal_from_site(conv: Any, plain: Any) -> nn.Module:
    new: Any = type(conv)(
        conv.in_channels,
        conv.out_channels,
        plain.kernel_size[0],
        stride=conv.stride[0],
        dilation=plain.dilation[0],
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=read_padding_mode(plain),
        causal=conv.causal,
    ).to(plain.weight)
    new.weight, new.bias = plain.weight, plain.bias
    (sides,), padder = read_padding(plain), new.padder
    padder.left_padding, padder.right_padding = sides
    padder.pad = type(padder.pad)(sides, *((0.0,) if type(padder.pad) is nn.ConstantPad1d else ()))
    built: nn.Module = new
    return built


def _fft_to_site(conv: Any) -> nn.Module:
    """monai: a depthwise "same" conv computed by FFT."""
    make: Any = PLAIN[len(conv.kernel_size) - 1]
    half = tuple(k // 2 for k in conv.kernel_size)
    plain = make(conv.in_channels, conv.out_channels, conv.kernel_size, padding=half, groups=conv.groups, bias=False)
    plain.weight = conv.weight
    return plain


def _fft_from_site(conv: Any, plain: Any) -> nn.Module:
    (kernel, *others), dilation = plain.kernel_size, set(plain.dilation)
    if dilation != {1} or set(others) - {kernel} or kernel % 2 == 0:
        raise ValueError("it takes odd kernels, alike on every axis, without dilation")
    options = {"groups": conv.groups, "padding": kernel // 2, "fft_chunk_size": conv.fft_chunk_size}
    new: nn.Module = type(conv)(conv.in_channels, conv.out_channels, kernel, **options)
    new.weight = plain.weight
    return new


def _static_to_site(conv: Any) -> nn.Module:
    """segmentation-models-pytorch: pads by a layer made for one image size."""
    left, right, top, bottom = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, 0, conv.dilation, conv.groups, False
    ).to(conv.weight)
    plain.weight, plain.bias = conv.weight, conv.bias
    sides, (rows, columns) = ((top, bottom), (left, right)), conv.padding
    inner = ((rows, rows), (columns, columns))
    padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(sides, inner, strict=True))
    write_padding(plain, padding, "zeros")
    return plain


def _static_from_site(conv: Any, plain: Any) -> nn.Module:
    if not isinstance(conv.static_padding, nn.ZeroPad2d):
        raise ValueError("it was built without padding")
    new: Any = object.__new__(type(conv))
    new.__dict__.update({**vars(conv), "_parameters": dict(conv._parameters), "_modules": dict(conv._modules)})
    new.kernel_size, new.dilation, new.padding = plain.kernel_size, plain.dilation, (0, 0)
    new.weight, new.bias = plain.weight, plain.bias
    (top, bottom), (left, right) = read_padding(plain)
    new.static_padding = nn.ZeroPad2d((left, right, top, bottom))
    result: nn.Module = new
    return result


SHIPPED: dict[str, Adapter] = {
    "pytorch_tcn.conv.TemporalConv1d": Adapter(_temporal_to_site, _temporal_from_site, shipped=True),
    "monai.networks.blocks.hyena.DepthwiseFFTConv2d": Adapter(_fft_to_site, _fft_from_site, shipped=True),
    "monai.networks.blocks.hyena.DepthwiseFFTConv3d": Adapter(_fft_to_site, _fft_from_site, shipped=True),
    "segmentation_models_pytorch.encoders._efficientnet.Conv2dStaticSamePadding": Adapter(
        _static_to_site, _static_from_site, shipped=True
    ),
}
