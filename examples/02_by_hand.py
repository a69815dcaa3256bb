"""The same steps one by one, with a training loop of one's own: trace, rewrite, train, choose, lower, export."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # my_model.py lies beside this file

import torch
from my_model import Net

import dashfx


def main(epochs: int = 5, path: str = "model.onnx") -> None:
    torch.manual_seed(0)
    data = dashfx.load_data("digits")
    example, _ = next(iter(data.loader("train", 2)))

    print(dashfx.trace(Net(), example).summary())
    space = dashfx.SearchSpace.product(kernels=[3, 5, 7], dilations=[1, 2])
    supernet = dashfx.rewrite(Net(), example, space, init="fresh")

    optimiser = torch.optim.AdamW(supernet.parameters(), lr=3e-3)
    for site in supernet.sites.values():
        site.generator = torch.Generator().manual_seed(0)  # a generator turns the Gumbel noise on
    for epoch in range(epochs):
        for x, y in data.loader("train", 64, seed=epoch):
            loss = torch.nn.functional.cross_entropy(supernet(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")

    genotype = supernet.genotype("contribution")
    plain = dashfx.lower(supernet, genotype)
    print(genotype.to_json())
    print(dashfx.export(plain, example, path))


if __name__ == "__main__":
    main()
