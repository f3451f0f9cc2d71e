"""What the tests of the event loop share: loops that count their steps, threads that are counted, and what is left."""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import pytest

from zipstream_adapter._concurrency import offload as aio_threads
from zipstream_adapter._concurrency.threads import Job, ThreadPool

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
STEP_THREADS = "zipstream-adapter"
_DESCRIPTORS = Path("/proc/self/fd")


def module(name: str) -> Any:
    """Import the module `name` of another project, within a test or at the top of a file.

    Without it the tests are skipped. With ZIPSTREAM_EXTRAS=1, that is if all extras are to be installed, they fail.
    """
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        missing = f"{name} is not installed: {exc}"
        if os.environ.get("ZIPSTREAM_EXTRAS") == "1":
            pytest.fail(missing)
        pytest.skip(missing, allow_module_level=True)


class StepLoop(asyncio.SelectorEventLoop):
    """An event loop that counts what it is given to do, and does something at a step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self._at: dict[int, Callable[[], object]] = {}

    def in_steps(self, count: int, action: Callable[[], object]) -> None:
        """Do `action` after `count` more steps."""
        self._at[self.steps + count] = action

    def forget(self) -> None:
        """Do nothing of what was wanted any more."""
        self._at.clear()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        self.steps += 1
        action = self._at.pop(self.steps, None)
        if action is not None:
            super().call_soon(action)
        return handle


def loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name -> what makes an event loop of that kind; uvloop is among them if it is installed or has to be."""

    def uvloop() -> asyncio.AbstractEventLoop:
        made: asyncio.AbstractEventLoop = module("uvloop").new_event_loop()
        return made

    # Half of a sample must not be skipped.
    with_uvloop = find_spec("uvloop") is not None or os.environ.get("ZIPSTREAM_EXTRAS") == "1"
    return {"asyncio": asyncio.new_event_loop, **({"uvloop": uvloop} if with_uvloop else {})}


LOOPS = loop_factories()


def run(main: Coroutine[Any, Any, T], factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """What `main` comes to on a loop of its own, in debug mode off, with nothing left over in any thread."""
    with asyncio.Runner(loop_factory=factory, debug=False) as runner:
        return runner.run(main)


class CountedThreads(ThreadPoolExecutor):
    """Threads that say how many of them are busy."""

    def __init__(self, threads: int = 8) -> None:
        super().__init__(threads, thread_name_prefix="counted")
        self.busy = 0
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return super().submit(self._do, partial(fn, *args, **kwargs))

    def _do(self, work: Callable[[], T]) -> T:
        with self._lock:
            self.busy += 1
        try:
            return work()
        finally:
            with self._lock:
                self.busy -= 1


class HeldThreads(ThreadPool):
    """Step threads that wait before one of their jobs."""

    def __init__(self, threads: int = 6) -> None:
        super().__init__(STEP_THREADS, lambda: threads)
        self.jobs = 0
        self.waits, self.go = threading.Event(), threading.Event()
        self._held: int | None = None

    def hold(self, job: int) -> None:
        """Let the job of that number, counted from 0, wait for `go`."""
        self.waits.clear()
        self.go.clear()
        self.jobs, self._held = 0, job

    def place(self, job: Job, *, at_once: bool = False) -> None:
        if self.jobs == self._held:
            job._function = partial(self._when_told, job._function)
        self.jobs += 1
        super().place(job, at_once=at_once)

    def _when_told(self, work: Any) -> Any:
        self.waits.set()
        assert self.go.wait(60)
        return work()


def own_pool(monkeypatch: pytest.MonkeyPatch, threads: int = 6) -> HeldThreads:
    """Step threads of a test's own, so that what one leaves behind is not taken for what another does."""
    pool = HeldThreads(threads)
    monkeypatch.setattr(aio_threads, "_threads", pool)
    return pool


def step_threads(before: Iterable[threading.Thread] = ()) -> list[str]:
    """The names of the package's own threads that are alive, and were not `before`."""
    new = set(threading.enumerate()) - set(before)
    return [thread.name for thread in new if thread.name.startswith(STEP_THREADS)]


def descriptors() -> set[tuple[str, str]]:
    """What is open in this process: (number, what it is); nothing where the system does not tell."""
    found = set()
    for path in _DESCRIPTORS.iterdir() if _DESCRIPTORS.exists() else ():
        try:
            found.add((path.name, str(path.readlink())))
        except FileNotFoundError:  # the one by which we look
            continue
    return found


def other_tasks() -> set[asyncio.Task[Any]]:
    """The tasks that are pending besides this one."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def turns(count: int = 5) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Let the loop go round until `condition`; where that never comes, fail."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what it waits for is in other threads, too
            await asyncio.sleep(0.001)


async def collected() -> None:
    """What was dropped is gone, as far as the loop can see to it."""
    gc.collect()
    await turns()
