"""Where a run's folder cannot be made, that is said before anything is trained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dashfx.config.run import RunConfig
from dashfx.errors import RunFolderError
from dashfx.run.folder import check_folder

CONFIG = RunConfig.parse({"model": "net.py:Net", "data": "digits"})


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("x" * 256, "longer than 255 bytes"),
        ("ö" * 128, "longer than 255 bytes"),
        ("/".join(["x" * 200] * 20), r"would have \d+ bytes"),
        ("a/" * 2500, r"would have \d+ bytes"),
        ("file/run", "file is a file"),
        ("file", "exists and is not empty"),
        ("zero\0byte", "no zero byte"),
        (os.fsdecode(b"caf\xe9"), "no UTF-8"),
    ],
)
def test_a_place_that_will_not_do_is_one_line(out: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=words) as raised:
        check_folder(tmp_path / out, CONFIG, resume=False)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_no_permission_and_a_read_only_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashfx.run.files.place.os.access", lambda *_: False)  # as it answers for both
    with pytest.raises(RunFolderError, match="no permission in"):
        check_folder(tmp_path / "runs" / "a", CONFIG, resume=False)


def test_a_long_path_that_fits(tmp_path: Path) -> None:
    check_folder(tmp_path / ("x" * 255), CONFIG, resume=False)
