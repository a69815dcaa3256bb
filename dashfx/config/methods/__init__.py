"""Methods of architecture search by name: each is a few options of a run, the combination that its paper uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashfx.config.methods.base import Method
from dashfx.config.methods.blackbox import BLACK_BOX
from dashfx.config.methods.controls import CONTROLS
from dashfx.config.methods.gradient import GRADIENT
from dashfx.errors import ConfigError, did_you_mean

__all__ = ["METHODS", "Method", "find_method", "over", "under"]

METHODS: dict[str, Method] = {**GRADIENT, **BLACK_BOX, **CONTROLS}
AUTO = "auto"


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ConfigError: there is none, with the nearest known one.
    """
    if name not in METHODS:
        raise ConfigError(f"no method {name!r}{did_you_mean(name, METHODS)}; there are {', '.join(METHODS)}")
    return METHODS[name]


def under(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` over those of the method that they name: what a user says wins, one option at a time.

    Raises:
        ConfigError: no such method, or a strategy beside it that is another one.
    """
    name, merged = str(options["method"]), dict(options)
    for block, own in find_method(name).options.items():
        given = {} if options.get(block) is None else options[block]
        if isinstance(given, Mapping):  # anything else is refused later
            merged[block] = {**own, **_beside(name, own.get("strategy"), given)}
    return merged


def over(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Those of a file with the method's in their place, as a flag has its way over a file.

    Raises:
        ConfigError: no such method.
    """
    merged = {**options, "method": name}
    for block, own in find_method(name).options.items():
        given = merged.get(block)
        merged[block] = {**given, **own} if isinstance(given, Mapping) else dict(own)
    return merged


def _beside(name: str, strategy: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a block says beside the method's, without a strategy that is left open."""
    said = given.get("strategy", AUTO)
    if said == AUTO:
        return {key: value for key, value in given.items() if key != "strategy"}
    if strategy is None or kind_of(said) == kind_of(strategy):
        return given
    raise ConfigError(
        f"method {name!r} is strategy {kind_of(strategy)!r}, and search.strategy says {said!r}: leave one of the two; "
        f"dashfx methods --method {name} shows what the method sets"
    )


def kind_of(strategy: Any) -> str:
    """The strategy's name without its arguments.

    >>> kind_of("evolution:population=20")
    'evolution'
    """
    return str(strategy).partition(":")[0]
