"""Flask: an archive as the response of a view. ::

    from flask import Flask, request
    from zipstream_adapter import walk
    from zipstream_adapter.web.flask import ZipResponse

    @app.get("/photos.zip")
    def photos():
        return ZipResponse(request, walk("photos"), filename="photos.zip")

Needs Flask and the extra ``web``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .response import Sent
from .views import Plan, RequestLike

try:
    from flask import Response
except ImportError as exc:
    raise ImportError("zipstream_adapter.web.flask needs Flask: pip install flask 'zipstream-adapter[web]'") from exc

if TYPE_CHECKING:
    from typing import Unpack

    from .._writer.options import StreamOptions

__all__ = ["ZipResponse"]


class ZipResponse(Response):
    """A response that carries an archive while it is made.

    Conditions and ranges are answered as by `zipstream_adapter.web.respond`; HEAD gets the header fields alone. The
    first chunk is made here, so an early failure is an exception of the view, for which Flask answers 500. A later
    failure breaks the transfer. The server closes the response, and with it the archive and its open source, also if
    the client leaves.

    Args:
        request: ``flask.request``.
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

    def __init__(
        self,
        request: RequestLike,
        archive: Sent,
        *,
        filename: str,
        ranges: bool = False,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        plan = Plan(request, archive, filename, ranges, headers, options, asynchronous=False)
        answer, body = plan.begin()
        super().__init__(body, status=answer.status, headers=answer.headers)
        self.implicit_sequence_conversion = False  # nothing may collect the body in memory
