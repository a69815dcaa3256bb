"""The whole pipeline from Python: search, retrain, compare with the untouched model, export. Takes about a minute."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # my_model.py lies beside this file

from my_model import Net

import dashfx


def main(epochs: int = 15, out: str | None = None) -> None:
    space = dashfx.SearchSpace.product(kernels=[3, 5, 7], dilations=[1, 2], keep_original=True)
    config = {"search": {"epochs": epochs}, "retrain": {"epochs": epochs}}
    result = dashfx.search(Net, "digits", space=space, config=config, out=out)
    for site, choice in result.genotype.items():
        print(f"{site:12} {result.sites[site].original} -> {choice}")
    print(f"{result.verdict}; test accuracy {result.test:.3f}")


if __name__ == "__main__":
    main(out="runs/example-01")
