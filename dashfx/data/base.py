"""Data as the rest of dashfx sees it: `Arrays` (one part), and `Data` (three parts and facts)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dashfx.data.normalisation import Normalisation
from dashfx.data.readers.rows import Rows, Values, exact
from dashfx.data.reading import USUAL, Reading
from dashfx.errors import DataError

Kind = Literal["classes", "multilabel", "dense", "dense-classes"]
Batch = tuple[Tensor, Tensor]
Augment = Callable[[Tensor, Tensor, torch.Generator], Batch]

IGNORED = -100  # the class number of a position that does not count, as in torch's own losses
CHUNK_ELEMENTS = 2**22  # how much of a memory-mapped array is looked at in one go: 16 MiB of float32


def pieces(n: int, row_shape: Sequence[int]) -> Iterator[slice]:
    """`n` rows of that shape in turn, about `CHUNK_ELEMENTS` at a time."""
    step = max(1, CHUNK_ELEMENTS // max(1, int(np.prod(row_shape))))
    return (slice(start, start + step) for start in range(0, n, step))


def uncounted(y: np.ndarray) -> np.ndarray:
    """Where class numbers of positions count nowhere: below 0, and 255 in uint8, as masks of images have it."""
    return (y < 0) | (y == 255 if y.dtype == np.uint8 else False)


class Arrays(Dataset[Batch]):
    """Rows of x and y, left where they are (memory-mapped or not) and turned into float tensors when asked for.

    A batch is asked for at once through `__getitems__`, which a DataLoader prefers: one gather instead of one a row.

    Args:
        x: (N, C, *size), any numeric dtype; an array, or rows that are made when asked for.
        y: (N,) class numbers, or (N, ...) numbers.
        classes: whether y holds class numbers; by default where it has one a row. Of a number a position, those that
            are `uncounted` become `IGNORED`.
        index: the rows that belong to this part, all by default.
        scale: what x is multiplied by before it is normalised, such as 1/255.
        records: (N,) the number of the record that each row of x was cut from, where rows were.
        groups: (N,) the number of the patient, speaker or other group that each row of x is of, where they have some.
        vote: metrics count records, or where there are none groups, by the majority of their rows
            (`dashfx.task.voting`).
    """

    def __init__(
        self,
        x: Values | Tensor,
        y: np.ndarray | Tensor,
        index: np.ndarray | None = None,
        *,
        scale: float = 1.0,
        normalisation: Normalisation | None = None,
        classes: bool | None = None,
        records: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        vote: bool = False,
    ) -> None:
        self.x: Values = x.numpy() if isinstance(x, Tensor) else x
        self.y = y.numpy() if isinstance(y, Tensor) else y
        self.index = np.arange(len(self.x)) if index is None else np.asarray(index, dtype=np.int64)
        self.scale = scale
        self.normalisation = normalisation
        self.classes = self.y.ndim == 1 if classes is None else classes
        self._records, self._groups, self.vote = records, groups, vote

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Batch:
        """x of shape (C, *size) and its y."""
        x, y = self.__getitems__([i])
        return x[0], y[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """x: float32 (B, C, *size); y: int64 (B,) or (B, *size) for classes, float32 (B, ...) otherwise."""
        return self.batch(np.asarray(indices, dtype=np.int64))

    def batch(self, indices: np.ndarray, generator: torch.Generator | None = None) -> Batch:
        """The same, with random crops of records, where there are some, drawn from the generator."""
        rows = self.index[indices]
        return self._x(rows, generator).float(), torch.from_numpy(self._y(rows))

    def chunks(self) -> Iterator[Tensor]:
        """All of x, piece by piece, as the model would see it but for rounding, in the order of the file."""
        rows = np.sort(self.index)
        for piece in pieces(len(rows), self.x.shape[1:]):
            yield self._x(rows[piece])

    @property
    def targets(self) -> np.ndarray:
        """The y of every row of this part, in its order."""
        return self.y[self.index]

    @property
    def records(self) -> np.ndarray | None:
        """The record's number of every row of this part, in its order."""
        return None if self._records is None else self._records[self.index]

    @property
    def groups(self) -> np.ndarray | None:
        """The group's number of every row of this part, in its order."""
        return None if self._groups is None else self._groups[self.index]

    @property
    def units(self) -> np.ndarray | None:
        """Of every row the number of what is never split: its group, else its record; None where each stands alone."""
        return self.records if self._groups is None else self.groups

    @property
    def voters(self) -> np.ndarray | None:
        """Of every row the number of what votes: its record, else its group; None where metrics count rows."""
        if not self.vote:
            return None
        return self.groups if self._records is None else self.records

    @property
    def random(self) -> bool:
        """Whether training sees another piece of a row in each epoch."""
        return isinstance(self.x, Rows) and self.x.random

    def subset(self, rows: np.ndarray) -> Arrays:
        """The same arrays with only the rows `rows` of this part."""
        return self._with(self.index[rows], self.normalisation)

    def rows(self, index: np.ndarray) -> Arrays:
        """The same arrays with the rows `index` of x."""
        return self._with(index, self.normalisation)

    def normalised(self, normalisation: Normalisation) -> Arrays:
        return self._with(self.index, normalisation)

    def class_counts(self, n: int) -> np.ndarray:
        """(n,): how often each class number occurs, ignored positions apart."""
        counts = np.zeros(n, dtype=np.int64)
        for y in self._target_chunks():
            counts += np.bincount(y[y >= 0], minlength=n)
        return counts

    def label_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(L,) ones and (L,) zeros of several labels a row or position; NaN counts as neither."""
        ones, zeros = np.zeros(self.y.shape[1]), np.zeros(self.y.shape[1])
        for y in self._target_chunks():
            flat = np.moveaxis(y, 1, 0).reshape(y.shape[1], -1)
            ones, zeros = ones + (flat == 1).sum(1), zeros + (flat == 0).sum(1)
        return ones, zeros

    def _target_chunks(self) -> Iterator[np.ndarray]:
        rows = np.sort(self.index)
        for piece in pieces(len(rows), self.y.shape[1:]):
            yield self._y(rows[piece])

    def answering(self, y: np.ndarray) -> Arrays:
        """The same rows with other answers, `y` of every row of x."""
        return self._with(self.index, self.normalisation, y)

    def _with(self, index: np.ndarray, normalisation: Normalisation | None, y: np.ndarray | None = None) -> Arrays:
        return Arrays(
            self.x,
            self.y if y is None else y,
            index,
            scale=self.scale,
            normalisation=normalisation,
            classes=self.classes,
            records=self._records,
            groups=self._groups,
            vote=self.vote,
        )

    def _y(self, rows: np.ndarray) -> np.ndarray:
        y = self.y[rows]
        if not self.classes:
            return y.astype(np.float32)
        numbers = y.astype(np.int64)
        if y.ndim > 1:
            numbers[uncounted(y)] = IGNORED
        return numbers

    def _x(self, rows: np.ndarray, generator: torch.Generator | None = None) -> Tensor:
        """Values as they are normalised: in float64 where float32 would lose them beside a large offset."""
        taken = self.x.take(rows, generator) if isinstance(self.x, Rows) else self.x[rows]
        x = torch.from_numpy(np.ascontiguousarray(taken, dtype=exact(self.x.dtype)))
        if self.scale != 1.0:
            x = x * self.scale
        return x if self.normalisation is None else self.normalisation.apply(x)


class Augmented(Dataset[Batch]):
    """Batches of `arrays`, altered by `augment` where there is one; random crops of records are drawn here too."""

    def __init__(self, arrays: Arrays, augment: Augment | None, seed: int) -> None:
        self.arrays, self.augment, self.seed = arrays, augment, seed

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, i: int) -> Batch:
        x, y = self.__getitems__([i])
        return x[0], y[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = np.asarray(indices, np.int64)
        generator = torch.Generator().manual_seed(zlib.crc32(rows.tobytes(), self.seed & 0xFFFFFFFF))
        x, y = self.arrays.batch(rows, generator)
        return self.augment(x, y, generator) if self.augment else (x, y)


@dataclass(frozen=True)
class Data:
    """Three disjoint parts of one data set, and what a model and a task must know about them.

    Attributes:
        input_shape: (C, *size) of one row.
        kind: what y is: a class number a row, several labels a row or position, numbers to be regressed, or a class
            number a position.
        n_outputs: the number of classes, of labels, or of output channels.
        labels: names of the classes, labels or numbers to regress; may be empty.
        normalisation: fitted on the train part and already applied by all three.
        notes: how the data was read and split, one line each, for the log; what was found in two parts begins with
            `dashfx.data.checks.leaks.MARK`.
        augment: what shuffled batches of the train part go through.
        reading: how records, sounds, images and columns became rows.
        channels: names of x's channels; may be empty.
        given: the parts that the source itself has; the others were carved out of train. Of data read whole, another
            part stands for the first of these: `test`, `valid`, `train`.
    """

    name: str
    train: Arrays
    valid: Arrays
    test: Arrays
    input_shape: tuple[int, ...]
    kind: Kind
    n_outputs: int
    labels: tuple[str, ...]
    normalisation: Normalisation
    notes: tuple[str, ...] = ()
    augment: Augment | None = None
    reading: Reading = USUAL
    channels: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """The kind in words: a row of numbers to regress is tabular, numbers at positions are dense."""
        return "tabular" if self.kind == "dense" and len(self.target_shape) == 1 else self.kind

    @property
    def target_shape(self) -> tuple[int, ...]:
        """The shape of one row's y: () for classes, (L,) or (L, *size) for labels, (C, *size) or (L,) for numbers."""
        return tuple(self.train.y.shape[1:])

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What a model must give for one row: a score per class, or a number for each of the target's."""
        classes = self.kind in ("classes", "dense-classes")
        return (self.n_outputs, *self.target_shape) if classes else self.target_shape

    def part(self, name: str) -> Arrays:
        """The part `train`, `valid` or `test`.

        Raises:
            DataError: another name.
        """
        if name not in ("train", "valid", "test"):
            raise DataError(f"data {self.name!r} has no part {name!r}; the parts are train, valid and test")
        arrays: Arrays = getattr(self, name)
        return arrays

    def loader(
        self, part: str, batch_size: int, *, seed: int | None = None, fraction: float = 1.0, drop_last: bool = False
    ) -> DataLoader[Batch]:
        """Batches of `part` as `Arrays.__getitems__` gives them; shuffled, by `seed` alone, where a seed is given.

        Shuffled batches of the train part are augmented, by draws that depend on the seed and the batch's rows.

        Args:
            fraction: below 1, a subset of this share is drawn by `seed`; another seed draws another subset.
            drop_last: leave out a last batch that is not full, unless it is the only one.

        Raises:
            DataError: no such part.
            ValueError: a fraction outside (0, 1], or one below 1 without a seed.
        """
        if not 0 < fraction <= 1 or (fraction < 1 and seed is None):
            raise ValueError(
                f"fraction {fraction} with seed {seed}: give 0 < fraction <= 1, and a seed to draw a subset"
            )
        arrays = self.part(part)
        # Always a generator of its own: without one, even an unshuffled DataLoader draws from the global one.
        generator = torch.Generator().manual_seed(seed or 0)
        if fraction < 1:
            size = max(1, round(fraction * len(arrays)))
            arrays = arrays.subset(torch.randperm(len(arrays), generator=generator)[:size].numpy())
        altered = part == "train" and (self.augment or arrays.random)
        return DataLoader(
            Augmented(arrays, self.augment, seed) if altered and seed is not None else arrays,
            batch_size=batch_size,
            shuffle=seed is not None,
            drop_last=drop_last and len(arrays) >= batch_size,
            collate_fn=_as_it_is,
            generator=generator,
        )


def _as_it_is(batch: Any) -> Any:
    """`Arrays` stacks its batches itself."""
    return batch
