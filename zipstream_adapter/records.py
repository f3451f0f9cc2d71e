"""The records of a zip archive as bytes, from a `zipfile.ZipInfo`: a pure function of its fields.

Only what stands in the ZipInfo's documented attributes goes in, so the same member gives the same bytes on every
supported Python (``zipfile`` itself changed its zip64 header in 3.11.4 and its names' encoding in 3.14.6).
Sections are those of PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zipfile import ZIP_BZIP2, ZipInfo

# A field at its largest value says "look in the zip64 record" (4.4.1.4), so that value itself needs one.
LIMIT32 = 0xFFFFFFFF
LIMIT16 = 0xFFFF

ENCRYPTED_FLAG, PATCHED_FLAG, STRONGLY_ENCRYPTED_FLAG = 0x0001, 0x0020, 0x0040
DESCRIPTOR_FLAG = 0x0008
LZMA_EOS_FLAG = 0x0002
METHOD_FLAGS = 0x0006  # bits 1 and 2: each method has its own meaning for them (4.4.4)
UTF8_FLAG = 0x0800
DOS_DIRECTORY = 0x10  # among the external attributes
AES_METHOD = 99
AES_EXTRA_ID = 0x9901

_VERSION = 20
_ZIP64_VERSION = 45
# 4.4.3.2; what was defined after lzma needs as much as that.
_METHOD_VERSION = {9: 21, 10: 25, ZIP_BZIP2: 46}
_AES_VERSION = 51
_LATEST_VERSION = 63

LOCAL = struct.Struct("<4s2B4H3L2H")
_ROW = struct.Struct("<4s4B4H3L5H2L")
ROW_SIZE = _ROW.size  # without its name, extra and comment
_DESCRIPTOR = struct.Struct("<4s3L")
_DESCRIPTOR64 = struct.Struct("<4sL2Q")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")
END = struct.Struct("<4s4H2LH")
_ZIP64_EXTRA = struct.Struct("<2H2Q")
_ZIP64_OFFSET = struct.Struct("<2HQ")
# Version AE-2, which stores no CRC-32; by whom; 256 bits; and the method under the encryption.
_AES_EXTRA = struct.Struct("<3H2sBH")
# Where a row has its CRC-32, behind the signature, versions, flags, method, time and date (4.3.12).
_CRC_IN_ROW = struct.Struct("<4s4B4H").size
_CRC = struct.Struct("<L")

# The most that zip64 fields add to a member's extra: two sizes and an offset behind a 4-byte head.
ZIP64_EXTRA_ROOM = 28
AES_EXTRA_ROOM = _AES_EXTRA.size


def local_header(info: ZipInfo, *, zip64: bool) -> bytes:
    """The local file header (4.3.7), with `info`'s sizes and CRC or, under bit 3, without."""
    if info.flag_bits & DESCRIPTOR_FLAG:
        crc = compressed = size = 0
    else:
        crc, compressed, size = _stored_crc(info), info.compress_size, info.file_size
    method, extra = _coding(info)
    if zip64:
        # Both sizes stand in the extra or neither (4.5.3): readers refuse halves.
        extra += _ZIP64_EXTRA.pack(1, 16, size, compressed)
        size = compressed = LIMIT32
    set_versions(info, zip64)
    name, flags = encoded_name(info)
    date, time = _dos_date_time(info)
    head = LOCAL.pack(
        b"PK\3\4", info.extract_version, info.reserved, flags, method, time, date,
        crc, compressed, size, len(name), len(extra),
    )  # fmt: skip
    return head + name + extra


def data_descriptor(info: ZipInfo, *, zip64: bool) -> bytes:
    """The data descriptor (4.3.9), with its signature; 64-bit sizes for zip64 or where one needs them."""
    wide = zip64 or needs_zip64(info)
    layout = _DESCRIPTOR64 if wide else _DESCRIPTOR
    return layout.pack(b"PK\7\x08", _stored_crc(info), info.compress_size, info.file_size)


def directory_row(info: ZipInfo, *, zip64: bool) -> bytes:
    """The member's central directory header (4.3.12); zip64 sizes where its local header has them, or a need."""
    size, compressed, offset = info.file_size, info.compress_size, info.header_offset
    wide: list[int] = []
    if zip64 or needs_zip64(info):
        wide += (size, compressed)
        size = compressed = LIMIT32
    if offset >= LIMIT32:
        wide.append(offset)
        offset = LIMIT32
    method, extra = _coding(info)
    if wide:
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) + extra
    set_versions(info, bool(wide))
    name, flags = encoded_name(info)
    date, time = _dos_date_time(info)
    head = _ROW.pack(
        b"PK\1\2", info.create_version, info.create_system, info.extract_version, info.reserved,
        flags, method, time, date, _stored_crc(info), compressed, size,
        len(name), len(extra), len(info.comment), 0, info.internal_attr, info.external_attr, offset,
    )  # fmt: skip
    return head + name + extra + info.comment


class Template:
    """The records of members that differ in name, data and place only: packed once, and filled in for each.

    info: what they have in common, bit 3 included; its name is left out. None of them needs 64-bit sizes.
    """

    _zip64 = False

    _LOCAL_REST = struct.Struct("<3L2H")
    _ROW_REST = struct.Struct("<3L5H2L")

    def __init__(self, info: ZipInfo) -> None:
        info.CRC = info.compress_size = info.file_size = info.header_offset = 0
        whole, row = local_header(info, zip64=self._zip64), directory_row(info, zip64=self._zip64)
        # All up to the date is the same in each (4.3.7, 4.3.12).
        self._local, self._row = whole[: LOCAL.size - self._LOCAL_REST.size], row[: _ROW.size - self._ROW_REST.size]
        info.header_offset = LIMIT32
        self._wide_row = directory_row(info, zip64=self._zip64)[: _ROW.size - self._ROW_REST.size]
        info.header_offset = 0
        self._internal, self._external = info.internal_attr, info.external_attr
        self._extra = without_zip64(info.extra)
        self._has_descriptor = bool(info.flag_bits & DESCRIPTOR_FLAG)

    def header(self, name: bytes, crc: int, compressed: int, size: int) -> bytes:
        """As `local_header`."""
        if self._has_descriptor:
            crc = compressed = size = 0
        extra = self._extra
        return self._local + self._LOCAL_REST.pack(crc, compressed, size, len(name), len(extra)) + name + extra

    def records(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> tuple[bytes, bytes, bytes]:
        """`header`, `descriptor` and `directory_row` of a member at `offset`."""
        header = self.header(name, crc, compressed, size)
        descriptor = self.descriptor(crc, compressed, size) if self._has_descriptor else b""
        return header, descriptor, self.directory_row(name, crc, compressed, size, offset)

    def descriptor(self, crc: int, compressed: int, size: int) -> bytes:
        """As `data_descriptor`; nothing where there is none."""
        return _DESCRIPTOR.pack(b"PK\7\x08", crc, compressed, size) if self._has_descriptor else b""

    def directory_row(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> bytes:
        """As `directory_row`, for a member at `offset`."""
        extra, row = self._extra, self._row
        if offset >= LIMIT32:
            extra, row = _ZIP64_OFFSET.pack(1, 8, offset) + extra, self._wide_row
            offset = LIMIT32
        rest = self._ROW_REST.pack(
            crc, compressed, size, len(name), len(extra), 0, 0, self._internal, self._external, offset
        )
        return row + rest + name + extra


class WideTemplate(Template):
    """The same of members whose local header is zip64, as small as they are."""

    _zip64 = True

    def header(self, name: bytes, crc: int, compressed: int, size: int) -> bytes:
        if self._has_descriptor:
            crc = compressed = size = 0
        extra = self._extra + _ZIP64_EXTRA.pack(1, 16, size, compressed)
        return self._local + self._LOCAL_REST.pack(crc, LIMIT32, LIMIT32, len(name), len(extra)) + name + extra

    def descriptor(self, crc: int, compressed: int, size: int) -> bytes:
        return _DESCRIPTOR64.pack(b"PK\7\x08", crc, compressed, size) if self._has_descriptor else b""

    def directory_row(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> bytes:
        if offset < LIMIT32:
            extra = _ZIP64_EXTRA.pack(1, 16, size, compressed) + self._extra
        else:
            extra, offset = struct.pack("<2H3Q", 1, 24, size, compressed, offset) + self._extra, LIMIT32
        rest = self._ROW_REST.pack(
            crc, LIMIT32, LIMIT32, len(name), len(extra), 0, 0, self._internal, self._external, offset
        )
        return self._row + rest + name + extra


class Rows:
    """The rows of a central directory, packed, in blocks of about 64 KiB."""

    BLOCK = 1 << 16

    def __init__(self) -> None:
        self.count = 0
        self._full: list[bytes] = []
        self._open = bytearray()

    def add(self, row: bytes) -> None:
        """One row more."""
        if len(self._open) + len(row) > self.BLOCK and self._open:
            self._full.append(bytes(self._open))
            self._open.clear()
        self._open += row
        self.count += 1

    def take(self) -> Iterator[bytes]:
        """The blocks; the last one, which may be empty, has 64 KiB at most."""
        yield from self._full
        yield bytes(self._open)

    def infolist(self) -> list[ZipInfo]:
        """A ZipInfo for each row."""
        found = []
        for block in (*self._full, bytes(self._open)):
            at = 0
            while at < len(block):
                info, at = read_row(block, at)
                found.append(info)
        return found


def put_crc(rows: bytearray, at: int, crc: int) -> None:
    """Write a member's CRC-32 into its row, which begins at `at`."""
    _CRC.pack_into(rows, at + _CRC_IN_ROW, crc)


def read_row(rows: bytes | bytearray, at: int) -> tuple[ZipInfo, int]:
    """What the row at `at` says, and where the next one begins. Not by `zipfile`, which minds what is in an extra."""
    fields = _ROW.unpack_from(rows, at)
    at += _ROW.size
    name_size, extra_size, comment_size = fields[12:15]
    parts = []
    for size in (name_size, extra_size, comment_size):
        parts.append(bytes(rows[at : at + size]))
        at += size
    name, extra, comment = parts
    time, date = fields[7:9]
    flags = fields[5]
    info = ZipInfo(
        name.decode("utf-8"),
        ((date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2),
    )
    info.filename = info.orig_filename
    info.extra, info.comment, info.flag_bits = extra, comment, flags
    info.create_version, info.create_system, info.extract_version, info.reserved = fields[1:5]
    info.compress_type = fields[6]
    info.CRC, info.compress_size, info.file_size = fields[9:12]
    info.volume, info.internal_attr, info.external_attr, info.header_offset = fields[15:19]
    _widen(info)
    return info, at


def member_of_row(rows: bytes | bytearray, at: int) -> ZipInfo:
    """The member whose row begins at `at`, as `local_header` and `data_descriptor` take it."""
    info, _ = read_row(rows, at)
    info.extract_version = 0  # a row's own can be what its offset needs, of which a local header says nothing
    return info


def _widen(info: ZipInfo) -> None:
    """The 64-bit values that stand in the first of the extra fields (4.5.3), where they do."""
    fields = [name for name in ("file_size", "compress_size", "header_offset") if getattr(info, name) == LIMIT32]
    if fields:
        for name, value in zip(fields, struct.unpack_from(f"<{len(fields)}Q", info.extra, 4), strict=True):
            setattr(info, name, value)


def end_records(count: int, size: int, offset: int, comment: bytes) -> tuple[bytes, bytes]:
    """The zip64 end record and locator (4.3.14, 4.3.15; empty where nothing needs them), and the end record.

    `count` members in a central directory of `size` bytes at `offset`.
    """
    zip64 = b""
    if end_zip64_field(count, size, offset):
        at = offset + size
        zip64 = END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
        zip64 += LOCATOR64.pack(b"PK\6\7", 0, at, 1)
    count = min(count, LIMIT16)
    size, offset = min(size, LIMIT32), min(offset, LIMIT32)
    return zip64, END.pack(b"PK\5\6", 0, 0, count, count, size, offset, len(comment)) + comment


def end_zip64_field(count: int, size: int, offset: int) -> str | None:
    """What the end record alone cannot say of the central directory, if anything: see `Zip64RequiredError`."""
    if count >= LIMIT16:
        return "members"
    return "directory_size" if size >= LIMIT32 else "directory_offset" if offset >= LIMIT32 else None


def needs_zip64(info: ZipInfo) -> bool:
    """Whether one of the member's sizes does not fit 32 bits."""
    return info.file_size >= LIMIT32 or info.compress_size >= LIMIT32


def set_versions(info: ZipInfo, zip64: bool) -> None:
    """Raise version needed and made by (4.4.3) to what the member uses, as ``zipfile`` does."""
    method = info.compress_type
    known = _METHOD_VERSION.get(method, _LATEST_VERSION if method > ZIP_BZIP2 else _VERSION)
    least = max(_ZIP64_VERSION if zip64 else _VERSION, known, _AES_VERSION if _is_encrypted(info) else 0)
    info.extract_version = max(least, info.extract_version)
    info.create_version = max(least, info.create_version)


def _is_encrypted(info: ZipInfo) -> bool:
    """Whether the member is encrypted here: its ZipInfo says by the flag, and has the method under the encryption."""
    return bool(info.flag_bits & ENCRYPTED_FLAG) and info.compress_type != AES_METHOD


def _stored_crc(info: ZipInfo) -> int:
    return 0 if _is_encrypted(info) else info.CRC


def _coding(info: ZipInfo) -> tuple[int, bytes]:
    """The method as the records have it, and the member's extra, which has that of an encrypted one."""
    extra = without_zip64(info.extra)
    if not _is_encrypted(info):
        return info.compress_type, extra
    size = _AES_EXTRA.size - 4
    return AES_METHOD, extra + _AES_EXTRA.pack(AES_EXTRA_ID, size, 2, b"AE", 3, info.compress_type)


def encoded_name(info: ZipInfo) -> tuple[bytes, int]:
    """The name's bytes and the flags that go with them: ASCII as it is, all else UTF-8 and bit 11 (D.1)."""
    if info.filename.isascii():
        return info.filename.encode("ascii"), info.flag_bits
    return info.filename.encode("utf-8"), info.flag_bits | UTF8_FLAG


def decoded_name(name: bytes, flags: int) -> str:
    """A name as its bytes and flags say (D.1)."""
    return name.decode("utf-8" if flags & UTF8_FLAG else "cp437", "replace")


def without_zip64(extra: bytes) -> bytes:
    """`extra` without zip64 fields: those a ZipInfo brought from another archive say nothing of this one."""
    if not extra:
        return extra
    kept, at = [], 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind != 1:
            kept.append(extra[at : at + 4 + size])
        at += 4 + size
    return b"".join(kept) + extra[at:]


def _dos_date_time(info: ZipInfo) -> tuple[int, int]:
    year, month, day, hour, minute, second = info.date_time[:6]
    return (year - 1980) << 9 | month << 5 | day, hour << 11 | minute << 5 | second // 2
