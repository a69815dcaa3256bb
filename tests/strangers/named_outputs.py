"""A model with two heads that returns a dictionary, and one that returns a tuple with its features."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.logits = nn.Linear(8, 5)
        self.box = nn.Linear(8, 4)

    def forward(self, x):
        h = self.backbone(x).mean((2, 3))
        return {"logits": self.logits(h), "boxes": [torch.sigmoid(self.box(h))]}


class WithFeatures(Net):
    def forward(self, x):
        features = self.backbone(x)
        return self.logits(features.mean((2, 3))), features
