"""Layers that say where their input comes from, and a skip connection that a hook takes."""

from torch import nn


class Conv(nn.Conv2d):
    gain = 0.5

    def scaled(self, x):
        return self.gain * x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        kept = self.kept = {}
        self.layers = nn.ModuleList([nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), Conv(6, 6, 3, padding=1)])
        for i, layer in enumerate(self.layers):
            layer.i, layer.f = i, (-1, -1, 0)[i]
        self.layers[1].register_forward_hook(lambda module, args, out: kept.update(skip=out))

    def forward(self, x):
        outputs = []
        for layer in self.layers:
            x = layer(x if layer.f == -1 else outputs[layer.f])
            outputs.append(x)
        return self.layers[2].scaled(x) + self.kept["skip"]
