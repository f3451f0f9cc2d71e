"""For programs written for zipstream 1.1.4 or zipstream-new 1.1.8: ``from zipstream_adapter.compat import zipstream``.

What is queued by `ZipFile.write`, `ZipFile.write_iter` and `ZipFile.writestr` becomes the archive's bytes as the
ZipFile is iterated over; `ZipFile.flush` yields what is queued so far and leaves the archive open. Every member that
has data has a data descriptor. Iterating over a finished one yields nothing, as with zipstream-new (zipstream raises).

What is otherwise than there:

- A source that fails ends the archive: no later iteration, `flush` or `close` makes a valid one without that member.
- An iteration that is given up within a member does, too: there, the next one leaves the member out.
- A file that shrinks or grows while it is read raises SourceChangedError.
- Members and archives past 2 GiB can be read front to back, and need no `allowZip64`: zip64 is used where needed.
- What has no data has neither descriptor nor its flag; directories there have the flag alone, which unzip refuses.
- What is written to a finished archive raises RuntimeError at once, and is not dropped.
- Names that climb out with ``..`` or carry backslashes are made plain and relative.
- Small pieces are joined, so that chunks are neither tiny (headers, lines) nor huge (what an iterable gives at once).
- Files' dates are stored as UTC seconds, too, and not only by the clock of this machine.
"""

from __future__ import annotations

import os
import stat
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import GeneratorType, TracebackType
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipInfo

from ..compress import METHODS
from ..dates import LocalTime
from ..describe import amend, describe
from ..entry import Entry, path_of
from ..errors import OptionError, StreamClosedError
from ..member import MemberWriter
from ..names import is_plain, is_storable, repaired
from ..sink import FileSink
from ..source import OpenSource, read_small
from ..taken import take
from .clock import Clock, by_clock, by_fields
from .small_members import ListedArchive, SmallOnes, about, described

__all__ = ["ZIP64_LIMIT", "ZIP_BZIP2", "ZIP_DEFLATED", "ZIP_LZMA", "ZIP_STORED", "PointerIO", "ZipFile", "ZipInfo"]

ZIP64_LIMIT = (1 << 31) - 1  # where zipstream sees one; zip64 is used from 4 GiB on

_PATIENCE = 0.1  # seconds that small pieces wait to be joined
_ZIP64_HINT = (1 << 32) - 1
_MODE = 0o600


class ModeError(OptionError, RuntimeError):
    """A mode other than "w"."""


class ClosedError(StreamClosedError, RuntimeError):
    """The archive is closed already."""


class PointerIO:
    """A file object that hands back what it is given, and only counts it. As a ZipFile's `fileobj` it is like None."""

    def __init__(self, mode: str = "wb") -> None:
        if mode != "wb":
            raise ModeError(f"mode={mode!r}: zipstream.PointerIO() requires mode 'wb'")
        self.mode = mode
        self.closed = False
        self._position = 0

    def write(self, data: bytes | str) -> bytes:
        """Count `data` (text as UTF-8), and return it."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if isinstance(data, str):
            data = data.encode("utf-8")
        if not isinstance(data, bytes):
            raise TypeError(f"{data!r}: give bytes, not {type(data).__name__}")
        self._position += len(data)
        return data

    def tell(self) -> int:
        """Bytes written."""
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Take no more."""
        self.closed = True


class _Job:
    """One call of `ZipFile.write` or `write_iter`: what shall become a member, once its turn comes."""

    def __init__(
        self, arcname: str, source: Any, method: int | None, *, size_hint: int | None = None, date: Any = None
    ):
        if method not in (None, *METHODS.values()):
            raise NotImplementedError(f"entry {arcname!r}: compress_type={method!r} is not supported")
        self.arcname = arcname
        self._source = source
        self._left_open = source if isinstance(source, os.PathLike | tuple) else _left_open(source)
        self._method = method
        self._zip64 = True if (size_hint or 0) >= _ZIP64_HINT else None
        self._date = date

    def entry(self) -> Entry:
        """Its Entry; the file system is asked now."""
        if isinstance(self._source, os.PathLike):
            name = _plain_name(self.arcname)
            is_dir = os.path.isdir(self._source)
            return Entry(name + "/" if is_dir else name, self._source, compression=self._method)
        name, dated = self.named_and_dated()
        return Entry(name, self._left_open, mode=_MODE, compression=self._method, zip64=self._zip64, **dated)

    def named_and_dated(self, clock: Clock | None = None) -> tuple[str, dict[str, Any]]:
        """The name of its member, and the options of an Entry for the date of data that is in no file."""
        if self._date is None:
            date, extra = (clock or Clock()).now()
            return _plain_name(self.arcname), {"modified": date, "extra": extra}
        dated = by_fields(tuple(self._date)[:6])
        return _plain_name(self.arcname), dated

    def small(
        self, compression: int, limit: Callable[[int], int], is_awaited: Callable[[int], bool], clock: Clock
    ) -> Any:
        """(name, data, what else there is to say, method) where it has less bytes than the limit of the method.

        Else what was `Taken` of its source, or None.
        """
        method = compression if self._method is None else self._method
        most = limit(method)
        if not most or self._zip64:
            return None
        if isinstance(self._source, os.PathLike):
            name = _plain_name(self.arcname)
            found = read_small(self._source, most) if is_storable(name) else None
            if found is None:
                return None
            date, extra = clock.shown(found[1].modified)
            return name, found[0], (date, type(date) is LocalTime, found[1].mode, extra), method
        name, dated = self.named_and_dated(clock)
        if name.endswith("/") or not is_storable(name):
            return None
        if type(self._source) is tuple and type(self._source[0]) is bytes and len(self._source[0]) < most:
            return name, self._source[0], about(dated, _MODE), method
        taken = take(None, self._left_open, most, None, is_awaited)
        if isinstance(taken, bytes):
            return name, taken, about(dated, _MODE), method
        taken.item = self.entry()
        return taken


class ZipFile(ListedArchive):
    """A `zipfile.ZipFile` that queues what is written to it, and is iterated over for its bytes.

    Args:
        fileobj: None, or a PointerIO; or where the bytes go as they are made: a path, or an object that can ``write``.
            Iterating then yields how many.
        mode: "w".
        compression: for members that do not say, as `zipfile` has it.
        allowZip64: of no effect: zip64 is used where it is needed.

    Raises ModeError (a RuntimeError) for another mode, NotImplementedError for an unknown compression.
    """

    def __init__(
        self, fileobj: Any = None, mode: str = "w", compression: int = ZIP_STORED, allowZip64: bool = False
    ) -> None:
        if mode != "w":
            raise ModeError(f"mode={mode!r}: zipstream.ZipFile() requires mode 'w'")
        super().__init__(file=None if isinstance(fileobj, PointerIO) else fileobj, compression=compression, lookahead=0)
        self._small = SmallOnes(self, 0, _described)
        self._clock = Clock()
        self._names: set[str] = set()
        self.paths_to_write: deque[_Job] = deque()
        self._source: OpenSource | None = None  # of the member that is being written
        self._handed = self.sink.tell()
        self._end: Iterator[None] | None = None
        self._begun = self._whole = self._finishing = self._closed_early = False
        self._asked = time.monotonic()

    # What is queued.

    def write(  # type: ignore[override]
        self, filename: str | os.PathLike[str], arcname: str | None = None, compress_type: int | None = None
    ) -> None:
        """Queue the file at `filename` (or a directory, without what is in it), under `arcname` or else its path."""
        path = path_of(filename)
        self._queue(_Job(os.fspath(path) if arcname is None else arcname, path, compress_type))

    def write_iter(
        self,
        arcname: str,
        iterable: Iterable[Any],
        compress_type: int | None = None,
        buffer_size: int | None = None,
        date_time: tuple[int, ...] | time.struct_time | None = None,
    ) -> None:
        """Queue an iterable of bytes.

        buffer_size: about as many bytes it has: from 4 GiB on the member's header is a zip64 one.
        date_time: by whatever clock. Default: when its turn comes, by this machine's.
        """
        self._queue(_Job(arcname, iterable, compress_type, size_hint=buffer_size, date=date_time))

    def writestr(  # type: ignore[override]
        self,
        arcname: str,
        data: bytes,
        compress_type: int | None = None,
        buffer_size: int | None = None,
        date_time: tuple[int, ...] | time.struct_time | None = None,
    ) -> None:
        """Queue bytes; the rest is as with `write_iter`."""
        self.write_iter(arcname, (data,), compress_type, buffer_size, date_time)

    def _queue(self, job: _Job) -> None:
        if self.fp is None:
            raise ClosedError(f"entry {job.arcname!r}: attempt to write to ZIP archive that was already closed")
        self.paths_to_write.append(job)

    # What is made of it.

    def __iter__(self) -> Iterator[Any]:
        """The archive's bytes: of what is queued, and its end."""
        yield from self.flush()
        if self._whole:
            return
        try:
            while self._step_to_the_end():
                yield from self._ready()
            self._whole = True
            yield from self._rest()
        finally:
            if not self._whole:
                self.fail("it was given up before its end")

    def flush(self) -> Iterator[Any]:
        """The bytes of what is queued so far; the archive stays open."""
        self._refuse_if_closed()
        while self.paths_to_write:
            yield from self._add(self.paths_to_write.popleft())
            # What is written next may depend on what the consumer has seen.
            yield from self._ready() if self.paths_to_write else self._rest()
            self._refuse_if_closed()

    def _add(self, job: _Job) -> Iterator[Any]:
        self._asked = time.monotonic()
        try:
            found = job.small(self.compression, self._limit, self._is_awaited, self._clock) if self._begun else None
            if isinstance(found, tuple):
                self._note_name(found[0])
                self._small.add(*found)
                return
            self._small.settle()
            entry = job.entry() if found is None else found.item
            source = self._source = OpenSource(entry) if found is None else found.open()
            try:
                member = self._member_of(entry, source)
                for chunk in source:
                    for piece in member.pieces(chunk):
                        member.add(piece)
                        if self._is_due():
                            yield from self._ready()
            finally:
                self._source = None
                source.close()
            member.complete()
        except BaseException as exc:
            self.fail(f"entry {job.arcname!r} failed, or was given up")
            if isinstance(exc, Exception):
                exc.add_note(f"(while adding entry {job.arcname!r})")
            raise

    def _limit(self, method: int) -> int:
        return self._small.limit(method, None)

    def _is_awaited(self, size: int) -> bool:
        return time.monotonic() - self._asked >= _PATIENCE

    def _note_name(self, name: str) -> None:
        if name in self._names:
            warnings.warn(f"Duplicate name: {name!r}", stacklevel=2)
        self._names.add(name)

    def _member_of(self, entry: Entry, source: OpenSource) -> MemberWriter:
        facts = source.facts
        if facts is not None:
            entry = entry.replace(mode=facts.mode, **by_clock(facts.modified))
        assert entry.modified is not None
        info = describe(entry.name, entry.modified, entry.mode, self.compression, timestamps=True)
        amend(info, entry)
        if facts is None:
            info.external_attr = _MODE << 16  # without a file's type, as there
        self._note_name(info.filename)
        return self.begin(info, size=source.size, zip64=entry.zip64, pinned=facts is not None)

    def _step_to_the_end(self) -> bool:
        """Make a piece of the directory; False where that was the last."""
        if self._end is None:
            self._small.settle()
            self._end = self.finish()
        self._finishing = True  # so that it is finish() that closes
        try:
            return next(self._end, self) is not self
        finally:
            self._finishing = False

    # Handing over.

    def _is_due(self) -> bool:
        late = not self._begun or time.monotonic() - self._asked >= _PATIENCE
        return late or isinstance(self.sink, FileSink) or self.sink.has_chunks

    def _ready(self) -> Iterator[Any]:
        """What there is of whole chunks; all there is, where the consumer waits for the first, or for long."""
        late = not self._begun or time.monotonic() - self._asked >= _PATIENCE
        return self._rest() if late or isinstance(self.sink, FileSink) else self._hand_over(self.sink.take())

    def _rest(self) -> Iterator[Any]:
        self._small.settle()
        if isinstance(self.sink, FileSink):
            handed, self._handed = self._handed, self.sink.tell()
            return iter((self._handed - handed,) if self._handed > handed else ())
        return self._hand_over(self.sink.take(everything=True))

    def _hand_over(self, chunks: list[bytes]) -> Iterator[bytes]:
        left = deque(chunks)
        try:
            while left:
                self._begun = True
                yield left.popleft()
                self._asked = time.monotonic()
        finally:
            if left:
                self.fail("it was given up while bytes were being handed over")

    def _refuse_if_closed(self) -> None:
        if self._closed_early:
            raise ClosedError(
                "this archive was closed before its end: iterate over it before close(), or its with block, ends"
            )
        self._refuse_if_poisoned()

    def close(self) -> None:
        """Let go. What was not iterated over is given up, and can be had no more."""
        if self.fp is not None and not self._finishing:
            self._closed_early = not self.sink.poisoned
            self.abort()
        super().close()
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "fp", None) is not None:
            self.close()


def _plain_name(arcname: str) -> str:
    """As zipstream has it: normal, without drive and root; and as it is not there: within its directory."""
    if isinstance(arcname, str) and is_plain(arcname):
        return arcname
    name = os.path.normpath(os.path.splitdrive(os.fspath(arcname))[1]).replace(os.sep, "/").lstrip("/")
    return name if name == "." else repaired(name)


def _left_open(source: Any) -> Any:
    """`source`, which is not to be closed where it is somebody's file: generators only are used up."""
    if isinstance(source, GeneratorType) or not hasattr(source, "close"):
        return source
    return (chunk for chunk in source)


def _described(name: str, about: Any, method: int) -> ZipInfo:
    info = described(name, about, method)
    mode = about[2]
    if not stat.S_IFMT(mode):
        info.external_attr = mode << 16  # as there
    return info
