"""walk: a directory tree as entries."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .dates import date_of
from .entry import Entry, path_of
from .errors import NotAFileError, OptionError, UnsafeLinkError
from .names import check_choice

if TYPE_CHECKING:
    from .entry import StrPath

SymlinkPolicy = Literal["follow", "store", "skip"]
DirectoryPolicy = Literal["empty", "all", "none"]
SpecialPolicy = Literal["error", "skip"]

Identity = tuple[int, int]  # device and inode
_OPTIONS_FOR_ALL = ("modified", "comment", "extra", "zip64")

Exclude = Callable[[Path, str], bool]


def walk(
    root: StrPath,
    *,
    prefix: str = "",
    symlinks: SymlinkPolicy = "follow",
    directories: DirectoryPolicy = "empty",
    special: SpecialPolicy = "error",
    exclude: Iterable[str] | Exclude = (),
    on_error: Callable[[Path, OSError], object] | None = None,
    **options: Any,
) -> Iterator[Entry]:
    """The tree under the directory `root` as entries, in the order of their names, read as it is asked for.

    Args:
        prefix: put before every name, as a directory: ``prefix="backup"`` gives ``backup/…``.
        symlinks: "follow" takes what they point to, and refuses those that leave `root` or loop; "store" stores them
            as links; "skip" leaves them out.
        directories: which get an entry of their own: those that are "empty", "all" (keeps the date and mode of each),
            or "none".
        special: "error" refuses sockets, named pipes and devices, "skip" leaves them out.
        exclude: patterns as in a shell (``*``, ``?``, ``[…]``), matched against each name relative to `root` and
            against its last component; or a function of (path, relative name), true for what to leave out. What is
            excluded is not entered.
        on_error: called as ``on_error(path, error)`` with what cannot be listed or is refused, which then is left
            out; or raises. Default: raise.
        options: an Entry's, for every file; directories and links take the date, comment and extra of them.

    Raises:
        UnsafeLinkError, NotAFileError, OSError, while iterating. A file that cannot be opened fails later, when its
        turn comes in the stream.
    """
    for option, value, choices in (
        ("symlinks", symlinks, SymlinkPolicy),
        ("directories", directories, DirectoryPolicy),
        ("special", special, SpecialPolicy),
    ):
        check_choice(option, value, get_args(choices))
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    top = Path(path_of(root))
    tree = _Tree(
        top,
        symlinks,
        directories,
        special,
        exclude if callable(exclude) else pattern_excluder(exclude),
        on_error,
        options,
    )
    return tree.entries(prefix)


def pattern_excluder(patterns: Iterable[str]) -> Exclude | None:
    """A function of (path, relative name): whether one of the shell `patterns` matches the name or its last part.

    None where there is no pattern.
    """
    if isinstance(patterns, str):
        raise OptionError(f"exclude={patterns!r}: give a list of patterns, as in [{patterns!r}]")
    kept = tuple(pattern.rstrip("/") for pattern in patterns)
    if not kept:
        return None

    def matches(path: Path, name: str) -> bool:
        return any(fnmatchcase(name, pattern) or fnmatchcase(path.name, pattern) for pattern in kept)

    return matches


class _Level:
    """A directory that is being walked: its path, its name relative to the root, and what is left of it."""

    __slots__ = ("identity", "place", "relative", "rest")

    def __init__(self, place: Path, relative: str, identity: Identity) -> None:
        self.place = place
        self.relative = relative
        self.identity = identity
        self.rest: list[tuple[str, os.DirEntry[str]]] = []


class _Tree:
    """One walk: its options, and where its root really is."""

    def __init__(
        self,
        top: Path,
        symlinks: SymlinkPolicy,
        directories: DirectoryPolicy,
        special: SpecialPolicy,
        exclude: Exclude | None,
        on_error: Callable[[Path, OSError], object] | None,
        options: dict[str, Any],
    ) -> None:
        self._top = top
        self._symlinks = symlinks
        self._directories = directories
        self._special = special
        self._exclude = exclude
        self._on_error = on_error
        self._options = options
        self._real_top = ""

    def entries(self, prefix: str) -> Iterator[Entry]:
        self._real_top = os.path.realpath(self._top)
        info = os.stat(self._top)
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(f"{str(self._top)!r} is no directory: walk() takes one (a path alone is an entry)")
        # A list, not recursion: a tree can be deeper than Python's stack.
        levels = [_Level(self._top, "", identity_of(info))]
        entered = {levels[0].identity}
        yield from self._enter(levels[0], prefix)
        while levels:
            level = levels[-1]
            if not level.rest:
                entered.remove(level.identity)
                levels.pop()
                continue
            name, item = level.rest.pop()
            try:
                found = self._item(item, level.relative + name, prefix, entered)
            except OSError as exc:
                self._failed(Path(item.path), exc)
                continue
            if isinstance(found, _Level):
                levels.append(found)
                entered.add(found.identity)
                yield from self._enter(found, prefix)
            elif found is not None:
                yield found

    def _enter(self, level: _Level, prefix: str) -> Iterable[Entry]:
        """List what the directory holds; its own entry, where it gets one."""
        try:
            level.rest = self._listing(level.place, level.relative)
        except OSError as exc:
            self._failed(level.place, exc)
            return ()
        name = prefix + level.relative
        if name and (self._directories == "all" or (self._directories == "empty" and not level.rest)):
            return (Entry(name, level.place, **self._for_all()),)
        return ()

    def _listing(self, place: Path, relative: str) -> list[tuple[str, os.DirEntry[str]]]:
        """What `place` holds and nothing excludes, the last name first; a directory sorts with its slash."""
        found = []
        with os.scandir(place) as items:
            for item in items:
                skipped = self._symlinks == "skip" and item.is_symlink()
                if not skipped and not (self._exclude and self._exclude(Path(item.path), relative + item.name)):
                    found.append((item.name + "/" if self._is_entered(item) else item.name, item))
        return sorted(found, key=lambda pair: pair[0], reverse=True)

    def _is_entered(self, item: os.DirEntry[str]) -> bool:
        try:
            return item.is_dir(follow_symlinks=self._symlinks == "follow")
        except OSError:
            return False  # a link to nowhere: taken up as an item

    def _item(
        self, item: os.DirEntry[str], relative: str, prefix: str, entered: set[Identity]
    ) -> Entry | _Level | None:
        """The entry of one thing found, or the directory to enter, or None for what is left out."""
        place = Path(item.path)
        link = item.is_symlink()
        if link and self._symlinks == "store":
            options = {"modified": date_of(os.lstat(place)), **self._for_all()}
            return Entry.symlink(prefix + relative, os.readlink(place), **options)
        if link:
            self._check_link(place)
        if relative.endswith("/"):
            identity = identity_of(os.stat(place))
            if identity in entered:
                raise _looping(place)
            return _Level(place, relative, identity)
        # What a link to nowhere lacks is said when it is opened.
        if item.is_file() or (link and not place.exists()) or self._is_wanted(place):
            return Entry(prefix + relative, place, **self._options)
        return None

    def _for_all(self) -> dict[str, Any]:
        """The options that directories and links take, too."""
        return {key: value for key, value in self._options.items() if key in _OPTIONS_FOR_ALL}

    def _check_link(self, place: Path) -> None:
        try:
            real = os.path.realpath(place, strict=True)
        except FileNotFoundError:
            return  # opening it will fail, and say so, when its turn comes
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise _looping(place) from exc
            raise
        if real != self._real_top and not real.startswith(self._real_top.rstrip(os.sep) + os.sep):
            raise UnsafeLinkError(
                f"{str(place)!r} is a link that leaves {str(self._top)!r}, to {real!r}: "
                "choose symlinks='store' or 'skip', or exclude it"
            )

    def _is_wanted(self, place: Path) -> bool:
        if self._special == "skip":
            return False
        raise NotAFileError(
            f"{str(place)!r} is a socket, a named pipe or a device: choose special='skip', or exclude it"
        )

    def _failed(self, place: Path, error: OSError) -> None:
        if self._on_error is None:
            raise error
        self._on_error(place, error)


def identity_of(info: os.stat_result) -> Identity:
    """What tells a file or directory from every other, under whatever name."""
    return info.st_dev, info.st_ino


def _looping(place: Path) -> UnsafeLinkError:
    return UnsafeLinkError(
        f"{str(place)!r} is a link that leads into a loop: choose symlinks='store' or 'skip', or exclude it"
    )
