"""Foreign bytes at each border: a file, whatever is done to it, is read or refused by one line, in little memory."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dashfx.data import load_data
from dashfx.data.reading import Reading
from dashfx.errors import DashfxError, DataError

RNG = np.random.default_rng(0)
X, Y = RNG.random((12, 2, 8)).astype(np.float32), np.arange(12) % 2
PIXELS = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
MOST = 128 * 2**20  # bytes that may be held while a file of a few hundred is looked at; Pillow takes 64 MiB for a chunk
FUZZ = settings(derandomize=True, max_examples=40, deadline=None, database=None)

# Good files


def npz(path: Path) -> str:
    np.savez(path / "a.npz", x=X, y=Y)
    return "a.npz"


def npz_compressed(path: Path) -> str:
    np.savez_compressed(path / "a.npz", x=X, y=Y)
    return "a.npz"


def npy(path: Path) -> str:
    np.save(path / "y.npy", Y)
    np.save(path / "x.npy", X)
    return "x.npy"


def pt(path: Path) -> str:
    torch.save({"x": torch.from_numpy(X), "y": torch.from_numpy(Y)}, path / "a.pt")
    return "a.pt"


def pt_old(path: Path) -> str:
    torch.save((torch.from_numpy(X), torch.from_numpy(Y)), path / "a.pt", _use_new_zipfile_serialization=False)
    return "a.pt"


def image(suffix: str, mode: str = "RGB") -> Callable[[Path], str]:
    def make(path: Path) -> str:
        for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/2.png", f"a/x.{suffix}"):
            (path / name).parent.mkdir(exist_ok=True)
            Image.fromarray(PIXELS).convert(mode).save(path / name)
        return f"a/x.{suffix}"

    return make


def mask(path: Path) -> str:
    for folder in ("images", "masks"):
        (path / folder).mkdir()
        for i in range(6):
            Image.fromarray(PIXELS[..., 0] % (2 + (folder == "images"))).save(path / folder / f"{i}.png")
    return "masks/3.png"


def sound(suffix: str) -> Callable[[Path], str]:
    def make(path: Path) -> str:
        soundfile = pytest.importorskip("soundfile")
        for name in ("a/0.wav", "a/1.wav", "a/2.wav", "b/0.wav", "b/1.wav", "b/2.wav", f"a/x.{suffix}"):
            (path / name).parent.mkdir(exist_ok=True)
            soundfile.write(path / name, np.sin(np.arange(200)) / 2, 8000)
        return f"a/x.{suffix}"

    return make


def shard(kind: str, label: Callable[[int], bytes] = lambda i: str(i % 2).encode()) -> Callable[[Path], str]:
    def make(path: Path) -> str:
        with tarfile.open(path / "a.tar", "w") as tar:
            for i in range(8):
                stream = io.BytesIO()
                Image.fromarray(PIXELS).save(stream, "PNG") if kind == "png" else np.save(stream, X[i])
                for suffix, content in ((kind, stream.getvalue()), ("cls", label(i))):
                    member = tarfile.TarInfo(f"{i:03}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        return "a.tar"

    return make


def series(suffix: str) -> Callable[[Path], str]:
    def make(path: Path) -> str:
        lines = [f"{i % 2}\t{i}\t{i + 2}\n" if suffix == "tsv" else f"{i},2,{i}:{i % 2}\n" for i in range(10)]
        (path / f"a.{suffix}").write_text(("" if suffix == "tsv" else "@univariate true\n@data\n") + "".join(lines))
        return f"a.{suffix}"

    return make


def table(path: Path) -> str:
    image("png")(path)
    files = sorted(file.relative_to(path).as_posix() for file in path.glob("*/*.png"))
    (path / "who.csv").write_text("file,group\n" + "".join(f"{file},{file[0]}{i}\n" for i, file in enumerate(files)))
    return "who.csv"


def saved(path: Path) -> str:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict({"x": X.tolist(), "y": Y.tolist()}).save_to_disk(str(path / "d"))
    return next(str(file.relative_to(path)) for file in (path / "d").glob("*.arrow"))


def about_saved(path: Path) -> str:
    saved(path)
    return "d/dataset_info.json"


FILES = {"npz", "npz_compressed", "pt", "pt_old", "ts", "tsv"}
BORDERS: dict[str, Callable[[Path], str]] = {
    **{each.__name__: each for each in (npz, npz_compressed, npy, pt, pt_old, mask, table, saved, about_saved)},
    **{suffix: image(suffix) for suffix in ("png", "jpg", "tif", "gif", "bmp", "webp", "ppm")},
    "pgm": image("pgm", "L"),
    **{suffix: sound(suffix) for suffix in ("wav", "flac", "ogg")},
    **{f"tar of {kind}": shard(kind) for kind in ("png", "npy")},
    **{suffix: series(suffix) for suffix in ("ts", "tsv")},
}


def spec_of(border: str, root: Path, name: str) -> tuple[str, Reading]:
    if border.startswith("tar"):
        return f"wds:{root / name}", Reading()
    if border.endswith("saved"):
        return f"hf:{root / 'd'}", Reading()
    reading = Reading(groups=str(root / name) if border == "table" else None)
    if border in ("wav", "flac", "ogg"):
        reading = Reading(fit="pad")
    return str(root / name if border in FILES else root), reading


def outcome(spec: str, reading: Reading = Reading()) -> str:  # noqa: B008
    """What comes of it: nothing but "read" or a line."""
    tracemalloc.start()
    try:
        data = load_data(spec, reading=reading)
        for part in (data.train, data.valid, data.test):
            part.__getitems__(range(len(part)))
        return "read"
    except DashfxError as error:
        line = str(error)
        assert line and "\n" not in line and len(line) < 1500
        return line
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MOST


Change = Callable[[bytes], bytes]


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Cut off, overwritten or made longer somewhere; most often near the beginning, where headers stand."""
    share = draw(st.floats(0, 1)) ** draw(st.sampled_from([1, 4]))
    new = draw(
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff"]))
    )
    how = draw(st.sampled_from(["cut", "over", "over", "over", "in", "all"]))

    def change(content: bytes) -> bytes:
        at = int(share * len(content))
        if how == "all":
            return new
        return content[:at] + (b"" if how == "cut" else new + content[at + (len(new) if how == "over" else 0) :])

    return change


@pytest.fixture(scope="module", params=sorted(BORDERS))
def good(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path, str]]:
    root = Path(tempfile.mkdtemp())
    yield request.param, root, BORDERS[request.param](root)
    shutil.rmtree(root)


def test_a_changed_file_is_read_or_refused_in_one_line(good: tuple[str, Path, str]) -> None:
    _, root, name = good
    file, (spec, reading) = root / name, spec_of(*good)
    content = file.read_bytes()
    assert outcome(spec, reading) == "read"

    @FUZZ
    @given(changes())
    def run(change: Change) -> None:
        file.unlink()  # what was mapped before keeps its own bytes
        file.write_bytes(change(content))
        outcome(spec, reading)

    run()


# What no accident makes


def header(shape: str, dtype: str = "<f4", content: bytes = b"") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


SHAPES = ["(158329674399744,)", "(-1, 2, 8)", "(12, -2, 8)", "(2**70, 8)", "(12, 99999999999999999999999)", "('a',)"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, "npy", "tar"])
def test_shapes_that_the_file_does_not_hold(tmp_path: Path, shape: str, kind: Any) -> None:
    content, spec = header(shape, content=bytes(768)), str(tmp_path / "a.npz")
    np.save(tmp_path / "y.npy", Y)
    if kind == "npy":
        (tmp_path / "x.npy").write_bytes(content)
        spec = str(tmp_path)
    elif kind == "tar":
        shard("npy")(tmp_path)
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for name, each in (("0.npy", content), ("0.cls", b"1")):
                member = tarfile.TarInfo(name)
                member.size = len(each)
                tar.addfile(member, io.BytesIO(each))
        spec = f"wds:{tmp_path / 'a.tar'}"
    else:
        with zipfile.ZipFile(spec, "w", kind) as archive:
            archive.writestr("x.npy", content)
            archive.write(tmp_path / "y.npy", "y.npy")
    assert outcome(spec) != "read"


def test_members_that_cannot_be_read(tmp_path: Path) -> None:
    npz_compressed(tmp_path)
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    for start in (whole.find(b"PK\3\4"), whole.find(b"PK\1\2")):
        whole[start + (6 if whole[start + 2] == 3 else 8)] |= 1  # flag bit 0: encrypted
    (tmp_path / "a.npz").write_bytes(whole)
    assert "encrypted" in outcome(str(tmp_path / "a.npz"))
    npz_compressed(tmp_path)
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    whole[80:90] = b"\xff" * 10  # in the middle of what zlib reads
    (tmp_path / "a.npz").write_bytes(whole)
    assert "not a readable .npz file" in outcome(str(tmp_path / "a.npz"))


def test_a_compressed_member_larger_than_memory_is_not_unpacked(tmp_path: Path) -> None:
    size = 2**46
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header(f"({size // 4},)"))
        archive.writestr("y.npy", header("(1,)", content=bytes(4)))
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    at = whole.find(b"PK\1\2")
    whole[at + 24 : at + 28] = b"\xfe\xff\xff\xff"  # the size that the directory tells
    (tmp_path / "a.npz").write_bytes(whole)
    assert outcome(str(tmp_path / "a.npz")) != "read"


def holds_itself() -> dict[str, Any]:
    loop: dict[str, Any] = {"y": torch.from_numpy(Y)}
    loop["x"] = loop
    return loop


def grows() -> dict[str, Any]:
    """A list of two lists of two lists ...: 2^40 numbers in a small file."""
    values: list[Any] = [0.0, 1.0]
    for _ in range(40):
        values = [values, values]
    return {"x": values, "y": torch.from_numpy(Y)}


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (lambda x: x.to_sparse(), "to_dense()"),
        (lambda x: x[:, 0].to_sparse_csr(), "to_dense()"),
        (lambda x: x.to("meta"), "without values"),
        (lambda x: x.to(torch.float8_e4m3fn), "float()"),
        (lambda x: x.to(torch.complex64), "complex64"),
        (lambda x: torch.zeros(1).expand(2**40, 2, 8), "contiguous()"),
        (lambda x: [x] * 3 + [[1.0]], "flat list"),
    ],
)
def test_tensors_that_no_array_can_hold(tmp_path: Path, x: Callable[..., Any], words: str) -> None:
    torch.save({"x": x(torch.from_numpy(X)), "y": torch.from_numpy(Y)}, tmp_path / "a.pt")
    assert words in outcome(str(tmp_path / "a.pt"))


@pytest.mark.parametrize("loaded", [holds_itself(), grows(), [[[]]], {1: 2}, "text"])
def test_containers_without_end(tmp_path: Path, loaded: Any) -> None:
    torch.save(loaded, tmp_path / "a.pt")
    assert outcome(str(tmp_path / "a.pt")) != "read"


def test_quantised_tensors(tmp_path: Path) -> None:
    with pytest.warns(UserWarning):
        x = torch.quantize_per_tensor(torch.from_numpy(X), 0.1, 0, torch.qint8)
    torch.save({"x": x, "y": torch.from_numpy(Y)}, tmp_path / "a.pt")
    assert outcome(str(tmp_path / "a.pt")) != "read"
    with pytest.raises(DataError, match=r"dequantize\(\)"):
        load_data({"x": x, "y": Y})


@pytest.mark.parametrize("text", ["", "x,y\n1,2\n", "import os\n", "{'x': 1}", "\x80\x02."])
def test_text_in_pt(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.pt").write_text(text)
    assert "not a file of plain tensors" in outcome(str(tmp_path / "a.pt"))


def test_images_of_more_pixels_than_a_file_holds(tmp_path: Path) -> None:
    image("pgm")(tmp_path)
    for content in (b"P5 20000 20000 255\n", b"P5 8 8", b"P5 -8 8 255\n"):
        (tmp_path / "a" / "x.pgm").write_bytes(content)
        assert "not a readable image" in outcome(str(tmp_path))
    whole = io.BytesIO()
    Image.fromarray(PIXELS).save(whole, "PNG")
    huge = bytearray(whole.getvalue())
    huge[16:24] = (50_000).to_bytes(4, "big") * 2
    (tmp_path / "a" / "x.pgm").write_bytes(huge)
    assert "not a readable image" in outcome(str(tmp_path))


def test_sounds_that_cannot_be_cut(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            soundfile.write(tmp_path / name / f"{i}.wav", np.zeros(1600), 8000, subtype="GSM610")
    assert "16-bit PCM" in outcome(str(tmp_path), Reading(window=400))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (lambda i: b"9" * 5000, "5,000 bytes"),
        (lambda i: b"9" * 30, "read"),
        (lambda i: b"", "0 bytes"),
        (lambda i: b"\xff\xfe", "UTF-8"),
        (lambda i: "\ufeffé".encode() if i % 2 else "é".encode(), "single class"),
    ],
)
def test_labels_of_shards(tmp_path: Path, label: Callable[[int], bytes], words: str) -> None:
    shard("npy", lambda i: label(i) + (str(i % 2).encode() if words == "read" else b""))(tmp_path)
    assert words in outcome(f"wds:{tmp_path / 'a.tar'}")


def test_shards_beyond_number(tmp_path: Path) -> None:
    assert "100,000" in outcome(f"wds:{tmp_path}/a-{{0..999999999}}.tar")


def test_labels_of_bytes(tmp_path: Path) -> None:
    y = np.array(["é", "è"])[Y]
    np.savez(tmp_path / "a.npz", x=X, y=np.char.encode(y, "utf-8"))
    assert load_data(tmp_path / "a.npz").labels == ("è", "é")
    np.savez(tmp_path / "a.npz", x=X, y=np.char.encode(y, "latin-1"))
    assert "UTF-8" in outcome(str(tmp_path / "a.npz"))


def test_a_header_longer_than_its_file(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x02\x00" + b"\xff\xff\xff\x7f" + bytes(200))
    assert "its header is of 2,147,483,647 bytes" in outcome(str(tmp_path))
