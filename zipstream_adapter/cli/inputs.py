"""The entries for the paths of the command `create`."""

from __future__ import annotations

import argparse
import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from .._entries.entry import Entry
from .._entries.files.own_output import Identity, identity_of
from .._entries.walk import walk
from .._format.name_parts import percent_encoded
from .._format.timestamps import date_of
from ..errors import OptionError
from .patterns import Patterns

# Bytes to read of a list of paths at a time.
_LIST_READ = 1 << 20
OnPathError = Callable[[Path, OSError], object]


class Inputs:
    """The entries for the paths on the command line, and for the paths in lists.

    Args:
        own: identities of the output files, which are left out.
        on_error: called with a path that cannot be listed or is refused, and the error. None: raise it.

    Attributes:
        exclude, include: the patterns; they know which of them matched nothing.
    """

    def __init__(self, arguments: argparse.Namespace, own: tuple[Identity, ...], on_error: OnPathError | None) -> None:
        self._arguments = arguments
        self._own = own
        self._on_error = on_error
        self._prefix = arguments.prefix.rstrip("/") + "/" if arguments.prefix else ""
        self.exclude = Patterns(arguments.exclude)
        self.include = Patterns(arguments.include)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries."""
        for path in self._arguments.paths:
            yield from self._of_path(path)
        for path in self._arguments.listed:
            yield from self._of_listed(path)

    def _of_path(self, text: str) -> Iterator[Entry]:
        given = self._arguments.name
        if text == "-":
            yield Entry(self._prefix + ("-" if given is None else given), _standard_input())
            return
        path = Path(text)
        name = "" if path == Path() else os.path.basename(os.path.abspath(path))
        if given is not None and "-" not in self._arguments.paths:
            name = given
        if self._is_left_out(path, name):
            return
        if self._arguments.symlinks == "store" and path.is_symlink():
            yield from self._chosen(Entry.symlink(self._prefix + name, os.readlink(path), modified=_link_date(path)))
        elif path.is_dir():
            prefix = self._prefix + name
            if not self.include:
                yield from self._walked(path, prefix)
                return
            for entry in self._walked(path, prefix):
                yield from self._chosen(entry, below=prefix)
        else:
            yield from self._chosen(Entry(self._prefix + name, _file_at(path, text)))

    def _walked(self, path: Path, prefix: str) -> Iterator[Entry]:
        return iter(
            walk(
                path,
                prefix=prefix,
                symlinks=self._arguments.symlinks,
                special="skip" if self._arguments.skip_special else "error",
                exclude=self._excludes if self.exclude or self._own else (),
                on_error=self._on_error,
            )
        )

    def _of_listed(self, text: str) -> Iterator[Entry]:
        """Yield the entry of a listed path. Its name keeps the directories; a directory comes without its contents."""
        path, name = Path(text), os.path.normpath(text).replace(os.sep, "/").lstrip("/")
        if name in ("", ".") or self._is_left_out(path, name):
            return
        if self._arguments.symlinks == "store" and path.is_symlink():
            yield from self._chosen(Entry.symlink(self._prefix + name, os.readlink(path), modified=_link_date(path)))
        elif path.is_dir():
            yield from self._chosen(Entry.directory(self._prefix + name, source=path))
        elif not (self._arguments.skip_special and _is_special(path)):
            yield from self._chosen(Entry(self._prefix + name, _file_at(path, text)))

    def _chosen(self, entry: Entry, below: str = "") -> Iterator[Entry]:
        """Yield `entry` if the patterns of --include choose it. below: the directory that is walked."""
        if self.include:
            name = entry.name.removeprefix(self._prefix)
            relative = entry.name[len(below) :].lstrip("/") if below else name
            if not (self.include.match(relative) or (name != relative and self.include.match(name))):
                return
        yield entry

    def _is_left_out(self, path: Path, name: str) -> bool:
        return self._excludes(path, name) or (self._arguments.symlinks == "skip" and path.is_symlink())

    def _excludes(self, path: Path, name: str) -> bool:
        return self.exclude.match(name) or self._is_own(path)

    def _is_own(self, path: Path) -> bool:
        try:
            return bool(self._own) and identity_of(path.stat()) in self._own
        except OSError:
            return False  # opening the file will raise the error


def paths_in(lists: list[str], *, null: bool) -> list[str]:
    """Return the paths that the files `lists` name; '-' is standard input."""
    found: list[str] = []
    for path in lists:
        with _standard_input() if path == "-" else open(path, "rb", buffering=0) as file:
            found += map(os.fsdecode, _items_of(file, path, null=null))
    return found


def _items_of(file: io.FileIO, path: str, *, null: bool) -> Iterator[bytes]:
    rest, end = b"", b"\0" if null else b"\n"
    while data := file.read(_LIST_READ):
        if not null and b"\0" in data:
            where = "standard input" if path == "-" else repr(path)
            raise OptionError(f"the list in {where} has NUL bytes: give --null if its paths end in them (find -print0)")
        *items, rest = (rest + data).split(end)
        yield from filter(None, items)
    if rest:
        yield rest


def with_utf8_names(entries: Iterator[Entry], warn: Callable[[str], object]) -> Iterator[Entry]:
    """Percent-encode names that are not UTF-8, which an archive cannot store, and warn about them."""
    for entry in entries:
        name = percent_encoded(entry.name)
        if name != entry.name:
            warn(f"entry {entry.name!r}: the name is not UTF-8: it is stored as {name!r}")
            entry = entry.replace(name=name)
        yield entry


def size_of(entry: Entry) -> int | None:
    """Return the bytes of data of an entry; None if that is not known."""
    if entry.is_dir:
        return 0
    if isinstance(entry.source, os.PathLike):
        return os.stat(entry.source).st_size
    return len(entry.source) if isinstance(entry.source, bytes) else None


def _standard_input() -> io.FileIO:
    if sys.stdin is None:
        raise OSError("standard input is closed: redirect it from a file or a pipe")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def _file_at(path: Path, text: str) -> Path | Callable[[], io.FileIO]:
    """Return the source for a path. A pipe that is open already (/dev/stdin, a shell's <(...)) is read as it comes.

    Any other named pipe is refused when it is opened: opening it would wait for a writer.
    """
    try:
        info = path.stat()
    except FileNotFoundError:
        if any(mark in text for mark in "*?[") and not path.is_symlink():
            raise FileNotFoundError(
                errno.ENOENT, "No such file or directory (the pattern matched nothing)", text
            ) from None
        if text.endswith("\r"):
            raise FileNotFoundError(
                errno.ENOENT, "No such file or directory (the lines of the list end in CR LF: take the CR away)", text
            ) from None
        return path  # opening it raises the error
    except OSError:
        return path
    return partial(io.FileIO, path) if stat.S_ISFIFO(info.st_mode) and _is_open_already(path) else path


def _is_open_already(path: Path) -> bool:
    return os.path.abspath(path).startswith(("/dev/", "/proc/"))


def _link_date(path: Path) -> datetime:
    return date_of(path.lstat())


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
