"""The proxies that GenNAS is compared with, under the same interface."""

from dashfx.proxy.peers.activations import JacobCov, Naswot
from dashfx.proxy.peers.counts import Flops, Params
from dashfx.proxy.peers.gradients import Fisher, GradNorm, Grasp, Snip, SynFlow

__all__ = [
    "Fisher",
    "Flops",
    "GradNorm",
    "Grasp",
    "JacobCov",
    "Naswot",
    "Params",
    "Snip",
    "SynFlow",
]
