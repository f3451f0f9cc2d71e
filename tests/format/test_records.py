"""Records: what these functions pack, the standard library's reader unpacks, on both sides of every threshold."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipstream_adapter._format.records import (
    DESCRIPTOR_FLAG,
    LIMIT16,
    LIMIT32,
    LZMA_EOS_FLAG,
    UTF8_FLAG,
    ZIP64_EXTRA_ROOM,
    central_header,
    data_descriptor,
    encoded_name,
    end_records,
    end_zip64_field,
    local_header,
    needs_zip64,
    without_zip64,
)

LAST32 = LIMIT32 - 1  # the largest value that a 32-bit field says itself
DATA = b"some data, and then some"
FIELD = struct.pack("<2H3s", 0x7777, 3, b"own")
STALE = struct.pack("<2H2Q", 1, 16, 7, 7)


def member(name: str = "a.txt", **fields: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2024, 2, 29, 23, 59, 58))
    info.filename = name
    info.create_system, info.external_attr, info.comment, info.extra = 3, 0o100640 << 16, b"remark", FIELD
    info.CRC, info.file_size, info.compress_size, info.header_offset = zlib.crc32(DATA), len(DATA), len(DATA), 0
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive_of(*infos: zipfile.ZipInfo, zip64: bool = False, comment: bytes = b"") -> bytes:
    """A whole archive by hand: each member holds DATA, as its ZipInfo says."""
    made = b""
    for info in infos:
        info.header_offset = len(made)
        made += local_header(info, zip64=zip64) + DATA
        if info.flag_bits & DESCRIPTOR_FLAG:
            made += data_descriptor(info, zip64=zip64)
    rows = b"".join(central_header(info) for info in infos)
    return made + rows + b"".join(end_records(len(infos), len(rows), len(made), comment))


def listed(row: bytes) -> zipfile.ZipInfo:
    """One directory row as the standard library reads it; nothing is there but it and the end record."""
    with zipfile.ZipFile(io.BytesIO(row + b"".join(end_records(1, len(row), 0, b"")))) as archive:
        (info,) = archive.infolist()
    return info


def zip64_values(extra: bytes) -> tuple[int, ...]:
    """The numbers in the zip64 field (4.5.3) at the front of `extra`."""
    kind, size = struct.unpack_from("<2H", extra)
    assert kind == 1
    assert size % 8 == 0
    return struct.unpack_from(f"<{size // 8}Q", extra, 4)


# Whole archives


@pytest.mark.parametrize("zip64", [False, True], ids=["plain", "zip64"])
@pytest.mark.parametrize("flags", [0, DESCRIPTOR_FLAG], ids=["complete header", "descriptor"])
@pytest.mark.parametrize("name", ["a.txt", "ü/日本.txt", "d/" * 100 + "x"])
def test_the_standard_library_reads_what_is_packed(name: str, flags: int, zip64: bool) -> None:
    infos = [member(name, flag_bits=flags), member("second", flag_bits=flags)]
    with zipfile.ZipFile(io.BytesIO(archive_of(*infos, zip64=zip64, comment=b"the archive's"))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [name, "second"]
        assert archive.read(name) == DATA
        assert archive.comment == b"the archive's"
        found = archive.getinfo(name)
    assert found.date_time == (2024, 2, 29, 23, 59, 58)
    assert (found.comment, found.create_system, found.external_attr >> 16) == (b"remark", 3, 0o100640)
    assert (found.CRC, found.file_size, found.compress_size) == (zlib.crc32(DATA), len(DATA), len(DATA))
    assert found.flag_bits == flags | (0 if name.isascii() else UTF8_FLAG)
    assert found.extra.endswith(FIELD)


@pytest.mark.parametrize("flags", [0, DESCRIPTOR_FLAG])
def test_the_bytes_are_those_zipfile_writes_itself(flags: int) -> None:
    info, written = member(flag_bits=flags), io.BytesIO()
    target: Any = written if not flags else OnlyWrites(written)
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(member(), DATA)
    assert archive_of(info) == written.getvalue()


class OnlyWrites:
    """A file that zipfile cannot go back in."""

    def __init__(self, file: io.BytesIO) -> None:
        self.write, self.flush = file.write, file.flush


def test_packing_twice_gives_the_same_bytes() -> None:
    info = member("ü", flag_bits=DESCRIPTOR_FLAG, extra=STALE + FIELD)
    assert archive_of(info, zip64=True) == archive_of(info, zip64=True)
    assert (info.filename, info.extra, info.flag_bits) == ("ü", STALE + FIELD, DESCRIPTOR_FLAG)


# Local headers and descriptors


@pytest.mark.parametrize("zip64", [False, True])
def test_a_header_before_a_descriptor_says_no_sizes(zip64: bool) -> None:
    header = local_header(member(flag_bits=DESCRIPTOR_FLAG), zip64=zip64)
    crc, compressed, size = struct.unpack_from("<3L", header, 14)
    assert (crc, compressed, size) == ((0, LIMIT32, LIMIT32) if zip64 else (0, 0, 0))
    assert (struct.pack("<2H2Q", 1, 16, 0, 0) in header) == zip64


def test_a_zip64_header_has_both_sizes_in_its_field_and_neither_outside() -> None:
    header = local_header(member(file_size=5 << 30, compress_size=7), zip64=True)
    assert struct.unpack_from("<2L", header, 18) == (LIMIT32, LIMIT32)
    # 4.5.3: the original size stands before the compressed one.
    assert struct.pack("<2H2Q", 1, 16, 5 << 30, 7) in header


@pytest.mark.parametrize("size", [LAST32, LIMIT32, 5 << 30])
@pytest.mark.parametrize("compressed", [0, LAST32, LIMIT32])
@pytest.mark.parametrize("zip64", [False, True])
def test_a_descriptor_is_wide_where_its_header_is_or_a_size_needs_it(size: int, compressed: int, zip64: bool) -> None:
    info = member(file_size=size, compress_size=compressed)
    wide = zip64 or size >= LIMIT32 or compressed >= LIMIT32
    assert needs_zip64(info) == (size >= LIMIT32 or compressed >= LIMIT32)
    layout = "<4sL2Q" if wide else "<4s3L"
    assert struct.unpack(layout, data_descriptor(info, zip64=zip64)) == (b"PK\7\x08", info.CRC, compressed, size)


# Directory rows

AROUND = [0, LAST32, LIMIT32, LIMIT32 + 1, 1 << 40]


@pytest.mark.parametrize("size", AROUND)
@pytest.mark.parametrize("compressed", AROUND)
@pytest.mark.parametrize("offset", AROUND)
def test_a_row_is_read_back_and_is_zip64_only_where_a_value_needs_it(size: int, compressed: int, offset: int) -> None:
    row = central_header(member(file_size=size, compress_size=compressed, header_offset=offset))
    found = listed(row)
    assert (found.file_size, found.compress_size, found.header_offset) == (size, compressed, offset)
    wide_sizes = (size, compressed) if max(size, compressed) >= LIMIT32 else ()
    expected = (*wide_sizes, *((offset,) if offset >= LIMIT32 else ()))
    if expected:
        assert zip64_values(found.extra) == expected
        assert (found.extract_version, found.create_version) == (45, 45)
    else:
        assert found.extra == FIELD
        assert (found.extract_version, found.create_version) == (20, 20)


def test_a_row_is_plain_even_if_its_local_header_is_zip64() -> None:
    info = member()
    local_header(info, zip64=True)
    found = listed(central_header(info))
    assert (found.file_size, found.compress_size) == (len(DATA), len(DATA))
    assert found.extra == FIELD
    assert found.extract_version == 45


@pytest.mark.parametrize("offset", [0, LIMIT32])
def test_the_widest_extra_fits_beside_the_largest_of_the_users_own(offset: int) -> None:
    own = struct.pack("<2H", 0x7777, LIMIT16 - ZIP64_EXTRA_ROOM - 4) + bytes(LIMIT16 - ZIP64_EXTRA_ROOM - 4)
    info = member(extra=own, comment=bytes(LIMIT16), filename="x" * LIMIT16, header_offset=offset)
    info.file_size = LIMIT32
    found = listed(central_header(info))
    info.file_size = len(DATA)
    assert len(found.extra) == LIMIT16 - (0 if offset else 8)
    assert (len(found.filename), len(found.comment)) == (LIMIT16, LIMIT16)
    assert len(local_header(info, zip64=True)) == 30 + LIMIT16 + len(own) + 20


@pytest.mark.parametrize(
    ("method", "zip64", "version"),
    [
        (zipfile.ZIP_STORED, False, 20), (zipfile.ZIP_DEFLATED, False, 20), (zipfile.ZIP_BZIP2, False, 46),
        (zipfile.ZIP_LZMA, False, 63), (zipfile.ZIP_DEFLATED, True, 45), (zipfile.ZIP_BZIP2, True, 46),
        (zipfile.ZIP_LZMA, True, 63),
    ],
)  # fmt: skip
def test_the_version_is_what_the_member_uses(method: int, zip64: bool, version: int) -> None:
    info = member(compress_type=method, flag_bits=LZMA_EOS_FLAG if method == zipfile.ZIP_LZMA else 0)
    assert struct.unpack_from("<H", local_header(info, zip64=zip64), 4) == (version,)
    found = listed(central_header(info))
    assert (found.compress_type, found.extract_version, found.create_version) == (method, version, version)


# Names and extras


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50))
def test_names_are_ascii_or_utf8_with_its_flag_and_are_read_back(name: str) -> None:
    info = member(name)
    raw, flags = encoded_name(info)
    assert raw == name.encode("utf-8")
    assert bool(flags & UTF8_FLAG) == any(ord(letter) > 127 for letter in name)
    assert info.flag_bits == 0  # the caller's ZipInfo stays as it is
    # zipfile shows the system's separator as a slash.
    assert listed(central_header(info)).orig_filename == name


def test_names_that_cp437_could_say_are_utf8_all_the_same() -> None:
    # Some Pythons would write them as cp437: the bytes would depend on who wrote them.
    assert encoded_name(member("é")) == (b"\xc3\xa9", UTF8_FLAG)


fields = st.lists(st.tuples(st.sampled_from([0, 1, 1, 2, 0x5455, 0x0101]), st.binary(max_size=24)), max_size=6)


@given(fields, st.binary(max_size=3))
def test_only_stale_zip64_fields_are_taken_out(found: list[tuple[int, bytes]], leftover: bytes) -> None:
    packed = [(kind, struct.pack("<2H", kind, len(data)) + data) for kind, data in found]
    extra = b"".join(field for _, field in packed) + leftover
    assert without_zip64(extra) == b"".join(field for kind, field in packed if kind != 1) + leftover


def test_a_stale_zip64_field_misleads_no_reader() -> None:
    # A ZipInfo from another archive brings one that says 7 bytes.
    for zip64 in (False, True):
        info = member(extra=STALE + FIELD + STALE)
        made = archive_of(info, zip64=zip64)
        assert STALE not in made
        with zipfile.ZipFile(io.BytesIO(made)) as archive:
            assert archive.read("a.txt") == DATA


# The end


@pytest.mark.parametrize(
    ("count", "size", "offset", "zip64"),
    [
        (0, 0, 0, False),
        (LIMIT16 - 1, LAST32, LAST32, False),
        (LIMIT16, 0, 0, True),
        (0, LIMIT32, 0, True),
        (0, 0, LIMIT32, True),
        (1 << 33, 1 << 40, 1 << 50, True),
    ],
)
def test_the_end_record_is_zip64_only_where_a_number_needs_it(count: int, size: int, offset: int, zip64: bool) -> None:
    wide, end = end_records(count, size, offset, b"remark")
    assert (end_zip64_field(count, size, offset) is not None) == zip64
    capped = (min(count, LIMIT16),) * 2 + (min(size, LIMIT32), min(offset, LIMIT32))
    assert struct.unpack("<4s4H2LH6s", end) == (b"PK\5\6", 0, 0, *capped, 6, b"remark")
    if not zip64:
        assert wide == b""
        return
    # 4.3.14 and 4.3.15: the record's size leaves out its first 12 bytes; the locator points to it.
    assert struct.unpack("<4sQ2H2L4Q", wide[:56]) == (b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    assert struct.unpack("<4sLQL", wide[56:]) == (b"PK\6\7", 0, offset + size, 1)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs files with holes")
@pytest.mark.parametrize("offset", [LAST32, LIMIT32, LIMIT32 + 1])
def test_a_directory_around_4_gib_is_found_by_the_standard_library(tmp_path: Path, offset: int) -> None:
    with open(tmp_path / "a.zip", "w+b") as file:
        # A hole of 4 GiB takes no room, and what stands at its end is read as from any large archive.
        info = member(header_offset=offset - 30 - len("a.txt") - len(FIELD) - len(DATA))
        file.seek(info.header_offset)
        file.write(local_header(info, zip64=False) + DATA)
        assert file.tell() == offset
        late = member("late", header_offset=offset)
        file.write(local_header(late, zip64=False) + DATA)
        start = file.tell()
        rows = central_header(info) + central_header(late)
        file.write(rows + b"".join(end_records(2, len(rows), start, b"")))
        with zipfile.ZipFile(file) as archive:
            assert [found.header_offset for found in archive.infolist()] == [info.header_offset, offset]
            assert (archive.read("a.txt"), archive.read("late")) == (DATA, DATA)


@pytest.mark.parametrize("count", [LIMIT16 - 1, LIMIT16])
def test_as_many_members_as_16_bits_say_are_listed(count: int) -> None:
    row = central_header(member(comment=b"", extra=b""))
    wide, end = end_records(count, len(row) * count, 0, b"")
    assert bool(wide) == (count == LIMIT16)
    with zipfile.ZipFile(io.BytesIO(row * count + wide + end)) as archive:
        assert len(archive.infolist()) == count
