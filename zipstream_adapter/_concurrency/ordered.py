"""Run work on threads and return the results in the order of submission."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from .._checks import count_of
from ..errors import OptionError
from .pools import Lease, SharedPool, usable_cores

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future


T = TypeVar("T")


_pool = SharedPool("zipstream-adapter-deflate", usable_cores)


class Workers:
    """Runs the work of one archive: on shared threads, on the caller's executor, or on the caller's thread.

    Args:
        workers: number of blocks worked on at a time. None (the default) for one per usable core, but none if there is
            only one core and no `executor`. 0 for none: all work runs on the caller's thread.
        executor: any `concurrent.futures.Executor`. It is never shut down here. Default: threads that all archives of
            the process share.
        room: bytes of data up to which more blocks than `window` may be in flight, so that no worker waits for results
            in front of its own.

    Raises OptionError for an invalid argument.
    """

    def __init__(self, workers: int | None = None, executor: Executor | None = None, room: int = 0) -> None:
        wanted = count_of(workers)
        if workers is not None and wanted is None:
            raise OptionError(f"workers={workers!r}: give a whole number, 0 for none, or None for one per usable core")
        if executor is not None and (isinstance(executor, type) or not callable(getattr(executor, "submit", None))):
            raise OptionError(f"executor={executor!r}: give a concurrent.futures.Executor, or None")
        self._wanted = wanted
        self._executor = executor
        self._room = room
        self._lease = Lease(_pool)
        self._without_threads = False

    @property
    def window(self) -> int:
        """Number of blocks that may be in flight; 0 if work runs on the caller's thread.

        One more than are worked on, so that no worker has to wait for the caller.
        """
        if self._wanted == 0:
            return 0
        cores = usable_cores()
        if self._wanted is None:
            return cores + 1 if cores > 1 or self._executor is not None else 0
        # If the pool has more threads than `workers`, one more block in flight would exceed `workers`.
        return self._wanted + (self._executor is not None or self._wanted >= cores)

    @property
    def room(self) -> int:
        """Bytes of data up to which more blocks than `window` may be in flight."""
        # If the pool has more threads than `workers`, they would work on more.
        return self._room if self._wanted is None or self._wanted >= usable_cores() else 0

    @property
    def generation(self) -> int:
        """See `Lease.generation`."""
        return self._lease.generation

    def submit(self, work: Callable[[], T]) -> Future[T] | None:
        """Hand `work` to a worker. Returns None if no thread can be started, as at interpreter shutdown."""
        if self._executor is not None:
            return self._executor.submit(_at_work, work)
        if self._without_threads or sys.is_finalizing():
            return None
        try:
            return self._lease.executor.submit(_at_work, work)
        except RuntimeError:
            self._without_threads = True  # submitted work may never run, so do not submit more
            return None

    def close(self) -> None:
        """Give the threads back. More work leases them again."""
        self._lease.close()


# Seconds that closing waits for running work. A block takes milliseconds.
_CLOSE_TIMEOUT_S = 5.0


# `at_work`: whether the current thread is running a worker's work.
_thread = threading.local()


def _at_work(work: Callable[[], T]) -> T:
    _thread.at_work = True
    try:
        return work()
    finally:
        _thread.at_work = False


class _Pending(NamedTuple, Generic[T]):
    work: Callable[[], T]
    future: Future[T] | None
    generation: int
    size: int


class InOrder(Generic[T]):
    """Runs work on `workers`, up to `Workers.window` items or `Workers.room` bytes at a time.

    Results come in the order of submission.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._window: int | None = None  # unknown until there is work
        self._room = self._size = 0  # bytes that may be, and that are, in flight
        self._pending: deque[_Pending[T]] = deque()

    def __bool__(self) -> bool:
        """Whether any work is in flight."""
        return bool(self._pending)

    def start(self, work: Callable[[], T], size: int = sys.maxsize) -> list[T]:
        """Submit `work`, which must be picklable. Returns the oldest results, as far as they are finished.

        Waits for as many of them as are needed to make room.

        size: bytes of data of the work. Default: it does not begin before there are fewer than `Workers.window` items.
        """
        if self._window is None:
            self._window, self._room = self._workers.window, self._workers.room
        if not self._window:
            return [work()]
        results = []
        while self._pending and (self._is_done(self._pending[0]) or self._is_full(size)):
            results.append(self._collect())
        self._pending.append(_Pending(work, self._workers.submit(work), self._workers.generation, size))
        self._size += size
        return results

    def finish(self) -> list[T]:
        """Wait for all work in flight and return its results."""
        results = []
        while self._pending:
            results.append(self._collect())
        return results

    def close(self) -> None:
        """Cancel work that has not begun, and wait for running work."""
        pending, self._pending, self._size = self._pending, deque(), 0
        futures = [each.future for each in pending if each.generation == self._workers.generation]
        running = [each for each in futures if each is not None and not each.cancel()]
        # A worker may be closing a dropped stream as garbage while it works for that same stream: it cannot wait for
        # itself, and cannot always tell.
        timeout = 0 if not running or getattr(_thread, "at_work", False) else _CLOSE_TIMEOUT_S
        until = time.monotonic() + timeout
        for future in running:
            with suppress(TimeoutError):
                future.exception(max(0.0, until - time.monotonic()))

    def _is_full(self, size: int) -> bool:
        assert self._window is not None
        return len(self._pending) >= self._window and self._size + size > self._room

    def _is_done(self, pending: _Pending[T]) -> bool:
        return pending.generation == self._workers.generation and pending.future is not None and pending.future.done()

    def _collect(self) -> T:
        """Return the oldest result. Work that has not begun runs here: a stuck executor must not block the caller."""
        pending = self._pending[0]
        future = pending.future
        if future is None or pending.generation != self._workers.generation or future.cancel():
            result = pending.work()
        else:
            result = future.result()
        self._pending.popleft()
        self._size -= pending.size
        return result
