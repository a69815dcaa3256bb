"""Complex numbers become pairs of real ones: the same answers in PyTorch, and files where there were none before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dashfx.backbones import FNO
from dashfx.deploy.complex import RealModel, is_complex_inside
from dashfx.deploy.export import REAL, export
from dashfx.deploy.runtime import load_proto
from dashfx.errors import ExportError


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def overwritten(x: Tensor) -> Tensor:
    z = torch.fft.rfft(x)
    out = torch.zeros_like(z)
    out[..., 1:3] = z[..., :2] * (1 - 2j)
    return torch.view_as_real(out)


def joined(x: Tensor) -> Tensor:
    z = torch.fft.fft(x)
    return torch.cat([z[..., ::2].abs(), torch.stack([z, 1 + z], 1).sum(1).imag], -1)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "there and back, even": lambda x: torch.fft.irfft(torch.fft.rfft(x) ** 2, n=x.shape[-1]),
    "there and back, odd": lambda x: torch.fft.irfft(torch.fft.rfft(x[..., 1:]), n=x.shape[-1] - 1),
    "another length": lambda x: torch.fft.irfft(torch.fft.rfft(x, n=14), n=9),
    "two axes": lambda x: torch.fft.irfftn(torch.fft.rfftn(x, dim=(-2, -1)) * 1j, dim=(-2, -1)),
    "orthonormal": lambda x: torch.fft.ifft(torch.fft.fft(x, norm="ortho") / (2 + 1j), norm="forward").real,
    "division": lambda x: (torch.fft.fft(x) / (torch.fft.fft(x) + 40)).abs(),
    "reciprocal": lambda x: (3 / (torch.fft.rfft(x) - 40j)).imag,
    "exponential": lambda x: (x * 1j - x).exp().real,
    "angle, also of the mean": lambda x: torch.fft.rfft(x).angle(),
    "product of matrices": lambda x: torch.einsum("bij,bkj->bik", torch.fft.fft(x), torch.fft.fft(x).conj()).abs(),
    "from pairs": lambda x: torch.view_as_complex(x.unflatten(-1, (-1, 2))).abs(),
    "short time": lambda x: torch.stft(x.flatten(0, 1), 8, 4, window=torch.hann_window(8), return_complex=True).abs(),
    "overwritten": overwritten,
    "joined": joined,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_real_program_gives_the_same(name: str) -> None:
    model, x = Applied(FUNCTIONS[name]), torch.randn(2, 3, 12)
    assert is_complex_inside(model, (x,))
    real, y = RealModel(model, (x,), None), torch.randn(2, 3, 12)
    assert not is_complex_inside(real, (y,))
    torch.testing.assert_close(real(y), model(y), rtol=1e-4, atol=1e-5)


def test_a_real_model_is_told_from_one_that_is_complex_inside() -> None:
    assert not is_complex_inside(nn.Conv1d(1, 1, 3), (torch.randn(1, 1, 8),))


def test_an_operator_without_a_rule_is_named() -> None:
    x = torch.randn(2, 8)
    real = RealModel(Applied(lambda x: torch.fft.fft(x).log().real), (x,), None)
    with pytest.raises(ExportError, match=r"aten.log.default of complex numbers has no form"):
        real(x)


class Filtered(nn.Module):
    """A filter whose response is computed in the forward pass, from buffers and the input's length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, 3, padding=1)
        self.register_buffer("taps", torch.tensor([0.5, 0.3, 0.2]))

    def forward(self, x: Tensor) -> Tensor:
        omega = 2 * torch.pi * torch.arange(x.shape[-1] // 2 + 1) / x.shape[-1]
        response = sum(tap * torch.exp(-1j * omega) ** i for i, tap in enumerate(self.taps))
        spectrum = torch.fft.rfft(x)
        return self.conv(torch.fft.irfft(spectrum * response.to(spectrum.dtype), n=x.shape[-1]))


def test_what_depends_on_constants_only_is_computed_before(tmp_path: Path) -> None:
    report = export(Filtered(), torch.randn(2, 1, 12), tmp_path / "model.onnx", dynamic_size=False)
    assert REAL in report.notes and report.dynamic_axes == {"x": ("batch",)}
    assert not {"DFT", "Exp", "Pow"} & {node.op_type for node in load_proto(report.path).graph.node}


@pytest.mark.slow
def test_a_fourier_neural_operator_is_exported(tmp_path: Path) -> None:
    model = FNO(3, 2, width=4, modes=3, depth=1)
    report = export(model, torch.randn(2, 2, 8, 6), tmp_path / "model.onnx", dynamic_size=False)
    assert report.exporter == "dynamo" and REAL in report.notes
    assert "in real numbers" not in str(report.notes[0]), "the exporter as it is goes first"
    assert [case.shapes[0][0] for case in report.verification.cases if not case.what] == [1, 2, 3, 5, 8]
