"""GradSign: how far the rows of a batch agree, weight by weight, on the direction that lowers their losses.

After Zhang and Jia, "GradSign: Model Performance Inference with Theoretical Insights", ICLR 2022.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dashfx.frontend.recording import forward
from dashfx.proxy.base import Proxy
from dashfx.proxy.layers import cross_entropy, random_labels, weights, with_plain_weights
from dashfx.train.batchnorm import recalibrate


class GradSign(Proxy):
    """sum_k |sum_i sign(dL_i / dtheta_k)| for the loss L_i of each row, over the weights of convs and linear layers.

    Batch norm has the statistics of the batch, fixed: in the mode of training a row would be alone with itself.
    """

    name = "gradsign"
    paper: ClassVar[str] = "Zhang and Jia, GradSign: Model Performance Inference with Theoretical Insights, ICLR 2022"
    row: ClassVar[str] = "115"

    def measure(self, module: nn.Module, inputs: Tensor, labels: Tensor | None) -> float:
        module = with_plain_weights(module)
        recalibrate(module, [inputs])
        module.eval()
        if labels is None:
            labels = random_labels(forward(module, inputs), self.seed)
        used = weights(module)
        signs = [torch.zeros_like(weight) for weight in used]
        for row in range(len(inputs)):
            loss = cross_entropy(forward(module, inputs[row : row + 1]), labels[row : row + 1], self.seed)
            for sign, g in zip(signs, torch.autograd.grad(loss, used, allow_unused=True), strict=True):
                if g is not None:
                    sign += g.sign()
        return float(sum(sign.abs().double().sum() for sign in signs))
