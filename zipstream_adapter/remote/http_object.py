"""An object behind an ``http(s)://`` URL, read by byte ranges."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import closing
from datetime import UTC
from email.utils import format_datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlunsplit

from .._checks import short_repr
from .._concurrency.threads import Lease, ThreadPool
from ..errors import (
    OptionError,
    RangesUnsupportedError,
    RemoteConnectionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SourceChangedError,
)
from .http_client import ClientLease, Exchange, HttpSettings, answer_of, generation, map_http_error, settings_of
from .objects import (
    CHUNK_SIZE,
    LEAST_RATE,
    NO_DATE,
    BodyProgress,
    Chunks,
    ObjectVersion,
    RemoteObject,
    require_plain,
)
from .stores import client_options_of, is_transient_status, quoted_url, ranges_ignored
from .waiting import Tries, Waiting, call_within, date_in, is_unknown_host, raise_late, retry_after_of, time_left

T = TypeVar("T")
_READ_SIZE = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d{1,20})-(\d{1,20})|\*)/(\d{1,20}|\*)", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,20}")  # int() fails for thousands of digits
# Threads on which an event loop's requests wait.
_MAX_THREADS = 64
_pool = ThreadPool("zipstream-adapter-http", lambda: _MAX_THREADS, waits=False)


class _Range(NamedTuple):
    """A Content-Range field (RFC 9110, section 14.4): the bytes of the body, and the object's size, if stated."""

    start: int | None
    stop: int | None
    size: int | None


class HttpObject(RemoteObject):
    """The object at `url`.

    The end is requested by a suffix range. If the server refuses, ignores or misreads it, or does not state the size,
    the size is requested, and then the end by a plain range.

    Args:
        url: the URL without user and fragment.
        where: the URL for errors, without credentials.
        settings: settings of the client.
        waiting: how long requests are repeated, and calls may take.
    """

    def __init__(self, url: str, where: str, settings: HttpSettings, waiting: Waiting) -> None:
        self.where = where
        self.waiting = waiting
        self.settings = settings
        self._url = url
        self._lease = ClientLease(settings)
        weakref.finalize(self, self._lease.close).atexit = False

    def release(self) -> None:
        self._lease.close()

    def tail(self, size: int) -> bytes:
        with closing(_HttpChunks(self, 0, 0)) as chunks:
            return chunks.end_of_object(size)

    async def atail(self, size: int) -> bytes:
        chunks = _HttpChunks(self, 0, 0)
        threads = Lease(_pool)
        try:
            return await _on_thread(threads, chunks, lambda: chunks.end_of_object(size))
        finally:
            chunks.close()
            threads.close()

    def _make_chunks(self, start: int, stop: int) -> Chunks:
        return _HttpChunks(self, start, stop)

    async def achunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        chunks = _HttpChunks(self, start, stop)
        threads = Lease(_pool)
        try:
            while chunk := await _on_thread(threads, chunks, lambda: next(chunks, b"")):
                yield chunk
        finally:
            chunks.close()
            threads.close()

    def send(self, method: str, fields: Mapping[str, str], exchange: Exchange) -> Any:
        """Send one request and return urllib3's response, whose body has not been read."""
        left = time_left()
        seconds = self.settings.timeout if left is None else min(self.settings.timeout, left)
        if seconds <= 0:
            raise_late(self.where, self.waiting.deadline)
        conditions = {} if self.version is None else _conditions(self.version)
        return self._lease.client.send(method, self._url, {**conditions, **fields}, exchange, seconds, self.where)

    @property
    def changed(self) -> SourceChangedError:
        """The error for an object whose version has changed."""
        return SourceChangedError(
            f"{self.where} has changed since it was opened: the object was replaced. Open it again"
        )


async def _on_thread(threads: Lease, chunks: _HttpChunks, function: Callable[[], T]) -> T:
    """Run `function`, which waits for `chunks`, on a thread. A cancellation ends its request."""
    job = threads.executor.submit(function)
    try:
        return await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        chunks.close()
        raise


def _conditions(version: ObjectVersion) -> dict[str, str]:
    condition = version.condition
    if "if_match" in condition:
        return {"If-Match": condition["if_match"]}
    date = condition.get("if_unmodified_since")
    return {} if date is None else {"If-Unmodified-Since": format_datetime(date.astimezone(UTC), usegmt=True)}


def http_object_of(url: str, options: Mapping[str, Any], waiting: Waiting) -> HttpObject:
    """Return the object at an ``http(s)://`` URL. `options` are the client options of `store_of`.

    Raises OptionError for an invalid URL or option.
    """
    left = dict(options)
    where = quoted_url(url)
    parts, client = client_options_of(url, left)
    for option in left:
        if option != "retry_config":
            raise OptionError(f"{where}: {option}= is not an option for a URL: leave it out")
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
    return HttpObject(urlunsplit(bare), where, settings_of(parts, client, where), waiting)


class _HttpChunks(Chunks):
    """Chunks of one range. Requests are repeated, and the body is resumed, as the object's limits allow."""

    def __init__(self, source: HttpObject, start: int, stop: int) -> None:
        super().__init__(source.where)
        self._source = source
        self._state = BodyProgress(source.where, start, stop, source.waiting)
        self._busy = threading.Lock()
        self._exchange: Exchange | None = None
        self._until = 0.0  # end of the request's timeout
        self._generation = generation()
        self._broken: RemoteConnectionError | None = None  # the failure after the bytes that were returned

    def close(self) -> None:
        super().close()
        exchange = self._exchange
        if self._busy.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._busy.release()
        elif exchange is not None:
            exchange.end()

    def __next__(self) -> bytes:
        self._begin_anew_in_child()
        with self._busy, call_within(self._source.waiting.deadline):
            try:
                while self._state:
                    self.refuse_closed()
                    broken: Exception | None = None
                    try:
                        if self._exchange is None:
                            self._state.begin()
                            self._request()
                        chunk = self._gather()
                    except RemoteConnectionError as exc:
                        broken, chunk = exc, b""
                        if time_left() == 0:
                            raise
                    if chunk:
                        self._state.take(chunk)
                        if not self._state:
                            self._drop(is_read=True)
                        return chunk
                    self._drop()
                    self.pause(self._state.retry_delay(broken))
            except BaseException as exc:
                self._drop()
                if isinstance(exc, Exception):
                    self.refuse_closed()
                raise
        raise StopIteration

    def _begin_anew_in_child(self) -> None:
        if self._generation != generation():
            self._generation = generation()
            self._exchange, self._busy = None, threading.Lock()  # the connection is the parent's

    def _drop(self, *, is_read: bool = False) -> None:
        exchange, self._exchange, self._broken = self._exchange, None, None
        if exchange is not None:
            exchange.close(is_read=is_read)

    # The body.

    def _gather(self) -> bytes:
        """Return the next bytes, at least `CHUNK_SIZE` unless the body ends; b"" if it has ended."""
        assert self._exchange is not None
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken
        parts: list[bytes] = []
        size, begun = 0, time.monotonic()
        while size < CHUNK_SIZE:
            try:
                data = self._read_some(begun, size)
            except RemoteConnectionError as exc:
                if not parts or time_left() == 0:
                    raise
                self._broken = exc
                break
            if not data:
                break
            parts.append(data)
            size += len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_some(self, begun: float, size: int) -> bytes:
        exchange = self._exchange
        assert exchange is not None
        now, settings = time.monotonic(), self._source.settings
        left = time_left()
        if left == 0:
            raise_late(self.where, self._source.waiting.deadline)
        if now > self._until:
            raise RemoteConnectionError(f"{self.where}: the server did not send the range in time")
        if now - begun > settings.read_timeout and size < LEAST_RATE * (now - begun):
            raise RemoteConnectionError(f"{self.where}: the server sends less than {LEAST_RATE} bytes a second")
        limits = [settings.read_timeout, self._until - now, *([] if left is None else [left])]
        exchange.limit(min(limits))
        try:
            data: bytes = exchange.response.read1(_READ_SIZE)
        except Exception as exc:
            self.refuse_closed()
            if time_left() == 0:
                raise_late(self.where, self._source.waiting.deadline)
            raise map_http_error(exc, self.where)[0] from None
        self.refuse_closed()
        return data

    # Requests.

    def _request(self) -> None:
        """Request the bytes from the current position on."""
        source, at, stop = self._source, self._state.at, self._state.stop
        whole = (at, stop) == (0, source.size)
        response = self._ask("GET", {} if whole else {"Range": f"bytes={at}-{stop - 1}"})
        if response.status not in (200, 206):
            self._raise_status(response)
        if response.status == 200 and not whole:
            raise ranges_ignored(self.where)
        meta, found = self._checked_meta(response)
        if source.version is not None and not source.version.matches({**meta, "size": meta["size"] or source.size}):
            raise source.changed
        if response.status == 206 and (found is None or found.start != at):
            raise RangesUnsupportedError(
                f"{self.where} cannot be read by ranges: asked for bytes {at} to {stop - 1}, the server sends "
                f"{short_repr(response.headers.get('Content-Range', 'no Content-Range'))}"
            )

    def _ask(self, method: str, fields: Mapping[str, str]) -> Any:
        """Send a request, and repeat it while the failure is transient. Returns the response."""
        tries = Tries(self._source.waiting, self.where)
        while True:
            self._exchange = exchange = Exchange()
            self.refuse_closed()
            after: float | None = None
            self._until = time.monotonic() + self._source.settings.timeout
            try:
                response = self._source.send(method, fields, exchange)
            except Exception as exc:
                self.refuse_closed()
                if time_left() == 0:
                    raise_late(self.where, self._source.waiting.deadline)
                error, is_passing = map_http_error(exc, self.where)
                if not is_passing or (self._source.version is None and is_unknown_host(error)):
                    if error is exc:
                        raise
                    raise error from None
                failure = exc
                make = lambda often: map_http_error(failure, self.where, often)[0]  # noqa: B023, E731
            else:
                if not is_transient_status(response.status):
                    return response
                after = retry_after_of(response.headers.get("Retry-After"))
                said = answer_of(response)
                make = lambda often: RemoteError(f"{self.where}: {said}{often}")  # noqa: B023, E731
            self._drop()
            self.pause(tries.pause(make, after))

    def _raise_status(self, response: Any) -> None:
        status, said = response.status, answer_of(response)
        if status in (401, 403, 407):
            raise RemotePermissionError(f"{self.where}: access denied: {said}") from None
        if status in (404, 410):
            raise RemoteNotFoundError(f"{self.where} does not exist: {said}") from None
        if status == 412 or (status == 416 and self._source.version is not None and self._has_shrunk(response)):
            raise self._source.changed from None
        if status == 416:
            raise RangesUnsupportedError(f"{self.where}: the server rejected the requested range: {said}") from None
        raise RemoteError(f"{self.where}: {said}") from None

    def _has_shrunk(self, response: Any) -> bool:
        found = _range_in(response)
        return found is None or found.size != self._source.size

    def _checked_meta(self, response: Any) -> tuple[dict[str, Any], _Range | None]:
        """Return the object's metadata, as obstore has it, and the range of the body."""
        require_plain(self.where, response.headers.get("Content-Encoding"))
        if response.headers.get("Content-Type", "").lower().startswith("multipart/byteranges"):
            raise RangesUnsupportedError(f"{self.where} cannot be read by ranges: the server sends them as multipart")
        found = _range_in(response) if response.status == 206 else None
        length = response.headers.get("Content-Length", "")
        size = found.size if found else int(length) if _LENGTH.fullmatch(length) and response.status == 200 else None
        date = date_in(response.headers.get("Last-Modified")) or NO_DATE
        return {"size": size, "e_tag": response.headers.get("ETag"), "last_modified": date}, found

    # The end of the object.

    def end_of_object(self, size: int) -> bytes:
        """Return the last `size` bytes, and fix the version of the object."""
        self._begin_anew_in_child()
        source = self._source
        with call_within(source.waiting.deadline):
            with self._busy:
                try:
                    start, parts = self._suffix(size)
                except BaseException:
                    self._drop()
                    raise
                at = start + sum(map(len, parts))
                self._drop(is_read=at == source.size)
            with closing(source.chunks(at, source.size)) as rest:
                return b"".join([*parts, *rest])

    def _suffix(self, size: int) -> tuple[int, list[bytes]]:
        """Request the last `size` bytes. Returns their offset, and the bytes that have arrived."""
        source = self._source
        response = self._ask("GET", {"Range": f"bytes=-{size}"})
        status = response.status
        if status in (401, 403, 404, 407, 410, 412):
            self._raise_status(response)
        meta, found = self._checked_meta(response) if status in (200, 206) else ({}, _range_in(response))
        if status == 206 and found and found.size is not None:
            start = max(0, found.size - size)
            if (found.start, found.stop) == (start, found.size):
                source.set_version(meta)
                return start, self._rest(found.size - start)
        if status == 200 and meta["size"] is not None and meta["size"] <= size:
            source.set_version(meta)
            return 0, self._rest(meta["size"])
        refusal = None if status in (200, 206, 416) else RemoteError(f"{self.where}: {answer_of(response)}")
        self._drop()
        if status != 200 or meta["size"] is None:
            meta = self._size(refusal)
        source.set_version(meta)
        return max(0, source.size - size), []

    def _rest(self, size: int) -> list[bytes]:
        """Return the body, or the part of it that arrives before the connection breaks."""
        parts: list[bytes] = []
        got = 0
        try:
            while got < size and (chunk := self._gather()):
                parts.append(chunk)
                got += len(chunk)
        except RemoteConnectionError:
            if time_left() == 0:
                raise
        if got > size:
            raise RemoteError(f"{self.where}: received more bytes than the {size} requested")
        return parts

    def _size(self, refusal: RemoteError | None) -> dict[str, Any]:
        """Return the object's metadata, from a HEAD, or from a request for the first byte."""
        response = self._ask("HEAD", {})
        if response.status == 200:
            meta, _ = self._checked_meta(response)
            self._drop(is_read=True)
            if meta["size"] is not None:
                return meta
        self._drop()
        response = self._ask("GET", {"Range": "bytes=0-0"})
        found = _range_in(response)
        if response.status == 416 and found and found.size == 0:
            return {"size": 0, "e_tag": None, "last_modified": NO_DATE}
        if response.status not in (200, 206):
            if refusal is not None:
                raise refusal
            self._raise_status(response)
        meta, _ = self._checked_meta(response)
        if meta["size"] is None:
            raise RangesUnsupportedError(f"{self.where} cannot be read by ranges: the server does not state its size")
        return meta


def _range_in(response: Any) -> _Range | None:
    """Return the Content-Range of a response; None if it has none, or an invalid one."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if found is None:
        return None
    size = None if found[3] == "*" else int(found[3])
    return _Range(None, None, size) if found[1] is None else _Range(int(found[1]), int(found[2]) + 1, size)
