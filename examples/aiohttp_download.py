"""aiohttp server: write the archive to a StreamResponse.

    DOWNLOAD_ROOT=some/directory python examples/aiohttp_download.py
    curl -OJ http://127.0.0.1:8080/

If the archive fails midway, the connection breaks, so that the client reports an incomplete download. With
`handler_cancellation`, a client's disconnect cancels the handler at once, even while it waits for a source. Without it,
the next write() fails.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from aiohttp import web

from zipstream_adapter import Entry, async_stream_zip, walk
from zipstream_adapter.web.aiohttp import ZipResponse

ROOT = Path(os.environ["DOWNLOAD_ROOT"])


async def report() -> AsyncIterator[bytes]:
    """Generate a member while it is sent."""
    for number in range(1000):
        if number % 100 == 0:
            await asyncio.sleep(0.001)  # stands for real waiting, such as a database query
        yield f"{number} squared is {number**2}\n".encode()


def entries() -> Iterator[Entry]:
    """Yield the entries. This plain generator reads the file system, so it runs on a thread."""
    yield from walk(ROOT, prefix="files")
    yield Entry("report.txt", report)


async def download(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Disposition": 'attachment; filename="download.zip"'})
    response.content_type = "application/zip"
    await response.prepare(request)
    # Leaving the block, for any reason, closes the archive and its open source.
    async with async_stream_zip(entries(), compression="deflate") as archive:
        async for chunk in archive:
            await response.write(chunk)  # waits if the client is slow
    await response.write_eof()
    return response


async def files(request: web.Request) -> ZipResponse:
    """Download the directory alone, with its length; a download that breaks off can be resumed."""
    return ZipResponse(request, walk(ROOT, prefix="files"), filename="files.zip", ranges=True)


def main() -> None:
    app = web.Application()
    app.router.add_get("/", download, allow_head=False)
    app.router.add_get("/files", files)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")), handler_cancellation=True)


if __name__ == "__main__":
    main()
