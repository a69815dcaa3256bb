"""A model whose training takes as long as a file says, in whatever process it is trained."""

from __future__ import annotations

import os
import time
from pathlib import Path

from torch import Tensor
from toys import ToyNet

PAUSE = "DASHFX_TEST_PAUSE"  # the file with the seconds of a step


class Net(ToyNet):
    def forward(self, x: Tensor) -> Tensor:
        if self.training and PAUSE in os.environ:
            time.sleep(float(Path(os.environ[PAUSE]).read_text() or 0))
        return super().forward(x)
