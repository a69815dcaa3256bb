"""Blocks computed anew in the backward pass, in channels-last memory, with in-place operations."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleDict({name: nn.Conv2d(width, width, 3, padding=1) for name in ("first", "second")})
        self.fc = nn.Linear(width, 3)

    def forward(self, x):
        x = self.stem(x.contiguous(memory_format=torch.channels_last)).relu_()
        for block in self.blocks.values():
            y = checkpoint(block, x, use_reentrant=False)
            y += x
            x = y.clamp_(min=0)
        return self.fc(x.mean((2, 3)))
