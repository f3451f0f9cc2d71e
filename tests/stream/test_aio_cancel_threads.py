"""Cancelling what a thread is busy with: the step that is under way is waited for, and nothing it opened is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.async_sources import DATA, KINDS, AsyncFile, AsyncIter, Ledger, Scene, SyncFile, SyncIterator
from tests.support.executors import Inline, Recording
from tests.support.faults import BoomError
from tests.support.loops import LOOPS, HeldThreads, own_pool, run, turns, until
from tests.support.strategies import noise
from zipstream_adapter import Entry, PoisonedError, StreamClosedError
from zipstream_adapter._stream.asynchronous import AsyncZipStream, async_stream_zip

T = TypeVar("T")
Factory = Callable[[], asyncio.AbstractEventLoop]
THREADS = 3


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> HeldThreads:
    return own_pool(monkeypatch, THREADS)


@pytest.fixture(params=LOOPS)
def factory(request: pytest.FixtureRequest) -> Factory:
    return LOOPS[request.param]


class Blocking(SyncFile):
    """Gives data when it is told to; on its thread, it waits."""

    def __init__(self, ledger: Ledger, then: Exception | None = None) -> None:
        super().__init__(ledger, [noise(3, 100_000)])
        self.go, self.waits = threading.Event(), threading.Event()
        self._then = then

    def read(self, size: int = -1) -> bytes:
        self.touched = True
        self.waits.set()
        assert self.go.wait(60)
        if self._then is not None:
            raise self._then
        return super().read(size)

    def opened(self) -> Blocking:
        self.touched = True
        self.waits.set()
        assert self.go.wait(60)
        return self


async def cancelled_while(blocked: Blocking, stream: AsyncZipStream, scene: Scene, times: int) -> None:
    """Cancel a consumer, more than once, while its source blocks a thread, which is waited for."""
    task = asyncio.create_task(scene.consume(stream))
    await until(blocked.waits.is_set)
    for _ in range(times):
        task.cancel()
        await turns(20)
    assert not task.done()
    blocked.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await scene.assert_over(stream, PoisonedError)
    assert blocked.closed == 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("how", ["reading", "failing", "opening", "opening in a coroutine"])
def test_a_thread_that_blocks_is_waited_for(factory: Factory, how: str, prefetch: int, times: int) -> None:
    async def main() -> None:
        scene = Scene()
        blocked = Blocking(scene.ledger, BoomError("boom") if how == "failing" else None)

        async def later() -> Any:
            return blocked.opened

        source: Any = {"opening": blocked.opened, "opening in a coroutine": later}.get(how, blocked)
        items = AsyncIter(scene.ledger, [Entry("blocks", source), Entry("next", AsyncFile(scene.ledger))])
        await cancelled_while(blocked, async_stream_zip(items, prefetch=prefetch), scene, times)

    run(main(), factory)


@pytest.mark.parametrize("kind", ["path", "small path", "aiofiles handle"])
def test_reading_a_file_is_waited_for(factory: Factory, pool: HeldThreads, kind: str, tmp_path: Path) -> None:
    async def cancelled_at_job(job: int) -> bool:
        scene = Scene()
        path = tmp_path / "data"
        path.write_bytes(DATA[: 1000 if kind == "small path" else None])
        source = path if kind == "small path" else KINDS[kind](scene.ledger, tmp_path)
        stream = async_stream_zip(AsyncIter(scene.ledger, [("file", source)]))
        pool.hold(job)
        task = asyncio.create_task(scene.consume(stream))
        await until(lambda: task.done() or pool.waits.is_set())
        if task.done():
            return False
        task.cancel()
        await turns(20)
        pool.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await scene.assert_over(stream, PoisonedError)
        return True

    job = 0
    while run(cancelled_at_job(job), factory):
        job += 1
    assert job >= (1 if kind == "small path" else 3)


def test_what_fails_on_a_thread_is_closed_on_the_loop_though_cancelled_in_between(factory: Factory) -> None:
    async def main() -> None:
        scene = Scene()
        source = AsyncIter(scene.ledger, [noise(1, 600_000)])
        waits, go = threading.Event(), threading.Event()

        def job(number: int, work: Callable[[], Any]) -> Any:
            waits.set()
            assert go.wait(60)
            raise BoomError

        items = AsyncIter(scene.ledger, [Entry("fails", source, compression="deflate")])
        stream = async_stream_zip(items, executor=Inline(job), workers=1)
        task = asyncio.create_task(scene.consume(stream))
        await until(waits.is_set)
        task.cancel()
        await turns()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await scene.assert_over(stream, PoisonedError)
        assert source.closed == 1

    run(main(), factory)


@contextmanager
def all_busy(pool: HeldThreads) -> Iterator[threading.Event]:
    """Every thread has something else to do, until the event."""
    executor, over = pool.lease(), threading.Event()
    waiting = [executor.submit(over.wait, 60) for _ in range(THREADS)]
    try:
        yield over
    finally:
        over.set()
        wait(waiting)
        pool.give_back(pool.generation)


@pytest.mark.parametrize("prefetch", [0, 1])
def test_cancelled_before_a_thread_is_free_its_entries_are_closed(
    factory: Factory, pool: HeldThreads, prefetch: int
) -> None:
    async def main() -> None:
        scene = Scene()
        items = SyncIterator(scene.ledger, [("a", b"a")])
        stream = async_stream_zip(items, prefetch=prefetch)
        with all_busy(pool) as over:
            task = asyncio.create_task(scene.consume(stream))
            await turns()
            task.cancel()
            await asyncio.wait([task], timeout=60)
            assert task.cancelled()
            assert not over.is_set()
        await scene.assert_over(stream, PoisonedError)
        assert items.closed == 1

    run(main(), factory)


def test_cancelled_between_two_entries_the_fetched_one_is_closed(factory: Factory, pool: HeldThreads) -> None:
    """What was gathered before it has to be deflated first, on a thread: neither is it to come then, nor begun."""

    async def main() -> None:
        scene = Scene()
        source = AsyncFile(scene.ledger)
        items = AsyncIter(scene.ledger, [("small", b"x"), Entry("fetched", source)])
        stream = async_stream_zip(items, compression="deflate", prefetch=1)
        with all_busy(pool) as over:
            task = asyncio.create_task(scene.consume(stream))
            await until(lambda: source.touched)
            await turns()
            task.cancel()
            await asyncio.wait([task], timeout=60)
            assert task.cancelled()
            assert not over.is_set()
        await scene.assert_over(stream, PoisonedError)
        assert source.closed == 1

    run(main(), factory)


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("times", [0, 1])
def test_closing_does_not_queue_where_no_thread_is_free(
    factory: Factory, pool: HeldThreads, prefetch: int, times: int
) -> None:
    async def main() -> None:
        scene = Scene()
        sources = [SyncFile(scene.ledger, [noise(each, 400_000)]) for each in range(2)]
        items = SyncIterator(scene.ledger, [Entry(str(number), each) for number, each in enumerate(sources)])
        stream = async_stream_zip(items, prefetch=prefetch)
        scene.left.append(await anext(stream))
        await until(lambda: sources[prefetch].touched)
        with all_busy(pool) as over:
            task = asyncio.create_task(stream.aclose())
            await asyncio.sleep(0)
            for _ in range(times):
                task.cancel()
            await asyncio.wait([task], timeout=60)
            assert not over.is_set()
            assert task.done()
            assert task.cancelled() == bool(times)
        await scene.assert_over(stream, StreamClosedError)
        assert items.closed == 1

    run(main(), factory)


class Noted(Future[T]):
    """Notes who waits for it."""

    waited_by: list[int]

    def result(self, timeout: float | None = None) -> T:
        self._note()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._note()
        return super().exception(timeout)

    def _note(self) -> None:
        if not self.done():
            self.waited_by.append(threading.get_ident())


class Noting(Recording):
    """Threads whose futures note who waits for them; the third piece of work, and all after, take until `go`."""

    def __init__(self) -> None:
        super().__init__(2)
        self.waits, self.go = threading.Event(), threading.Event()
        self.waited_by: list[int] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        noted = Noted[T]()
        noted.waited_by = self.waited_by
        number = len(self.futures)

        def work() -> None:
            noted.set_running_or_notify_cancel()
            if number >= 3:
                self.waits.set()
                self.go.wait(2)
            noted.set_result(fn(*args, **kwargs))

        super().submit(work)
        return noted


@pytest.mark.parametrize("how", ["aclose", "cancel"])
def test_the_loop_does_not_wait_for_those_who_deflate(factory: Factory, how: str) -> None:
    async def main() -> None:
        scene = Scene()
        source = AsyncIter(scene.ledger, [noise(each, 1 << 18) for each in range(8)])
        with Noting() as executor:
            stream = async_stream_zip([Entry("a", source, compression="deflate")], executor=executor, workers=2)
            if how == "cancel":
                task = asyncio.create_task(scene.consume(stream))
                await until(executor.waits.is_set)
                task.cancel()
            else:
                while not executor.waits.is_set():
                    await asyncio.wait_for(anext(stream), 60)
                task = asyncio.create_task(stream.aclose())
            await turns(20)
            executor.go.set()
            await asyncio.wait([task])
            assert threading.get_ident() not in executor.waited_by
        scene.assert_nothing_is_left()

    run(main(), factory)
