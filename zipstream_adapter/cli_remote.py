"""The commands that read an archive, here or elsewhere: ``list`` its members, ``cat`` some of them."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from .errors import BadArchiveError, EntryError, ZipStreamError

_COMMANDS = ("list", "cat")
_PIECE = 1 << 18

EPILOG = """\
reading an archive, here or elsewhere (s3://, gs://, az://, http://, https://, file://; the extra 's3'):
  zipstream-adapter list URL              its members: size in bytes, date, name
  zipstream-adapter cat URL MEMBER...     the data of members, to standard output

'list' and 'cat' are these commands unless a file of that name is here and what follows is no URL; ./list is always the
file. Credentials, region and endpoint come from the environment, as in AWS_REGION and AWS_ENDPOINT_URL.
"""


def is_command(argv: Sequence[str]) -> bool:
    """Whether the arguments are one of these commands, and not files to be archived."""
    if not argv or argv[0] not in _COMMANDS:
        return False
    return "://" in "".join(argv[1:2]) or not os.path.lexists(argv[0])


def run(argv: Sequence[str]) -> None:
    """Run the command. Raises what is wrong."""
    arguments = _parser().parse_args(argv)
    if sys.stdout is None:
        raise OSError("standard output is closed")
    # Not through Python's own buffer, which would be written again, and fail again, at exit.
    with (
        open(sys.stdout.fileno(), "wb", buffering=_PIECE, closefd=False) as out,
        _opened(arguments.archive) as archive,
    ):
        if arguments.command == "list":
            _list(archive, out)
        else:
            _cat(archive, arguments.members, out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zipstream-adapter", description="Read a zip archive, here or elsewhere.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="its members: size in bytes, date, name")
    reading = commands.add_parser("cat", help="the data of members, one behind another")
    for command in (listing, reading):
        command.add_argument("archive", metavar="URL", help="the archive: a URL, or a path")
    reading.add_argument("members", nargs="+", metavar="MEMBER", help="a member's name")
    return parser


def _opened(place: str) -> ZipFile:
    if "://" in place:
        from .remote_zip import open_remote  # not for every archive that is made

        return open_remote(place)
    try:
        return ZipFile(place)
    except (BadZipFile, NotImplementedError, UnicodeDecodeError) as exc:
        raise BadArchiveError(f"{place!r} cannot be read as a zip archive: {exc}") from exc


def _list(archive: ZipFile, out: IO[bytes]) -> None:
    for info in archive.infolist():
        year, month, day, hour, minute, second = info.date_time
        date = f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        out.write(f"{info.file_size:14}  {date}  {_shown(info.filename)}\n".encode("utf-8", "backslashreplace"))


def _shown(name: str) -> str:
    """A name on one line, and without what a terminal would take for a command."""
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in name)


def _cat(archive: ZipFile, members: list[str], out: IO[bytes]) -> None:
    infos = [_info(archive, member) for member in members]  # before the first byte leaves
    for info in infos:
        try:
            with archive.open(info) as data:
                shutil.copyfileobj(data, out, _PIECE)
        except (ZipStreamError, OSError):
            raise
        except Exception as exc:  # a checksum, or whatever the decompressor says
            raise BadArchiveError(f"{archive.filename}: member {info.filename!r} cannot be read: {exc}") from exc


def _info(archive: ZipFile, member: str) -> ZipInfo:
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise EntryError(f"there is no member {member!r} in {archive.filename}") from None
    from .remote_zip import check_readable

    check_readable(info, str(archive.filename), has_password=False)
    return info
