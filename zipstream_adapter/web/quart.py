"""Quart: an archive as the response of a view, made like Quart's own ``send_file``. ::

    from quart import Quart, request
    from zipstream_adapter import walk
    from zipstream_adapter.web.quart import send_zip

    @app.get("/photos.zip")
    async def photos():
        return await send_zip(request, walk("photos"), filename="photos.zip")

Needs Quart and the extra ``web``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .response import AsyncSent
from .views import Plan, RequestLike

try:
    from quart import Response
except ImportError as exc:
    raise ImportError("zipstream_adapter.web.quart needs Quart: pip install quart 'zipstream-adapter[web]'") from exc

if TYPE_CHECKING:
    from typing import Unpack

    from .._writer.options import AsyncStreamOptions

__all__ = ["send_zip"]


async def send_zip(
    request: RequestLike,
    archive: AsyncSent,
    *,
    filename: str,
    ranges: bool = False,
    headers: Mapping[str, str] | None = None,
    **options: Unpack[AsyncStreamOptions],
) -> Response:
    """Return a response that carries an archive while it is made.

    Files are looked at and read on threads. Conditions and ranges are answered as by `zipstream_adapter.web.respond`;
    HEAD gets the header fields alone. The first chunk is made here, so an early failure is an exception of the view,
    for which Quart answers 500. A later failure breaks the transfer. If the client leaves, the archive and its open
    source are closed at once. Quart's RESPONSE_TIMEOUT, which would end a long download after a minute like a whole
    one, does not apply.

    Args:
        request: ``quart.request``.
        archive: entries (sent as an `async_stream_zip`), an `AsyncZipStream` or a `ZipLayout`.
        filename: name of the downloaded file; see `zip_headers`.
        ranges: make a `ZipLayout` of the entries, so that the size is known and a broken download can be resumed. See
            `zipstream_adapter.web`.
        headers: additional header fields; see `extra` of `respond`.
        options: options of `async_stream_zip` (with `ranges`: of `ZipLayout`), used if entries are given.

    Raises:
        OptionError: an argument is not allowed.
        EntryTypeError: `archive` is not one of these.
        ZipStreamError: the archive failed before its first byte. It wraps an OSError, as servers would attribute that
            to the connection. Any other exception of a source is raised as it is.
        OSError: with `ranges`, if a file cannot be looked at: for example a FileNotFoundError for a missing path.
    """
    plan = Plan(request, archive, filename, ranges, headers, options, asynchronous=True)
    answer, body = await plan.begin_async()
    response = Response(body, status=answer.status, headers=answer.headers)
    response.timeout = None
    return response
