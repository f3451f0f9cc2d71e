"""Sources of every kind that an event loop can be given, which keep a ledger of what is done with them, and where."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import aiofiles

from tests.support import oracles
from tests.support.loops import CountedThreads, descriptors, module, other_tasks, step_threads
from tests.support.strategies import noise
from zipstream_adapter._stream.asynchronous import AsyncZipStream

if TYPE_CHECKING:
    from typing import Self

Chunks = Sequence[bytes]
# Small ones, which are no work, and large ones, which are; noise, so that they leave whatever they are coded by.
CHUNKS = (b"small", noise(1, 70_000), b"", b"more", noise(2, 100_000), b"end")
DATA = b"".join(CHUNKS)


class Ledger:
    """What was opened and closed, and what was done on the wrong thread. It is made on the loop's thread."""

    def __init__(self) -> None:
        self._loop_thread = threading.get_ident()
        self.sources: list[Source] = []
        self.wrong: list[str] = []
        self.coroutines: list[Coroutine[Any, Any, Any]] = []

    def check(self, what: str, *, on_loop: bool) -> None:
        if (threading.get_ident() == self._loop_thread) != on_loop:
            self.wrong.append(f"{what} {'off' if on_loop else 'on'} the loop's thread")

    @property
    def open(self) -> list[str]:
        """The sources that were begun and not closed."""
        return [str(source) for source in self.sources if source.touched and not source.closed]

    @property
    def closed_twice(self) -> list[str]:
        return [str(source) for source in self.sources if source.closings > 1]

    def forget(self) -> None:
        """Do what is up to the owner of sources whose turn has not come."""
        for coroutine in self.coroutines:
            coroutine.close()


class Scene:
    """What there is before a stream is made, and what there has to be when it has gone. To be made on the loop."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.threads = CountedThreads()
        asyncio.get_running_loop().set_default_executor(self.threads)
        self.left: list[bytes] = []
        self._descriptors = descriptors()
        self._before = set(threading.enumerate())

    async def consume(self, stream: AsyncZipStream) -> None:
        async for chunk in stream:
            self.left.append(chunk)

    def assert_nothing_is_left(self) -> None:
        self.ledger.forget()
        left: dict[str, Any] = {
            "open": self.ledger.open,
            "closed twice": self.ledger.closed_twice,
            "on a wrong thread": self.ledger.wrong,
            "tasks": other_tasks(),
            "busy threads": self.threads.busy,
            "threads": step_threads(self._before),
            "descriptors": descriptors() - self._descriptors,
        }
        assert not any(left.values()), {what: things for what, things in left.items() if things}

    async def assert_over(self, stream: AsyncZipStream, kind: type[Exception]) -> None:
        """Nothing is left, nothing more leaves, and what left does not look whole."""
        self.assert_nothing_is_left()
        for ask in (stream.__anext__, stream.read, stream.aclose, stream.__anext__, lambda: stream.read(1)):
            try:
                more = await ask()
            except kind:
                continue
            assert ask == stream.aclose, f"more left: {more!r}"
        self.assert_nothing_is_left()
        assert not oracles.python(b"".join(self.left)), "what left looks whole"


class Source:
    """A source that gives `chunks`, and says to `ledger` what is done with it."""

    on_loop = False

    def __init__(self, ledger: Ledger, chunks: Sequence[Any] = CHUNKS) -> None:
        self._ledger = ledger
        self._chunks: list[Any] = list(chunks)
        self.touched = False
        self.closings = self.closed = self.asked = 0
        ledger.sources.append(self)

    def __str__(self) -> str:
        return f"{type(self).__name__} {self._ledger.sources.index(self)}"

    def _take(self) -> bytes | None:
        self._ledger.check(f"{self} read", on_loop=self.on_loop)
        assert not self.closings, "read after it was closed"
        self.touched = True
        self.asked += 1
        chunk: bytes | None = self._chunks.pop(0) if self._chunks else None
        return chunk

    def _read(self, size: int) -> bytes:
        while (chunk := self._take()) == b"":
            pass
        if chunk is not None and 0 <= size < len(chunk):
            self._chunks.insert(0, chunk[size:])
            chunk = chunk[:size]
        return chunk or b""

    def _closing(self) -> None:
        self._ledger.check(f"{self} closed", on_loop=self.on_loop)
        self.closings += 1

    def close_now(self) -> None:
        self._closing()
        self.closed += 1


class SyncFile(Source):
    def read(self, size: int = -1) -> bytes:
        return self._read(size)

    def close(self) -> None:
        self.close_now()


class SyncIterator(Source):
    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        chunk = self._take()
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self.close_now()


class _Async(Source):
    on_loop = True

    async def _wait(self) -> None:
        await asyncio.sleep(0)


class AsyncFile(_Async):
    async def read(self, size: int = -1) -> bytes:
        await self._wait()
        return self._read(size)

    async def close(self) -> None:
        self._closing()
        await self._wait()
        self.closed += 1


class AsyncIter(_Async):
    """Closed by `aclose`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        await self._wait()
        chunk = self._take()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self._closing()
        await self._wait()
        await self._wait()
        self.closed += 1


class BareAsyncIter(_Async):
    """Has nothing to close."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await self._wait()
        chunk = self._take()
        self.touched = False
        if chunk is None:
            raise StopAsyncIteration
        return chunk


def sync_generator(ledger: Ledger, chunks: Chunks = CHUNKS) -> Iterator[bytes]:
    source = SyncIterator(ledger, chunks)
    try:
        while (chunk := source._take()) is not None:
            yield chunk
    finally:
        source.close_now()


async def async_generator(ledger: Ledger, chunks: Chunks = CHUNKS) -> AsyncIterator[bytes]:
    source = AsyncIter(ledger, chunks)
    try:
        while (chunk := source._take()) is not None:
            await asyncio.sleep(0)
            yield chunk
    finally:
        source.close_now()  # at once: what is cancelled in here is a generator's own affair
        await asyncio.sleep(0)


@asynccontextmanager
async def context_of(ledger: Ledger, inner: Callable[[Ledger], Any]) -> AsyncIterator[Any]:
    gate = AsyncIter(ledger, ())
    await asyncio.sleep(0)
    gate.touched = True
    try:
        yield inner(ledger)
    finally:
        await gate.aclose()


S = TypeVar("S", bound=Source)
T = TypeVar("T")


def _opened(source: S) -> S:
    """What a callable has opened: somebody has to close it from now on."""
    source.touched = True
    source._ledger.check(f"{source} opened", on_loop=source.on_loop)
    return source


async def _coroutine(make: Callable[[], Any]) -> Any:
    await asyncio.sleep(0)
    return make()


def _kept(ledger: Ledger, coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """`coroutine`, which nobody awaits where its turn never comes."""
    ledger.coroutines.append(coroutine)
    return coroutine


def _to_be_awaited(ledger: Ledger, path: Path) -> Any:
    opening = aiofiles.open(path, "rb")
    ledger.coroutines.append(opening._coro)  # type: ignore[attr-defined]
    return opening


def _upload(ledger: Ledger) -> Any:
    return module("starlette.datastructures").UploadFile(SyncFile(ledger))


def _stream_reader(chunks: Chunks) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    return reader


def on_disk(folder: Path, name: str = "data") -> Path:
    """A file that has `DATA`."""
    path = folder / name
    if not path.exists():
        path.write_bytes(DATA)
    return path


def _constant(value: T) -> Callable[[], T]:
    return lambda: value


# Of each kind, what makes one: (ledger, folder to have files in) -> a source that gives DATA.
KINDS: dict[str, Callable[[Ledger, Path], Any]] = {
    "bytes": lambda ledger, folder: DATA,
    "bytearray": lambda ledger, folder: bytearray(DATA),
    "memoryview": lambda ledger, folder: memoryview(DATA),
    "path": lambda ledger, folder: on_disk(folder),
    "sync iterator": lambda ledger, folder: SyncIterator(ledger),
    "sync generator": lambda ledger, folder: sync_generator(ledger),
    "sync file": lambda ledger, folder: SyncFile(ledger),
    "callable for bytes": lambda ledger, folder: lambda: DATA,
    "callable for a path": lambda ledger, folder: _constant(on_disk(folder)),
    "callable for a file": lambda ledger, folder: lambda: _opened(SyncFile(ledger)),
    "callable for a real file": lambda ledger, folder: partial(on_disk(folder).open, "rb"),
    "callable for a generator": lambda ledger, folder: lambda: sync_generator(ledger),
    "callable for an async generator": lambda ledger, folder: lambda: async_generator(ledger),
    "callable for a coroutine": lambda ledger, folder: lambda: _coroutine(lambda: _opened(AsyncFile(ledger))),
    "coroutine": lambda ledger, folder: _kept(ledger, _coroutine(lambda: DATA)),
    "coroutine function": lambda ledger, folder: _function(lambda: _opened(AsyncIter(ledger))),
    "coroutine function for a file": lambda ledger, folder: _function(lambda: _opened(AsyncFile(ledger))),
    "coroutine function for a sync file": lambda ledger, folder: _function(lambda: SyncFile(ledger)),
    "coroutine function for a callable": lambda ledger, folder: _function(lambda: lambda: _opened(SyncFile(ledger))),
    "future": lambda ledger, folder: asyncio.ensure_future(_coroutine(lambda: DATA)),
    "async generator": lambda ledger, folder: async_generator(ledger),
    "async generator function": lambda ledger, folder: _generator_function(ledger),
    "async iterator": lambda ledger, folder: AsyncIter(ledger),
    "async iterator without aclose": lambda ledger, folder: BareAsyncIter(ledger),
    "async file": lambda ledger, folder: AsyncFile(ledger),
    "aiofiles handle": lambda ledger, folder: _function(partial(aiofiles.open, on_disk(folder), "rb")),
    "aiofiles to be awaited": lambda ledger, folder: _to_be_awaited(ledger, on_disk(folder)),
    "stream reader": lambda ledger, folder: _stream_reader(CHUNKS),
    "upload": lambda ledger, folder: _upload(ledger),
    "context": lambda ledger, folder: context_of(ledger, AsyncFile),
    "context of bytes": lambda ledger, folder: context_of(ledger, lambda ledger: DATA),
    "context of a sync file": lambda ledger, folder: context_of(ledger, SyncFile),
    "callable for a context": lambda ledger, folder: lambda: context_of(ledger, AsyncIter),
}


def _function(make: Callable[[], Any]) -> Callable[[], Any]:
    async def function() -> Any:
        await asyncio.sleep(0)
        return make()

    return function


def _generator_function(ledger: Ledger) -> Callable[[], AsyncIterator[bytes]]:
    async def function() -> AsyncIterator[bytes]:
        async for chunk in async_generator(ledger):
            yield chunk

    return function
