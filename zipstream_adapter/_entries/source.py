"""Turn a source into chunks of bytes: opened when its member's turn comes, closed exactly once."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Set
from datetime import datetime
from functools import partial
from itertools import chain, repeat
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from .._buffers import LARGEST_PIECE, close_of, flat_view, slices
from .._checks import typed_repr
from .._concurrency.closing import Closing
from .._format.timestamps import date_of
from ..errors import EntryTypeError, NotAFileError
from .entry import Entry
from .error_notes import note_closing
from .files.growing import Cut
from .files.regular import READ_FLAGS, not_a_file
from .files.virtual import stated_size
from .foreign.processes import chunks_of, is_process, wait_for_process
from .foreign.readers import Read, closes_itself, is_context, must_be_left, reader_of
from .foreign.response_body import Body
from .foreign.responses import response_of
from .one_pass import refuse_at_end, refuse_used
from .validation import MAX_SIZE

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SMALLEST_READ = 1 << 16
# Bytes per read of a file given by its path: a disk answers at once, and fewer, larger reads are faster.
FILE_READ = 1 << 19


# Arguments for `map`: of `os.open`, and of `list.pop`.
_READING, _LAST = (READ_FLAGS,), (-1,)
FUNCTIONS = (FunctionType, MethodType)
BUFFERS = (bytearray, memoryview)
PLAIN_FILES = (io.BytesIO, io.BufferedReader, io.FileIO)


class FileFacts(NamedTuple):
    """Facts about an opened file or directory.

    Attributes:
        size: bytes. modified: the modification time. mode: permissions and file type.
        stat: the whole stat result.
        opened: when the file was opened and nothing read yet, in nanoseconds since 1970.
        path: the path it was opened by, if known.
    """

    size: int
    modified: datetime
    mode: int
    stat: os.stat_result
    opened: int
    path: os.PathLike[Any] | None


def facts_of(info: os.stat_result, path: os.PathLike[Any] | None = None) -> FileFacts:
    """Return the facts in `info`, the stat result of an opened file or a directory."""
    return FileFacts(info.st_size, date_of(info), info.st_mode, info, time.time_ns(), path)


def open_into(held: list[int], path: Any) -> None:
    """Open `path`, a file of any kind, without waiting. An interrupt cannot come before its descriptor is in `held`."""
    held.extend(map(os.open, (path,), _READING))


def read_whole(held: list[int], path: Any, limit: int) -> tuple[bytes, os.stat_result] | None:
    """Read the regular file at `path` if it has less than `limit` bytes. Returns its data and its stat result.

    Its descriptor is in `held` meanwhile, and also afterwards, at its beginning, if None is returned. It may be there
    before, if the file is already open, and after an exception.
    """
    if not held:
        open_into(held, path)
    info = os.fstat(held[0])
    if info.st_size < limit and stat.S_ISREG(info.st_mode):
        data = os.read(held[0], info.st_size + 1)  # one more: finds files that grow, or say 0 but have data
        if len(data) == info.st_size:
            close_all(held)
            return data, info
        os.lseek(held[0], 0, os.SEEK_SET)
    return None


def close_all(held: list[int]) -> None:
    """Close the descriptors in `held`. An interrupt cannot come between taking one out of the list and closing it."""
    for _ in map(os.close, map(held.pop, repeat(-1, len(held)))):
        pass


def read_size_of(chunk_size: int) -> int:
    """Bytes to request per read for chunks of `chunk_size` bytes, which may be 0."""
    return min(max(chunk_size, _SMALLEST_READ), LARGEST_PIECE)


class OpenSource:
    """The opened source of an entry: an iterator of bytes-like chunks.

    Attributes:
        size: bytes to come, if the source knows (objects in memory, files), else None.
        facts: facts about a file, else None.
        cut: the reader of a file that may grow and is cut at its opening size, else None.
        file_read: bytes to read at a time from a file given by its path.
    """

    file_read = FILE_READ

    def __init__(
        self,
        entry: Entry,
        read_size: int = _SMALLEST_READ,
        *,
        given: tuple[Any] | None = None,
        begun: tuple[Any, ...] = (),
        is_owned: bool = True,
        is_part: bool = False,
        cuts: bool = False,
        closing: Closing | None = None,
        held: list[int] | None = None,
    ) -> None:
        """Open the source of `entry`.

        Args:
            given: the result of the entry's callable, as a 1-tuple, if it was called already.
            begun: chunks already read from `given`.
            is_owned: whether to close the source.
            is_part: whether a part of the source is read, so that a file may also stand at its end.
            cuts: whether to cut a file that grows at the size it had when opened, unless the entry says otherwise.
            closing: closes the source, for an owner that must be able to close it whenever an interrupt comes. It
                already contains `given`.
            held: a list with the descriptor of the entry's file, if that is open already. It is taken out of the list.
        """
        self.size: int | None = None
        self.facts: FileFacts | None = None
        self.cut: Cut | None = None
        self._cut_at = cut_at(entry, cuts)
        self._may_be_empty = is_part or entry.source_size == 0
        self.in_memory = False  # whether the next chunk is available without reading or calling anything
        self._name = entry.name
        self._read_size = read_size_of(read_size)
        self._exit = Closing() if closing is None else closing
        self._begun = begun
        self._held = held
        self.peeked: list[bytes] = []  # the chunks that `peek` read
        try:
            if entry.is_dir:
                self._chunks = self._directory(entry)
            else:
                is_held = given is not None and closing is not None
                source, called = (given[0], True) if given else (entry.source, False)
                self._chunks = self._open(source, called, is_owned=is_owned, is_held=is_held)
        except BaseException as exc:
            try:
                self._exit.close()
            except Exception as second:
                note_closing(exc, second, "its source")
            raise

    def __iter__(self) -> Iterator[Buffer]:
        return self  # not self._chunks: dropping this object closes the source

    def __next__(self) -> Buffer:
        return next(self._chunks)

    def close(self) -> None:
        """Close the source. Further calls do nothing."""
        try:
            self._exit.close()
        finally:
            self._chunks = iter(())  # what gives the chunks refers to this object

    def peek(self, limit: int, is_awaited: Callable[[int], bool]) -> bytes | None:
        """Return the complete data if the source ends within less than `limit` bytes; else None.

        The data read comes again as the next chunks. Stops early if `is_awaited(bytes_read)`, and at an empty chunk:
        the source has no data yet. A source read to its end is closed. An error of reading comes after the chunks.
        """
        if self.size is not None and self.size >= limit:
            return None
        chunks = self.peeked
        rest: Iterator[Buffer] = self._chunks
        is_whole = False
        try:
            if read_head(map(_as_bytes, rest), chunks, limit, is_awaited):
                self.close()
                is_whole = True
        except Exception as exc:
            rest = raising(exc)
        self._chunks = chain(chunks, rest)
        return b"".join(chunks) if is_whole else None

    def _open(
        self, source: Any, called: bool = False, *, is_owned: bool = True, is_held: bool = False
    ) -> Iterator[Buffer]:
        """Return the chunks of `source`. is_held: whether `_exit` already closes it."""
        if isinstance(source, str):
            raise EntryTypeError(
                f"entry {self._name!r}: the source is a str, which could be a path or text: "
                "give pathlib.Path(...) for the file, or text.encode() for the data"
            )
        kind = type(source)
        # The most common kinds first: checking for the others takes as long as the rest of this method.
        if kind is bytes:
            return self._memory(source, memoryview(source))
        if kind in PLAIN_FILES:
            if is_owned and not is_held:
                self._exit.add(source)
            return self._file(source, source.read)
        if kind in FUNCTIONS and not called:
            return self._open(self._exit.made(source), called=True, is_held=True)
        if isinstance(source, os.PathLike):
            return self._path(source)
        if is_held and isinstance(source, type):
            self._exit.instead(source, None)  # its `close` belongs to its instances
        if not self._begun:
            refuse_used(source, self._name)
        if is_process(source):
            if not is_held:
                self._exit.add(source)
            if source.stdout is not None:
                self._exit.add(source.stdout)  # which is closed before the process is waited for
            self._exit.instead(source, partial(wait_for_process, source))
            return self._iterable(chunks_of(source, self._name, self._read_size))
        response = response_of(source, self._name)
        if response is not None:
            return self._response(source, response, is_owned)
        view = _view(source)
        read = reader_of(source, self._name) if view is None else None
        if view is None and is_owned and is_context(source) and (read is None or must_be_left(source)):
            entered = self._exit.entered(source)
            return self._open(entered, called, is_owned=not closes_itself(source, entered))
        if is_owned and not is_held and not isinstance(source, type):
            # Before the source is used: a source that is refused is closed, too.
            self._exit.add(source)
        if view is not None:
            return self._memory(source, view)
        if read is not None:
            return self._file(source, read)
        if isinstance(source, Iterable) and not isinstance(source, Mapping | Set):
            return self._iterable(source)
        if callable(source) and not called:
            return self._open(self._exit.made(source), called=True, is_held=True)
        raise EntryTypeError(self._refusal(source, called))

    def _refusal(self, source: Any, called: bool) -> str:
        what = "its callable returned" if called else "the source is"
        head = f"entry {self._name!r}: {what} {typed_repr(source)}, which is not data"
        if source is None and not called:
            return f"entry {self._name!r} has no source: give b'' for an empty member, or end the name in '/'"
        if isinstance(source, Mapping | Set):
            return f"{head}: its order has no meaning; give an iterable of bytes in the right order"
        if isinstance(source, AsyncIterable) or hasattr(source, "__await__"):
            return f"{head} for stream_zip: it is asynchronous; use async_stream_zip"
        return f"{head}: give bytes, a path object, a file object, an iterable of bytes, or a callable for one of these"

    def _directory(self, entry: Entry) -> Iterator[Buffer]:
        self.size = 0
        if isinstance(entry.source, os.PathLike):
            info = os.stat(entry.source)
            if not stat.S_ISDIR(info.st_mode):
                raise NotAFileError(
                    f"entry {self._name!r}: {os.fspath(entry.source)!r} is not a directory, but the name ends in '/': "
                    "give the path of a directory, or take the slash away"
                )
            self.facts = facts_of(info)._replace(size=0)
        elif entry.source is not None and entry.source != b"":
            self._exit.add(entry.source)
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
        held: list[int] = []
        self._exit.callback(partial(deque, map(os.close, held), 0))  # no Python code, see `Closing`
        if self._held:
            held.extend(map(self._held.pop, _LAST))
        else:
            self._open_file(held, path)
        info = os.fstat(held[0])
        if not stat.S_ISREG(info.st_mode):
            raise not_a_file(self._name, path, info.st_mode)
        self.facts = facts_of(info, source)
        read = partial(os.read, held[0])
        self.size, self.cut = size_and_cut(info, read, held[0], self._cut_at)
        self.file_read = max(self._read_size, FILE_READ)
        reader = self.cut or read
        return self._reads(lambda _: reader(self.file_read), 0)

    def _open_file(self, held: list[int], path: Any) -> None:
        try:
            open_into(held, path)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # a socket
                raise not_a_file(self._name, path, os.stat(path).st_mode) from exc
            raise

    def _response(self, source: Any, response: Body, is_owned: bool) -> Iterator[Buffer]:
        if response.is_async and not response.is_loaded:
            raise EntryTypeError(
                f"entry {self._name!r}: the source is the response of an asynchronous client: use async_stream_zip"
            )
        if is_owned:
            self._exit.instead(source, response.close())
        response.begin()
        if response.data is not None:
            return self._open(response.data, called=True)
        self.size = response.length
        return self._iterable(response.chunks(self._read_size))

    def _file(self, file: Any, read: Read) -> Iterator[Buffer]:
        if isinstance(file, io.TextIOBase):
            raise EntryTypeError(
                f"entry {self._name!r}: the file object gives text: open it in binary mode, as in open(path, 'rb')"
            )
        begun = self._begun
        unread = None if self._may_be_empty or any(type(chunk) is not bytes or chunk for chunk in begun) else file
        return self._reads(_resumed(begun, read) if begun else read, self._read_size, unread)

    def _reads(self, read: Callable[[int], Any], size: int, unread: Any = None) -> Iterator[Buffer]:
        """Yield what `read` returns. unread: a file object that must not stand at its end."""
        while True:
            chunk = read(size)
            if chunk is None:
                raise BlockingIOError(
                    f"entry {self._name!r}: the file object has no data yet (read() returned None): make it blocking"
                )
            if not size_of(chunk, self._name):
                if unread is not None:
                    refuse_at_end(unread, self._name)
                return
            unread = None
            yield chunk

    def _iterable(self, source: Iterable[Any]) -> Iterator[Buffer]:
        iterator = iter(source)
        if iterator is not source:
            self._exit.add(iterator)  # closed before the source
        # An empty chunk means that the source has no data yet: it is passed on, so that the consumer gets control.
        name = self._name  # not self, which keeps the generator
        return (chunk if size_of(chunk, name) else b"" for chunk in iterator)


def read_head(iterator: Iterable[Any], chunks: list[Any], limit: int, is_awaited: Callable[[int], bool]) -> bool:
    """Append the chunks of `iterator` to `chunks`, as `OpenSource.peek` reads them. Returns whether it ended.

    It also stops at a chunk that may not be bytes-like.
    """
    size = 0
    for chunk in iterator:
        if type(chunk) is not bytes:
            if type(chunk) not in BUFFERS:
                chunks.append(chunk)
                return False
            chunk = bytes(flat_view(chunk))  # a copy: the source may reuse its buffer
        chunks.append(chunk)
        size += len(chunk)
        if not chunk or size >= limit or is_awaited(size):
            return False
    return True


def _as_bytes(chunk: Buffer) -> bytes:
    return chunk if type(chunk) is bytes else bytes(flat_view(chunk))


def raising(error: Exception) -> Iterator[Any]:
    """An iterator that raises `error`."""
    raise error
    yield


def _resumed(begun: tuple[Any, ...], read: Read) -> Read:
    rest = list(reversed(begun))
    return lambda size: rest.pop() if rest else read(size)


def cut_at(entry: Entry, by_default: bool) -> int | None:
    """Most bytes to take of the file of `entry` if it grows. Returns None if a file that grows is an error."""
    cuts = by_default if entry.grown is None else entry.grown == "cut"
    return (MAX_SIZE if entry.source_size is None else entry.source_size) if cuts else None


def size_and_cut(
    info: os.stat_result, read: Callable[[int], Any], descriptor: int, most: int | None
) -> tuple[int | None, Cut | None]:
    """Return the bytes to take of an opened file, if known, and a reader that stops there. most: see `cut_at`."""
    size = stated_size(info)
    if most is None or size is None:
        return size, None
    size = min(size, most)
    return size, Cut(read, descriptor, size)


def size_of(chunk: Any, name: str) -> int:
    """Size in bytes of a chunk of the entry `name`. Raises EntryTypeError if the chunk is not bytes-like."""
    if type(chunk) is bytes:  # the most common
        return len(chunk)
    if isinstance(chunk, str):
        raise EntryTypeError(f"entry {name!r}: the source gave {typed_repr(chunk)}: encode text to bytes first")
    view = _view(chunk)
    if view is None and hasattr(chunk, "__await__"):
        said = typed_repr(chunk)
        if (close := close_of(chunk)) is not None:  # a coroutine would warn that it was never awaited
            close()
        raise EntryTypeError(
            f"entry {name!r}: the source gave {said}, which must be awaited: the source is asynchronous: use "
            "async_stream_zip"
        )
    if view is None:
        raise EntryTypeError(f"entry {name!r}: the source gave {typed_repr(chunk)}: its chunks must be bytes-like")
    with view:
        return view.nbytes


def _view(source: Any) -> memoryview | None:
    """Return `source` as a flat view of bytes, or None if it is not a buffer."""
    try:
        return flat_view(source)
    except TypeError:
        return None
