"""Whatever a user hands over as data -> chunks of bytes, opened when its turn comes and closed exactly once."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Mapping, Set
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from .dates import date_of
from .entry import Entry
from .errors import EntryTypeError, NotAFileError
from .fields import described

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Larger objects in memory are handed out in pieces, so that no consumer has to swallow one whole.
LARGEST_PIECE = 1 << 20
_SMALLEST_READ = 1 << 16
# Of a file by its path: what is on disk comes at once, and fewer, larger reads take less time.
FILE_READ = 1 << 19

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# A named pipe that nobody writes to must be refused, not waited for.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


class FileFacts(NamedTuple):
    """What an opened file or directory says of itself.

    stat: all of it; opened: when that was, in nanoseconds since 1970, with nothing read yet; path: where it was.
    """

    size: int
    modified: datetime
    mode: int
    stat: os.stat_result
    opened: int
    path: os.PathLike[Any] | None


def facts_of(info: os.stat_result, path: os.PathLike[Any] | None = None) -> FileFacts:
    """What `info`, of an opened file or a directory, says."""
    return FileFacts(info.st_size, date_of(info), info.st_mode, info, time.time_ns(), path)


def open_to_read(path: Any) -> int:
    """A descriptor of what is at `path`, whatever that is, without waiting for it."""
    return os.open(path, _OPEN_FLAGS | _NO_WAIT)


def read_small(path: os.PathLike[Any], limit: int) -> tuple[bytes, FileFacts] | None:
    """The regular file at `path`, read at once, where it has less than `limit` bytes; None for whatever is not so.

    `OpenSource` says what ails it.
    """
    try:
        descriptor = open_to_read(path)
    except Exception:  # whatever a path object of somebody's own may raise, too
        return None
    try:
        info = os.fstat(descriptor)
        if info.st_size >= limit or not stat.S_ISREG(info.st_mode):
            return None
        data = os.read(descriptor, info.st_size + 1)  # one more: what grows, or says 0 and is not, is not for here
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if len(data) != info.st_size:
        return None
    return data, facts_of(info)


class OpenSource:
    """An entry's data while it is read: an iterator of bytes-like chunks, with what its source knows.

    Attributes:
        size: bytes to come, where the source knows (objects in memory, files), else None.
        facts: what a file says of itself, else None.
    """

    ahead = 0  # bytes that it is worth reading ahead of demand

    def __init__(self, entry: Entry, read_size: int = _SMALLEST_READ, *, given: tuple[Any] | None = None) -> None:
        """`given`: what the entry's callable has returned, where it was called already."""
        self.size: int | None = None
        self.facts: FileFacts | None = None
        self.in_memory = False  # whether the next chunk is there without anything being read or called
        self._name = entry.name
        self._read_size = min(max(read_size, _SMALLEST_READ), LARGEST_PIECE)
        self._exit = ExitStack()
        try:
            if entry.is_dir:
                self._chunks = self._directory(entry)
            else:
                self._chunks = self._open(given[0], called=True) if given else self._open(entry.source)
        except BaseException:
            self._exit.close()
            raise

    def __iter__(self) -> Iterator[Buffer]:
        return self._chunks

    def __next__(self) -> Buffer:
        return next(self._chunks)

    def close(self) -> None:
        """Let go of the source, once; further calls do nothing."""
        self._exit.close()

    def _open(self, source: Any, called: bool = False) -> Iterator[Buffer]:
        if isinstance(source, str):
            raise EntryTypeError(
                f"entry {self._name!r}: the source is a str, which could be a path or text: "
                "give pathlib.Path(...) for the file, or text.encode() for the data"
            )
        if isinstance(source, os.PathLike):
            return self._path(source)
        # Before anything is asked of it: what is refused was handed over, too.
        self._close_later(source)
        view = _view(source)
        if view is not None:
            return self._memory(source, view)
        if callable(getattr(source, "read", None)):
            return self._file(source)
        if isinstance(source, Iterable) and not isinstance(source, Mapping | Set):
            return self._iterable(source)
        if callable(source) and not called:
            return self._open(source(), called=True)
        raise EntryTypeError(self._refusal(source, called))

    def _refusal(self, source: Any, called: bool) -> str:
        what = "its callable returned" if called else "the source is"
        head = f"entry {self._name!r}: {what} {described(source)}, which is no data"
        if source is None and not called:
            return f"entry {self._name!r} has no source: give b'' for an empty member, or end the name in '/'"
        if isinstance(source, Mapping | Set):
            return f"{head}: its order says nothing; give an iterable of bytes in their order"
        if isinstance(source, AsyncIterable) or hasattr(source, "__await__"):
            return f"{head} for stream_zip: it is asynchronous"
        return f"{head}: give bytes, a path object, a file object, an iterable of bytes, or a callable for one of these"

    def _directory(self, entry: Entry) -> Iterator[Buffer]:
        self.size = 0
        if isinstance(entry.source, os.PathLike):
            info = os.stat(entry.source)
            if not stat.S_ISDIR(info.st_mode):
                raise NotAFileError(
                    f"entry {self._name!r}: {os.fspath(entry.source)!r} is no directory, and the name ends in '/'"
                )
            self.facts = facts_of(info)._replace(size=0)
        elif entry.source is not None and entry.source != b"":
            self._close_later(entry.source)
            raise EntryTypeError(
                f"entry {self._name!r}: the name ends in '/', so this is a directory, and a directory has no data: "
                "take the slash away, or the source"
            )
        return iter(())

    def _memory(self, source: Any, view: memoryview) -> Iterator[Buffer]:
        self.size = view.nbytes
        self.in_memory = True
        self._exit.callback(view.release)
        if type(source) is bytes and len(source) <= LARGEST_PIECE:
            return iter((source,) if source else ())
        pieces = slices(view, self._read_size)
        self._exit.callback(pieces.close)
        return pieces

    def _path(self, source: os.PathLike[Any]) -> Iterator[Buffer]:
        path = os.fspath(source)
        descriptor = self._descriptor(path)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise not_a_file(self._name, path, info.st_mode)
            file = io.FileIO(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
        self._exit.callback(file.close)
        self.facts = facts_of(info, source)
        # What says 0 may be a file that is made as it is read, as under /proc.
        self.size = info.st_size or None
        return self._reads(file.read, max(self._read_size, FILE_READ))

    def _descriptor(self, path: Any) -> int:
        try:
            return open_to_read(path)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # a socket
                raise not_a_file(self._name, path, os.stat(path).st_mode) from exc
            raise

    def _file(self, file: Any) -> Iterator[Buffer]:
        if isinstance(file, io.TextIOBase):
            raise EntryTypeError(
                f"entry {self._name!r}: the file object gives text: open it in binary mode, as in open(path, 'rb')"
            )
        return self._reads(file.read, self._read_size)

    def _reads(self, read: Callable[[int], Any], size: int) -> Iterator[Buffer]:
        while True:
            chunk = read(size)
            if chunk is None:
                raise BlockingIOError(
                    f"entry {self._name!r}: the file object has no data yet (read() gave None): it must block"
                )
            if not self._checked(chunk):
                return
            yield chunk

    def _iterable(self, source: Iterable[Any]) -> Iterator[Buffer]:
        iterator = iter(source)
        if iterator is not source:
            self._close_later(iterator)  # and so before what it iterates over
        return (chunk for chunk in iterator if self._checked(chunk))

    def _close_later(self, thing: Any) -> None:
        close = close_of(thing)
        if close is not None:
            self._exit.callback(close)

    def _checked(self, chunk: Any) -> int:
        return len(chunk) if type(chunk) is bytes else size_of(chunk, self._name)


def size_of(chunk: Any, name: str) -> int:
    """The bytes in a chunk of the data of the entry `name`; anything that has none is refused."""
    if isinstance(chunk, str):
        raise EntryTypeError(f"entry {name!r}: the source gave {described(chunk)}: encode text to bytes first")
    view = _view(chunk)
    if view is None:
        raise EntryTypeError(f"entry {name!r}: the source gave {described(chunk)}, where bytes are needed")
    with view:
        return view.nbytes


def _view(source: Any) -> memoryview | None:
    """`source` as a flat view of bytes, or None where it is no buffer."""
    try:
        return flat_view(source)
    except TypeError:
        return None


def flat_view(data: Buffer) -> memoryview:
    """`data`, whatever its shape and format, as a view of its bytes in their order."""
    view = memoryview(data)
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # not contiguous, an exotic format, or nothing in it
        return memoryview(view.tobytes())


def slices(view: memoryview, step: int) -> Generator[memoryview, None, None]:
    """`view`, a flat one, in pieces of `step` bytes; each is released when the next is asked for, and so is `view`.

    At once, and also where a traceback would keep them: their owner may want to resize or close the buffer.
    """
    with view:
        for at in range(0, len(view), step):
            with view[at : at + step] as piece:
                yield piece


def close_of(thing: Any) -> Callable[[], object] | None:
    """The method that closes `thing`, where it has one."""
    close = getattr(thing, "close", None)
    return close if callable(close) else None


def not_a_file(name: str, path: Any, mode: int) -> NotAFileError:
    """That the entry `name` has a `path` to something of another kind."""
    advice = "; walk() gives what is in it" if stat.S_ISDIR(mode) else ""
    return NotAFileError(f"entry {name!r}: {path!r} is {_kind(mode)}, not a file{advice}")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
    }
    return kinds.get(stat.S_IFMT(mode), "something special")
