"""Thread pools shared by all streams of the process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Executor


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class SharedPool:
    """Threads shared by all archives of the process. They exist while an archive leases them.

    So a process that writes no archive has no thread of this pool, and can fork. A child that is forked while an
    archive is being written has a pool of its own.

    `ThreadPool` is the pool of event loops and remote archives, whose work waits for others. This one is the pool of
    compression, also in streams that signal handlers interrupt: whichever step an exception ends, the leases and the
    threads stay countable. Its work never hangs, so an Executor of the standard library suffices.
    """

    def __init__(self, name: str, size: Callable[[], int]) -> None:
        """Make a pool without threads.

        Args:
            name: prefix of the threads' names.
            size: returns the number of threads; called when they are started.
        """
        self._name = name
        self._size = size
        self._lock = threading.RLock()
        self._current: list[Executor] = []  # one, while an archive leases it
        self._unleased: list[Executor] = []  # to shut down
        self._holders: set[Any] = set()  # of open leases
        self.generation = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset_in_child)

    def lease(self, holder: Any = None) -> Executor:
        """Lease the threads to the archive `holder` until `give_back`."""
        with self._lock:
            self._holders.add(holder)
            if not self._current:
                from concurrent.futures import ThreadPoolExecutor  # imports logging: only when needed

                self._current.append(ThreadPoolExecutor(self._size(), thread_name_prefix=self._name))
            return self._current[0]

    def give_back(self, generation: int, holder: Any = None) -> None:
        """End the lease of `holder`, taken in `generation`. A further call completes one that was interrupted."""
        with self._lock:
            if generation != self.generation:
                return  # leased in the parent process, which still has it
            self._holders.discard(holder)
            if self._holders:
                return
            # One call of C code: an interrupt cannot leave the executor in both lists, or in none.
            self._unleased.extend(map(self._current.pop, repeat(-1, len(self._current))))
        # A thread of this pool may be closing a dropped stream as garbage: it cannot wait for itself.
        # Nobody waits for the work that is still queued.
        waits = not threading.current_thread().name.startswith(self._name)
        for executor in list(self._unleased):
            executor.shutdown(wait=waits, cancel_futures=True)
            with suppress(ValueError):  # another thread was faster
                self._unleased.remove(executor)

    def _reset_in_child(self) -> None:
        """Start afresh in a forked child: it has none of the threads, one of which may have held the lock."""
        self._lock = threading.RLock()
        self._current, self._unleased = [], []
        self._holders = set()
        self.generation += 1


class Lease:
    """One archive's use of a `SharedPool`, from its first work to `close`."""

    def __init__(self, pool: SharedPool) -> None:
        self._pool = pool
        self._executor: Executor | None = None
        self._holder: object = None  # None unless the threads are leased
        self._generation = 0

    @property
    def generation(self) -> int:
        """A number that changes in a forked child: work submitted before the fork never finishes there."""
        return self._pool.generation

    @property
    def executor(self) -> Executor:
        """The pool's executor, leased on first use."""
        if self._executor is None or self._generation != self._pool.generation:
            self._generation = self._pool.generation
            holder = self._holder = self._holder or object()
            self._executor = self._pool.lease(holder)
        return self._executor

    def close(self) -> None:
        """Give the threads back. Using `executor` again leases them again."""
        if self._holder is not None:
            self._executor = None
            self._pool.give_back(self._generation, self._holder)
            self._holder = None
