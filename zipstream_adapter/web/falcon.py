"""Falcon, under WSGI and ASGI: an archive as the response of a responder. ::

    from zipstream_adapter import walk
    from zipstream_adapter.web.falcon import send_zip, send_zip_async

    class Photos:
        def on_get(self, req, resp):
            send_zip(req, resp, walk("photos"), filename="photos.zip")

        on_head = on_get

    class PhotosUnderAsgi:
        async def on_get(self, req, resp):
            await send_zip_async(req, resp, walk("photos"), filename="photos.zip")

        on_head = on_get

Falcon answers HEAD only if there is an ``on_head``. Needs Falcon and the extra ``web``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .asgi import wait_for_disconnect
from .response import Answer, AsyncSent, Sent
from .views import Plan, StartedAsyncBody, unless_left

try:
    import falcon
    import falcon.asgi
except ImportError as exc:
    raise ImportError("zipstream_adapter.web.falcon needs Falcon: pip install falcon 'zipstream-adapter[web]'") from exc

if TYPE_CHECKING:
    from typing import Self, Unpack

    from .._writer.options import AsyncStreamOptions, StreamOptions

__all__ = ["send_zip", "send_zip_async"]


def send_zip(
    req: falcon.Request,
    resp: falcon.Response,
    archive: Sent,
    *,
    filename: str,
    ranges: bool = False,
    headers: Mapping[str, str] | None = None,
    **options: Unpack[StreamOptions],
) -> None:
    """Make `resp` carry an archive while it is made, in a responder under WSGI.

    Conditions and ranges are answered as by `zipstream_adapter.web.respond`; HEAD gets the header fields alone. The
    first chunk is made here, so an early failure is an exception of the responder. A later failure breaks the transfer.
    The server closes the archive and its open source, also if the client leaves.

    Args:
        req: the request.
        resp: the response. Its status, header fields and stream are set.
        archive: entries (sent as a `stream_zip`), a `ZipStream` or a `ZipLayout`.
        filename: name of the downloaded file; see `zip_headers`.
        ranges: make a `ZipLayout` of the entries, so that the size is known and a broken download can be resumed. See
            `zipstream_adapter.web`.
        headers: additional header fields; see `extra` of `respond`.
        options: options of `stream_zip` (with `ranges`: of `ZipLayout`), used if entries are given.

    Raises:
        OptionError: an argument is not allowed.
        EntryTypeError: `archive` is not one of these.
        ZipStreamError: the archive failed before its first byte. It wraps an OSError, as servers would attribute that
            to the connection. Any other exception of a source is raised as it is.
        OSError: with `ranges`, if a file cannot be looked at: for example a FileNotFoundError for a missing path.
    """
    plan = Plan(req, archive, filename, ranges, headers, options, asynchronous=False)
    answer, resp.stream = plan.begin()
    _set_fields(resp, answer)


async def send_zip_async(
    req: falcon.asgi.Request,
    resp: falcon.asgi.Response,
    archive: AsyncSent,
    *,
    filename: str,
    ranges: bool = False,
    headers: Mapping[str, str] | None = None,
    **options: Unpack[AsyncStreamOptions],
) -> None:
    """Make `resp` carry an archive while it is made, in a responder under ASGI. Arguments are those of `send_zip`.

    Entries are sent as an `async_stream_zip`. Files are looked at and read on threads. If the client leaves, the
    archive and its open source are closed at once; Falcon itself would read them to their end.
    """
    plan = Plan(req, archive, filename, ranges, headers, options, asynchronous=True)
    answer, body = await plan.begin_async()
    # The only place where Falcon keeps the events of the connection; it has no public one for a disconnect.
    resp.stream = _BodyUntilLeft(body, req._receive)
    _set_fields(resp, answer)


def _set_fields(resp: Any, answer: Answer) -> None:
    resp.status = answer.status_line
    resp.set_headers(answer.headers)


class _BodyUntilLeft:
    """The chunks of a body until its end, or until the client leaves. Falcon awaits its `close`."""

    def __init__(self, body: StartedAsyncBody, receive: Any) -> None:
        self._body, self._receive = body, receive
        self._gone: asyncio.Future[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._gone is None:
            self._gone = asyncio.ensure_future(wait_for_disconnect(self._receive))
        chunk = await unless_left(anext(self._body, None), self._gone)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def close(self) -> None:
        if self._gone is not None:
            self._gone.cancel()
        await self._body.aclose()
