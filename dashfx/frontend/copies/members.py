"""Attributes and methods of a conv beyond torch.nn's own: what takes the conv's place carries them on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from dashfx.frontend.convs import PLAIN, read_weight_norm, weight_norm_keys

TABLES = ("_parameters", "_buffers", "_modules")  # where torch.nn keeps what is no plain attribute
TORCHS_OWN = {*vars(nn.Conv1d(1, 1, 1, device="meta")), "weight", "bias", "parametrizations"}


@dataclass(frozen=True)
class Members:
    """What a conv has beyond a torch.nn conv.

    Attributes:
        kind: its class, a subclass of torch.nn's or that itself.
        attributes: names on the instance, parameters, buffers and modules included.
    """

    kind: type[nn.Module]
    attributes: tuple[str, ...]

    def find(self, name: str, instance: nn.Module) -> Any:
        """The class's own member `name`, bound to `instance`.

        Raises:
            AttributeError: the user's class defines none.
        """
        for kind in _users_classes(self.kind):
            if name in vars(kind):
                found = vars(kind)[name]
                return found.__get__(instance, self.kind) if hasattr(found, "__get__") else found
        raise AttributeError(f"{self.kind.__name__!r} object has no attribute {name!r}")

    def __bool__(self) -> bool:
        return bool(self.attributes) or self.kind not in PLAIN

    def clash(self, other: nn.Module) -> str | None:
        """The first name that means something else to `other`, or None."""
        names = [*self.attributes, *(name for kind in _users_classes(self.kind) for name in vars(kind))]
        base = next((plain for plain in PLAIN if issubclass(self.kind, plain)), nn.Module)
        held = {*vars(other), *(name for table in TABLES for name in vars(other)[table])}
        theirs = (name for name in names if name in held or hasattr(type(other), name))
        return next((name for name in theirs if not hasattr(base, name)), None)


def members_of(conv: _ConvNd) -> Members:
    """What `conv`, an instance of torch.nn's classes or of a subclass, has beyond them."""
    kind = type(conv).__bases__[0] if parametrize.is_parametrized(conv) else type(conv)
    names = dict.fromkeys(name for held in (vars(conv), *(vars(conv)[t] for t in TABLES)) for name in held)
    norm = read_weight_norm(conv)
    known = TORCHS_OWN.union(weight_norm_keys(norm) if norm else ())
    return Members(kind, tuple(name for name in names if name not in known))


def carry(old: nn.Module, new: nn.Module, names: tuple[str, ...]) -> None:
    """Put what `old` holds under these names onto `new`: the same objects, in the same tables."""
    for name in names:
        for source, target in ((vars(old)[t], vars(new)[t]) for t in TABLES):
            if name in source:
                target[name] = source[name]
        if name in vars(old):
            vars(new)[name] = vars(old)[name]
    new._non_persistent_buffers_set |= old._non_persistent_buffers_set & set(names)


def _users_classes(kind: type) -> Iterator[type]:
    """The class and its bases, up to torch.nn's own."""
    for each in kind.__mro__:
        if each in PLAIN:
            return
        yield each
