"""FastAPI: serve single members of an archive in a bucket or behind a URL, or a selection as a new archive.

    ARCHIVE=s3://bucket/archive.zip uvicorn --app-dir examples remote_proxy:app
    curl -O http://127.0.0.1:8000/member/reports/2026.csv
    curl -OJ 'http://127.0.0.1:8000/selection?prefix=reports/'

Only the data that is sent is fetched, by range requests, and no faster than the client reads. The selection is copied
without recompression. A client's disconnect ends the range requests made for it.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from zipfile import ZipFile

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

from zipstream_adapter import Entry, async_stream_zip
from zipstream_adapter.remote import member_stream, open_remote_async

archive: ZipFile


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Fetch the central directory once. If the object is replaced later, reading members raises an error."""
    global archive
    archive = await open_remote_async(os.environ["ARCHIVE"])
    with archive:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/member/{name:path}")
async def member(name: str) -> StreamingResponse:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise HTTPException(404) from None
    headers = {"Content-Length": str(info.file_size)}
    return StreamingResponse(member_stream(archive, info), media_type="application/octet-stream", headers=headers)


def selected(prefix: str) -> Iterator[Entry]:
    for info in archive.infolist():
        if info.filename.startswith(prefix):
            yield Entry.copy(archive, info)


@app.get("/selection")
async def selection(prefix: str = "") -> StreamingResponse:
    headers = {"Content-Disposition": 'attachment; filename="selection.zip"'}
    return StreamingResponse(async_stream_zip(selected(prefix)), media_type="application/zip", headers=headers)
