"""A U-Net that pads what it upsampled only where the sizes differ."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class DoubleConv(nn.Module):
    def __init__(self, in_ch, out_ch):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_ch, out_ch, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_ch),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_ch, out_ch, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_ch),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class Net(nn.Module):
    def __init__(self, n_channels=1, n_classes=2, width=6):
        super().__init__()
        self.inc = DoubleConv(n_channels, width)
        self.down = nn.MaxPool2d(2)
        self.bottom = DoubleConv(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.dec = DoubleConv(2 * width, width)
        self.outc = nn.Conv2d(width, n_classes, 1)

    def forward(self, x):
        skip = self.inc(x)
        up = self.up(self.bottom(self.down(skip)))
        if up.shape[-2:] != skip.shape[-2:]:
            dy, dx = skip.size(2) - up.size(2), skip.size(3) - up.size(3)
            up = F.pad(up, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.outc(self.dec(torch.cat([skip, up], dim=1)))
