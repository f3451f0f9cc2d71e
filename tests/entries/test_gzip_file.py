"""Entry.from_gzip: gzip files become deflated members, byte for byte, and only if they are what they say."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.oracles import need
from tests.support.strategies import noise
from zipstream_adapter import Entry, ZipLayout, async_stream_zip, stream_zip
from zipstream_adapter.errors import (
    BadArchiveError,
    CRC32MismatchError,
    EntryError,
    EntryTypeError,
    OptionError,
    SizeMismatchError,
    SourceChangedError,
    ZipStreamError,
)

TEXT = b"".join(b"%d a line of a log\n" % number for number in range(40_000))
DATE = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


def packed(data: bytes = TEXT, name: str = "", level: int = 6) -> bytes:
    made = io.BytesIO()
    with gzip.GzipFile(name, "wb", level, made, DATE.timestamp()) as file:
        file.write(data)
    return made.getvalue()


PACKED = packed()


def read(entry: Entry, **options: Any) -> tuple[zipfile.ZipInfo, bytes]:
    with zipfile.ZipFile(io.BytesIO(b"".join(stream_zip([entry], **options)))) as archive:
        (info,) = archive.infolist()
        return info, archive.read(info)


def deflated(archive: bytes, info: zipfile.ZipInfo) -> bytes:
    at = info.header_offset
    start = at + 30 + sum(struct.unpack_from("<2H", archive, at + 26))
    return archive[start : start + info.compress_size]


SOURCES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "str": str,
    "bytes": lambda path: path.read_bytes(),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "callable": lambda path: lambda: path.open("rb"),
    "callable of bytes": lambda path: path.read_bytes,
}


@pytest.mark.parametrize("kind", SOURCES)
async def test_a_log_is_passed_on(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(packed(name="app.log"))
    path.chmod(0o640)
    entry = Entry.from_gzip(SOURCES[kind](path))
    assert (entry.name, entry.size, entry.crc32, entry.is_raw) == ("app.log", len(TEXT), zlib.crc32(TEXT), True)
    assert entry.modified == DATE
    archive = b"".join(stream_zip([entry]))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        info = opened.getinfo("app.log")
        assert opened.read(info) == TEXT
    assert deflated(archive, info) in path.read_bytes()
    if kind in ("path", "str"):
        assert info.external_attr >> 16 & 0o777 == 0o640
    assert b"".join([chunk async for chunk in async_stream_zip([entry])]) == archive


def test_layouts_and_ranges() -> None:
    entry = Entry.from_gzip(PACKED, "log")
    layout = ZipLayout([entry, Entry("more", b"data")], lookahead=0)
    data = b"".join(layout.iter_range())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("log") == TEXT
    assert b"".join(layout.iter_range(len(PACKED) // 2, len(PACKED) // 2 + 1000)) == data[len(PACKED) // 2 :][:1000]


def test_entries_of_paths_go_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(PACKED)
    assert read(pickle.loads(pickle.dumps(Entry.from_gzip(path))))[1] == TEXT


def test_an_open_file_from_where_it_is() -> None:
    file = io.BytesIO(b"in front" + PACKED)
    file.seek(8)
    assert read(Entry.from_gzip(file, "a"))[1] == TEXT
    assert not file.closed


@pytest.mark.parametrize(
    ("file", "member"), [("a.gz", "a"), ("a.TGZ", "a.tar"), ("a.svgz", "a.svg"), ("a.bin", "a.bin"), (".gz", ".gz")]
)
def test_names(tmp_path: Path, file: str, member: str) -> None:
    (tmp_path / file).write_bytes(PACKED)
    assert Entry.from_gzip(tmp_path / file).name == member
    assert Entry.from_gzip(tmp_path / file, "other", mode=0o600, modified=DATE).name == "other"


def test_what_the_program_gzip_writes(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(TEXT)
    for flags in (["-n", "-1"], ["-N", "-9"]):
        done = subprocess.run([need("gzip"), "-c", *flags, "log"], cwd=tmp_path, capture_output=True, check=True)
        assert read(Entry.from_gzip(done.stdout, "log"))[1] == TEXT


def test_all_fields_of_a_header() -> None:
    body = PACKED[10:]
    head = b"\x1f\x8b\x08\x1e" + struct.pack("<LBB", 0, 0, 3)
    fields = struct.pack("<H", 5) + b"extra" + b"sub/n\xe4me\0" + b"comment\0" + b"cr"
    entry = Entry.from_gzip(head + fields + body)
    assert (entry.name, entry.modified) == ("näme", None)
    assert read(entry)[1] == TEXT


@pytest.mark.parametrize("data", [b"", b"x", bytes(10**6), noise(1, 10**6)])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_data_of_all_kinds(data: bytes, level: int) -> None:
    info, got = read(Entry.from_gzip(packed(data, level=level), "a"))
    assert (got, info.compress_type) == (data, zipfile.ZIP_DEFLATED)


# Several members.


SEVERAL = packed(b"first\n") + packed(b"second\n")


def test_several_members_are_refused() -> None:
    with pytest.raises(BadArchiveError, match="several members"):
        read(Entry.from_gzip(packed() + PACKED, "a"))
    with pytest.raises(ZipStreamError):
        read(Entry.from_gzip(SEVERAL, "a"))


def test_several_members_are_compressed_anew(tmp_path: Path) -> None:
    entry = Entry.from_gzip(SEVERAL, "a", several="recompress")
    assert not entry.is_raw
    assert read(entry)[1] == b"first\nsecond\n"
    assert read(Entry.from_gzip(PACKED, "a", several="recompress"))[1] == TEXT
    assert Entry.from_gzip(PACKED, "a", several="recompress").is_raw
    path = tmp_path / "a.gz"
    path.write_bytes(SEVERAL)
    info, data = read(Entry.from_gzip(path, several="recompress"), compression="deflate")
    assert (data, info.compress_type) == (b"first\nsecond\n", zipfile.ZIP_DEFLATED)


# Broken files.


def _changed(at: int, value: bytes) -> bytes:
    data = bytearray(PACKED)
    data[at : at + len(value) if at + len(value) else None] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (b"", BadArchiveError, "is not a gzip file: it begins with b''"),
        (b"PK\3\4" + bytes(50), BadArchiveError, r"begins with b'PK\\x03\\x04'"),
        (PACKED[:15], BadArchiveError, "is cut short"),
        (b"\x1f\x8b\x07" + PACKED[3:], BadArchiveError, "method 7"),
        (b"\x1f\x8b\x08\xff" + PACKED[4:], BadArchiveError, "flags 0xff"),
        (b"\x1f\x8b\x08\x08" + b"x" * 100, BadArchiveError, "its header does not end"),
    ],
)
def test_what_is_no_gzip_file_is_refused_at_once(data: bytes, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Entry.from_gzip(data, "a")


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (_changed(-8, b"\0\0\0\0"), CRC32MismatchError, "CRC-32"),
        (_changed(-4, struct.pack("<L", len(TEXT) + 1)), SizeMismatchError, f"has {len(TEXT)} bytes of data"),
        (_changed(len(PACKED) // 2, b"\xff" * 40), ZipStreamError, "cannot be decompressed|CRC-32|several"),
        (PACKED[:-20], ZipStreamError, "gzip"),
        (PACKED + bytes(512), ZipStreamError, "gzip"),
    ],
)
def test_what_is_broken_fails_the_member(data: bytes, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        read(Entry.from_gzip(data, "a"))


@pytest.mark.parametrize(
    ("seconds", "date"),
    [
        (-(10**9), datetime(1980, 1, 1, tzinfo=UTC)),
        (0, datetime(1980, 1, 1, tzinfo=UTC)),
        (1_700_000_000.75, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (5_000_000_000, datetime(2107, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_files_own_date_is_that_of_any_file(tmp_path: Path, seconds: float, date: datetime) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(TEXT, mtime=0))
    os.utime(path, (seconds, seconds))
    if path.stat().st_mtime != seconds:
        pytest.skip("the file system has no such date")
    entry = Entry.from_gzip(path)
    assert entry.modified == date
    assert read(entry)[1] == TEXT
    if date.year == 2023:
        assert read(entry)[0].date_time == read(Entry.from_path(path, "app.log"))[0].date_time


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(PACKED)
    entry = Entry.from_gzip(path)
    path.write_bytes(packed(TEXT + b"more"))
    with pytest.raises(SourceChangedError, match=r"has changed since Entry\.from_gzip"):
        read(entry)


def test_4_gib_and_more_need_the_size() -> None:
    """The trailer of a file with much more data than it can state."""
    data = bytearray(packed(os.urandom(100_000)))
    data[-4:] = struct.pack("<L", 5)
    with pytest.raises(SizeMismatchError, match="4 GiB of data or more"):
        Entry.from_gzip(bytes(data), "a")
    assert Entry.from_gzip(bytes(data), "a", size=(1 << 32) + 5).size == (1 << 32) + 5
    with pytest.raises(SizeMismatchError, match="size=7"):
        Entry.from_gzip(bytes(data), "a", size=7)


@pytest.mark.parametrize(
    ("source", "options", "error", "said"),
    [
        (iter([PACKED]), {}, EntryTypeError, "give a path, bytes, a seekable binary file"),
        (3, {}, EntryTypeError, "source=3"),
        (b"/a.gz", {}, BadArchiveError, "is not a gzip file"),
        (lambda: None, {}, EntryTypeError, "returned None"),
        (PACKED, {"several": "x"}, OptionError, "several='x'"),
        (PACKED, {"level": 3}, EntryTypeError, "takes no option 'level'"),
        (PACKED, {"name": None}, EntryError, "has no name in its header"),
        ("/no/such/file.gz", {}, FileNotFoundError, "file.gz"),
    ],
)
def test_arguments_that_cannot_be_are_refused(
    source: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Entry.from_gzip(source, **{"name": "a", **options})
