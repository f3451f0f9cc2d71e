"""What a stream is told, and what it tells of itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from zipfile import ZIP_STORED

from .checksums import ChecksumCache
from .coding import Coding
from .coercion import coerce, masked
from .compress import check_level, method_number
from .engines import Engine
from .entry import Entry
from .errors import EntryTypeError, OptionError
from .fields import check_archive_comment, check_password, described
from .lookahead import DEFAULT_LOOKAHEAD
from .names import DuplicatePolicy, NamePolicy
from .prefetch import check_prefetch
from .sink import DEFAULT_CHUNK_SIZE
from .small import StreamArchive

if TYPE_CHECKING:
    from concurrent.futures import Executor


class Skipped(NamedTuple):
    """An entry that `on_error` left out (the Entry, or the item as it was given where it was none), and why."""

    entry: Any
    error: Exception

    def __repr__(self) -> str:
        entry = masked(self.entry) if isinstance(self.entry, Mapping) else self.entry
        return f"Skipped(entry={entry!r}, error={self.error!r})"


class Progress(NamedTuple):
    """Where a stream stands, after each chunk of data, at each member's end, and at the archive's. Sizes are in bytes.

    Of a raw entry, what counts as data is what its source gives: compressed bytes.

    Attributes:
        entry: the entry that is being read, or was read last.
        entry_read: bytes read of it; entry_size: what it will have, where known, else None.
        read: bytes of data that are in the archive, or on their way there; written: bytes of the archive made so far.
        members: members finished; members_total: entries there are, where `entries` is a sequence, else None.
        read_total: bytes of data in all entries, where they are a sequence and every one states its size, else None.
    """

    entry: Entry
    entry_read: int
    entry_size: int | None
    read: int
    written: int
    members: int
    members_total: int | None
    read_total: int | None


Kind = TypeVar("Kind", bound=StreamArchive)
OnError = Callable[[Any, Exception], Entry | None]
OnProgress = Callable[[Progress], object]


class Options(NamedTuple):
    """What `stream_zip` takes besides the entries."""

    compression: int | str = ZIP_STORED
    level: int | None = None
    chunk_size: int = DEFAULT_CHUNK_SIZE
    lookahead: int = DEFAULT_LOOKAHEAD
    comment: bytes = b""
    names: NamePolicy = "strict"
    duplicates: DuplicatePolicy = "error"
    on_error: OnError | None = None
    on_progress: OnProgress | None = None
    extended_timestamps: bool = True
    engine: Engine = "auto"
    workers: int | None = None
    executor: Executor | None = None
    prefetch: int = 0
    checksums: ChecksumCache | None = None
    password: str | bytes | None = None
    # For modules of this package only: makes what codes the members, whatever engine, workers and executor say.
    make_coding: Callable[[], Coding] | None = None

    def checked(self) -> Options:
        """These, if they can be, the password as bytes; what no archive refuses by itself is refused here."""
        check_level(method_number(self.compression) or None, self.level)
        check_archive_comment(self.comment)
        check_prefetch(self.prefetch)
        if not isinstance(self.checksums, ChecksumCache | None):
            raise OptionError(f"checksums={self.checksums!r}: give a ChecksumCache, or None")
        for name in ("on_error", "on_progress"):
            callback = getattr(self, name)
            if callback is not None and not callable(callback):
                raise OptionError(f"{name}={callback!r}: give a function, or None")
        return self if self.password is None else self._replace(password=check_password(self.password))

    def password_of(self, entry: Entry) -> bytes | None:
        """What the data of `entry` is encrypted with, if it is."""
        if entry.is_dir or entry.password is False:
            return None
        return entry.password or cast("bytes | None", self.password)  # `checked` has seen to it

    def archive(self, kind: type[Kind]) -> Kind:
        """An empty archive of that kind, to the options' taste."""
        archive = kind(
            compression=self.compression,
            compresslevel=self.level,
            lookahead=self.lookahead,
            chunk_size=self.chunk_size,
            engine=self.engine,
            workers=self.workers,
            executor=self.executor,
            password=self.password,
            coding=self.make_coding and self.make_coding(),
        )
        archive.comment = self.comment
        return archive


def check_entries(entries: Iterable[Any]) -> Iterable[Any]:
    """Refuse what is no iterable of entries, such as a single one."""
    if isinstance(entries, str | bytes | bytearray | memoryview | os.PathLike | Entry | Mapping):
        raise EntryTypeError(
            f"entries={described(entries)} is one thing, not an iterable of entries: give a list such as "
            "[('name', data)], or walk(path) for a directory"
        )
    if isinstance(entries, AsyncIterable) and not isinstance(entries, Iterable):
        raise EntryTypeError(f"entries={described(entries)} is asynchronous, and stream_zip is not")
    if not isinstance(entries, Iterable):
        raise EntryTypeError(
            f"entries={described(entries)} cannot be iterated over: give a list or a generator of entries"
        )
    return entries


def read_total(entries: Iterable[Any]) -> int | None:
    """Bytes of data in all of `entries`, where each says so without being opened."""
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
        with memoryview(entry.source) as view:
            return view.nbytes
    except Exception:  # no buffer; or whatever ails it, which is said when its turn comes
        return None
