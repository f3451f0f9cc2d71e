"""respond: the answer to a request for an archive, whole or in ranges; and its bytes, for WSGI and for ASGI."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from .aio import AsyncZipStream
from .errors import EntryTypeError, SizeMismatchError
from .facade import refuse_begun
from .fields import described
from .stream import ZipStream
from .web_fields import NOT_BUFFERED, NOT_COMPRESSED, by_lower_name, check_extra, overlaid, zip_headers
from .web_ranges import Piece, Span, condition, length, multipart, spans

if TYPE_CHECKING:
    from typing import Self

METHODS = ("GET", "HEAD")
# Fields of a 200 that say what its body is, which a 304 has none of (RFC 9110 section 15.4.5), ...
_OF_THE_BODY = {"content-length", "content-type", "content-disposition", "content-encoding", "accept-ranges"}
# ... those that a layout has none of, as nginx may keep it, ...
_OF_A_STREAM = {name.lower() for name in NOT_BUFFERED}
# ... and those that an answer about something else must not have.
_OF_THE_ARCHIVE = {"content-length", "content-disposition", "etag", "last-modified", "cache-control", "expires"}


class Layout(Protocol):
    """An archive of which any range of bytes can be made, as `ZipLayout` is one."""

    @property
    def size(self) -> int: ...

    @property
    def etag(self) -> str | None: ...

    @property
    def last_modified(self) -> datetime | None: ...

    def iter_range(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]: ...

    def aiter_range(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]: ...


Archive = Layout | ZipStream | AsyncZipStream


def is_layout(archive: Any) -> TypeGuard[Layout]:
    """Whether ranges can be had of `archive`."""
    return hasattr(archive, "iter_range")


@dataclass(frozen=True)
class Answer:
    """Status, header fields, and either `body` or `abody`, which is to be closed whatever happens."""

    status: int
    headers: dict[str, str]
    archive: Archive = field(repr=False)
    pieces: tuple[Piece, ...] | None = field(default=(), repr=False)  # None: a stream, from its beginning to its end
    size: int | None = 0  # bytes of the body, where known

    @property
    def status_line(self) -> str:
        """The status with its reason, as WSGI has it."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    def body(self) -> Body:
        """The bytes, for a server that iterates: of a layout, or of a `ZipStream`, which must not have been begun."""
        if isinstance(self.archive, AsyncZipStream):
            raise EntryTypeError(f"{described(self.archive)} is asynchronous: use abody(), or give a stream_zip")
        if isinstance(self.archive, ZipStream):
            if self.pieces is None:
                refuse_begun(self.archive)
            left: Iterator[bytes] = self.archive if self.pieces is None else iter(_plain(self.pieces))
            return Body(left, self.archive.close, self.size)
        chunks = _chunks(self.archive, self.pieces or ())
        return Body(chunks, chunks.close, self.size)

    def abody(self) -> AsyncBody:
        """The bytes, for an event loop: of a layout, or of an `AsyncZipStream`, which must not have been begun."""
        if isinstance(self.archive, ZipStream):
            raise EntryTypeError(f"{described(self.archive)} is not asynchronous: use body(), or give async_stream_zip")
        if isinstance(self.archive, AsyncZipStream):
            if self.pieces is None:
                refuse_begun(self.archive)
            left = self.archive if self.pieces is None else _aiter(_plain(self.pieces))
            return AsyncBody(left, self.archive.aclose, self.size)
        chunks = _achunks(self.archive, self.pieces or ())
        return AsyncBody(chunks, chunks.aclose, self.size)


def respond(
    archive: Any,
    method: str,
    headers: Any = (),
    *,
    filename: str,
    extra: Mapping[str, str] | None = None,
) -> Answer:
    """The answer to a request for `archive`, as RFC 9110 has it (sections 13 to 15). Nothing is read by it.

    Args:
        archive: a `ZipLayout` (or what has its size, etag, last_modified, iter_range and aiter_range), which is sent
            whole or in ranges; or a `ZipStream` or `AsyncZipStream`, which is sent whole.
        method: GET or HEAD; any other is answered by 405.
        headers: the request's: a mapping, such as any framework's, or pairs; of str or bytes.
        filename: see `zip_headers`.
        extra: further header fields for the answer, such as Vary, or Cache-Control, which keeps its ``no-transform``; a
            Content-Type takes the place of application/zip.

    Returns:
        an `Answer` of 200, 206, 304, 405, 412 or 416. One range comes as it is; up to 16 in ascending order that do not
        overlap as multipart/byteranges; more, or others, are ignored, as is Range where a layout has no etag. 304
        follows from the etag alone. If-Unmodified-Since gives 412 for an archive that is newer, else the whole. A body
        that fails, or has another length than was said, raises: let that pass, so that the server breaks the transfer.

    Raises:
        OptionError, EntryTypeError: for a filename, an extra field or an archive that cannot be sent.
    """
    extra = check_extra(extra or {})
    if not is_layout(archive) and not isinstance(archive, ZipStream | AsyncZipStream):
        raise EntryTypeError(
            f"{described(archive)} is no archive: give a ZipLayout, a stream_zip or an async_stream_zip"
        )
    if method not in METHODS:
        return plain_answer(HTTPStatus.METHOD_NOT_ALLOWED, method, archive, {"Allow": ", ".join(METHODS)})
    asked = by_lower_name(headers)
    etag, changed = (archive.etag, archive.last_modified) if is_layout(archive) else (None, None)
    size: int | None = getattr(archive, "size", None)
    own = zip_headers(filename, size=size, etag=etag, last_modified=changed)
    fields = overlaid(_but(own, _OF_A_STREAM) if is_layout(archive) else own, extra)
    status = condition(method, asked, etag, changed)
    if status == HTTPStatus.NOT_MODIFIED:
        return Answer(status, _but(fields, _OF_THE_BODY | ({"last-modified"} if etag else set())), archive)
    if status:
        return plain_answer(status, method, archive, _but(fields, _OF_THE_ARCHIVE))
    if is_layout(archive):
        return _in_ranges(archive, fields, method, spans(method, asked, etag, archive.size))
    return Answer(200, fields, archive, *((None, size) if method == "GET" else ((), 0)))


def _in_ranges(layout: Layout, fields: dict[str, str], method: str, found: list[Span] | None) -> Answer:
    """The answer for the ranges that were `found`; None: for the whole."""
    size = layout.size
    if found is None:
        whole: tuple[Piece, ...] = (Span(0, size),) if method == "GET" else ()
        return Answer(200, fields, layout, whole, length(whole))
    if not found:
        unsatisfied = {**_but(fields, _OF_THE_ARCHIVE), "Content-Range": f"bytes */{size}"}
        return plain_answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, method, layout, unsatisfied)
    pieces: list[Piece] = [*found]
    if len(found) == 1:
        fields["Content-Range"] = found[0].content_range(size)
    else:
        name = next(name for name in fields if name.lower() == "content-type")
        fields[name], pieces = multipart(found, size, fields[name])
    fields["Content-Length"] = str(length(pieces))
    return Answer(206, fields, layout, tuple(pieces), length(pieces))


def _but(fields: Mapping[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name.lower() not in names}


def plain_answer(
    status: HTTPStatus, method: str, archive: Archive | None = None, fields: Mapping[str, str] | None = None
) -> Answer:
    """An answer that says no more than its `status`; `archive` is closed with it."""
    text = f"{status.phrase}\n".encode()
    kept = _but(fields or {}, {"content-type"})
    told = {**NOT_COMPRESSED, **kept, "Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
    sent = () if method == "HEAD" else (text,)
    return Answer(status, told, _NOTHING if archive is None else archive, sent, length(sent))


def _plain(pieces: Iterable[Piece]) -> list[bytes]:
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
    """No archive, of an answer that has none."""

    size, etag, last_modified = 0, None, None

    def iter_range(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        return iter(())

    def aiter_range(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        return _aiter(())


_NOTHING = _Nothing()


class _Count:
    """What is left of the bytes that were promised."""

    def __init__(self, size: int | None) -> None:
        self._size = self._left = size

    def take(self, chunk: bytes) -> None:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise SizeMismatchError(f"the body has more than the {self._size} bytes of its Content-Length")

    def end(self) -> None:
        if self._left:
            raise SizeMismatchError(
                f"the body ended {self._left} bytes short of the {self._size} of its Content-Length"
            )


class Body:
    """An iterator of an answer's bytes. Raises where they fail, or are not as many as was said. To be closed."""

    def __init__(self, chunks: Iterator[bytes], close: Callable[[], object], size: int | None) -> None:
        self._chunks, self._close, self._count = chunks, close, _Count(size)

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
        """Close the archive and the source that is open."""
        self._close()


class AsyncBody:
    """An asynchronous iterator of an answer's bytes; for the rest, a `Body`."""

    def __init__(self, chunks: AsyncIterator[bytes], close: Callable[[], Awaitable[object]], size: int | None) -> None:
        self._chunks, self._close, self._count = chunks, close, _Count(size)

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
        """Close the archive and the source that is open."""
        await self._close()
