"""Reports of a stream: progress, and entries that were left out or cut."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from .._entries.coercion import masked
from .._entries.entry import Entry


class Skipped(NamedTuple):
    """An entry that was left out, and why.

    Attributes:
        entry: the Entry, or the item as it was given if it could not be made into an Entry.
        error: the exception.
    """

    entry: Any
    error: Exception

    def __repr__(self) -> str:
        entry = masked(self.entry) if isinstance(self.entry, Mapping) else self.entry
        return f"Skipped(entry={entry!r}, error={self.error!r})"


class Grown(NamedTuple):
    """An entry whose file grew while it was read; see `grown` of `stream_zip`.

    Attributes:
        entry: the entry.
        size: bytes of the file that are in the archive.
    """

    entry: Entry
    size: int


class Progress(NamedTuple):
    """State of a stream after a chunk of data, the end of a member, or the end of the archive. Sizes are in bytes.

    For a raw entry, data means the compressed bytes that its source gives.

    Attributes:
        entry: the entry that is being read, or was read last.
        entry_read: bytes read of that entry.
        entry_size: its size, if known, else None.
        read: bytes of data that are in the archive or being written to it.
        written: bytes of the archive made so far.
        members: members finished.
        members_total: number of entries, if `entries` is a sequence, else None.
        read_total: bytes of data of all entries, if `entries` is a sequence and each entry states its size, else None.
    """

    entry: Entry
    entry_read: int
    entry_size: int | None
    read: int
    written: int
    members: int
    members_total: int | None
    read_total: int | None


OnError = Callable[[Any, Exception], Entry | None]
OnProgress = Callable[[Progress], object]
# Of an asynchronous stream.
AsyncOnError = Callable[[Any, Exception], Entry | Awaitable[Entry | None] | None]
