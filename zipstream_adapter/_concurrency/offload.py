"""Threads for the steps of asynchronous streams, shared by all of them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, MutableMapping
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from .cancellation import UncancelledTask, check_loop, closed, outlasting, settled, within
from .closing import snapshot
from .pools import usable_cores
from .threads import Job, Lease, ThreadPool

# More threads than cores, because a step blocks while its source does.
_threads = ThreadPool("zipstream-adapter-step", lambda: min(32, usable_cores() + 4))
# Bytes that a step may produce before the consumer asks for them: at most, at least, and, beyond that least, of all
# streams together.
_MOST_BYTES, _LEAST_BYTES, _ALL_BYTES = 1 << 22, 1 << 17, 1 << 23
# Bytes to read from a file at a time, at most and at least.
_MOST_READ, _LEAST_READ = 1 << 22, 1 << 16
# Seconds that closing waits for a free thread before an extra one is started.
_EXTRA_THREAD_AFTER_S = 0.1


@cache
def _keep_pages() -> None:
    """Make the C library keep freed memory, once for the process, by allocating and freeing a large block.

    glibc returns free memory at the end of a thread's heap to the system if it is more than twice the largest block
    freed so far. Every step would have to get its pages again, which takes longer than reading into them.
    """
    bytes(_MOST_BYTES)


class _InFlight:
    """Bytes that the steps of all streams have produced, or may produce now, and that no consumer has taken yet."""

    def __init__(self) -> None:
        # Reentrant: the garbage collector may end a dropped stream while its thread holds the lock.
        self._lock = threading.RLock()
        self.total = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset_in_child)

    def _reset_in_child(self) -> None:
        self._lock = threading.RLock()
        self.total = 0

    def change(self, by: int) -> None:
        with self._lock:
            self.total += by  # at once: the garbage collector cannot come between
            if self.total < 0:  # in a forked child, streams of the parent are still counted down
                self.total = 0


_in_flight = _InFlight()


_open_streams: MutableMapping[asyncio.AbstractEventLoop, WeakSet[StepThreads]] = WeakKeyDictionary()


class Step:
    """A step that runs on a thread.

    Attributes:
        stop: the cancellation that came while waiting for the step, or None.
        on_stop: called when it comes, before the end of the step is awaited.
    """

    def __init__(self, threads: StepThreads, job: Job, result: asyncio.Future[Any], must: bool) -> None:
        self._threads = threads
        self._job = job
        self._result = result
        self._must = must
        self.stop: asyncio.CancelledError | None = None
        self.on_stop: Callable[[], object] | None = None

    async def within(self, seconds: float) -> bool:
        """Wait at most `seconds` for the end of the step. Returns whether it has ended.

        On a cancellation, the step is withdrawn unless it has begun or must run; else it is awaited to its end.
        """
        over: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def end(_: object) -> None:
            if not over.done():
                over.set_result(None)

        self._result.add_done_callback(end)
        try:
            return await within(over, seconds)
        except asyncio.CancelledError as exc:
            self.stop = exc
            if self.on_stop is not None:
                self.on_stop()
            await self.end()
            return True
        finally:
            self._result.remove_done_callback(end)

    async def end(self) -> None:
        """Wait for the end of the step. A step that has not begun is withdrawn, unless it must run."""
        if self._result.done() or self._job.cancelled():
            return
        # The result of a done job reaches the event loop one turn later.
        if self._job.done() or not self._threads.withdrawn(self._job, must=self._must):
            self.stop = await self._threads.settled(self._job, self._result) or self.stop

    @property
    def made(self) -> list[Any]:
        """The result of the step; empty if it never began."""
        return [] if self._job.cancelled() else self._result.result()


async def streams_closed(timeout: float | None = None) -> bool:  # noqa: ASYNC109 - asyncio.timeout would raise
    """Wait until all asynchronous streams on this event loop have ended: were read to their end, failed or were closed.

    For a server's shutdown, when cancellations may still be on their way and streams may be closing in the background:
    ``await streams_closed(10)`` at the end of a lifespan. It does not end any stream itself.

    Args:
        timeout: seconds to wait at most; None (the default) for no limit.

    Returns whether all have ended: streams, ranges of layouts and data of remote members that were begun on this loop.

    Raises EventLoopError without asyncio.
    """
    check_loop()
    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    while streams := _open_streams.get(loop):
        ends = [asyncio.ensure_future(each.ended.wait()) for each in snapshot(streams)]
        try:
            pending = (await asyncio.wait(ends, timeout=None if until is None else max(0.0, until - loop.time())))[1]
        finally:
            for end in ends:
                end.cancel()
        if pending:
            return False
    return True


class StepThreads:
    """One stream's use of the shared threads, from its first step on a thread to its end.

    Attributes:
        sources: open sources, each with the name of its entry.
        ended: set at the end of the stream.
    """

    def __init__(self, what: str = "closing a stream") -> None:
        _keep_pages()
        self._lease = Lease(_threads)
        self._what = what
        self._hung: dict[asyncio.Future[Any], Job] = {}  # awaited despite a cancellation
        self._was_left = self._hurries = False
        self._held = 0  # bytes of the stream that are in flight
        self._closings: list[Job] = []  # closing jobs that had to queue
        self.sources: dict[object, str] = {}
        self.ended: asyncio.Event

    def begin(self) -> None:
        """Register the stream with this event loop. Raises EventLoopError without one."""
        check_loop()
        self._open = _open_streams.setdefault(asyncio.get_running_loop(), WeakSet())
        self.ended = asyncio.Event()
        self._open.add(self)

    @property
    def read_size(self) -> int:
        """Bytes to read from a file at a time. Each stream holds what it read last: with many streams, it is less."""
        size = _MOST_READ
        while size > _LEAST_READ and size * self._lease.pool.leases > _ALL_BYTES:
            size //= 2
        return size

    def reserve(self) -> int:
        """Return the bytes that a step may produce, if its source has more; the less, the more all streams hold.

        They are in flight until `hold` says how many there are.
        """
        most = _MOST_BYTES
        while most > _LEAST_BYTES and most > (_ALL_BYTES - _in_flight.total) // 2:
            most //= 2
        self.hold(most)
        return most

    def hold(self, size: int) -> None:
        """State the bytes that the stream's steps have produced and its consumer has not taken."""
        _in_flight.change(size - self._held)
        self._held = size

    async def run(
        self, function: Callable[[], Any], *, closing: bool = False, keep: Callable[[Any], object] | None = None
    ) -> Any:
        """Run `function` on a thread, in the caller's context, and return its result.

        On a cancellation, a call that has begun is awaited to its end, and any other is withdrawn.

        Args:
            closing: the call must run: it is never withdrawn, and gets an extra thread instead of queueing for long.
            keep: called with the result, even after a cancellation, so that an opened resource is not lost.
        """
        job, result = self._submit(function, closing=closing)
        try:
            value = await asyncio.shield(result)
        except asyncio.CancelledError:
            if not self.withdrawn(job, must=closing):
                await self.settled(job, result)
                if keep is not None and not result.cancelled() and result.exception() is None:
                    keep(result.result())
            raise
        if keep is not None:
            keep(value)
        return value

    def step(self, function: Callable[[], list[Any]], *, must: bool, at_once: bool) -> Step:
        """Start `function`, which must not raise, on a thread.

        Args:
            must: whether the call must run even if a cancellation comes.
            at_once: whether the call gets an extra thread instead of queueing.
        """
        return Step(self, *self._submit(function, closing=must, at_once=at_once), must)

    def submit(self, function: Callable[[], Any], *, closing: bool = False, at_once: bool = False) -> Job:
        """Hand `function` to a thread. If none is free in time, a `closing` call gets an extra one."""
        job = Job(function)
        self._lease.executor.place(job, at_once=at_once or (closing and self._hurries))
        if closing and job.is_queued:
            self._closings = [each for each in self._closings if not each.done()] + [job]
            asyncio.get_running_loop().call_later(_EXTRA_THREAD_AFTER_S, self._lease.pool.hasten, job)
        return job

    def _submit(self, function: Callable[[], Any], **how: bool) -> tuple[Job, asyncio.Future[Any]]:
        job = self.submit(partial(copy_context().run, function), **how)
        return job, asyncio.wrap_future(job)

    def withdrawn(self, job: Job, *, must: bool) -> bool:
        """Withdraw `job` unless it `must` run or has begun. Returns whether it was withdrawn."""
        if must:
            self._lease.pool.hasten(job)
            return False
        return job.cancel()

    async def settled(self, job: Job, result: asyncio.Future[Any]) -> asyncio.CancelledError | None:
        """Wait for the end of `job`, even if cancelled. Returns the last cancellation, or None."""
        self._hung[result] = job
        try:
            return await settled(result)
        finally:
            del self._hung[result]

    def hung(self, job: Job, result: asyncio.Future[Any]) -> None:
        """Record that `result` of `job` is awaited despite a cancellation."""
        if result not in self._hung:
            self._hung[result] = job
            result.add_done_callback(self._hung.pop)

    def hurry(self) -> None:
        """Called on a cancellation and at the end: closing calls no longer queue."""
        self._hurries = True
        for job in self._closings:
            self._lease.pool.hasten(job)

    def leave(self) -> str:
        """Stop waiting for unfinished calls, and stop counting their threads. Returns a description for a warning."""
        for job in self._hung.values():
            self._lease.pool.leave(job)
        self._was_left = True
        names = ", ".join(map(repr, list(self.sources.values())))
        return f"{self._what} (the source of entry {names})" if names else self._what

    def failed(self, name: str, error: Exception) -> None:
        """Report a failed source, of the entry `name`, to the event loop if nobody waits for the stream any more."""
        if self._was_left:
            message = f"the source of entry {name!r} failed in the background"
            asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})

    def give_up(self) -> None:
        """Called when the event loop ends: stop waiting for threads."""
        for result in list(self._hung):
            if isinstance(result, UncancelledTask):
                result.give_up()
            else:
                result.cancel()

    def close(self) -> None:
        """Give the threads back and mark the stream as ended."""
        self._lease.close()
        self.hold(0)
        if hasattr(self, "ended"):
            self.ended.set()
            self._open.discard(self)


async def on_thread(function: Callable[[], Any], what: str) -> Any:
    """Run `function` on a thread, like `StepThreads.run`, but abandon it after a second cancellation if it hangs.

    Args:
        what: description of the call for a warning.
    """
    threads = StepThreads(what)
    try:
        return await outlasting(threads.run(function), threads)
    finally:
        threads.close()


async def closed_or_left(close: Coroutine[Any, Any, Any], what: str) -> None:
    """Run `close` to its end, like `closed`, but abandon it after a second cancellation if it hangs.

    Args:
        what: description for a warning.
    """
    await outlasting(closed(close), StepThreads(what))


class FileThreads(Executor):
    """An executor for the calls of aiofiles on one file, which come one at a time.

    Attributes:
        closing: whether the calls that follow must run, and get an extra thread instead of queueing for long.
    """

    closing = False

    def __init__(self, threads: StepThreads) -> None:
        self._threads = threads
        self._job: Job | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` on a thread."""
        self._job = job = self._threads.submit(partial(fn, *args, **kwargs), closing=self.closing)
        return job

    def withdraw(self, result: asyncio.Future[Any]) -> None:
        """Called on a cancellation: withdraw the call that `result` waits for, unless it has begun or must run."""
        if self._job is not None and not self._job.done() and (self.closing or not self._job.cancel()):
            self._threads.hung(self._job, result)
