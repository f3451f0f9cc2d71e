"""The body of an HTTP response as a source: checks its status and its length."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...errors import (
    EntryTypeError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SizeMismatchError,
    StreamStateError,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Status codes of responses with the requested data (RFC 9110, 15.3). 206 counts if a range was requested.
_GOOD = (200, 201, 203, 206, 226)
_REFUSED = {401: RemotePermissionError, 403: RemotePermissionError, 404: RemoteNotFoundError, 410: RemoteNotFoundError}
# No more digits than a size has: int() fails for thousands of them.
_NUMBER = re.compile(r"[0-9]{1,20}")
# The Content-Range of a part from the first byte: the last byte, and the total (RFC 9110, 14.4).
_FROM_THE_FIRST = re.compile(r"bytes 0-([0-9]{1,20})/([0-9]{1,20})")
_NO_DATA = {202: "it has no data yet", 204: "it has no data", 205: "it has no data", 304: "its data is in a cache"}


class Body:
    """The body of an HTTP response. One subclass for each client library.

    Attributes:
        name: the name of the entry.
        length: bytes of data to come, if a Content-Length states it and the client does not decode the body.
        data: the body, if the client has loaded it; else None.
        is_async: whether the body is read on an event loop.
    """

    length: int | None = None
    data: Buffer | None = None
    # Bytes before decoding: the Content-Length, and the count of the client.
    _encoded_length: int | None = None
    _count_encoded: Callable[[], int] | None = None

    def __init__(self, source: Any, name: str) -> None:
        self.name = name
        self._source = source
        self._headers = getattr(source, "headers", None) or {}
        self.is_async = self._is_async()

    def begin(self) -> None:
        """Check the status, and prepare to read the body.

        Raises RemoteError or a subclass if the response does not have the data, by its status; StreamStateError if the
        body was read before.
        """
        self._check_status()
        if self.is_loaded:
            self._use_loaded(self._body())
        else:
            self._begin()

    @property
    def is_loaded(self) -> bool:
        """Whether the client has the body in memory."""
        return isinstance(self._body(), bytes | bytearray | str)

    # Methods that differ from client to client.

    def _body(self) -> Any:
        """The body, if the client has loaded it."""
        return None

    def _is_async(self) -> bool:
        return False

    def _begin(self) -> None:
        """Prepare to read a body that the client has not loaded."""
        raise NotImplementedError

    def _status(self) -> Any:
        return getattr(self._source, "status", None)

    def _method(self) -> Any:
        return None

    def _requested(self) -> Any:
        """The headers of the request, if known."""
        return None

    def _chunks(self, size: int) -> Iterator[Any]:
        raise NotImplementedError

    def _chunks_on_loop(self, size: int) -> AsyncIterator[Any]:
        raise NotImplementedError

    def close(self) -> Callable[[], Any] | None:
        """Return the function that closes the response: an asynchronous one if `is_async`."""
        names = ("aclose", "close") if self.is_async else ("close",)
        for name in names:
            close = getattr(self._source, name, None)
            if callable(close):
                return close  # type: ignore[no-any-return]
        return None

    # Methods that all clients share.

    def _check_status(self) -> None:
        status = self._status()
        if not isinstance(status, int) or isinstance(status, bool):
            return
        if self._method() == "HEAD":
            raise EntryTypeError(
                f"entry {self.name!r}: {self._description()} answers HEAD, and so has no body: send a GET"
            )
        if status == 206 and self._is_part():
            why = "no range was asked for"
            if self._requested() is None:  # then only the user knows
                why = (
                    "the response does not tell whether it was asked for: if so, give its bytes, as in "
                    "iter(lambda: response.read(65536), b'')"
                )
            raise RemoteError(f"entry {self.name!r}: {self._description()}: this is a part of the data, and {why}")
        if status not in _GOOD:
            why = _NO_DATA.get(status, "a redirect that was not followed" if 300 <= status < 400 else "an error page")
            kind = _REFUSED.get(status, RemoteError)
            raise kind(f"entry {self.name!r}: {self._description()}: {why}, which is not the member's data")

    def _is_part(self) -> bool:
        if "multipart/byteranges" in (self._header("Content-Type") or "").lower():
            return True
        requested = self._requested()
        if requested is not None and (requested.get("Range") or requested.get("range")):
            return False
        stated = _FROM_THE_FIRST.fullmatch((self._header("Content-Range") or "").strip())
        return stated is None or int(stated[1]) + 1 != int(stated[2])

    def _description(self) -> str:
        reason = getattr(self._source, "reason", None) or getattr(self._source, "reason_phrase", None)
        status, where = self._status(), _without_secrets(self._url())
        words = ["the response", status, reason if isinstance(reason, str) else None, where and f"of {where}"]
        return " ".join(str(word) for word in words if word not in (None, ""))

    def _url(self) -> Any:
        try:
            return self._source.url
        except Exception:  # httpx raises for a response without a request
            return None

    def _header(self, name: str) -> str | None:
        value = self._headers.get(name)
        return value if isinstance(value, str) else None

    def _content_length(self) -> int | None:
        """The Content-Length, if it is valid and not overridden by Transfer-Encoding (RFC 9112, 6.3)."""
        stated = (self._header("Content-Length") or "").strip()
        if not _NUMBER.fullmatch(stated) or self._header("Transfer-Encoding"):
            return None
        return int(stated)

    def _is_encoded(self) -> bool:
        return (self._header("Content-Encoding") or "identity").strip().lower() not in ("", "identity")

    def _use_loaded(self, data: Any) -> None:
        """Use `data`, the body that the client has already loaded and decoded."""
        self.data = data
        stated = None if self._is_encoded() else self._content_length()
        if isinstance(data, bytes | bytearray) and stated not in (None, len(data)):
            raise self._mismatch(str(len(data)), stated)

    def _refuse_used_up(self) -> None:
        raise StreamStateError(
            f"entry {self.name!r}: the body of {self._description()} was read before: give an unread response"
        )

    def _expect_length(self, read: int, count: Callable[[], int] | None) -> None:
        """Require the body to have its Content-Length, of which `read` bytes were read before.

        count: a function that returns the bytes read so far, before decoding.
        """
        stated = self._content_length()
        if stated is None:
            return
        if self._is_encoded():
            self._encoded_length, self._count_encoded = stated, count
        else:
            self.length = max(0, stated - read)

    def chunks(self, size: int) -> Iterator[Any]:
        """Yield the body in chunks of about `size` bytes. Raises SizeMismatchError if its length is not as stated."""
        given, chunks = 0, self._chunks(size)
        try:
            for chunk in chunks:
                given += len(chunk)
                self._check_length(given, over=False)
                yield chunk
            self._check_length(given, over=True)
        finally:
            close = getattr(chunks, "close", None)
            if callable(close):
                close()

    async def chunks_on_loop(self, size: int) -> AsyncIterator[Any]:
        """Like `chunks`, on an event loop."""
        given, chunks = 0, self._chunks_on_loop(size)
        try:
            async for chunk in chunks:
                given += len(chunk)
                self._check_length(given, over=False)
                yield chunk
            self._check_length(given, over=True)
        finally:
            close = getattr(chunks, "aclose", None)
            if callable(close):
                await close()

    def _check_length(self, given: int, *, over: bool) -> None:
        if self.length is not None and (given > self.length or (over and given != self.length)):
            raise self._mismatch(str(given) if over else "more", self.length)
        if over and self._count_encoded is not None and (counted := self._count_encoded()) != self._encoded_length:
            raise self._mismatch(str(counted), self._encoded_length)

    def _mismatch(self, gave: str, stated: int | None) -> SizeMismatchError:
        return SizeMismatchError(
            f"entry {self.name!r}: {self._description()} gave {gave} bytes, not the {stated} of its Content-Length"
        )


def _without_secrets(url: Any) -> str:
    """`url` without parts that may be secret: user, password, query and fragment."""
    from urllib.parse import urlsplit  # imports much that most streams do not need

    try:
        parts = urlsplit(str(url or ""))
    except ValueError:
        return ""
    query = "?…" if parts.query else ""
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return address + query
