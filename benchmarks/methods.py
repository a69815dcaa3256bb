r"""Methods of search on tables of trained networks: how good a network each finds, against random draws.

    python -m benchmarks.methods blackbox --tables benchmarks/kd/*.json --nas DIR --evaluations 10 20 40 --repeats 60
    python -m benchmarks.methods gradient --table TABLE.json --data mnist5k-seq --seconds 60 --seeds 0 1 2 \
        --out runs/methods/whole.jsonl
    python -m benchmarks.methods report runs/methods/whole.jsonl --table TABLE.json

`blackbox`: every optimiser (or those of `--optimisers`) proposes so many networks, whose values a table tells; a row
says how far the best one stays behind the table's best one (median and quartiles over the repeats), and how often
random draws of as many do as well. On a (kernel, dilation) table it sees validation metrics and is judged on the test
part; of NAS-Bench-201 and NAS-Bench-Macro (`DIR/nasbench201_test_accuracy.json` and
`DIR/nasbench_macro_cifar10.json`) only test accuracies are known, so there it sees those. With `--seconds`, in place of
counts, as many networks as can be trained in that time by what the table says each took.

`gradient`: every method that trains mixtures (or those of `--methods`) searches the table's space on the table's data,
with as many epochs as fit into `--seconds`; the genotype is looked up in a table that holds all of them, and trained by
the table's recipe for another. The black-box methods at equal time stand beside them in the report, and so do random
draws. Lines that the file holds already are not computed again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.nas import blackbox, gradient, report
from dashfx.blackbox.named import OPTIMISERS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    _blackbox(kinds.add_parser("blackbox"))
    _gradient(kinds.add_parser("gradient"))
    shown = kinds.add_parser("report")
    shown.add_argument("lines", type=Path)
    shown.add_argument("--table", type=Path, required=True)
    shown.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = {"blackbox": blackbox.printed, "gradient": gradient.carried_out, "report": report.printed}
    return run[options.kind](options)


def _blackbox(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tables", nargs="*", type=Path, default=[])
    parser.add_argument("--nas", type=Path, help="the folder of NAS-Bench-201's and NAS-Bench-Macro's accuracies")
    parser.add_argument("--optimisers", nargs="+", default=[blackbox.SIZED.get(name, name) for name in OPTIMISERS])
    parser.add_argument("--evaluations", nargs="+", type=int, default=[10, 20, 40])
    parser.add_argument("--seconds", type=float, help="of training by the table, in place of --evaluations")
    parser.add_argument("--repeats", type=int, default=60)


def _gradient(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--methods", nargs="+", default=gradient.METHODS)
    parser.add_argument("--seconds", type=float, required=True, help="of each search")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)


if __name__ == "__main__":
    sys.exit(main())
