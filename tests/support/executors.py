"""Executors for the tests of work in parallel: real threads that keep a record of what they are given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.strategies import noise
from zipstream_adapter import Entry, StreamingZipFile, ZipStream, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK

T = TypeVar("T")
Job = Callable[[int, Callable[[], Any]], Any]

DATE = datetime(2024, 5, 6, tzinfo=UTC)
# No compressor makes it smaller, so every block comes out at once, and as a chunk.
NOISE = noise(7, BLOCK)
SMALL = 50_000
_OPTIONS: dict[str, Any] = {"compression": "deflate", "level": 1, "workers": 2}


class BoomError(Exception):
    """What goes wrong."""


class Recording(ThreadPoolExecutor):
    """Threads that keep their futures. `job(number, work)` does each piece of work, if given.

    No work begins before `together` pieces are submitted, so that `most` does not depend on the threads' speed.
    """

    def __init__(self, threads: int, job: Job | None = None, *, together: int = 1) -> None:
        super().__init__(threads)
        self.futures: list[Future[Any]] = []
        self.most = 0  # that were not done at a time
        self._job = job or (lambda number, work: work())
        self._together = together
        self._begin = threading.Event()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future = super().submit(self._work, len(self.futures), partial(fn, *args, **kwargs))
        self.futures.append(future)
        self.most = max(self.most, sum(not each.done() for each in self.futures))
        if len(self.futures) >= self._together:
            self._begin.set()
        return future

    def _work(self, number: int, work: Callable[[], T]) -> T:
        assert self._begin.wait(60), f"fewer than {self._together} pieces of work were submitted"
        result: T = self._job(number, work)
        return result

    def occupy(self, until: threading.Event) -> None:
        """Give every thread something else to do; off the record."""
        for _ in range(self._max_workers):
            super().submit(until.wait)


class Inline(Executor):
    """Does all work, and fails, where it is given."""

    def __init__(self, job: Job | None = None) -> None:
        self.futures: list[Future[Any]] = []
        self._job = job or (lambda number, work: work())

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        self.futures.append(future)
        future.set_running_or_notify_cancel()
        try:
            future.set_result(self._job(len(self.futures) - 1, partial(fn, *args, **kwargs)))
        except Exception as exc:
            future.set_exception(exc)
        return future


@contextmanager
def occupied(threads: int = 1) -> Iterator[Recording]:
    """An executor that never gets to anything."""
    over = threading.Event()
    with Recording(threads) as executor:
        executor.occupy(over)
        try:
            yield executor
        finally:
            over.set()


def blocks(count: int, *, failing: bool = False) -> Iterator[bytes]:
    """`count` blocks of noise, and, where `failing`, an error behind them."""
    for _ in range(count):
        yield NOISE
    if failing:
        raise BoomError("boom")


def long_stream(*, count: int = 16, failing: bool = False, **options: Any) -> ZipStream:
    """A stream of a member of `count` blocks. A stored one comes first: nobody waits for the first bytes any more."""
    first = Entry("first", NOISE, compression="stored", modified=DATE)
    second = Entry("second", blocks(count, failing=failing), modified=DATE)
    return stream_zip([first, second], **_OPTIONS | options)


def small_stream(**options: Any) -> ZipStream:
    """A stream of small members, six of which make a block."""
    entries = [Entry(str(number), NOISE[:SMALL], modified=DATE) for number in range(80)]
    return stream_zip(entries, **_OPTIONS | options)


def long_archive(**options: Any) -> StreamingZipFile:
    """An archive with a stored member in it, for code that writes to a zipfile."""
    options = {"workers": 2} | options
    archive = StreamingZipFile(compression="deflate", compresslevel=1, **options)
    archive.writestr("first", NOISE, 0)
    return archive


def run_into(stream: ZipStream, size: int = 6 * BLOCK) -> bytes:
    """Take at least `size` bytes: some blocks into the second member of a `long_stream`, with more in flight."""
    left = b""
    while len(left) < size:
        left += next(stream)
    return left


def slowly(work: Callable[..., T], *arguments: Any) -> T:
    """`work` done so slowly that there is time to do something while it is under way. Can be pickled."""
    time.sleep(0.3)
    return work(*arguments)


def new_threads(before: set[threading.Thread]) -> set[threading.Thread]:
    """The threads that were not there `before`."""
    return set(threading.enumerate()) - before


def none_left(before: set[threading.Thread], seconds: float = 60) -> bool:
    """Whether the threads that were not there `before` end, which those that nobody waits for do in a moment."""
    end = time.monotonic() + seconds
    while new_threads(before) and time.monotonic() < end:
        time.sleep(0.01)
    return not new_threads(before)


@contextmanager
def interrupted(when: Callable[[], object]) -> Iterator[None]:
    """Interrupt this thread, the main one, as soon as `when` is true; that ends the block."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if when():
                os.kill(os.getpid(), signal.SIGINT)
                return

    # A run in the background may have been told to ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watching = threading.Thread(target=watch)
    try:
        with pytest.raises(KeyboardInterrupt):
            watching.start()
            yield
    finally:
        over.set()
        watching.join()
        signal.signal(signal.SIGINT, before)


def run_script(code: str, *arguments: str) -> int:
    """Run `code`, which may import the tests, in a process of its own; a status of 77 asks for a skip."""
    command = [sys.executable, "-W", "error", "-X", "faulthandler", "-c", code, *arguments]
    checkout = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=checkout, capture_output=True, timeout=200, check=False)
    assert done.returncode in (0, 77), done.stderr.decode()
    return done.returncode
