"""respond: answer a request for an archive, whole or in ranges. Bodies can be read by WSGI and ASGI servers."""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

from .._checks import shown_half_made, typed_repr
from .._entries.entry import Entry
from .._entries.one_pass import refuse_begun
from .._stream.asynchronous import AsyncZipStream
from .._stream.sync import ZipStream
from ..errors import EntryTypeError, SizeMismatchError
from .headers import NOT_BUFFERED, NOT_COMPRESSED, HeaderFields, by_lower_name, check_extra, merged_headers, zip_headers
from .ranges import Piece, Span, condition, length, multipart, spans

if TYPE_CHECKING:
    from typing import Self

    from .._entries.coercion import AsyncEntryLike, EntryLike
    from .._layout.layout import ZipLayout

METHODS = ("GET", "HEAD")
# Fields that describe the body. A 304 does not send them (RFC 9110 section 15.4.5).
_BODY_FIELDS = {"content-length", "content-type", "content-disposition", "content-encoding", "accept-ranges"}
# Fields for streams only. A layout does not send them, so that nginx may buffer and cache it.
_STREAM_FIELDS = {name.lower() for name in NOT_BUFFERED}
# Fields that describe the archive. An answer without archive data does not send them.
_ARCHIVE_FIELDS = {"content-length", "content-disposition", "etag", "last-modified", "cache-control", "expires"}


class Layout(Protocol):
    """An archive that can produce any range of its bytes, such as a `ZipLayout`."""

    @property
    def size(self) -> int: ...

    @property
    def etag(self) -> str | None: ...

    @property
    def last_modified(self) -> datetime | None: ...

    def iter_range(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...

    def aiter_range(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]: ...


# Archives that a synchronous and an asynchronous framework can send. ZipLayout by name: to pyright, a `cached_property`
# is not the property of a protocol.
Sent: TypeAlias = "Iterable[EntryLike] | Layout | ZipLayout | ZipStream"
AsyncSent: TypeAlias = "Iterable[AsyncEntryLike] | AsyncIterable[AsyncEntryLike] | Layout | ZipLayout | AsyncZipStream"
Archive: TypeAlias = "Layout | ZipLayout | ZipStream | AsyncZipStream"


def is_layout(archive: Any) -> TypeGuard[Layout]:
    """Return whether `archive` can produce ranges."""
    return hasattr(archive, "iter_range")


def is_archive(archive: Any) -> TypeGuard[Archive]:
    """Return whether `archive` is a layout or a stream."""
    return is_layout(archive) or isinstance(archive, ZipStream | AsyncZipStream)


def are_entries(found: Any) -> bool:
    """Return whether `found` is an iterable, and not a single entry."""
    if isinstance(found, str | bytes | os.PathLike | Mapping | Entry):
        return False
    return hasattr(found, "__iter__") or hasattr(found, "__aiter__")


@shown_half_made
@dataclass(frozen=True)
class Answer:
    """Status, header fields and body of a response. Call one of `body` and `abody`, and close the result in any case.

    Attributes:
        status: the HTTP status code.
        headers: header fields by name.
        archive: the layout or stream that the body is read from; closed with the body.
        pieces: what the body consists of; None for a complete stream.
        size: bytes of the body; None if unknown.
    """

    status: int
    headers: dict[str, str]
    archive: Archive = field(repr=False)
    pieces: tuple[Piece, ...] | None = field(default=(), repr=False)
    size: int | None = 0

    @property
    def status_line(self) -> str:
        """Status code and reason phrase, as WSGI's start_response expects them."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    def body(self) -> Body:
        """Return the body as an iterator.

        Raises:
            EntryTypeError: the archive is an `AsyncZipStream`.
            StreamStateError: the archive is a `ZipStream` that was already read from.
        """
        if isinstance(self.archive, AsyncZipStream):
            raise EntryTypeError(f"{typed_repr(self.archive)} is asynchronous: give a stream_zip (or use Answer.abody)")
        if isinstance(self.archive, ZipStream):
            if self.pieces is None:
                refuse_begun(self.archive)
            left: Iterator[bytes] = self.archive if self.pieces is None else iter(_literal_pieces(self.pieces))
            return Body(left, self.archive.close, self.size)
        chunks = _chunks(self.archive, self.pieces or ())
        return Body(chunks, chunks.close, self.size)

    def abody(self) -> AsyncBody:
        """Return the body as an asynchronous iterator.

        Raises:
            EntryTypeError: the archive is a `ZipStream`.
            StreamStateError: the archive is an `AsyncZipStream` that was already read from.
        """
        if isinstance(self.archive, ZipStream):
            raise EntryTypeError(
                f"{typed_repr(self.archive)} is not asynchronous: give async_stream_zip (or use Answer.body)"
            )
        if isinstance(self.archive, AsyncZipStream):
            if self.pieces is None:
                refuse_begun(self.archive)
            left = self.archive if self.pieces is None else _aiter(_literal_pieces(self.pieces))
            return AsyncBody(left, self.archive.aclose, self.size)
        chunks = _achunks(self.archive, self.pieces or ())
        return AsyncBody(chunks, chunks.aclose, self.size)


def respond(
    archive: Archive,
    method: str,
    headers: HeaderFields = (),
    *,
    filename: str,
    extra: Mapping[str, str] | None = None,
) -> Answer:
    """Make the answer to a request for `archive`, following RFC 9110 (sections 13 to 15). Does not read any data.

    Args:
        archive: a `ZipLayout` (or an object with its size, etag, last_modified, iter_range and aiter_range), which is
            sent whole or in ranges; or a `ZipStream` or `AsyncZipStream`, which is sent whole.
        method: the request method. Methods other than GET and HEAD are answered with 405.
        headers: the request's header fields: a mapping (any framework's) or pairs, of str or bytes.
        filename: name of the downloaded file; see `zip_headers`.
        extra: additional header fields of the answer, for example Vary. Cache-Control keeps its ``no-transform``. A
            Content-Type replaces application/zip.

    Returns:
        an `Answer` with status 200, 206, 304, 405, 412 or 416. A single range is sent as is; 2 to 16 ascending ranges
        that do not overlap are sent as multipart/byteranges. Range is ignored if there are more or other ranges, or if
        the layout has no etag. A 304 is sent only if the etag matches. If-Unmodified-Since is answered with 412 if the
        archive is newer, else with the complete archive. A body raises if the archive fails or its length differs from
        the Content-Length. Do not catch the exception, so that the server breaks the transfer.

    Raises:
        OptionError: `filename` or a field of `extra` is not allowed.
        EntryTypeError: `archive` or another argument has the wrong type.
    """
    extra = check_extra(extra or {})
    if not is_archive(archive):
        raise EntryTypeError(
            f"{typed_repr(archive)} is not an archive: give a ZipLayout, a stream_zip or an async_stream_zip"
        )
    if method not in METHODS:
        return plain_answer(HTTPStatus.METHOD_NOT_ALLOWED, method, archive, {"Allow": ", ".join(METHODS)})
    asked = by_lower_name(headers)
    etag, changed = (archive.etag, archive.last_modified) if is_layout(archive) else (None, None)
    size: int | None = getattr(archive, "size", None)
    own = zip_headers(filename, size=size, etag=etag, last_modified=changed)
    fields = merged_headers(_without(own, _STREAM_FIELDS) if is_layout(archive) else own, extra)
    status = condition(asked, etag, changed)
    if status == HTTPStatus.NOT_MODIFIED:
        return Answer(status, _without(fields, _BODY_FIELDS | ({"last-modified"} if etag else set())), archive)
    if status:
        return plain_answer(status, method, archive, _without(fields, _ARCHIVE_FIELDS))
    if is_layout(archive):
        return _range_answer(archive, fields, method, spans(method, asked, etag, archive.size))
    return Answer(200, fields, archive, *((None, size) if method == "GET" else ((), 0)))


def _range_answer(layout: Layout, fields: dict[str, str], method: str, found: list[Span] | None) -> Answer:
    """Make the answer for the ranges `found`: None for the complete layout, [] for none that can be satisfied."""
    size = layout.size
    if found is None:
        whole: tuple[Piece, ...] = (Span(0, size),) if method == "GET" else ()
        return Answer(200, fields, layout, whole, length(whole))
    if not found:
        unsatisfied = {**_without(fields, _ARCHIVE_FIELDS), "Content-Range": f"bytes */{size}"}
        return plain_answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, method, layout, unsatisfied)
    pieces: list[Piece] = [*found]
    if len(found) == 1:
        fields["Content-Range"] = found[0].content_range(size)
    else:
        name = next(name for name in fields if name.lower() == "content-type")
        fields[name], pieces = multipart(found, size, fields[name])
    fields["Content-Length"] = str(length(pieces))
    return Answer(206, fields, layout, tuple(pieces), length(pieces))


def _without(fields: Mapping[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name.lower() not in names}


def plain_answer(
    status: HTTPStatus, method: str, archive: Archive | None = None, fields: Mapping[str, str] | None = None
) -> Answer:
    """Make an answer with the phrase of `status` as its body; closing it closes `archive`."""
    text = f"{status.phrase}\n".encode()
    kept = _without(fields or {}, {"content-type"})
    told = {**NOT_COMPRESSED, **kept, "Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
    sent = () if method == "HEAD" else (text,)
    return Answer(status, told, _NOTHING if archive is None else archive, sent, length(sent))


def _literal_pieces(pieces: Iterable[Piece]) -> list[bytes]:
    return [piece for piece in pieces if isinstance(piece, bytes)]


def _chunks(layout: Layout, pieces: Iterable[Piece]) -> Generator[bytes, None, None]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            yield from layout.iter_range(*piece)


async def _achunks(layout: Layout, pieces: Iterable[Piece]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            async with aclosing(layout.aiter_range(*piece)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk


async def _aiter(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class _Nothing:
    """The archive of an answer that has none."""

    size, etag, last_modified = 0, None, None

    def iter_range(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return iter(())

    def aiter_range(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        return _aiter(())


_NOTHING = _Nothing()


class _LengthCheck:
    """Counts the bytes of a body against its Content-Length (None: unknown)."""

    def __init__(self, size: int | None) -> None:
        self._size = self._left = size

    def take(self, chunk: bytes) -> None:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise SizeMismatchError(f"the body has more bytes than the {self._size} of its Content-Length")

    def end(self) -> None:
        if self._left:
            raise SizeMismatchError(
                f"the body ended {self._left} bytes short of the {self._size} of its Content-Length"
            )


class Body:
    """An iterator of an answer's bytes. Must be closed.

    Raises SizeMismatchError if the body does not have the announced length, and any error of the archive.
    """

    def __init__(self, chunks: Iterator[bytes], close: Callable[[], object], size: int | None) -> None:
        self._chunks, self._close, self._count = chunks, close, _LengthCheck(size)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None:
            self._count.end()
            raise StopIteration
        self._count.take(chunk)
        return chunk

    def close(self) -> None:
        """Close the archive and its open source."""
        self._close()


class AsyncBody:
    """Like `Body`, as an asynchronous iterator."""

    def __init__(self, chunks: AsyncIterator[bytes], close: Callable[[], Awaitable[object]], size: int | None) -> None:
        self._chunks, self._close, self._count = chunks, close, _LengthCheck(size)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks, None)
        if chunk is None:
            self._count.end()
            raise StopAsyncIteration
        self._count.take(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the archive and its open source."""
        await self._close()
