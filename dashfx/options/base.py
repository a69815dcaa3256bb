"""Options, decisions and finders: whatever can be chosen of a model, under one protocol, and how files write it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from dashfx.errors import GenotypeError, SpaceError, did_you_mean
from dashfx.options.morph import Morph
from dashfx.options.width import Width
from dashfx.site import Skip
from dashfx.space import Candidate


class Option(Protocol):
    """What may be chosen at one place: frozen, hashable, and equal to itself after JSON.

    Attributes:
        kind: names the class in files; the constructor of its facts stands in `KINDS`.
    """

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Its facts, plain values that JSON knows, without its kind."""
        ...

    def features(self) -> Mapping[str, float]:
        """Sizes that have an order, by name; what varies by factors in logarithms."""
        ...


O = TypeVar("O", bound=Option)  # noqa: E741  an option
P = TypeVar("P", contravariant=True)


@dataclass(frozen=True)
class Decision(Generic[O]):
    """A place of a model and what may be chosen there.

    Attributes:
        name: of a conv's kernel its site's, such as "layer1.0.conv1"; else with its kind, "layer1.0.conv1:width".
        options: without repeats.
        default: what the untouched model has; it need not be among the options.

    Raises:
        SpaceError: no options, equal ones, or of several kinds.
    """

    name: str
    options: tuple[O, ...]
    default: O

    def __post_init__(self) -> None:
        if not self.options or len(set(self.options)) < len(self.options):
            raise SpaceError(
                f"decision {self.name!r} of {list(map(str, self.options))}: give one option or more, all different"
            )
        if len(kinds := {each.kind for each in (*self.options, self.default)}) > 1:
            raise SpaceError(
                f"decision {self.name!r}: options of the kinds {', '.join(sorted(kinds))}; one kind decides"
            )


class Finder(Protocol[P]):
    """Where a model leaves a choice of one kind; `P` is what it looks at, a `Program`.

    Attributes:
        kind: of the options.
    """

    kind: ClassVar[str]

    def decisions(self, program: P) -> tuple[list[Decision[Any]], list[Skip]]:
        """The decisions, and every place of this kind that has none, with the reason; the program stays as it is."""
        ...


# kind -> the option of its facts; a new kind is one entry here.
KINDS: dict[str, Callable[[Mapping[str, Any]], Option]] = {
    Candidate.kind: Candidate.from_dict,
    Morph.kind: Morph.from_dict,
    Width.kind: Width.from_dict,
}


def written(option: Option) -> dict[str, Any]:
    """What a file holds of an option: its kind and its facts."""
    return {"kind": option.kind, **option.to_dict()}


def read(facts: Mapping[str, Any]) -> Option:
    """The option that `written` wrote.

    Raises:
        GenotypeError: a kind that this dashfx does not know.
    """
    kind = str(facts["kind"])
    if kind not in KINDS:
        raise GenotypeError(
            f"options of the kind {kind!r} are not known{did_you_mean(kind, KINDS)}; this dashfx knows "
            f"{', '.join(sorted(KINDS))}: upgrade to the one that wrote them"
        )
    return KINDS[kind]({name: fact for name, fact in facts.items() if name != "kind"})
