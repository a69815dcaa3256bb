"""Folders of runs that no --out names: the model and the data go in, a name that is free comes out."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dashfx.errors import ConfigError

LONGEST_NAME = 60  # characters of a folder that is named here


def free_folder(stem: str) -> Path:
    """The first of `stem`-1, `stem`-2 and so on that does not exist.

    Raises:
        ConfigError: under accelerate launch or torchrun, where each process would pick its own.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError("several processes share one run's folder: name it with --out")
    number = 1
    while Path(f"{stem}-{number}").exists():
        number += 1
    return Path(f"{stem}-{number}")


def run_name(model: str, data: str) -> str:
    """A folder's name from a model and data.

    >>> run_name("nets/my_model.py:Net", "data/Crop.npz"), run_name("pkg.nets:make", "planted:3")
    ('Net-Crop', 'make-planted-3')
    >>> run_name("net.py:Net", "darcy:421/5"), run_name("net.py:Net", "wds:sets/flowers-{000..009}.tar")
    ('Net-darcy-421-5', 'Net-flowers')
    """
    known, colon, parameter = data.partition(":")
    if known in ("hf", "wds"):  # named by the folder or the shards
        data = re.sub(r"\W*\{.*", "", parameter.partition("+")[0].rstrip("/"))
        known, colon, parameter = data, "", ""
    place, _, name = data.partition("+")[0].rpartition(":")
    if colon and known.isidentifier():  # a named set, with a folder or other parameter
        word = known if Path(parameter).is_dir() else data
    else:
        word = name if place.endswith(".py") else Path(data.partition("+")[0]).stem
    return re.sub(r"[^\w.-]+", "-", f"{model.rpartition(':')[2]}-{word}")[:LONGEST_NAME]
