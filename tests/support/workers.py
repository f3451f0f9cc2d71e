"""Executors that the tests of work on other machines have in common.

Processes and clusters take long to start: those of one file of tests share them, and `end` ends them behind the last.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from tests.support.executors import Recording
from tests.support.loops import module

T = TypeVar("T")


def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(3)


class Processes(ProcessPoolExecutor):
    """Two processes. They keep their futures."""

    def __init__(self) -> None:
        super().__init__(2, mp_context=multiprocessing.get_context("spawn"))
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future = super().submit(fn, *args, **kwargs)
        self.futures.append(future)
        return future


_shared = ExitStack()
_clients: dict[int, Any] = {}
_processes: list[Processes] = []


@contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """Processes that are shared; the block ends when their work is done."""
    if not _processes:
        _processes.append(_shared.enter_context(Processes()))
    shared = _processes[0]
    try:
        yield shared
    finally:
        wait(shared.futures)
        shared.futures.clear()


@contextmanager
def dask(workers: int) -> Iterator[Executor]:
    """A cluster of processes that is shared, and listens on 127.0.0.1."""
    distributed = module("distributed")
    if workers not in _clients:
        cluster = _shared.enter_context(
            distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
            )
        )
        _clients[workers] = _shared.enter_context(distributed.Client(cluster))
    with _clients[workers].get_executor() as executor:
        yield executor


def end() -> None:
    """End all that is shared."""
    _processes.clear()
    _clients.clear()
    _shared.close()


class Measuring(Recording):
    """Threads that measure the calls as a process would get them, pickled.

    Attributes:
        sent: bytes of the calls.
    """

    sent = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.sent += len(pickle.dumps((fn, args, kwargs)))
        return super().submit(fn, *args, **kwargs)

    @property
    def returned(self) -> int:
        """Bytes of the results, pickled."""
        return sum(len(pickle.dumps(each.result())) for each in self.futures)
