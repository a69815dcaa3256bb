"""Lightning's trainer for a supernet: a LightningModule with two optimisers, and `progress` at every step.

Needs `pip install pytorch-lightning`; tried with 2.5.5.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # my_model.py lies beside this file

import pytorch_lightning as lightning
import torch
from my_model import Net

import dashfx


class Search(lightning.LightningModule):
    def __init__(self, supernet):
        super().__init__()
        self.supernet = supernet
        self.automatic_optimization = False  # two optimisers take one backward pass

    def configure_optimizers(self):
        weights = torch.optim.AdamW(self.supernet.weight_parameters(), lr=3e-3)
        mixtures = torch.optim.Adam(self.supernet.arch_parameters(), lr=0.02)
        return [weights, mixtures]

    def training_step(self, batch, index):
        x, y = batch
        self.supernet.progress(self.trainer.fit_loop.epoch_progress.current.processed / self.trainer.max_epochs)
        loss = torch.nn.functional.cross_entropy(self.supernet(x), y) + 0.1 * self.supernet.cost()
        optimisers = self.optimizers()
        for optimiser in optimisers:
            optimiser.zero_grad()
        self.manual_backward(loss)
        for optimiser in optimisers:
            optimiser.step()
        return loss

    def on_train_end(self):
        self.supernet.progress(1)


def main(epochs=5, path="model.onnx"):
    torch.manual_seed(0)
    data = dashfx.load_data("digits")
    example, _ = next(iter(data.loader("train", 2)))
    space = dashfx.SearchSpace.product(kernels=[3, 5], dilations=[1, 2])
    supernet = dashfx.rewrite(Net(), example, space, init="fresh")
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(Search(supernet), data.loader("train", 64))
    genotype = supernet.genotype()
    print(genotype.to_json())
    print(dashfx.export(dashfx.lower(supernet, genotype).eval(), example, path))
    return supernet


if __name__ == "__main__":
    main()
