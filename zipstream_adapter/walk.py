"""walk: a directory tree as entries."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .dates import clamped
from .entry import Entry, path_of
from .errors import NotAFileError, OptionError, UnsafeLinkError

if TYPE_CHECKING:
    from .entry import StrPath

SymlinkPolicy = Literal["follow", "store", "skip"]
DirectoryPolicy = Literal["empty", "all", "none"]
SpecialPolicy = Literal["error", "skip"]

_Identity = tuple[int, int]  # device and inode
_DIRECTORY_OPTIONS = ("modified", "comment", "extra", "zip64")

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
        if value not in get_args(choices):
            raise OptionError(f"{option}={value!r}: choose one of {', '.join(map(repr, get_args(choices)))}")
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


def pattern_excluder(patterns: Iterable[str]) -> Exclude:
    """A function of (path, relative name): whether one of the shell `patterns` matches the name or its last part."""
    if isinstance(patterns, str):
        raise OptionError(f"exclude={patterns!r}: give a list of patterns, as in [{patterns!r}]")
    kept = tuple(pattern.rstrip("/") for pattern in patterns)

    def matches(path: Path, name: str) -> bool:
        return any(fnmatchcase(name, pattern) or fnmatchcase(path.name, pattern) for pattern in kept)

    return matches


class _Tree:
    """One walk: its options, and where its root really is."""

    def __init__(
        self,
        top: Path,
        symlinks: SymlinkPolicy,
        directories: DirectoryPolicy,
        special: SpecialPolicy,
        exclude: Exclude,
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
        yield from self._directory(self._top, prefix, "", (_identity(info),))

    def _directory(self, place: Path, prefix: str, relative: str, above: tuple[_Identity, ...]) -> Iterator[Entry]:
        """What is in `place`, after its own entry. `above`: the directories it stands in, itself included."""
        try:
            found = self._listing(place, relative)
        except OSError as exc:
            self._failed(place, exc)
            return
        name = prefix + relative
        if name and (self._directories == "all" or (self._directories == "empty" and not found)):
            kept = {key: value for key, value in self._options.items() if key in _DIRECTORY_OPTIONS}
            yield Entry(name, place, **kept)
        for key, item in found:
            try:
                entries = self._item(item, prefix, relative + key, above)
            except OSError as exc:
                self._failed(Path(item.path), exc)
                continue
            yield from entries

    def _listing(self, place: Path, relative: str) -> list[tuple[str, os.DirEntry[str]]]:
        """What `place` holds and nothing excludes, by name; with its slash, a directory sorts where its names do."""
        found = []
        with os.scandir(place) as items:
            for item in items:
                skipped = self._symlinks == "skip" and item.is_symlink()
                if not skipped and not self._exclude(Path(item.path), relative + item.name):
                    found.append((item.name + "/" if self._is_entered(item) else item.name, item))
        return sorted(found, key=lambda pair: pair[0])

    def _is_entered(self, item: os.DirEntry[str]) -> bool:
        try:
            return item.is_dir(follow_symlinks=self._symlinks == "follow")
        except OSError:
            return False  # a link to nowhere: taken up as an item

    def _item(
        self, item: os.DirEntry[str], prefix: str, relative: str, above: tuple[_Identity, ...]
    ) -> Iterable[Entry]:
        """The entries of one thing found; raises OSError for what is refused, before any is taken."""
        place = Path(item.path)
        name = prefix + relative
        if item.is_symlink():
            if self._symlinks == "store":
                return (self._link(place, name),)
            self._check_link(place)
        if relative.endswith("/"):
            identity = _identity(os.stat(place))
            if identity in above:
                raise _looping(place)
            return self._directory(place, prefix, relative, (*above, identity))
        if item.is_file() or item.is_symlink() or self._is_wanted(place):
            return (Entry(name, place, **self._options),)
        return ()

    def _link(self, place: Path, name: str) -> Entry:
        kept = {key: value for key, value in self._options.items() if key in _DIRECTORY_OPTIONS}
        return Entry.symlink(name, os.readlink(place), **{"modified": clamped(os.lstat(place).st_mtime), **kept})

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


def _identity(info: os.stat_result) -> _Identity:
    return info.st_dev, info.st_ino


def _looping(place: Path) -> UnsafeLinkError:
    return UnsafeLinkError(
        f"{str(place)!r} is a link that leads into a loop: choose symlinks='store' or 'skip', or exclude it"
    )
