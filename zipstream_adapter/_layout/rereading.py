"""Reads a range of a source again; raises if the source changed since the layout was made."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

from .._buffers import LARGEST_PIECE, flat_view, slices
from .._entries.entry import Entry
from .._entries.files.regular import open_to_read
from .._entries.foreign.readers import is_seekable
from .._entries.foreign.responses import response_of
from .._entries.inspection import inode_of
from .._entries.source import FILE_READ, OpenSource
from ..errors import EntryTypeError, SizeMismatchError, SourceChangedError

_DATES = 1 << 64  # how many dates a `MemberTable` can tell apart
Chunks = Generator["bytes | memoryview", None, None]


class Piece(NamedTuple):
    """The needed piece of data in memory.

    Attributes:
        start: offset of the piece in the data.
        data: the bytes of the piece.
    """

    start: int
    data: bytes


class PinnedSource(NamedTuple):
    """A member's source, with the properties that its data must still have.

    Attributes:
        name: name of the member.
        source: its source as in `MemberTable.sources`, or a `Piece` of its data.
        size: bytes of data.
        date: modification date of its file, in nanoseconds, modulo 2**64.
        identity: inode of its file; 0 if inodes are not compared.
    """

    name: str
    source: Any
    size: int
    date: int
    identity: int


def read_range(pin: PinnedSource, start: int, stop: int) -> Chunks:
    """Return an iterator of the data from `start` to `stop`; the caller closes it.

    Raises SourceChangedError for a file, and SizeMismatchError for other sources, before data is handed over that does
    not match; at the end of the data also if there is more data than expected.
    """
    source = pin.source
    if source is None:
        return _nothing()
    if type(source) is bytes:
        return slices(memoryview(source)[start:stop], LARGEST_PIECE) if start or stop < len(source) else _whole(source)
    if type(source) is Piece:
        return slices(memoryview(source.data)[start - source.start : stop - source.start], LARGEST_PIECE)
    if isinstance(source, str):
        return _file_part(pin, start, stop)
    return _given_part(pin, start, stop)


def _nothing() -> Chunks:
    return
    yield


def _whole(data: bytes) -> Chunks:
    if len(data) > LARGEST_PIECE:
        yield from slices(memoryview(data), LARGEST_PIECE)
    elif data:
        yield data


def _file_part(pin: PinnedSource, start: int, stop: int) -> Chunks:
    descriptor = open_to_read(pin.source)
    try:
        _check_file(pin, descriptor)
        os.lseek(descriptor, start, os.SEEK_SET)
        while start < stop:
            chunk = os.read(descriptor, min(FILE_READ, stop - start))
            _check_file(pin, descriptor)
            if not chunk:
                raise _changed(pin, f"it gave {start} bytes, not {pin.size}")
            start += len(chunk)
            yield chunk
    finally:
        os.close(descriptor)


def _check_file(pin: PinnedSource, descriptor: int) -> None:
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        raise _changed(pin, "it is not a regular file any more")
    if info.st_size != pin.size:
        raise _changed(pin, f"it has {info.st_size} bytes, not {pin.size}")
    if not _has_date(info, pin):
        raise _changed(pin, "it has another date of modification")
    if pin.identity and inode_of(info) != pin.identity:
        raise _changed(pin, "another file has taken its place")


def stat_of(pin: PinnedSource) -> os.stat_result | None:
    """Return the current stat result of a file; None if the file has changed."""
    try:
        info = os.stat(pin.source)
    except OSError:
        return None
    same = info.st_size == pin.size and _has_date(info, pin) and inode_of(info) == pin.identity
    return info if same else None


def _has_date(info: os.stat_result, pin: PinnedSource) -> bool:
    return not (info.st_mtime_ns - pin.date) % _DATES


def _changed(pin: PinnedSource, how: str) -> SourceChangedError:
    return SourceChangedError(
        f"entry {pin.name!r}: its file {pin.source!r} has changed since the layout was made: {how}. Make another layout"
    )


def _given_part(pin: PinnedSource, start: int, stop: int) -> Chunks:
    """Read from the result of a callable, or from an iterable that can be iterated over again."""
    source = pin.source
    given = iter(source) if isinstance(source, Iterable) else source()
    opened = OpenSource(Entry(pin.name), FILE_READ, given=(given,), is_part=True)
    try:
        if opened.facts is not None:
            raise EntryTypeError(
                f"entry {pin.name!r}: its callable returned a path, and a layout must know the file in advance: give "
                "the path itself as the source"
            )
        if opened.size not in (None, pin.size):
            raise _mismatch(pin, opened.size)
        yield from _between(pin, opened, _moved(given, start), start, stop)
    except Exception as exc:
        _close_after(exc, opened)
        raise
    except BaseException:
        opened.close()
        raise
    opened.close()


def _close_after(failure: Exception, opened: OpenSource) -> None:
    try:
        opened.close()
    except Exception as second:
        failure.add_note(f"(and closing its source raised {second!r})")


def _moved(given: Any, start: int) -> int:
    """Seek a file object to `start` of its data, if it can seek; returns its offset in the data."""
    if not start or not is_seekable(given):
        return 0
    if response_of(given, "") is not None:
        return 0  # its length is checked from its position when it was opened
    given.seek(given.tell() + start)
    return start


def _between(pin: PinnedSource, chunks: OpenSource, at: int, start: int, stop: int) -> Chunks:
    """Return the bytes from `start` to `stop` of `chunks`, which begin at offset `at`. b"" means that data takes time.

    The last piece is held back until the data has ended, because it must not be handed over if more data follows.
    """
    last = b""
    for chunk in chunks:
        with flat_view(chunk) as view:
            first, at = at, at + len(view)
            if at > pin.size:
                raise _mismatch(pin, None)
            part: bytes | memoryview = view[max(0, start - first) : max(0, stop - first)]
            if type(chunk) is bytes and len(part) == len(chunk):
                part = chunk  # bytes are passed on without a copy
            if at < pin.size or stop < pin.size or not len(view):
                yield part
            else:
                last = bytes(part)
        if at >= stop and stop < pin.size:
            return
    if at < pin.size:
        raise _mismatch(pin, at)
    yield last


def _mismatch(pin: PinnedSource, size: int | None) -> SizeMismatchError:
    gave = "more" if size is None else f"{size} bytes"
    return SizeMismatchError(f"entry {pin.name!r}: its source gave {gave}, not the declared {pin.size} bytes of data")
