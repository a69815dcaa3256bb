"""A name from the command line goes in; the proxy of that name comes out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dashfx.plugins import find
from dashfx.proxy.base import Proxy
from dashfx.proxy.gennas.score import GenNAS
from dashfx.proxy.peers import (
    Epsinas,
    Fisher,
    Flatness,
    Flops,
    GradNorm,
    GradSign,
    Grasp,
    JacobCov,
    Naswot,
    Params,
    Snip,
    SynFlow,
)

PEERS = (Params, Flops, SynFlow, Snip, Grasp, Fisher, GradNorm, GradSign, JacobCov, Naswot, Epsinas, Flatness)

PROXIES: dict[str, Callable[..., Proxy]] = {
    "gennas": partial(GenNAS, "combo"),
    "combo": partial(GenNAS, "combo"),
    "single": partial(GenNAS, "single"),
    **{kind.name: kind for kind in PEERS},
}


def load_proxy(name: str | Proxy, seed: int = 0) -> Proxy:
    """A proxy by its name or from the user's `file.py:Class`; `gennas:FILE.json` is GenNAS with a task found by search.

    Raises:
        ConfigError: no proxy of that name.
        ProxyError: no such task.
    """
    kind, _, task = name.partition(":") if isinstance(name, str) else ("", "", "")
    if kind == "gennas" and task and "=" not in task:
        return GenNAS(task, seed)
    found: Proxy = find("proxy", name, seed=seed)
    return found
