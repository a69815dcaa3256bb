"""Models for images, from pytorchcv, torchvision, timm and segmentation-models-pytorch."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from zoo.entry import BATCH, Entry, Inputs, call, noise, of_inputs, of_shapes

SIZES = (64, 96, 128, 224)
LARGEST = 512  # of an image's sides


def image(model: nn.Module) -> Iterator[Inputs]:
    """Square images of ascending size, up to the size that the model was made for."""
    cfg: Any = getattr(model, "default_cfg", None) or {}
    channels, *own = cfg.get("input_size") or (getattr(model, "in_channels", 3), *getattr(model, "in_size", (224, 224)))
    channels = channels if isinstance(channels, int) else 3
    for size in [(side, side) for side in SIZES if side < min(own)] + [tuple(own)]:
        if max(size) <= LARGEST:
            yield (noise(channels, *size),)


def torchvision_models() -> Iterator[Entry]:
    from torchvision.models import get_model_builder, list_models

    video = of_shapes((3, 8, 32, 32), (3, 8, 64, 64), (3, 16, 112, 112), (3, 16, 224, 224))
    pair = of_inputs(lambda: (noise(3, 128, 128), noise(3, 128, 128).flip(-1)))
    # Its second loss wants images of 299 pixels.
    special = {"inception_v3": {"aux_logits": False, "init_weights": True}}
    special["quantized_inception_v3"] = special["inception_v3"]
    for name in list_models():
        builder = get_model_builder(name)
        area = builder.__module__.split(".")[2]
        inputs = video if area == "video" else pair if area == "optical_flow" else image
        family = ".".join(builder.__module__.split(".")[2:])
        settings = {"weights_backbone": None} if area in ("segmentation", "detection") else special.get(name, {})
        yield Entry("torchvision", name, family, call(builder, weights=None, **settings), inputs)


def timm_models() -> Iterator[Entry]:
    import timm
    from timm.models._registry import _model_to_module

    for name in timm.list_models():
        yield Entry("timm", name, _model_to_module[name], call(timm.create_model, name, pretrained=False), image)


def pytorchcv_models() -> Iterator[Entry]:
    from pytorchcv.model_provider import _models

    lengths = torch.full((BATCH,), 64)
    people = torch.full((BATCH,), 3)
    special = {
        "jasper": of_inputs(lambda: (noise(64, 64), lengths)),
        "jasperdr": of_inputs(lambda: (noise(64, 64), lengths)),
        "quartznet": of_inputs(lambda: (noise(64, 64), lengths)),
        "voca": of_inputs(lambda: (noise(1, 16, 29), people)),
        "nvpattexp": of_inputs(lambda: (noise(8, 16, 29), people)),
        "visemenet": of_inputs(lambda: (noise(8, 65), people[:, None].expand(-1, 76).contiguous())),
        "raft": of_inputs(lambda: (noise(3, 128, 128), noise(3, 128, 128).flip(-1))),
        "superpointnet": of_shapes((1, 64, 64)),
        "pfpcnet": of_shapes((1, 320, 240)),
        "propainter": of_inputs(lambda: (noise(4, 2, 64, 64), noise(4, 1, 64, 64))),
        "propainter_rfc": of_inputs(lambda: (noise(4, 2, 64, 64), noise(4, 1, 64, 64))),
    }
    # Built for one size of image, which is large; for sound, which an operator that torch has dropped turns into mels.
    small: dict[str, Any] = {"in_size": (96, 96)}
    settings = {family: small for family in ("pspnet", "deeplabv3", "fcn8sd", "icnet", "fastscnn", "bisenet")}
    settings["quartznet"] = {"from_audio": False}
    for name, builder in _models.items():
        family = builder.__module__.rpartition(".")[2]
        build = call(builder, pretrained=False, **settings.get(family, {}))
        yield Entry("pytorchcv", name, family, build, special.get(family, image))


def smp_models() -> Iterator[Entry]:
    """Every decoder with one small encoder, and every encoder with one decoder."""
    smp: Any = importlib.import_module("segmentation_models_pytorch")
    pairs = [(decoder, "resnet18") for decoder in smp.MODEL_ARCHITECTURES_MAPPING]
    pairs += [("unet", encoder) for encoder in smp.encoders.get_encoder_names() if encoder != "resnet18"]
    for decoder, encoder in pairs:
        name = encoder if decoder != "dpt" else "tu-vit_tiny_patch16_224"  # DPT takes transformers only
        build = call(smp.create_model, decoder, encoder_name=name, encoder_weights=None, classes=2)
        sizes = of_shapes(*((3, size, size) for size in SIZES))
        yield Entry("segmentation-models-pytorch", f"{decoder} on {name}", _family(decoder, encoder), build, sizes)


def _family(decoder: str, encoder: str) -> str:
    """The decoder; for the models that differ by their encoder the encoder's kind, which is its name up to a number."""
    if encoder == "resnet18":
        return decoder
    return f"{decoder} on {encoder.removeprefix('timm-').rstrip('0123456789_xdbnl-').partition('-')[0]}"
