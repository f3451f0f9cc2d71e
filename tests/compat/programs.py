"""Programs as the other libraries' documentation shows them, one path each, for a real server: `app`.

With ``?fails``, a source breaks in the middle of its data.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

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
MODE = 0o100600
BEFORE = bytes(300_000)  # more than the servers and the modules hold back
TEXT = b"from a generator, " * 5000

app = FastAPI()


def tree() -> Path:
    """A directory with a file ``a.txt``."""
    return Path(os.environ["DOWNLOAD_ROOT"])


def data(fails: bool) -> Iterator[bytes]:
    if fails:
        yield BEFORE
        raise OSError("the source broke midway")
    for at in range(0, len(TEXT), 1000):
        yield TEXT[at : at + 1000]


async def async_data(fails: bool) -> AsyncGenerator[bytes, None]:
    for chunk in data(fails):
        yield chunk


def of_zipstream(fails: bool) -> Iterable[bytes]:
    z = zipstream.ZipFile(mode="w", compression=zipstream.ZIP_DEFLATED)
    z.write(tree() / "a.txt", "a.txt")
    z.write_iter("generated", data(fails), compress_type=zipstream.ZIP_STORED)
    return z


def of_zipstream_flushed(fails: bool) -> Iterator[bytes]:
    z = zipstream.ZipFile(mode="w")
    z.write(tree() / "a.txt", "a.txt")
    yield from z.flush()
    z.write_iter("generated", data(fails))
    yield from z


def of_aiozipstream(fails: bool) -> Iterable[bytes]:
    files = [{"file": tree() / "a.txt", "compression": "deflate"}, {"stream": data(fails), "name": "generated"}]
    return aiozipstream.ZipStream(files).stream()


def of_aiozipstream_async(fails: bool) -> AsyncIterable[bytes]:
    async def files() -> AsyncGenerator[dict[str, Any], None]:
        yield {"file": tree() / "a.txt"}
        yield {"stream": async_data(fails), "name": "generated"}

    return aiozipstream.AioZipStream(files(), chunksize=32768).stream()


def of_spideroak(fails: bool) -> Iterable[bytes]:
    """Of a link that leads nowhere, where it fails."""
    return spideroak.ZipStream(tree() / ("broken" if fails else "a.txt"))


def of_push(fails: bool) -> Iterator[bytes]:
    archive = push.ZipStreamer()
    for name, chunks in (("a.txt", [(tree() / "a.txt").read_bytes()]), ("generated", data(fails))):
        archive.put_file(name)
        for chunk in chunks:
            archive.write(chunk)
            yield archive.read()
        archive.flush()
        yield archive.read()
    archive.close()
    yield archive.read()


class Reader(io.RawIOBase):
    """A file object of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._chunks, b"")
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


def of_zipstreamer(fails: bool) -> Any:
    path, size = tree() / "a.txt", None if fails else len(TEXT)
    files = [
        zipstreamer.ZipFile("a.txt", path.stat().st_size, lambda: path.open("rb"), DATE, None),
        zipstreamer.ZipFile("generated", size, lambda: Reader(data(fails)), DATE, b"a comment"),
    ]
    stream = zipstreamer.ZipStream(files)
    return stream.generate(), {} if fails else {"Content-Length": str(stream.size())}


def of_zipstream_ng(fails: bool) -> Any:
    stream = zipstream_ng.ZipStream.from_path(tree() / "a.txt")
    stream.add(data(fails), "generated", size=len(BEFORE) + 1 if fails else len(TEXT))
    return stream, {"Content-Length": str(len(stream)), "Last-Modified": str(stream.last_modified)}


def of_stream_zip(fails: bool) -> Iterable[bytes]:
    files = [
        ("a.txt", DATE, MODE, stream_zip.ZIP_AUTO(5), [(tree() / "a.txt").read_bytes()]),
        ("generated", DATE, MODE, _method(fails), data(fails)),
    ]
    return stream_zip.stream_zip(files)


def of_stream_zip_async(fails: bool) -> AsyncIterable[bytes]:
    async def files() -> AsyncGenerator[stream_zip.AsyncMemberFile, None]:
        async def first() -> AsyncGenerator[bytes, None]:
            yield (tree() / "a.txt").read_bytes()

        yield "a.txt", DATE, MODE, stream_zip.ZIP_32, first()
        yield "generated", DATE, MODE, _method(fails), async_data(fails)

    return stream_zip.async_stream_zip(files())


def _method(fails: bool) -> stream_zip.Method:
    size, crc32 = (len(BEFORE) + 1, 0) if fails else (len(TEXT), zlib.crc32(TEXT))
    return stream_zip.NO_COMPRESSION_64(size, crc32)


def fly(generated: Any, fails: bool) -> zipfly64.ZipFly:
    size = len(BEFORE) + 1 if fails else len(TEXT)
    return zipfly64.ZipFly(
        [zipfly64.LocalFile(tree() / "a.txt", "a.txt"), zipfly64.GenFile("generated", generated, size=size)]
    )


def of_zipfly64(fails: bool) -> Any:
    archive = fly(data(fails), fails)
    return archive.stream(), {"Content-Length": str(archive.calculate_archive_size())}


def of_zipfly64_async(fails: bool) -> AsyncIterable[bytes]:
    return fly(async_data(fails), fails).async_stream()


def of_zipfly64_parallel(fails: bool) -> AsyncIterable[bytes]:
    return fly(async_data(fails), fails).async_stream_parallel(prefetch_files=20, max_chunks_per_file=2)


PROGRAMS: dict[str, Callable[[bool], Any]] = {
    name.removeprefix("of_"): program for name, program in list(globals().items()) if name.startswith("of_")
}


@app.get("/")
def nothing() -> str:
    return "ready"


@app.get("/{program}")
def download(program: str, request: Request) -> StreamingResponse:
    made = PROGRAMS[program]("fails" in request.query_params)
    chunks, headers = made if isinstance(made, tuple) else (made, {})
    return StreamingResponse(chunks, media_type="application/zip", headers=headers)
