"""A network over measuring sites: its attributes carry names that a tool might like to use itself."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, sites=("north", "south")):
        super().__init__()
        self.sites = list(sites)
        self.site = "Berlin"
        self.example = 3
        self.convs = nn.ModuleDict({name: nn.Conv1d(1, 4, 5, padding=2) for name in sites})
        self.mix = nn.Conv1d(4 * len(sites), 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)

    def genotype(self):
        return "human"

    def forward(self, x):
        each = [torch.relu(self.convs[name](x[:, i : i + 1])) for i, name in enumerate(self.sites)]
        return self.fc(torch.relu(self.mix(torch.cat(each, 1))).mean(-1))
