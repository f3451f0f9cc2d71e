"""Run a block of README or of the documentation, as a program of its own, and download what it serves.

    python -m tests.support.docs_block FILE

What the block leaves in `app` (WSGI, ASGI or aiohttp) or in `urlpatterns` (Django) is asked for an archive, which is
checked. Without either, the block is all that runs.
"""

from __future__ import annotations

import asyncio
import io
import sys
import zipfile
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, NamedTuple


class Got(NamedTuple):
    status: int
    headers: Any
    data: bytes


def main(file: str) -> None:
    """Run the block in `__main__`, as `python FILE` would."""
    import __main__

    space: dict[str, Any] = vars(__main__)
    code = Path(file).read_text("utf-8")
    exec(compile(code, file, "exec"), space)
    if "urlpatterns" in space:
        path = f"/{space['urlpatterns'][0].pattern}"
        app = _django(iscoroutinefunction(space["urlpatterns"][0].callback))
    elif "app" in space:
        app, path = space["app"], "/photos.zip"
    else:
        return
    got = _download(app, path)
    assert got.status == 200, got
    if "X-Archive-Files" in got.headers:
        return
    assert zipfile.ZipFile(io.BytesIO(got.data)).testzip() is None
    assert got.headers["Content-Type"] == "application/zip"
    if "ranges=True" in code or "ZipLayout(" in code:
        assert got.headers["Accept-Ranges"] == "bytes"
        assert int(got.headers["Content-Length"]) == len(got.data)
        assert got.headers["ETag"]


def _django(asynchronous: bool) -> Any:
    from django.conf import settings  # type: ignore[import-untyped]
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

    settings.configure(ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], SECRET_KEY="of a test")
    return get_asgi_application() if asynchronous else get_wsgi_application()


def _download(app: Any, path: str) -> Got:
    kind = type(app).__module__.partition(".")[0]
    if kind == "aiohttp":
        return asyncio.run(_from_aiohttp(app, path))
    if kind == "quart" or iscoroutinefunction(app) or iscoroutinefunction(type(app).__call__):
        return asyncio.run(_from_asgi(app, path))
    from werkzeug.test import Client

    answer = Client(app).get(path, buffered=True)
    return Got(answer.status_code, answer.headers, answer.data)


async def _from_asgi(app: Any, path: str) -> Got:
    import httpx

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get(path)
    return Got(answer.status_code, answer.headers, answer.content)


async def _from_aiohttp(app: Any, path: str) -> Got:
    from aiohttp.test_utils import TestClient, TestServer

    async with TestClient(TestServer(app)) as client, client.get(path) as answer:
        return Got(answer.status, answer.headers, await answer.read())


if __name__ == "__main__":
    main(sys.argv[1])
