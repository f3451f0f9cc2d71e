"""Byte ranges of an object, fetched in parts by several threads and delivered in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from ..._concurrency.threads import Lease, ThreadPool
from ..objects import Chunks, RemoteObject, part_end
from ..waiting import raise_late, time_left

if TYPE_CHECKING:
    from concurrent.futures import Future

P = TypeVar("P")
# Threads only wait for the network, so there may be more of them than cores.
_MAX_THREADS = 32
# Bytes to read of a member before further parts of it are fetched.
READAHEAD_MIN_BYTES = 1 << 17

# Do not wait for running requests on shutdown: the server may hang.
_pool = ThreadPool("zipstream-adapter-range", lambda: _MAX_THREADS, waits=False)


def range_threads() -> Lease:
    """Return a lease on the threads that all remote archives of the process share."""
    return Lease(_pool)


class RangePart:
    """Bytes `start` to `stop` of an object, being fetched. Readers are notified as data arrives."""

    def __init__(self, source: RemoteObject, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self._source = source
        self._moved = threading.Condition()
        self._ended = self._dropped = False
        self._error: BaseException | None = None
        self._future: Future[None] | None = None
        self._body: Chunks | None = None

    def start_on(self, threads: Lease) -> bool:
        """Fetch the part on a thread. Returns False if no thread is available, as at interpreter shutdown."""
        try:
            self._future = threads.executor.submit(self.run)
        except RuntimeError:
            return False
        return True

    def run(self) -> None:
        """Fetch the part in this thread. An error is raised to the readers of the part."""
        error: BaseException | None = None
        try:
            with closing(self._source.chunks(self.start, self.stop)) as chunks:
                self._body = chunks
                for chunk in chunks:
                    with self._moved:
                        if self._dropped:
                            break
                        self._put(chunk)
                        self._moved.notify_all()
        except BaseException as exc:
            error = exc
        with self._moved:
            self._ended, self._error = True, error
            self._moved.notify_all()

    def drop(self) -> None:
        """Cancel the part. A running request ends at once."""
        if self._future is not None:
            self._future.cancel()
        with self._moved:
            self._dropped = True
            self._ended = True
            self._moved.notify_all()
        if self._body is not None:
            self._body.close()

    def _put(self, chunk: bytes) -> None:
        raise NotImplementedError

    def _wait_until(self, is_there: Callable[[], bool]) -> None:
        """Wait until `is_there()` or the end of the part. Fetches the part here if no thread has started it."""
        with self._moved:
            unbegun = self._future is not None and not is_there() and self._future.cancel()
            if unbegun:
                self._future = None
        if unbegun:
            self.run()
        with self._moved:
            if not self._moved.wait_for(lambda: is_there() or self._ended, time_left()):
                raise_late(self._source.where, self._source.waiting.deadline)
            if not is_there() and self._error is not None:
                raise self._error


class SequentialPart(RangePart):
    """A part that is read once, from its beginning. If no thread was started for it, the reader's thread fetches it."""

    def __init__(self, source: RemoteObject, start: int, stop: int) -> None:
        super().__init__(source, start, stop)
        self._chunks: deque[bytes] = deque()
        self._fetched_here: Chunks | None = None

    def _put(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def take(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        if self._future is None and not self._chunks and not self._ended:
            self._fetched_here = self._fetched_here or self._source.chunks(self.start, self.stop)
            return next(self._fetched_here, b"")
        self._wait_until(lambda: bool(self._chunks))
        return self._chunks.popleft() if self._chunks else b""

    def drop(self) -> None:
        super().drop()
        if self._fetched_here is not None:
            self._fetched_here.close()


class BufferedPart(RangePart):
    """A part that stays in memory and can be read at any offset."""

    def __init__(self, source: RemoteObject, start: int, stop: int) -> None:
        super().__init__(source, start, stop)
        self._data = bytearray()

    def _put(self, chunk: bytes) -> None:
        self._data += chunk

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`, both within the part; fewer only if the part was dropped."""
        first, last = start - self.start, stop - self.start
        if len(self._data) < last:
            self._wait_until(lambda: len(self._data) >= last)
        with self._moved:  # the bytearray must not grow while a memoryview of it exists
            return bytes(memoryview(self._data)[first:last])


class PartWindow(Generic[P]):
    """The parts of a range, in order: one at a time, and `window` once more than `READAHEAD_MIN_BYTES` have been read.

    Attributes:
        parts: the parts that have been made and not read to their end.
    """

    def __init__(self, start: int, stop: int, window: int, part_size: int, make: Callable[[int, int], P]) -> None:
        self.parts: deque[P] = deque()
        self._at = start
        self._stop = stop
        self._window = window
        self._part_size = part_size
        self._make = make
        self._taken = 0

    def make_parts(self) -> list[P]:
        """Make the parts that are due, and return them."""
        made: list[P] = []
        most = self._window if self._taken > READAHEAD_MIN_BYTES else 1
        while self._at < self._stop and len(self.parts) < most:
            end = part_end(self._at, self._stop, self._part_size)
            made.append(self._make(self._at, end))
            self.parts.append(made[-1])
            self._at = end
        return made

    def note_taken(self, chunk: bytes) -> None:
        """Record that `chunk` was taken from the first part. An empty one ends the part."""
        self._taken += len(chunk)
        if not chunk:
            self.parts.popleft()


class Windowed(Chunks):
    """The bytes from `start` to `stop` as they arrive, of parts fetched `window` at a time.

    The reader's thread fetches a part that begins alone, and threads the others. A part has `part_size` bytes; up to
    `window` parts are in memory.
    """

    def __init__(
        self, source: RemoteObject, start: int, stop: int, window: int, part_size: int, threads: Lease
    ) -> None:
        super().__init__(source.where)
        self._ahead = PartWindow(start, stop, window, part_size, partial(SequentialPart, source))
        self._threads = threads

    def __next__(self) -> bytes:
        try:
            while True:
                self.refuse_closed()
                parts = self._ahead.parts
                for part in self._ahead.make_parts():
                    if part is not parts[0] and not part.start_on(self._threads):
                        part.run()
                if not parts:
                    break
                chunk = parts[0].take()
                self.refuse_closed()
                self._ahead.note_taken(chunk)
                if chunk:
                    return chunk
        except BaseException as exc:
            self.end_after(exc)
            raise
        raise StopIteration

    def close(self) -> None:
        super().close()
        for part in list(self._ahead.parts):
            part.drop()
