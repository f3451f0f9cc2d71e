"""Call obstore from threads: an event loop on a thread of its own drives its asynchronous functions.

obstore's other functions block in compiled code, where neither Ctrl-C nor another thread's ``close()`` reaches them.
A call that is waited for here can be given up at any time, which ends its request.

obstore's threads do not survive a fork: a child whose parent has used obstore would wait for them forever.
`check_fork` raises an error there instead.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from .._concurrency.closing import snapshot
from ..errors import ForkedError, RemoteError, StreamClosedError
from .waiting import raise_late, time_left

T = TypeVar("T")
# Seconds that the end of the interpreter waits for requests to end. That takes milliseconds.
_END_TIMEOUT_S = 5.0
_SETTLING_S = 0.1


class BackgroundLoop:
    """An event loop on a daemon thread, which runs while someone holds it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._holders = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []  # the running one, and those that are ending
        self._used = 0.0  # time at which the last request began or ended
        self.is_ending = False
        self.to_abort: weakref.WeakSet[Any] = weakref.WeakSet()  # `abort` is called before the end

    def hold(self) -> Callable[[], None]:
        """Keep the loop running until the returned function is called. Calling it again has no effect."""
        with self._lock:
            self._holders += 1
            if self._loop is None and not self.is_ending and not sys.is_finalizing():
                self._loop = loop = asyncio.new_event_loop()
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread = threading.Thread(target=_run, args=(loop,), name="zipstream-adapter-store", daemon=True)
                thread.start()
                self._threads.append(thread)
        return _Release(self)

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders or self._loop is None:
                return
            loop, self._loop = self._loop, None
        loop.call_soon_threadsafe(loop.stop)

    def end(self) -> None:
        """End the loop and its requests, and wait for that, before the interpreter ends.

        A daemon thread that is stopped by the interpreter within obstore's code would abort the process.
        """
        for upload in snapshot(self.to_abort):
            with suppress(Exception):  # nobody would see its exception any more
                upload.abort()
        with self._lock:
            self.is_ending = True
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_END_TIMEOUT_S)
        # obstore's own threads let go of Python objects a moment after a result is there. The interpreter must not have
        # ended by then: before Python 3.14, it stops them in a way that aborts the process.
        if time.monotonic() - self._used < _SETTLING_S:
            time.sleep(_SETTLING_S)

    def start(self, make: Callable[[], Awaitable[T]]) -> concurrent.futures.Future[T]:
        """Run the awaitable that `make` returns on the loop, which must be held. Cancelling the future ends it."""
        if self._loop is None:
            park_at_end()
            raise StreamClosedError("the interpreter is ending: object stores cannot be used any more")

        self._used = time.monotonic()

        async def run() -> T:
            try:
                return await make()
            finally:
                self._used = time.monotonic()

        return asyncio.run_coroutine_threadsafe(run(), self._loop)


class _Release:
    def __init__(self, loop: BackgroundLoop) -> None:
        self._loop: BackgroundLoop | None = loop
        self._pid = os.getpid()

    def __call__(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._pid == os.getpid():
            loop.release()


def wait_for(future: concurrent.futures.Future[T], timeout: float | None = None) -> T:
    """Return the result of `future`. If the wait is interrupted, or takes `timeout` seconds, it is cancelled."""
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()
        park_at_end()
        raise


def wait_in_time(future: concurrent.futures.Future[T], where: str) -> T:
    """Like `wait_for`, until the deadline of this thread's call. `where` is for RemoteTimeoutError."""
    try:
        return wait_for(future, time_left())
    except TimeoutError as exc:
        if isinstance(exc, RemoteError) or time_left() != 0:
            raise
        raise_late(where)


def call_in_time(make: Callable[[], Awaitable[T]], where: str) -> T:
    """Run the awaitable that `make` returns on the loop, and return its result: see `wait_in_time`."""
    check_fork()
    release = background.hold()
    try:
        return wait_in_time(background.start(make), where)
    finally:
        release()


def run_in_time(function: Callable[[], T], where: str, undo: Callable[[T], object] | None = None) -> T:
    """Return the result of `function`, which cannot be cancelled: if this call has a deadline, it runs on a thread.

    After the deadline it is left alone. A result that comes later is given to `undo`.
    """
    if time_left() is None or sys.is_finalizing():  # then, starting a thread may never return
        return function()
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    lock = threading.Lock()
    is_left = False

    def run() -> None:
        try:
            result = function()
        except BaseException as exc:
            future.set_exception(exc)
            return
        with lock:
            if not is_left:
                future.set_result(result)
                return
        if undo is not None:
            with suppress(Exception):
                undo(result)

    threading.Thread(target=run, name="zipstream-adapter-deadline", daemon=True).start()
    try:
        return future.result(time_left())
    except BaseException as exc:
        with lock:
            is_left = not future.done()
        if not is_left and isinstance(exc, TimeoutError):
            return future.result()
        if is_left and isinstance(exc, TimeoutError):
            raise_late(where)
        raise


def park_at_end() -> None:
    """Stop a daemon thread here if the interpreter is ending: printing an error could abort the process."""
    if background.is_ending and threading.current_thread() is not threading.main_thread():
        threading.Event().wait()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


background = BackgroundLoop()
atexit.register(background.end)


def hold_for(owner: object) -> weakref.finalize[Any, Any]:
    """Keep the loop running for as long as `owner` exists, or until the returned finalizer is called."""
    finalizer = weakref.finalize(owner, background.hold())
    finalizer.atexit = False
    return finalizer


# Forks.

_was_used = False
_is_stranded = False
_parents: list[object] = []


def check_fork() -> None:
    """Record that obstore is about to be used. Raises ForkedError in a forked child whose parent has used it."""
    global _was_used
    if _is_stranded:
        raise ForkedError(
            "obstore, which this process needs for object stores, was used before the process was forked, and its "
            "threads do not survive a fork: start processes by 'spawn' or 'forkserver', as in "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn')). (Archives behind http:// and "
            "https:// URLs can be read in any child.)"
        )
    _was_used = True


def _has_threads_of_obstore() -> bool:
    """Whether obstore has been used: by this package, or by the caller, as the names of its threads show on Linux."""
    if _was_used or "obstore" not in sys.modules:
        return _was_used
    try:
        tasks = os.listdir("/proc/self/task")
    except OSError:
        return False
    for task in tasks:
        try:
            with open(f"/proc/self/task/{task}/comm", "rb") as file:
                if file.read().startswith(b"tokio-r"):  # tokio-runtime-w, or tokio-rt-worker, cut off
                    return True
        except OSError:
            continue
    return False


def _note_before_fork() -> None:
    global _used_at_fork
    _used_at_fork = _is_stranded or _has_threads_of_obstore()


_used_at_fork = False


def _reset_in_child() -> None:
    """Begin anew in a forked child, without the parent's loop, whose thread does not exist here."""
    global background, _is_stranded
    _is_stranded = _used_at_fork
    _parents.append((background, background._loop))  # never closed here: its selector is also the parent's
    background.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_note_before_fork, after_in_child=_reset_in_child)
