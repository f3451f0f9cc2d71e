"""Starlette, FastAPI and Litestar: an archive as the response of a route. ::

    from fastapi import FastAPI, Request
    from zipstream_adapter import walk
    from zipstream_adapter.web.starlette import ZipResponse

    @app.get("/photos.zip")
    async def photos(request: Request) -> ZipResponse:
        return ZipResponse(request, walk("photos"), filename="photos.zip")

In Litestar, annotate the handler with ``-> ASGIApp`` (of litestar.types). Needs Starlette and the extra ``web``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .asgi import send_answer, until_disconnect
from .response import AsyncSent
from .views import Plan, RequestLike

try:
    from starlette.responses import Response
except ImportError as exc:
    raise ImportError(
        "zipstream_adapter.web.starlette needs Starlette: pip install starlette 'zipstream-adapter[web]'"
    ) from exc

if TYPE_CHECKING:
    from typing import Unpack

    from starlette.background import BackgroundTask

    from .._writer.options import AsyncStreamOptions

__all__ = ["ZipResponse"]

# Fields that Starlette sets for an empty body, and the answer has itself.
_OF_THE_ANSWER = {b"content-length", b"content-type"}


class ZipResponse(Response):
    """A response that carries an archive while it is made.

    It reads no file before it is sent, and then on threads: the view may be asynchronous. Conditions and ranges are
    answered as by `zipstream_adapter.web.respond`; HEAD gets the header fields alone. The first chunk is made before
    the header fields are sent, so an early failure is answered with 500. A later failure breaks the transfer, also
    under a BaseHTTPMiddleware. If the client leaves, the archive and its open source are closed at once.

    Status and header fields are decided when the response is sent. Header fields and cookies that are set on the
    response are sent, too.

    Args:
        request: the request of Starlette, FastAPI or Litestar.
        archive: entries (sent as an `async_stream_zip`), an `AsyncZipStream` or a `ZipLayout`.
        filename: name of the downloaded file; see `zip_headers`.
        ranges: make a `ZipLayout` of the entries, so that the size is known and a broken download can be resumed. See
            `zipstream_adapter.web`.
        headers: additional header fields; see `extra` of `respond`.
        background: runs after the response was sent.
        options: options of `async_stream_zip` (with `ranges`: of `ZipLayout`), used if entries are given.

    Raises:
        OptionError: an argument is not allowed.
        EntryTypeError: `archive` is not one of these.
    """

    media_type = "application/zip"

    def __init__(
        self,
        request: RequestLike,
        archive: AsyncSent,
        *,
        filename: str,
        ranges: bool = False,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        **options: Unpack[AsyncStreamOptions],
    ) -> None:
        self._plan = Plan(request, archive, filename, ranges, headers, options, asynchronous=True)
        super().__init__(background=background)
        self.raw_headers[:] = [pair for pair in self.raw_headers if pair[0] not in _OF_THE_ANSWER]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the response. An ASGI application, also by the types of Litestar."""

        async def with_own_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                own = [pair for pair in self.raw_headers if pair[0] not in given]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        async def answer() -> None:
            await send_answer(await self._plan.answer_on_thread(), with_own_headers)

        await until_disconnect(answer(), receive)
        if self.background is not None:
            await self.background()
