"""aiohttp: the archive written to a response of its own server.

    DOWNLOAD_ROOT=some/directory python examples/aiohttp_download.py
    curl -OJ http://127.0.0.1:8080/

A failure midway breaks the connection, so that the client reports an incomplete download. A client that goes away is
noticed with the next write(); with `handler_cancellation` at once, even where a source is still waited for.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from aiohttp import web

from zipstream_adapter import Entry, async_stream_zip, walk

ROOT = Path(os.environ["DOWNLOAD_ROOT"])


async def report() -> AsyncIterator[bytes]:
    """A member that is made while it is sent."""
    for number in range(1000):
        if number % 100 == 0:
            await asyncio.sleep(0.001)  # stands for whatever it has to wait for
        yield f"{number} squared is {number**2}\n".encode()


def entries() -> Iterator[Entry]:
    """This is not asynchronous, and looks at the disk: it is run on a thread."""
    yield from walk(ROOT, prefix="files")
    yield Entry("report.txt", report)


async def download(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Disposition": 'attachment; filename="download.zip"'})
    response.content_type = "application/zip"
    await response.prepare(request)
    # Leaving the block closes what is open, whatever the reason.
    async with async_stream_zip(entries(), compression="deflate") as archive:
        async for chunk in archive:
            await response.write(chunk)  # waits for a client that is slower than we are
    await response.write_eof()
    return response


def main() -> None:
    app = web.Application()
    app.router.add_get("/", download, allow_head=False)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")), handler_cancellation=True)


if __name__ == "__main__":
    main()
