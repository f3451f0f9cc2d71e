"""Executors that the tests of work on other machines have in common."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from tests.support.executors import Recording
from tests.support.loops import module

T = TypeVar("T")


def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(3)


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@contextmanager
def dask(workers: int) -> Iterator[Executor]:
    """A cluster of processes, which listens on 127.0.0.1."""
    distributed = module("distributed")
    with ExitStack() as stack:
        cluster = stack.enter_context(
            distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
            )
        )
        client = stack.enter_context(distributed.Client(cluster))
        yield client.get_executor()


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
