"""Session of a run: the devices and processes that it computes on, the folder that it writes to, and who listens."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from dashfx.config.run import RunConfig
from dashfx.errors import RunFolderError, TrainingError
from dashfx.genotype import Genotype
from dashfx.run.files.lock import check_free, hold, release
from dashfx.run.folder import (
    RunFolder,
    check_folder,
    make_folder,
    make_root,
    missing_folders,
    other_packages,
    remove_folder,
)
from dashfx.train.processes import first_does, make_accelerator
from dashfx.train.progress import QUIET, Epoch, JsonlLog, Observer, Observers
from dashfx.workers import Workers


class Session:
    """Where a run happens.

    Attributes:
        folder: the run's folder, once it has been opened; None for a run that writes nothing.
        resume: whether an earlier run in the folder is continued.
        workers: who does independent trainings in place of this process; None where it does all itself.

    Args:
        began: by `time.perf_counter`, when its preparation began: what a budget counts from.
    """

    def __init__(
        self, config: RunConfig, observer: Observer, resume: bool, began: float, workers: Workers | None = None
    ) -> None:
        self.resume, self.workers = resume, workers
        self.folder: RunFolder | None = None
        self.accelerator: Accelerator = make_accelerator(config.device, config.amp)
        self._began = began
        self._made: tuple[Path, ...] | None = None  # the folders that were made for a run which has only begun
        self._log = JsonlLog()
        self.observer: Observer = Observers([observer, self._log]) if self.is_main else QUIET

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and talks."""
        return self.accelerator.is_main_process

    @property
    def writes(self) -> RunFolder | None:
        """The folder, in the process that writes into it."""
        return self.folder if self.is_main else None

    @property
    def checkpoints(self) -> Path | None:
        return self.folder.checkpoints if self.folder else None

    @property
    def elapsed(self) -> float:
        """Seconds since the run's preparation began, in this process."""
        return time.perf_counter() - self._began

    def silent(self) -> Session:
        """The same without its listeners, for what is done over and over."""
        session = copy.copy(self)
        session.observer = QUIET
        return session

    def untold(self, history: Iterable[Epoch]) -> list[Epoch]:
        """The epochs that an earlier process or a worker has trained and this run's log does not hold."""
        return self._log.missing(history) if self.resume else []

    def resuming(self) -> Session:
        """The same, which goes on with checkpoints, whoever has written them."""
        session = copy.copy(self)
        session.resume = True
        return session

    def lent(self, folder: RunFolder, observer: Observer) -> Session:
        """The same at a worker: it goes on with checkpoints in a folder that another process has opened."""
        session = self.resuming()
        session.folder, session.observer = folder, observer
        return session

    def wait(self) -> None:
        """Go on when every process has come this far."""
        self.accelerator.wait_for_everyone()

    def open(self, path: str | Path, config: RunConfig, together: bool = False) -> list[str]:
        """Make the run's folder, or take up an earlier one: by one process, before any other looks for it.

        Args:
            together: workers of one study share a finished run's folder; else nobody else may write there.

        Returns:
            the packages whose version is not that of the run which is resumed.

        Raises:
            RunFolderError: it cannot be written, or another process writes there.
        """
        self.wait()  # all have seen that the folder is free, or what it holds
        self.folder = RunFolder(Path(path))
        first_does(self.accelerator, lambda: self._open(path, config, together))
        changed = other_packages(self.folder) if self.resume else []
        self.wait()
        return changed

    def _open(self, path: str | Path, config: RunConfig, together: bool) -> None:
        made = missing_folders(path)
        root = make_root(path)
        if together:
            check_free(root)
        elif hold(root):
            try:
                check_folder(path, config, resume=self.resume)  # another run may have been here since
            except RunFolderError:
                release()
                raise
        self._made = made
        self._log.write_to(make_folder(path, config, alone=not together).log)

    def abandon(self) -> None:
        """Undo `open`, where it has begun a run: what is wrong with its input has shown only now."""
        if self.is_main and self.folder and self._made is not None:
            release()
            remove_folder(self.folder, self._made)
        self.wait()  # a process that ends now would take the others along

    def agree(self, genotype: Genotype) -> Genotype:
        """The genotype, after all processes have been seen to hold the same one.

        Raises:
            TrainingError: they do not, so the architecture parameters have drifted apart.
        """
        found: list[str] = gather_object([genotype.to_json()])
        if len(set(found)) > 1:
            raise TrainingError(f"the {len(found)} processes chose {len(set(found))} different genotypes; report this")
        return genotype
