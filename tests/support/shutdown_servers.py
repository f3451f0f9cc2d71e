"""Applications for a server's process. The file that NOTES names is told what was opened and closed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.strategies import noise
from zipstream_adapter import Entry, ZipLayout, async_stream_zip, streams_closed
from zipstream_adapter.web import asgi_app

PIECE = noise(1, 70_000)
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def note(what: str) -> None:
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(what + "\n")


class Slow:
    """Slow to close."""

    def __init__(self) -> None:
        note("opened")

    def __aiter__(self) -> Slow:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0.001)
        return PIECE

    async def aclose(self) -> None:
        await asyncio.sleep(0.2)
        note("closed")


async def generator() -> AsyncIterator[bytes]:
    async for piece in (slow := Slow()):
        try:
            yield piece
        except GeneratorExit:
            note("closed")
            raise
        except asyncio.CancelledError:
            await slow.aclose()
            raise


def on_threads() -> Iterator[bytes]:
    note("opened")
    try:
        while True:
            time.sleep(0.001)
            yield PIECE
    finally:
        time.sleep(0.2)
        note("closed")


class Endless(list[bytes]):
    """Data of a layout that says when it is opened and closed."""

    def __iter__(self) -> Iterator[bytes]:
        return on_threads()


SOURCES: dict[str, Callable[[], Any]] = {
    "slow": lambda: Slow,
    "generator": lambda: generator,
    "sync": lambda: on_threads,
}


def entries(path: str) -> Any:
    kind = path.strip("/")
    if kind == "layout":
        return ZipLayout([Entry("a", Endless, size=1 << 40)])
    return [Entry("a", SOURCES[kind]()), Entry("b", SOURCES[kind]())]


def whole() -> Any:
    """asgi_app by itself."""
    return asgi_app(lambda request: entries(request.path) if request.path != "/" else None, prefetch=1)


def raw() -> Any:
    """An application that awaits `streams_closed` at the end of its lifespan."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while scope["type"] == "lifespan":
            kind = (await receive())["type"]
            if kind == "lifespan.shutdown":
                await streams_closed(10)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] != "/":
            found = entries(scope["path"])
            chunks = found.aiter_range() if isinstance(found, ZipLayout) else async_stream_zip(found)
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app
