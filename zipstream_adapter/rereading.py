"""Any part of a pinned source's data, read again: what does not fit what was known of it never leaves here."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

from .entry import Entry
from .errors import EntryTypeError, SizeMismatchError, SourceChangedError
from .pinned import inode_of
from .source import FILE_READ, LARGEST_PIECE, OpenSource, flat_view, open_to_read, slices

Chunks = Generator["bytes | memoryview", None, None]


class Piece(NamedTuple):
    """Of data in memory, that from `start` on which is needed."""

    start: int
    data: bytes


class Pin(NamedTuple):
    """What the data of one member has to be.

    Attributes:
        name: the member's.
        source: as `Table.sources` has it; or a piece of it.
        size: bytes of data.
        date: its file's, in nanoseconds.
        identity: its file's inode; 0 where that does not count.
    """

    name: str
    source: Any
    size: int
    date: int
    identity: int


def part_of(pin: Pin, start: int, stop: int) -> Chunks:
    """The data from `start` to `stop`. Close it.

    Raises SourceChangedError for a file, and SizeMismatchError for what else gives data, before anything leaves that
    does not fit; at the end of the data also where there is more of it.
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


def _file_part(pin: Pin, start: int, stop: int) -> Chunks:
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


def _check_file(pin: Pin, descriptor: int) -> None:
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        raise _changed(pin, "it is no file any more")
    if info.st_size != pin.size:
        raise _changed(pin, f"it has {info.st_size} bytes, not {pin.size}")
    if info.st_mtime_ns != pin.date:
        raise _changed(pin, "it has another date of modification")
    if pin.identity and inode_of(info) != pin.identity:
        raise _changed(pin, "another file has taken its place")


def stat_of(pin: Pin) -> os.stat_result | None:
    """What there is to say of a file now, if it is what it was."""
    try:
        info = os.stat(pin.source)
    except OSError:
        return None
    same = info.st_size == pin.size and info.st_mtime_ns == pin.date and inode_of(info) == pin.identity
    return info if same else None


def _changed(pin: Pin, how: str) -> SourceChangedError:
    return SourceChangedError(
        f"entry {pin.name!r}: its file {pin.source!r} has changed since the layout was made: {how}. Make another layout"
    )


def _given_part(pin: Pin, start: int, stop: int) -> Chunks:
    """What a callable gives, or an iterable that can be iterated over again."""
    source = pin.source
    given = iter(source) if isinstance(source, Iterable) else source()
    opened = OpenSource(Entry(pin.name), FILE_READ, given=(given,))
    try:
        if opened.facts is not None:
            raise EntryTypeError(
                f"entry {pin.name!r}: its callable returned a path, and of a file a layout has to know beforehand: "
                "give the path itself as the source"
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
    """Move a file object on to `start`, where it can be; returns where in the data it is."""
    if not start or not callable(getattr(given, "read", None)) or not _is_seekable(given):
        return 0
    given.seek(given.tell() + start)
    return start


def _is_seekable(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return callable(seekable) and bool(seekable())


def _between(pin: Pin, chunks: OpenSource, at: int, start: int, stop: int) -> Chunks:
    """What is from `start` to `stop` of `chunks`, the first of which is at `at`. Empty ones say that it takes time.

    The last of all waits for the end of the data: where more follows, it should not have left.
    """
    last = b""
    for chunk in chunks:
        with flat_view(chunk) as view:
            first, at = at, at + len(view)
            if at > pin.size:
                raise _mismatch(pin, None)
            part: bytes | memoryview = view[max(0, start - first) : max(0, stop - first)]
            if type(chunk) is bytes and len(part) == len(chunk):
                part = chunk  # which passes without a copy
            if at < pin.size or stop < pin.size or not len(view):
                yield part
            else:
                last = bytes(part)
        if at >= stop and stop < pin.size:
            return
    if at < pin.size:
        raise _mismatch(pin, at)
    yield last


def _mismatch(pin: Pin, size: int | None) -> SizeMismatchError:
    gave = "more" if size is None else f"{size} bytes"
    return SizeMismatchError(f"entry {pin.name!r}: its source gave {gave}, not the declared {pin.size} bytes of data")
