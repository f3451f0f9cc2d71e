"""walk: turn a directory tree into entries."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .._checks import check_choice, check_names, typed_repr
from .._compression.secret import hide_in
from .._format.timestamps import date_of
from ..errors import NotAFileError, OptionError, UnsafeLinkError
from .entry import Entry, file_entry, path_of
from .files.own_output import Identity, OwnOutput, begun_outputs, identity_of
from .types import EntryOptions
from .walked import Walk

if TYPE_CHECKING:
    from typing import Unpack

    from .types import StrPath

SymlinkPolicy = Literal["follow", "store", "skip"]
DirectoryPolicy = Literal["empty", "all", "none"]
SpecialPolicy = Literal["error", "skip"]

_SHARED_OPTIONS = ("modified", "comment", "extra", "zip64")

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
    **options: Unpack[EntryOptions],
) -> Walk:
    """Return the entries for the tree under the directory `root`, sorted by name, read on demand: see `Walk`.

    Args:
        prefix: a directory put before every name: ``prefix="backup"`` gives ``backup/…``.
        symlinks: "follow" takes the targets of links, and refuses links that leave `root` or form a loop; "store"
            stores the links themselves; "skip" leaves them out.
        directories: the directories that get an entry of their own: "empty" ones, "all" (keeps the date and mode of
            each), or "none".
        special: "error" refuses sockets, named pipes and devices; "skip" leaves them out.
        exclude: shell patterns (``*``, ``?``, ``[…]``), matched against each name relative to `root` and against its
            last component; or a function of (path, relative name) that returns true for a path to leave out. An
            excluded directory is not entered.
        on_error: called as ``on_error(path, error)`` for each path that cannot be listed or is refused. If it returns,
            the path is left out. Default: raise the error.
        options: options of Entry, for every file. Directories and links take `modified`, `comment`, `extra` and `zip64`
            only.

    If the archive itself is written into the tree, a stream leaves it out and lists it in its `skipped`. It is
    recognised as a new file that begins with the same bytes as the archive, or as an empty file that this process had
    open for writing when the walk began.

    Raises:
        UnsafeLinkError, NotAFileError, OSError: while iterating. A file that cannot be opened fails later, when its
            turn comes in the stream.
    """
    hide_in(options)
    check_names("walk", options, EntryOptions.__optional_keys__)
    for option, value, choices in (
        ("symlinks", symlinks, SymlinkPolicy),
        ("directories", directories, DirectoryPolicy),
        ("special", special, SpecialPolicy),
    ):
        check_choice(option, value, get_args(choices))
    if root == "":
        raise OptionError("root='': give the path of a directory, or '.' for the current one")
    if not isinstance(prefix, str):
        raise OptionError(f"prefix={typed_repr(prefix)}: give the name of a directory in the archive, or '' for none")
    if on_error is not None and not callable(on_error):
        raise OptionError(f"on_error={typed_repr(on_error)}: give a function of (path, error), or None")
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
    return Walk(top, partial(tree.entries, prefix))


def pattern_excluder(patterns: Iterable[str]) -> Exclude | None:
    """Return a function of (path, relative name): whether a shell pattern matches the name or its last component.

    Returns None if there are no patterns.
    """
    if isinstance(patterns, str):
        raise OptionError(f"exclude={patterns!r}: give a list of patterns, as in [{patterns!r}]")
    if not isinstance(patterns, Iterable):
        raise OptionError(
            f"exclude={typed_repr(patterns)}: give a list of patterns such as '*.tmp', or a function of (path, name)"
        )
    given = (*patterns,)
    for pattern in given:
        if not isinstance(pattern, str):
            raise OptionError(
                f"exclude=: the pattern {typed_repr(pattern)} is not a str: give shell patterns such as '*.tmp'"
            )
    kept = tuple(pattern.rstrip("/") for pattern in given)
    if not kept:
        return None

    def matches(path: Path, name: str) -> bool:
        return any(fnmatchcase(name, pattern) or fnmatchcase(path.name, pattern) for pattern in kept)

    return matches


class _Level:
    """A directory that is being walked: its path, its name relative to the root, and its items left to visit."""

    __slots__ = ("identity", "place", "relative", "rest")

    def __init__(self, place: Path, relative: str, identity: Identity) -> None:
        self.place = place
        self.relative = relative
        self.identity = identity
        self.rest: list[tuple[str, os.DirEntry[str]]] = []


class _Tree:
    """The options of one walk, and the real path of its root."""

    def __init__(
        self,
        top: Path,
        symlinks: SymlinkPolicy,
        directories: DirectoryPolicy,
        special: SpecialPolicy,
        exclude: Exclude | None,
        on_error: Callable[[Path, OSError], object] | None,
        options: EntryOptions,
    ) -> None:
        self._top = top
        self._symlinks = symlinks
        self._directories = directories
        self._special = special
        self._exclude = exclude
        self._on_error = on_error
        self._options = options
        self._real_top = ""
        self._outputs: set[Identity] = set()  # files that may be the archive being written

    def entries(self, prefix: str) -> Iterator[Entry]:
        self._real_top = os.path.realpath(self._top)
        self._outputs = begun_outputs()
        info = os.stat(self._top)
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(f"{str(self._top)!r} is not a directory: pass a file as an entry, without walk()")
        # A stack, not recursion: a tree can be deeper than Python's recursion limit.
        levels = [_Level(self._top, "", identity_of(info))]
        entered = {levels[0].identity}
        yield from self._enter(levels[0], prefix)
        # Files without options are most of a large tree.
        is_plain = not self._outputs and not self._options
        while levels:
            level = levels[-1]
            start, rest = prefix + level.relative, level.rest
            while rest:
                name, item = rest.pop()
                found: Entry | _Level | None
                try:
                    if name[-1] == "/" or not item.is_file(follow_symlinks=False):
                        found = self._item(item, level.relative + name, prefix, entered)
                    elif is_plain:
                        found = file_entry(start + name, item.path)
                    else:
                        found = self._file(item.path, start + name)
                except OSError as exc:
                    self._failed(Path(item.path), exc)
                    continue
                if type(found) is _Level:
                    levels.append(found)
                    entered.add(found.identity)
                    yield from self._enter(found, prefix)
                    break
                if found is not None:
                    yield found  # type: ignore[misc]
            else:
                entered.remove(level.identity)
                levels.pop()

    def _enter(self, level: _Level, prefix: str) -> Iterable[Entry]:
        """List the directory's items into `level.rest`. Returns the directory's own entry, if it gets one."""
        try:
            level.rest = self._listing(level.place, level.relative)
        except OSError as exc:
            self._failed(level.place, exc)
            return ()
        name = prefix + level.relative
        if name and (self._directories == "all" or (self._directories == "empty" and not level.rest)):
            return (Entry(name, level.place, **self._shared_options()),)
        return ()

    def _listing(self, place: Path, relative: str) -> list[tuple[str, os.DirEntry[str]]]:
        """The items of `place` that are not excluded, last name first. A directory sorts by its name with the slash."""
        found, exclude = [], self._exclude
        skips, follows = self._symlinks == "skip", self._symlinks == "follow"
        with os.scandir(place) as items:
            for item in items:
                name = item.name
                if (skips and item.is_symlink()) or (exclude and exclude(Path(item.path), relative + name)):
                    continue
                try:
                    found.append((name + "/" if item.is_dir(follow_symlinks=follows) else name, item))
                except OSError:
                    found.append((name, item))  # a broken link, for example: handled as a file
        return sorted(found, key=itemgetter(0), reverse=True)

    def _item(
        self, item: os.DirEntry[str], relative: str, prefix: str, entered: set[Identity]
    ) -> Entry | _Level | None:
        """Return the entry of `item`, or the directory to enter, or None to leave it out."""
        place = Path(item.path)
        link = item.is_symlink()
        if link and self._symlinks == "store":
            options = {"modified": date_of(os.lstat(place)), **self._shared_options()}
            return Entry.symlink(prefix + relative, os.readlink(place), **options)
        if link:
            self._check_link(place)
        if relative.endswith("/"):
            identity = identity_of(os.stat(place))
            if identity in entered:
                raise _loop_error(place)
            return _Level(place, relative, identity)
        # A broken link fails when it is opened.
        if item.is_file() or (link and not place.exists()) or self._accepts_special(place):
            return self._file(item.path, prefix + relative)
        return None

    def _file(self, path: str, name: str) -> Entry:
        is_output = bool(self._outputs) and self._is_output(path)
        if not is_output and not self._options:
            return file_entry(name, path)
        source = OwnOutput(Path(path)) if is_output else Path(path)
        return Entry(name, source, **self._options)

    def _is_output(self, path: str) -> bool:
        try:
            return identity_of(os.stat(path)) in self._outputs
        except OSError:
            return False  # opening it raises the error

    def _shared_options(self) -> dict[str, Any]:
        """The options that also apply to directories and links."""
        return {key: value for key, value in self._options.items() if key in _SHARED_OPTIONS}

    def _check_link(self, place: Path) -> None:
        try:
            real = os.path.realpath(place, strict=True)
        except FileNotFoundError:
            return  # opening it raises the error when its turn comes
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise _loop_error(place) from exc
            raise
        if real != self._real_top and not real.startswith(self._real_top.rstrip(os.sep) + os.sep):
            raise UnsafeLinkError(
                f"{str(place)!r} is a link that leaves {str(self._top)!r}, to {real!r}: "
                "choose symlinks='store' or 'skip', or exclude it"
            )

    def _accepts_special(self, place: Path) -> bool:
        if self._special == "skip":
            return False
        raise NotAFileError(
            f"{str(place)!r} is a socket, a named pipe or a device: choose special='skip', or exclude it"
        )

    def _failed(self, place: Path, error: OSError) -> None:
        if self._on_error is None:
            raise error
        self._on_error(place, error)


def _loop_error(place: Path) -> UnsafeLinkError:
    return UnsafeLinkError(
        f"{str(place)!r} is a link that forms a loop: choose symlinks='store' or 'skip', or exclude it"
    )
