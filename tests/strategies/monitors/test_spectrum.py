"""Lanczos: known spectra, and the Hessian of a search that it is applied to."""

from __future__ import annotations

import torch
from engines import DATA, engine

from dashfx.strategies.monitors.base import Context
from dashfx.strategies.monitors.spectrum import Spectrum, lanczos, spectrum_of


def symmetric(values: torch.Tensor) -> torch.Tensor:
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(3)).double())[
        0
    ]
    return basis @ torch.diag(values) @ basis.T


def test_the_largest_of_a_bulk_and_outliers() -> None:
    values = torch.cat([torch.tensor([40.0, 25.0, 11.0]), torch.linspace(-1, 1, 197)]).double()
    matrix = symmetric(values)
    found = lanczos(lambda v: matrix @ v, 200, 20)
    torch.testing.assert_close(found[:3], values[:3], rtol=1e-6, atol=0)
    assert abs(float(found.median())) < 1.1


def test_all_of_a_small_one_and_of_one_with_few_values() -> None:
    values = torch.tensor([5.0, 3.0, -2.0, -4.0]).double()
    matrix = symmetric(values)
    torch.testing.assert_close(lanczos(lambda v: matrix @ v, 4, 20), values)
    twice = symmetric(torch.tensor([2.0, 2.0, 1.0, 1.0, 1.0]).double())
    torch.testing.assert_close(lanczos(lambda v: twice @ v, 5, 20), torch.tensor([2.0, 1.0]).double())


def test_it_is_the_hessian_of_the_weights() -> None:
    made = engine(monitors=["spectrum:steps=8"], warmup=0)
    made.training_data(DATA)
    batch, learning = made.held_batch(), made.learning
    found = spectrum_of(made, 25)
    with made.second_order(), made.evaluating():
        one = [torch.randn_like(w) for w in learning]
        size = torch.stack([(v * v).sum() for v in one]).sum()
        product = made.mixed_product(batch, one, learning)
        quotient = torch.stack([(a * b).sum() for a, b in zip(one, product, strict=True)]).sum() / size
    assert float(found[-1]) <= float(quotient) <= float(found[0])  # Rayleigh's


def test_it_is_kept_and_changes_nothing() -> None:
    made = engine(monitors=["spectrum"], warmup=0)
    made.training_data(DATA)
    monitor = Spectrum(top=2, steps=4, every=2)
    contexts = [Context(made.sites, epoch, True, 0.0, made) for epoch in (0, 1)]
    assert [list(monitor.on_epoch(each)) for each in contexts] == [[], []]
    assert list(monitor.values) == ["0"] and len(monitor.values["0"]) == 3
    again = Spectrum(top=2, steps=4, every=2)
    again.load_state_dict(monitor.state_dict())
    assert again.values == monitor.values
