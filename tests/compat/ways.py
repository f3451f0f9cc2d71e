"""One program for each module of `compat` that makes archives: all turn the same members into an archive."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.loops import other_tasks
from zipstream_adapter.compat import (
    aiozipstream,
    push,
    spideroak,
    stream_zip,
    zipfly64,
    zipstream,
    zipstream_ng,
    zipstreamer,
)

DATE = datetime(2021, 1, 1, 21, 1, 12)
# A member: its name, and a generator of its data.
Members = Iterable[tuple[str, Generator[Any, None, None]]]
DESCRIPTOR, UTF8 = 0x08, 0x800


@dataclass(frozen=True)
class Way:
    """A program. flags: general purpose flags of a member with data and of one without.

    Attributes:
        make: makes an archive of members, on request.
        again: what a second member of the same name is called.
        is_lazy: whether the program takes members from an iterable as they are needed.
        joins: whether small pieces of a member are joined into chunks.
    """

    make: Callable[[Members], Iterator[bytes]]
    flags: tuple[int, int] = (DESCRIPTOR, 0)
    again: str = "a"
    is_lazy: bool = True
    joins: bool = True


def of_zipstream(members: Members) -> Iterator[bytes]:
    z = zipstream.ZipFile(compression=zipstream.ZIP_DEFLATED)
    for name, data in members:
        z.write_iter(name, data)
    yield from z


def of_zipstream_flushed(members: Members) -> Iterator[bytes]:
    z = zipstream.ZipFile()
    for name, data in members:
        z.write_iter(name, data)
        yield from z.flush()
    yield from z


def of_zipstream_ng(members: Members) -> Iterator[bytes]:
    z = zipstream_ng.ZipStream(compress_type=zipstream_ng.ZIP_DEFLATED)
    for name, data in members:
        z.add(data, name)
    yield from z


def of_zipstream_ng_by_file(members: Members) -> Iterator[bytes]:
    z = zipstream_ng.ZipStream()
    for name, data in members:
        z.add(data, name)
        yield from z.file()
    yield from z.footer()


class Reader:
    """A file object of a generator's chunks."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks
        self._left = b""
        self.close = chunks.close

    def read(self, size: int) -> bytes:
        while not self._left and (chunk := next(self._chunks, None)) is not None:
            self._left = chunk
        taken, self._left = self._left[:size], self._left[size:]
        return taken


def of_zipstreamer(members: Members) -> Iterator[bytes]:
    files = (zipstreamer.ZipFile(name, None, partial(Reader, data), None, None) for name, data in members)
    return zipstreamer.ZipStream(files).generate()


def of_stream_zip(method: Any) -> Callable[[Members], Iterator[bytes]]:
    def make(members: Members) -> Iterator[bytes]:
        return stream_zip.stream_zip((name, DATE, 0o600, method, data) for name, data in members)

    return make


def own_deflate() -> Any:
    return zlib.compressobj(wbits=-zlib.MAX_WBITS)


def of_stream_zip_own(members: Members) -> Iterator[bytes]:
    files = ((name, DATE, 0o600, stream_zip.ZIP_32, data) for name, data in members)
    return stream_zip.stream_zip(files, get_compressobj=own_deflate)


def of_zipfly64(members: Members) -> Iterator[bytes]:
    return zipfly64.ZipFly(zipfly64.GenFile(name, data) for name, data in members).stream()


def of_aiozipstream(members: Members) -> Iterator[bytes]:
    return aiozipstream.ZipStream({"name": name, "stream": data} for name, data in members).stream()


def of_push(members: Members) -> Iterator[bytes]:
    z = push.ZipStreamer()
    for name, data in members:
        z.put_file(name)
        try:
            for chunk in data:
                z.write(chunk)
                if made := z.read():
                    yield made
        finally:
            data.close()
        z.flush()
        yield z.read()
    z.close()
    yield z.read()


# Asynchronous programs, on an event loop of their own.


async def later(data: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    try:
        for chunk in data:
            await asyncio.sleep(0)
            yield chunk
    finally:
        data.close()


async def all_later(members: Members) -> AsyncIterator[tuple[str, AsyncGenerator[Any, None]]]:
    for name, data in members:
        await asyncio.sleep(0)
        yield name, later(data)


def driven(chunks: AsyncGenerator[bytes, None]) -> Iterator[bytes]:
    async def following() -> bytes:
        return await anext(chunks, b"")

    async def closed() -> None:
        await chunks.aclose()
        assert not other_tasks()

    with asyncio.Runner() as runner:
        try:
            while chunk := runner.run(following()):
                yield chunk
        finally:
            runner.run(closed())


def of_stream_zip_async(members: Members) -> Iterator[bytes]:
    async def files() -> AsyncIterator[Any]:
        async for name, data in all_later(members):
            yield name, DATE, 0o600, stream_zip.ZIP_32, data

    return driven(stream_zip.async_stream_zip(files()))


def of_aiozipstream_async(members: Members) -> Iterator[bytes]:
    async def files() -> AsyncIterator[dict[str, Any]]:
        async for name, data in all_later(members):
            yield {"name": name, "stream": data, "compression": "deflate"}

    return driven(aiozipstream.AioZipStream(files()).stream())


def of_zipfly64_async(members: Members) -> Iterator[bytes]:
    return driven(zipfly64.ZipFly(zipfly64.GenFile(name, later(data)) for name, data in members).async_stream())


WAYS = {
    "zipstream": Way(of_zipstream, is_lazy=False),
    "zipstream flushed": Way(of_zipstream_flushed),
    "zipstream_ng": Way(of_zipstream_ng, flags=(DESCRIPTOR, DESCRIPTOR), is_lazy=False),
    "zipstream_ng by file": Way(of_zipstream_ng_by_file, flags=(DESCRIPTOR, DESCRIPTOR)),
    "zipstreamer": Way(of_zipstreamer, flags=(DESCRIPTOR, DESCRIPTOR)),
    "stream_zip": Way(of_stream_zip(stream_zip.ZIP_32)),
    "stream_zip zip64": Way(of_stream_zip(stream_zip.ZIP_64)),
    "stream_zip auto": Way(of_stream_zip(stream_zip.ZIP_AUTO(0))),
    "stream_zip own": Way(of_stream_zip_own),
    "stream_zip async": Way(of_stream_zip_async),
    "zipfly64": Way(of_zipfly64, flags=(0, 0), again="a (1)"),
    "zipfly64 async": Way(of_zipfly64_async, flags=(0, 0), again="a (1)"),
    "aiozipstream": Way(of_aiozipstream),
    "aiozipstream async": Way(of_aiozipstream_async),
    "push": Way(of_push, flags=(0, 0), joins=False),
}


# Programs that make an archive of one file, called "f".


def file_of_zipstream(path: Path) -> Iterator[bytes]:
    z = zipstream.ZipFile()
    z.write(path, "f")
    yield from z


def file_of_zipstream_ng(path: Path) -> Iterator[bytes]:
    yield from zipstream_ng.ZipStream.from_path(path, arcname="f")


FILE_WAYS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    "zipstream": file_of_zipstream,
    "zipstream_ng": file_of_zipstream_ng,
    "zipfly64": lambda path: zipfly64.ZipFly([zipfly64.LocalFile(path, "f")]).stream(),
    "aiozipstream": lambda path: aiozipstream.ZipStream([{"file": path, "name": "f"}]).stream(),
    "aiozipstream async": lambda path: driven(aiozipstream.AioZipStream([{"file": path, "name": "f"}]).stream()),
    "spideroak": lambda path: iter(spideroak.ZipStream(path)),
}
