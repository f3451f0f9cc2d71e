"""Sinks: where the archive's bytes go. They are write-only, know their position, and cannot seek.

``zipfile`` treats a file that raises on `seek` as a stream and never goes back. `StreamSink` keeps what was written, in
chunks, until it is taken; `FileSink` passes every write on to a file; `NullSink` only counts bytes.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from .._checks import check_count, count_of, whole
from ..errors import OptionError, PoisonedError

DEFAULT_CHUNK_SIZE = 65536
# Bytes offered per write to a target that takes only part of a write.
_SHORT_STEP = 1 << 20


class Hole(NamedTuple):
    """Stands for `size` bytes of member data that a plan of an archive does not have."""

    size: int


_NO_WAY_BACK = "an archive that is being streamed cannot be seeked, or read back while it is written"


class _Sink:
    """Common part of all sinks: position, poisoning, and the refusals that make ``zipfile`` treat it as a stream."""

    def __init__(self, chunk_size: int = 0, position: int = 0) -> None:
        self.chunk_size = chunk_size
        self._position = position
        self.poisoned = False
        # One thread may write while another takes. Reentrant, because a write that fails calls poison().
        self._lock = threading.RLock()

    def write(self, data: bytes | Hole, *, pass_through: bool = False) -> int:
        """Write `data`, which must be immutable. With `pass_through`, data is never cut into several chunks."""
        assert not isinstance(data, Hole), "only NullSink accepts a Hole"
        with self._lock:
            self._refuse_if_poisoned()
            if data:
                try:
                    self._accept(data, pass_through)
                except BaseException:
                    self.poison()  # how much of it was written is unknown: nothing may follow
                    raise
                self._position += len(data)
            return len(data)

    def _refuse_if_poisoned(self) -> None:
        if self.poisoned:
            raise PoisonedError("this archive failed or was aborted: nothing can be added to it")

    def _accept(self, data: bytes, pass_through: bool) -> None:
        raise NotImplementedError

    def tell(self) -> int:
        """Return the number of bytes written so far, which is the archive offset of the next byte."""
        return self._position

    def begin_at(self, offset: int) -> None:
        """Count from `offset` on. Call this before the first write."""
        self._position += offset

    def poison(self) -> None:
        """Drop pending bytes and refuse every later write."""
        self.poisoned = True

    def flush(self) -> None:
        """Do nothing: bytes are taken from a sink, not pushed on."""

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation(_NO_WAY_BACK)

    def read(self, size: int = -1) -> bytes:
        raise io.UnsupportedOperation(_NO_WAY_BACK)


class StreamSink(_Sink):
    """Keeps written bytes until they are taken.

    Writes are joined, and cut, to chunks of exactly `chunk_size` bytes. With `pass_through`, data that does not fit
    into the rest of a chunk becomes a chunk of its own: the same object, not a copy. With ``chunk_size=0`` writes are
    not joined, and every write is ready at once.

    Attributes:
        ready: the chunks that `take` would return.
    """

    def __init__(self, chunk_size: int = DEFAULT_CHUNK_SIZE) -> None:
        super().__init__(check_count("chunk_size", chunk_size, what="a number of bytes"))
        self.ready: list[bytes] = []
        self._parts: list[bytes] = []
        self._parts_size = 0

    @property
    def pending(self) -> int:
        """Bytes written and not yet taken."""
        return sum(map(len, self.ready)) + self._parts_size

    def write_all(self, parts: list[bytes], size: int) -> None:
        """Write all `parts`, `size` bytes together, at once: writing them one by one would cost more."""
        with self._lock:
            self._refuse_if_poisoned()
            self._parts += parts
            self._parts_size += size
            self._position += size
            if self._parts_size >= self.chunk_size:
                self._cut()

    def _accept(self, data: bytes, pass_through: bool) -> None:
        size = len(data)
        if pass_through and self._parts_size + size > self.chunk_size:
            self._join()
            self.ready.append(data)
            return
        self._parts.append(data)
        self._parts_size += size
        if self._parts_size >= self.chunk_size:
            self._cut()

    def _join(self) -> None:
        if self._parts:
            self.ready.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            self._parts = []
            self._parts_size = 0

    def _cut(self) -> None:
        """Turn the pending parts into chunks of `chunk_size` bytes; the rest waits for more."""
        step = self.chunk_size or DEFAULT_CHUNK_SIZE
        over = self._parts_size - step
        if self.chunk_size and 0 < over < min(step, len(last := self._parts[-1])):  # cutting the last part copies less
            self._parts[-1] = last[:-over]
            self.ready.append(b"".join(self._parts))
            self._parts, self._parts_size = [last[-over:]], over
            return
        joined = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        end = len(joined) - len(joined) % step if self.chunk_size else len(joined)
        if end == len(joined) <= step:
            self.ready.append(joined)
        else:
            self.ready.extend(joined[i : min(i + step, end)] for i in range(0, end, step))
        self._parts = [joined[end:]] if end < len(joined) else []
        self._parts_size = len(joined) - end

    def take(self, everything: bool = False) -> list[bytes]:
        """Return the chunks that are ready, in order; with `everything`, also the bytes that wait to be joined."""
        with self._lock:
            if everything:
                self._join()
            ready, self.ready = self.ready, []
            return ready

    def poison(self) -> None:
        with self._lock:
            super().poison()
            self.ready, self._parts, self._parts_size = [], [], 0


class FileSink(_Sink):
    """Passes every write on to `file` at once. A short write is continued until all bytes are written.

    `file` needs ``write``. If it has a working ``tell``, offsets count from its position, as in ``zipfile``: an archive
    can follow other data.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(position=_start_of(file))
        self._write: Callable[[Any], object] = file.write
        self._raw = isinstance(file, io.RawIOBase)
        self._flush: Callable[[], object] | None = getattr(file, "flush", None)

    def _accept(self, data: bytes, pass_through: bool) -> None:
        written = self._put(data)
        if written < len(data):
            with memoryview(data) as rest:
                while written < len(data):
                    written += self._put(rest[written : written + _SHORT_STEP])

    def _put(self, data: bytes | memoryview) -> int:
        count = self._write(data)
        if count is None and self._raw:
            raise BlockingIOError("the target is non-blocking and full: give a blocking or buffered file")
        if count is None or isinstance(count, bool):
            return len(data)  # such as a framework's response, which takes everything and returns no count
        taken = whole(count)
        if taken is None or not 0 < taken <= len(data):
            raise OSError(f"the target's write() of {len(data)} bytes returned {count}, which is not a possible count")
        return taken

    def flush(self) -> None:
        """Flush the target if it supports that. Google Cloud Storage's writer does not: it sends the rest on close."""
        if self._flush is not None and not self.poisoned:
            with suppress(io.UnsupportedOperation, NotImplementedError):
                self._flush()


def _start_of(file: Any) -> int:
    if not callable(getattr(file, "write", None)):
        raise OptionError(f"file={file!r}: needs a write() that takes bytes (or a path, or None)")
    if isinstance(file, io.TextIOBase):
        raise OptionError(f"file={file!r}: this file takes text: give its .buffer, or open it with mode 'wb'")
    try:
        position = file.tell()
    except (AttributeError, NotImplementedError, OSError):
        return 0
    return count_of(position) or 0


class NullSink(_Sink):
    """Counts bytes, a `Hole` as its size, and keeps only the data that was written last."""

    def __init__(self) -> None:
        super().__init__()
        self.last = b""

    def write(self, data: bytes | Hole, *, pass_through: bool = False) -> int:
        if isinstance(data, Hole):
            self._position += data.size
            return data.size
        self.last = data
        self._position += len(data)
        return len(data)

    def write_all(self, parts: list[bytes | Hole], size: int) -> None:
        """Count all `parts`, `size` bytes together."""
        self._position += size
