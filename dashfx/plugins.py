"""Plug-ins by kind: `name:key=value,...` or `file.py:Class:key=value` goes in; a checked object comes out.

`name:VALUE,key=value` gives a name's first argument by its place.

Each kind is one plain dict in the room that owns it, of classes, which are made with the arguments, and of functions,
which are handed on with them. A key that begins with a dot stands for files that end so; such a file is the first
argument.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from dashfx.config.files import parse_value
from dashfx.errors import ConfigError, did_you_mean
from dashfx.usercode import load_object

F = TypeVar("F", bound=Callable[..., Any])

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Home(NamedTuple):
    """Where a kind's dict stands, and the class that each of its objects has; "" for functions."""

    module: str
    names: str
    base: str = ""


HOMES: dict[str, Home] = {
    "strategy": Home("dashfx.strategies.named", "STRATEGIES"),
    "family": Home("dashfx.ops.families", "FAMILIES", "Family"),
    "morphism": Home("dashfx.passes.morphisms", "MORPHISMS", "Morphism"),
    "combinator": Home("dashfx.passes.combinators", "COMBINATORS"),
    "relaxation": Home("dashfx.ops.relaxations", "RELAXATIONS", "Relaxation"),
    "gate": Home("dashfx.ops.gates", "GATES", "Gate"),
    "update": Home("dashfx.strategies.updates", "UPDATES", "Update"),
    "rule": Home("dashfx.strategies.rules", "RULES", "SelectionRule"),
    "monitor": Home("dashfx.strategies.monitors", "MONITORS", "Monitor"),
    "term": Home("dashfx.strategies.terms", "TERMS", "Term"),
    "edit": Home("dashfx.strategies.edits", "EDITS", "Edit"),
    "cost": Home("dashfx.cost.named", "COSTS", "CostModel"),
    "deployment": Home("dashfx.deploy.sessions", "DEPLOYMENTS", "Deployments"),
    "optimiser": Home("dashfx.blackbox.named", "OPTIMISERS", "Optimiser"),
    "predictor": Home("dashfx.blackbox.predictors", "PREDICTORS", "Predictor"),
    "evaluator": Home("dashfx.stages.evaluators", "EVALUATORS", "Evaluator"),
    "proxy": Home("dashfx.proxy.named", "PROXIES", "Proxy"),
    "other part": Home("dashfx.strategies.start.others", "OTHERS"),
    "schedule": Home("dashfx.train.schedule", "SCHEDULES"),
    "weight optimiser": Home("dashfx.train.recipe", "OPTIMISERS"),
    "alpha optimiser": Home("dashfx.strategies.updates", "ALPHA_OPTIMISERS"),
}


class Known(NamedTuple):
    """What a plug-in says of itself.

    Attributes:
        line: the first sentence of its docstring.
        paper: where it was published; "" where it was not.
        row: its number in the survey that the parts of dashfx follow.
    """

    name: str
    line: str
    paper: str = ""
    row: str = ""


_TEXT = re.compile(
    r"(?P<what>[\w-]+|.+?\.py:[^\W\d]\w*|[^\W\d]\w*(?:\.\w+)+:[^\W\d]\w*|[^:]*)(?::(?P<arguments>[^:=]+=.*|))?",
    re.DOTALL,
)
_PLACED = re.compile(r"\s*(?P<what>[\w-]+):(?P<first>[^:=,]+)(?P<rest>,.*)?\s*", re.DOTALL)
_NEXT = re.compile(r",(?=\s*[^\W\d]\w*\s*=)")  # a comma within a list stands before no name
_ANY_CLASS = ConfigDict(arbitrary_types_allowed=True)


def find(kind: str, text: Any, /, **defaults: Any) -> Any:
    """The object that `text` names; an object comes back as it is.

    Args:
        defaults: arguments for what takes them, where the text does not give them.

    Raises:
        ConfigError: no such name, file or class, one of another kind, or an argument that it does not take.
    """
    if not isinstance(text, str):
        return _of_kind(kind, text, type(text).__name__)
    known = names_of(kind)
    for suffix in [name for name in known if name.startswith(".") and text.endswith(name)]:
        first = next(iter(inspect.signature(known[suffix]).parameters))
        return _made(kind, text, known[suffix], {first: text}, defaults)
    what, arguments = split(kind, _by_name(text, known))
    return _made(kind, what, _named(kind, what, known), arguments, defaults)


def names_of(kind: str) -> Mapping[str, Any]:
    """The kind's dict."""
    home = HOMES[kind]
    found: Mapping[str, Any] = getattr(import_module(home.module), home.names)
    return found


def published(paper: str, row: str) -> Callable[[F], F]:
    """Say of a function where it was published, as classes do by attributes `paper` and `row`."""

    def said(function: F) -> F:
        vars(function).update(paper=paper, row=row)
        return function

    return said


def known_of(kind: str) -> list[Known]:
    """Every plug-in of a kind, by what its class or function says."""
    found = []
    for name, maker in names_of(kind).items():
        owner = maker.func if isinstance(maker, partial) else maker
        line = " ".join((inspect.getdoc(owner) or "").split("\n\n")[0].split())
        line = re.split(r"(?<=\w[.)])\s+(?=[A-Z])", line, maxsplit=1)[0]
        found.append(Known(name, line, getattr(owner, "paper", ""), getattr(owner, "row", "")))
    return found


def split(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    """What a text names, and its arguments as YAML reads them.

    >>> split("rule", "energy:keep=0.8")
    ('energy', {'keep': 0.8})

    Raises:
        ConfigError: arguments that are not written as key=value.
    """
    parts = _TEXT.fullmatch(text.strip())
    if parts is None:
        raise ConfigError(f"{kind} {text!r}: write name:key=value,key=value or file.py:Class:key=value")
    pairs = [pair.partition("=") for pair in _NEXT.split(parts["arguments"])] if parts["arguments"] else []
    return parts["what"], {key.strip(): parse_value(value) for key, _, value in pairs}


def _by_name(text: str, known: Mapping[str, Any]) -> str:
    """`name:VALUE` as `name:key=VALUE`, with the first argument that the name takes."""
    parts = _PLACED.fullmatch(text)
    first = next(iter(_taken(known[parts["what"]])), "") if parts and parts["what"] in known else ""
    return f"{parts['what']}:{first}={parts['first']}{parts['rest'] or ''}" if parts and first else text


def _named(kind: str, what: str, known: Mapping[str, Any]) -> Any:
    if what in known:
        return known[what]
    if ":" in what:
        return load_object(what, ConfigError)
    there = ", ".join(name for name in known if not name.startswith("."))
    raise ConfigError(f"no {kind} {what!r}{did_you_mean(what, known)}; there are {there}, or give file.py:Class")


def _made(kind: str, what: str, maker: Any, arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """A class's object or a function with the arguments bound; what is an object already takes none."""
    if not inspect.isroutine(maker) and not isinstance(maker, type | partial):
        if arguments:
            raise ConfigError(f"{kind} {what!r} is an object already and takes no arguments; name its class")
        return _of_kind(kind, maker, what)
    if missing := sorted(getattr(maker, "__abstractmethods__", ())):
        raise ConfigError(f"{kind} {what!r} cannot be made: the class leaves out {', '.join(missing)}")
    taken = _taken(maker)
    for name in arguments:
        if name not in taken:
            takes = f"; it takes {', '.join(taken)}" if taken else "; it takes none"
            raise ConfigError(f"{kind} {what!r}: no argument {name!r}{did_you_mean(name, taken)}{takes}")
    checked = {name: _checked(kind, what, maker, taken[name], value) for name, value in arguments.items()}
    given = {**{name: value for name, value in defaults.items() if name in taken}, **checked}
    if inspect.isroutine(maker):
        return partial(maker, **given) if given else maker
    for name, each in taken.items():
        if each.default is each.empty and name not in given:
            raise ConfigError(f"{kind} {what!r} needs an argument {name!r}: write {what}:{name}=VALUE")
    return _of_kind(kind, maker(**given), what)


def _taken(maker: Any) -> dict[str, inspect.Parameter]:
    """The arguments that a text can give: all of a class's, a function's own ones after its star."""
    own, any_place = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    kinds = (own,) if inspect.isroutine(maker) else (own, any_place)
    return {name: each for name, each in inspect.signature(maker).parameters.items() if each.kind in kinds}


def _checked(kind: str, what: str, maker: Any, argument: inspect.Parameter, value: Any) -> Any:
    try:
        return TypeAdapter(_hint(maker, argument), config=_ANY_CLASS).validate_python(value)
    except ValidationError as error:
        said = error.errors()[0]["msg"].lower().removeprefix("value error, ")
        raise ConfigError(f"{kind} {what!r}: argument {argument.name!r}: {said}, got {value!r}") from None


def _hint(maker: Any, argument: inspect.Parameter) -> Any:
    """The type that an argument is annotated with; one whose names only type checkers know is not checked."""
    owner = maker.func if isinstance(maker, partial) else maker
    for base in getattr(owner, "__mro__", ()):  # a dataclass's field belongs to the module of the class that has it
        if argument.name in vars(base).get("__annotations__", {}):
            owner = base
            break
    holder = SimpleNamespace(__annotations__={argument.name: argument.annotation})
    try:
        hint = get_type_hints(holder, vars(sys.modules[owner.__module__]), include_extras=True)[argument.name]
    except NameError:
        return Any
    return Any if hint is argument.empty else hint


def _of_kind(kind: str, found: Any, what: str) -> Any:
    home = HOMES[kind]
    base = getattr(import_module(home.module), home.base) if home.base else None
    if base is not None and not isinstance(found, base):
        raise ConfigError(f"{what!r} is no {kind}: it must be a subclass of {home.module}.{home.base}")
    if base is None and not callable(found) and kind != "strategy":
        raise ConfigError(f"{what!r} is no {kind}: it must be a function")
    return found


def name_of(kind: str, found: Any) -> str:
    """The name of an object's class in its kind's dict; the class's own name for a user's."""
    return next((name for name, known in names_of(kind).items() if known is type(found)), type(found).__name__)
