"""Objects read by byte ranges: in a store, on an HTTP server, or behind a fetch function of the caller.

All ranges belong to one version of the object. The first response fixes that version: by the ETag, sent as If-Match
(RFC 9110, section 13.1.1) and compared with each response; if the ETag is missing or weak, by date and size.
A body that breaks off is requested again from there. The number of retries is unlimited as long as each try brings
bytes at `LEAST_RATE`; up to `MAX_EMPTY_TRIES` tries in a row may bring none, or fewer.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, closing
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from .._checks import count_of, typed_repr
from .._concurrency.closing import snapshot
from ..errors import (
    BadArchiveError,
    OptionError,
    RangesUnsupportedError,
    RemoteConnectionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SourceChangedError,
    StreamClosedError,
)
from .background import background, call_in_time, check_fork, hold_for, wait_in_time
from .stores import import_obstore, is_transient, map_error, map_errors
from .waiting import WAITING, Tries, Waiting, call_within, is_unknown_host, raise_late, time_left

T = TypeVar("T")
MAX_EMPTY_TRIES = 5
CHUNK_SIZE = 1 << 18  # least bytes of a body to wait for at a time
LEAST_RATE = 1024  # bytes per second; a slower body counts as broken
_FIRST_PAUSE_S = 0.1  # seconds before the first retry that follows an empty try; doubled each time
NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)  # obstore's value for a missing date


def part_end(at: int, stop: int, part_size: int) -> int:
    """Return the end of the part that starts at `at`. The last part may be up to an eighth longer than `part_size`."""
    left = stop - at
    return stop if left <= part_size + part_size // 8 else at + part_size


class ObjectVersion(NamedTuple):
    """Size, ETag and date that every response must confirm."""

    size: int
    etag: str | None
    modified: datetime

    @classmethod
    def from_meta(cls, meta: Any) -> ObjectVersion:
        """Return the version described by obstore's ObjectMeta."""
        return cls(meta["size"], meta["e_tag"], meta["last_modified"])

    @property
    def condition(self) -> dict[str, Any]:
        """The version as a condition in obstore's GetOptions; empty if there is none to send."""
        if self.etag and not self.etag.startswith(
            "W/"
        ):  # If-Match uses strong comparison, which a weak ETag never passes
            return {"if_match": self.etag}
        return {} if self.modified == NO_DATE else {"if_unmodified_since": self.modified}

    def matches(self, meta: Any) -> bool:
        """Whether obstore's ObjectMeta describes this version.

        Equal ETags and sizes suffice: servers behind one name can report different dates.
        """
        same = meta["e_tag"] == self.etag if self.etag else meta["last_modified"] == self.modified
        return bool(same) and meta["size"] == self.size


class Chunks(Iterator[bytes]):
    """The bytes of a range as they arrive. One thread iterates; any thread may call `close`, which ends the request.

    The thread that waits for bytes meanwhile gets StreamClosedError at once.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._stop = threading.Event()

    @property
    def is_closed(self) -> bool:
        return self._stop.is_set()

    def __next__(self) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        self._stop.set()

    def refuse_closed(self) -> None:
        """Raise StreamClosedError if another thread has closed the chunks."""
        if self.is_closed:
            raise StreamClosedError(f"{self.where}: closed while it was read")

    def end_after(self, failure: BaseException) -> None:
        """Close the chunks after a failure. Raises StreamClosedError if it came because another thread closed them."""
        closed = self.is_closed
        self.close()
        if closed and isinstance(failure, Exception):
            self.refuse_closed()

    def pause(self, seconds: float) -> None:
        """Wait before the next request."""
        if seconds and self._stop.wait(seconds):
            self.refuse_closed()


class RemoteObject:
    """Interface through which the readers access an object.

    Implemented by `HttpObject`, `StoreObject` and `FetchedObject`.

    Attributes:
        where: name of the object in errors, without credentials.
        size: bytes in the object; known once `tail` has returned.
        version: the version that every response must confirm; None if unknown, or if the object has none.
        waiting: how long requests are repeated, and calls may take.
    """

    where: str
    size: int = 0
    version: ObjectVersion | None = None
    waiting = WAITING
    _open: weakref.WeakSet[Chunks]

    def tail(self, size: int) -> bytes:
        """Return the last `size` bytes, or the whole object if it is shorter. Call this first, and once."""
        raise NotImplementedError

    async def atail(self, size: int) -> bytes:
        """Like `tail`, on the event loop."""
        raise NotImplementedError

    def chunks(self, start: int, stop: int) -> Chunks:
        """Return the bytes from `start` to `stop` as they arrive. Closing the chunks ends the request."""
        made = self._make_chunks(start, stop)
        vars(self).setdefault("_open", weakref.WeakSet()).add(made)
        return made

    def _make_chunks(self, start: int, stop: int) -> Chunks:
        raise NotImplementedError

    def achunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Like `chunks`, on the event loop."""
        raise NotImplementedError

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`."""
        with closing(self.chunks(start, stop)) as chunks:
            return b"".join(chunks)

    async def aread(self, start: int, stop: int) -> bytes:
        """Like `read`, on the event loop."""
        async with aclosing(self.achunks(start, stop)) as chunks:
            return b"".join([chunk async for chunk in chunks])

    def set_version(self, meta: Any) -> None:
        """Fix the version, as obstore's ObjectMeta describes it. Raises BadArchiveError if the object is empty."""
        self.version = ObjectVersion.from_meta(meta)
        self._set_size(self.version.size)

    def _set_size(self, size: int) -> None:
        self.size = size
        if not size:
            raise BadArchiveError(f"{self.where} is not a zip archive: it is empty")

    def stop(self) -> None:
        """End all requests of `chunks` and `read`, on all threads."""
        for chunks in snapshot(vars(self).get("_open", ())):
            chunks.close()

    def release(self) -> None:
        """Give back the resources shared with other objects. Using the object again takes them again."""


class BodyProgress:
    """Position in a body that may have to be requested again."""

    def __init__(self, where: str, start: int, stop: int, waiting: Waiting = WAITING) -> None:
        self._where = where
        self._try_start = self.at = start
        self.stop = stop
        self._tries = Tries(
            waiting._replace(max_tries=MAX_EMPTY_TRIES + 1, first_pause=min(_FIRST_PAUSE_S, waiting.first_pause)), where
        )
        self._begun = time.monotonic()

    def __bool__(self) -> bool:
        """Whether bytes are missing."""
        return self.at < self.stop

    def take(self, chunk: bytes) -> None:
        self.at += len(chunk)
        if self.at > self.stop:
            raise RemoteError(f"{self._where}: received more bytes than the {self.stop - self._try_start} requested")

    def begin(self) -> None:
        """Record that a request begins."""
        self._begun = time.monotonic()

    def retry_delay(self, error: Exception | None) -> float:
        """Return the seconds to wait after a body ended, by `error` or short, before the next request.

        Raises `error`, or RemoteError, after too many tries in a row that brought too little.
        """
        gained, self._try_start = self.at - self._try_start, self.at
        if not self:
            return 0
        if gained and gained >= LEAST_RATE * (time.monotonic() - self._begun - 0.1):
            self._tries.progress()
            return 0
        short = f"{self._where}: the body ended at byte {self.at}, before byte {self.stop}"
        return self._tries.pause(lambda _: error or RemoteError(short))


def range_of(wanted: Any, size: int) -> dict[str, Any]:
    """Return `wanted` as obstore's GetOptions; empty for the whole, which needs no range."""
    return {} if wanted in (None, (0, size)) else {"range": wanted}


class StoreObject(RemoteObject):
    """The object at `path` in an obstore store.

    Args:
        where: name of the object in errors.
        version: the version to read; None for the one that the first response describes.
        since, advice: parts of the error that is raised if the object has another version now.
        waiting: limits. Without `is_patient`, only the deadline counts.
        is_patient: whether requests are repeated here. If not, the store's own options say how often.
    """

    def __init__(
        self,
        store: Any,
        path: str,
        where: str,
        version: ObjectVersion | None = None,
        since: str = "it was opened",
        advice: str = "Open it again",
        waiting: Waiting = WAITING,
        is_patient: bool = False,
    ) -> None:
        self._obstore = import_obstore()
        check_fork()
        self._store = store
        self._path = path
        self.where = where
        self.version = version
        self.size = 0 if version is None else version.size
        self.waiting = waiting
        self._is_patient = is_patient
        self._changed = f"{where} has changed since {since}: the object was replaced. {advice}"

    def tail(self, size: int) -> bytes:
        return self._call(lambda: self._tail(size))

    async def atail(self, size: int) -> bytes:
        async with within_deadline(self.waiting.deadline, self.where):
            return await self._tail(size)

    def confirm(self) -> None:
        """Make a request that fails if the object has another version. (Empty objects have no bytes to read.)"""
        self._call(lambda: self._get(None))

    def _call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with call_within(self.waiting.deadline):
            return call_in_time(make, self.where)

    async def _tail(self, size: int) -> bytes:
        parts: list[bytes] = []
        at = await self._open_end(size)
        if not isinstance(at, int):
            result, at = at, at.range[0]
            try:
                parts.extend([bytes(chunk) async for chunk in result.stream(min_chunk_size=CHUNK_SIZE)])
            except Exception as exc:
                self._require_resumable(exc)
        at += sum(map(len, parts))
        return b"".join([*parts, *[chunk async for chunk in self._bytes(at, self.size)]])

    async def _open_end(self, size: int) -> Any:
        """Return obstore's result for the last `size` bytes, or their offset if they need a plain range.

        Azure has no suffix ranges; other stores refuse them, ignore them, or send the first bytes.
        """
        refusal: Exception | None = None
        if type(self._store).__name__ != "AzureStore":
            try:
                result = await self._get({"suffix": size})
            except (RemoteNotFoundError, RemotePermissionError, RemoteConnectionError, SourceChangedError):
                raise
            except RemoteError as exc:
                refusal = exc
            else:
                start = max(0, result.meta["size"] - size)
                if tuple(result.range) == (start, result.meta["size"]):
                    self.set_version(result.meta)
                    return result
        try:
            self.set_version(await self._retried(self._head))
        except RemoteError as exc:
            raise refusal or exc from None
        return max(0, self.size - size)

    async def _head(self) -> Any:
        with map_errors(self.where):
            return await self._obstore.head_async(self._store, self._path)

    def _require_resumable(self, exc: Exception) -> Exception:
        """Return `exc`, which ended a body, as a RemoteError if the request can be repeated; else raise it."""
        error = self._refused(map_error(exc, self.where))
        if error is exc or not isinstance(error, RemoteError):
            raise exc if error is exc else error from None
        return error

    def _make_chunks(self, start: int, stop: int) -> Chunks:
        return _LoopChunks(self, start, stop)

    async def achunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        chunks = self._bytes(start, stop)
        try:
            while True:
                async with within_deadline(self.waiting.deadline, self.where):
                    chunk = await anext(chunks, b"")
                if not chunk:
                    return
                yield chunk
        finally:
            await chunks.aclose()

    async def _bytes(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        state = BodyProgress(self.where, start, stop, self.waiting)
        while state:
            broken: Exception | None = None
            state.begin()
            body = (await self._get((state.at, stop))).stream(min_chunk_size=CHUNK_SIZE)
            try:
                while chunk := await self._next_of(body):
                    state.take(chunk)
                    yield chunk
            except self._obstore.exceptions.BaseError as exc:
                broken = self._require_resumable(exc)
            except TimeoutError:
                broken = RemoteConnectionError(f"{self.where}: the server sends less than {LEAST_RATE} bytes a second")
            finally:
                del body  # ends a running request; a reference from a traceback would keep it alive
            await asyncio.sleep(state.retry_delay(broken))

    async def _next_of(self, body: Any) -> bytes:
        if not self._is_patient:
            return await anext(body, b"")
        async with asyncio.timeout(CHUNK_SIZE / LEAST_RATE):
            return await anext(body, b"")

    async def _get(self, wanted: Any) -> Any:
        options = {**range_of(wanted, self.size), **(self.version.condition if self.version else {})}
        try:
            result = await self._retried(lambda: self._get_once(options))
        except (RangesUnsupportedError, SourceChangedError) as exc:
            raise self._refused(exc) from None
        self._require_plain(result)
        return self._require_version(result)

    async def _get_once(self, options: Any) -> Any:
        with map_errors(self.where):
            return await self._obstore.get_async(self._store, self._path, options=options)

    async def _retried(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        tries = Tries(self.waiting, self.where)
        while True:
            try:
                return await ask()
            except RemoteError as exc:
                if not (self._is_patient and is_transient(exc)) or (self.version is None and is_unknown_host(exc)):
                    raise
                failure = exc
            await asyncio.sleep(tries.pause(lambda often: _with_tries(failure, often)))  # noqa: B023

    def _refused(self, exc: Exception) -> Exception:
        """Return the error for a range or a condition that the server refused. The object may be shorter now."""
        replaced = isinstance(exc, SourceChangedError) or (self.version is not None and "416" in str(exc))
        return SourceChangedError(self._changed) if replaced else exc

    def _require_plain(self, result: Any) -> None:
        """Raise RangesUnsupportedError if the range was taken from a compressed form of the object."""
        # In a bucket, it is only an attribute of the object.
        if type(self._store).__name__ == "HTTPStore":
            require_plain(self.where, result.attributes.get("Content-Encoding"))

    def _require_version(self, result: Any) -> Any:
        """Return `result` if it belongs to the version: some servers ignore conditions."""
        if self.version is not None and not self.version.matches(result.meta):
            raise SourceChangedError(self._changed)
        return result


_COMPRESSIONS = {"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"}


def require_plain(where: str, encodings: str | None) -> None:
    """Raise RangesUnsupportedError for a range of another form of the object than its own bytes.

    encodings: the field Content-Encoding, a list (RFC 9110, section 8.4).
    """
    named = {encoding.strip().lower() for encoding in (encodings or "").split(",")}
    if compression := min(named & _COMPRESSIONS, default=None):
        raise RangesUnsupportedError(
            f"{where} cannot be read by ranges: the server compresses its answers (Content-Encoding: {compression}), "
            "also those to ranges, which then lack the archive's bytes. Disable compression of archives on the server"
        )


def _with_tries(exc: RemoteError, often: str) -> Exception:
    """Return the error with the number of tries inserted between the fault and its cause."""
    for fault in ("could not be reached", "did not respond in time", "the connection broke"):
        if fault in str(exc):
            return type(exc)(str(exc).replace(fault, fault + often, 1))
    return type(exc)(f"{exc}{often}")


class within_deadline:
    """Asynchronous context manager that raises RemoteTimeoutError after `deadline` seconds."""

    def __init__(self, deadline: float | None, where: str) -> None:
        self._timeout = asyncio.timeout(deadline)
        self._deadline, self._where = deadline, where

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *failure: Any) -> None:
        try:
            await self._timeout.__aexit__(*failure)
        except TimeoutError:
            if self._timeout.expired():
                raise_late(self._where, self._deadline)
            raise


class _LoopChunks(Chunks):
    """A StoreObject's chunks, of requests that the background loop drives."""

    def __init__(self, source: StoreObject, start: int, stop: int) -> None:
        super().__init__(source.where)
        check_fork()
        self._deadline = source.waiting.deadline
        self._body = source._bytes(start, stop)
        self._release: Any = hold_for(self)
        self._lock = threading.RLock()
        self._future: Any = None

    def __next__(self) -> bytes:
        check_fork()
        try:
            with call_within(self._deadline):
                with self._lock:
                    self.refuse_closed()
                    body = self._body
                    self._future = background.start(lambda: anext(body, b""))
                chunk: bytes = wait_in_time(self._future, self.where)
        except BaseException as exc:
            self.end_after(exc)  # CancelledError, or obstore's error at the end of a request that was dropped
            raise
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        super().close()
        with self._lock:  # the thread that iterates may be closing too
            if not self._release.alive:
                return
            if self._future is not None:
                self._future.cancel()
            # The cancelled step runs first, in the order of the loop's callbacks.
            body = self._body
            if not background.is_ending:
                background.start(lambda: _aclosed(body))
            self._release()


async def _aclosed(body: AsyncGenerator[bytes, None]) -> None:
    for _ in range(100):
        try:
            await body.aclose()
        except RuntimeError:  # a cancelled step is about to end
            await asyncio.sleep(0.01)
        else:
            return


def function_name(function: Any) -> str:
    """Return the name of a function, or of a callable's class. Its repr might contain large data."""
    name: str = getattr(function, "__qualname__", "") or type(function).__qualname__
    return name


class FetchedObject(RemoteObject):
    """An object behind the caller's ``fetch(start, stop)``, which returns those bytes or a first part of them.

    Exceptions raised by `fetch` pass through.

    Args:
        fetch: the caller's function.
        size: bytes in the object.
        max_fetch: most bytes requested in one call.
    """

    def __init__(
        self, fetch: Callable[[int, int], Any], size: int | None, max_fetch: int, waiting: Waiting = WAITING
    ) -> None:
        number = count_of(size)
        if number is None:
            raise OptionError(f"size={typed_repr(size)}: give the object's size in bytes with a fetch function")
        self._fetch = fetch
        self._max_fetch = max_fetch
        self.waiting = waiting
        self.size = number
        self.where = f"fetch function {function_name(fetch)!r}"

    def tail(self, size: int) -> bytes:
        self._set_size(self.size)
        return self.read(max(0, self.size - size), self.size)

    async def atail(self, size: int) -> bytes:
        return await self._on_thread(lambda: self.tail(size))

    def _make_chunks(self, start: int, stop: int) -> Chunks:
        return _FetchedChunks(self, start, stop)

    async def achunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        state = BodyProgress(self.where, start, stop)
        while state:
            state.begin()
            async with within_deadline(self.waiting.deadline, self.where):
                chunk = await self._on_thread(lambda: self.fetch_some(state.at, stop))
            state.take(chunk)
            if chunk:
                yield chunk
            await asyncio.sleep(state.retry_delay(None))

    async def _on_thread(self, function: Callable[[], bytes]) -> bytes:
        from .._concurrency.offload import on_thread

        data: bytes = await on_thread(function, f"reading {self.where}")
        return data

    def fetch_some(self, start: int, stop: int) -> bytes:
        data = self._fetch(start, part_end(start, stop, self._max_fetch))
        try:
            return data if type(data) is bytes else bytes(memoryview(data))
        except TypeError as exc:
            raise OptionError(f"{self.where} returned {typed_repr(data)} for ({start}, {stop}): return bytes") from exc


class _FetchedChunks(Chunks):
    """A FetchedObject's chunks. A call of the caller's function cannot be ended; a deadline counts between calls."""

    def __init__(self, source: FetchedObject, start: int, stop: int) -> None:
        super().__init__(source.where)
        self._source = source
        self._state = BodyProgress(source.where, start, stop)

    def __next__(self) -> bytes:
        with call_within(self._source.waiting.deadline):
            while self._state:
                self.refuse_closed()
                if time_left() == 0:
                    raise_late(self.where, self._source.waiting.deadline)
                self._state.begin()
                chunk = self._source.fetch_some(self._state.at, self._state.stop)
                self._state.take(chunk)
                delay = self._state.retry_delay(None)
                if chunk:
                    return chunk
                self.pause(delay)
        raise StopIteration
