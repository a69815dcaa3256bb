"""Convs whose weights or settings the surrounding code reads."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.free = nn.Conv1d(2, 6, 3, padding=1)
        self.read = nn.Conv1d(6, 6, 3, padding=1)
        self.listed = nn.Conv1d(6, 6, 3, padding=1)
        self.keyword = nn.Conv1d(6, 6, 3, padding=1)
        self.chomped = nn.Conv1d(6, 6, 3, padding=2)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        x = self.listed(self.read(torch.relu(self.free(x)))) * self.read.weight.abs().mean()
        x = x + torch.stack([self.listed.weight]).mean()
        x = F.conv1d(x, weight=self.keyword.weight, padding=1)
        x = self.chomped(x)[..., : -self.chomped.padding[0]]
        return self.fc(torch.relu(x).mean(-1))
