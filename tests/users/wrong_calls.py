"""A user's module of wrong calls. Each line with an ignore is one of them; a type checker sees it before it runs.

`mypy` over the tests fails if an ignore is not needed. ``tests/test_typing.py`` takes them out and counts the errors.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from zipstream_adapter import (
    AsyncZipStream,
    Entry,
    StreamingZipFile,
    ZipLayout,
    ZipStream,
    async_stream_zip,
    stream_zip,
    walk,
)
from zipstream_adapter.remote import (
    member_stream,
    open_remote,
    open_remote_async,
    upload_zip,
    upload_zip_async,
    walk_store,
)
from zipstream_adapter.web import asgi_app, flask, mod_zip_manifest, respond, starlette, wsgi_app

ENTRIES = [("a.txt", b"data")]
STORE: Any = None
REQUEST: Any = None


async def chunks() -> AsyncIterator[bytes]:
    yield b"data"


async def entries() -> AsyncIterator[Entry]:
    yield Entry("a.txt", b"data")


def on_one(entry: Entry) -> None:
    """Takes no exception."""


def on_text(entry: Entry, error: Exception) -> str:
    """Returns no Entry."""
    return "skip"


async def on_loop(entry: Entry, error: Exception) -> None:
    """Must be awaited."""


def on_name(progress: str) -> None:
    """Takes no Progress."""


def names_of_options() -> None:
    stream_zip(ENTRIES, compresion="deflate")  # type: ignore[call-arg]
    ZipStream(ENTRIES, compresion="deflate")  # type: ignore[call-arg]
    async_stream_zip(ENTRIES, chunk_sise=1)  # type: ignore[call-arg]
    AsyncZipStream(ENTRIES, chunk_sise=1)  # type: ignore[call-arg]
    ZipLayout(ENTRIES, on_error=print)  # type: ignore[call-arg]
    StreamingZipFile("a.zip", look_ahead=0)  # type: ignore[call-arg]
    walk("photos", compresion="deflate")  # type: ignore[call-arg]
    Entry("a.txt", b"data", date=0)  # type: ignore[arg-type]
    Entry.from_path("a.txt", levle=9)  # type: ignore[call-arg]
    Entry.copy("a.zip", "a.txt", size=9)  # type: ignore[call-arg]
    Entry.raw("a.txt", b"", compression="deflate", size=0, crc32=0, level=9)  # type: ignore[call-arg]
    Entry("a.txt", b"data").replace(data=b"")  # type: ignore[call-arg]
    wsgi_app(lambda request: ENTRIES, compresion="deflate")  # type: ignore[call-arg]
    asgi_app(lambda request: ENTRIES, compresion="deflate")  # type: ignore[call-arg]
    respond(ZipLayout(ENTRIES), "GET", {}, file_name="a.zip", filename="a.zip")  # type: ignore[call-arg]
    upload_zip(STORE, "a.zip", ENTRIES, partsize=1 << 23)  # type: ignore[call-arg]
    open_remote("s3://bucket/a.zip", windw=8)  # type: ignore[call-arg]
    walk_store(STORE, checksum_of=True)  # type: ignore[call-arg]


async def names_of_options_on_a_loop() -> None:
    await upload_zip_async(STORE, "a.zip", ENTRIES, partsize=1 << 23)  # type: ignore[call-arg]
    await open_remote_async("s3://bucket/a.zip", windw=8)  # type: ignore[call-arg]
    member_stream("s3://bucket/a.zip", "a.txt", windw=8)  # type: ignore[call-arg]


def values_of_options() -> None:
    stream_zip(ENTRIES, compression="gzip")  # type: ignore[arg-type]
    ZipStream(ENTRIES, compression="gzip")  # type: ignore[arg-type]
    StreamingZipFile(compression="gzip")  # type: ignore[arg-type]
    Entry("a.txt", b"data", compression="gzip")  # type: ignore[arg-type]
    walk("photos", compression="gzip")  # type: ignore[arg-type]
    upload_zip(STORE, "a.zip", ENTRIES, compression="gzip")  # type: ignore[arg-type]
    async_stream_zip(ENTRIES, names="safe")  # type: ignore[arg-type]
    ZipLayout(ENTRIES, duplicates="skip")  # type: ignore[arg-type]
    AsyncZipStream(ENTRIES, grown="ignore")  # type: ignore[arg-type]
    ZipStream(ENTRIES, engine="zlib_ng")  # type: ignore[arg-type]
    stream_zip(ENTRIES, seekable="yes")  # type: ignore[arg-type]
    wsgi_app(lambda request: ENTRIES, names="safe")  # type: ignore[arg-type]
    stream_zip(ENTRIES, comment="text")  # type: ignore[arg-type]
    ZipStream(ENTRIES, level="9")  # type: ignore[arg-type]
    ZipLayout(ENTRIES, checksums="sums.db")  # type: ignore[arg-type]
    Entry("a.txt", b"data", modified="2026-01-02")  # type: ignore[arg-type]
    Entry.from_path("a.txt", mode="rw")  # type: ignore[arg-type]
    walk("photos", symlinks="ignore")  # type: ignore[arg-type]
    open_remote("a.zip", window="8")  # type: ignore[arg-type]
    StreamingZipFile("a.zip", "a")  # type: ignore[arg-type]


def callbacks() -> None:
    stream_zip(ENTRIES, on_error=on_one)  # type: ignore[arg-type]
    ZipStream(ENTRIES, on_error=on_text)  # type: ignore[arg-type]
    ZipStream(ENTRIES, on_error=on_loop)  # type: ignore[arg-type]
    async_stream_zip(ENTRIES, on_error=on_text)  # type: ignore[arg-type]
    AsyncZipStream(ENTRIES, on_progress=on_name)  # type: ignore[arg-type]


def sources() -> None:
    stream_zip([("a.txt", "text")])  # type: ignore[list-item]
    stream_zip([(b"a.txt", b"data")])  # type: ignore[list-item]
    stream_zip([("a.txt", chunks())])  # type: ignore[list-item]
    stream_zip([("a.txt", ["one", "two"])])  # type: ignore[list-item]
    stream_zip([("a.txt", lambda: "text")])  # type: ignore[list-item]
    stream_zip([("a.txt", open("a.txt", encoding="utf-8"))])  # type: ignore[list-item]  # noqa: SIM115
    stream_zip([("a.txt", subprocess.Popen("ls", text=True))])  # type: ignore[list-item]
    ZipStream([("a.txt", 7)])  # type: ignore[list-item]
    ZipLayout([("a.txt", "text")])  # type: ignore[list-item]
    async_stream_zip([("a.txt", "text")])  # type: ignore[list-item]
    async_stream_zip([("a.txt", ["one", "two"])])  # type: ignore[list-item]
    Entry("a.txt", "text")  # type: ignore[arg-type]
    Entry(Path("a.txt"), b"data")  # type: ignore[arg-type]
    upload_zip(STORE, "a.zip", [("a.txt", "text")])  # type: ignore[list-item]


def archives() -> None:
    stream_zip(b"data")  # type: ignore[arg-type]
    stream_zip(Entry("a.txt", b"data"))  # type: ignore[arg-type]
    stream_zip(Path("photos"))  # type: ignore[arg-type]
    stream_zip(entries())  # type: ignore[arg-type]
    ZipLayout(entries())  # type: ignore[arg-type]
    upload_zip(STORE, "a.zip", async_stream_zip(ENTRIES))  # type: ignore[arg-type]
    StreamingZipFile(sys.stdout)  # type: ignore[arg-type]
    respond(ENTRIES, "GET", {}, filename="a.zip")  # type: ignore[arg-type]
    flask.ZipResponse(REQUEST, [], filename="a.zip", comppression="deflate")  # type: ignore[call-arg]
    flask.ZipResponse(REQUEST, [], "a.zip")  # type: ignore[call-arg]
    flask.ZipResponse(REQUEST, async_stream_zip([]), filename="a.zip")  # type: ignore[arg-type]
    starlette.ZipResponse(REQUEST, stream_zip([]), filename="a.zip")  # type: ignore[arg-type]
    starlette.ZipResponse(REQUEST, [], filename=b"a.zip")  # type: ignore[arg-type]
    wsgi_app(lambda request: b"data")  # type: ignore[arg-type, return-value]
    mod_zip_manifest([("a.txt", "/a.txt", "7")])  # type: ignore[list-item]
