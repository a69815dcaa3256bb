"""A training loop of one's own, in plain PyTorch: the kernels of a trained model are searched, starting from it.

What a supernet needs beside an ordinary loop: an optimiser for the mixtures, `progress` at every step, and some
training of the lowered model, as lowering leaves one kernel of each mixture.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # my_model.py lies beside this file

import torch
from my_model import Net

import dashfx

SPACE = dashfx.SearchSpace.product(kernels=[3, 5], dilations=[1, 2])


def train(model, data, epochs, lr):
    """The model's own recipe."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr)
    model.train()
    for epoch in range(epochs):
        for x, y in data.loader("train", 64, seed=epoch):
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def search(supernet, data, epochs, lr):
    """The same recipe for the weights, and Adam for the mixtures."""
    weights = torch.optim.AdamW(supernet.weight_parameters(), lr=lr)
    mixtures = torch.optim.Adam(supernet.arch_parameters(), lr=0.02)
    steps, step = epochs * len(data.loader("train", 64)), 0
    supernet.train()
    for epoch in range(epochs):
        for x, y in data.loader("train", 64, seed=epoch):
            supernet.progress(step / steps)
            loss = torch.nn.functional.cross_entropy(supernet(x), y) + 0.1 * supernet.cost()
            for optimiser in (weights, mixtures):
                optimiser.zero_grad()
            loss.backward()
            for optimiser in (weights, mixtures):
                optimiser.step()
            step += 1
    supernet.progress(1)


@torch.no_grad()
def accuracy(model, data):
    model.eval()
    answers = [(model(x).argmax(1) == y).float() for x, y in data.loader("valid", 256)]
    return float(torch.cat(answers).mean())


def main(epochs=6, path="model.onnx"):
    torch.manual_seed(0)
    data = dashfx.load_data("digits")
    example, _ = next(iter(data.loader("train", 2)))
    found = {}

    model = Net()
    train(model, data, epochs, lr=3e-3)
    found["trained"] = accuracy(model, data)

    supernet = dashfx.rewrite(model, example, SPACE, init="grow")  # answers as the model does
    search(supernet, data, epochs, lr=1e-3)
    found["supernet"] = accuracy(supernet, data)

    genotype = supernet.genotype()
    plain = dashfx.lower(supernet, genotype)
    train(plain, data, max(1, epochs // 2), lr=1e-3)
    found["lowered"] = accuracy(plain, data)

    print(genotype.to_json())
    print(", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    print(dashfx.export(plain.eval(), example, path))
    return found


if __name__ == "__main__":
    main()
