"""The files of a model in several files: all that it imports of its own project, and nothing else."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from dashfx.frontend.model import load_model
from dashfx.frontend.sources import sources_of

NET = """
import json
import torch
from torch import nn
from sources_blocks import Block
import sources_parts.heads.linear as linear

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.head = Block(), linear.Head()

    def forward(self, x):
        from sources_late import scaled
        return self.head(scaled(self.block(x)))
"""
FILES = {
    "net.py": NET,
    "sources_blocks.py": "from torch import nn\nfrom sources_parts import WIDTH\nclass Block(nn.Identity):\n    pass\n",
    "sources_parts/__init__.py": "from .sizes import WIDTH\n",
    "sources_parts/sizes.py": "WIDTH = 3\n",
    "sources_parts/heads/__init__.py": "",
    "sources_parts/heads/linear.py": "from .. import sizes\nfrom . import base\n\nclass Head(base.Base):\n    pass\n",
    "sources_parts/heads/base.py": "from torch import nn\n\nclass Base(nn.Identity):\n    pass\n",
    "sources_late.py": "def scaled(x):\n    return 2 * x\n",
    "unrelated.py": "1 / 0\n",
    "sources_parts/unrelated.py": "1 / 0\n",
    "torch_like/readme.txt": "",
}
WANTED = {file for file in FILES if file.endswith(".py") and "unrelated" not in file}


def forget() -> None:
    """The modules that tests have imported are imported anew."""
    for name in [name for name in sys.modules if name.startswith(("sources_", "shop"))]:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project in a folder; what tests import of it is forgotten afterwards."""
    root = tmp_path / "project"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield root
    forget()


def test_a_file_and_what_it_imports(project: Path, tmp_path: Path) -> None:
    source = load_model(f"{project / 'net.py'}:Net")
    found = sources_of(source)
    assert found is not None and found.root == project and found.files[0] == Path("net.py")
    assert set(map(str, found.files)) == {str(Path(name)) for name in WANTED} and len(found.files) == len(WANTED)

    for file in found.files:  # and they are enough
        (tmp_path / "copy" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found.root / file, tmp_path / "copy" / file)
    shutil.rmtree(project)
    forget()
    model = load_model(f"{tmp_path / 'copy' / 'net.py'}:Net").build()
    assert float(model(torch.ones(1))) == 2


def test_a_package(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = project / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text("from torch import nn\n\nclass Layer(nn.Identity):\n    pass\n")
    (package / "nets.py").write_text("from .layers import Layer\nimport sources_late\n\nclass Net(Layer):\n    pass\n")
    monkeypatch.chdir(project)
    found = sources_of(load_model("shop.nets:Net"))
    assert found is not None and found.root == project
    assert [str(file) for file in found.files] == [
        str(Path("shop", "nets.py")),
        str(Path("shop", "__init__.py")),
        str(Path("shop", "layers.py")),
        "sources_late.py",
    ]


def test_what_is_installed_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("1 / 0\n")  # hidden by the standard library's
    (tmp_path / "net.py").write_text("import json\nfrom torch import nn\n\nclass Net(nn.Identity):\n    pass\n")
    found = sources_of(load_model(f"{tmp_path / 'net.py'}:Net"))
    assert found is not None and found.files == (Path("net.py"),)
    assert sources_of(load_model("torch.nn:Identity")) is None


def test_objects_have_no_sources() -> None:
    assert sources_of(load_model(nn.Identity())) is None and sources_of(load_model(nn.Identity)) is None
