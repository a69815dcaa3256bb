"""Lowered models go in; `load_ensemble.py`, a loader and weights of each come out, which rebuild their average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dashfx.deploy.loader import save_weights, write_loader, write_whole
from dashfx.deploy.programs import averaged


@dataclass(frozen=True)
class Part:
    """A lowered model of the average with what `write_loader` needs of it."""

    plain: nn.Module
    reference: nn.Module
    spec: str | None
    args: Mapping[str, Any]
    names: Sequence[str]
    grown: bool = False
    widths: bool = False


def write_ensemble(path: Path, folder: Path, parts: Iterable[Part], average: str) -> None:
    """Write a short module whose `load()` returns the average of `parts` in eval mode, and in `folder` what it needs.

    Args:
        path: of the module; the user's sources are looked for beside it.
        folder: beside it; gets the weights and the loader of each part, and the source of the averaging module.

    Raises:
        ExportError: as `write_loader`.
    """
    folder.mkdir(exist_ok=True)
    names, given = [], False
    for number, part in enumerate(parts, start=1):
        names.append(f"member_{number}")
        weights, loader = (folder / f"{names[-1]}.{end}" for end in ("safetensors", "py"))
        save_weights(part.plain, weights)
        inside = f"{folder.name}/{weights.name}"
        given_by = part.plain, part.reference, part.spec, part.args
        grown, widths = part.grown, part.widths
        write_loader(loader, *given_by, names=part.names, weights=inside, inside=True, grown=grown, widths=widths)
        given = given or part.spec is None
    source = Path(averaged.__file__).read_text(encoding="utf-8")
    write_whole(folder / "averaged.py", lambda draft: draft.write_text(source, encoding="utf-8"))
    quoted = ", ".join(f'"{name}"' for name in names)
    facts = f'FOLDER = HERE / "{folder.name}"\nMEMBERS = [{quoted}]\nAVERAGE = "{average}"\n'
    text = HEAD.format(imports="import copy\n" if given else "") + facts + (TAKE if given else LOAD)
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


# The fixed parts of the generated file.

HEAD = '''"""The average of the models in the folder below; written by dashfx, runs without it."""

{imports}import importlib.util
from pathlib import Path

HERE = Path(__file__).resolve().parent
'''

PART = '''

def part(name):
    """A file of that folder as a module."""
    spec = importlib.util.spec_from_file_location(f"ensemble_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

'''

LOAD = f'''{PART}
def load():
    """The average with the trained weights, in eval mode."""
    members = [part(name).load() for name in MEMBERS]
    return part("averaged").Averaged(members, AVERAGE).eval()


if __name__ == "__main__":
    print(f"{{sum(p.numel() for p in load().parameters()):,}} parameters")
'''

TAKE = f'''{PART}
def load(model):
    """The average with the trained weights, in eval mode; `model` is an untouched instance of the searched class."""
    members = [part(name).load(copy.deepcopy(model)) for name in MEMBERS]
    return part("averaged").Averaged(members, AVERAGE).eval()
'''
