"""Closures, partials, bound methods and lists that refer to replaced modules come to refer to the new ones."""

from __future__ import annotations

import copy
import dis
import functools
import weakref
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

DEPTH = 4  # of containers in containers, in what a closure holds
LEFT_ALONE = (Tensor, str, bytes, int, float, complex, type, ModuleType, BuiltinFunctionType, CodeType)


def rebind(model: nn.Module, replaced: dict[int, Any]) -> None:
    """Let everything that the modules of `model` hold refer to the new objects; changes `model` in place.

    A function cannot be changed without its other holders noticing, so each gets a twin with cells and defaults of its
    own; two functions that share a variable share it afterwards, too.

    Args:
        replaced: the id of each old object -> the new one, as `copy.deepcopy` fills its memo.
    """
    _Rebinder(model, replaced).modules(model)


class _Rebinder:
    def __init__(self, model: nn.Module, replaced: dict[int, Any]) -> None:
        # The id of an object -> what stands for it; modules that stay stand for themselves when containers are copied.
        self._places: dict[int, Any] = {id(module): module for module in model.modules()} | replaced
        self._twins: dict[int, Any] = {}  # of functions and cells
        self._seen: set[int] = set()
        self._old: list[Any] = []  # keeps what ids stand for

    def modules(self, model: nn.Module) -> None:
        for module in list(model.modules()):
            self._attributes(vars(module), but=("_modules", "_parameters", "_buffers"))

    def _attributes(self, held: dict[Any, Any], but: tuple[str, ...] = ()) -> None:
        """Walk a dict that belongs to the model."""
        for key, value in list(held.items()):
            new = value if key in but else self._walked(value)
            if new is not value:
                held[key] = new

    def _walked(self, value: Any) -> Any:
        """What belongs to the model is changed in place."""
        if isinstance(value, nn.Module) or not _is_held(value):
            return self._tuple(value, self._walked) if type(value) is tuple else self._new(value)
        if id(value) not in self._places and id(value) not in self._seen:
            self._seen.add(id(value))
            if isinstance(value, list):
                value[:] = map(self._walked, value)
            else:
                self._attributes(value if isinstance(value, dict) else vars(value))
        return self._places.get(id(value), value)

    def _new(self, value: Any) -> Any:
        """What may belong to others, too, stays as it is, and a twin comes back where it refers to an old object."""
        if id(value) in self._places or isinstance(value, LEFT_ALONE):
            return self._places.get(id(value), value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            owner, function = self._new(value.__self__), self._new(value.__func__)
            return value if (owner, function) == (value.__self__, value.__func__) else MethodType(function, owner)
        if type(value) is functools.partial:
            return self._partial(value)
        if isinstance(value, weakref.ref):
            return weakref.ref(self._places[id(value())]) if self._is_old(value()) else value
        if type(value) is tuple:
            return self._tuple(value, self._new)
        return self._copied(value) if self._refers(value, DEPTH) else value

    def _function(self, function: FunctionType) -> FunctionType:
        if id(function) in self._twins:
            return self._twins[id(function)]
        if _is_of_torch(function):
            return function  # torch tells some of its functions by their identity
        defaults = self._tuple(function.__defaults__ or (), self._new)
        given = function.__kwdefaults__ or {}
        named = {key: self._new(value) for key, value in given.items()}
        same = all(value is given[key] for key, value in named.items())
        if not function.__closure__ and defaults is (function.__defaults__ or defaults) and same:
            return function
        cells = tuple(map(self._cell, function.__closure__ or ()))
        twin = FunctionType(function.__code__, function.__globals__, function.__name__, defaults or None, cells)
        self._old.append(function)
        self._twins[id(function)] = twin
        twin.__kwdefaults__ = named or None
        for name in functools.WRAPPER_ASSIGNMENTS:
            setattr(twin, name, getattr(function, name, None))
        vars(twin).update({key: self._new(value) for key, value in vars(function).items()})
        for old, new in zip(function.__closure__ or (), cells, strict=True):
            self._fill(old, new)
        return twin

    def _cell(self, cell: CellType) -> CellType:
        self._old.append(cell)
        return self._twins.setdefault(id(cell), CellType())

    def _fill(self, old: CellType, new: CellType) -> None:
        try:
            content = old.cell_contents
        except ValueError:  # a variable that has no value yet
            return
        if id(new) not in self._seen:
            self._seen.add(id(new))
            new.cell_contents = self._new(content)

    def _partial(self, value: functools.partial[Any]) -> functools.partial[Any]:
        call, args = self._new(value.func), self._tuple(value.args, self._new)
        named = {key: self._new(item) for key, item in value.keywords.items()}
        same = call is value.func and args is value.args and all(named[k] is v for k, v in value.keywords.items())
        return value if same else functools.partial(call, *args, **named)

    def _tuple(self, value: tuple[Any, ...], change: Any) -> tuple[Any, ...]:
        new = tuple(map(change, value))
        return value if all(a is b for a, b in zip(new, value, strict=True)) else new

    def _refers(self, value: Any, depth: int) -> bool:
        """Whether a container or an object of the user's leads to an old object."""
        if self._is_old(value) or depth == 0 or isinstance(value, LEFT_ALONE):
            return self._is_old(value)
        if isinstance(value, MethodType):
            parts: Any = (value.__self__, value.__func__)
        elif isinstance(value, FunctionType):
            parts = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        elif isinstance(value, Mapping):
            parts = value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            parts = value
        elif isinstance(value, nn.Module):  # another model, which shares parts with this one
            parts = ()
        else:
            parts = getattr(value, "__dict__", {}).values()
        return any(self._refers(part, depth - 1) for part in list(parts))

    def _is_old(self, value: Any) -> bool:
        return self._places.get(id(value), value) is not value

    def _copied(self, value: Any) -> Any:
        try:
            return self._walked(copy.deepcopy(value, self._places))
        except Exception:  # locks, files and the like stay shared
            return value


def _is_held(value: Any) -> bool:
    """Whether a value that a module holds is a container, or an object of the user's, that was copied with it."""
    if isinstance(value, dict | list):
        return True
    elsewhere = (*LEFT_ALONE, FunctionType, MethodType, functools.partial, weakref.ref, tuple)
    return hasattr(value, "__dict__") and not isinstance(value, elsewhere) and not hasattr(type(value), "__deepcopy__")


def functions_of(model: nn.Module) -> Iterator[tuple[str, FunctionType]]:
    """Every function of the user's that modules hold, hooks included, with words for where it stands."""
    for name, module in model.named_modules():
        where = f"module {name!r}" if name else type(model).__name__
        for key, value in vars(module).items():
            found = value.values() if isinstance(value, dict) and "hooks" in key else [value]
            what = "a hook" if "hooks" in key else repr(key)
            for function in filter(None, map(_function_in, found)):
                yield f"{what} of {where} ({function.__name__})", function


def _function_in(value: Any) -> FunctionType | None:
    while isinstance(value, functools.partial):
        value = value.func
    value = value.__func__ if isinstance(value, MethodType) else value
    value = value if isinstance(value, FunctionType) else getattr(type(value), "__call__", None)  # noqa: B004
    return value if isinstance(value, FunctionType) and not _is_of_torch(value) else None


def _is_of_torch(function: FunctionType) -> bool:
    home = function.__globals__.get("__name__")  # functools.wraps overwrites __module__
    return str(home).split(".")[0] == "torch"


def refers(function: FunctionType, old: set[int]) -> bool:
    """Whether a function reads one of the old objects from a variable around it, or from a global one."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    names = _globals_read(function.__code__)
    return any(id(value) in old for value in (*cells, *(function.__globals__.get(name) for name in names)))


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _globals_read(code: CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    own = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return own.union(*map(_globals_read, inner))
