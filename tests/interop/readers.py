"""Programs that read zip archives, each asked for everything: what came out is compared, not only the exit status.

A reader takes an archive and an empty directory, and returns a Member for each name it found. It raises Refused where
the program fails, and where it warns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from tests.support import oracles

SEVEN_ZIPS = ("7zz", "7z", "7za")
# Names that are not ASCII are printed and made in the encoding of the locale, by unzip, bsdtar and Java alike.
_LOCALE = {"LC_ALL": "C.UTF-8"}

_STREAM_UNZIP = """
import sys
from zlib import crc32
from stream_unzip import stream_unzip

for name, _, chunks in stream_unzip(iter(lambda: sys.stdin.buffer.read1(65536), b"")):
    size = crc = 0
    for chunk in chunks:
        size, crc = size + len(chunk), crc32(chunk, crc)
    sys.stdout.buffer.write(b"%d %x %b\\n" % (size, crc, name))
"""


class Member(NamedTuple):
    """What a reader made of a member. A directory has no data; the data of a symbolic link is its target."""

    size: int
    crc32: int


class Refused(Exception):
    """The program failed, or had something to say."""


Found = dict[str, Member]
Reader = Callable[[bytes, Path], Found]


def member(data: bytes) -> Member:
    return Member(len(data), crc32(data))


def run(
    command: Sequence[str | Path], stdin: bytes = b"", place: Path | None = None, **environment: str
) -> tuple[str, str]:
    """What the program says on standard output and on standard error; `stdin` goes to it through a pipe."""
    environment = {**os.environ, **_LOCALE, **environment}
    done = subprocess.run(
        command, input=stdin, capture_output=True, timeout=200, check=False, cwd=place, env=environment
    )
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    if done.returncode != 0:
        raise Refused(f"{command[0]} exited with {done.returncode}\n{out}{err}")
    return out, err


def unzip(archive: bytes, place: Path) -> Found:
    said = run([oracles.need("unzip"), "-qq", _file(archive, place), "-d", "out"], place=place)
    # The one thing it says of an archive with links, even so.
    if any(line for line in "".join(said).splitlines() if "ymbolic link" not in line and " -> " not in line):
        raise Refused("".join(said))
    return _tree(place / "out")


def seven_zip(archive: bytes, place: Path) -> Found:
    said = "".join(run([oracles.need(*SEVEN_ZIPS), "x", "-y", "-oout", _file(archive, place)], place=place))
    if "Everything is Ok" not in said or "arning" in said or "rror" in said:
        raise Refused(said)
    return _tree(place / "out")


def bsdtar(archive: bytes, place: Path) -> Found:
    return _bsdtar(["-xf", _file(archive, place)], b"", place)


def bsdtar_pipe(archive: bytes, place: Path) -> Found:
    return _bsdtar(["-xf", "-"], archive, place)


def _bsdtar(arguments: list[str | Path], stdin: bytes, place: Path) -> Found:
    (place / "out").mkdir()
    said = run([oracles.need("bsdtar"), "-C", "out", *arguments], stdin, place)
    if any(said):
        raise Refused("".join(said))
    return _tree(place / "out")


def java_file(archive: bytes, place: Path) -> Found:
    """java.util.zip.ZipFile."""
    return _lines(*run([*java_command(), "file", _file(archive, place)]))


def java_pipe(archive: bytes, place: Path) -> Found:
    """java.util.zip.ZipInputStream."""
    return _lines(*run([*java_command(), "stream", "/dev/stdin"], archive))


def java_command() -> list[str]:
    return [*oracles.java_command(), "-cp", oracles._java_classes(), "ReadZip"]


def stream_unzip(archive: bytes, place: Path) -> Found:
    return _lines(*run(stream_unzip_command(), archive))


def stream_unzip_command() -> list[str]:
    return [sys.executable, "-c", _STREAM_UNZIP]


def zipfile_(archive: bytes, place: Path) -> Found:
    with zipfile.ZipFile(_file(archive, place)) as opened:
        return {info.filename: member(opened.read(info)) for info in opened.infolist()}


BY_DIRECTORY: dict[str, Reader] = {
    "unzip": unzip,
    "7z": seven_zip,
    "bsdtar": bsdtar,
    "java-file": java_file,
    "zipfile": zipfile_,
}
FROM_PIPE: dict[str, Reader] = {
    "bsdtar-pipe": bsdtar_pipe,
    "java-pipe": java_pipe,
    "stream-unzip": stream_unzip,
}
READERS = BY_DIRECTORY | FROM_PIPE
# They make files: a directory that holds anything leaves no trace of its own.
EXTRACTING = {"unzip", "7z", "bsdtar", "bsdtar-pipe"}


def as_found_by(reader: str, members: Found) -> Found:
    """`members` as `reader` shows them, if it reads every one."""
    if reader not in EXTRACTING:
        return members
    holding = {name[: at + 1] for name in members for at, letter in enumerate(name[:-1]) if letter == "/"}
    return {name: found for name, found in members.items() if name not in holding}


def _file(archive: bytes, place: Path) -> Path:
    path = place / "archive.zip"
    path.write_bytes(archive)
    return path


def _tree(root: Path) -> Found:
    """The files, links and empty directories under `root`."""
    found = {}
    for place, directories, files in os.walk(root):
        for name in [*files, *(name for name in directories if os.path.islink(os.path.join(place, name)))]:
            path = Path(place, name)
            data = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
            found[path.relative_to(root).as_posix()] = member(data)
        if place != str(root) and not directories and not files:
            found[Path(place).relative_to(root).as_posix() + "/"] = member(b"")
    return found


def _lines(out: str, err: str) -> Found:
    """Lines of size, CRC-32 and name."""
    if err:
        raise Refused(err)
    found = {}
    for line in out.splitlines():
        size, crc, name = line.split(" ", 2)
        assert name not in found
        found[name] = Member(int(size), int(crc, 16))
    return found
