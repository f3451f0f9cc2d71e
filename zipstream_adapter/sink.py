"""StreamSink: where the archive's bytes go: write-only, tells its position, cannot seek.

``zipfile`` takes a file that raises on `seek` for a stream and never goes back. `StreamSink` keeps what was
written until it is taken, in chunks; `FileSink` hands every write on to a file that can only write.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from .counts import is_count
from .errors import OptionError, PoisonedError

DEFAULT_CHUNK_SIZE = 65536
# What a target that takes less than it is given is offered at a time.
_SHORT_STEP = 1 << 20


class Gap(NamedTuple):
    """A place in an archive for `size` bytes of data, which are not there."""

    size: int


class _Sink:
    """The position, the poison, and the refusals that make ``zipfile`` treat it as a stream."""

    def __init__(self, chunk_size: int = 0, position: int = 0) -> None:
        self.chunk_size = chunk_size
        self._position = position
        self.poisoned = False
        # One thread may write while another takes. Reentrant: a failing write poisons.
        self._lock = threading.RLock()

    def write(self, data: bytes | Gap, *, whole: bool = False) -> int:
        """Take `data`, which must be immutable. `whole` data is never cut."""
        assert not isinstance(data, Gap), "only a sink that skips takes it"
        with self._lock:
            self._refuse_if_poisoned()
            if data:
                try:
                    self._accept(data, whole)
                except BaseException:
                    self.poison()  # how much of it left is unknown: nothing may follow
                    raise
                self._position += len(data)
            return len(data)

    def _refuse_if_poisoned(self) -> None:
        if self.poisoned:
            raise PoisonedError("this archive failed or was aborted: no byte can be added to it")

    def _accept(self, data: bytes, whole: bool) -> None:
        raise NotImplementedError

    def tell(self) -> int:
        """Bytes written so far: the archive offset of the next one."""
        return self._position

    def poison(self) -> None:
        """Drop what is pending and refuse every later write."""
        self.poisoned = True

    def flush(self) -> None:
        """Nothing to do: bytes are taken, not pushed."""

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation("an archive that is being streamed cannot be seeked")

    def read(self, size: int = -1) -> bytes:
        raise io.UnsupportedOperation("an archive that is being streamed cannot be read")


class StreamSink(_Sink):
    """Keeps the bytes written until they are taken.

    Writes are joined, and cut, to chunks of exactly `chunk_size` bytes; a `whole` one that does not fit what is
    left of a chunk becomes a chunk of its own, as the very object that was written. With ``chunk_size=0`` nothing
    is joined: what is pending is ready.
    """

    def __init__(self, chunk_size: int = DEFAULT_CHUNK_SIZE) -> None:
        if not is_count(chunk_size):
            raise OptionError(f"chunk_size={chunk_size!r}: give a number of bytes, 0 or more")
        super().__init__(chunk_size)
        self._ready: list[bytes] = []
        self._parts: list[bytes] = []
        self._parts_size = 0

    @property
    def pending(self) -> int:
        """Bytes written and not yet taken."""
        return sum(map(len, self._ready)) + self._parts_size

    @property
    def has_chunks(self) -> bool:
        """Whether `take` would give any."""
        return bool(self._ready)

    def write_all(self, parts: list[bytes], size: int) -> None:
        """`write` the `parts`, which have `size` bytes together, and are not written one by one: that costs more."""
        with self._lock:
            self._refuse_if_poisoned()
            self._parts += parts
            self._parts_size += size
            self._position += size
            if self._parts_size >= self.chunk_size:
                self._cut()

    def _accept(self, data: bytes, whole: bool) -> None:
        size = len(data)
        if whole and self._parts_size + size > self.chunk_size:
            self._join()
            self._ready.append(data)
            return
        self._parts.append(data)
        self._parts_size += size
        if self._parts_size >= self.chunk_size:
            self._cut()

    def _join(self) -> None:
        if self._parts:
            self._ready.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            self._parts = []
            self._parts_size = 0

    def _cut(self) -> None:
        """Turn the parts into chunks of `chunk_size`; what is left over waits for more."""
        step = self.chunk_size or DEFAULT_CHUNK_SIZE
        over = self._parts_size - step
        if self.chunk_size and 0 < over < min(step, len(last := self._parts[-1])):  # to cut that copies less
            self._parts[-1] = last[:-over]
            self._ready.append(b"".join(self._parts))
            self._parts, self._parts_size = [last[-over:]], over
            return
        joined = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        end = len(joined) - len(joined) % step if self.chunk_size else len(joined)
        if end == len(joined) <= step:
            self._ready.append(joined)
        else:
            self._ready.extend(joined[i : min(i + step, end)] for i in range(0, end, step))
        self._parts = [joined[end:]] if end < len(joined) else []
        self._parts_size = len(joined) - end

    def take(self, everything: bool = False) -> list[bytes]:
        """The chunks that are ready, in order; with `everything`, also what waits to be joined."""
        with self._lock:
            if everything:
                self._join()
            ready, self._ready = self._ready, []
            return ready

    def poison(self) -> None:
        with self._lock:
            super().poison()
            self._ready, self._parts, self._parts_size = [], [], 0


class FileSink(_Sink):
    """Hands every write on to `file` at once; a short write is continued, never lost.

    `file` needs ``write``. Where it tells its position, offsets count from there, as with ``zipfile``: an
    archive can stand behind other data.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(position=_start_of(file))
        self._write: Callable[[Any], object] = file.write
        self._raw = isinstance(file, io.RawIOBase)
        self._flush: Callable[[], object] | None = getattr(file, "flush", None)

    def _accept(self, data: bytes, whole: bool) -> None:
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
            return len(data)  # a framework's response, say, that takes everything and counts nothing
        if not isinstance(count, int) or not 0 < count <= len(data):
            raise OSError(f"the target's write() of {len(data)} bytes says it took {count}")
        return count

    def flush(self) -> None:
        """Flush the target, if it can be. Google Cloud Storage's writer, for one, cannot: closing it sends the rest."""
        if self._flush is not None and not self.poisoned:
            with suppress(io.UnsupportedOperation, NotImplementedError):
                self._flush()


def _start_of(file: Any) -> int:
    if not callable(getattr(file, "write", None)):
        raise OptionError(f"file={file!r}: needs a write() that takes bytes (or a path, or None)")
    try:
        position = file.tell()
    except (AttributeError, NotImplementedError, OSError):
        return 0
    return position if isinstance(position, int) and position >= 0 else 0


class SkippingSink(_Sink):
    """Counts what is written, a `Gap` for its size, and keeps only what came last."""

    def __init__(self) -> None:
        super().__init__()
        self.last = b""

    def write(self, data: bytes | Gap, *, whole: bool = False) -> int:
        if isinstance(data, Gap):
            self._position += data.size
            return data.size
        self.last = data
        self._position += len(data)
        return len(data)
