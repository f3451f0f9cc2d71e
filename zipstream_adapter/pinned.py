"""What an entry's source says of itself without being opened, and sources that give the same data again."""

from __future__ import annotations

import inspect
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from .archived import FromPath
from .describe import size_to_read
from .entry import Entry
from .errors import CRC32MismatchError, EntryError, EntryTypeError
from .fields import MAX_SIZE, described
from .source import FileFacts, OpenSource, facts_of, flat_view, not_a_file, open_to_read, size_of

_ASYNCHRONOUS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Measured(NamedTuple):
    """What is known of an entry's data before any of it is read.

    Attributes:
        source: as `Table.sources` has it; what the entry was given, until `rereadable` has seen to it.
        size: bytes of data there are; None where that is not known.
        promised: the size that a stream knows before the data.
        facts: what a file says of itself.
        date, identity: its exact date in nanoseconds, and its inode.
        crc32: what is remembered of it (see `ChecksumCache`).
    """

    source: Any
    size: int | None
    promised: int | None
    facts: FileFacts | None = None
    date: int = 0
    identity: int = 0
    crc32: int | None = None


def measured(entry: Entry) -> Measured:
    """What `entry` and its source say. Files are looked at, nothing is called or read."""
    source = entry.source
    if entry.is_dir:
        opened = OpenSource(entry)
        opened.close()
        found = Measured(None, 0, 0, opened.facts)
    elif isinstance(source, os.PathLike):
        found = _measured_file(entry)
    else:
        size = len(source) if type(source) is bytes else None if _is_function(source) else _size_in_memory(source)
        # What a copy comes from has a date as well, which it looks after itself.
        found = Measured(source, size, size, date=source.modified if type(source) is FromPath else 0)
    size = size_to_read(entry, found.size)
    if found.size is None:
        found = found._replace(size=size, promised=size)
    if size == 0 and entry.crc32 and not entry.is_raw:
        raise CRC32MismatchError(
            f"entry {entry.name!r}: it has no data, and so the CRC-32 0, not the declared {entry.crc32:#010x}"
        )
    return found


def _is_function(source: Any) -> bool:
    """Whether it can be nothing else; what else can be called is looked at more closely."""
    return type(source) in (FunctionType, MethodType, partial)


def _measured_file(entry: Entry) -> Measured:
    name, path = entry.name, os.fspath(entry.source)
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise not_a_file(name, path, info.st_mode)
    # A file that is made as it is read, as under /proc, says 0 and gives more.
    size = None if info.st_size == 0 and _gives_data(path) else info.st_size
    return Measured(os.fsdecode(path), size, size, facts_of(info, entry.source), info.st_mtime_ns, inode_of(info))


def counts_in_cache(entry: Entry, found: Measured) -> bool:
    """Whether a `ChecksumCache` can have something to say."""
    return found.facts is not None and not entry.is_dir and not entry.is_raw and entry.crc32 is None


def tag_of(source: Any) -> bytes | None:
    """What names the data of an object in a store; None for all other sources, and where its store names it not."""
    if type(source).__name__ != "FromStore":
        return None
    from .store_source import FromStore  # with all that HTTP takes: not for every layout

    return source.tag if isinstance(source, FromStore) else None


def inode_of(info: os.stat_result) -> int:
    """An inode, in 64 bits: some systems have more."""
    return info.st_ino & MAX_SIZE


def _gives_data(path: Any) -> bool:
    descriptor = open_to_read(path)
    try:
        return bool(os.read(descriptor, 1))
    finally:
        os.close(descriptor)


def _size_in_memory(source: Any) -> int | None:
    try:
        with memoryview(source) as view:
            return view.nbytes
    except TypeError:
        return None


def rereadable(entry: Entry, found: Measured) -> Measured:
    """`found`, with a source that can be read again and again; what cannot be is refused.

    What is in memory and could change is copied.
    """
    source = entry.source
    if type(source) is FunctionType and source.__code__.co_flags & _ASYNCHRONOUS:
        raise EntryTypeError(f"entry {entry.name!r}: the source is {described(source)}, and a layout calls no such one")
    if entry.is_dir or type(source) is bytes or _is_function(source) or isinstance(source, os.PathLike):
        pass
    elif callable(getattr(source, "read", None)) or isinstance(source, Iterator):
        raise EntryTypeError(
            f"entry {entry.name!r}: the source is {described(source)}, which can be read only once, and a layout has "
            "to read again: give bytes, a path object, or a callable that returns it anew (and its size)"
        )
    elif found.size is not None and _size_in_memory(source) is not None:
        with flat_view(source) as view:
            found = found._replace(source=bytes(view))
    elif isinstance(source, list | tuple):
        found = _joined(entry, found)
    elif isinstance(source, str | Mapping | Set) or not (callable(source) or isinstance(source, Iterable)):
        OpenSource(entry).close()  # which says what ails it
        raise EntryTypeError(f"entry {entry.name!r}: the source is {described(source)}, which is no data")
    if found.size is None:
        raise EntryError(
            f"entry {entry.name!r}: the size of its data is not known beforehand, and a layout needs it: declare size=…"
        )
    return found


def _joined(entry: Entry, found: Measured) -> Measured:
    for chunk in entry.source:
        size_of(chunk, entry.name)
    data = b"".join(entry.source)
    size_to_read(entry, len(data))
    return found._replace(source=data, size=len(data))
