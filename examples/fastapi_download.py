"""FastAPI (or Starlette): a directory and a report from asynchronous rows, downloaded as one archive.

    DOWNLOAD_ROOT=some/directory uvicorn --app-dir examples fastapi_download:app
    curl -OJ http://127.0.0.1:8000/

The event loop only moves bytes: files are read, and all is compressed, on threads that every download shares. A client
that goes away cancels its download, which closes what is open. A failure after the first bytes ends the transfer
without its last chunk, so that the client reports an incomplete download.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from zipstream_adapter import Entry, async_stream_zip, walk

ROOT = Path(os.environ["DOWNLOAD_ROOT"])
app = FastAPI()


async def rows() -> AsyncIterator[tuple[int, int]]:
    """Stands for an asynchronous database cursor: rows that are awaited one by one."""
    for number in range(1000):
        yield number, number**2


async def report() -> AsyncIterator[bytes]:
    """A member that is made while it is sent, on the event loop. An early end closes it, too."""
    async for number, square in rows():
        yield f"{number} squared is {square}\n".encode()


def entries() -> Iterator[Entry]:
    """This is not asynchronous, and looks at the disk: it is run on a thread."""
    yield from walk(ROOT, prefix="files")
    # The function, not its result: it is called when the report's turn comes.
    yield Entry("report.txt", report)


@app.get("/")
async def download() -> StreamingResponse:
    return StreamingResponse(
        async_stream_zip(entries(), compression="deflate"),
        media_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="download.zip"'},
    )
