"""Where a model comes from: a file, a package, a class, a factory or an instance, built the same way each time."""

from __future__ import annotations

import sys
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


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True)\np.parse_args()",
            r"parses arguments when it is imported \(the following arguments are required: --data\): put what runs",
        ),
        ("import sys\nsys.exit(3)", "ends the program with 3 when it is imported: put what runs the program under"),
        ("raise SystemExit", "ends the program when it is imported: put"),
        ("def broken(:\n    pass", r"broken\.py, line 1: invalid syntax"),
        ("x = 1\n  y = 2", r"broken\.py, line 2: unexpected indent"),
        ("import no_such_package_of_mine", r"broken\.py needs 'no_such_package_of_mine'.*install it"),
        ("from torch import no_such_name", r"broken\.py cannot be imported: cannot import name 'no_such_name'"),
        ("from .blocks import Block", r"broken\.py cannot be imported: attempted relative import"),
        (b"\xff\xfe\x00", r"broken\.py.*it is no Python that can be read"),
        ("name = 'caf\u00e9'\n".encode("latin-1"), r"broken\.py.*utf-8"),
        ("def t(a, b):\n    return a\nclass Net:\n    pass\nimport os", r"has no 'Model'; it has t, Net$"),
        ("import os", r"has no 'Model'; it defines nothing$"),
    ],
)
def test_files_that_cannot_be_imported(
    source: str | bytes, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.py"
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    with pytest.raises(ModelError, match=words) as raised:
        load_model(f"{path}:Model")
    assert "\n" not in str(raised.value) and capfd.readouterr() == ("", "")


def test_an_error_in_what_the_file_imports_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "blocks_with_an_error.py").write_text("class Block(:\n")
    (tmp_path / "net.py").write_text("import blocks_with_an_error\n")
    with pytest.raises(ModelError, match=r"blocks_with_an_error\.py, line 1: "):
        load_model(f"{tmp_path / 'net.py'}:Net")


def test_a_files_own_arguments_take_their_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--width', type=int, default=7)\n"
    (tmp_path / "net.py").write_text(
        source + "WIDTH = p.parse_args().width\n" + SOURCE.replace("width=2", "width=WIDTH")
    )
    arguments = ["dashfx", "check", "net.py:make", "--input", "1x8"]
    monkeypatch.setattr("sys.argv", arguments)
    assert load_model(f"{tmp_path / 'net.py'}:make").build().conv.out_channels == 7
    assert sys.argv is arguments


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "net.py").mkdir()
    with pytest.raises(ModelError, match=r"net\.py is a folder; give a file in it, as file\.py:name"):
        load_model(f"{tmp_path / 'net.py'}:Net")


def test_a_class_that_raises_is_told_with_its_place(file: str) -> None:
    with pytest.raises(ModelError, match=r":Net raises at net\.py:8 when it is built: TypeError: .*'wide'") as raised:
        load_model(f"{file}:Net", {"width": "wide"}).build()
    assert "\n" not in str(raised.value) and isinstance(raised.value.__cause__, TypeError)

    def silent() -> nn.Module:
        raise ValueError

    with pytest.raises(ModelError, match=r"silent raises at test_model\.py:\d+ when it is built: ValueError$"):
        load_model(silent).build()

    def ends() -> nn.Module:
        raise SystemExit(1)

    with pytest.raises(ModelError, match="ends the program at"):
        load_model(ends).build()
