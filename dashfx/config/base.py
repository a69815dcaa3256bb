"""The base of every block of options: a mapping goes in, a checked and frozen block or one line of error comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from dashfx.errors import ConfigError, did_you_mean

SHOWN = 200  # characters of a value in an error

Self = TypeVar("Self", bound="Strict")


class Strict(BaseModel):
    """A frozen block of options that refuses unknown ones, and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls: type[Self], options: Mapping[str, Any]) -> Self:
        """Checked options.

        Raises:
            ConfigError: an unknown option (with the nearest known one), or a value that cannot be used.
        """
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise ConfigError(_explain(cls, error)) from None
        except RecursionError:
            raise ConfigError("the options are nested too deeply; write them as blocks of name: value") from None


def _explain(cls: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(step) for step in first["loc"] if "[" not in str(step)]  # without the names of pydantic's own checks
    where = ".".join(path)
    if first["type"] == "extra_forbidden":
        block = f" in {'.'.join(path[:-1])!r}" if path[:-1] else ""
        return f"no option {path[-1]!r}{block}{did_you_mean(path[-1], _options_at(cls, path[:-1]))}"
    return f"option {where!r}: {first['msg'].lower().removeprefix('value error, ')}, got {_short(first.get('input'))}"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = f"a {type(value).__name__} that is too long to show"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _options_at(cls: type[BaseModel], path: list[str]) -> list[str]:
    for step in path:
        kind = cls.model_fields[step].annotation if step in cls.model_fields else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        cls = kind
    return list(cls.model_fields)
