"""A client who leaves takes everything along: wherever a stream is cancelled, closed or dropped, nothing is left."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiofiles.threadpool.binary import AsyncBufferedReader
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.async_sources import KINDS, AsyncIter, Ledger, Scene, SyncIterator
from tests.support.loops import LOOPS, StepLoop, collected, other_tasks, own_pool, run, turns, until
from tests.support.strategies import noise
from tests.support.sweeps import WHOLE, sample
from zipstream_adapter import Entry, PoisonedError, StreamClosedError
from zipstream_adapter._concurrency.threads import ThreadPool
from zipstream_adapter._stream.asynchronous import AsyncZipStream, async_stream_zip

STEPS = 200
DATE = 1_000_000_000
# Kinds that leave a mark each: what is read on the loop, on a thread, from a disk, and entered and called.
SOME_KINDS = ("path", "sync generator", "async generator", "callable for a file", "context of a sync file", "bytes")
Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(autouse=True)
def _pool(monkeypatch: pytest.MonkeyPatch) -> ThreadPool:
    return own_pool(monkeypatch)


@pytest.fixture(params=LOOPS)
def factory(request: pytest.FixtureRequest) -> Factory:
    return LOOPS[request.param]


def stream_of(ledger: Ledger, folder: Path, *kinds: str, **options: Any) -> AsyncZipStream:
    """A stream of a member of each of `kinds`, each with a small one before it."""
    entries: list[Any] = []
    for number, kind in enumerate(kinds):
        entries += [Entry(f"{number}", b"x", modified=DATE)]
        entries += [Entry(f"{number} {kind}", KINDS[kind](ledger, folder), modified=DATE)]
    items = (AsyncIter if options.get("prefetch") else SyncIterator)(ledger, entries)
    return async_stream_zip(items, **options)


async def cancelled_at(steps: list[int], folder: Path, *kinds: str, **options: Any) -> bool:
    """Cancel whoever consumes a stream after each of `steps`; whether that came before its end."""
    scene = Scene()
    stream = stream_of(scene.ledger, folder, *kinds, **options)
    task = asyncio.create_task(scene.consume(stream))
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StepLoop)
    for step in steps:
        loop.in_steps(step, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        loop.forget()
        await scene.assert_over(stream, PoisonedError)
        return True
    await stream.aclose()
    scene.assert_nothing_is_left()
    return False


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_after_each_step_nothing_is_left(kind: str, prefetch: int, tmp_path: Path) -> None:
    # In a plain run, each kind is cancelled after every fifth step.
    for step in range(list(KINDS).index(kind) % 5, STEPS, 1 if WHOLE else 5):
        if not run(cancelled_at([step + 1], tmp_path, kind, kind, prefetch=prefetch), StepLoop):
            break
    assert step >= 8


@settings(max_examples=settings().max_examples * 3 // 2)
@given(
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4),
    st.lists(st.integers(1, 400), min_size=1, max_size=3),
    st.sampled_from([0, 1, 9]),
    st.sampled_from([{}, {"compression": "deflate", "level": 1, "workers": 2}, {"compression": "bzip2", "level": 1}]),
)
def test_cancelled_anywhere_nothing_is_left(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], steps: list[int], prefetch: int, options: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    run(cancelled_at(steps, folder, *kinds, prefetch=prefetch, **options), StepLoop)


@pytest.mark.parametrize("how", ["aclose", "drop"])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_wherever_the_consumer_stops_nothing_is_left(factory: Factory, how: str, prefetch: int, tmp_path: Path) -> None:
    def make(scene: Scene) -> AsyncZipStream:
        return stream_of(scene.ledger, tmp_path, *SOME_KINDS, prefetch=prefetch, chunk_size=50_000)

    async def stopped_after(count: int, total: int) -> None:
        scene = Scene()
        stream = make(scene)
        # How many chunks there are depends on how long each piece took.
        while len(scene.left) < count and sum(map(len, scene.left)) < total:
            scene.left.append(await anext(stream))
        if sum(map(len, scene.left)) == total:
            await stream.aclose()  # no stop: the archive is whole
        elif how == "aclose":
            await stream.aclose()
            await scene.assert_over(stream, StreamClosedError)
        else:
            del stream
            await collected()
            await until(lambda: not other_tasks())
            scene.assert_nothing_is_left()

    async def whole() -> list[int]:
        scene = Scene()
        await scene.consume(make(scene))
        return [len(chunk) for chunk in scene.left]

    sizes = run(whole(), factory)
    assert len(sizes) > 15
    for stop in sample(range(len(sizes)), 6):
        run(stopped_after(stop, sum(sizes)), factory)


def test_a_loop_that_ends_closes_what_was_not(factory: Factory, tmp_path: Path) -> None:
    kept = []

    async def main() -> None:
        scene = Scene()
        for prefetch in (0, 2):
            stream = stream_of(scene.ledger, tmp_path, *SOME_KINDS, prefetch=prefetch)
            for _ in range(5):
                await anext(stream)
            kept.append((stream, scene.ledger))

    run(main(), factory)
    for _, ledger in kept:
        ledger.forget()
        assert ledger.open == []
        assert ledger.closed_twice == []


def test_a_timeout_is_one(factory: Factory) -> None:
    async def main() -> None:
        scene = Scene()
        source = Stalling(scene.ledger)
        source.go.set()
        stream = async_stream_zip([("stalls", source)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await scene.consume(stream)
        await scene.assert_over(stream, PoisonedError)
        assert source.closed == 1

    run(main(), factory)


class Stalling(AsyncIter):
    """Gives nothing more, ever; and is slow to close."""

    def __init__(self, ledger: Ledger, *chunks: bytes) -> None:
        super().__init__(ledger, chunks)
        self.waits, self.go = asyncio.Event(), asyncio.Event()

    async def __anext__(self) -> bytes:
        chunk = self._take()
        if chunk is not None:
            return chunk
        self.waits.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def aclose(self) -> None:
        self._closing()
        await self.go.wait()
        self.closed += 1


async def cancelled_again(task: asyncio.Task[None], source: Stalling, times: int) -> None:
    """Cancel who waits for `source` to be closed, which it is all the same."""
    await until(lambda: source.closings)
    for _ in range(times):
        task.cancel()
        await turns()
    assert not task.done()
    source.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed == 1


@pytest.mark.parametrize("prefetch", [0, 1])
def test_cancelled_again_while_its_source_closes_it_is_closed_all_the_same(factory: Factory, prefetch: int) -> None:
    async def main() -> None:
        scene = Scene()
        source = Stalling(scene.ledger)
        stream = async_stream_zip([Entry("stalls", source)], prefetch=prefetch)
        task = asyncio.create_task(scene.consume(stream))
        await source.waits.wait()
        task.cancel()
        await cancelled_again(task, source, 2)
        await scene.assert_over(stream, PoisonedError)

    run(main(), factory)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("coming", [False, True])
@pytest.mark.parametrize("prefetch", [0, 1])
def test_a_cancelled_aclose_closes_and_is_cancelled(factory: Factory, prefetch: int, coming: bool, times: int) -> None:
    if coming and not prefetch:
        pytest.skip("none is open")

    async def main() -> None:
        scene = Scene()
        current, next_one = Stalling(scene.ledger, *[noise(1, 100_000)] * 9), Stalling(scene.ledger)
        (next_one if not coming else current).go.set()
        items = AsyncIter(scene.ledger, [Entry("current", current), Entry("next", next_one)])
        stream = async_stream_zip(items, prefetch=prefetch, lookahead=0)
        scene.left.append(await anext(stream))
        if prefetch:
            await next_one.waits.wait()
        await cancelled_again(asyncio.create_task(stream.aclose()), next_one if coming else current, times)
        await scene.assert_over(stream, StreamClosedError)

    run(main(), factory)


def test_cancelled_while_a_refused_entry_is_closed_the_stream_is_over(factory: Factory) -> None:
    async def main() -> None:
        scene = Scene()
        source = Stalling(scene.ledger, b"data")
        items = AsyncIter(scene.ledger, [("a", b"1"), ("a", source), ("b", b"2")])
        stream = async_stream_zip(items, prefetch=1, on_error=lambda entry, exc: None)
        task = asyncio.create_task(scene.consume(stream))
        await cancelled_again(task, source, 1)
        await scene.assert_over(stream, PoisonedError)

    run(main(), factory)


class SlowToOpen:
    """A source whose opening takes until it is cancelled."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def __aenter__(self) -> SlowToOpen:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append("opening")
        raise AssertionError

    async def __aexit__(self, *args: object) -> None:
        self.ended.append("closed")

    def __aiter__(self) -> SlowToOpen:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_consumer_who_leaves_while_a_source_is_opened_leaves_it_closed(factory: Factory, prefetch: int) -> None:
    async def main() -> None:
        source = SlowToOpen()
        # Its size is declared, so it is streamed: what comes before it is handed over while it is opened.
        stream = async_stream_zip([("a", b"x"), Entry("b", source, size=1 << 20)], prefetch=prefetch)
        assert await anext(stream)
        await stream.aclose()
        assert source.ended == ["opening"]
        assert not other_tasks()

    run(main(), factory)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_source_that_was_cancelled_elsewhere_says_so(factory: Factory, prefetch: int) -> None:
    class Handle(AsyncBufferedReader):
        async def read(self, size: int = -1) -> bytes:
            raise asyncio.CancelledError("the pool was closed")

    async def main() -> None:
        handle = Handle(io.BytesIO(), asyncio.get_running_loop(), None)
        with pytest.raises(asyncio.CancelledError, match="the pool was closed"):
            await async_stream_zip([Entry("a", handle)], prefetch=prefetch).read()

    run(main(), factory)
