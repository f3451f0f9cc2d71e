"""Bytes of an object that come in order, of parts that several threads fetch at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING

from .parallel import Lease, SharedPool
from .remote_object import RemoteObject, part_end

if TYPE_CHECKING:
    from concurrent.futures import Future

# A thread waits for its part, and works on nothing: more of them than there are cores are none too many.
_MOST_THREADS = 32
# Bytes that have to be read of a member before parts of it are fetched ahead.
EAGER = 1 << 17

# What a thread is at may be a server that has fallen silent: nobody who has what he wanted waits for that.
_threads = SharedPool("zipstream-adapter-range", lambda: _MOST_THREADS, waits=False)


def range_threads() -> Lease:
    """A use of the threads that all remote archives of the process share, for one of them."""
    return Lease(_threads)


class Part:
    """Bytes from `start` to `stop`, on their way. Whoever waits for them is told as they come."""

    def __init__(self, source: RemoteObject, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop
        self._source = source
        self._moved = threading.Condition()
        self._ended = self._dropped = False
        self._error: BaseException | None = None
        self._future: Future[None] | None = None

    def start_on(self, threads: Lease) -> bool:
        """Have a thread fetch them; False where there is none any more, as where the interpreter is ending."""
        try:
            self._future = threads.executor.submit(self.run)
        except RuntimeError:
            return False
        return True

    def run(self) -> None:
        """Fetch them, in this thread. What goes wrong is raised where they are waited for."""
        error: BaseException | None = None
        try:
            with closing(self._source.chunks(self.start, self.stop)) as chunks:
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
        """Nobody wants them any more: what is under way ends with its next bytes."""
        if self._future is not None:
            self._future.cancel()
        with self._moved:
            self._dropped = True
            self._ended = True
            self._moved.notify_all()

    def _put(self, chunk: bytes) -> None:
        raise NotImplementedError

    def _wait_until(self, is_there: Callable[[], bool]) -> None:
        """Wait for what `is_there` asks about; one that no thread has begun yet is fetched in this one."""
        with self._moved:
            unbegun = self._future is not None and not is_there() and self._future.cancel()
            if unbegun:
                self._future = None
        if unbegun:
            self.run()
        with self._moved:
            self._moved.wait_for(lambda: is_there() or self._ended)
            if not is_there() and self._error is not None:
                raise self._error


class PartInOrder(Part):
    """A part that is read once, from its beginning."""

    def __init__(self, source: RemoteObject, start: int, stop: int) -> None:
        super().__init__(source, start, stop)
        self._chunks: deque[bytes] = deque()

    def _put(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def take(self) -> bytes:
        """The next bytes; none at the end."""
        self._wait_until(lambda: bool(self._chunks))
        return self._chunks.popleft() if self._chunks else b""


class PartInMemory(Part):
    """A part that is kept, to be read at any place and time."""

    def __init__(self, source: RemoteObject, start: int, stop: int) -> None:
        super().__init__(source, start, stop)
        self._data = bytearray()

    def _put(self, chunk: bytes) -> None:
        self._data += chunk

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`, which lie in it; fewer only where it was dropped."""
        first, last = start - self.start, stop - self.start
        if len(self._data) < last:
            self._wait_until(lambda: len(self._data) >= last)
        with self._moved:  # what is looked at cannot grow
            return bytes(memoryview(self._data)[first:last])


def windowed(
    source: RemoteObject, start: int, stop: int, window: int, part_size: int, threads: Lease
) -> Generator[bytes, None, None]:
    """The bytes from `start` to `stop` as they come: of parts of `part_size`, of which `window` are fetched at a time.

    The first is fetched by whoever reads; the others not before some of it has been read. In memory are up to
    `window` parts.
    """
    at = part_end(start, stop, part_size) if window > 1 else stop
    ahead: deque[PartInOrder] = deque()
    taken = 0
    try:
        with closing(source.chunks(start, at)) as first:
            for chunk in first:
                yield chunk
                taken += len(chunk)  # and more is wanted
                if taken > EAGER:
                    at = _top_up(ahead, source, at, stop, window - 1, part_size, threads)
        while ahead or at < stop:
            at = _top_up(ahead, source, at, stop, window, part_size, threads)
            while chunk := ahead[0].take():
                yield chunk
            ahead.popleft()
    finally:
        for part in ahead:
            part.drop()


def _top_up(
    ahead: deque[PartInOrder], source: RemoteObject, at: int, stop: int, most: int, part_size: int, threads: Lease
) -> int:
    """Begin parts until there are `most`; returns where the next one begins."""
    while at < stop and len(ahead) < most:
        part = PartInOrder(source, at, part_end(at, stop, part_size))
        ahead.append(part)
        at = part.stop
        if not part.start_on(threads):
            part.run()
    return at
