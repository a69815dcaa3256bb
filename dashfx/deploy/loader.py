"""A lowered model goes in; `load_model.py` and its weights come out, which rebuild it in PyTorch without dashfx."""

from __future__ import annotations

import ast
import inspect
import json
import os
import runpy
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from torch import nn
from torch.nn.modules.conv import _ConvNd

from dashfx.deploy.export import require_lowered
from dashfx.deploy.loader_custom import RESIZE, Settings, is_own, narrower_settings, own_settings
from dashfx.deploy.rebuilt import OTHERS, changed, check_convs, settings_of
from dashfx.errors import ExportError
from dashfx.frontend.convs import PLAIN, read_padding, read_weight_norm
from dashfx.frontend.shared import SharedConv
from dashfx.frontend.tracing import copy_model
from dashfx.space import Padding

LINE = 120  # columns of the generated file
POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
PADS: tuple[Any, ...] = (
    *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
)
MADE: tuple[type[nn.Module], ...] = (*PLAIN, SharedConv, nn.Sequential, nn.Identity, *POOLS, *OTHERS)  # of choices
HERE = "HERE = Path(__file__).resolve().parent"


@dataclass(frozen=True)
class Call:
    """A call in the generated file."""

    function: str
    arguments: tuple[str | Call, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"

    def laid_out(self, indent: int, taken: int = 0) -> str:
        """As formatters do: on one line where it fits, else the arguments on the next line, else one a line."""
        if indent + taken + len(str(self)) <= LINE:
            return str(self)
        edge, row = " " * (indent + 4), ", ".join(map(str, self.arguments))
        if len(edge) + len(row) <= LINE:
            return f"{self.function}(\n{edge}{row}\n{' ' * indent})"
        lines = [a if isinstance(a, str) else a.laid_out(indent + 4, taken=1) for a in self.arguments]
        return f"{self.function}(\n" + "".join(f"{edge}{line},\n" for line in lines) + f"{' ' * indent})"


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write the weights as safetensors, shared tensors once; `path` has the old file or the new, never half of one."""
    write_whole(Path(path), lambda draft: save_model(model, str(draft)))


def write_loader(
    path: str | Path,
    plain: nn.Module,
    reference: nn.Module | None = None,
    model_spec: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    *,
    names: Iterable[str],
    weights: str = "model.safetensors",
    inside: bool = False,
    grown: bool = False,
    widths: bool = False,
) -> None:
    """Write a short module whose `load()` returns `plain` with its weights, in eval mode.

    The module builds the user's model, puts the convs called `names` in their places, and loads `weights`, a file
    beside it. It looks for a copy of the user's source beside itself, then for the source where it was; modules that
    the source imports may lie beside it too, in the folders of their packages.

    Args:
        reference: an untouched instance of the user's model. The generated code is tried on a copy of it.
        model_spec: "file.py:Class", "file.py:factory" or "package.module:Class"; None where the search was given an
            instance: then `load(model)` takes an untouched one.
        model_args: keyword arguments of the class or factory; Python literals.
        names: the searched convs, by module path.
        inside: `path` is in a folder of the one that has the weights and sources.
        grown: whether other modules than the convs may differ from the reference's: they are put in their places too.
        widths: other modules than those named may have become narrower than the reference's.

    Raises:
        ExportError: an AggConv is left, a name is no conv, a model argument is no literal, or the generated code gives
            other weights than `plain` has.
    """
    require_lowered(plain)
    names = list(names)
    check_convs(plain, names)
    names += [name for name in changed(reference, plain) if name not in names] if grown and reference else []
    narrower = narrower_settings(plain, reference, names) if widths and reference is not None else {}
    source = _source(plain, names, model_spec, model_args or {}, weights, narrower)
    if inside:
        source = source.replace(HERE, f"{HERE}.parent", 1)

    def write(draft: Path) -> None:
        draft.write_text(source, encoding="utf-8")
        if reference is not None:
            _try(draft, reference, plain)

    write_whole(Path(path), write)


def _source(
    plain: nn.Module,
    names: list[str],
    spec: str | None,
    args: Mapping[str, Any],
    weights: str,
    narrower: Mapping[str, Settings] | None = None,
) -> str:
    """The whole text; a block that nothing in it would use is left out."""
    modules = dict(plain.named_modules())
    own = {n: own_settings(modules[n]) for n in names if n in modules and _is_resized(modules[n])}
    own |= {name: facts for name, facts in (narrower or {}).items() if name not in own and name not in names}
    convs, aliases = _convs(plain, [name for name in names if name not in own])
    settings = [f"{HERE}\nWEIGHTS = HERE / {_literal(weights)}\n"]
    if aliases:
        settings.append("# Further names of convolutions that the model uses more than once.\n")
    settings.append(_assignment("ALIASES", aliases))
    if own:
        settings.append("# Modules of the author's, or narrower than his: settings and shapes, by path below each.\n")
        settings.append(_assignment("OWN_CONVS", own))
    if spec is None:
        imports, build, load = TAKE_IMPORTS, "", TAKE
    else:
        settings.append(_model_settings(spec, args))
        imports, build, load = BUILD_IMPORTS, BUILD_FROM_FILE if _is_file(spec) else BUILD_FROM_MODULE, LOAD
    shared = inspect.getsource(SharedConv) if "SharedConv(" in convs else ""
    if shared or "dtype=torch." in convs:
        imports = imports.replace("from safetensors", "import torch\nfrom safetensors")
    if "parametrizations." in convs:
        imports += "from torch.nn.utils import parametrizations\n"
    title = (
        f'"""{type(plain).__name__} with the convolutions that a search chose; written by dashfx, runs without it."""\n'
    )
    table = (
        f'def convs():\n    """The chosen convolutions by their place in the model."""\n    return {{\n{convs}    }}\n'
    )
    replace = REPLACE.replace("return model", "return resize(model)") if own else REPLACE
    blocks = [table, PAD if "pad(" in convs else "", shared, RESIZE if own else "", replace, build, load]
    return "\n\n".join([f"{title}\n{imports}\n{''.join(settings)}", *filter(None, blocks)])


def _is_resized(module: nn.Module) -> bool:
    """Whether it stays the author's own, with other settings and shapes."""
    return is_own(module) or not isinstance(module, (*MADE, _ConvNd))


def _convs(plain: nn.Module, names: list[str]) -> tuple[str, dict[str, str]]:
    """Source of the convs, one entry each, and {further name: name} of the shared ones."""
    modules = dict(plain.named_modules(remove_duplicate=False))
    first: dict[int, str] = {}
    entries = []
    for name in names:
        conv = modules[name]
        if first.setdefault(id(conv), name) == name:
            entries.append(_entry(name, conv))
    shared = {name: first[id(module)] for name, module in modules.items() if id(module) in first}
    return "".join(entries), {name: main for name, main in shared.items() if name != main}


def _entry(name: str, conv: nn.Module) -> str:
    """The line `"name": nn.Conv2d(3, 16, ...),`, or `"name": SharedConv("channels", nn.Conv2d(...), ...),`."""
    key = f"{_literal(name)}: "
    return f"        {key}{_made(conv).laid_out(8, taken=len(key) + 1)},\n"


def _made(module: nn.Module) -> Call:
    """What makes a module that a choice lowers to, weights aside."""
    if isinstance(module, SharedConv):
        return Call("SharedConv", (_literal(module.how), *map(_made, module.parts)))
    if isinstance(module, _ConvNd):
        return _call(module)
    kind = f"nn.{type(module).__name__}"
    if isinstance(module, nn.Sequential):
        return Call(kind, tuple(map(_made, module)))
    if isinstance(module, POOLS):
        sizes = {"stride": module.stride, "padding": module.padding}
        options = [f"{name}={_literal(_axes(size))}" for name, size in sizes.items() if any(_axes(size))]
        return Call(kind, (_literal(_axes(module.kernel_size)), *options))
    if isinstance(module, PADS):
        fill = (_literal(module.value),) if hasattr(module, "value") else ()
        return Call(kind, (_literal(tuple(module.padding)), *fill))
    if isinstance(module, OTHERS):
        placed, named = settings_of(module)
        return Call(kind, (*map(str, placed), *(f"{name}={_literal(value)}" for name, value in named.items())))
    return Call(kind, ())


def _axes(size: Any) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)


def _call(conv: _ConvNd) -> Call:
    """`nn.Conv2d(3, 16, ...)`, with what nn.Conv's arguments cannot say wrapped around it."""
    padding = read_padding(conv)
    call = _constructor(conv, padding)
    if not _native(padding):
        mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        call = Call("pad", (call, _literal(mode), str([side for pair in reversed(padding) for side in pair])))
    norm = _weight_norm(conv)
    return call if norm is None else Call(norm[0], (call, f"dim={norm[1]}"))


def _native(padding: Padding) -> bool:
    """Whether nn.Conv's own arguments can say it."""
    return all(left == right >= 0 for left, right in padding)


def _constructor(conv: _ConvNd, padding: Padding) -> Call:
    """Class and arguments; those that have nn.Conv's default are left out."""
    kind = next(plain.__name__ for plain in PLAIN if isinstance(conv, plain))
    native, ones, zeros = _native(padding), (1,) * len(padding), (0,) * len(padding)
    options: list[tuple[str, Any, Any]] = [
        ("stride", tuple(conv.stride), ones),
        ("padding", tuple(left for left, _ in padding) if native else zeros, zeros),
        ("dilation", tuple(conv.dilation), ones),
        ("groups", conv.groups, 1),
        ("bias", conv.bias is not None, True),
        ("padding_mode", conv.padding_mode if native and any(map(any, padding)) else "zeros", "zeros"),
        ("dtype", conv.weight.dtype, torch.float32),
    ]
    written = [f"{name}={_literal(value)}" for name, value, default in options if value != default]
    return Call(f"nn.{kind}", (str(conv.in_channels), str(conv.out_channels), str(tuple(conv.kernel_size)), *written))


def _weight_norm(conv: nn.Module) -> tuple[str, int] | None:
    """The function that puts the weight normalisation on, as written in the generated file, and its dim."""
    norm = read_weight_norm(conv)
    if norm is not None:
        return ("nn.utils.weight_norm" if norm.kind == "hook" else "parametrizations.weight_norm"), norm.dim
    return None


def _model_settings(spec: str, args: Mapping[str, Any]) -> str:
    where, _, attribute = spec.rpartition(":")
    for name, value in args.items():
        if not _is_literal(value):
            raise ExportError(
                f"model argument {name}={value!r}: load_model.py can hold numbers, strings, lists and dicts only; "
                "write a factory without this argument and give it as the model"
            )
    place = (
        f"MODEL_FILE = Path({_literal(str(Path(where).resolve()))})"
        if _is_file(spec)
        else f"MODEL_MODULE = {_literal(where)}"
    )
    return f"{place}\nMODEL = {_literal(attribute)}\n{_assignment('MODEL_ARGS', dict(args))}"


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False


def _literal(value: Any) -> str:
    """repr, with strings in double quotes as formatters write them."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, tuple) and len(value) > 1:
        return "(" + ", ".join(map(_literal, value)) + ")"
    return repr(value)


def _is_file(spec: str) -> bool:
    return spec.rpartition(":")[0].endswith(".py")


def _assignment(name: str, value: dict[str, Any]) -> str:
    """`NAME = {...}`, one entry a line where it is long."""
    line = f"{name} = {_literal(value)}\n"
    if len(line) <= LINE + 1:
        return line
    return (
        f"{name} = {{\n" + "".join(f"    {_literal(key)}: {_literal(item)},\n" for key, item in value.items()) + "}\n"
    )


def _try(draft: Path, reference: nn.Module, plain: nn.Module) -> None:
    """Hold what the generated code makes of a copy of `reference` against `plain`: the same keys and shapes."""
    rebuilt = runpy.run_path(str(draft))["replace_convs"](copy_model(reference))
    ours, theirs = ({k: tuple(v.shape) for k, v in m.state_dict().items()} for m in (rebuilt, plain))
    differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    if differing:
        raise ExportError(
            f"load_model.py would not rebuild the lowered model: {len(differing)} weights differ, {differing[0]!r} is "
            f"{ours.get(differing[0])} and should be {theirs.get(differing[0])}; give all searched convs as names"
        )


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder, path.name)
        write(draft)
        beside = Path(folder, "mode")
        beside.touch()
        draft.chmod(beside.stat().st_mode)  # as any other file; safetensors writes one that its owner alone can read
        os.replace(draft, path)


# The fixed parts of the generated file.

TAKE_IMPORTS = """from pathlib import Path

from safetensors.torch import load_file, load_model
from torch import nn
"""

BUILD_IMPORTS = """import importlib.util
import sys
from pathlib import Path

from safetensors.torch import load_model
from torch import nn
"""

PAD = '''def pad(conv, mode, sides):
    """Padding that differs between the sides or crops (negative), which nn.Conv hands to F.pad, last axis first."""
    conv.padding_mode, conv._reversed_padding_repeated_twice = mode, sides
    return conv
'''

REPLACE = '''def replace_convs(model):
    """`model` with the chosen convolutions in place of its own."""
    chosen = convs()
    chosen.update({alias: chosen[name] for alias, name in ALIASES.items()})
    for name, conv in chosen.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, conv)
    return model
'''

BUILD_FROM_FILE = '''def build():
    """The model as its author wrote it, from the copies of its files beside this one, else from where they were."""
    places = [HERE / MODEL_FILE.name, MODEL_FILE]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise SystemExit(f"the model's source is neither at {places[0]} nor at {places[1]}; put it beside this file")
    sys.path[:0] = [str(place.parent) for place in places]  # for the author's own imports, the copies first
    spec = importlib.util.spec_from_file_location("model_source", file)
    module = sys.modules["model_source"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, MODEL)(**MODEL_ARGS)
'''

BUILD_FROM_MODULE = '''def build():
    """The model as its author wrote it, from the copy of its package beside this file where there is one."""
    sys.path.insert(0, str(HERE))
    try:
        module = importlib.import_module(MODEL_MODULE)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}; put the folder of {MODEL_MODULE} on PYTHONPATH") from None
    return getattr(module, MODEL)(**MODEL_ARGS)
'''

LOAD = '''def load():
    """The model with the chosen convolutions and the trained weights, in eval mode."""
    model = replace_convs(build())
    load_model(model, WEIGHTS)
    return model.eval()


if __name__ == "__main__":
    print(f"{sum(p.numel() for p in load().parameters()):,} parameters")
'''

TAKE = '''def load(model):
    """`model`, an untouched instance of the searched class, with the chosen convolutions and the trained weights."""
    model = replace_convs(model)
    load_model(model, WEIGHTS)
    return model.eval()


if __name__ == "__main__":
    print(f"{sum(t.numel() for t in load_file(WEIGHTS).values()):,} numbers in {WEIGHTS.name}; call load(your_model)")
'''
