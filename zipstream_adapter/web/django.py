"""Django: an archive as the response of a view. ::

    from zipstream_adapter import walk
    from zipstream_adapter.web.django import ZipResponse

    def photos(request):
        return ZipResponse(request, walk("photos"), filename="photos.zip")

    async def photos(request):
        return await ZipResponse.acreate(request, walk("photos"), filename="photos.zip")

Under WSGI the body is a plain iterator, under ASGI an asynchronous one, as Django would collect the other kind in
memory. Needs Django and the extra ``web``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from .headers import NOT_COMPRESSED
from .response import Answer, AsyncSent, Sent
from .views import Plan

try:
    from django.core.handlers.asgi import ASGIRequest  # type: ignore[import-untyped]
    from django.http import StreamingHttpResponse  # type: ignore[import-untyped]
except ImportError as exc:
    raise ImportError("zipstream_adapter.web.django needs Django: pip install django 'zipstream-adapter[web]'") from exc

if TYPE_CHECKING:
    from typing import Self, Unpack

    from .._writer.options import AsyncStreamOptions

__all__ = ["ZipResponse"]


class ZipResponse(StreamingHttpResponse):  # type: ignore[misc]
    """A response that carries an archive while it is made.

    Conditions and ranges are answered as by `zipstream_adapter.web.respond`; HEAD gets the header fields alone. Under
    WSGI, and with `acreate`, the first chunk is made here, so an early failure is an exception of the view, for which
    Django answers 500. A later failure breaks the transfer. If the client leaves, the archive and its open source are
    closed: under ASGI at once, under WSGI at the next chunk.

    Args:
        request: the view's request.
        archive: entries (sent as a `stream_zip`, under ASGI as an `async_stream_zip`), a stream of that kind, or a
            `ZipLayout`.
        filename: name of the downloaded file; see `zip_headers`.
        ranges: make a `ZipLayout` of the entries, so that the size is known and a broken download can be resumed. See
            `zipstream_adapter.web`.
        headers: additional header fields; see `extra` of `respond`.
        options: options of the stream (with `ranges`: of `ZipLayout`), used if entries are given.

    Raises:
        OptionError: an argument is not allowed.
        EntryTypeError: `archive` is not one of these, or is a stream of the other kind.
        ZipStreamError: the archive failed before its first byte. It wraps an OSError, as servers would attribute that
            to the connection. Any other exception of a source is raised as it is.
        OSError: with `ranges`, if a file cannot be looked at: for example a FileNotFoundError for a missing path.
    """

    def __init__(
        self,
        request: Any,
        archive: Sent | AsyncSent,
        *,
        filename: str,
        ranges: bool = False,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[AsyncStreamOptions],
    ) -> None:
        asynchronous = isinstance(request, ASGIRequest)
        plan = Plan(request, archive, filename, ranges, headers, options, asynchronous=asynchronous)
        if asynchronous:
            answer = plan.answer()
            self._fill(answer, answer.abody())
        else:
            self._fill(*plan.begin())

    @classmethod
    async def acreate(
        cls,
        request: Any,
        archive: AsyncSent,
        *,
        filename: str,
        ranges: bool = False,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[AsyncStreamOptions],
    ) -> Self:
        """Make the response in an asynchronous view under ASGI, with the same arguments.

        Files are looked at on threads, and the first chunk is made.
        """
        plan = Plan(request, archive, filename, ranges, headers, options, asynchronous=True)
        made = cls.__new__(cls)
        made._fill(*await plan.begin_async())
        return made

    def _fill(self, answer: Answer, body: Any) -> None:
        self._body = body
        # GZipMiddleware would make the tag of a 304 weak, too.
        super().__init__(body, status=answer.status, headers={**NOT_COMPRESSED, **answer.headers})

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the body; closes it in the end, as Django closes only its own wrapper."""
        try:
            async for chunk in super().__aiter__():
                yield chunk
        finally:
            if self.is_async:
                await self._body.aclose()
