"""Convs that are classes of the author's: weight standardisation, and "same" padding worked out at each call."""

import torch.nn.functional as F
from torch import nn


class StdConv2d(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


class NamedConv2d(nn.Conv2d):
    """Only the constructor differs."""

    def __init__(self, i, o, k):
        super().__init__(i, o, k, padding=k // 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = StdConv2d(3, 8, 3, padding=1)
        self.b = NamedConv2d(8, 8, 3)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(F.relu(self.b(F.relu(self.a(x)))).mean((2, 3)))
