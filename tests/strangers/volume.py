"""A network over volumes, with factorised (2+1)-D convs."""

from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.stem = nn.Conv3d(1, 6, 3, padding=1)
        self.spatial = nn.Conv3d(6, 8, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.temporal = nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0))
        self.bn = nn.BatchNorm3d(8)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(self.bn(self.temporal(self.spatial(x))))
        return self.fc(self.pool(x).view(x.size(0), -1))
