"""Members and archives around 4 GiB and beyond: what their records say, and that readers read them back whole.

The archives that readers read need up to 9 GB of disk, one at a time, and minutes. What can be seen in the stream as it
goes by needs no disk.
"""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain, count, repeat
from pathlib import Path
from random import Random
from typing import IO, NamedTuple
from zlib import crc32

import pytest

from tests.interop.readers import SEVEN_ZIPS, Found, Member, java_command, member, stream_unzip_command
from tests.support import oracles
from zipstream_adapter import Entry, StreamingZipFile, Zip64RequiredError, ZipStream, stream_zip

_MIB = 1 << 20
_GIB = 1 << 30
_LIMIT = 0xFFFFFFFF  # in a field of 32 bits it says "see the zip64 record", so it is one too many itself
_BIG = 4 * _GIB + _MIB + 5
_NOISE = Random(5).randbytes(_MIB)
_TEXT = b"all work and no play makes Jack a dull boy\n" * (_MIB // 43)

pytestmark = [pytest.mark.large, pytest.mark.timeout(1800)]


def repeated(block: bytes, size: int) -> Iterator[bytes]:
    """`size` bytes: `block`, over and over."""
    return chain(repeat(block, size // len(block)), [block[: size % len(block)]])


def summed(chunks: Iterable[bytes]) -> Member:
    size = crc = 0
    for chunk in chunks:
        size, crc = size + len(chunk), crc32(chunk, crc)
    return Member(size, crc)


def blocks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_MIB), b"")


# The readers: what they found, name by name or all of it as one, and what they complained of.


class Verdict(NamedTuple):
    found: Found | Member
    complaint: str = ""


def printed(command: list[str | Path], feed: Path | None = None) -> Verdict:
    """The sum of all that the program prints. `feed` reaches it through a pipe."""
    with tempfile.TemporaryFile() as complaints, piped(feed) as stdin:
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=complaints)
        with process, process.stdout or io.BytesIO() as out:
            found = summed(iter(lambda: out.read(_MIB), b""))
        complaints.seek(0)
        said = complaints.read().decode("utf-8", "replace")
    return Verdict(found, said + (f"exited with {process.returncode}" if process.returncode else ""))


def lines(command: list[str], feed: Path | None = None) -> Verdict:
    """What the program prints: lines of size, CRC-32 and name."""
    with piped(feed) as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
    rows = (line.split(" ", 2) for line in done.stdout.splitlines())
    return Verdict({name: Member(int(size), int(crc, 16)) for size, crc, name in rows}, done.stderr)


@contextmanager
def piped(feed: Path | None) -> Iterator[IO[bytes]]:
    """The end of a pipe that `feed` comes out of; without one, nothing does."""
    if feed is None:
        with open(os.devnull, "rb") as nothing:
            yield nothing
        return
    # It ends when its reader does, if not before: that closes the pipe.
    with subprocess.Popen(["cat", feed], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as feeder:
        assert feeder.stdout is not None
        yield feeder.stdout


def by_zipfile(archive: Path) -> Verdict:
    found = {}
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            with opened.open(info) as data:
                found[info.filename] = summed(blocks(data))
    return Verdict(found)


READERS: dict[str, Callable[[Path], Verdict]] = {
    "zipfile": by_zipfile,
    "unzip": lambda archive: printed([oracles.need("unzip"), "-p", archive]),
    "7z": lambda archive: printed([oracles.need(*SEVEN_ZIPS), "x", "-so", "-bso0", "-bsp0", archive]),
    "bsdtar": lambda archive: printed([oracles.need("bsdtar"), "-xOf", archive]),
    "java-file": lambda archive: lines([*java_command(), "file", str(archive)]),
    "bsdtar-pipe": lambda archive: printed([oracles.need("bsdtar"), "-xOf", "-"], archive),
    "java-pipe": lambda archive: lines([*java_command(), "stream", "/dev/stdin"], archive),
    "stream-unzip": lambda archive: lines(stream_unzip_command(), archive),
}


# The archives.


class Form(NamedTuple):
    """Which places of a member carry zip64: bytes of its descriptor, and of the zip64 extra in its directory row."""

    bit3: bool
    zip64_header: bool
    descriptor: int
    row: int


class Case(NamedTuple):
    """A large member's source, size and options, what its records must be, and who has something against it.

    behind: the forms of the two small members that follow.
    """

    source: Callable[[Path], Iterator[bytes] | Path]
    options: dict[str, object]
    form: Form
    behind: list[Form]
    complaints: dict[str, str]


_NEAR = [Form(False, False, 0, 0), Form(True, False, 16, 0)]
_FAR = [Form(False, False, 0, 8), Form(True, False, 16, 8)]  # offsets past 4 GiB, and nothing else
_STORED_IN_PIPE = {
    "java-pipe": "only DEFLATED entries can have EXT descriptor",
    "stream-unzip": "NotStreamUnzippable",
}
# libarchive takes descriptors for 32-bit ones, before the directory, unless the header is zip64.
_WRONG_SIZE = {"bsdtar-pipe": "data is wrong size"}
_DEFLATE: dict[str, object] = {"compression": "deflate", "level": 1}
_STORED: dict[str, object] = {"compression": "stored"}


def sparse(place: Path) -> Path:
    path = place / "sparse"
    with open(path, "wb") as file:
        for at, data in ((0, b"first"), (3 * _GIB, b"middle"), (_BIG - 4, b"last")):
            file.seek(at)
            file.write(data)
    return path


CASES = {
    "stored, size unknown": Case(
        lambda _: repeated(_NOISE, _BIG), _STORED, Form(True, False, 24, 16), _FAR, {**_STORED_IN_PIPE, **_WRONG_SIZE}
    ),
    "deflate, size unknown": Case(
        lambda _: repeated(_TEXT, _BIG), _DEFLATE, Form(True, False, 24, 16), _NEAR, _WRONG_SIZE
    ),
    "deflate, size unknown, zip64=True": Case(
        lambda _: repeated(_TEXT, _BIG), {**_DEFLATE, "zip64": True}, Form(True, True, 24, 16), _NEAR, {}
    ),
    "stored, a file": Case(sparse, _STORED, Form(True, True, 24, 16), _FAR, _STORED_IN_PIPE),
    "deflate, a file": Case(sparse, _DEFLATE, Form(True, True, 24, 16), _NEAR, {}),
    "stored, 3 GiB": Case(
        lambda _: repeated(_NOISE, 3 * _GIB), _STORED, Form(True, False, 16, 0), _NEAR, _STORED_IN_PIPE
    ),
    "none, size unknown": Case(lambda _: repeated(_NOISE, _BIG), {}, Form(True, False, 24, 16), _FAR, _WRONG_SIZE),
    "none, a file": Case(sparse, {}, Form(True, True, 24, 16), _FAR, {}),
    "none, 3 GiB": Case(lambda _: repeated(_NOISE, 3 * _GIB), {}, Form(True, False, 16, 0), _NEAR, {}),
}


@pytest.fixture
def place() -> Iterator[Path]:
    """Removed at once: gigabytes must not wait for the next run."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def forms(archive: Path) -> list[Form]:
    found = []
    with zipfile.ZipFile(archive) as opened, open(archive, "rb") as file:
        infos = opened.infolist()
        nexts = [*(info.header_offset for info in infos[1:]), opened.start_dir]
        for info, following in zip(infos, nexts, strict=True):
            file.seek(info.header_offset)
            header = file.read(30)
            flags, compressed, size = *struct.unpack_from("<H", header, 6), *struct.unpack_from("<2L", header, 18)
            name_size, extra_size = struct.unpack_from("<2H", header, 26)
            local = zip64_field(file.read(name_size + extra_size)[name_size:])
            assert (local is not None) == (compressed == size == _LIMIT)
            end = info.header_offset + 30 + name_size + extra_size + info.compress_size
            row = zip64_field(info.extra)
            found.append(Form(bool(flags & 8), local is not None, following - end, len(row or b"")))
    return found


def zip64_field(extra: bytes) -> bytes | None:
    while extra:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == 1:
            return extra[4 : 4 + size]
        extra = extra[4 + size :]
    return None


@pytest.mark.parametrize("case", CASES)
def test_large_members_are_read_back_whole(case: str, place: Path) -> None:
    source, options, form, behind, complaints = CASES[case]
    noise = _NOISE[:300_000]
    given = source(place)
    entries = [
        Entry("big", given, **options),  # type: ignore[arg-type]
        Entry("after", b"found"),
        Entry("after that", iter([noise]), compression="deflate"),
    ]
    archive = place / "archive.zip"
    with open(archive, "wb") as file:
        file.writelines(stream_zip(entries))
    assert forms(archive) == [form, *behind]
    assert has_zip64_end(archive) == (behind == _FAR)
    big = summed(chunks_of(source(place)))
    expected = {"big": big, "after": member(b"found"), "after that": member(noise)}
    in_a_row = Member(big.size + 300_005, crc32(noise, crc32(b"found", big.crc32)))
    for name, reader in READERS.items():
        found, complaint = reader(archive)
        if name in complaints:
            assert complaints[name] in complaint, name
        else:
            assert (found, complaint) == (in_a_row if isinstance(found, Member) else expected, ""), name


def chunks_of(source: Iterator[bytes] | Path) -> Iterator[bytes]:
    if not isinstance(source, Path):
        yield from source
        return
    with open(source, "rb") as file:
        yield from blocks(file)


def has_zip64_end(archive: Path) -> bool:
    with open(archive, "rb") as file:
        file.seek(-22 - 20 - 56, os.SEEK_END)
        return file.read(4) == b"PK\6\6"


# What needs no disk: the stream is looked at as it goes by.


@cache
def noise_sum(size: int) -> Member:
    return summed(repeated(_NOISE, size))


def first_and_last(stream: ZipStream) -> tuple[bytes, bytes, int]:
    """The beginning of the stream, its end, and its length."""
    head, tail, size = b"", b"", 0
    for chunk in stream:
        head = head or chunk[:100]
        tail = tail[-1000:] + chunk[-1000:]
        size += len(chunk)
    return head, tail, size


@pytest.mark.parametrize("known", ["nothing known", "size known", "all known"])
@pytest.mark.parametrize("size", [_LIMIT - 1, _LIMIT])
def test_the_limit_itself_needs_zip64_and_one_byte_less_does_not(size: int, known: str) -> None:
    crc = noise_sum(size).crc32
    promises: dict[str, int] = {
        "nothing known": {},
        "size known": {"size": size},
        "all known": {"size": size, "crc32": crc},
    }[known]
    entry = Entry("m", repeated(_NOISE, size), compression="stored", **promises)  # type: ignore[arg-type]
    stream = stream_zip([entry], extended_timestamps=False)
    head, tail, total = first_and_last(stream)

    wide = size >= _LIMIT
    extra = struct.pack("<2H2Q", 1, 16, *([size] * 2 if known == "all known" else [0, 0]))
    header_zip64 = wide and known != "nothing known"
    header_size = 31 + len(extra) * header_zip64
    version, flags, *_, sums, compressed, plain, _, extra_size = struct.unpack_from("<4x5H3L2H", head)
    assert (version, flags) == (45 if header_zip64 else 20, 0 if known == "all known" else 8)
    assert head[31:header_size] == (extra if header_zip64 else b"") and extra_size == header_size - 31
    in_header = size if known == "all known" else 0
    assert (sums, compressed, plain) == (crc if in_header else 0, *[_LIMIT if header_zip64 else in_header] * 2)

    row = tail.index(b"PK\1\2")
    directory = total - len(tail) + row
    descriptor = tail[row - (directory - header_size - size) : row]
    assert descriptor == (
        b"" if in_header else struct.pack("<4sL2Q" if wide else "<4s3L", b"PK\7\x08", crc, size, size)
    )
    in_row = struct.unpack_from("<2L", tail, row + 20)
    assert in_row == ((_LIMIT, _LIMIT) if wide else (size, size))
    # Behind such a member the directory begins past the limit, so the end record is zip64 in any case.
    assert directory >= _LIMIT
    row_size = 47 + 20 * wide
    assert tail[row + row_size :][:4] == b"PK\6\6"
    assert struct.unpack_from("<2Q", tail, row + row_size + 40) == (row_size, directory)
    assert struct.unpack_from("<2L", tail, len(tail) - 10) == (row_size, _LIMIT)


def counted(asked: list[int]) -> Iterator[bytes]:
    for number in count(1):
        asked[:] = [number]
        yield _NOISE


def test_refused_zip64_fails_with_the_byte_that_needs_it() -> None:
    asked: list[int] = []
    with pytest.raises(Zip64RequiredError, match="'m' has grown to a size"):
        first_and_last(stream_zip([Entry("m", counted(asked), zip64=False)]))
    assert asked == [4096]  # 4 GiB, of which the last byte is one too many


def test_refused_zip64_fails_at_once_where_the_size_is_known() -> None:
    asked: list[int] = []
    stream = stream_zip(
        [("before", b""), Entry("m", counted(asked), size=_LIMIT, zip64=False)], on_error=lambda *_: None
    )
    first_and_last(stream)
    assert asked == []
    assert [skipped.entry.name for skipped in stream.skipped] == ["m"]
    assert [info.filename for info in stream.infolist()] == ["before"]


def test_refused_zip64_fails_a_member_that_would_begin_past_the_limit() -> None:
    big = Entry("big", repeated(_NOISE, _LIMIT - 1))
    stream = stream_zip([big, Entry("m", b"", zip64=False)], on_error=lambda *_: None)
    first_and_last(stream)
    assert [(skipped.entry.name, type(skipped.error)) for skipped in stream.skipped] == [("m", Zip64RequiredError)]


class Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


def test_an_archive_without_zip64_is_not_finished_past_the_limit() -> None:
    archive = StreamingZipFile(Nowhere(), allowZip64=False)
    with archive.open("m", "w") as handle:
        handle.writelines(repeated(_NOISE, _LIMIT - 1))
    # The member fits, but no other can begin behind it, and neither can the directory.
    with pytest.raises(zipfile.LargeZipFile):
        archive.writestr("another", b"")
    with pytest.raises(Zip64RequiredError):
        archive.close()
