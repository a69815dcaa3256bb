"""Layers that learn their input channels from the first batch."""

from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes=4):
        super().__init__()
        self.features = nn.Sequential(
            nn.LazyConv2d(8, 3, padding=1), nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConv2d(8, 5)
        )
        self.head = nn.LazyLinear(num_classes)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))
