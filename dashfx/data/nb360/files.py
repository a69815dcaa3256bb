"""The folder that a user names goes in; the published files in it come out, or one line that says which are missing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from dashfx.data.readers.border import border
from dashfx.data.readers.npz import read_npy_file, read_npz
from dashfx.errors import DataError, first_line

BENCHMARK = "https://nb360.ml.cmu.edu"
PUBLISHED = {
    "cifar100": (
        "cifar-100-binary/train.bin and test.bin",
        "the binary version at https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "spherical": (
        "CIFAR-100's cifar-100-binary/train.bin and test.bin, from which it is generated",
        "the binary version at https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "ninapro": ("ninapro_{train,val,test}.npy and label_{train,val,test}.npy", BENCHMARK),
    "fsd50k": ("chunks/{tr,val,eval}.csv, lbl_map.json and the clips that they name (audio.zip)", BENCHMARK),
    "darcy": ("piececonst_r421_N1024_smooth1.mat and smooth2.mat; or leave --data away to generate it", BENCHMARK),
    "psicov": (
        "deepcov.lst, psicov.lst and {deepcov,psicov}/{features,distance}/*.npz, converted from protein.zip",
        BENCHMARK,
    ),
    "cosmic": ("npy_train/f435w/*/*/*.npy and npy_test/f435w/*/*/*.npy (deepCR.ACS-WFC)", BENCHMARK),
    "ecg": (
        "training2017/REFERENCE.csv and training2017/*.mat",
        "https://physionet.org/content/challenge-2017",
    ),
    "satellite": ("satellite_train.npz and satellite_test.npz, converted from the .npy files", BENCHMARK),
    "deepsea": ("deepsea_filtered.npz", BENCHMARK),
}


@dataclass(frozen=True)
class Files:
    """The files of one task in a user's folder.

    Attributes:
        task: the task's name here.
        place: the folder as the user wrote it.
    """

    task: str
    place: str

    @property
    def folder(self) -> Path:
        return Path(self.place).expanduser()

    def find(self, *names: str) -> list[Path]:
        """The files of these names, in the folder or a folder in it.

        Raises:
            DataError: no folder, or one without them.
        """
        if not self.place or not self.folder.is_dir():
            said = f"{self.place!r} is no folder" if self.place else "no folder given"
            raise DataError(f"{said}: write --data {self.task}:FOLDER, with {self._wanted()}")
        found = [self._look_for(name) for name in names]
        missing = [name for name, path in zip(names, found, strict=True) if path is None]
        if missing:
            raise DataError(f"{self.place} lacks {', '.join(missing)}; {self.task} needs {self._wanted()}")
        return [path for path in found if path is not None]

    def broken(self, path: Path, what: str) -> DataError:
        """The error for a file that is not as published."""
        return DataError(f"{path} is not as published: {what}; {self.task} needs {self._wanted()}")

    def reading(self, path: Path, what: str) -> AbstractContextManager[None]:
        """Around whatever looks into a file: anything raised there says that it is not as published."""
        return border(path, f"is not as published, {what}", f"{self.task} needs {self._wanted()}")

    def array(self, name: str) -> np.ndarray:
        """A `.npy` file, memory-mapped.

        Raises:
            DataError: missing, damaged, or of objects, which would have to be unpickled.
        """
        (path,) = self.find(name)
        try:
            return read_npy_file(path)
        except DataError as error:
            raise self.broken(path, f"no plain array ({first_line(error)})") from None

    def arrays(self, name: str, *keys: str) -> list[np.ndarray]:
        """Arrays of a `.npz` file by key.

        Raises:
            DataError: missing, damaged, or without these keys.
        """
        (path,) = self.find(name)
        held = read_npz(path)
        missing = [key for key in keys if key not in held]
        if missing:
            raise self.broken(path, f"no array {', '.join(missing)} in it, but {', '.join(held) or 'nothing'}")
        return [held[key] for key in keys]

    def matlab(self, path: Path, *keys: str) -> list[np.ndarray]:
        """Arrays of a `.mat` file by key.

        Raises:
            DataError: no such file of a version up to 7, or without these keys.
        """
        with self.reading(path, f"no arrays {', '.join(map(repr, keys))} in it"):
            held = loadmat(path, variable_names=list(keys))
            return [np.asarray(held[key]) for key in keys]

    def _look_for(self, name: str) -> Path | None:
        candidates = [self.folder / name, *self.folder.glob(f"*/{name}")]
        return next((path for path in candidates if path.exists()), None)

    def _wanted(self) -> str:
        files, where = PUBLISHED[self.task]
        return f"{files}; published: {where}"
