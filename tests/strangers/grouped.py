"""Depthwise-separable convs, as in MobileNet, and one conv in two groups."""

from torch import nn


def separable(inp, out, stride):
    return nn.Sequential(
        nn.Conv2d(inp, inp, 3, stride, 1, groups=inp, bias=False),
        nn.BatchNorm2d(inp),
        nn.ReLU6(inplace=True),
        nn.Conv2d(inp, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(inplace=True),
    )


class Net(nn.Module):
    def __init__(self, num_classes=7):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(inplace=True),
            separable(8, 16, 1),
            separable(16, 16, 2),
            nn.Conv2d(16, 32, (3, 5), padding=(1, 2), groups=2),
        )
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, num_classes)
        )

    def forward(self, x):
        return self.classifier(self.features(x))
