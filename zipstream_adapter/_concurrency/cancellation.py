"""Waits that continue after a cancellation and are abandoned after a second one."""

from __future__ import annotations

import asyncio
import inspect
import types
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from ..errors import EventLoopError

T = TypeVar("T")
# Seconds that closing may still take after a second cancellation.
GRACE = 1.0


def check_loop() -> None:
    """Raise EventLoopError unless called in a task of an asyncio event loop, for instance under trio."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    if task is None:
        raise EventLoopError(
            "this needs asyncio: use it in a task of an asyncio event loop (asyncio.run, uvloop, anyio's asyncio "
            "backend), not under trio; without an event loop use stream_zip, open_remote or wsgi_app"
        )


async def called(function: Callable[[], Any]) -> Any:
    """Call `function` and return its result, awaited if it is awaitable."""
    result = function()
    if type(result) is types.CoroutineType or inspect.isawaitable(result):  # the second takes longer
        return await result
    return result


async def within(future: asyncio.Future[Any], seconds: float | None) -> bool:
    """Wait for `future`, at most `seconds` (None: without limit). Returns whether someone else ended it in that time.

    On a timeout it is ended here, so nobody but the caller may wait for it.
    """
    if seconds is None:
        await future
        return True
    timer = asyncio.get_running_loop().call_later(seconds, _time_out, future)
    try:
        return await future is not _TIMED_OUT
    finally:
        timer.cancel()


_TIMED_OUT = object()


class Waiting:
    """Successive waits of one task, each for at most `seconds`. They share a timer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started_at = 0.0
        self._future: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, patient: bool = False) -> bool:
        """Wait for `wake`. Returns whether it was called in time. patient: wait without limit."""
        loop = asyncio.get_running_loop()
        self._future = loop.create_future()
        if not patient:
            self._started_at = loop.time()
            if self._timer is None:  # else the timer of an earlier wait checks this one too
                self._timer = loop.call_later(self._seconds, self._check_deadline, loop)
        else:
            self.close()
        return await self._future is not _TIMED_OUT

    def wake(self) -> None:
        """End the current wait, if any."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def _check_deadline(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._future is None or self._future.done():
            return
        left = self._started_at + self._seconds - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._check_deadline, loop)
        else:
            _time_out(self._future)

    def close(self) -> None:
        """Cancel the timer."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


def _time_out(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(_TIMED_OUT)


async def settled(
    future: asyncio.Future[Any], again: Callable[[], object] | None = None
) -> asyncio.CancelledError | None:
    """Wait until `future` is done, even if cancelled. Returns the last CancelledError, to be re-raised, or None.

    An exception of `future` counts as retrieved, so that asyncio does not log it.

    Args:
        again: called for each cancellation.
    """
    stop = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as exc:
            stop = exc
            if again is not None:
                again()
    if not future.cancelled():
        future.exception()
    return stop


async def dropped(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Like `settled`, for a `task` whose result nobody asks for any more, so that it is freed at once."""
    stop = await settled(task)
    with suppress(asyncio.CancelledError):
        task.exception()  # which a cancelled task would keep, with frames that refer to the task
    return stop


def forget_cancellation() -> None:
    """Mark the cancellations of the running task as handled, so that timeouts work in the rest of it.

    `asyncio.timeout` before Python 3.11.3 raises CancelledError instead of TimeoutError while an earlier cancellation
    of its task is counted. Call this only in a task of this package that ends after closing its resources.
    """
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


async def closed(close: Coroutine[Any, Any, Any]) -> None:
    """Run `close` to its end, so that nothing stays open; raise a cancellation only after it.

    It runs in a task of its own, because the timeouts in it are cancellations too and must reach only itself.
    """
    task = asyncio.ensure_future(close)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await dropped(task)
        raise


class UncancelledTask(asyncio.Task[Any]):
    """A task that continues if it is cancelled, also by the end of the event loop; only `give_up` ends it."""

    def cancel(self, msg: Any = None) -> bool:
        return False

    def give_up(self) -> None:
        """End the task at the next opportunity."""
        super().cancel()


async def to_the_end(awaitable: Awaitable[Any], withdraw: Callable[[UncancelledTask], object] | None = None) -> Any:
    """Await `awaitable`, which waits for a thread, and return its result; raise a cancellation only after its end.

    Args:
        withdraw: called on a cancellation with the task in which `awaitable` runs.
    """

    async def run() -> Any:
        return await awaitable

    task = UncancelledTask(run(), loop=asyncio.get_running_loop())
    stop = await settled(task, None if withdraw is None else partial(withdraw, task))
    if stop is not None:
        raise stop
    return task.result()


async def kept(
    awaitable: Awaitable[Any],
    keep: Callable[[Any], object],
    withdraw: Callable[[UncancelledTask], object] | None = None,
) -> None:
    """Pass the result of `awaitable` to `keep`, even after a cancellation, so that an opened resource is not lost."""

    async def keeping() -> None:
        keep(await awaitable)

    await to_the_end(keeping(), withdraw)


class Leavable(Protocol):
    """Resources whose closing can be abandoned."""

    def hurry(self) -> None:
        """Called on a cancellation."""
        ...

    def leave(self) -> str:
        """Called when nobody waits for the closing any more. Returns its description for a warning."""
        ...

    def give_up(self) -> None:
        """Called when the event loop ends: stop waiting for threads."""
        ...


_abandoned: set[asyncio.Task[Any]] = set()  # strong references: an event loop holds its tasks weakly


async def outlasting(awaitable: Awaitable[T], things: Leavable) -> T:
    """Await `awaitable`, which closes `things` when it is cancelled, and return its result.

    It runs in this task. If a second cancellation comes before the first has ended it, it gets `GRACE` more seconds.
    Then a RuntimeWarning names the unfinished work, the cancellation is raised, and the rest of `awaitable` runs in a
    task of its own. Errors there go to the event loop's exception handler.
    """
    steps = awaitable.__await__()
    ended, value = await _until_twice_cancelled(steps, things)
    if ended:
        result: T = value
        return result
    task = asyncio.create_task(_continue(steps, value, things))
    loop = asyncio.get_running_loop()
    until = loop.time() + GRACE
    stop = asyncio.CancelledError()
    while not task.done() and (seconds := until - loop.time()) > 0:
        try:
            await asyncio.wait([task], timeout=seconds)
        except asyncio.CancelledError as exc:
            stop = exc
    if task.done():
        result = task.result()
        return result
    what = things.leave()
    _abandoned.add(task)
    task.add_done_callback(partial(_report_failure, what))
    try:
        warnings.warn(
            f"{what} did not end within {GRACE:.0f} s after a second cancellation: it continues in the background "
            "and keeps its resources open until it ends",
            RuntimeWarning,
            stacklevel=2,
        )
    except RuntimeWarning as warning:  # warnings are errors: raise the cancellation nevertheless
        raise stop from warning
    raise stop


@types.coroutine
def _until_twice_cancelled(steps: Generator[Any, Any, Any], things: Leavable) -> Generator[Any, Any, tuple[bool, Any]]:
    """Run `steps` to their end, or until two cancellations have not ended them.

    Returns (True, their result) or (False, the future that they wait for next).
    """
    resume: Callable[[], Any] = partial(steps.send, None)
    while True:
        try:
            waited_for = resume()
        except StopIteration as end:
            return True, end.value
        try:
            yield waited_for
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as exc:
            resume = partial(steps.throw, exc)
            if not isinstance(exc, asyncio.CancelledError):
                continue
            things.hurry()
            if _cancellations() >= 2:
                try:
                    return False, resume()
                except StopIteration as end:
                    return True, end.value
        else:
            resume = partial(steps.send, None)


def _cancellations() -> int:
    """Return the number of pending cancellation requests of this task. Expired timeouts do not count."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def _continue(steps: Generator[Any, Any, Any], waited_for: Any, things: Leavable) -> Any:
    return await _run_rest(steps, waited_for, things)


@types.coroutine
def _run_rest(steps: Generator[Any, Any, Any], waited_for: Any, things: Leavable) -> Generator[Any, Any, Any]:
    """Run the rest of `steps`, which wait for `waited_for`. A cancellation means that the event loop ends."""
    while True:
        resume: Callable[[], Any] = partial(steps.send, None)
        try:
            yield waited_for
        except GeneratorExit:
            steps.close()
            raise
        except BaseException as exc:
            if isinstance(exc, asyncio.CancelledError) and _cancellations():
                things.give_up()
            resume = partial(steps.throw, exc)
        try:
            waited_for = resume()
        except StopIteration as end:
            return end.value


def _report_failure(what: str, task: asyncio.Task[Any]) -> None:
    """Report the failure of an abandoned task to the event loop."""
    _abandoned.discard(task)
    error: BaseException | None
    try:
        error = task.exception()
    except asyncio.CancelledError as exc:  # other failures are notes on it
        error = exc if getattr(exc, "__notes__", None) else None
    if error is not None:
        task.get_loop().call_exception_handler(
            {"message": f"{what} failed in the background", "exception": error, "task": task}
        )
