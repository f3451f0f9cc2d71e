"""Django: an asynchronous view for ASGI and a plain view for WSGI.

    DOWNLOAD_ROOT=some/directory uvicorn --app-dir examples --factory django_download:asgi
    DOWNLOAD_ROOT=some/directory gunicorn -k gthread --threads 4 --pythonpath examples 'django_download:wsgi()'
    curl -OJ http://127.0.0.1:8000/

Each server type needs its own view: under ASGI, Django collects a plain iterator in memory before it sends anything;
under WSGI, it does so with an asynchronous iterator. A project needs one of the views, and one of `asgi` and `wsgi`,
which stand for its asgi.py and wsgi.py. A failure after the first bytes ends the transfer without its last chunk. A
client's disconnect cancels the download, and the open source is closed: under ASGI at once (since Django 5), under WSGI
at the next chunk.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from zipstream_adapter import AsyncZipStream, Entry, ZipStream, async_stream_zip, stream_zip, walk
from zipstream_adapter.web.django import ZipResponse

ROOT = Path(os.environ["DOWNLOAD_ROOT"])


def report() -> Iterator[bytes]:
    """Generate a member while it is sent. The loop stands for `Model.objects.iterator()`."""
    for number in range(1000):
        yield f"{number} squared is {number**2}\n".encode()


async def areport() -> AsyncIterator[bytes]:
    """Like `report`. The loop stands for `Model.objects.aiterator()`."""
    for line in report():
        yield line


def entries(last: Callable[[], Any]) -> Iterator[Entry]:
    """Yield the entries. A plain generator for both views; under ASGI it runs on a thread."""
    yield from walk(ROOT, prefix="files")
    yield Entry("report.txt", last)


def as_download(archive: ZipStream | AsyncZipStream) -> StreamingHttpResponse:
    headers = {"Content-Disposition": 'attachment; filename="download.zip"'}
    return StreamingHttpResponse(archive, content_type="application/zip", headers=headers)


async def adownload(request: HttpRequest) -> StreamingHttpResponse:
    return as_download(async_stream_zip(entries(areport), compression="deflate"))


def download(request: HttpRequest) -> StreamingHttpResponse:
    return as_download(stream_zip(entries(report), compression="deflate"))


async def afiles(request: HttpRequest) -> ZipResponse:
    """Download the directory alone, with its length; a download that breaks off can be resumed."""
    return await ZipResponse.acreate(request, walk(ROOT, prefix="files"), filename="files.zip", ranges=True)


def files(request: HttpRequest) -> ZipResponse:
    """Like `afiles`."""
    return ZipResponse(request, walk(ROOT, prefix="files"), filename="files.zip", ranges=True)


def asgi() -> ASGIHandler:
    configure(adownload, afiles)
    return get_asgi_application()


def wsgi() -> WSGIHandler:
    configure(download, files)
    return get_wsgi_application()


def configure(view: Callable[..., Any], files_view: Callable[..., Any]) -> None:
    """Set the minimum of settings. A project has its URLs in a separate module."""
    urls = (path("", view), path("files", files_view))
    settings.configure(ALLOWED_HOSTS=["127.0.0.1", "localhost"], ROOT_URLCONF=urls)
