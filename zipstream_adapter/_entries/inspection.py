"""Inspect a source before it is read: its size, its date, whether it can be read again."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from .._buffers import view_of
from .._checks import typed_repr
from ..errors import CRC32MismatchError, EntryTypeError, SizeMismatchError
from .coercion import coerce
from .entry import Entry
from .files.regular import not_a_file, open_to_read
from .files.virtual import stated_size
from .one_pass import refuse_finished
from .source import FileFacts, OpenSource, facts_of
from .validation import MAX_SIZE
from .zip_copy import FromPath


def check_entries(entries: Iterable[Any]) -> Iterable[Any]:
    """Return `entries`.

    Raises EntryTypeError if it is not an iterable of entries, for example if it is one entry; StreamStateError if it is
    a generator that has ended.
    """
    refuse_finished(entries)
    if isinstance(entries, str | bytes | bytearray | memoryview | os.PathLike | Entry | Mapping):
        raise EntryTypeError(
            f"entries={typed_repr(entries)} is one thing, not an iterable of entries: give a list such as "
            "[('name', data)], or walk(path) for a directory"
        )
    if type(entries) is tuple and len(entries) == 2 and isinstance(entries[0], str) and not _is_entry_like(entries[1]):
        raise EntryTypeError(f"entries={typed_repr(entries)} is one pair, not an iterable of entries: put it in a list")
    if isinstance(entries, AsyncIterable) and not isinstance(entries, Iterable):
        raise EntryTypeError(f"entries={typed_repr(entries)} is asynchronous: give a list, or use async_stream_zip")
    if not isinstance(entries, Iterable):
        raise EntryTypeError(
            f"entries={typed_repr(entries)} cannot be iterated over: give a list or a generator of entries"
        )
    return entries


def _is_entry_like(item: Any) -> bool:
    return isinstance(item, str | os.PathLike | Entry | Mapping | tuple)


def read_total(entries: Iterable[Any]) -> int | None:
    """Bytes of data in all of `entries`. Returns None if the size of any is unknown until it is opened."""
    if not isinstance(entries, Sequence):
        return None
    total = 0
    for item in entries:
        size = _stated_size(item)
        if size is None:
            return None
        total += size
    return total


def _stated_size(item: Any) -> int | None:
    try:
        entry = coerce(item)
        if entry.source_size is not None or entry.is_dir:
            return entry.source_size or 0
        if isinstance(entry.source, os.PathLike):
            return os.stat(entry.source).st_size
        with view_of(entry.source) as view:
            return view.nbytes
    except Exception:  # not a buffer, or an invalid item: the error is raised when its turn comes
        return None


def size_to_read(entry: Entry, found: int | None) -> int | None:
    """Bytes that the source of `entry` must give, if known. found: the size that the opened source reports."""
    stated = entry.source_size
    if None not in (stated, found) and stated != found:
        raise SizeMismatchError(f"entry {entry.name!r}: its data has {found} bytes, not the declared {stated}")
    return stated if found is None else found


def size_of_chunks(source: Any) -> int | None:
    """Bytes in a list or tuple of bytes-like objects. Returns None for anything else."""
    if not isinstance(source, list | tuple):
        return None
    sizes = [len(chunk) if type(chunk) is bytes else _size_in_memory(chunk) for chunk in source]
    return None if None in sizes else sum(size for size in sizes if size is not None)


class SourceInfo(NamedTuple):
    """Facts about an entry's data before any of it is read.

    Attributes:
        source: the entry's source, until `require_rereadable` replaces it by the form that `MemberTable.sources` holds.
        size: bytes of data; None if not known.
        promised: the size that a stream knows before the data.
        facts: facts about a file, else None.
        date, identity: the file's modification time in nanoseconds, and its inode.
        crc32: the CRC-32 from the cache (see `ChecksumCache`), else None.
    """

    source: Any
    size: int | None
    promised: int | None
    facts: FileFacts | None = None
    date: int = 0
    identity: int = 0
    crc32: int | None = None


def inspect_source(entry: Entry) -> SourceInfo:
    """Return the facts that `entry` and its source state. Files are inspected, but nothing is called or read."""
    source = entry.source
    if entry.is_dir:
        opened = OpenSource(entry)
        opened.close()
        found = SourceInfo(None, 0, 0, opened.facts)
    elif isinstance(source, os.PathLike):
        found = inspect_file(entry)
    else:
        size = len(source) if type(source) is bytes else None if _is_function(source) else _size_in_memory(source)
        # A copied member has a date as well, its archive's, which `FromPath` checks itself.
        found = SourceInfo(source, size, size, date=source.modified if type(source) is FromPath else 0)
    size = size_to_read(entry, found.size)
    if found.size is None:
        found = found._replace(size=size, promised=size)
    if size == 0 and entry.crc32 and not entry.is_raw:
        raise CRC32MismatchError(
            f"entry {entry.name!r}: it has no data, so its CRC-32 is 0, not the declared {entry.crc32:#010x}"
        )
    return found


def _is_function(source: Any) -> bool:
    """Whether `source` can only be called. Other callables need a closer look."""
    return type(source) in (FunctionType, MethodType, partial)


def inspect_file(entry: Entry) -> SourceInfo:
    """Return the facts of the file of `entry`, without regard to what the entry declares."""
    name, path = entry.name, os.fspath(entry.source)
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise not_a_file(name, path, info.st_mode)
    size = stated_size(info)
    if size is None and not info.st_size and not _gives_data(path):
        size = 0
    return SourceInfo(os.fsdecode(path), size, size, facts_of(info, entry.source), info.st_mtime_ns, inode_of(info))


def counts_in_cache(entry: Entry, found: SourceInfo) -> bool:
    """Whether a `ChecksumCache` can know the CRC-32 of this entry."""
    return found.facts is not None and not entry.is_dir and not entry.is_raw and entry.crc32 is None


def inode_of(info: os.stat_result) -> int:
    """The inode number, cut to 64 bits: some systems have longer ones."""
    return info.st_ino & MAX_SIZE


def _gives_data(path: Any) -> bool:
    descriptor = open_to_read(path)
    try:
        return bool(os.read(descriptor, 1))
    finally:
        os.close(descriptor)


def _size_in_memory(source: Any) -> int | None:
    try:
        with view_of(source) as view:
            return view.nbytes
    except TypeError:
        return None
