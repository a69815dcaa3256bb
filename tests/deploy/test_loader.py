"""`load_model.py` gives the lowered model back, exactly, in a Python that has no dashfx."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dashfx.deploy.loader import save_weights, write_loader
from dashfx.errors import ExportError
from dashfx.frontend.convs import write_padding

SOURCE = """
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Sizes:
    width: int


class Net(nn.Module):
    def __init__(self, width=4, kernels=(3,)):
        super().__init__()
        width = Sizes(width).width
        self.hook = nn.utils.weight_norm(nn.Conv1d(2, width, 3, padding=1))
        self.both = nn.utils.parametrizations.weight_norm(nn.Conv1d(width, width, 3, padding=1))
        self.norm = nn.BatchNorm1d(width)
        self.blocks = nn.Sequential(nn.Conv1d(width, width, kernels[0], padding=1, padding_mode="circular"), nn.ReLU())
        self.shared = nn.Conv1d(width, width, 3, padding=1, groups=2, bias=False)
        self.again = self.shared

    def forward(self, x):
        x = self.norm(self.both(torch.relu(self.hook(x))))
        return self.again(torch.relu(self.shared(self.blocks(x))))


def make(**options):
    return Net(**options)
"""

RUN = """
import sys
sys.modules["dashfx"] = None
sys.path.insert(0, {folder!r})
import torch
import load_model
model = load_model.load()
assert not model.training
torch.save(model(torch.load({x!r})), {y!r})
"""

NAMES = ["hook", "both", "blocks.0", "shared"]
ARGS = {"width": 4, "kernels": [3]}


@pytest.fixture
def author(tmp_path: Path) -> Path:
    """The user's file, in a folder of its own."""
    folder = tmp_path / "author"
    folder.mkdir()
    (folder / "net.py").write_text(SOURCE)
    return folder / "net.py"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def fresh() -> nn.Module:
    namespace: dict[str, type[nn.Module]] = {"__name__": __name__}  # type: ignore[dict-item]
    exec(SOURCE, namespace)
    torch.manual_seed(0)
    return namespace["Net"](**ARGS)


def lowered() -> nn.Module:
    """The user's model with convs in place of its own, as lowering leaves it."""
    model = fresh()
    causal, cropped = nn.Conv1d(2, 4, 7, dilation=3), nn.Conv1d(4, 4, 2)
    write_padding(causal, ((18, 0),), "zeros")
    write_padding(cropped, ((2, -1),), "zeros")
    model.hook = nn.utils.weight_norm(causal)
    model.both = nn.utils.parametrizations.weight_norm(cropped)
    lopsided = nn.Conv1d(4, 4, 4)
    write_padding(lopsided, ((1, 2),), "circular")
    model.blocks[0] = lopsided  # type: ignore[index,operator]
    model.shared = model.again = nn.Conv1d(4, 4, 5, padding=4, dilation=2, groups=2, bias=False)
    model.norm.running_mean.normal_()  # type: ignore[union-attr,operator]
    return model.eval()


def answer(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def rebuilt_answer(run: Path, x: Tensor) -> Tensor:
    torch.save(x, run / "x.pt")
    code = RUN.format(folder=str(run), x=str(run / "x.pt"), y=str(run / "y.pt"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=run)
    assert done.returncode == 0, done.stderr
    return torch.load(run / "y.pt")


def test_the_same_answers_without_dashfx(author: Path, run: Path) -> None:
    model, x = lowered(), torch.randn(2, 2, 30)
    save_weights(model, run / "model.safetensors")
    write_loader(run / "load_model.py", model, fresh(), f"{author}:Net", ARGS, names=NAMES)
    assert torch.equal(rebuilt_answer(run, x), answer(model, x))


def test_a_factory_in_a_module(author: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = lowered(), torch.randn(2, 2, 30)
    save_weights(model, run / "model.safetensors")
    write_loader(run / "load_model.py", model, fresh(), "net:make", ARGS, names=NAMES)
    monkeypatch.setenv("PYTHONPATH", str(author.parent))
    assert torch.equal(rebuilt_answer(run, x), answer(model, x))


def test_a_module_that_is_not_found(run: Path) -> None:
    write_loader(run / "load_model.py", lowered(), fresh(), "no_such_package.net:make", ARGS, names=NAMES)
    with pytest.raises(SystemExit, match="No module named 'no_such_package'; put the folder of"):
        runpy.run_path(str(run / "load_model.py"))["load"]()


def test_an_instance_that_the_user_gives(run: Path) -> None:
    model, x = lowered(), torch.randn(2, 2, 30)
    save_weights(model, run / "model.safetensors")
    write_loader(run / "load_model.py", model, fresh(), names=NAMES)
    rebuilt = runpy.run_path(str(run / "load_model.py"))["load"](fresh())
    assert not rebuilt.training and torch.equal(answer(rebuilt, x), answer(model, x))


def test_the_copy_beside_it_serves_when_the_source_is_gone(author: Path, run: Path) -> None:
    model = lowered()
    save_weights(model, run / "model.safetensors")
    write_loader(run / "load_model.py", model, None, f"{author}:Net", ARGS, names=NAMES)
    author.rename(run / "net.py")
    count = sum(p.numel() for p in model.parameters())
    command = [sys.executable, "-W", "ignore", str(run / "load_model.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"{count:,} parameters\n", done.stderr
    (run / "net.py").unlink()
    with pytest.raises(SystemExit, match=r"the model's source is neither at .*; put it beside this file"):
        runpy.run_path(str(run / "load_model.py"))["load"]()


def test_the_text_reads_like_hand_written_code(author: Path, run: Path) -> None:
    write_loader(run / "load_model.py", lowered(), fresh(), f"{author}:Net", ARGS, names=NAMES)
    text = (run / "load_model.py").read_text()
    lines = [
        '"hook": nn.utils.weight_norm(pad(nn.Conv1d(2, 4, (7,), dilation=(3,)), "constant", [18, 0]), dim=0),',
        '"both": parametrizations.weight_norm(pad(nn.Conv1d(4, 4, (2,)), "constant", [2, -1]), dim=0),',
        '"blocks.0": pad(nn.Conv1d(4, 4, (4,)), "circular", [1, 2]),',
        '"shared": nn.Conv1d(4, 4, (5,), padding=(4,), dilation=(2,), groups=2, bias=False),',
        'ALIASES = {"again": "shared"}',
        'MODEL_ARGS = {"width": 4, "kernels": [3]}',
    ]
    for line in lines:
        assert line in text
    assert "import dashfx" not in text and max(map(len, text.splitlines())) <= 120
    assert list(run.iterdir()) == [run / "load_model.py"], "scratch files stay behind"


def test_only_what_is_used_is_written(run: Path) -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2, padding_mode="reflect"))
    write_loader(run / "load_model.py", plain, names=["0"])
    text = (run / "load_model.py").read_text()
    assert '"0": nn.Conv2d(1, 2, (5, 5), padding=(2, 2), padding_mode="reflect"),' in text
    assert "def pad" not in text and "parametrizations" not in text and "importlib" not in text


def test_sides_are_written_last_axis_first_as_torch_wants_them(run: Path) -> None:
    plain, reference = nn.Sequential(nn.Conv2d(1, 2, (5, 3))), nn.Sequential(nn.Conv2d(1, 2, 3))
    write_padding(plain[0], ((3, 1), (-1, 2)), "replicate")  # type: ignore[arg-type]
    save_weights(plain, run / "model.safetensors")
    write_loader(run / "load_model.py", plain, reference, names=["0"])
    x, rebuilt = torch.randn(1, 1, 9, 8), runpy.run_path(str(run / "load_model.py"))["load"](reference)
    assert rebuilt is reference and torch.equal(answer(rebuilt, x), answer(plain, x))


def test_the_dtype_is_kept(run: Path) -> None:
    plain = nn.Sequential(nn.Conv1d(1, 2, 3).double())
    write_loader(run / "load_model.py", plain, nn.Sequential(nn.Conv1d(1, 2, 5)), names=["0"])
    assert "nn.Conv1d(1, 2, (3,), dtype=torch.float64)" in (run / "load_model.py").read_text()


def test_a_forgotten_conv_is_noticed(author: Path, run: Path) -> None:
    with pytest.raises(ExportError, match=r"would not rebuild the lowered model: 1 weights differ, 'shared.weight'"):
        forgotten = [name for name in NAMES if name != "shared"]
        plain = lowered()
        plain.again = plain.shared
        write_loader(run / "load_model.py", plain, with_one_shared_key(fresh()), f"{author}:Net", ARGS, names=forgotten)
    assert not list(run.iterdir())


def with_one_shared_key(model: nn.Module) -> nn.Module:
    """`again` already as in the lowered model, so that one weight is left to differ."""
    model.again = nn.Conv1d(4, 4, 5, groups=2, bias=False)
    return model


def test_a_name_that_is_no_conv(run: Path) -> None:
    model = lowered()
    with pytest.raises(ExportError, match=r"'block.0' is missing \(did you mean 'blocks.0'"):
        write_loader(run / "load_model.py", model, names=["block.0"])
    with pytest.raises(ExportError, match="'norm' is a BatchNorm1d"):
        write_loader(run / "load_model.py", model, names=["norm"])


def test_an_argument_that_is_no_literal(run: Path) -> None:
    with pytest.raises(ExportError, match=r"model argument act=.*write a factory"):
        write_loader(run / "load_model.py", lowered(), None, "net.py:Net", {"act": nn.ReLU}, names=NAMES)


def test_shared_weights_are_saved_once(run: Path) -> None:
    model = lowered()
    save_weights(model, run / "model.safetensors")
    stored = load_file(run / "model.safetensors")
    assert sum(t.numel() for t in stored.values()) == sum(t.numel() for t in (*model.parameters(), *model.buffers()))
    assert list(run.iterdir()) == [run / "model.safetensors"]


@pytest.mark.parametrize("spec", ["net.py:Net", "project.net:Net"])
def test_a_copied_folder_of_a_model_in_several_files(
    spec: str, tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sources are gone, and where it is opened from stands a module of the same name."""
    packaged = spec.startswith("project")
    place = run / "project" if packaged else run
    (place / "parts").mkdir(parents=True)
    (place / "net.py").write_text(f"from {'project.' * packaged}parts.block import Block as Net\n")
    (place / "parts" / "block.py").write_text("from torch import nn\n\nBlock = lambda: nn.Conv1d(2, 3, 3)\n")
    torch.manual_seed(0)
    plain = nn.Conv1d(2, 3, 3)
    save_weights(plain, run / "model.safetensors")
    write_loader(run / "load_model.py", plain, None, spec, names=[])
    decoy = tmp_path / "elsewhere" / "parts"
    decoy.mkdir(parents=True)
    (decoy / "block.py").write_text("raise SystemExit('the wrong module')\n")
    copied = run.rename(tmp_path / "copied")
    monkeypatch.chdir(decoy.parent)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    for name in ("parts", "project"):  # a process of its own would know neither
        for known in [m for m in sys.modules if m.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, known)
    loaded = runpy.run_path(str(copied / "load_model.py"))["load"]()
    assert torch.equal(loaded.weight, plain.weight)


def test_the_weights_can_be_read_by_whom_other_files_can(run: Path) -> None:
    (run / "other").touch()
    save_weights(nn.Conv1d(1, 1, 3), run / "model.safetensors")
    write_loader(run / "load_model.py", nn.Conv1d(1, 1, 3), names=[])
    mode = (run / "other").stat().st_mode
    assert (run / "model.safetensors").stat().st_mode == mode and (run / "load_model.py").stat().st_mode == mode
