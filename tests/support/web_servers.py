"""What runs in the processes of the servers that `wsgi_app` and `asgi_app` are tested under.

Paths: /layout.zip any ranges of an archive; /broken.zip one whose disk breaks midway; /stream.zip entries, with the
report under control; /early.zip entries of which the first cannot be opened; /raises.zip a request that fails;
/named?name the layout under that filename; /tag and /tag?new set the layout's tag.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.support.async_servers import WatchedReport
from tests.support.layouts import BytesLayout, archive
from tests.support.servers import watched
from zipstream_adapter.web import Download, Request, asgi_app, wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from zipstream_adapter.web.asgi import ASGIApp

MEMBERS, MEMBER_SIZE = 16, 1 << 20
BREAKS_AT = 9 << 20
CHUNK = 1 << 16


def whole() -> bytes:
    """The archive that all of the layouts are of."""
    return archive(MEMBERS, MEMBER_SIZE)


class RequestError(Exception):
    """What `resolve` raises."""


def _found(request: Request, report: Any) -> Any:
    control = Path(os.environ["CONTROL"])
    tag = (control / "tag").read_text() if (control / "tag").exists() else "first"
    match request.path:
        case "/layout.zip":
            return BytesLayout(whole(), tag, chunk=CHUNK)
        case "/broken.zip":
            return BytesLayout(whole(), tag, chunk=CHUNK, fails_at=BREAKS_AT)
        case "/stream.zip":
            return [("a note.txt", b"some text\n"), ("report.txt", report(control))]
        case "/early.zip":
            return [("gone.txt", control / "there is no such file")]
        case "/raises.zip":
            raise RequestError("there is no answer to that")
        case "/named":
            return Download(BytesLayout(archive(), tag), unquote(request.query))
    return None


def wsgi() -> WSGIApplication:
    return wsgi_app(lambda request: _found(request, watched))


def asgi() -> ASGIApp:
    async def resolve(request: Request) -> Any:
        return _found(request, WatchedReport)

    return asgi_app(resolve)
