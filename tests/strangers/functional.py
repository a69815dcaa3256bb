"""A small image classifier whose first filter bank is a plain parameter."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.filters = nn.Parameter(torch.randn(8, 3, 3, 3) * 0.1)
        self.conv1 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, kernel_size=5, padding="same")
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.filters, padding=1))
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.conv2(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
