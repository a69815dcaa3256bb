"""Folders of sounds, of `datasets` and of arrays, shards, UCR and UEA files; and what is refused in them."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dashfx.data import Data, load_data
from dashfx.data.reading import Reading
from dashfx.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 5, 6), dtype=np.uint8)
Y = np.arange(12) % 3


def refuse(spec: Any, *words: str, **reading: Any) -> None:
    with pytest.raises(DataError) as caught:
        load_data(spec, reading=Reading(**reading))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def rows_of(data: Data) -> dict[int, torch.Tensor]:
    """Every row of the file by its number, whatever the part."""
    parts = [data.train, data.valid, data.test]
    return {int(i): p[k][0] for p in parts for k, i in enumerate(p.index)}


# Sounds


def sounds(folder: Path, rate: int = 8000, frames: int = 800) -> Path:
    soundfile = pytest.importorskip("soundfile")
    for kind, pitch in (("low", 200), ("high", 1500)):
        (folder / kind).mkdir(parents=True)
        for i in range(5):
            wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(frames + 100 * i) / rate)
            soundfile.write(folder / kind / f"{i}.wav", wave, rate, subtype="FLOAT")
    return folder


def test_sounds_by_class(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "sounds")
    data = load_data(folder, normalise=False, reading=Reading(window=400))
    assert data.input_shape == (1, 400) and data.labels == ("high", "low")
    assert data.train[0][0][0, 5] == pytest.approx(0.5 * np.sin(2 * np.pi * 1500 * 5 / 8000), abs=1e-3)
    mel = load_data(folder, normalise=False, reading=Reading(fit="pad", log_mel=20))
    loudest = [x[0].mean(1).argmax() for x, y in (mel.train[i] for i in range(len(mel.train))) if y == 0]
    quiet = [x[0].mean(1).argmax() for x, y in (mel.train[i] for i in range(len(mel.train))) if y == 1]
    assert mel.input_shape[:2] == (1, 20) and min(loudest) > max(quiet)  # the high ones in a higher band


def test_sounds_of_mixed_rates(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    folder = sounds(tmp_path / "sounds")
    slow = 0.5 * np.sin(2 * np.pi * 200 * np.arange(200) / 2000)
    soundfile.write(folder / "low" / "9.wav", slow, 2000, subtype="FLOAT")
    refuse(folder, str(folder / "low" / "9.wav"), "2000", "8000", "reading.rate", window=100)
    data = load_data(folder, normalise=False, reading=Reading(window=400, rate=8000))
    resampled = data.part("train").x[:]  # held, the last two windows are of 9.wav
    assert np.abs(resampled[-1, 0] - 0.5 * np.sin(2 * np.pi * 200 * np.arange(400, 800) / 8000))[:300].max() < 0.02
    soundfile.write(folder / "low" / "8.wav", np.zeros((100, 2)), 8000)
    refuse(folder, "8.wav has 2 channels", window=100, rate=8000)
    (folder / "low" / "8.wav").write_bytes(b"no sound")
    refuse(folder, "8.wav", "not a readable sound", window=100)


# datasets


def saved(folder: Path, **columns: Any) -> Path:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns).save_to_disk(str(folder))
    return folder


def test_saved_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["c", "a", "b"])})
    images = [Image.fromarray(each) for each in PIXELS]
    whole = datasets.Dataset.from_dict({"image": images, "label": Y.tolist()}, features=features)
    datasets.DatasetDict({"train": whole, "validation": whole.select(range(3))}).save_to_disk(str(tmp_path / "d"))
    data = load_data(f"hf:{tmp_path / 'd'}", normalise=False)
    assert data.input_shape == (1, 5, 6) and data.labels == ("c", "a", "b") and len(data.valid) == 3
    x, y = data.valid[1]
    assert torch.allclose(x[0], torch.from_numpy(PIXELS[1] / np.float32(255))) and int(y) == 1
    assert any("leak: 3 of 3" in note for note in data.notes)
    whole.filter(lambda row: row["label"] != 1).save_to_disk(str(tmp_path / "e"))  # none of class "a"
    assert load_data(f"hf:{tmp_path / 'e'}").labels == ("b", "c")


def test_saved_images_of_many_bits_are_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    images = [Image.fromarray(each.astype(np.uint16) * 257) for each in PIXELS]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    whole = datasets.Dataset.from_dict({"image": images, "label": Y.tolist()}, features=features)
    whole.save_to_disk(str(tmp_path / "d"))
    refuse(f"hf:{tmp_path / 'd'}", "row 0 has more than 8 bits")
    missing = saved(tmp_path / "e", x=[[1.0, 2.0]] * 4, y=[0, 1, None, 1])
    refuse(f"hf:{missing}", "no answer in 1 of 4 rows (first: row 2)")


def test_saved_arrays_and_columns(tmp_path: Path) -> None:
    x = RNG.random((12, 2, 8)).astype(np.float32)
    folder = saved(tmp_path / "d", trace=x.tolist(), lable=Y.tolist())
    refuse(f"hf:{folder}", "no input column", "trace, lable", "reading.columns")
    refuse(f"hf:{folder}", "no column 'label'", "did you mean 'lable'", columns=("trace", "label"))
    refuse(str(folder), f"hf:{folder}")
    data = load_data(f"hf:{folder}", normalise=False, reading=Reading(columns=("trace", "lable")))
    for i, row in rows_of(data).items():
        assert torch.equal(row, torch.from_numpy(x[i]))
    refuse(f"hf:{saved(tmp_path / 'e', x=x.tolist(), lable=Y.tolist())}", "no label column", "did you mean 'lable'")
    refuse(f"hf:{tmp_path}", "save_to_disk")
    refuse(f"hf:{tmp_path / 'none'}", "no such folder")


# Shards


def shard(path: Path, rows: range, *, kind: str = "png", label: bool = True) -> None:
    with tarfile.open(path, "w") as tar:
        for i in rows:
            stream = io.BytesIO()
            if kind == "png":
                Image.fromarray(PIXELS[i]).save(stream, "PNG")
            else:
                np.save(stream, PIXELS[i].astype(np.float32))
            for suffix, content in ((kind, stream.getvalue()), *([("cls", str(Y[i]).encode())] if label else [])):
                member = tarfile.TarInfo(f"some/{i:05}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["png", "npy"])
def test_shards(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, rows in enumerate((range(5), range(5, 9), range(9, 12))):
        shard(tmp_path / f"set-{number:03}.tar", rows, kind=kind)
    spec = f"wds:{tmp_path}/set-{{000..002}}.tar"
    for limit in (2**28, 0):  # held in memory, and read where they lie
        monkeypatch.setattr("dashfx.data.readers.rows.HELD_BYTES", limit)
        data = load_data(spec, normalise=False)
        assert isinstance(data.train.x, np.ndarray) == bool(limit)
        for i, row in rows_of(data).items():
            expected = torch.from_numpy(PIXELS[i]).float() / (255 if kind == "png" else 1)
            assert torch.allclose(row.reshape(5, 6), expected)
    joined = load_data(f"wds:{tmp_path}/set-{{000..001}}.tar+{tmp_path}/set-002.tar")
    assert len(joined.test) == 3 and len(joined.train) + len(joined.valid) == 9


def test_bad_shards(tmp_path: Path) -> None:
    path = tmp_path / "a-00.tar"
    shard(path, range(12))
    whole = path.read_bytes()
    refuse(f"wds:{tmp_path}/a-{{00..01}}.tar", "no such shard", "a-01.tar")
    size = 1024  # each file's header and content are a block each
    ends = (size, size * 2 - 300, size * 3, 12 * 2 * size - 100, 12 * 2 * size)
    for end in ends:
        path.write_bytes(whole[:end])
        refuse(f"wds:{path}", "a-00.tar", "ends early")
    path.write_bytes(b"no tar")
    refuse(f"wds:{path}", "not a plain tar")
    shard(path, range(12), label=False)
    refuse(f"wds:{path}", "some/00000", "no 'cls'", "it has png")
    with tarfile.open(path, "w") as tar:
        for name in ("0.pyd", "0.cls"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    refuse(f"wds:{path}", "pyd, cls")


# UCR and UEA

HEAD = "# comment\n@problemName toy\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"


def test_ts_with_missing_values_and_its_test_part(tmp_path: Path) -> None:
    rows = "".join(f"{i},?,{i + 4},?:1,2,3,{i}:{'ab'[i % 2]}\n" for i in range(10))
    (tmp_path / "Toy_TRAIN.ts").write_text(HEAD + rows)
    (tmp_path / "Toy_TEST.ts").write_text(HEAD + rows.replace("1,2,3", "1,2,7"))
    data = load_data(tmp_path / "Toy_TRAIN.ts", normalise=False)
    assert data.name == "Toy" and data.input_shape == (2, 4) and data.labels == ("a", "b") and len(data.test) == 10
    assert data.test[3][0].tolist() == [[3, 5, 7, 7], [1, 2, 7, 3]] and int(data.test[3][1]) == 1
    assert any("20 missing values" in note for note in data.notes)


def test_ts_of_unequal_lengths(tmp_path: Path) -> None:
    lines = [",".join(map(str, range(3 + i))) + f":{i % 2 + 1}" for i in range(10)]
    (tmp_path / "u.ts").write_text("@univariate true\n@data\n" + "\n".join(lines))
    refuse(tmp_path / "u.ts", "3 to 12 samples")
    data = load_data(tmp_path / "u.ts", normalise=False, reading=Reading(fit="mask"))
    assert data.input_shape == (2, 12) and data.labels == ("1", "2")


def test_tsv(tmp_path: Path) -> None:
    lines = [f"{(-1) ** i}\t{i}\tNaN\t{i + 2}\n" for i in range(10)]
    (tmp_path / "Toy_TRAIN.tsv").write_text("".join(lines))
    data = load_data(tmp_path / "Toy_TRAIN.tsv", normalise=False)
    for i, row in rows_of(data).items():
        assert row.tolist() == [[i, i + 1, i + 2]]
    assert data.labels == ("-1", "1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@univariate true\n1,2:a\n", ("no line @data",)),
        (HEAD, ("no series",)),
        (HEAD + "1,2,3\n", ("line 7", "no label")),
        (HEAD + "1,x,3:a\n", ("line 7", "'x'")),
        (HEAD + "1,2:1,2:a\n1,2:b\n", ("series 1 has 1 dimensions",)),
        (HEAD + "?,?:1,2:a\n", ("series 0", "no values")),
        (HEAD.replace("timeStamps false", "timeStamps true") + "(1,2):a\n", ("time stamps",)),
    ],
)
def test_bad_ts(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "t.ts").write_text(text)
    refuse(tmp_path / "t.ts", "t.ts", *words)


def test_ts_of_numbers_to_regress(tmp_path: Path) -> None:
    head = HEAD.replace("@classLabel true a b", "@targetLabel true")
    (tmp_path / "Toy_TRAIN.ts").write_text(head + "".join(f"{i},2,3:{60 + i % 5}\n" for i in range(30)))
    (tmp_path / "Toy_Test.ts").write_text(head + "1,2,4:77.5\n1,2,5:-1e-3\n")
    data = load_data(tmp_path / "Toy_TRAIN.ts")
    assert data.kind == "dense" and data.described == "tabular" and data.target_shape == (1,)
    assert data.test.targets[:, 0].tolist() == pytest.approx([77.5, -1e-3])
    (tmp_path / "Toy_TRAIN.ts").write_text(head + "1,2,3:high\n")
    refuse(tmp_path / "Toy_TRAIN.ts", "line 7", "'high'")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_marks_and_headings_are_no_classes(tmp_path: Path, mark: str) -> None:
    lines = "".join(f"{i % 2}\t{i}\t{i + 2}\n" for i in range(10))
    (tmp_path / "t.tsv").write_text(mark + lines, encoding="utf-8")
    assert load_data(tmp_path / "t.tsv").labels == ("0", "1")
    (tmp_path / "t.tsv").write_text(mark + "label\t1\t2\n" + lines, encoding="utf-8")
    data = load_data(tmp_path / "t.tsv")
    assert data.labels == ("0", "1") and any("line 1 is a heading" in note for note in data.notes)


@pytest.mark.parametrize("label", ["", "nan", "NaN", "?"])
def test_missing_labels_are_no_classes(tmp_path: Path, label: str) -> None:
    (tmp_path / "t.tsv").write_text("".join(f"{i % 2}\t{i}\t{i + 2}\n" for i in range(9)) + f"{label}\t1\t2\n")
    refuse(tmp_path / "t.tsv", "line 10 has no label")
    (tmp_path / "t.ts").write_text(HEAD + "1,2:a\n1,2:b\n" + f"1,2:{label}\n")
    refuse(tmp_path / "t.ts", "line 9 has no label")
    names = np.array(["a", "b", "a", "b", label])
    refuse({"x": RNG.random((5, 8)), "y": names}, "1 of 5 labels are missing", "row 4")


def test_values_beyond_float32(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("0\t1\t1e39\n1\t2\t3\n")
    refuse(tmp_path / "t.tsv", "line 1", "beyond what float32 holds")
    refuse({"x": np.full((5, 8), 1e39), "y": np.arange(5)}, "float32's largest", "5 of 5 rows")
    refuse({"x": np.ones((5, 8)), "y": np.full((5, 2), 1e39)}, "y_train", "float32's largest")


# Arrays in a folder


def test_folder_of_arrays_is_mapped(tmp_path: Path) -> None:
    x = RNG.random((12, 1, 8))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", Y)
    data = load_data(tmp_path, normalise=False)
    assert isinstance(data.train.x, np.memmap)
    np.save(tmp_path / "y.npy", Y.astype(object))
    refuse(tmp_path, "y.npy", "plain array")


def test_tags_of_ts_may_stand_before_tabs(tmp_path: Path) -> None:
    (tmp_path / "A.ts").write_text("@targetLabel\ttrue\n@data\n" + "".join(f"{i},2,3:{i / 2}\n" for i in range(30)))
    assert load_data(tmp_path / "A.ts").kind == "dense"
    (tmp_path / "B.ts").write_text("@timeStamps\tTRUE\n@data\n1,2:a\n")
    refuse(tmp_path / "B.ts", "time stamps")


@pytest.mark.parametrize("columns", [("0", "1", "2"), ("1", "2", "3"), ("t0", "t1", "t2")])
def test_a_heading_above_names_of_classes(tmp_path: Path, columns: tuple[str, ...]) -> None:
    rows = [("label", *columns)] + [("ab"[i % 2], "0.5", str(i), "2") for i in range(12)]
    (tmp_path / "A.tsv").write_text("\n".join("\t".join(row) for row in rows))
    data = load_data(tmp_path / "A.tsv")
    assert data.labels == ("a", "b") and any("heading" in note for note in data.notes)
    rows[0] = ("a", "0", "1", "2")  # a series that counts, of a class that there is
    (tmp_path / "A.tsv").write_text("\n".join("\t".join(row) for row in rows))
    assert sum(map(len, rows_of(load_data(tmp_path / "A.tsv")).values())) == 13


def test_a_sound_that_is_cut_off(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "sounds")
    file = folder / "low" / "0.wav"
    whole = file.read_bytes()
    file.write_bytes(whole[:4] + b"\xff\xff\xff\xff" + whole[8:])  # as of a pipe, which knows no length
    load_data(folder, reading=Reading(window=400))
    file.write_bytes(whole[:1000])
    refuse(folder, "0.wav", "its header tells of", window=400)


def test_arrays_of_files_in_capitals(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((12, 2, 8)) + Y[:, None, None])
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "x.npy").rename(tmp_path / "X.NPY")
    assert load_data(tmp_path).input_shape == (2, 8)
