"""The proxies that GenNAS is compared with, under the same interface."""

from dashfx.proxy.peers.activations import JacobCov, Naswot
from dashfx.proxy.peers.counts import Flops, Params
from dashfx.proxy.peers.epsinas import Epsinas
from dashfx.proxy.peers.flatness import Flatness
from dashfx.proxy.peers.gradients import Fisher, GradNorm, Grasp, Snip, SynFlow
from dashfx.proxy.peers.gradsign import GradSign

__all__ = [
    "Epsinas",
    "Fisher",
    "Flatness",
    "Flops",
    "GradNorm",
    "GradSign",
    "Grasp",
    "JacobCov",
    "Naswot",
    "Params",
    "Snip",
    "SynFlow",
]
