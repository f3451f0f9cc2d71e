"""Shared by the modules for frameworks: the archive for a view's arguments, and bodies begun before the response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from .._checks import typed_repr
from .._concurrency.cancellation import check_loop, settled
from .._concurrency.offload import on_thread
from .._layout.layout import SteadyLayout, ZipLayout
from .._stream.asynchronous import async_stream_zip
from .._stream.sync import stream_zip
from ..errors import EntryTypeError, OptionError, ZipStreamError
from .headers import HeaderFields, check_extra, check_filename
from .response import Answer, Archive, AsyncBody, are_entries, is_archive, is_layout, respond
from .wsgi import StartedBody, archive_failure

if TYPE_CHECKING:
    from typing import Self


class RequestLike(Protocol):
    """Method and header fields of a request of any framework."""

    @property
    def method(self) -> Any: ...

    @property
    def headers(self) -> Any: ...


class Plan:
    """The arguments of a view, checked. `answer` reads the file system: sizes of files, and the layout of `ranges`."""

    def __init__(
        self,
        request: RequestLike,
        archive: Any,
        filename: str,
        ranges: bool,
        headers: Mapping[str, str] | None,
        options: Mapping[str, Any],
        *,
        asynchronous: bool,
    ) -> None:
        check_filename(filename)
        self._request, self._filename = request, filename
        self._headers = check_extra(headers or {})
        self._ready: Archive | None = None
        self._make: Any = partial(SteadyLayout, archive, **options)
        if is_archive(archive):
            _check_ready(archive, ranges, options)
            self._ready = archive
            return
        if not are_entries(archive):
            raise EntryTypeError(
                f"{typed_repr(archive)} is not an archive: give an iterable of entries (walk of a directory), a "
                "ZipLayout or a stream"
            )
        if ranges:
            _check_not_asynchronous(archive, asynchronous)
            ZipLayout((), **options)  # validates the options now instead of on another thread
        else:
            stream: Any = async_stream_zip if asynchronous else stream_zip
            self._ready = stream(archive, **options)

    def answer(self) -> Answer:
        """Return the answer to the request, as `respond` makes it."""
        archive = self._layout() if self._ready is None else self._ready
        fields: HeaderFields = self._request.headers
        return respond(archive, str(self._request.method), fields, filename=self._filename, extra=self._headers)

    def _layout(self) -> Archive:
        try:
            return cast("Archive", self._make())
        except ZipStreamError as exc:
            exc.add_note("(ranges=True makes a ZipLayout of the entries; without it, they are sent as a stream)")
            raise

    def begin(self) -> tuple[Answer, StartedBody]:
        """Return the answer and its body, whose first chunk is made: an early failure is raised in the view."""
        answer = self.answer()
        try:
            return answer, StartedBody(answer.body())
        except OSError as exc:
            raise archive_failure(exc) from exc

    async def answer_on_thread(self) -> Answer:
        """Like `answer`, without blocking the event loop."""
        check_loop()
        return cast("Answer", await on_thread(self.answer, "preparing an answer"))

    async def begin_async(self) -> tuple[Answer, StartedAsyncBody]:
        """Like `begin`, without blocking the event loop."""
        answer = await self.answer_on_thread()
        return answer, await StartedAsyncBody.of(answer)


def _check_ready(archive: Any, ranges: bool, options: Mapping[str, Any]) -> None:
    if options:
        raise OptionError(f"{', '.join(options)}: the archive is already made: give its options where it is made")
    if ranges and not is_layout(archive):
        raise OptionError(
            f"ranges=True: {typed_repr(archive)} is made once, from its beginning: give entries or a ZipLayout"
        )


def _check_not_asynchronous(entries: Any, asynchronous: bool) -> None:
    if isinstance(entries, AsyncIterable) and not isinstance(entries, Iterable):
        other = ", or leave out ranges=True" if asynchronous else ""
        raise EntryTypeError(
            f"ranges=True: {typed_repr(entries)} is asynchronous, and ranges need a list: collect it first{other}"
        )


class StartedAsyncBody:
    """An `AsyncBody` whose first chunk is already made. An empty body is closed at once."""

    def __init__(self, body: AsyncBody, first: bytes | None) -> None:
        self._body, self._first = body, first

    @classmethod
    async def of(cls, answer: Answer) -> Self:
        """Begin the body of `answer`."""
        body = answer.abody()
        try:
            first = await anext(body, None)
        except BaseException as exc:
            await body.aclose()
            if isinstance(exc, OSError):
                raise archive_failure(exc) from exc
            raise
        if first is None:
            await body.aclose()
        return cls(body, first)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            return await anext(self._body)
        except OSError as exc:  # frameworks would attribute it to the connection
            raise archive_failure(exc) from exc

    async def aclose(self) -> None:
        """Close the archive and its open source."""
        self._first = None
        await self._body.aclose()


async def unless_left(chunk: Awaitable[bytes | None], gone: asyncio.Future[Any]) -> bytes | None:
    """Wait for `chunk`, or cancel it and return None when `gone` is done: the client has left.

    gone: not cancelled with this call; its owner cancels it.
    """
    work = asyncio.ensure_future(chunk)
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = not work.done()
        work.cancel()
        if stop := await settled(work, work.cancel):
            raise stop
    if left:
        gone.result()  # raises the failure of receive(), if any
        return None
    return work.result()
