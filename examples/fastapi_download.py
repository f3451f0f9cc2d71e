"""FastAPI (or Starlette): download a directory and a report, made from asynchronous rows, as one archive.

    DOWNLOAD_ROOT=some/directory uvicorn --app-dir examples fastapi_download:app
    curl -OJ http://127.0.0.1:8000/

The event loop only moves bytes: reading files and compression run on threads shared by all downloads. A client's
disconnect cancels its download and closes the open source. A failure after the first bytes ends the transfer without
its last chunk, so that the client reports an incomplete download.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from zipstream_adapter import Entry, async_stream_zip, walk
from zipstream_adapter.web.starlette import ZipResponse

ROOT = Path(os.environ["DOWNLOAD_ROOT"])
app = FastAPI()


async def rows() -> AsyncIterator[tuple[int, int]]:
    """Yield rows one by one. Stands for an asynchronous database cursor."""
    for number in range(1000):
        yield number, number**2


async def report() -> AsyncIterator[bytes]:
    """Generate a member on the event loop while it is sent. It is closed if the download ends early."""
    async for number, square in rows():
        yield f"{number} squared is {square}\n".encode()


def entries() -> Iterator[Entry]:
    """Yield the entries. This plain generator reads the file system, so it runs on a thread."""
    yield from walk(ROOT, prefix="files")
    # Pass the function, not its result: it is called when its member is written.
    yield Entry("report.txt", report)


@app.get("/")
async def download() -> StreamingResponse:
    return StreamingResponse(
        async_stream_zip(entries(), compression="deflate"),
        media_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="download.zip"'},
    )


@app.get("/files")
async def files(request: Request) -> ZipResponse:
    """Download the directory alone, with its length; a download that breaks off can be resumed."""
    return ZipResponse(request, walk(ROOT, prefix="files"), filename="files.zip", ranges=True)
