"""Does a trained checkpoint get better? Its test metric at every stage, beside the same training without new kernels.

    python -m benchmarks.pretrained --model examples/resnet20.py:ResNet20 --out runs/pretrained/resnet20 --seeds 0 1 2 \
        --data cifar10_train20k.npz+cifar10_test10k.npz --set checkpoint=resnet20-12fca82f.th --set normalise=imagenet

Runs the variants of `benchmarks/controls.py` and measures each finished run again from its folder, on the whole test
part: the checkpoint; the supernet before its first step, all candidates mixed; the supernet after the search; lowered,
without further training; fine-tuned; the same through ONNX Runtime. Nothing is chosen by these numbers, and what has
been measured stands in the folder's `states.json`, so an interrupted call can simply be repeated.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import torch

from benchmarks.controls import arguments, run
from benchmarks.table import with_spread
from dashfx.ops import drop_residuals
from dashfx.run.folder import RunFolder, existing_folder
from dashfx.run.prepare import prepare
from dashfx.run.run import Run
from dashfx.stages.compare import metric_of
from dashfx.stages.export import onnx_metric
from dashfx.stages.reopen import lowered_of
from dashfx.stages.rewrite import probe_gains, rewritten
from dashfx.strategies.start.probe import left_alone

STATES = ("checkpoint", "grown", "searched", "lowered", "fine-tuned", "ONNX")


def main() -> None:
    options = arguments(__doc__, ["grown", "fine-tuned", "fine-tuned-longer"]).parse_args()
    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        for variant in options.variants:
            run(options, variant, seed)
            measure(options.out / f"{variant}-{seed}")
    print(f"| variant | n | {' | '.join(STATES)} | parameters | new kernels |")
    print("| --- " * (len(STATES) + 4) + "|")
    for variant in options.variants:
        print(row(variant, [measure(options.out / f"{variant}-{seed}") for seed in options.seeds]))


def measure(folder: Path) -> dict[str, float]:
    """The test metric of a finished run's states, its parameters, and how many convs have a new kernel."""
    path = folder / "states.json"
    if path.exists():
        known: dict[str, float] = json.loads(path.read_text())
        return known
    paths, config = existing_folder(folder)
    assert config.model is not None
    again = prepare(config.model, config.data, config=config)
    found = {"checkpoint": metric_of(again, again.inputs.given_model(), "test")}
    if config.search.judges_mixtures:
        found |= of_search(again, paths)
    result = json.loads(paths.result.read_text())
    found["fine-tuned"] = result["test"]
    found["ONNX"] = onnx_metric(paths.onnx, again.inputs.data, again.inputs.task, "test")
    found["parameters"] = result["parameters"]
    path.write_text(json.dumps(found, indent=2) + "\n")
    return found


def of_search(again: Run, paths: RunFolder) -> dict[str, float]:
    """The test metric before the first step, after the search with what is mixed then, and lowered; the new kernels."""
    program, supernet = rewritten(again, left_alone(probe_gains(paths), again.config.space.share))
    found = {"grown": metric_of(again, supernet, "test")}
    state = torch.load(paths.checkpoints / "search-last.pt", "cpu", weights_only=True)
    supernet.load_state_dict(state["learner"]["model"])
    drop_residuals(supernet)
    found["searched"] = metric_of(again, supernet, "test")
    lowered, genotype = lowered_of(paths.root)
    found["lowered"] = metric_of(again, lowered, "test")
    found["new kernels"] = sum(choice != program.sites[name].original for name, choice in genotype.items())
    return found


def row(variant: str, found: list[dict[str, float]]) -> str:
    def spread(state: str) -> str:
        values = [each[state] for each in found if state in each]
        return with_spread(values) if values else ""

    counts = [
        f"{statistics.median(each.get(name, 0) for each in found):,.0f}" for name in ("parameters", "new kernels")
    ]
    return f"| {' | '.join([variant, str(len(found)), *map(spread, STATES), *counts])} |"


if __name__ == "__main__":
    sys.exit(main())
