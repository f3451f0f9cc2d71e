"""Falcon under ASGI: a resource whose stream is the archive, which is cancelled if the client disconnects.

    DOWNLOAD_ROOT=some/directory uvicorn --app-dir examples falcon_asgi_download:app
    curl -OJ http://127.0.0.1:8000/

Under ASGI, data sent after a disconnect is silently dropped, and Falcon reads the stream to its end. `UntilDisconnect`
waits for the disconnect and cancels the download, which closes the archive and its open source. A failure after the
first bytes ends the transfer without its last chunk, so that the client reports an incomplete download.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import falcon.asgi

from zipstream_adapter import Entry, Progress, async_stream_zip, walk
from zipstream_adapter.web.falcon import send_zip_async

ROOT = Path(os.environ["DOWNLOAD_ROOT"])
log = logging.getLogger("falcon_asgi_download")


async def report() -> AsyncIterator[bytes]:
    """Generate a member while it is sent."""
    for number in range(1000):
        if number % 100 == 0:
            await asyncio.sleep(0.001)  # stands for real waiting, such as a database query
        yield f"{number} squared is {number**2}\n".encode()


async def entries() -> AsyncIterator[Entry]:
    """Yield the entries. They may come asynchronously; listing a directory is slow and belongs on a thread."""
    for entry in await asyncio.to_thread(lambda: list(walk(ROOT, prefix="files"))):
        yield entry
    yield Entry("report.txt", report)


async def log_progress(progress: Progress) -> None:
    """Log progress. Called after each chunk read and at the end of each member; may await, for example, a database."""
    log.debug("%s: %d bytes read, %d written in all", progress.entry.name, progress.entry_read, progress.written)


class Download:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = "application/zip"
        resp.downloadable_as = "download.zip"
        resp.stream = async_stream_zip(entries(), compression="deflate", on_progress=log_progress)


class Files:
    """The directory alone, with its length; a download that breaks off can be resumed."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        await send_zip_async(req, resp, walk(ROOT, prefix="files"), filename="files.zip", ranges=True)

    on_head = on_get


class UntilDisconnect:
    """An ASGI app that cancels another app's response when the client disconnects."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(1)

        async def listen() -> None:
            while (event := await receive())["type"] != "http.disconnect":
                await events.put(event)

        listener = asyncio.create_task(listen())
        answer = asyncio.create_task(self.app(scope, events.get, send))
        try:
            await asyncio.wait([listener, answer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            listener.cancel()
            answer.cancel()  # has no effect on a finished task
            await asyncio.wait([answer])
        if not answer.cancelled():
            answer.result()


resources = falcon.asgi.App()
resources.add_route("/", Download())
resources.add_route("/files", Files())
app = UntilDisconnect(resources)
