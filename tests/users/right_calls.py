"""A user's module of right calls: a type checker has nothing to say about them."""

from __future__ import annotations

import array
import asyncio
import contextlib
import gzip
import http.client
import io
import mmap
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePath
from typing import Any, TypedDict

import aiofiles
import aiohttp
import httpx
from starlette.datastructures import UploadFile

from zipstream_adapter import (
    AsyncZipStream,
    ChecksumCache,
    Entry,
    Progress,
    StreamingZipFile,
    ZipLayout,
    ZipStream,
    async_stream_zip,
    stream_zip,
    walk,
)
from zipstream_adapter.remote import member_stream, open_remote, upload_zip, upload_zip_async, walk_store
from zipstream_adapter.web import Download, Request, asgi_app, flask, mod_zip_manifest, respond, starlette, wsgi_app

STORE: Any = None


class OnlyRead:
    def read(self, size: int) -> bytes:
        return b""


class ReadsAll:
    def read(self) -> bytes:
        return b""


class AsyncOnlyRead:
    async def read(self, size: int = -1) -> bytes:
        return b""


class Chunks:
    def __iter__(self) -> Iterator[memoryview]:
        return iter(())


class PathLike:
    def __fspath__(self) -> str:
        return "a.txt"


class Named(Entry):
    """An Entry of the user's own."""


class Item(TypedDict):
    name: str
    file: Path


def chunks() -> Iterator[bytes]:
    yield b"data"


async def async_chunks() -> AsyncIterator[bytes]:
    yield b"data"


@contextlib.contextmanager
def opened() -> Generator[Iterable[bytes], None, None]:
    yield [b"data"]


@contextlib.asynccontextmanager
async def async_opened() -> AsyncGenerator[AsyncIterator[bytes], None]:
    yield async_chunks()


async def fetched() -> bytes:
    return b"data"


async def fetched_file() -> AsyncOnlyRead:
    return AsyncOnlyRead()


def sources(
    path: Path,
    archive: zipfile.ZipFile,
    connection: http.client.HTTPConnection,
    mixed: list[bytes | bytearray | memoryview],
) -> None:
    stream_zip(
        [
            ("dir/", None),
            ("bytes", b"data"),
            ("bytearray", bytearray()),
            ("memoryview", memoryview(b"")),
            ("array", array.array("d")),
            ("mmap", mmap.mmap(-1, 1)),
            ("path", path),
            ("pure", PurePath("a.txt")),
            ("pathlike", PathLike()),
            ("file", open(path, "rb")),  # noqa: SIM115
            ("raw", open(path, "rb", buffering=0)),  # noqa: SIM115
            ("memory", io.BytesIO()),
            ("gzip", gzip.open(path)),  # noqa: SIM115
            ("temporary", tempfile.TemporaryFile()),  # noqa: SIM115
            ("spooled", tempfile.SpooledTemporaryFile()),  # noqa: SIM115
            ("standard input", sys.stdin.buffer),
            ("member", archive.open("a.txt")),
            ("only read", OnlyRead()),
            ("reads all", ReadsAll()),
            ("generator", chunks()),
            ("list", [b"one", b"two"]),
            ("mixed", mixed),
            ("tuple", (b"one", b"two")),
            ("iterable", Chunks()),
            ("expression", (b"%d" % number for number in range(9))),
            ("context", opened()),
            ("closing", contextlib.closing(io.BytesIO())),
            ("process", subprocess.Popen(["ls"], stdout=subprocess.PIPE)),
            ("urllib", urllib.request.urlopen("http://host/")),
            ("http.client", connection.getresponse()),
            ("httpx", httpx.get("http://host/")),
            ("httpx stream", httpx.stream("GET", "http://host/")),
            ("function", chunks),
            ("lambda", lambda: open(path, "rb")),  # noqa: SIM115
            ("partial", partial(Path.read_bytes, path)),
            ("partial of open", partial(open, path, "rb")),
            ("class", io.BytesIO),
            ("bound", path.read_bytes),
            ("function of a context", opened),
        ]
    )


async def async_sources(
    path: Path, client: httpx.AsyncClient, session: aiohttp.ClientSession, file: UploadFile
) -> None:
    async_stream_zip(
        [
            ("dir/", None),
            ("bytes", b"data"),
            ("path", path),
            ("file", open(path, "rb")),  # noqa: ASYNC230, SIM115
            ("generator", chunks()),
            ("function", lambda: b"data"),
            ("async generator", async_chunks()),
            ("async function", async_chunks),
            ("async reader", AsyncOnlyRead()),
            ("awaitable", fetched()),
            ("coroutine function", fetched),
            ("of a file", fetched_file),
            ("context", async_opened()),
            ("function of a context", async_opened),
            ("aiofiles", aiofiles.open(path, "rb")),
            ("aiofiles later", partial(aiofiles.open, path, "rb")),
            ("asyncio", asyncio.StreamReader()),
            ("upload", file),
            ("process", await asyncio.create_subprocess_exec("ls", stdout=asyncio.subprocess.PIPE)),
            ("httpx", lambda: client.get("http://host/")),
            ("httpx stream", client.stream("GET", "http://host/")),
            ("aiohttp", session.get("http://host/")),
            ("aiohttp later", lambda: session.get("http://host/")),
            ("a response", await session.get("http://host/")),
        ]
    )


def entries() -> Iterator[Entry | tuple[str, bytes] | Path]:
    yield Entry("a.txt", b"data")
    yield "b.txt", b"data"
    yield Path("c.txt")


async def async_entries() -> AsyncIterator[Entry | tuple[str, AsyncIterator[bytes]]]:
    yield Entry("a.txt", async_chunks())
    yield "b.txt", async_chunks()


def forms(any_dict: dict[str, Any], mapping: Mapping[str, object], item: Item, anything: Any) -> None:
    stream_zip(entries())
    stream_zip(walk("photos"))
    stream_zip(["a.txt", Path("b.txt"), Entry("c.txt", b""), ("d.txt", b""), {"name": "e.txt", "file": "e.txt"}])
    stream_zip([any_dict, mapping, item])
    stream_zip(({"name": "a.txt", "stream": chunks()}, {"file": Path("b.txt"), "level": 9}))
    stream_zip({"a.txt": b"data"}.items())
    stream_zip([["a.txt", b"data"]])
    stream_zip([Named("a.txt", b"data"), Named.from_path("b.txt"), Named.directory("c")])
    stream_zip(anything)
    stream_zip(zip(["a.txt"], [b"data"], strict=True))
    async_stream_zip(entries())
    async_stream_zip(async_entries())
    AsyncZipStream(walk("photos"))
    ZipLayout([Path("a.txt"), ("b.txt", b"data"), ("c.txt", [b"data"]), Entry("d.txt", chunks, size=4)])


def note(entry: Entry, error: Exception) -> Entry:
    return Entry(f"{entry.name}.error", repr(error).encode())


def note_anything(entry: Any, error: Exception) -> Entry | None:
    return None


async def note_on_loop(entry: Entry, error: Exception) -> Entry | None:
    return None


async def show_on_loop(progress: Progress) -> None:
    """Shows nothing."""


def options(level: int | None, password: str | bytes, executor: ThreadPoolExecutor, cache: ChecksumCache) -> None:
    stream_zip([], compression=zipfile.ZIP_DEFLATED, level=level, chunk_size=0, lookahead=0, comment=b"text")
    stream_zip([], names="repair-portable", duplicates="rename", on_error=note, on_progress=print, grown="cut")
    ZipStream([], compression="zstd", engine="isal", workers=0, executor=executor, prefetch=8, checksums=cache)
    ZipStream([], on_error=note_anything, password=password, extended_timestamps=False)
    ZipStream([], on_error=lambda entry, error: None, on_progress=lambda progress: None)
    async_stream_zip([], on_error=note_on_loop, on_progress=show_on_loop, compression="auto")
    AsyncZipStream([], on_error=note, on_progress=print)
    stream_zip([Entry("a.txt", b"data", seekable=False)], compression="deflate", seekable=1 << 16)
    walk("photos", seekable=True)
    ZipLayout([], compression="deflate", level=0, checksums=cache, comment=b"text", duplicates="allow")
    chosen: dict[str, Any] = {"compression": "deflate"}
    stream_zip([], **chosen)
    async_stream_zip([], **chosen)
    ZipLayout([], **chosen)
    Entry("a.txt", b"", modified=datetime.now(UTC), mode=0o644, compression=zipfile.ZIP_LZMA, password=False)
    Entry("a.txt", b"", modified=0.5, size=0, crc32=0, extra=b"", zip64=True).replace(name="b.txt", source=None)
    Entry("a.txt", modified=(2026, 1, 2, 3, 4, 6), source=lambda: open("a.txt", "rb"))  # noqa: SIM115
    Entry.raw("a.txt", chunks(), compression=95, size=1, crc32=2, flag_bits=0, modified=1)
    Entry.copy("a.zip", zipfile.ZipInfo("a.txt"), mode=0o600, password="secret")
    Entry.symlink("a.txt", Path("b.txt"), mode=0o777)
    Entry.directory("a", source=Path("a"), modified=0)
    Entry.from_store(STORE, "a.txt", checksum=False, compression="deflate")
    walk(Path("photos"), exclude=["*.tmp"], symlinks="store", compression="deflate", on_error=print)
    walk("photos", exclude=lambda path, name: path.suffix == ".tmp", directories="all", special="skip")


def files(response: Any, pipe: io.RawIOBase, raw: Callable[[bytes], object]) -> None:
    StreamingZipFile()
    StreamingZipFile("a.zip", "x", zipfile.ZIP_DEFLATED, True, 9)
    StreamingZipFile(Path("a.zip"), compression="deflate", compresslevel=9, password="secret")
    StreamingZipFile(io.BytesIO(), lookahead=0)
    StreamingZipFile(sys.stdout.buffer)
    StreamingZipFile(open(os.devnull, "wb"))  # noqa: SIM115
    StreamingZipFile(pipe)
    StreamingZipFile(response)


def resolve(request: Request) -> Download | ZipLayout | ZipStream | Iterable[Entry] | None:
    return walk("photos") if request.path else None


async def resolve_on_loop(request: Request) -> Download | AsyncZipStream | None:
    return Download(async_entries(), filename="a.zip") if request.path else None


def web(headers: dict[str, str], pairs: list[tuple[bytes, bytes]]) -> None:
    respond(ZipLayout([]), "GET", headers, filename="a.zip", extra={"X-Extra": "1"})
    respond(stream_zip([]), "GET", pairs, filename="a.zip")
    respond(async_stream_zip([]), "HEAD", filename="a.zip")
    wsgi_app(resolve, compression="deflate")
    wsgi_app(lambda request: [("a.txt", b"data")], names="repair")
    wsgi_app(lambda request: Download([("a.txt", b"data")]))
    asgi_app(resolve_on_loop, prefetch=2, on_error=note_on_loop)
    asgi_app(lambda request: ZipLayout([]))
    mod_zip_manifest([("a.txt", "/a.txt", 7), ("b.txt", "/b.txt", 7, None)])
    mod_zip_manifest([Entry("a.txt", size=7)], location=lambda entry: f"/{entry.name}")


async def views(request: Any) -> None:
    flask.ZipResponse(request, walk("photos"), filename="a.zip", ranges=True, headers={"Vary": "Cookie"})
    flask.ZipResponse(request, stream_zip([]), filename="a.zip")
    starlette.ZipResponse(request, async_entries(), filename="a.zip", compression="deflate", on_error=note_on_loop)
    starlette.ZipResponse(request, ZipLayout([]), filename="a.zip")
    starlette.ZipResponse(request, async_stream_zip([]), filename="a.zip")


async def remote(fetch: Callable[[int, int], bytes]) -> None:
    open_remote("s3://bucket/a.zip", window=1, region="eu-west-1", skip_signature=True, allow_http=True)
    open_remote("a.zip", store=STORE)
    open_remote(fetch, size=7)
    member_stream("https://host/a.zip", "a.txt", part_size=1 << 20, timeout="10s")
    walk_store(STORE, "photos", into="holiday", exclude=["*.tmp"], mode=0o600)
    upload_zip(STORE, "a.zip", walk("photos"), part_size=1 << 23, compression="deflate")
    upload_zip(STORE, "a.zip", stream_zip([]))
    upload_zip(STORE, "a.zip", ZipLayout([]))
    await upload_zip_async(STORE, "a.zip", async_entries(), on_error=note_on_loop)
    await upload_zip_async(STORE, "a.zip", async_stream_zip([]))
