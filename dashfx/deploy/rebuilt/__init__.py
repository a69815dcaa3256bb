"""Layers beside the convs that a loader has to make anew: which differ from the author's, and by which arguments."""

from dashfx.deploy.rebuilt.layers import OTHERS, changed, check_convs, settings_of

__all__ = ["OTHERS", "changed", "check_convs", "settings_of"]
