"""Objects that give data by a method, however it is defined, and context managers: in both facades."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

from tests.support import oracles
from tests.support.loops import module
from tests.support.sweeps import pairwise
from zipstream_adapter import Entry, EntryTypeError, StreamStateError, ZipLayout, async_stream_zip, stream_zip

PIECES = [b"one", b"two", b"three"]
DATA = b"".join(PIECES)


def sync_data(source: Any, **options: Any) -> bytes:
    return oracles.members(b"".join(stream_zip([("a", source)], **options)))["a"]


async def _async_data(source: Any, **options: Any) -> bytes:
    async with async_stream_zip([("a", source)], **options) as stream:
        return oracles.members(await stream.read())["a"]


def async_data(source: Any, **options: Any) -> bytes:
    return asyncio.run(_async_data(source, **options))


FACADES: dict[str, Callable[..., bytes]] = {"sync": sync_data, "async": async_data}
both = pytest.mark.parametrize("data_of", FACADES.values(), ids=FACADES)


class Reader:
    """Gives its pieces; closed once."""

    def __init__(self) -> None:
        self.pieces = list(PIECES)
        self.closed = 0

    def take(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed += 1


class Future(Reader):
    def read(self, size: int) -> Any:
        future = asyncio.get_running_loop().create_future()
        future.set_result(self.take())
        return future


def traced(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def hidden(function: Any) -> Any:
    return lambda *args: function(*args)


class Decorated(Reader):
    @traced
    async def read(self, size: int) -> bytes:
        await asyncio.sleep(0)
        return self.take()


class Hidden(Reader):
    @hidden
    async def read(self, size: int) -> bytes:
        await asyncio.sleep(0)
        return self.take()


class Awaitable:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self.data


class Compiled(Reader):
    def read(self, size: int) -> Any:
        return Awaitable(self.take())


class Partial(Reader):
    def __init__(self) -> None:
        super().__init__()
        self.read = functools.partial(self._read, "more")

    async def _read(self, more: str, size: int) -> bytes:
        return self.take()


class AsyncUnsized(Reader):
    async def read(self) -> bytes:
        return self.take()


class AsyncKeyword(Reader):
    async def read(self, *, decode: bool = False) -> bytes:
        raise AssertionError("reads all of it")

    async def read_chunk(self, size: int = 8192) -> bytes:
        assert size >= 8192
        return self.take()


class AsyncChunks(Reader):
    async def read_chunk(self) -> bytes:
        return self.take()


class IteratorToo(Reader):
    async def read(self) -> bytes:
        raise AssertionError("reads all of it")

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> bytes:
        if piece := self.take():
            return piece
        raise StopAsyncIteration


ASYNC = [Future, Decorated, Hidden, Compiled, Partial, AsyncUnsized, AsyncKeyword, AsyncChunks, IteratorToo]


@pairwise(chunk_size=[0, 65536], prefetch=[0, 2], called=[False, True], kind=ASYNC)
def test_an_awaitable_read_is_known_by_what_it_returns(
    kind: type[Reader], called: bool, prefetch: int, chunk_size: int
) -> None:
    reader = kind()
    source = (lambda: reader) if called else reader
    assert async_data(source, prefetch=prefetch, chunk_size=chunk_size) == DATA
    assert reader.closed == 1


@pytest.mark.parametrize("kind", [kind for kind in ASYNC if kind not in (Future, IteratorToo)])
def test_it_is_refused_without_an_event_loop(kind: type[Reader]) -> None:
    reader = kind()
    with pytest.raises(EntryTypeError, match="asynchronous"):
        sync_data(reader)
    assert reader.closed == 1


class Sized(Reader):
    def read(self, size: int) -> bytes:
        self.threads = {threading.current_thread()}
        return self.take()


class SyncUnsized(Reader):
    def read(self) -> bytes:
        return self.take()


class SyncChunks(Reader):
    def read(self, *, decode: bool = False) -> bytes:
        raise AssertionError("reads all of it")

    def read_chunk(self, size: int) -> bytes:
        return self.take()


class Whole(Reader):
    """Gives all at the first call."""

    def read(self) -> bytes:
        data, self.pieces = b"".join(self.pieces), []
        return data


@both
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("kind", [Sized, SyncUnsized, SyncChunks, Whole])
def test_readers_without_a_loop(kind: type[Reader], called: bool, data_of: Callable[..., bytes]) -> None:
    reader = kind()
    assert data_of((lambda: reader) if called else reader) == DATA
    assert reader.closed == 1


@both
def test_a_read_that_gives_the_same_each_time_has_no_end(data_of: Callable[..., bytes]) -> None:
    class Cached(Reader):
        def read(self) -> bytes:
            return DATA

    reader = Cached()
    with pytest.raises(EntryTypeError, match="gave the same 11 bytes twice"):
        data_of(reader)
    assert reader.closed == 1


def test_a_plain_read_is_never_called_on_the_loop() -> None:
    main = threading.main_thread()
    reader = Sized()
    assert async_data(reader) == DATA
    assert main not in reader.threads


def test_mocks() -> None:
    assert async_data(Mock(spec_set=["read"], read=AsyncMock(side_effect=[*PIECES, b""]))) == DATA
    assert (
        async_data(
            MagicMock(
                spec=["read", "close", "aclose"],
                read=AsyncMock(side_effect=[*PIECES, b""]),
                close=Mock(),
                aclose=AsyncMock(),
            )
        )
        == DATA
    )
    assert sync_data(Mock(spec_set=["read"], read=Mock(side_effect=[*PIECES, b""]))) == DATA


@both
def test_what_it_raises_is_the_users(data_of: Callable[..., bytes]) -> None:
    class Fails(Reader):
        def read(self, size: int) -> bytes:
            raise TypeError("mine")

    reader = Fails()
    with pytest.raises(TypeError, match="mine"):
        data_of(reader)
    assert reader.closed == 1


# Context managers.


class Context:
    """Gives `inner`."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls: list[str] = []

    def __enter__(self) -> Any:
        self.calls.append("enter")
        return self.inner

    def __exit__(self, *args: Any) -> None:
        self.calls.append("exit")

    def close(self) -> None:
        self.calls.append("close")


class OwnIterator(Context):
    """Gives itself, once it was entered."""

    def __init__(self) -> None:
        super().__init__(self)

    def __iter__(self) -> Iterator[bytes]:
        assert self.calls == ["enter"]
        yield from PIECES


class OwnAsyncIterator:
    def __init__(self) -> None:
        self.calls: list[str] = []

    async def __aenter__(self) -> Any:
        self.calls.append("enter")
        return self

    async def __aexit__(self, *args: Any) -> None:
        self.calls.append("exit")

    async def aclose(self) -> None:
        self.calls.append("close")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert self.calls == ["enter"]
        for piece in PIECES:
            yield piece


INNER: dict[str, Callable[[], Any]] = {
    "bytes": lambda: DATA,
    "file": lambda: io.BytesIO(DATA),
    "list": lambda: PIECES,
    "generator": lambda: iter(PIECES),
    "reader": Whole,
}


@both
@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("inner", INNER)
def test_a_context_manager_is_entered_and_left_once(inner: str, called: bool, data_of: Callable[..., bytes]) -> None:
    context = Context(INNER[inner]())
    assert data_of((lambda: context) if called else context) == DATA
    assert context.calls == ["enter", "exit"]


@both
def test_one_that_gives_itself(data_of: Callable[..., bytes]) -> None:
    context = OwnIterator()
    assert data_of(context) == DATA
    assert context.calls == ["enter", "exit"]


def test_an_asynchronous_one_that_gives_itself() -> None:
    context = OwnAsyncIterator()
    assert async_data(context) == DATA
    assert context.calls == ["enter", "exit"]


class _EnteredReader:
    """Is read, and closed by nothing but leaving it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._pieces = iter(PIECES)

    def __enter__(self) -> Any:
        self.calls.append("enter")
        return self

    def __exit__(self, *args: object) -> None:
        self.calls.append("exit")

    def read(self, size: int) -> Any:
        assert self.calls == ["enter"]
        return next(self._pieces, b"")


class _EnteredAsyncReader(_EnteredReader):
    __enter__ = __exit__ = None  # type: ignore[assignment]

    async def __aenter__(self) -> Any:
        return _EnteredReader.__enter__(self)

    async def __aexit__(self, *args: object) -> None:
        _EnteredReader.__exit__(self)

    async def read(self, size: int) -> bytes:
        return _EnteredReader.read(self, size)  # type: ignore[no-any-return]


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("kind", [_EnteredReader, _EnteredAsyncReader])
def test_a_reader_that_cannot_be_closed_is_entered_and_left(kind: Any, called: bool) -> None:
    for prefetch in (0, 1):
        for data_of in FACADES.values() if kind is _EnteredReader else (async_data,):
            reader = kind()
            assert data_of((lambda made: lambda: made)(reader) if called else reader, prefetch=prefetch) == DATA
            assert reader.calls == ["enter", "exit"]


@both
def test_what_closing_closes_is_closed_once(data_of: Callable[..., bytes]) -> None:
    reader = Whole()
    assert data_of(contextlib.closing(reader)) == DATA
    assert reader.closed == 1


@both
def test_a_generator_based_one_which_can_be_called_too(data_of: Callable[..., bytes]) -> None:
    log: list[str] = []

    @contextlib.contextmanager
    def opened() -> Iterator[Any]:
        log.append("enter")
        yield io.BytesIO(DATA)
        log.append("exit")

    assert data_of(opened()) == DATA
    assert data_of(opened) == DATA
    assert log == ["enter", "exit"] * 2


@both
def test_it_is_left_after_a_failure_too(data_of: Callable[..., bytes]) -> None:
    context = Context([b"x", "text"])
    with pytest.raises(EntryTypeError, match="encode text"):
        data_of(context)
    assert context.calls == ["enter", "exit"]
    context = Context(5)
    with pytest.raises(EntryTypeError):
        data_of(context)
    assert context.calls == ["enter", "exit"]


@both
def test_files_of_fsspec(data_of: Callable[..., bytes]) -> None:
    fsspec = module("fsspec")
    with fsspec.open("memory://readers.bin", "wb") as file:
        file.write(DATA)
    assert data_of(fsspec.open("memory://readers.bin", "rb")) == DATA
    assert data_of(lambda: fsspec.open("memory://readers.bin", "rb")) == DATA


@both
def test_a_class_is_called(data_of: Callable[..., bytes]) -> None:
    assert data_of(Whole) == DATA


# What was used before.


@both
def test_a_generator_that_is_over_is_no_empty_member(data_of: Callable[..., bytes]) -> None:
    def pieces() -> Generator[bytes, None, None]:
        yield from PIECES

    over, closed, begun = pieces(), pieces(), pieces()
    assert list(over) == PIECES
    closed.close()
    next(begun)
    for generator in (over, closed):
        with pytest.raises(StreamStateError, match="read or closed before"):
            data_of(generator)
        with pytest.raises(StreamStateError, match="read or closed before"):
            data_of(lambda generator=generator: generator)
    assert data_of(begun) == DATA[3:]


@pytest.mark.parametrize("facade", ["sync", "async"])
def test_one_generator_for_two_entries_is_refused(facade: str) -> None:
    pieces = (piece for piece in PIECES)
    entries = [Entry("a", pieces), Entry("b", pieces)]
    with pytest.raises(StreamStateError, match="entry 'b'"):
        if facade == "sync":
            b"".join(stream_zip(entries))
        else:
            asyncio.run(_rest(async_stream_zip(entries)))


async def _rest(stream: Any) -> bytes:
    return await stream.read()  # type: ignore[no-any-return]


def test_an_asynchronous_generator_that_is_over() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield DATA

    async def main() -> None:
        over = pieces()
        assert [piece async for piece in over] == [DATA]
        with pytest.raises(StreamStateError, match="read or closed before"):
            await _async_data(over)

    asyncio.run(main())


@both
def test_a_stream_as_data(data_of: Callable[..., bytes]) -> None:
    inner = stream_zip([("deep", DATA)])
    assert oracles.members(data_of(inner)) == {"deep": DATA}
    assert inner.closed
    for spoil in (next, lambda stream: stream.read(), lambda stream: stream.close()):
        inner = stream_zip([("deep", DATA)])
        spoil(inner)
        with pytest.raises(StreamStateError, match="entry 'a': its source is a stream that was begun or closed before"):
            data_of(inner)


def test_an_asynchronous_stream_as_data() -> None:
    async def main() -> None:
        inner = async_stream_zip([("deep", DATA)])
        assert oracles.members(await _async_data(inner)) == {"deep": DATA}
        for source in (inner, async_stream_zip([])):
            await source.aclose()
            with pytest.raises(StreamStateError, match="begun or closed before"):
                await _async_data(source)
        with pytest.raises(EntryTypeError, match="asynchronous"):
            sync_data(async_stream_zip([("deep", DATA)]))

    asyncio.run(main())


def test_parts_of_aiohttps_multipart() -> None:
    aiohttp = module("aiohttp")
    multipart = module("aiohttp.multipart")

    async def main() -> None:
        body = b"--x\r\nContent-Disposition: form-data; name=f\r\n\r\n" + bytes(100_000) + b"\r\n--x--\r\n"
        content = aiohttp.StreamReader(Mock(_reading_paused=False), 1 << 20, loop=asyncio.get_running_loop())
        content.feed_data(body)
        content.feed_eof()
        reader = multipart.MultipartReader({"Content-Type": "multipart/form-data; boundary=x"}, content)
        assert await _async_data(await reader.next()) == bytes(100_000)

    asyncio.run(main())


def test_layouts_take_what_a_callable_opens_anew_and_refuse_what_can_be_read_once() -> None:
    import subprocess
    import sys

    layout = ZipLayout([Entry("a", lambda: Context(Whole()), size=len(DATA))])
    for _ in range(2):
        assert oracles.members(b"".join(layout.iter_range(0))) == {"a": DATA}
    started = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    for source in (Context(DATA), contextlib.contextmanager(lambda: iter([DATA]))(), started):
        with pytest.raises(EntryTypeError, match="can be read only once"):
            ZipLayout([Entry("a", source, size=len(DATA))])
    started.communicate(timeout=60)
