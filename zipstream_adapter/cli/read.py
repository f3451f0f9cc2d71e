"""The commands that read a local or remote archive: ``list``, ``cat`` and ``test``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from copy import copy
from typing import IO
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from .._entries.files.regular import open_regular
from .._format.records import AES_METHOD, ENCRYPTED_FLAG
from ..errors import BadArchiveError, EncryptedMemberError, EntryError, ZipStreamError
from .messages import message
from .passwords import password_of
from .patterns import Patterns
from .signals import raise_signal
from .terminal import Meter, is_terminal, name_line, say, shown_count, shown_name, shown_size, shown_time

BUFFER_SIZE = 1 << 18
_PLAIN_METHODS = (ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA)
_ENCRYPTION_HEADER = 12  # bytes before encrypted data (APPNOTE 6.1.3)
_SPECIAL_FLAGS = 0x0061  # encrypted, a patch, strongly encrypted (APPNOTE 4.4.4)
_NOT_TO_BE_READ = 0x0060


def run(name: str, arguments: argparse.Namespace) -> int:
    """Run the command. Returns its exit status. Raises ZipStreamError, OSError or ImportError on failure."""
    password = None if name == "list" else password_of(arguments, twice=False)
    with standard_output() as out, opened(arguments.archive) as archive:
        if name == "list":
            _list(Chosen(archive, [], arguments.exclude, arguments.include), out)
        elif name == "cat":
            _cat(archive, arguments.members, out, password)
        else:
            return _test(archive, arguments, out, password)
    return 0


def standard_output() -> IO[bytes]:
    """Return standard output as a binary file, to be closed."""
    if sys.stdout is None:
        raise OSError("standard output is closed: redirect it to a file or a pipe")
    # Own buffer: after a failure, Python would write the buffer of sys.stdout again at exit, and fail again.
    return open(sys.stdout.fileno(), "wb", buffering=BUFFER_SIZE, closefd=False)


def opened(place: str) -> ZipFile:
    """Open the archive at a path or URL."""
    if "://" in place:
        from ..remote.reading.zip_file import open_remote  # imported only if needed

        return open_remote(place)
    open_regular(place).close()  # refuses named pipes: opening one below would wait for a writer
    try:
        return ZipFile(place)
    except (BadZipFile, NotImplementedError, UnicodeDecodeError) as exc:
        from .cut import where_cut

        cut = where_cut(place) if isinstance(exc, BadZipFile) else None
        raise BadArchiveError(f"{place!r} cannot be read as a zip archive: {cut or exc}") from exc


class Chosen:
    """The chosen members: those with the given names, or all; without those that patterns leave out.

    Args:
        members: names of members and directories. Default: all members.
    """

    def __init__(self, archive: ZipFile, members: list[str], exclude: list[str], include: list[str]) -> None:
        infos = _named(archive, members) if members else archive.infolist()
        out, only = Patterns(exclude), Patterns(include)
        self.infos: list[ZipInfo] = []
        for info in infos:
            if not out.match(info.filename) and (not only or only.match(info.filename)):
                self.infos.append(info)
        self.unmatched = [("exclude", each) for each in exclude if each in out.unmatched]
        self.unmatched += [("include", each) for each in include if each in only.unmatched]

    def warn(self) -> None:
        """Name the patterns that matched nothing."""
        for option, pattern in self.unmatched:
            say(f"warning: --{option} {pattern!r} matched nothing")


def _named(archive: ZipFile, members: Iterable[str]) -> list[ZipInfo]:
    found: dict[int, ZipInfo] = {}
    for member in members:
        below = [info for info in archive.infolist() if info.filename.startswith(member.rstrip("/") + "/")]
        if member in archive.NameToInfo:
            below.insert(0, archive.getinfo(member))
        if not below:
            raise _missing(archive, member)
        found |= {id(info): info for info in below}
    return list(found.values())


def _missing(archive: ZipFile, member: str) -> EntryError:
    return EntryError(f"there is no member {member!r} in {archive.filename}: see the command 'list'")


def write_line(out: IO[bytes], size: int | None, date: tuple[int, ...] | None, name: str) -> None:
    """Write a line about a member: its size in bytes, its date, its name."""
    year, month, day, hour, minute, second = date or (0,) * 6
    shown = f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}" if date else " " * 18 + "-"
    out.write(f"{'?' if size is None else size:>14}  {shown}  {shown_name(name)}\n".encode("utf-8", "backslashreplace"))


def _list(chosen: Chosen, out: IO[bytes]) -> None:
    for info in chosen.infos:
        write_line(out, info.file_size, info.date_time, info.filename)
    chosen.warn()


def _cat(archive: ZipFile, members: list[str], out: IO[bytes], password: bytes | None) -> None:
    infos = []
    for member in members:  # raises before anything is written
        if member not in archive.NameToInfo:
            raise _missing(archive, member)
        infos.append(archive.getinfo(member))
        check(archive, infos[-1], password)
    for info in infos:
        copy_member(archive, info, out, password)


def check(archive: ZipFile, info: ZipInfo, password: bytes | None) -> None:
    """Raise an error if the member cannot be read."""
    if info.compress_type in _PLAIN_METHODS and not info.flag_bits & _SPECIAL_FLAGS:
        return
    if info.compress_type == AES_METHOD and not info.flag_bits & _NOT_TO_BE_READ:
        if password is None:
            where = f"{archive.filename}: member {info.filename!r}"
            raise EncryptedMemberError(f"{where} is encrypted: give its password (--password)")
        return
    from ..remote.reading.zip_file import check_readable

    try:
        check_readable(info, str(archive.filename), has_password=password is not None)
    except ZipStreamError as exc:
        raise type(exc)(
            str(exc).replace("(pwd=)", "(--password)").replace("; Entry.copy can copy it as it is", "")
        ) from None


def copy_member(archive: ZipFile, info: ZipInfo, out: IO[bytes], password: bytes | None) -> None:
    """Write the data of a member to `out`, and check its size and CRC-32."""
    where = f"{archive.filename}: member {info.filename!r}"
    try:
        size = _copied(archive, info, out, password, where)
    except (ZipStreamError, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno is None and type(exc) is OSError:  # of the decompressor of bzip2
            raise BadArchiveError(f"{where} cannot be read: {exc}") from exc
        raise
    except Exception as exc:  # a wrong CRC-32, or an error of the decompressor
        raise BadArchiveError(f"{where} cannot be read: {exc or type(exc).__name__}") from exc
    if size != info.file_size:
        raise BadArchiveError(f"{where} has {size:,} bytes; the central directory says {info.file_size:,}")


def _copied(archive: ZipFile, info: ZipInfo, out: IO[bytes], password: bytes | None, where: str) -> int:
    """Write the data of a member to `out`. Returns its size in bytes."""
    if info.compress_type == AES_METHOD and password is not None:
        from .aes import copy_encrypted

        copy_encrypted(archive, info, out, password)  # checks the size
        return info.file_size
    whole, size = copy(info), 0
    if info.compress_type != ZIP_STORED:
        whole.file_size += 1  # zipfile would silently cut data that is longer than the central directory says
    elif info.compress_size != info.file_size + (_ENCRYPTION_HEADER if info.flag_bits & ENCRYPTED_FLAG else 0):
        raise BadArchiveError(
            f"{where} is stored, but its sizes in the central directory differ: {info.file_size:,} bytes, and "
            f"{info.compress_size:,} in the archive"
        )
    with archive.open(whole, pwd=password) as data:
        while chunk := data.read(BUFFER_SIZE):
            size += len(chunk)
            out.write(chunk)
    return size


class _Counting:
    """A file that counts the bytes written to it, and shows the progress."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.size = self.members = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self._meter.at(self.size, self.members)
        raise_signal()
        return len(data)


def _test(archive: ZipFile, arguments: argparse.Namespace, out: IO[bytes], password: bytes | None) -> int:
    """Read all chosen members, and name each bad one. Returns 1 if any is bad, else 0."""
    infos = Chosen(archive, arguments.members, [], []).infos
    meter = Meter(is_terminal() and not arguments.quiet, sum(info.file_size for info in infos))
    counting, bad = _Counting(meter), 0
    locked: dict[str, list[str]] = {}  # often all members of an archive, for one reason
    try:
        for info in infos:
            if arguments.verbose:
                name_line(info.filename)
            try:
                check(archive, info, password)
                copy_member(archive, info, counting, password)  # type: ignore[arg-type]
            except EncryptedMemberError as exc:
                bad += 1
                locked.setdefault(str(exc).replace(repr(info.filename), ""), []).append(message(exc))
            except (ZipStreamError, OSError) as exc:
                bad += 1
                say(message(exc))
            counting.members += 1
    finally:
        meter.close()
    for messages in locked.values():
        say(_said(messages))
    if bad:
        say(f"{archive.filename}: {bad:,} of {shown_count(len(infos), 'member')} cannot be read")
        return 1
    if not arguments.quiet:
        out.write(
            f"{shown_name(str(archive.filename))}: {shown_count(len(infos), 'member')}, "
            f"{shown_size(counting.size)}, all sizes and CRC-32s are right ({shown_time(meter.seconds)})\n".encode(
                "utf-8", "backslashreplace"
            )
        )
    return 0


def _said(messages: list[str]) -> str:
    """One line for all of `messages`, which differ in the names of members only."""
    more = len(messages) - 1
    return f"{messages[0]}. The same is true of {shown_count(more, 'other member')}" if more else messages[0]
