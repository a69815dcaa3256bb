"""A WaveNet for sequences: causal convs, padded on the left in one half and chomped in the other."""

import torch
import torch.nn.functional as F
from torch import nn


class Padded(nn.Module):
    def __init__(self, channels, kernel_size, dilation):
        super().__init__()
        self.left = (kernel_size - 1) * dilation
        self.filter = nn.Conv1d(channels, channels, kernel_size, dilation=dilation)
        self.gate = nn.Conv1d(channels, channels, kernel_size, dilation=dilation)

    def forward(self, x):
        padded = F.pad(x, (self.left, 0))
        return x + torch.tanh(self.filter(padded)) * torch.sigmoid(self.gate(padded))


class Chomped(nn.Module):
    def __init__(self, channels, kernel_size, dilation):
        super().__init__()
        self.p = (kernel_size - 1) * dilation
        self.conv = nn.Conv1d(channels, channels, kernel_size, padding=self.p, dilation=dilation)

    def forward(self, x):
        return x + torch.relu(self.conv(x)[:, :, : -self.p])


class Net(nn.Module):
    def __init__(self, channels=8, out=4):
        super().__init__()
        self.inp = nn.Conv1d(2, channels, 1)
        self.layers = nn.Sequential(
            Padded(channels, 2, 1), Padded(channels, 2, 2), Chomped(channels, 3, 1), Chomped(channels, 3, 2)
        )
        self.out = nn.Conv1d(channels, out, 1)

    def forward(self, x):
        return self.out(self.layers(self.inp(x)))
