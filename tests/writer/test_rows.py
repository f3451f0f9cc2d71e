"""What is kept of a member that is finished: its row in the central directory."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.both_ways import DATA, DATE, LONG_WAY, fields
from tests.support.peaks import PEAK
from zipstream_adapter import Entry, stream_zip
from zipstream_adapter._format.central_directory import CentralDirectory
from zipstream_adapter._format.records import (
    DESCRIPTOR_FLAG,
    LIMIT32,
    LZMA_EOS_FLAG,
    central_header,
    data_descriptor,
    local_header,
)
from zipstream_adapter._format.templates import HeaderTemplate
from zipstream_adapter._stream.sync import stream_with

EXTRA = b"\x34\x12\1\0x"
STALE = struct.pack("<2H2Q", 1, 16, 7, 7)
FLAGS = [0, DESCRIPTOR_FLAG, LZMA_EOS_FLAG, DESCRIPTOR_FLAG | LZMA_EOS_FLAG]


@pytest.mark.parametrize("extra", [b"", EXTRA, STALE + EXTRA], ids=["no extra", "extra", "a stale zip64 extra"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("zip64", [False, True], ids=["32 bits", "zip64"])
def test_a_template_packs_what_the_records_are(zip64: bool, flags: int, method: int, extra: bytes) -> None:
    date = (2024, 2, 29, 23, 59, 58)

    def info(name: str) -> zipfile.ZipInfo:
        made = zipfile.ZipInfo(name, date)
        made.create_system, made.external_attr, made.internal_attr = 3, 0o100640 << 16, 1
        made.flag_bits, made.compress_type, made.extra = flags, method, extra
        return made

    template = HeaderTemplate(info("x"), zip64=zip64)
    date = (1981, 1, 2, 3, 4, 6)
    template = template.dated(date, extra.removeprefix(STALE))
    for offset in (0, LIMIT32 - 1, LIMIT32, LIMIT32 + 1, 1 << 40, 7):
        for name, size, data in (("a", 0, b""), ("d/e", LIMIT32 - 1, b"coded"), ("n" * 65535, 9, b"-")):
            single = info(name)
            single.CRC, single.file_size, single.compress_size, single.header_offset = (
                0xFEDCBA98,
                size,
                len(data),
                offset,
            )
            whole = local_header(single, zip64=zip64) + data
            if flags & DESCRIPTOR_FLAG:
                whole += data_descriptor(single, zip64=zip64)
            header, descriptor, packed = template.records(name.encode(), single.CRC, len(data), size, offset)
            assert header + data + descriptor == whole
            assert packed == central_header(single)


def row_of(name: str, comment: bytes = b"", *, zip64: bool = False) -> bytes:
    info = zipfile.ZipInfo(name)
    info.CRC = info.file_size = info.compress_size = info.header_offset = 0
    info.comment = comment
    if zip64:
        info.file_size = LIMIT32
    return central_header(info)


def test_rows_are_given_back_in_blocks_and_as_a_list() -> None:
    names = [f"{number}{'n' * (number % 7)}" for number in range(65_536)]  # an end record needs zip64 to count them
    rows, packed = CentralDirectory(), [row_of(name, zip64=len(name) == 9) for name in names]
    for row in packed:
        rows.add(row)
    assert rows.count == 65_536
    assert [info.filename for info in rows.infolist()] == names
    blocks = list(rows.take())
    assert b"".join(blocks) == b"".join(packed)
    assert 60_000 < min(map(len, blocks[:-1])) <= max(map(len, blocks)) <= CentralDirectory.BLOCK
    assert len(rows.infolist()) == 65_536


def test_a_row_larger_than_a_block_is_a_block() -> None:
    rows, row = CentralDirectory(), row_of("n" * 65535, b"c" * 65535)
    for _ in range(3):
        rows.add(row)
    assert list(rows.take()) == [row] * 3


@pytest.mark.parametrize("way", [{}, LONG_WAY], ids=["short", "long"])
def test_the_list_of_members_is_right_for_thousands(way: dict[str, Any]) -> None:
    items: list[Any] = [(f"{number}-{'é' * (number % 2)}", b"data") for number in range(3000)]
    items[::7] = [Entry(f"{number}", iter([b"da", b"ta"]), zip64=True, comment=b"remark") for number in range(429)]
    stream = stream_with(items, compression="deflate", **way)
    assert stream.infolist() == []
    archive = stream.read()
    with zipfile.ZipFile(io.BytesIO(archive)) as reader:
        assert fields(stream.infolist()) == fields(stream.infolist()) == fields(reader.infolist())
        assert len(reader.infolist()) == 3000
    assert archive.count(b"PK\1\2") == 3000


def test_an_extra_that_readers_would_refuse_does_not_hide_the_list() -> None:
    stream = stream_zip([Entry("a", b"data", extra=struct.pack("<2HB", 0x7075, 1, 1))])
    stream.read()
    assert [info.filename for info in stream.infolist()] == ["a"]


@pytest.mark.parametrize("chunk_size", [0, 1000, 65536, 200_000])
@pytest.mark.parametrize("count", [1, 1023, 2048, 5000])
def test_the_central_directory_leaves_in_pieces(count: int, chunk_size: int) -> None:
    """Here a row has 64 bytes, so a block is full with 1,024 of them, and the end records come on top."""
    items = [(f"{number:09}", b"") for number in range(count)]
    chunks = list(stream_zip(items, chunk_size=chunk_size))
    assert max(map(len, chunks)) <= max(chunk_size, CentralDirectory.BLOCK + 22)
    assert b"".join(chunks).count(b"PK\1\2") == count


_PROBE = (
    PEAK
    + """
from zipstream_adapter import ZipStream, stream_zip

method, duplicates, way, count = *sys.argv[1:4], int(sys.argv[4])
heard = None if way == "short" else lambda progress: None

def run(count):
    entries = ((f"{n:010}", b"x" * 20) for n in range(count))
    stream = stream_zip(entries, compression=method, duplicates=duplicates, on_progress=heard)
    return max(map(len, stream))

run(100)
before = peak()
assert run(count) <= 65536 + 100
sys.stdout.write(str((peak() - before) / count))
"""
)


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        ("stored allow short 200000", 130),
        ("stored error short 200000", 250),
        ("deflate error short 200000", 350),
        ("stored allow long 30000", 200),
    ],
    ids=["rows", "rows and names", "and what is in flight", "rows, the long way"],
)
def test_a_finished_member_costs_its_row_and_its_name(arguments: str, most: int) -> None:
    pytest.importorskip("resource", reason="the peak is not told here")
    command = [sys.executable, "-c", _PROBE, *arguments.split()]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert float(done.stdout) < most


@pytest.mark.large
@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_members_beyond_4_gibibytes(compression: Any, tmp_path: Path) -> None:
    block = bytes(1 << 22)
    (tmp_path / "file").write_bytes(DATA["text"][:20])
    os.utime(tmp_path / "file", (DATE, DATE))

    def tail(**options: Any) -> tuple[bytes, list[tuple[Any, ...]]]:
        big = Entry("big", (block for _ in range(1 << 10)), zip64=True, compression="stored", modified=DATE)
        small = [(f"{number}", DATA["text"][:number]) for number in range(0, 3000, 100)]
        after = [Entry(name, data, modified=DATE) for name, data in small]
        stream = stream_with([big, *after, ("file", tmp_path / "file")], compression=compression, **options)
        kept, at = [], 0
        for chunk in stream:
            at += len(chunk)
            if at > 1 << 32:
                kept.append(chunk)
        return b"".join(kept)[-100_000:], fields(stream.infolist())

    short, listed = tail()
    assert (short, listed) == tail(**LONG_WAY)
    assert len(short) > 50_000 or compression == "deflate"
    assert [row[11] > LIMIT32 for row in listed] == [False, *[True] * 31]
