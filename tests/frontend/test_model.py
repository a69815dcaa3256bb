"""Where a model comes from: a file, a package, a class, a factory or an instance, built the same way each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dashfx.errors import ModelError
from dashfx.frontend.model import build, load_model

SOURCE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, width, depth=1, *, bias=True):
        super().__init__()
        self.conv = nn.Conv1d(1, width, 3, bias=bias)


def make(width=2, **options):
    return Net(width, **options)


def nothing():
    return "a string"


ready = Net(4)
number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(SOURCE)
    return str(tmp_path / "net.py")


def small() -> nn.Module:
    return nn.Sequential(nn.Conv1d(1, 2, 3))


def test_a_class_and_a_factory_in_a_file(file: str) -> None:
    source = load_model(f"{file}:Net", {"width": 5})
    assert source.build().conv.out_channels == 5
    assert source.file == Path(file) and source.args == {"width": 5}
    assert load_model(f"{file}:make", {"bias": False}).build().conv.bias is None
    assert load_model(f"{file}:make").build().conv.out_channels == 2


def test_a_relative_path_becomes_absolute(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(file).parent)
    assert load_model("net.py:make").spec == f"{Path(file).resolve()}:make"


def test_a_package() -> None:
    source = load_model("torch.nn:Identity")
    assert isinstance(source.build(), nn.Identity) and source.file is None and source.spec == "torch.nn:Identity"


@pytest.mark.parametrize("given", [small, small()])
def test_objects_from_python(given: nn.Module | Callable[[], nn.Module]) -> None:
    source = load_model(given)
    assert source.spec is None and isinstance(source.build(), nn.Sequential)


def test_an_instance_is_kept_as_it_was_given(file: str) -> None:
    model = small()
    source, weight = load_model(model), model[0].weight.detach().clone()
    nn.init.zeros_(model[0].weight)
    built = source.build()
    nn.init.zeros_(built[0].weight)
    assert torch.equal(source.build()[0].weight, weight)
    assert load_model(f"{file}:ready").build().conv.out_channels == 4


def test_the_seed_draws_the_weights_and_leaves_the_random_state() -> None:
    source = load_model(small)
    before = torch.get_rng_state()
    first, second, other = build(source, 0), build(source, 0), build(source, 1)
    assert torch.equal(first[0].weight, second[0].weight) and not torch.equal(first[0].weight, other[0].weight)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("Net", {}, r"needs 'width': give --model-args width=\.\.\."),
        ("Net", {"wdth": 3}, "takes no argument 'wdth' .did you mean 'width'"),
        ("Nett", {}, r"has no 'Nett' \(did you mean 'Net'"),
        ("nothing", {}, "gives a str, not an nn.Module"),
        ("number", {}, "is a int; name a class"),
    ],
)
def test_mistakes_are_one_line(name: str, args: dict[str, Any], words: str, file: str) -> None:
    with pytest.raises(ModelError, match=words) as raised:
        load_model(f"{file}:{name}", args).build()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("net.py", "write file.py:Class"),
        ("nowhere.py:Net", "no such file"),
        ("nowhere.models:Net", "no module named"),
        (3, "got int"),
    ],
)
def test_specs_that_lead_nowhere(spec: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_model(spec)


def test_arguments_for_an_instance() -> None:
    with pytest.raises(ModelError, match="need a class or a factory"):
        load_model(small(), {"width": 3})


def test_the_users_own_errors_pass_through(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import torch\n1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load_model(f"{tmp_path / 'broken.py'}:Net")
