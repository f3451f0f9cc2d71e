"""aiohttp's server: an archive as the response of a handler. ::

    from aiohttp import web
    from zipstream_adapter import walk
    from zipstream_adapter.web.aiohttp import ZipResponse

    async def photos(request: web.Request) -> ZipResponse:
        return ZipResponse(request, walk("photos"), filename="photos.zip")

Needs aiohttp and the extra ``web``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .response import AsyncSent
from .views import Plan, StartedAsyncBody, unless_left

try:
    from aiohttp import web
except ImportError as exc:
    raise ImportError(
        "zipstream_adapter.web.aiohttp needs aiohttp: pip install aiohttp 'zipstream-adapter[web]'"
    ) from exc

if TYPE_CHECKING:
    from typing import Unpack

    from aiohttp.abc import AbstractStreamWriter

    from .._writer.options import AsyncStreamOptions

__all__ = ["ZipResponse"]

_log = logging.getLogger(__name__)
# Seconds between two looks at the connection while a source has nothing: aiohttp does not say when a client leaves.
_LOOK_S = 0.25


class ZipResponse(web.StreamResponse):
    """A response that carries an archive while it is made.

    It reads no file before it is sent, and then on threads. Conditions and ranges are answered as by
    `zipstream_adapter.web.respond`; HEAD gets the header fields alone. The first chunk is made before the header fields
    are sent, so an early failure is logged and answered with 500. A later failure breaks the transfer. If the client
    leaves, the archive and its open source are closed within a quarter of a second.

    Status and header fields are decided when the response is sent. Header fields and cookies that are set on the
    response are sent, too.

    Args:
        request: the handler's request.
        archive: entries (sent as an `async_stream_zip`), an `AsyncZipStream` or a `ZipLayout`.
        filename: name of the downloaded file; see `zip_headers`.
        ranges: make a `ZipLayout` of the entries, so that the size is known and a broken download can be resumed. See
            `zipstream_adapter.web`.
        headers: additional header fields; see `extra` of `respond`.
        options: options of `async_stream_zip` (with `ranges`: of `ZipLayout`), used if entries are given.

    Raises:
        OptionError: an argument is not allowed.
        EntryTypeError: `archive` is not one of these.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        archive: AsyncSent,
        *,
        filename: str,
        ranges: bool = False,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[AsyncStreamOptions],
    ) -> None:
        super().__init__()
        self._plan = Plan(request, archive, filename, ranges, headers, options, asynchronous=True)

    def enable_compression(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: an archive is not compressed again, whatever a middleware wants."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the response. aiohttp calls it after the handler."""
        if self.prepared:
            return await super().prepare(request)
        try:
            answer, body = await self._plan.begin_async()
        except Exception:
            _log.exception("the archive of %s failed before its first byte: answered with 500", request.path)
            return await self._refuse(request)
        try:
            self.set_status(answer.status)
            self.headers.update(answer.headers)
            writer = await super().prepare(request)
            await self._send(body, request)
        finally:
            await body.aclose()
        return writer

    async def _refuse(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        text = f"{status.phrase}\n".encode()
        self.set_status(status)
        self.content_type, self.content_length = "text/plain", len(text)
        writer = await super().prepare(request)
        if request.method != "HEAD":
            await self.write(text)
        return writer

    async def _send(self, body: StartedAsyncBody, request: web.BaseRequest) -> None:
        gone = asyncio.ensure_future(_left(request))
        try:
            while (chunk := await unless_left(anext(body, None), gone)) is not None:
                await self.write(chunk)
        finally:
            gone.cancel()
        if gone.done() and not gone.cancelled():
            raise ConnectionResetError("the client has left")


async def _left(request: web.BaseRequest) -> None:
    """Return when the client has left."""
    while (transport := request.transport) is not None and not transport.is_closing():  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(_LOOK_S)
