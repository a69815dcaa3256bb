"""A sound encoder with weight normalisation, the older and the newer kind."""

import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm


class Net(nn.Module):
    def __init__(self, classes=6):
        super().__init__()
        self.conv_pre = weight_norm(nn.Conv1d(1, 8, 7, 1, padding=3))
        self.down = weight_norm(nn.Conv1d(8, 16, 8, 4, padding=2))
        self.res = parametrizations.weight_norm(nn.Conv1d(16, 16, 3, dilation=3, padding=3))
        self.gate = nn.utils.spectral_norm(nn.Conv1d(16, 16, 3, padding=1))
        self.post = nn.Linear(16, classes)

    def forward(self, x):
        x = torch.tanh(self.down(torch.tanh(self.conv_pre(x))))
        x = x + torch.tanh(self.res(x)) * torch.sigmoid(self.gate(x))
        return self.post(x.mean(-1))
