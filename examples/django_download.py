"""Django, both ways: an asynchronous view under ASGI, a plain one under WSGI.

    DOWNLOAD_ROOT=some/directory uvicorn --app-dir examples --factory django_download:asgi
    DOWNLOAD_ROOT=some/directory gunicorn --pythonpath examples 'django_download:wsgi()'
    curl -OJ http://127.0.0.1:8000/

Each needs its own: under ASGI, Django collects a plain iterator in memory before it sends anything, and under WSGI an
asynchronous one. So a project has one of the two views, and one of `asgi` and `wsgi`, which stand for its asgi.py and
wsgi.py. A failure after the first bytes ends the transfer without its last chunk. Under ASGI, a client that goes away
cancels its download at once (from Django 5 on), under WSGI with the next chunk; either closes what is open.
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

ROOT = Path(os.environ["DOWNLOAD_ROOT"])


def report() -> Iterator[bytes]:
    """A member that is made while it is sent, from what would be `Model.objects.iterator()`."""
    for number in range(1000):
        yield f"{number} squared is {number**2}\n".encode()


async def areport() -> AsyncIterator[bytes]:
    """The same from `Model.objects.aiterator()`."""
    for line in report():
        yield line


def entries(last: Callable[[], Any]) -> Iterator[Entry]:
    """Plain in both cases: under ASGI, it is run on a thread."""
    yield from walk(ROOT, prefix="files")
    yield Entry("report.txt", last)


def as_download(archive: ZipStream | AsyncZipStream) -> StreamingHttpResponse:
    headers = {"Content-Disposition": 'attachment; filename="download.zip"'}
    return StreamingHttpResponse(archive, content_type="application/zip", headers=headers)


async def adownload(request: HttpRequest) -> StreamingHttpResponse:
    return as_download(async_stream_zip(entries(areport), compression="deflate"))


def download(request: HttpRequest) -> StreamingHttpResponse:
    return as_download(stream_zip(entries(report), compression="deflate"))


def asgi() -> ASGIHandler:
    configure(adownload)
    return get_asgi_application()


def wsgi() -> WSGIHandler:
    configure(download)
    return get_wsgi_application()


def configure(view: Callable[..., Any]) -> None:
    """As little as Django can do with; the URLs would be in a module of their own."""
    settings.configure(ALLOWED_HOSTS=["127.0.0.1", "localhost"], ROOT_URLCONF=(path("", view),))
