"""Workers, the base: an executor of `concurrent.futures`, and answers in the order of the jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from typing import TypeVar

from dashfx.errors import TrainingError, first_line

J = TypeVar("J")
A = TypeVar("A")

LOOK = 0.5  # seconds between two looks at how the jobs stand
GO_ON = "every finished epoch is in the run's folder; go on with --resume (from Python: resume=True)"


class Workers:
    """Those who do a run's jobs; as a context manager, they leave at its end.

    Args:
        executor: where jobs are submitted; one that loses a worker has another one do its job again.
        name: in the log and in errors, such as "2 processes".
        lost: the exceptions by which its futures say that the executor itself is gone.
    """

    def __init__(
        self, executor: Executor, name: str, lost: tuple[type[BaseException], ...] = (CancelledError,)
    ) -> None:
        self._executor, self.name, self._lost = executor, name, lost

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Have what is still being done left undone."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def map(
        self, function: Callable[[J], A], jobs: Sequence[J], look: Callable[[], None] = lambda: None
    ) -> Iterator[A]:
        """The answers, in the order of the jobs, once all are there.

        Jobs and answers are pickled on their way; so is the function, by its name.

        Args:
            look: called twice a second until then.

        Raises:
            TrainingError: the workers are lost.
            Exception: what the first of the jobs to fail has raised; the others are given up.
        """
        futures = self._submitted(function, jobs)
        pending: set[Future[A]] = set(futures)
        try:
            while pending:
                done, pending = wait(pending, LOOK, FIRST_COMPLETED)
                for each in done:
                    self._answer(each)
                look()
        finally:
            for each in pending:
                each.cancel()
        return map(self._answer, futures)

    def _submitted(self, function: Callable[[J], A], jobs: Sequence[J]) -> list[Future[A]]:
        try:
            return [self._executor.submit(function, job) for job in jobs]
        except self._lost as error:
            raise self._gone(error) from None

    def _answer(self, future: Future[A]) -> A:
        try:
            return future.result()
        except self._lost as error:
            raise self._gone(error) from None

    def _gone(self, error: BaseException) -> TrainingError:
        said = f" ({first_line(error)})" if str(error).strip() else ""
        return TrainingError(f"{self.name} cannot be reached any more{said}; {GO_ON}")
