"""The command ``extract``: write members to files, never outside of the target directory.

Every name is checked before anything is written. No directory is entered through a symbolic link: links in the target
are refused, and links of the archive are made last. A link is made only if it leads to a place in the target, alone and
through all other links of the archive.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import IO
from zipfile import ZipFile, ZipInfo

from .._format.names import check_safe, check_storable
from .._writer.whole_file import umask
from ..errors import BadArchiveError, EntryError, OptionError, UnsafeLinkError, UnsafeNameError
from .passwords import password_of
from .read import Chosen, check, copy_member, opened
from .signals import raise_signal
from .terminal import Meter, is_terminal, name_line, say, shown_count, shown_name, shown_size, shown_time

# Longest target of a symbolic link, in bytes (Linux: PATH_MAX).
_LONGEST_LINK = 4096
_EXTENDED_TIMESTAMP = 0x5455
_DIRECTORY_ONLY = getattr(os, "O_DIRECTORY", 0)  # 0 where directories have no modes


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Returns its exit status. Raises ZipStreamError or OSError on failure."""
    if arguments.force and arguments.on_conflict not in (None, "replace"):
        raise OptionError(f"--force and --on-conflict {arguments.on_conflict}: give one of them")
    if not arguments.directory:
        raise OptionError("--directory '': give a directory, or '.' for this one")
    policy = "replace" if arguments.force else arguments.on_conflict or "error"
    password = password_of(arguments, twice=False)
    with opened(arguments.archive) as archive:
        chosen = Chosen(archive, arguments.members, arguments.exclude, arguments.include)
        if not arguments.quiet:
            chosen.warn()
        work = _Extraction(archive, Path(arguments.directory), policy, password)
        infos = work.checked(chosen.infos)
        meter = Meter(is_terminal() and not arguments.quiet, sum(info.file_size for info in infos))
        try:
            work.extract(infos, meter, verbose=arguments.verbose)
        finally:
            meter.close()
    if arguments.verbose or (is_terminal() and not arguments.quiet):
        kept = f", {shown_count(work.kept, 'file')} kept as they were" if work.kept else ""
        say(
            f"extracted {shown_count(len(infos), 'member')} ({shown_size(work.size)}) to "
            f"{shown_name(arguments.directory)}, {shown_time(meter.seconds)}{kept}"
        )
    return 0


class _Extraction:
    """One extraction into the directory `root`.

    Attributes:
        size: bytes written so far.
        kept: files that existed and were kept.
    """

    def __init__(self, archive: ZipFile, root: Path, policy: str, password: bytes | None) -> None:
        self._archive = archive
        self._root = root
        self._policy = policy
        self._password = password
        self._directories: set[str] = set()  # names of those that were checked or made
        self._modes: dict[str, int] = {}  # of directories that are members, by name
        self._made: list[str] = []  # those of them that did not exist
        self.size = self.kept = 0

    def checked(self, infos: list[ZipInfo]) -> list[ZipInfo]:
        """Check all names, and the files that are in their way. Returns the members to extract."""
        left, seen = [], set[str]()
        clash = _clash(infos)
        for info in infos:
            name = info.filename
            try:
                # zipfile cuts a name at its first NUL.
                check_storable(info.orig_filename if "\0" in info.orig_filename else name)
                check_safe(name)
            except UnsafeNameError as exc:
                text = str(exc).partition(". Pass ")[0].replace("an entry", "a member").replace("entry ", "member ", 1)
                raise UnsafeNameError(f"{text}: it is not extracted; -x leaves it out") from None
            try:
                os.fsencode(name)
            except UnicodeEncodeError:
                raise EntryError(
                    f"member {name!r}: file names here are {sys.getfilesystemencoding()}, which does not have all of "
                    "its characters: set PYTHONUTF8=1, or leave it out (-x)"
                ) from None
            check(self._archive, info, self._password)
            if not info.is_dir():
                if name in seen:
                    raise EntryError(
                        f"the archive has several members {name!r}: see the command 'cat', or leave it out"
                    )
                if name == clash:
                    raise EntryError(f"member {name!r} is a file, and a directory of other members: leave it out")
                seen.add(name)
            self._check_parents(name)
            if self._is_free(info):
                left.append(info)
        return left

    def _is_free(self, info: ZipInfo) -> bool:
        """Return whether to write the member. Raises FileExistsError if another file is in its way."""
        path = self._root / info.filename
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return True
        if info.is_dir() and stat.S_ISDIR(mode):
            return True
        if self._policy == "skip":
            self.kept += 1
            return False
        if stat.S_ISDIR(mode) or info.is_dir():
            kind = "a directory" if stat.S_ISDIR(mode) else "not a directory"
            raise FileExistsError(f"{str(path)!r} exists, and is {kind}: nothing was extracted")
        if self._policy == "error":
            raise FileExistsError(
                f"{str(path)!r} exists: nothing was extracted; --force replaces files, --on-conflict skip keeps them"
            )
        return True

    def _check_parents(self, name: str) -> None:
        """Raise UnsafeLinkError if `name` leads through an existing link, NotADirectoryError if through a file."""
        for above in _directories_of(name):
            if above not in self._directories and not self._is_directory(above, name):
                return

    def _is_directory(self, above: str, name: str) -> bool:
        """Return whether the directory `above` of the member `name` exists. Raises as `_check_parents`."""
        try:
            mode = os.lstat(os.path.join(self._root, above)).st_mode
        except FileNotFoundError:
            return False
        path = str(self._root / above) if not stat.S_ISDIR(mode) else ""
        if stat.S_ISLNK(mode):
            raise UnsafeLinkError(
                f"{path!r} is a symbolic link, which is not followed: member {name!r} is not extracted"
            )
        if path:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        self._directories.add(above)
        return True

    def extract(self, infos: list[ZipInfo], meter: Meter, *, verbose: bool) -> None:
        """Write files and directories, then links, then the dates and modes of directories."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._modes = _modes_of(infos)
        more = 0o700  # after a failure, the next extraction goes on in these directories
        try:
            self._write_all(infos, meter, verbose=verbose)
            for info in reversed(infos):
                if info.is_dir():
                    _set_date(self._root / info.filename, info)
            more = 0
        finally:
            self._set_modes(more)

    def _write_all(self, infos: list[ZipInfo], meter: Meter, *, verbose: bool) -> None:
        links = []
        for done, info in enumerate(infos):
            raise_signal()
            if verbose:
                name_line(info.filename)
            if info.is_dir():
                self._make_directory(info.filename.rstrip("/"))
            elif stat.S_ISLNK(info.external_attr >> 16):
                links.append(info)
            else:
                self._write_file(info, _Target(self, meter, done))
        for info in links:
            self._make_link(info)

    def _make_directory(self, name: str) -> None:
        for above in _directories_of(f"{name}/" if name else ""):
            if above not in self._directories:
                with suppress(FileExistsError):
                    # It gets its mode at the end, which may forbid to write in it. Until then it is private.
                    os.mkdir(os.path.join(self._root, above), 0o700 if above in self._modes else 0o777)
                    if above in self._modes:
                        self._made.append(above)
                self._is_directory(above, name)

    def _set_modes(self, more: int) -> None:
        """Set the modes, and `more`, of the directories that were made, the innermost first. The umask applies."""
        allowed = ~umask() if self._made else 0
        while self._made:
            name = self._made.pop()  # made after those above it
            with suppress(OSError):  # on a file system without modes, or if it was removed
                place = os.open(os.path.join(self._root, name), os.O_RDONLY | _DIRECTORY_ONLY | os.O_NOFOLLOW)
                try:
                    inherited = stat.S_IMODE(os.fstat(place).st_mode) & ~0o777  # such as the group's bit
                    os.fchmod(place, inherited | (self._modes[name] & allowed) | more)
                finally:
                    os.close(place)

    def _write_file(self, info: ZipInfo, target: _Target) -> None:
        """Write a file under a temporary name, and rename it once its CRC-32 is right."""
        name = info.filename
        self._make_directory(name.rpartition("/")[0])
        path = self._root / name
        beside = path.with_name(f".{secrets.token_hex(8)}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        permissions = (info.external_attr >> 16) & 0o777 if info.create_system == 3 else 0
        try:
            try:
                # The umask of the process applies.
                with open(os.open(beside, flags, (permissions or 0o666) | 0o200), "wb", buffering=0) as file:
                    target.file = file
                    copy_member(self._archive, info, target, self._password)  # type: ignore[arg-type]
                    if permissions and not permissions & 0o200 and hasattr(os, "fchmod"):
                        os.fchmod(file.fileno(), permissions & ~0o200 & stat.S_IMODE(os.fstat(file.fileno()).st_mode))
                _set_date(beside, info)
                self._put(beside, path)
            except OSError as exc:
                if exc.errno is not None and exc.filename in (None, str(beside), beside):
                    exc.filename = str(path)
                raise
        except BaseException:
            with suppress(FileNotFoundError):
                beside.unlink()
            raise

    def _put(self, beside: Path, path: Path) -> None:
        if self._policy != "replace" and os.path.lexists(path):  # such as the same name in another case, made just now
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        os.replace(beside, path)

    def _make_link(self, info: ZipInfo) -> None:
        name = info.filename
        if info.file_size > _LONGEST_LINK:
            raise BadArchiveError(f"member {name!r}: a symbolic link cannot have a target of {info.file_size:,} bytes")
        data = io.BytesIO()
        copy_member(self._archive, info, data, self._password)
        target = os.fsdecode(data.getvalue())
        fault = _link_fault(target, name.count("/"))
        if fault:
            raise UnsafeLinkError(f"member {name!r} is a symbolic link to {target!r}, {fault}: -x leaves it out")
        self._make_directory(name.rpartition("/")[0])
        path = self._root / name
        if self._policy == "replace":
            with suppress(FileNotFoundError):
                path.unlink()
        try:
            os.symlink(target, path)
        except OSError as exc:
            exc.filename = str(path)  # not the target
            raise


def _modes_of(infos: list[ZipInfo]) -> dict[str, int]:
    """Return the permissions of the directories that state some, by name. The first of several counts."""
    if not _DIRECTORY_ONLY:
        return {}
    modes = ((info, (info.external_attr >> 16) & 0o777) for info in reversed(infos) if info.create_system == 3)
    return {info.filename.rstrip("/"): mode for info, mode in modes if mode and info.is_dir()}


def _directories_of(name: str) -> Iterator[str]:
    """Yield the directories above a member, the outermost first; a directory's own name is the last."""
    end = -1
    while (end := name.find("/", end + 1)) >= 0:
        yield name[:end]


class _Target:
    """A file that counts the bytes written to it, and shows the progress."""

    file: IO[bytes]

    def __init__(self, work: _Extraction, meter: Meter, members: int) -> None:
        self._work = work
        self._meter = meter
        self._members = members

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) :]
        self._work.size += len(data)
        self._meter.at(self._work.size, self._members)
        raise_signal()
        return len(data)


def _clash(infos: list[ZipInfo]) -> str | None:
    """Return the name of a file or link that is also the directory of another member; None if there is none."""
    # In this order, the members in a directory directly follow it.
    names = sorted(info.filename.replace("/", "\0") for info in infos)
    return next((name.replace("\0", "/") for name, after in pairwise(names) if after.startswith(name + "\0")), None)


def _link_fault(target: str, depth: int) -> str | None:
    """Return why a link in a directory `depth` levels below the root may not have this target; None if it may.

    ``..`` may only be at the beginning, because it leads through real directories there; after another component it
    could lead through a link. So each link leads to a place in the root, whichever of these links it goes through.
    """
    if not target or "\0" in target:
        return "which is not a path"
    if os.path.isabs(target) or target.startswith(("/", "\\")) or (sys.platform == "win32" and ":" in target):
        return "an absolute path"
    parts = [part for part in target.replace("\\", "/").split("/") if part not in ("", ".")]
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    if up > depth:
        return "outside of the directory"
    if ".." in parts[up:]:
        return "which goes up after it went down, maybe through another link"
    return None


def _set_date(path: Path, info: ZipInfo) -> None:
    """Set the modification date: that of the extended timestamp (0x5455), else the local time of the header."""
    seconds = _extended(info.extra)
    if seconds is None:
        with suppress(ValueError, OverflowError):
            seconds = time.mktime(datetime(*info.date_time).timetuple())
    if seconds is not None:
        with suppress(OSError, OverflowError):
            os.utime(path, (seconds, seconds), follow_symlinks=os.utime not in os.supports_follow_symlinks)


def _extended(extra: bytes) -> float | None:
    while len(extra) >= 4:
        kind, size = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if kind == _EXTENDED_TIMESTAMP and size >= 5 and len(extra) >= 9 and extra[4] & 1:
            return float(int.from_bytes(extra[5:9], "little", signed=True))
        extra = extra[4 + size :]
    return None
