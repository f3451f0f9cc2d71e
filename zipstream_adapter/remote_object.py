"""An object that is read by ranges: of a store or an HTTP server, or behind a function of the caller's.

All ranges are of the same bytes. What a store tells of the object with the first answer pins it: by its ETag, sent as
If-Match (RFC 9110 section 13.1.1) and compared; where that is none or weak, by its date and size. A body that breaks
off is asked for again from there: as often as each time brings at least a byte, and up to `IDLE` times in a row where
it brings none.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, NamedTuple

from .counts import is_count
from .errors import (
    BadArchiveError,
    OptionError,
    RangesUnsupportedError,
    RemoteError,
    SourceChangedError,
)
from .fields import described
from .remote_store import import_obstore, translated, translating

IDLE = 5
CHUNK = 1 << 18  # bytes of a body that are waited for at a time
_FIRST_PAUSE = 0.1  # seconds, before what has brought nothing is tried again; doubled each time
_NO_DATE = datetime(1970, 1, 1, tzinfo=UTC)  # what obstore says where there is none


def part_end(at: int, stop: int, part_size: int) -> int:
    """Where a part that begins at `at` ends: no last one is much shorter than the others."""
    left = stop - at
    return stop if left <= part_size + part_size // 8 else at + part_size


class Pin(NamedTuple):
    """What all answers have to say of the object."""

    size: int
    etag: str | None
    modified: datetime

    @classmethod
    def of(cls, meta: Any) -> Pin:
        """What obstore tells of it."""
        return cls(meta["size"], meta["e_tag"], meta["last_modified"])

    @property
    def condition(self) -> dict[str, Any]:
        """As obstore's GetOptions have it."""
        if self.etag and not self.etag.startswith("W/"):  # If-Match compares strongly, and so never holds for those
            return {"if_match": self.etag}
        return {} if self.modified == _NO_DATE else {"if_unmodified_since": self.modified}

    def fits(self, meta: Any) -> bool:
        """Whether obstore tells it of the same object. Of dates, servers behind one name can have their own."""
        now = Pin.of(meta)
        return now == self or (bool(self.etag) and self[:2] == now[:2])


class RemoteObject:
    """What the readers need of an object; `StoreObject` and `FetchedObject` have it.

    Attributes:
        where: how errors name it: without credentials.
        size: bytes in it, from `tail` on.
    """

    where: str
    size: int = 0

    def tail(self, size: int) -> bytes:
        """The last `size` bytes, or all. To be called first, once."""
        raise NotImplementedError

    async def atail(self, size: int) -> bytes:
        """Likewise, on the loop."""
        raise NotImplementedError

    def chunks(self, start: int, stop: int) -> Generator[bytes, None, None]:
        """The bytes from `start` to `stop`, as they come; closing it ends the request."""
        raise NotImplementedError

    def achunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Likewise, on the loop."""
        raise NotImplementedError

    def read(self, start: int, stop: int) -> bytes:
        """All of them at once."""
        with closing(self.chunks(start, stop)) as chunks:
            return b"".join(chunks)


class _Resuming:
    """Where a body stands that may have to be asked for again."""

    def __init__(self, where: str, start: int, stop: int) -> None:
        self._where = where
        self._began = self.at = start
        self.stop = stop
        self._idle = 0

    def __bool__(self) -> bool:
        """Whether there is more to ask for."""
        return self.at < self.stop

    def take(self, chunk: bytes) -> None:
        self.at += len(chunk)
        if self.at > self.stop:
            raise RemoteError(f"{self._where}: more bytes came than the {self.stop - self._began} that were asked for")

    def ended(self, error: Exception | None) -> float:
        """The body has ended, by `error` or short: seconds to wait before the next; raises where it is enough."""
        moved, self._began = self.at > self._began, self.at
        if not self:
            return 0
        self._idle = 0 if moved else self._idle + 1
        if self._idle > IDLE:
            raise error or RemoteError(f"{self._where}: its bytes end at {self.at}, before {self.stop}")
        return _FIRST_PAUSE * 2 ** (self._idle - 1) if self._idle else 0


class StoreObject(RemoteObject):
    """An object at `path` in an obstore store. Each request is tried again as the store's own options say."""

    def __init__(self, store: Any, path: str, where: str) -> None:
        self._obstore = import_obstore()
        self._store = store
        self._path = path
        self.where = where
        self.pin: Pin | None = None

    def tail(self, size: int) -> bytes:
        parts: list[bytes] = []
        try:
            result = self._get({"suffix": size})
        except RangesUnsupportedError:
            # Of a suffix, perhaps, or as there is nothing in it. It costs a request to know.
            with translating(self.where):
                meta = self._obstore.head(self._store, self._path)
            at = self._begin(meta, max(0, meta["size"] - size))
        else:
            at = self._begin(result.meta, result.range[0])
            try:
                parts.extend(list(result.stream(min_chunk_size=CHUNK)))
            except Exception as exc:
                self._refuse_unless_broken(exc)
        return b"".join([*parts, self.read(at + sum(map(len, parts)), self.size)])

    async def atail(self, size: int) -> bytes:
        parts: list[bytes] = []
        try:
            result = await self._aget({"suffix": size})
        except RangesUnsupportedError:
            with translating(self.where):
                meta = await self._obstore.head_async(self._store, self._path)
            at = self._begin(meta, max(0, meta["size"] - size))
        else:
            at = self._begin(result.meta, result.range[0])
            try:
                parts.extend([chunk async for chunk in result.stream(min_chunk_size=CHUNK)])
            except Exception as exc:
                self._refuse_unless_broken(exc)
        at += sum(map(len, parts))
        return b"".join([*parts, *[chunk async for chunk in self.achunks(at, self.size)]])

    def _begin(self, meta: Any, start: int) -> int:
        self.pin = Pin.of(meta)
        self.size = self.pin.size
        if not self.size:
            raise BadArchiveError(f"{self.where} is no zip archive: it is empty")
        return start

    def _refuse_unless_broken(self, exc: Exception) -> Exception:
        """`exc`, which a body has ended with, if it can be asked for again."""
        error = translated(exc, self.where)
        if error is exc or not isinstance(error, RemoteError):
            raise exc if error is exc else error from None
        return error

    def chunks(self, start: int, stop: int) -> Generator[bytes, None, None]:
        state = _Resuming(self.where, start, stop)
        while state:
            broken: Exception | None = None
            body = self._get((state.at, stop)).stream(min_chunk_size=CHUNK)
            try:
                while chunk := next(body, b""):
                    state.take(chunk)
                    yield chunk
            except self._obstore.exceptions.BaseError as exc:
                broken = self._refuse_unless_broken(exc)
            finally:
                del body  # which ends a request that is under way; a traceback would keep it
            time.sleep(state.ended(broken))

    async def achunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        import asyncio

        state = _Resuming(self.where, start, stop)
        while state:
            broken: Exception | None = None
            body = (await self._aget((state.at, stop))).stream(min_chunk_size=CHUNK)
            try:
                while chunk := await anext(body, b""):
                    state.take(chunk)
                    yield chunk
            except self._obstore.exceptions.BaseError as exc:
                broken = self._refuse_unless_broken(exc)
            finally:
                del body
            await asyncio.sleep(state.ended(broken))

    def _options(self, wanted: Any) -> dict[str, Any]:
        return {"range": wanted, **(self.pin.condition if self.pin else {})}

    def _get(self, wanted: Any) -> Any:
        try:
            with translating(self.where):
                result = self._obstore.get(self._store, self._path, options=self._options(wanted))
        except RangesUnsupportedError as exc:
            raise self._refused(exc) from None
        return self._checked(result)

    async def _aget(self, wanted: Any) -> Any:
        try:
            with translating(self.where):
                result = await self._obstore.get_async(self._store, self._path, options=self._options(wanted))
        except RangesUnsupportedError as exc:
            raise self._refused(exc) from None
        return self._checked(result)

    def _refused(self, exc: RangesUnsupportedError) -> Exception:
        if self.pin is None or "416" not in str(exc):
            return exc
        return SourceChangedError(f"{self.where} has changed since it was opened: it has become shorter")

    def _checked(self, result: Any) -> Any:
        """`result`, if it is of the object that was opened: not every server minds conditions."""
        if self.pin is not None and not self.pin.fits(result.meta):
            raise SourceChangedError(f"{self.where} has changed since it was opened: open it again")
        return result


def name_of(function: Any) -> str:
    """A name of a function, or of the class of something that can be called: its repr might be all its data."""
    name: str = getattr(function, "__qualname__", "") or type(function).__qualname__
    return name


class FetchedObject(RemoteObject):
    """What is behind the caller's `fetch(start, stop)`, which returns the bytes from `start` to `stop`, or some first
    ones of them, and is asked for `most` at a time. What it raises passes through.
    """

    def __init__(self, fetch: Callable[[int, int], Any], size: int | None, most: int) -> None:
        if not is_count(size):
            raise OptionError(f"size={described(size)}: a fetch function needs the object's size, in bytes")
        assert size is not None
        self._fetch = fetch
        self._most = most
        self.size = size
        self.where = f"fetch function {name_of(fetch)!r}"

    def tail(self, size: int) -> bytes:
        if not self.size:
            raise BadArchiveError(f"{self.where} is no zip archive: it is empty")
        return self.read(max(0, self.size - size), self.size)

    async def atail(self, size: int) -> bytes:
        return await self._on_thread(lambda: self.tail(size))

    def chunks(self, start: int, stop: int) -> Generator[bytes, None, None]:
        state = _Resuming(self.where, start, stop)
        while state:
            chunk = self._fetched(state.at, stop)
            state.take(chunk)
            if chunk:
                yield chunk
            time.sleep(state.ended(None))

    async def achunks(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        import asyncio

        state = _Resuming(self.where, start, stop)
        while state:
            chunk = await self._on_thread(lambda: self._fetched(state.at, stop))
            state.take(chunk)
            if chunk:
                yield chunk
            await asyncio.sleep(state.ended(None))

    async def _on_thread(self, function: Callable[[], bytes]) -> bytes:
        from .aio_threads import StepThreads

        threads = StepThreads()
        try:
            data: bytes = await threads.run(function)
            return data
        finally:
            threads.close()

    def _fetched(self, start: int, stop: int) -> bytes:
        data = self._fetch(start, part_end(start, stop, self._most))
        try:
            return data if type(data) is bytes else bytes(memoryview(data))
        except TypeError as exc:
            raise OptionError(f"{self.where} returned {described(data)} for ({start}, {stop}): give bytes") from exc
