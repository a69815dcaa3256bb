"""Networks to search: plain `torch.nn` modules that know nothing of dashfx and import torch only."""

from dashfx.backbones.convnext import ConvNeXt
from dashfx.backbones.fno import FNO
from dashfx.backbones.resnet import CifarResNet, ResNet18
from dashfx.backbones.tcn import TCN
from dashfx.backbones.unet import UNet
from dashfx.backbones.wrn import WRN
from dashfx.backbones.wrn1d import WRN1d

__all__ = ["FNO", "TCN", "WRN", "CifarResNet", "ConvNeXt", "ResNet18", "UNet", "WRN1d"]
