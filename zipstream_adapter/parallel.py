"""Deflate in blocks, several at a time: in order, bounded in flight, the same bytes whoever does the work.

A member's data is cut every `BLOCK` bytes, wherever the caller cut it. Each block is deflated by itself, with the last
32 KiB before it as its dictionary, and ends at a byte, so what the blocks become can stand behind one another. In
flight are at most `Workers.window` blocks, each with what it became; with the one that is being filled, the piece it is
filled from and what the compressors need, a stream holds up to 1 MiB * (workers + 4).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from .counts import is_count
from .engines import WINDOW, Tuned, deflate_block
from .errors import OptionError
from .mixture import SAMPLE, Mixture, Tried

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from typing_extensions import Buffer

BLOCK = 1 << 18

T = TypeVar("T")
Try = Callable[[bytes, bytes], list[Tried]]  # on a sample, and the data before it


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class SharedPool:
    """Threads that all archives of the process share: there while one that has asked for them is open.

    So a process that makes no archive has no thread of ours, and can fork; and a child that was forked while one was
    being made has a pool of its own.
    """

    def __init__(self, name: str, size: Callable[[], int], *, waits: bool = True) -> None:
        """waits: whether the last to give them back waits for what they are at."""
        self._name = name
        self._size = size
        self._waits = waits
        self._lock = threading.RLock()
        self._executor: Executor | None = None
        self.leases = 0  # archives that have asked for the threads and not given them back
        self.generation = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def lease(self) -> Executor:
        """The threads, for one archive more."""
        with self._lock:
            if self._executor is None:
                from concurrent.futures import ThreadPoolExecutor  # with logging behind it: not for every import

                self._executor = ThreadPoolExecutor(self._size(), thread_name_prefix=self._name)
            self.leases += 1
            return self._executor

    def give_back(self, generation: int) -> None:
        """One archive less, of those that have come in `generation`."""
        with self._lock:
            if generation != self.generation:
                return  # of the parent process, which has it still
            self.leases -= 1
            if self.leases:
                return
            executor, self._executor = self._executor, None
        if executor is not None:
            # A thread of the pool itself may be collecting a dropped stream as garbage: it cannot wait for itself.
            # What is still queued is nobody's any more.
            waits = self._waits and not threading.current_thread().name.startswith(self._name)
            executor.shutdown(wait=waits, cancel_futures=True)

    def _forget(self) -> None:
        """In a forked child, where no thread has come along, and the lock may have been held by one."""
        self._lock = threading.RLock()
        self._executor = None
        self.leases = 0
        self.generation += 1


class Lease:
    """One archive's use of a `SharedPool`, from the first work it has for it to `close`."""

    def __init__(self, pool: SharedPool) -> None:
        self._pool = pool
        self._executor: Executor | None = None
        self._generation = 0

    @property
    def generation(self) -> int:
        """Changes where the process is forked: what was submitted before is never finished in the child."""
        return self._pool.generation

    @property
    def executor(self) -> Executor:
        """The threads."""
        if self._executor is None or self._generation != self._pool.generation:
            self._executor, self._generation = self._pool.lease(), self._pool.generation
        return self._executor

    def close(self) -> None:
        """Let go of the threads; whoever asks for them again gets some."""
        executor, self._executor = self._executor, None
        if executor is not None:
            self._pool.give_back(self._generation)


_pool = SharedPool("zipstream-adapter-deflate", usable_cores)


class Workers:
    """Who deflates the blocks of one archive: nobody else, an executor of the caller's, or the process's own threads.

    Args:
        workers: blocks that are worked on at a time: None for as many as there are usable cores (where there is but
            one: none), 0 for none, which deflates in the caller's thread.
        executor: any `concurrent.futures.Executor`. It is never shut down here. Default: threads that all archives of
            the process share.
    """

    def __init__(self, workers: int | None = None, executor: Executor | None = None) -> None:
        if workers is not None and not is_count(workers):
            raise OptionError(f"workers={workers!r}: give a whole number, 0 for none, or None for one per usable core")
        if executor is not None and (isinstance(executor, type) or not callable(getattr(executor, "submit", None))):
            raise OptionError(f"executor={executor!r}: give a concurrent.futures.Executor, or None")
        self._wanted = workers
        self._executor = executor
        self._lease = Lease(_pool)
        self._without_threads = False

    @property
    def window(self) -> int:
        """Blocks that may be in flight: one more than are worked on, so that no worker has to wait for the caller."""
        if self._wanted == 0:
            return 0
        cores = usable_cores()
        if self._wanted is None:
            return cores + 1 if cores > 1 or self._executor is not None else 0
        # With threads to spare, one more in flight would be one more at work.
        return self._wanted + (self._executor is not None or self._wanted >= cores)

    @property
    def generation(self) -> int:
        """As of `Lease`."""
        return self._lease.generation

    def submit(self, work: Callable[[], T]) -> Future[T] | None:
        """Hand `work` to a worker; None where no thread can be had (any more, where the interpreter is ending)."""
        if self._executor is not None:
            return self._executor.submit(_at_work, work)
        if self._without_threads:
            return None
        try:
            return self._lease.executor.submit(_at_work, work)
        except RuntimeError:
            self._without_threads = True  # what was submitted may lie there for good: let there be no more of it
            return None

    def close(self) -> None:
        """Let go of the threads; more work would ask for them again."""
        self._lease.close()


# Seconds that closing waits for blocks that are being worked on, of which each takes milliseconds.
_LONGEST_WAIT = 5.0
# Whether this thread is a worker that is at work.
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


class InOrder(Generic[T]):
    """Work done by `workers`, whose results come in the order in which it was given; `Workers.window` at a time."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._window: int | None = None  # not asked for before there is work
        self._pending: deque[_Pending[T]] = deque()

    def __bool__(self) -> bool:
        """Whether any is in flight."""
        return bool(self._pending)

    def start(self, work: Callable[[], T]) -> list[T]:
        """Have `work` (which can be pickled) done; returns what is finished, at least as much as makes room for it."""
        if self._window is None:
            self._window = self._workers.window
        if not self._window:
            return [work()]
        results = []
        while self._pending and (len(self._pending) >= self._window or self._is_done(self._pending[0])):
            results.append(self._collect())
        self._pending.append(_Pending(work, self._workers.submit(work), self._workers.generation))
        return results

    def finish(self) -> list[T]:
        """All that is in flight."""
        results = []
        while self._pending:
            results.append(self._collect())
        return results

    def close(self) -> None:
        """Give up: nothing is left waiting, and what is being worked on is waited for."""
        pending, self._pending = self._pending, deque()
        futures = [each.future for each in pending if each.generation == self._workers.generation]
        running = [each for each in futures if each is not None and not each.cancel()]
        # A worker that collects a dropped stream as garbage may be at work for that very one: it cannot wait for
        # itself, and cannot always tell.
        patience = 0 if not running or getattr(_thread, "at_work", False) else _LONGEST_WAIT
        until = time.monotonic() + patience
        for future in running:
            with suppress(TimeoutError):
                future.exception(max(0.0, until - time.monotonic()))

    def _is_done(self, pending: _Pending[T]) -> bool:
        return pending.generation == self._workers.generation and pending.future is not None and pending.future.done()

    def _collect(self) -> T:
        """The oldest result. What nobody has begun is done here: no executor can keep us waiting for nothing."""
        pending = self._pending[0]
        future = pending.future
        if future is None or pending.generation != self._workers.generation or future.cancel():
            result = pending.work()
        else:
            result = future.result()
        self._pending.popleft()
        return result


class BlockDeflate:
    """A compressor of one member, by `tuned`, in blocks that `workers` share. Members under a block need none.

    try_engines: what tries engines on the member's own data, where it passes a block. What comes of it holds from a few
    blocks later on, however early it is known: the bytes must not depend on who was fast.
    """

    # Before which blocks, counted from 0, something is tried, and for how many blocks it is under way.
    _TRIED_FIRST, _TRIED_EVERY, _TAKES = frozenset({1, 4, 8, 12, 16, 24, 40, 48}), 32, 2

    def __init__(self, tuned: Tuned, workers: Workers, try_engines: Try | None = None) -> None:
        self._mixture = Mixture(tuned)
        self._try = try_engines
        self._count = 0  # of blocks
        self._parts: list[bytes] = []
        self._size = 0
        self._dictionary = b""
        self._blocks: InOrder[bytes] = InOrder(workers)
        self._tried: InOrder[list[Tried]] = InOrder(workers)
        self._known: list[list[Tried]] = []  # what was tried at once, where there are no workers
        self._learns_at = 0

    def compress(self, data: Buffer) -> bytes:
        """Add `data`; returns what is finished by now, in order."""
        part = data if type(data) is bytes else bytes(data)
        self._parts.append(part)
        self._size += len(part)
        if self._size < BLOCK:
            return b""
        joined = b"".join(self._parts)
        whole = self._size - self._size % BLOCK
        out: list[bytes] = []
        for at in range(0, whole, BLOCK):
            out += self._start(joined[at : at + BLOCK], last=False)
        self._parts = [joined[whole:]] if whole < self._size else []
        self._size -= whole
        return b"".join(out)

    def flush(self) -> bytes:
        """The rest: what is in flight, and the last block, which may be empty."""
        self._tried.close()
        rest = b"".join(self._parts)
        if not self._blocks:
            return deflate_block(*self._mixture.next(), rest, self._dictionary, True)
        return b"".join([*self._start(rest, last=True), *self._blocks.finish()])

    def effort(self, size: int | None) -> int:
        """Bytes that are deflated, or waited for, where `size` are added; without: where all is finished."""
        total = self._size + (size or 0)
        if self._blocks:
            return total + BLOCK
        return total if size is None or total >= BLOCK else 0

    def gather(self) -> bytes:
        """What is in flight, waited for."""
        return b"".join(self._blocks.finish())

    def follow(self, block: bytes) -> None:
        """Go on behind `block`, a whole one that somebody else has deflated."""
        self._count += 1
        self._mixture.next()
        self._dictionary = block[-WINDOW:]

    def close(self) -> None:
        """Give up."""
        self._tried.close()
        self._blocks.close()

    def _start(self, block: bytes, *, last: bool) -> list[bytes]:
        if self._try is not None and not last:
            self._tune(self._try, block)
        self._count += 1
        work = partial(deflate_block, *self._mixture.next(), block, self._dictionary, last)
        self._dictionary = block[-WINDOW:]
        return self._blocks.start(work)

    def _tune(self, try_engines: Try, block: bytes) -> None:
        if self._count == self._learns_at:
            for tried in self._known + self._tried.finish():
                self._mixture.learn(tried)
        if self._count in self._TRIED_FIRST or (self._count and self._count % self._TRIED_EVERY == 0):
            sample = block[WINDOW : WINDOW + SAMPLE]
            self._known = self._tried.start(partial(try_engines, sample, block[:WINDOW]))
            self._learns_at = self._count + self._TAKES
