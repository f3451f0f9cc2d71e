"""Every kind of source that an event loop can be given: read where it belongs, and closed once, there."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from weakref import ref
from zipfile import ZipFile

import pytest

from tests.support import oracles
from tests.support.async_sources import (
    CHUNKS,
    DATA,
    KINDS,
    AsyncFile,
    AsyncIter,
    Ledger,
    Scene,
    Source,
    SyncFile,
    SyncIterator,
    async_generator,
    sync_generator,
)
from tests.support.faults import BoomError
from tests.support.loops import LOOPS, module, own_pool, run
from tests.support.strategies import noise
from tests.support.sweeps import pairwise
from zipstream_adapter import Entry, EntryTypeError, PoisonedError, async_stream_zip, stream_zip
from zipstream_adapter._stream import async_driver

DATE = 1_000_000_000
Factory = Callable[[], asyncio.AbstractEventLoop]
SYNC_KINDS = ["bytes", "bytearray", "memoryview", "path", "sync iterator", "sync generator", "sync file"]
SYNC_KINDS += [kind for kind in KINDS if kind.startswith("callable for") and "coroutine" not in kind]
SYNC_KINDS = [kind for kind in SYNC_KINDS if "async" not in kind and "context" not in kind]


@pytest.fixture(autouse=True)
def _pool(monkeypatch: pytest.MonkeyPatch) -> None:
    own_pool(monkeypatch)


@pytest.fixture(params=LOOPS)
def factory(request: pytest.FixtureRequest) -> Factory:
    return LOOPS[request.param]


async def archive_of(*entries: Any, **options: Any) -> bytes:
    async with async_stream_zip(entries, **options) as stream:
        return await stream.read()


async def data_of(source: Any) -> bytes:
    return oracles.members(await archive_of(("name", source)))["name"]


@pairwise(factory=LOOPS.values(), prefetch=[0, 2], chunk_size=[0, 65536], kind=KINDS)
def test_its_data_is_read_and_it_is_closed_once(
    factory: Factory, kind: str, prefetch: int, chunk_size: int, tmp_path: Path
) -> None:
    async def main() -> None:
        scene = Scene()
        make = KINDS[kind]
        items = [Entry(str(each), make(scene.ledger, tmp_path), modified=DATE) for each in range(3)]
        entries = SyncIterator(scene.ledger, items)
        async with async_stream_zip(entries, prefetch=prefetch, chunk_size=chunk_size) as stream:
            archive = await stream.read()
        assert oracles.members(archive) == {"0": DATA, "1": DATA, "2": DATA}
        scene.assert_nothing_is_left()
        assert all(source.closed == 1 for source in scene.ledger.sources if hasattr(source, "close"))
        assert all(source.closed == 1 for source in scene.ledger.sources if hasattr(source, "aclose"))
        if kind in SYNC_KINDS:
            again = [Entry(str(each), make(Ledger(), tmp_path), modified=DATE) for each in range(3)]
            assert archive == b"".join(stream_zip(again, chunk_size=chunk_size))

    run(main(), factory)


FAILING: dict[str, Callable[[Ledger, list[Any]], Any]] = {
    "sync iterator": SyncIterator,
    "sync file": SyncFile,
    "sync generator": sync_generator,
    "async iterator": AsyncIter,
    "async file": AsyncFile,
    "async generator": async_generator,
    "async generator from a callable": lambda ledger, chunks: lambda: async_generator(ledger, chunks),
    "file from a callable": lambda ledger, chunks: lambda: SyncFile(ledger, chunks),
}


class Raises(bytes):
    """A chunk that cannot be had."""


@pairwise(prefetch=[0, 2], before=[0, 10, 100_000], kind=FAILING)
def test_what_it_raises_comes_out_as_it_is(kind: str, before: int, prefetch: int, monkeypatch: Any) -> None:
    error = BoomError("boom")
    take = Source._take

    def taking(self: Source) -> bytes | None:
        chunk = take(self)
        if isinstance(chunk, Raises):
            raise error
        return chunk

    monkeypatch.setattr(Source, "_take", taking)

    async def main() -> None:
        scene = Scene()
        source = FAILING[kind](scene.ledger, [noise(1, before), Raises(b"x"), b"more"])
        never = AsyncIter(scene.ledger)
        entries = AsyncIter(scene.ledger, [("ok", b"data"), ("fails", source), ("never", never)])
        stream = async_stream_zip(entries, prefetch=prefetch)
        with pytest.raises(BoomError) as caught:
            await scene.consume(stream)
        assert caught.value is error
        assert caught.value.__notes__ == ["(while adding entry 'fails')"]
        await scene.assert_over(stream, PoisonedError)
        assert [source.closed for source in scene.ledger.sources if source.touched] == [1] * (2 + never.touched)

    run(main())


class StopsOnRead:
    def read(self, size: int = -1) -> bytes:
        raise StopIteration


class StopsOnIter:
    def __iter__(self) -> Iterator[Any]:
        raise StopIteration


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("source", [lambda: next(iter(())), StopsOnRead(), StopsOnIter()], ids=["call", "read", "iter"])
def test_a_stop_iteration_that_ends_no_iterator_is_an_error(factory: Factory, source: Any, prefetch: int) -> None:
    """A future cannot carry one."""
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        run(archive_of(("a", source), prefetch=prefetch), factory)
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        b"".join(stream_zip([("a", source)], prefetch=prefetch))

    async def of_bad_entries() -> None:
        async with async_stream_zip(StopsOnIter(), prefetch=prefetch) as stream:
            await stream.read()

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        run(of_bad_entries(), factory)


class StopsOnAsyncRead:
    """Is read by a coroutine function, as its class shows."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks
        self.closed = 0

    async def read(self, size: int) -> bytes:
        return await anext(self._rest())

    async def _rest(self) -> AsyncIterator[bytes]:
        if self.chunks:
            yield self.chunks.pop()

    async def close(self) -> None:
        self.closed += 1


class StopsOnAwait(StopsOnAsyncRead):
    """Only a call shows that its read method is asynchronous."""

    def read(self, size: int) -> Any:
        return super().read(size)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("kind", [StopsOnAsyncRead, StopsOnAwait])
@pytest.mark.parametrize("sizes", [[], [1], [100_000, 1]], ids=["at first", "after some data", "after much data"])
def test_a_stop_async_iteration_that_ends_no_iterator_is_an_error(
    factory: Factory, kind: type[StopsOnAsyncRead], sizes: list[int], prefetch: int
) -> None:
    source = kind([bytes(size) for size in sizes])
    with pytest.raises(RuntimeError, match="read method of the file object raised StopAsyncIteration"):
        run(archive_of(("a", source), prefetch=prefetch), factory)
    assert source.closed == 1


class FailsOnAwait(StopsOnAwait):
    async def _rest(self) -> AsyncIterator[bytes]:
        raise BoomError
        yield b""


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_file_whose_first_read_fails_is_closed_on_the_loop(factory: Factory, prefetch: int) -> None:
    source = FailsOnAwait([])
    with pytest.raises(BoomError):
        run(archive_of(("a", source), prefetch=prefetch), factory)
    assert source.closed == 1


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("begun", [False, True], ids=["at first", "after some data"])
@pytest.mark.parametrize("where", ["call", "read", "thread"])
def test_a_source_that_awaits_what_was_cancelled_is_not_complete(
    factory: Factory, where: str, begun: bool, prefetch: int
) -> None:
    """Nobody cancels the stream: the source's own future, such as a task that was to fetch the data, was cancelled."""

    async def main() -> None:
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()

        async def called() -> Any:
            if not begun:
                await cancelled
            return read()

        async def read() -> AsyncIterator[bytes]:
            if begun:
                yield b"some data"
            await cancelled

        def read_on_thread() -> Iterator[bytes]:
            if begun:
                yield b"some data"
            raise asyncio.CancelledError

        source: Any = {"call": called, "read": read(), "thread": read_on_thread()}[where]
        stream = async_stream_zip([("cut", source), ("next", b"data")], prefetch=prefetch)
        taken = b""
        with pytest.raises(asyncio.CancelledError):
            async for chunk in stream:
                taken += chunk
        assert b"PK\1\2" not in taken
        with pytest.raises(PoisonedError):
            await stream.read()
        await stream.aclose()

    run(main(), factory)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_future_that_was_cancelled_on_a_thread_fails_its_entry_only(factory: Factory, prefetch: int) -> None:
    withdrawn: Future[bytes] = Future()
    withdrawn.cancel()
    seen: list[Exception] = []
    entries: list[Any] = [("a", withdrawn.result), ("b", b"data")]

    async def left_out(**options: Any) -> bytes:
        return await archive_of(*entries, prefetch=prefetch, **options)

    with pytest.raises(CancelledError) as caught:
        run(left_out(), factory)
    assert caught.value.__notes__ == ["(while adding entry 'a')"]
    data = run(left_out(on_error=lambda _, error: seen.append(error)), factory)
    assert oracles.members(data) == {"b": b"data"}
    assert [isinstance(error, CancelledError) for error in seen] == [True]


@pytest.mark.parametrize("thing", ["text", 5, None, [1]])
@pytest.mark.parametrize("kind", [AsyncIter, AsyncFile, async_generator])
def test_what_gives_no_bytes_is_refused_by_name(kind: Any, thing: Any) -> None:
    if thing is None and kind is not AsyncFile:
        pytest.skip("is the end of those")

    class Odd(AsyncFile):
        async def read(self, size: int = -1) -> Any:
            return thing

    async def odd() -> AsyncIterator[Any]:
        yield thing

    async def main() -> None:
        source = Odd(Ledger()) if kind is AsyncFile else odd()
        with pytest.raises((EntryTypeError, BlockingIOError), match="'the name'"):
            await archive_of(("the name", source))

    run(main())


class PlainRead(AsyncFile):
    """Its `read` is no coroutine function: it returns an awaitable, as compiled and wrapped ones do."""

    def read(self, size: int = -1) -> Any:
        return super().read(size)


async def _later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


NEED_A_LOOP: dict[str, Callable[[], Any]] = {
    "task": lambda: asyncio.get_running_loop().create_task(_later(DATA)),
    "run in an executor": lambda: asyncio.get_running_loop().run_in_executor(None, lambda: DATA),
    "ensured": lambda: asyncio.ensure_future(_later(DATA)),
    "created": lambda: asyncio.create_task(_later(DATA)),
    "gathered": lambda: asyncio.gather(_later(DATA)),
}


# A coroutine that is made on a thread, in vain, is a warning there.
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("kind", NEED_A_LOOP)
def test_a_callable_that_needs_the_loop_is_called_there(factory: Factory, kind: str) -> None:
    async def main() -> None:
        assert await data_of(NEED_A_LOOP[kind]) == DATA

    try:
        run(main(), factory)
    finally:
        gc.collect()


_WHO: ContextVar[str] = ContextVar("_WHO", default="nobody")


@pytest.mark.parametrize("prefetch", [0, 3])
def test_context_variables_are_there_on_threads_and_on_the_loop(factory: Factory, prefetch: int) -> None:
    def generator() -> Iterator[bytes]:
        yield _WHO.get().encode()

    async def asynchronous() -> AsyncIterator[bytes]:
        yield _WHO.get().encode()

    def entries() -> Iterator[Any]:
        yield _WHO.get(), generator()
        yield "callable", lambda: _WHO.get().encode()
        yield "async", asynchronous()
        yield "function", asynchronous

    async def main() -> None:
        _WHO.set("me")
        async with async_stream_zip(entries(), prefetch=prefetch) as stream:
            archive = await stream.read()
        assert oracles.members(archive) == dict.fromkeys(["me", "callable", "async", "function"], b"me")

    run(main(), factory)


class TimedClose(AsyncIter):
    """Gives its other side a moment to say goodbye, as connections do."""

    async def aclose(self) -> None:
        self._closing()
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(1)
        except TimeoutError:
            self.closed += 1


class TimedContext(TimedClose):
    """A context manager whose data never comes, or that is never entered, and that has a timeout when it is left."""

    def __init__(self, ledger: Any, entered: bool) -> None:
        super().__init__(ledger, CHUNKS)
        self.entered = entered
        self.waits = asyncio.Event()

    async def __aenter__(self) -> Any:
        return self if self.entered else self.inner()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def inner(self) -> Any:
        async def wait() -> bytes:
            self.waits.set()
            await asyncio.sleep(60)
            return b""

        return wait()

    async def __anext__(self) -> bytes:
        self.waits.set()
        await asyncio.sleep(60)
        return b""


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("entered", [False, True], ids=["opening", "reading"])
def test_a_timeout_within_a_close_is_its_own_when_the_consumer_is_cancelled(
    factory: Factory, prefetch: int, entered: bool
) -> None:
    """Also where the source is still being opened."""

    async def main() -> None:
        scene = Scene()
        source = TimedContext(scene.ledger, entered)
        stream = async_stream_zip([("name", source)], prefetch=prefetch)
        task = asyncio.ensure_future(stream.read())
        async with asyncio.timeout(60):
            await source.waits.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert source.closed >= 1
        scene.assert_nothing_is_left()

    run(main(), factory)


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("give_up", [False, True])
def test_a_timeout_within_a_close_is_its_own(factory: Factory, prefetch: int, give_up: bool) -> None:
    async def main() -> None:
        scene = Scene()
        source = TimedClose(scene.ledger, CHUNKS * 20)
        stream = async_stream_zip([("name", source)], prefetch=prefetch)
        async with asyncio.timeout(60):
            if give_up:
                await anext(stream)
            else:
                await stream.read()
            await stream.aclose()
        assert source.closed == 1
        scene.assert_nothing_is_left()

    run(main(), factory)


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("give_up", [False, True])
def test_what_is_entered_is_left_by_the_same_task(factory: Factory, prefetch: int, give_up: bool) -> None:
    anyio = module("anyio")

    @asynccontextmanager
    async def scoped(ledger: Ledger) -> AsyncIterator[Any]:
        with anyio.CancelScope():  # which insists
            yield AsyncFile(ledger, CHUNKS * 20)

    async def main() -> None:
        scene = Scene()
        stream = async_stream_zip([("name", scoped(scene.ledger))], prefetch=prefetch)
        await (anext(stream) if give_up else stream.read())
        await stream.aclose()
        scene.assert_nothing_is_left()

    run(main(), factory)


async def _given(data: Any) -> Any:
    return data


class Entered:
    """A file that is opened by entering it, and closed only by leaving it."""

    close = None

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.chunks = [b"data"]

    async def __aenter__(self) -> Any:
        self.steps.append("entered")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.steps.append("left")

    async def read(self, size: int) -> bytes:
        self.steps.append("read")
        return self.chunks.pop() if self.chunks else b""


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("wrap", [lambda file: file, _given, lambda file: lambda: file], ids=["bare", "await", "call"])
def test_a_file_that_closes_by_leaving_it_only_is_entered(factory: Factory, wrap: Any, prefetch: int) -> None:
    file = Entered()

    async def main() -> None:
        archive = await archive_of(("a", wrap(file)), prefetch=prefetch)
        assert oracles.members(archive) == {"a": b"data"}

    run(main(), factory)
    assert file.steps == ["entered", "read", "read", "left"]


async def _yielded(data: bytes) -> AsyncIterator[bytes]:
    yield data[:4]
    yield data[4:]


class FileOf:
    """An async file, and nothing else."""

    def __init__(self, data: bytes) -> None:
        self._file = BytesIO(data)
        self.closed = 0

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("make", [_given, _yielded, FileOf, lambda data: partial(_given, data)])
def test_small_sources_that_come_at_once_share_a_task(
    factory: Factory, make: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_driver, "_SHARED", 60)

    async def main() -> None:
        made: list[Any] = []

        def counted(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            made.append(coroutine)
            return asyncio.Task(coroutine, loop=loop, **options)

        members = {f"{number}": b"data of %d" % number for number in range(200)}
        sources = {name: make(data) for name, data in members.items()}
        asyncio.get_running_loop().set_task_factory(counted)
        archive = await archive_of(*sources.items())
        asyncio.get_running_loop().set_task_factory(None)
        assert oracles.members(archive) == members
        assert len(made) <= 3
        assert {source.closed for source in sources.values() if isinstance(source, FileOf)} <= {1}

    run(main(), factory)


@pytest.mark.parametrize("trace", ["sets a variable", "cancels its task", "lets its task be cancelled later", "waits"])
def test_a_source_that_leaves_a_trace_has_its_task_for_itself(factory: Factory, trace: str) -> None:
    async def first() -> bytes:
        task = asyncio.current_task()
        assert task is not None
        if trace == "sets a variable":
            _WHO.set("first")
        elif trace == "cancels its task":
            task.cancel()
        elif trace == "lets its task be cancelled later":
            asyncio.get_running_loop().call_soon(task.cancel)
        else:
            await asyncio.sleep(0)
        tasks.append(ref(task))  # a reference that counts would be a trace itself
        return b"first"

    async def second() -> bytes:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(ref(task))
        await asyncio.sleep(0)
        return _WHO.get().encode()

    async def main() -> None:
        _WHO.set("me")
        archive = await archive_of(("first", first), ("second", second), ("third", b"third"))
        assert oracles.members(archive) == {"first": b"first", "second": b"me", "third": b"third"}
        assert tasks[0] is not tasks[1]

    tasks: list[ref[asyncio.Task[Any]]] = []
    run(main(), factory)


def test_one_of_several_sources_in_a_task_fails_alone(factory: Factory) -> None:
    async def fails() -> bytes:
        raise BoomError("boom")

    async def fails_later() -> AsyncIterator[bytes]:
        yield b"some data"
        raise BoomError("boom")

    async def main() -> None:
        failed: list[str] = []
        file = FileOf(b"file")
        entries: list[Any] = [("a", _given(b"1")), ("b", fails), ("c", file), ("d", fails_later()), ("e", _given(b"2"))]
        archive = await archive_of(*entries, on_error=lambda entry, _: failed.append(entry.name))
        assert oracles.members(archive) == {"a": b"1", "c": b"file", "e": b"2"}
        assert failed == ["b", "d"]
        assert file.closed == 1

    run(main(), factory)


@pairwise(factory=LOOPS.values(), chunks=[1, 3, 400], compression=["stored", "deflate"], give_up=[False, True])
def test_a_generator_runs_in_one_task_with_variables_of_its_own(
    factory: Factory, compression: Any, chunks: int, give_up: bool
) -> None:
    anyio = module("anyio")
    seen: list[str] = []

    async def scoped(name: str) -> AsyncIterator[bytes]:
        seen.append(_WHO.get())
        _WHO.set(name)
        with anyio.CancelScope():
            for _ in range(chunks):
                await asyncio.sleep(0)
                yield b"some data " * 100

    async def main() -> None:
        stream = async_stream_zip([(name, scoped(name)) for name in "abc"], compression=compression, chunk_size=1000)
        # Whoever asks for the next chunk may be another task each time.
        if give_up:
            await asyncio.create_task(anext(stream))
            await stream.aclose()
        else:
            while await asyncio.create_task(stream.read(5000)):
                pass
            assert seen == ["nobody"] * 3
        assert _WHO.get() == "nobody"

    run(main(), factory)


def test_slow_pieces_are_handed_over_as_they_come(factory: Factory) -> None:
    async def main() -> None:
        arrived = asyncio.Event()

        async def trickle() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"piece"
                await asyncio.sleep(0.11)
            async with asyncio.timeout(60):
                await arrived.wait()  # for what came before it
            yield b"end"

        stream = async_stream_zip([("name", trickle())], compression="stored", lookahead=0)
        left = b""
        async for chunk in stream:
            left += chunk
            if b"piece" in left:
                arrived.set()
        assert oracles.members(left) == {"name": b"piecepiecepieceend"}

    run(main(), factory)


def test_what_came_at_once_before_a_stall_or_an_error_is_not_lost(factory: Factory) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"fast"
        await asyncio.sleep(0.15)
        yield b"end"

    async def failing() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"fast"
        raise BoomError

    async def main() -> None:
        assert await data_of(stalling()) == b"fast" * 100 + b"end"
        left = b""
        with pytest.raises(BoomError):
            async for chunk in async_stream_zip(
                [Entry("name", failing(), compression="stored")], lookahead=0, chunk_size=0
            ):
                left += chunk
        assert left.endswith(b"fast" * 100)

    run(main(), factory)


@pytest.mark.parametrize("goes_on", [True, False])
def test_nobody_waits_for_what_was_gathered_before_a_source_that_makes_one_wait(goes_on: bool) -> None:
    async def run() -> None:
        gate, begun, closed = asyncio.Event(), [], []

        async def one(data: bytes) -> AsyncIterator[bytes]:
            yield data

        async def slow() -> AsyncIterator[bytes]:
            try:
                begun.append(True)
                yield b"first"
                await gate.wait()
                yield b"second"
            finally:
                closed.append(True)

        async def entries() -> AsyncIterator[Any]:
            for number in range(60):
                yield f"{number}", one(noise(number, 2000))
            yield "slow", slow()

        stream = async_stream_zip(entries(), compression="deflate")
        found = [await anext(stream)]  # and the gate is shut
        while not begun:  # on a machine that stalls, a part of it has left before
            found.append(await anext(stream))
        if goes_on:
            gate.set()
            found += [chunk async for chunk in stream]
            with ZipFile(BytesIO(b"".join(found))) as archive:
                assert archive.testzip() is None
                assert archive.read("slow") == b"firstsecond"
        else:
            await stream.aclose()
        assert closed == [True]

    asyncio.run(run())


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("where", ["entries", "source"])
def test_a_cursor_that_is_bound_to_a_thread_says_what_to_do(where: str, prefetch: int) -> None:
    sqlite3 = pytest.importorskip("sqlite3")

    async def archive(**options: Any) -> bytes:
        with closing(sqlite3.connect(":memory:", **options)) as database:
            database.execute("create table files(name, data)")
            database.executemany(
                "insert into files values(?, ?)", [(f"{each}", noise(each, 200_000)) for each in range(5)]
            )
            rows = (row for row in database.execute("select name, data from files"))
            entries: Any = rows if where == "entries" else [("a", lambda: (data for _, data in rows))]
            return await async_stream_zip(entries, prefetch=prefetch).read()

    with pytest.raises(sqlite3.ProgrammingError, match="thread") as caught:
        asyncio.run(archive())
    assert "check_same_thread=False" in "".join(caught.value.__notes__)
    assert len(asyncio.run(archive(check_same_thread=False))) > 1_000_000
