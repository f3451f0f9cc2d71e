"""Held: owns the entries, the open source, the threads and the archive of a producer. Each is closed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from .._buffers import close_items
from .._concurrency.closing import Closing
from .._entries.one_pass import refuse_finished
from .._entries.prefetch import Prefetcher
from .._entries.source import close_all

if TYPE_CHECKING:
    from .._writer.archive_writer import ArchiveWriter
    from .._writer.stream_archive import StreamArchive


class Held:
    """Owns things before they are begun, so that an interrupt between two bytecodes leaves nothing without an owner.

    An interrupt may also end `let_go`. The next call does the rest; it comes from the stream, its `close`, or garbage
    collection.

    Attributes:
        source: closes the open source; None if there is none.
        file: the descriptor of the file whose beginning is being looked at, if any.
    """

    is_begun = False

    def __init__(self, archive: StreamArchive, writer: ArchiveWriter) -> None:
        self.source: Any = None
        self.file: list[int] = []
        self._writer = writer
        self._archive = archive
        self._items = Closing()
        self._prefetcher: Prefetcher | None = None

    def items(self, entries: Iterable[Any], prefetch: int, read_size: int, cuts: bool) -> Iterator[Any]:
        """Return the iterator of `entries`; the sources of `prefetch` entries are fetched in advance.

        cuts: as for `OpenSource`.
        """
        refuse_finished(entries)  # again: another stream may have read it since
        items: Iterator[Any] = self._items.made(partial(iter, entries))
        if not prefetch:
            return items
        self._prefetcher = Prefetcher(items, prefetch, read_size, cuts)
        return self._prefetcher

    def new_source(self) -> Closing:
        """Make the object that will close the source opened next."""
        self.source = closing = Closing()
        return closing

    def close_source(self) -> None:
        """Close the open source, or file."""
        try:
            close_all(self.file)
        finally:
            if self.source is not None:
                self.source.close()

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked from one that prefetched entries."""
        return self._prefetcher is not None and self._prefetcher.is_forked

    def close_unbegun(self, entries: Any) -> None:
        """Close `entries` if no item was requested."""
        if isinstance(entries, Iterator):
            close_items(entries)

    def let_go_of_items(self) -> None:
        """Close the entries and their prefetched sources."""
        try:
            if self._prefetcher is not None:
                self._prefetcher.close()
        finally:
            self._items.close()

    def let_go(self) -> None:
        """Close all that is still open."""
        try:
            self.close_source()
        finally:
            try:
                self.let_go_of_items()
            finally:
                try:
                    self._writer.close()
                finally:
                    self._archive.abort()  # harmless if the archive is complete

    def __del__(self) -> None:
        if self.is_begun:  # an interrupt may have ended the closing of the steps during garbage collection
            self.let_go()
