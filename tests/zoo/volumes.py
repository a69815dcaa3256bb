"""Models of monai, in one, two and three dimensions, at small widths."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from zoo.entry import BATCH, Entry, Inputs, call, noise, of_inputs, of_shapes

SIDES = {1: (64, 128), 2: (64, 96, 128, 256), 3: (16, 32, 64, 96)}
PYRAMID = {"channels": (8, 16, 32), "strides": (2, 2)}
DIFFUSION = {
    "num_res_blocks": 1,
    "channels": (8, 8, 16),
    "attention_levels": (False, False, True),
    "norm_num_groups": 8,
    "num_head_channels": 8,
}
SIX = (8, 8, 16, 16, 32, 8)

# Class -> its settings. `dims` says for which numbers of axes; what is missing is given by `_axes_of`.
PLAIN: dict[str, dict[str, Any]] = {
    "AHNet": {"dims": (2, 3), "psp_block_num": 2},
    "AttentionUnet": {"out_channels": 2, **PYRAMID},
    "AutoEncoder": {"out_channels": 1, **PYRAMID, "strides": (2, 2, 1), "num_res_units": 1, "inter_channels": [32]},
    "BasicUNet": {"features": SIX},
    "BasicUNetPlusPlus": {"features": SIX},
    "DenseNet": {"out_channels": 2, "init_features": 16, "growth_rate": 8, "block_config": (2, 2, 2)},
    "DenseNet121": {"out_channels": 2},
    "DenseNet169": {"out_channels": 2},
    "DenseNet201": {"out_channels": 2},
    "DenseNet264": {"out_channels": 2},
    "DynUNet": {
        "out_channels": 2,
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [8, 16, 32],
    },
    "HighResNet": {},
    "HoVerNet": {"dims": (2,), "in_channels": 3, "out_classes": 5},
    "MedNeXtS": {"dims": (2, 3), "out_channels": 2},
    "MedNeXtB": {"dims": (2, 3), "out_channels": 2},
    "MedNeXtM": {"dims": (2, 3), "out_channels": 2},
    "MedNeXtL": {"dims": (2, 3), "out_channels": 2},
    "PatchDiscriminator": {"channels": 8},
    "MultiScalePatchDiscriminator": {"channels": 8, "num_d": 2, "num_layers_d": 2, "dims": (2, 3)},
    "SENet154": {"num_classes": 2, "dims": (2, 3)},
    "SEResNet50": {"num_classes": 2},
    "SEResNet101": {"num_classes": 2},
    "SEResNet152": {"num_classes": 2},
    "SEResNext50": {"num_classes": 2},
    "SEResNext101": {"num_classes": 2},
    "SegResNet": {"dims": (2, 3)},
    "SegResNetDS": {"init_filters": 8},
    "SegResNetDS2": {"init_filters": 8, "dims": (3,)},
    "SwinUNETR": {"out_channels": 2, "feature_size": 12, "dims": (2, 3)},
    "UNet": {"out_channels": 2, **PYRAMID, "num_res_units": 2},
    "VNet": {"dims": (2, 3)},
    "VQVAE": {"out_channels": 1, "channels": (8, 16), "num_res_channels": 8, "num_res_layers": 1,
              "downsample_parameters": ((2, 4, 1, 1), (2, 4, 1, 1)),
              "upsample_parameters": ((2, 4, 1, 1, 0), (2, 4, 1, 1, 0)), "num_embeddings": 16, "embedding_dim": 8,
              "dims": (2, 3)},
    "AutoencoderKL": {"channels": (8, 8, 16), "attention_levels": (False, False, True), "num_res_blocks": 1,
                      "norm_num_groups": 8, "dims": (2, 3)},
    "VoxelMorphUNet": {"in_channels": 2, "unet_out_channels": 8, "channels": (8, 8, 16, 16, 16, 16),
                       "final_conv_channels": (8,), "dims": (2, 3)},
    "RegUNet": {"num_channel_initial": 8, "depth": 2, "out_channels": 2, "dims": (2, 3)},
    "Quicknat": {"dims": (2,), "num_channels": 1, "num_filters": 8, "num_classes": 2},
    "DAF3D": {"dims": (3,), "out_channels": 1},
}  # fmt: skip
RESNETS = ("resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200")
EFFICIENTNETS = tuple(f"efficientnet-b{i}" for i in range(8))


def monai_models() -> Iterator[Entry]:
    home: Any = importlib.import_module("monai.networks.nets")
    for name, settings in PLAIN.items():
        for dims in settings.get("dims", (1, 2, 3)):
            kwargs = {key: value for key, value in settings.items() if key != "dims"}
            sides = of_shapes(*((settings.get("in_channels", 1), *(side,) * dims) for side in SIDES[dims]))
            yield _entry(name, dims, call(_with_axes, getattr(home, name), dims, kwargs), sides)
    yield from _classifiers(home)
    yield from _of_size(home)
    yield from _of_several_inputs(home)


def _entry(
    name: str, dims: int, build: Callable[[], nn.Module], inputs: Callable[[nn.Module], Iterator[Inputs]]
) -> Entry:
    family = name.rstrip("0123456789").partition(" ")[0]
    return Entry("monai", f"{name} {dims}-D", f"{family} {dims}-D", build, inputs)


def _with_axes(kind: Callable[..., Any], dims: int, settings: dict[str, Any]) -> nn.Module:
    """Adds number of axes and input channels where the class has such arguments."""
    module = importlib.import_module(kind.__module__)
    # The class that a variant passes its keywords on to.
    base = next((getattr(module, name) for name in ("DenseNet", "SENet", "MedNeXt") if hasattr(module, name)), kind)
    known = _arguments(kind) | _arguments(base)
    extra: dict[str, Any] = {key: value for key, value in (("spatial_dims", dims), ("in_channels", 1)) if key in known}
    return kind(**(extra | settings))


def _arguments(kind: Callable[..., Any]) -> set[str]:
    import inspect

    return set(inspect.signature(kind).parameters)


def _classifiers(home: Any) -> Iterator[Entry]:
    for dims, name in ((dims, name) for dims in (1, 2, 3) for name in RESNETS):
        build = call(getattr(home, name), spatial_dims=dims, n_input_channels=1, num_classes=2)
        yield _entry(name, dims, build, of_shapes(*((1, *(side,) * dims) for side in SIDES[dims])))
    for dims, name in ((dims, name) for dims in (1, 2, 3) for name in EFFICIENTNETS):
        settings = {"pretrained": False, "spatial_dims": dims, "in_channels": 1, "num_classes": 2}
        build = call(home.EfficientNetBN, name, **settings)
        yield _entry(name, dims, build, of_shapes(*((1, *(side,) * dims) for side in SIDES[dims])))
    for dims, name in ((dims, name) for dims in (2, 3) for name in ("efficientnet-b0", "resnet18")):
        build = call(home.FlexibleUNet, 1, 2, name, spatial_dims=dims)
        yield _entry(f"FlexibleUNet {name}", dims, build, of_shapes(*((1, *(side,) * dims) for side in SIDES[dims])))


def _of_size(home: Any) -> Iterator[Entry]:
    """Models that are built for one input size."""
    for dims in (1, 2, 3):
        size = (32,) * dims
        takes = of_shapes((1, *size))
        scores = {"in_shape": (1, *size), **PYRAMID}
        yield _entry("Classifier", dims, call(home.Classifier, classes=2, **scores), takes)
        yield _entry("Critic", dims, call(home.Critic, **scores), takes)
        yield _entry("Discriminator", dims, call(home.Discriminator, **scores), takes)
        yield _entry("Regressor", dims, call(home.Regressor, out_shape=(3,), **scores), takes)
        generator = call(home.Generator, (8,), (8, *(4,) * dims), channels=(8, 4, 1), strides=(2, 2, 1))
        yield _entry("Generator", dims, generator, of_shapes((8,)))
        auto = call(home.VarAutoEncoder, dims, (1, *size), 1, 4, channels=(8, 16), strides=(2, 2))
        yield _entry("VarAutoEncoder", dims, auto, takes)
    for dims in (2, 3):
        size = (32,) * dims
        takes = of_shapes((1, *size))
        unet = {"hidden_size": 24, "mlp_dim": 32, "num_heads": 3, "spatial_dims": dims}
        yield _entry("UNETR", dims, call(home.UNETR, 1, 2, size, feature_size=8, **unet), takes)
        yield _entry("ViT", dims, call(home.ViT, 1, size, 8, num_layers=2, classification=True, **unet), takes)
        yield _entry("ViTAutoEnc", dims, call(home.ViTAutoEnc, 1, size, 4, num_layers=2, **unet), takes)
        yield _entry("SegResNetVAE", dims, call(home.SegResNetVAE, size, spatial_dims=dims), takes)
        whole = {"num_channel_initial": 4, "depth": 2}
        yield _entry("GlobalNet", dims, call(home.GlobalNet, size, dims, 1, **whole), takes)
        local = {"num_channel_initial": 4, "extract_levels": (0, 1, 2)}
        yield _entry("LocalNet", dims, call(home.LocalNet, dims, 1, **local), takes)
        yield _entry("DiNTS", dims, call(_dints, home, dims), of_shapes((1, *(64,) * dims)))


def _dints(home: Any, dims: int) -> nn.Module:
    space = home.TopologyInstance(channel_mul=0.125, num_blocks=4, num_depths=3, spatial_dims=dims)
    return home.DiNTS(space, in_channels=1, num_classes=2, spatial_dims=dims, use_downsample=True)


def _of_several_inputs(home: Any) -> Iterator[Entry]:
    for dims in (2, 3):
        size = (32,) * dims if dims == 2 else (16,) * dims
        step = torch.full((BATCH,), 5)
        timed = of_inputs(lambda size=size, step=step: (noise(1, *size), step))
        build = call(home.DiffusionModelUNet, dims, 1, 1, **DIFFUSION)
        yield _entry("DiffusionModelUNet", dims, build, timed)
        steered = of_inputs(lambda size=size, step=step: (noise(1, *size), step, noise(1, *size).flip(-1)))
        control = {"conditioning_embedding_num_channels": (8,), "conditioning_embedding_in_channels": 1}
        yield _entry("ControlNet", dims, call(home.ControlNet, dims, 1, **DIFFUSION, **control), steered)
        pair = of_inputs(lambda size=size: (noise(1, *size), noise(1, *size).flip(-1)))
        kl = {"num_res_blocks": 1, "channels": (8, 8), "attention_levels": (False, False), "norm_num_groups": 8}
        build = call(home.SPADEAutoencoderKL, dims, 1, spade_intermediate_channels=8, **kl)
        yield _entry("SPADEAutoencoderKL", dims, build, pair)
        labelled = of_inputs(lambda size=size, step=step: (noise(1, *size), step, noise(1, *size).flip(-1)))
        build = call(home.SPADEDiffusionModelUNet, dims, 1, 1, 1, spade_intermediate_channels=8, **DIFFUSION)
        yield _entry("SPADEDiffusionModelUNet", dims, build, labelled)
        build = call(_voxel_morph, home, dims)
        yield _entry("VoxelMorph", dims, build, pair)
    bags = of_shapes((3, 3, 64, 64))
    for mode in ("mean", "max", "att", "att_trans"):
        yield _entry(f"MILModel {mode}", 2, call(home.MILModel, 2, mil_mode=mode, pretrained=False), bags)


def _voxel_morph(home: Any, dims: int) -> nn.Module:
    channels: Sequence[int] = (8, 8, 8, 8)
    net = home.VoxelMorphUNet(dims, 2, 8, channels=channels, final_conv_channels=(8,))
    return home.VoxelMorph(net, integration_steps=2, spatial_dims=dims)
