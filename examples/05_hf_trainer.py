"""Hugging Face's Trainer for a supernet: a model that returns its loss, parameter groups, a callback for `progress`.

Needs `pip install transformers`; tried with 5.24.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # my_model.py lies beside this file

import torch
from my_model import Net
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

import dashfx


class WithLoss(nn.Module):
    """What the Trainer calls: named arguments in, the loss and the answers out."""

    def __init__(self, supernet):
        super().__init__()
        self.supernet = supernet

    def forward(self, x, labels):
        answer = self.supernet(x)
        loss = nn.functional.cross_entropy(answer, labels) + 0.1 * self.supernet.cost()
        return {"loss": loss, "logits": answer}


class Progress(TrainerCallback):
    def __init__(self, supernet):
        self.supernet = supernet

    def on_step_begin(self, args, state, control, **more):
        self.supernet.progress(state.global_step / state.max_steps)

    def on_train_end(self, args, state, control, **more):
        self.supernet.progress(1)


def main(epochs=5, path="model.onnx", folder="runs/example-05"):
    torch.manual_seed(0)
    data = dashfx.load_data("digits")
    example, _ = next(iter(data.loader("train", 2)))
    rows = [{"x": x, "labels": y} for batch in data.loader("train", 256) for x, y in zip(*batch, strict=True)]
    space = dashfx.SearchSpace.product(kernels=[3, 5], dilations=[1, 2])
    supernet = dashfx.rewrite(Net(), example, space, init="fresh")
    # one optimiser, and a rate of its own for the mixtures
    groups = [
        {"params": supernet.weight_parameters(), "lr": 3e-3},
        {"params": supernet.arch_parameters(), "lr": 0.02, "weight_decay": 0.0},
    ]
    options = TrainingArguments(
        folder,
        num_train_epochs=epochs,
        per_device_train_batch_size=64,
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        WithLoss(supernet),
        options,
        train_dataset=rows,
        callbacks=[Progress(supernet)],
        optimizers=(torch.optim.AdamW(groups), None),
    )
    trainer.train()
    genotype = supernet.genotype()
    print(genotype.to_json())
    print(dashfx.export(dashfx.lower(supernet, genotype).eval(), example, path))
    return supernet


if __name__ == "__main__":
    main()
