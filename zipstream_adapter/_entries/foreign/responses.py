"""Responses of HTTP clients as sources: urllib, http.client, urllib3, requests, httpx, aiohttp, and similar ones.

They are recognised by the names of their classes, so that no client is imported. No attribute that would load the body
is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from functools import lru_cache
from typing import Any

from .response_body import Body


class _HttpClient(Body):
    """`http.client.HTTPResponse`, as returned by `urllib.request.urlopen`.

    It does not decode the body, and does not raise if the body ends early.
    """

    def _method(self) -> Any:
        return getattr(self._source, "_method", None)

    def _begin(self) -> None:
        if self._source.isclosed() and self._content_length() != 0:
            self._refuse_used_up()
        if not self._source.chunked:
            self.length = self._source.length  # bytes left to read

    def _chunks(self, size: int) -> Iterator[Any]:
        return _read(self._source.read, size)


class _Urllib(Body):
    """`urllib.response.addinfourl`: urllib's response for file:, ftp: and data: URLs, and its HTTPError."""

    def _begin(self) -> None:
        self.length = self._content_length()
        if self.length is not None:
            read = _position(self._source)
            if read >= self.length > 0:
                self._refuse_used_up()
            self.length = max(0, self.length - read)

    def _chunks(self, size: int) -> Iterator[Any]:
        return _read(self._source.read, size)


class _Urllib3(Body):
    def _method(self) -> Any:
        original = getattr(self._source, "_original_response", None)
        return getattr(original, "_method", None)

    def _url(self) -> Any:
        return self._source.geturl()

    def _is_encoded(self) -> bool:
        return bool(getattr(self._source, "decode_content", True)) and super()._is_encoded()

    def _body(self) -> Any:
        return getattr(self._source, "_body", None)

    def _begin(self) -> None:
        if _is_used_up(self._source) and self._content_length() != 0:
            self._refuse_used_up()
        self._expect_length(_position(self._source), getattr(self._source, "tell", None))

    def _chunks(self, size: int) -> Iterator[Any]:
        chunks: Iterator[Any] = self._source.stream(size)
        return chunks


class _Requests(Body):
    def _status(self) -> Any:
        return self._source.status_code

    def _method(self) -> Any:
        return getattr(getattr(self._source, "request", None), "method", None)

    def _requested(self) -> Any:
        return getattr(getattr(self._source, "request", None), "headers", None)

    def _body(self) -> Any:
        return getattr(self._source, "_content", None)

    def _begin(self) -> None:
        raw = getattr(self._source, "raw", None)
        # Other raw objects than responses of urllib3 do not decode, and their tell() may have another origin.
        is_urllib3 = raw is not None and kind_of_response(type(raw)) is _Urllib3  # type: ignore[arg-type]
        is_empty = self._content_length() == 0
        if getattr(self._source, "_content_consumed", False) or (is_urllib3 and not is_empty and _is_used_up(raw)):
            self._refuse_used_up()
        self._expect_length(_position(raw) if is_urllib3 else 0, getattr(raw, "tell", None) if is_urllib3 else None)

    def _chunks(self, size: int) -> Iterator[Any]:
        chunks: Iterator[Any] = self._source.iter_content(size)
        return chunks


class _Httpx(Body):
    def _status(self) -> Any:
        return self._source.status_code

    def _is_async(self) -> bool:
        stream = getattr(self._source, "stream", None)
        return hasattr(stream, "__aiter__") and not hasattr(stream, "__iter__")

    def _request(self) -> Any:
        return getattr(self._source, "_request", None)

    def _method(self) -> Any:
        return getattr(self._request(), "method", None)

    def _requested(self) -> Any:
        return getattr(self._request(), "headers", None)

    def _body(self) -> Any:
        return getattr(self._source, "_content", None)

    def _begin(self) -> None:
        if self._source.is_stream_consumed or self._source.is_closed:
            self._refuse_used_up()
        self._expect_length(0, lambda: int(self._source.num_bytes_downloaded))

    def close(self) -> Callable[[], Any] | None:
        close = super().close()
        if close is None or self._source.is_closed:
            return None
        # httpx closes it, too, at the end of the body.
        return lambda: None if self._source.is_closed else close()

    def _chunks(self, size: int) -> Iterator[Any]:
        chunks: Iterator[Any] = self._source.iter_bytes()
        return chunks

    def _chunks_on_loop(self, size: int) -> AsyncIterator[Any]:
        chunks: AsyncIterator[Any] = self._source.aiter_bytes()
        return chunks


class _Aiohttp(Body):
    """`aiohttp.ClientResponse`. It checks the length of the body itself, before decoding."""

    def _is_async(self) -> bool:
        return True

    def _method(self) -> Any:
        return getattr(self._source, "method", None)

    def _requested(self) -> Any:
        return getattr(getattr(self._source, "request_info", None), "headers", None)

    def _body(self) -> Any:
        return getattr(self._source, "_body", None)

    def _begin(self) -> None:
        content = self._source.content
        if content is not None and content.at_eof() and getattr(content, "total_bytes", 0):
            self._refuse_used_up()

    def close(self) -> Callable[[], Any] | None:
        close: Callable[[], Any] = self._source.close
        return close

    async def _chunks_on_loop(self, size: int) -> AsyncIterator[Any]:
        while chunk := await self._source.content.read(size):
            yield chunk


class _Other(Body):
    """A response of any other client with the interface of requests, httpx or aiohttp."""

    def _status(self) -> Any:
        status = getattr(self._source, "status_code", None)
        return getattr(self._source, "status", None) if status is None else status

    def _check_status(self) -> None:
        if isinstance(self._status(), int):
            super()._check_status()
        else:
            self._source.raise_for_status()

    def _requested(self) -> Any:
        try:
            return self._source.request.headers
        except Exception:  # httpx raises various errors for a response without a request
            return None

    def _is_async(self) -> bool:
        return not any(hasattr(type(self._source), name) for name in ("iter_bytes", "iter_content"))

    def _begin(self) -> None:
        self._expect_length(0, None)

    def _chunks(self, size: int) -> Iterator[Any]:
        source = self._source
        chunks: Iterator[Any]
        chunks = source.iter_bytes() if hasattr(type(source), "iter_bytes") else source.iter_content(size)
        return chunks

    async def _chunks_on_loop(self, size: int) -> AsyncIterator[Any]:
        async for chunk in self._source.aiter_bytes():
            yield chunk


_KINDS = {
    ("http.client", "HTTPResponse"): _HttpClient,
    ("urllib.response", "addinfourl"): _Urllib,
    ("urllib3", "HTTPResponse"): _Urllib3,
    ("urllib3", "BaseHTTPResponse"): _Urllib3,
    ("requests", "Response"): _Requests,
    ("httpx", "Response"): _Httpx,
    ("httpx2", "Response"): _Httpx,
    ("aiohttp", "ClientResponse"): _Aiohttp,
}


@lru_cache(maxsize=256)
def kind_of_response(kind: Hashable) -> type[Body] | None:
    """Return the kind of Body for objects of the class `kind`. Returns None if they are not responses."""
    assert isinstance(kind, type)
    for base in kind.__mro__:
        module = base.__module__
        found = _KINDS.get((module, base.__name__)) or _KINDS.get((module.partition(".")[0], base.__name__))
        if found is not None:
            return found
    names = ("iter_bytes", "iter_content", "aiter_bytes")
    if hasattr(kind, "raise_for_status") and any(hasattr(kind, name) for name in names):
        return _Other
    return None


def response_of(source: Any, name: str) -> Body | None:
    """Return the Body of `source` for the entry `name`, not yet begun. Returns None if `source` is not a response."""
    kind = kind_of_response(type(source))  # type: ignore[arg-type]
    return None if kind is None else kind(source, name)


def _read(read: Callable[[int], Any], size: int) -> Iterator[Any]:
    while chunk := read(size):
        yield chunk


def _is_used_up(raw: Any) -> bool:
    """Whether the rest of the body of `raw`, a response of urllib3, is lost or incomplete.

    It closes itself at the end of the body, and if the iteration over its chunks is given up. Within a chunk, only the
    iterator that has begun it can go on.
    """
    return bool(getattr(raw, "closed", False)) or getattr(raw, "chunk_left", None) is not None


def _position(file: Any) -> int:
    """Bytes already read from `file`, by its tell(); 0 if unknown."""
    try:
        return int(file.tell())
    except Exception:  # files without a position raise various errors
        return 0
