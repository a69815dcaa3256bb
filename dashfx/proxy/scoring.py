"""Models, one batch and proxies go in; their `Ranking` comes out, from one process or from several alike."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from dashfx.errors import DashfxError, ProxyError, first_line
from dashfx.proxy.base import Batch, Proxy, split
from dashfx.proxy.gennas.score import GenNAS
from dashfx.proxy.peers import Flops, Params
from dashfx.proxy.ranking import Ranking, Row

log = logging.getLogger(__name__)

Model = nn.Module | Callable[[], nn.Module]


@dataclass(frozen=True)
class _Jobs:
    """What a process needs to score any of the models."""

    models: list[tuple[str, Model]]
    batch: Batch
    proxies: list[Proxy]
    seed: int

    def run(self, index: int) -> Row:
        """Score one model; what it raises becomes the row's note, so that one bad model does not cost the others."""
        start = time.perf_counter()
        (name, model), scores = self.models[index], {proxy.name: proxy.worst for proxy in self.proxies}
        wrong: dict[str, list[str]] = {}  # reason -> where
        try:
            model = self._built(model)
        except Exception as error:  # the user's class may raise anything
            wrong[_reason(error)] = ["it cannot be built"]
        else:
            for proxy in self.proxies:
                try:
                    scores[proxy.name] = proxy.score(model, self.batch)
                    if scores[proxy.name] == proxy.worst:
                        wrong.setdefault("no finite score", []).append(proxy.name)
                except Exception as error:  # and so may its forward
                    wrong.setdefault(_reason(error), []).append(proxy.name)
        notes = [f"{', '.join(where)}: {reason}" for reason, where in wrong.items()]
        return Row(name, scores, time.perf_counter() - start, "; ".join(notes))

    def _built(self, model: Model) -> nn.Module:
        if isinstance(model, nn.Module):
            return model
        torch.manual_seed(self.seed)  # the weights do not depend on the place in the list
        return model()


def _reason(error: Exception) -> str:
    """One line; of an error that is not dashfx's own, the class too, and the traceback in the log."""
    if isinstance(error, DashfxError):
        return str(error)
    log.debug("a model that cannot be scored", exc_info=error)
    return f"{type(error).__name__}: {first_line(error)}"


def rank(
    modules: Mapping[str, Model] | Sequence[Model],
    batch: Batch,
    proxies: Sequence[Proxy] | None = None,
    workers: int = 1,
    seed: int = 0,
    on_row: Callable[[Row], None] | None = None,
) -> Ranking:
    """Score every model on the same batch, each with one thread, so that any number of processes gives the same table.

    Args:
        modules: models by name, or in a list, then their names are their places. A function without arguments is
            called to build its model, each from the same seed; a module is scored with the weights it holds.
        batch: inputs, or (inputs, labels).
        proxies: GenNAS where not given. Parameters and FLOPs are always there.
        workers: processes.
        seed: for models that are built here; proxies have their own.
        on_row: called with each row as it is ready, in the order of the list.

    Raises:
        ProxyError: no models, a batch that is none, or two proxies of one name. What a model raises is its row's note.
    """
    named = list(modules.items()) if isinstance(modules, Mapping) else [(str(i), m) for i, m in enumerate(modules)]
    chosen = _with_counts(list(proxies) if proxies is not None else [GenNAS(seed=seed)])
    if not named or workers < 1:
        raise ProxyError(f"{len(named)} models and {workers} workers: give at least one of each")
    split(batch)
    jobs = _Jobs(named, batch, chosen, seed)
    rows = []
    with _one_thread():
        for row in _rows(jobs, min(workers, len(named))):
            rows.append(row)
            log.info("%s: %s in %.1f s %s", row.name, dict(row.scores), row.seconds, row.note)
            if on_row is not None:
                on_row(row)
    return Ranking(tuple(rows), {proxy.name: proxy.maximise for proxy in chosen})


def _with_counts(proxies: list[Proxy]) -> list[Proxy]:
    chosen = [Params(), Flops(), *(p for p in proxies if not isinstance(p, Params | Flops))]
    names = [p.name for p in chosen]
    if len(set(names)) < len(names):
        raise ProxyError(f"two proxies of one name in {', '.join(names)}: give each a name of its own (`proxy.name`)")
    return chosen


def _rows(jobs: _Jobs, workers: int) -> Iterator[Row]:
    """In the order of the list."""
    if workers == 1:
        yield from (jobs.run(i) for i in range(len(jobs.models)))
        return
    # A forked process has the models already, also those whose class only the parent can import. Where there is an
    # accelerator, autograd keeps a thread for it, and a fork cannot use autograd again.
    fork = "fork" in multiprocessing.get_all_start_methods() and not torch.accelerator.is_available()
    if not fork:
        _check_picklable(jobs)
    context = multiprocessing.get_context("fork" if fork else "spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(jobs,)) as pool:
        with warnings.catch_warnings():
            # Python warns that a fork of a process with threads may hang; these children never use torch's threads
            warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
            futures = [pool.submit(_run, i) for i in range(len(jobs.models))]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _check_picklable(jobs: _Jobs) -> None:
    try:
        pickle.dumps(jobs.models)
    except Exception as error:  # pickling runs code of the models' classes
        raise ProxyError(f"the models cannot be sent to another process ({error}): rank them with workers=1") from None


_jobs: _Jobs | None = None


def _start(jobs: _Jobs) -> None:
    global _jobs
    _jobs = jobs
    torch.set_num_threads(1)


def _run(index: int) -> Row:
    assert _jobs is not None
    return _jobs.run(index)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
