"""Shelf: the files and directories that are served.

The path of a request is a list of names. Each must equal a name that its directory lists, so that no other spelling
(``..``, a short name, another case, a stream of NTFS) leads anywhere. The target of a link must be on the shelf, too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ..._entries.entry import Entry
from ..._entries.walk import walk
from ..._format.timestamps import date_of
from ...errors import OptionError


class Item(NamedTuple):
    """A file or directory in a listing.

    Attributes:
        name: its name in the directory.
        path: its path here.
        is_dir: whether it is a directory.
        size: bytes of a file.
        modified: modification date, in UTC, clamped to the dates of zip archives.
    """

    name: str
    path: Path
    is_dir: bool
    size: int
    modified: datetime


class Place(NamedTuple):
    """The file or directory that the path of a request leads to.

    Attributes:
        names: the names that lead there.
        item: the file or directory; None for the top, if it stands for several paths.
    """

    names: tuple[str, ...]
    item: Item | None


class Shelf:
    """The paths that are served. A single directory is the top itself; otherwise the top lists the paths.

    Args:
        hidden: whether files whose names begin with a dot can be seen.
    """

    def __init__(self, paths: Sequence[str], *, hidden: bool) -> None:
        self._hidden = hidden
        self._roots: dict[str, Path] = {}
        for given in paths:
            if not given:
                raise OptionError("PATH '': give a path, or '.' for all that is here")
            try:
                path = Path(os.path.realpath(given, strict=True))
            except OSError as exc:
                exc.filename = given  # on Python 3.13 it is the absolute path
                raise
            name = path.name or "root"
            if name in self._roots:
                raise OptionError(f"{given!r}: another PATH has the name {name!r}, too: serve the directory above them")
            self._roots[name] = path
        only = next(iter(self._roots.values()))
        self._top = only if len(self._roots) == 1 and only.is_dir() else None

    @property
    def title(self) -> str:
        """Name of the top."""
        return next(iter(self._roots)) if len(self._roots) == 1 else "files"

    def find(self, names: Sequence[str]) -> Place | None:
        """Return the place that the names lead to; None if it does not exist, or must not be seen.

        Raises OSError if a directory on the way cannot be read.
        """
        at: Item | None = None if self._top is None else _item("", self._top)
        if self._top is not None and at is None:
            return None
        for name in names:
            if at is not None and not at.is_dir:
                return None
            at = next((item for item in self._all(at, name) if item.name == name), None)
            if at is None:
                return None
        return Place((*names,), at)

    def items(self, place: Place) -> list[Item]:
        """Return the visible items of a directory: directories first, each kind by name. Raises OSError."""
        return sorted(self._all(place.item), key=lambda item: (not item.is_dir, item.name.casefold(), item.name))

    def _all(self, directory: Item | None, only: str | None = None) -> Iterator[Item]:
        """Yield the visible items of a directory. only: the exact name of the one to yield. Default: all."""
        if directory is None:
            for name, path in self._roots.items():
                if (item := _item(name, path)) is not None:
                    yield item
            return
        with os.scandir(directory.path) as found:
            for each in found:
                if only not in (None, each.name):
                    continue
                path = directory.path / each.name
                if self._may_be_seen(path, each.name) and (item := _item(each.name, path)) is not None:
                    yield item

    def _may_be_seen(self, path: Path, name: str) -> bool:
        if not self._hidden and name.startswith("."):
            return False
        try:
            return not path.is_symlink() or self._is_on_it(Path(os.path.realpath(path, strict=True)))
        except OSError:
            return False

    def _is_on_it(self, real: Path) -> bool:
        """Whether a real path is on the shelf."""
        for root in self._roots.values():
            if real == root or real.is_relative_to(root):
                return self._hidden or not any(part.startswith(".") for part in real.relative_to(root).parts)
        return False

    def entries(self, items: Sequence[Item]) -> Iterator[Entry]:
        """Yield the entries of an archive of `items`, with all visible items in their directories."""
        for item in items:
            if item.is_dir and not _leads_up(item.path):
                yield from walk(
                    item.path,
                    prefix=item.name,
                    special="skip",
                    exclude=lambda path, name: not self._may_be_seen(path, path.name) or not _is_readable(path),
                    on_error=lambda path, error: None,
                )
            elif not item.is_dir and _is_readable(item.path):
                yield Entry(item.name, item.path)


def _item(name: str, path: Path) -> Item | None:
    """Return the item at `path`, links followed; None if it is neither a file nor a directory."""
    try:
        info = path.stat()
    except OSError:
        return None
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        return None
    return Item(name, path, stat.S_ISDIR(info.st_mode), info.st_size, date_of(info))


def _leads_up(path: Path) -> bool:
    """Whether `path` is a link to a directory above it: an archive of its target would contain it again."""
    return path.is_symlink() and Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(path))


def _is_readable(path: Path) -> bool:
    return os.access(path, os.R_OK)
