"""Walk: the entries of a directory tree, walked on demand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from .._checks import shown_half_made
from .._format.timestamps import date_of
from .entry import Entry
from .files.own_output import OwnOutput


@shown_half_made
class Walk:
    """The entries of a directory tree, as `walk` returns them: a collection that is walked when it is needed.

    Iterating over it walks the tree, entry by entry, and keeps nothing. ``len()``, `size` and `last_modified` walk the
    whole tree once and keep the entries; iterating gives these from then on. So `ZipStream.size` is known, as for a
    list, and a stream waits for the whole tree only if its size is asked for.
    """

    def __init__(self, root: Path, entries: Callable[[], Iterator[Entry]]) -> None:
        self._root = root
        self._entries = entries
        self._kept: tuple[Entry, ...] | None = None
        self._facts: tuple[int, datetime | None] | None = None

    def __iter__(self) -> Iterator[Entry]:
        return self._entries() if self._kept is None else iter(self._kept)

    def __len__(self) -> int:
        """Return the number of entries. Raises the errors of the walk."""
        return len(self._all())

    def __bool__(self) -> bool:
        """Return whether there is an entry. Walks no further than to the first one."""
        return bool(self._kept) if self._kept is not None else any(True for _ in self._entries())

    def __contains__(self, entry: object) -> bool:
        return entry in self._all()

    def __repr__(self) -> str:
        count = "" if self._kept is None else f": {len(self._kept)} entries"
        return f"<walk of {str(self._root)!r}{count}>"

    @property
    def root(self) -> Path:
        """The directory."""
        return self._root

    @property
    def size(self) -> int:
        """Bytes of data in all files, as they are at the first access. Raises OSError for a file that is not there."""
        return self._measured()[0]

    @property
    def last_modified(self) -> datetime | None:
        """The newest date of an entry, in UTC, cut to whole seconds; None without entries."""
        return self._measured()[1]

    def _all(self) -> tuple[Entry, ...]:
        if self._kept is None:
            self._kept = (*self._entries(),)
        return self._kept

    def _measured(self) -> tuple[int, datetime | None]:
        if self._facts is None:
            size, latest = 0, None
            for entry in self._all():
                own, date = _facts_of(entry)
                size += own
                latest = date if latest is None or (date is not None and date > latest) else latest
            self._facts = size, None if latest is None else latest.replace(microsecond=0)
        return self._facts


def _facts_of(entry: Entry) -> tuple[int, datetime | None]:
    """Return the bytes of data of an entry, and its date."""
    source: Any = entry.source
    if not isinstance(source, os.PathLike):  # a link: its target
        return len(source or b""), entry.modified
    if isinstance(source, OwnOutput):  # left out by a stream
        return 0, None
    info = os.stat(source)
    return 0 if entry.is_dir else info.st_size, entry.modified or date_of(info)
