"""A dropped stream is freed at once, with its central directory, without waiting for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import io
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zipstream_adapter import Entry, async_stream_zip, stream_zip, walk

DATA = bytes(1 << 16)
Entries = Callable[[Path], Any]


@pytest.fixture(autouse=True)
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "large").write_bytes(DATA * 20)
    (tmp_path / "small").write_bytes(b"x")
    return tmp_path


def pieces() -> Iterator[bytes]:
    for _ in range(4):
        yield DATA


async def pieces_later() -> AsyncIterator[bytes]:
    for _ in range(4):
        yield DATA


async def data_later() -> bytes:
    return DATA


class Reader:
    def __init__(self) -> None:
        self._rest = [DATA, DATA]

    async def read(self, _: int) -> bytes:
        return self._rest.pop() if self._rest else b""

    async def close(self) -> None: ...


async def entries_later() -> AsyncIterator[Entry]:
    for number in range(3):
        yield Entry(f"{number}", pieces_later())


FORMS: dict[str, Entries] = {
    "data": lambda _: [("a", DATA)],
    "many": lambda _: [(f"{number}", b"x") for number in range(50)],
    "generator": lambda _: [("a", pieces())],
    "iterable": lambda _: [("a", [DATA] * 4)],
    "callable": lambda _: [("a", pieces)],
    "object in memory": lambda _: [("a", io.BytesIO(DATA * 5))],
    "path": lambda tree: [tree / "large", tree / "small"],
    "file": lambda tree: [("a", open(tree / "large", "rb"))],  # noqa: SIM115, the stream closes it
    "walk": walk,
    "generator of entries": lambda _: (pair for pair in [("a", DATA), ("b", pieces())]),
}
LATER: dict[str, Entries] = {
    "asynchronous generator": lambda _: [("a", pieces_later())],
    "asynchronous callable": lambda _: [("a", pieces_later)],
    "awaitable": lambda _: [("a", data_later())],
    "asynchronous file": lambda _: [("a", Reader())],
    "asynchronous entries": lambda _: entries_later(),
}
OPTIONS: dict[str, Any] = {
    "stored": {},
    "deflate": {"compression": "deflate"},
    "prefetch": {"prefetch": 2},
    "progress": {"on_progress": lambda _: None},
}


def archive_of(stream: Any) -> weakref.ref[Any]:
    return weakref.ref(stream._producer.archive.directory)


async def freed(dropped: Awaitable[weakref.ref[Any]]) -> None:
    directory = await dropped
    # The last results are on their way through the loop; a thread may end a little later.
    for _ in range(1000):
        if directory() is None:
            return
        await asyncio.sleep(0.001)
    pytest.fail("something keeps the archive")


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_stream_that_was_read_or_closed_is_freed_when_it_is_dropped(
    form: Entries, options: dict[str, Any], tree: Path
) -> None:
    for is_read in (True, False):
        stream = stream_zip(form(tree), **options)
        directory = archive_of(stream)
        next(stream)
        if is_read:
            for _ in stream:
                pass
        stream.close()
        assert directory() is not None
        del stream
        assert directory() is None


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("form", [*FORMS.values(), *LATER.values()], ids=[*FORMS, *LATER])
def test_so_is_an_asynchronous_one_that_was_read(form: Entries, options: dict[str, Any], tree: Path) -> None:
    async def directory_of_a_read_stream() -> weakref.ref[Any]:
        stream = async_stream_zip(form(tree), **options)
        async for _ in stream:
            pass
        return archive_of(stream)

    asyncio.run(freed(directory_of_a_read_stream()))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_so_is_an_asynchronous_one_that_was_closed(form: Entries, tree: Path) -> None:
    async def directory_of_a_closed_stream() -> weakref.ref[Any]:
        stream = async_stream_zip(form(tree))
        await anext(stream)
        await stream.aclose()
        return archive_of(stream)

    asyncio.run(freed(directory_of_a_closed_stream()))
