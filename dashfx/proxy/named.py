"""A name from the command line goes in; the proxy of that name comes out."""

from __future__ import annotations

from collections.abc import Callable

from dashfx.errors import ProxyError, did_you_mean
from dashfx.proxy.base import Proxy
from dashfx.proxy.gennas import GenNAS
from dashfx.proxy.peers import Fisher, Flops, GradNorm, Grasp, JacobCov, Naswot, Params, Snip, SynFlow

PROXIES: dict[str, Callable[[int], Proxy]] = {
    "gennas": lambda seed: GenNAS("combo", seed),
    "combo": lambda seed: GenNAS("combo", seed),
    "single": lambda seed: GenNAS("single", seed),
    **{kind.name: kind for kind in (Params, Flops, SynFlow, Snip, Grasp, Fisher, GradNorm, JacobCov, Naswot)},
}


def load_proxy(name: str, seed: int = 0) -> Proxy:
    """A proxy by its name; `gennas:FILE.json` is GenNAS with a task that was found by search.

    Raises:
        ProxyError: no proxy of that name, or no such task.
    """
    kind, _, task = name.partition(":")
    if kind == "gennas" and task:
        return GenNAS(task, seed)
    if name not in PROXIES:
        raise ProxyError(f"no proxy {name!r}{did_you_mean(name, PROXIES)}; there are {', '.join(PROXIES)}")
    return PROXIES[name](seed)
