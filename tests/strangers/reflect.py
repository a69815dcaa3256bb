"""An image-to-image network with reflection padding, once in the conv and once as a layer, and circular columns."""

import torch.nn as nn


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.net = nn.Sequential(
            nn.ReflectionPad2d(2),
            nn.Conv2d(1, width, 5),
            nn.InstanceNorm2d(width, affine=True),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect"),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, padding=1, padding_mode="circular"),
        )

    def forward(self, x):
        return x + self.net(x)
