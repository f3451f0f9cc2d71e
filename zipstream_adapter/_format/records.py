"""Pack the records of a zip archive from the fields of a `zipfile.ZipInfo`.

Only documented attributes of the ZipInfo are used, so the same member gives the same bytes on every supported Python
(``zipfile`` itself changed its zip64 header in 3.11.4 and its encoding of names in 3.14.6).
Section numbers refer to PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import re
import struct
from zipfile import ZIP_BZIP2, ZipInfo

# A field at its largest value refers to the zip64 record or extra field (4.4.1.4), so that value itself needs zip64.
LIMIT32 = 0xFFFFFFFF
LIMIT16 = 0xFFFF

ENCRYPTED_FLAG, PATCHED_FLAG, STRONGLY_ENCRYPTED_FLAG = 0x0001, 0x0020, 0x0040
DESCRIPTOR_FLAG = 0x0008
LZMA_EOS_FLAG = 0x0002
METHOD_FLAGS = 0x0006  # bits 1 and 2, whose meaning depends on the method (4.4.4)
UTF8_FLAG = 0x0800
DOS_DIRECTORY = 0x10  # a bit of the external attributes
AES_METHOD = 99
AES_EXTRA_ID = 0x9901

_VERSION = 20
_ZIP64_VERSION = 45
# Version needed to extract, by method (4.4.3.2). Methods numbered above bzip2 get the latest.
_METHOD_VERSION = {9: 21, 10: 25, ZIP_BZIP2: 46}
_AES_VERSION = 51
_LATEST_VERSION = 63

LOCAL = struct.Struct("<4s2B4H3L2H")
# The same in two parts: up to the date, and from the CRC-32 on.
LOCAL_START, LOCAL_REST = struct.Struct("<4s2B4H"), struct.Struct("<3L2H")
_CENTRAL_HEADER = struct.Struct("<4s4B4H3L5H2L")
CENTRAL_HEADER_SIZE = _CENTRAL_HEADER.size  # of a central directory header, without name, extra and comment
_DESCRIPTOR = struct.Struct("<4s3L")
_DESCRIPTOR64 = struct.Struct("<4sL2Q")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")
END = struct.Struct("<4s4H2LH")
_ZIP64_EXTRA = struct.Struct("<2H2Q")
_ZIP64_OFFSET = struct.Struct("<2HQ")
# Header ID, size, version (AE-2: without CRC-32), vendor, key strength (3: 256 bits), method under the encryption.
_AES_EXTRA = struct.Struct("<3H2sBH")
# Offset of the CRC-32 in a central directory header: after signature, versions, flags, method, time and date (4.3.12).
_CRC_OFFSET = struct.Struct("<4s4B4H").size
_CRC = struct.Struct("<L")

# Signatures of the end records (4.3.14 to 4.3.16). Readers search for them backwards from the end of the archive.
_ENDS = re.compile(b"PK(?:\5\6|\6[\6\7])")

# The most bytes that zip64 adds to a member's extra: two sizes and an offset after a 4-byte head.
ZIP64_EXTRA_ROOM = 28
AES_EXTRA_ROOM = _AES_EXTRA.size


def local_header(info: ZipInfo, *, zip64: bool) -> bytes:
    """Pack the local file header (4.3.7). Sizes and CRC-32 are 0 if bit 3 is set: a data descriptor has them.

    zip64: whether it has a zip64 extra field for the sizes.
    """
    crc = compressed = size = 0
    if not info.flag_bits & DESCRIPTOR_FLAG:  # else the ZipInfo may not have them yet
        crc, compressed, size = _stored_crc(info), info.compress_size, info.file_size
    start, extra = local_start(info, zip64=zip64)
    return completed_local(start, extra, zip64, encoded_name(info)[0], crc, compressed, size)


def local_start(info: ZipInfo, *, zip64: bool) -> tuple[bytes, bytes]:
    """Return the local file header up to the date, and its extra fields without zip64: the parts that members share."""
    method, extra = _coding(info)
    set_versions(info, zip64)
    flags = info.flag_bits if info.filename.isascii() else info.flag_bits | UTF8_FLAG
    time, date = dos_date_time(info.date_time)
    return LOCAL_START.pack(b"PK\3\4", info.extract_version, info.reserved, flags, method, time, date), extra


def completed_local(
    start: bytes, extra: bytes, zip64: bool, name: bytes, crc: int, compressed: int, size: int
) -> bytes:
    """Complete a local file header that begins with `start`; see `local_start`."""
    if zip64:
        # The extra field must have both sizes (4.5.3): readers reject it otherwise.
        extra += _ZIP64_EXTRA.pack(1, 16, size, compressed)
        size = compressed = LIMIT32
    return start + LOCAL_REST.pack(crc, compressed, size, len(name), len(extra)) + name + extra


def data_descriptor(info: ZipInfo, *, zip64: bool) -> bytes:
    """Pack the data descriptor (4.3.9), with its signature. Sizes have 64 bits if `zip64` or if one needs them."""
    wide = zip64 or needs_zip64(info)
    layout = _DESCRIPTOR64 if wide else _DESCRIPTOR
    return layout.pack(b"PK\7\x08", _stored_crc(info), info.compress_size, info.file_size)


def central_header(info: ZipInfo) -> bytes:
    """Pack the member's central directory header (4.3.12).

    It has zip64 values only where one needs it, even if the local file header is zip64: some readers reject others.
    """
    size, compressed, offset = info.file_size, info.compress_size, info.header_offset
    wide: list[int] = []
    if needs_zip64(info):
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
    time, date = dos_date_time(info.date_time)
    head = _CENTRAL_HEADER.pack(
        b"PK\1\2", info.create_version, info.create_system, info.extract_version, info.reserved,
        flags, method, time, date, _stored_crc(info), compressed, size,
        len(name), len(extra), len(info.comment), 0, info.internal_attr, info.external_attr, offset,
    )  # fmt: skip
    return head + name + extra + info.comment


def end_records(count: int, size: int, offset: int, comment: bytes) -> tuple[bytes, bytes]:
    """Pack (zip64 end of central directory record and locator, end of central directory record) (4.3.14 to 4.3.16).

    The first is empty if no value needs zip64. The central directory has `count` members and `size` bytes at `offset`.
    """
    zip64 = b""
    if end_zip64_field(count, size, offset):
        at = offset + size
        zip64 = END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
        zip64 += LOCATOR64.pack(b"PK\6\7", 0, at, 1)
    count = min(count, LIMIT16)
    size, offset = min(size, LIMIT32), min(offset, LIMIT32)
    return zip64, END.pack(b"PK\5\6", 0, 0, count, count, size, offset, len(comment)) + comment


def end_signature_in(data: bytes) -> bytes | None:
    """Return the first signature of an end record in `data`, or None."""
    found = _ENDS.search(data) if b"PK" in data else None
    return found and found[0]


def end_zip64_field(count: int, size: int, offset: int) -> str | None:
    """Return the field of `Zip64RequiredError` that does not fit the end of central directory record, or None."""
    if count >= LIMIT16:
        return "members"
    return "directory_size" if size >= LIMIT32 else "directory_offset" if offset >= LIMIT32 else None


def needs_zip64(info: ZipInfo) -> bool:
    """Whether one of the member's sizes needs 64 bits."""
    return info.file_size >= LIMIT32 or info.compress_size >= LIMIT32


def set_versions(info: ZipInfo, zip64: bool) -> None:
    """Raise version needed to extract and version made by (4.4.2, 4.4.3) to the features used, as ``zipfile`` does."""
    method = info.compress_type
    known = _METHOD_VERSION.get(method, _LATEST_VERSION if method > ZIP_BZIP2 else _VERSION)
    least = max(_ZIP64_VERSION if zip64 else _VERSION, known, _AES_VERSION if _is_encrypted(info) else 0)
    info.extract_version = max(least, info.extract_version)
    info.create_version = max(least, info.create_version)


def _is_encrypted(info: ZipInfo) -> bool:
    """Whether this package encrypts the member: the flag is set, and the method is the one under the encryption."""
    return bool(info.flag_bits & ENCRYPTED_FLAG) and info.compress_type != AES_METHOD


def _stored_crc(info: ZipInfo) -> int:
    return 0 if _is_encrypted(info) else info.CRC


def _coding(info: ZipInfo) -> tuple[int, bytes]:
    """Return the method and extra to write. An encrypted member has method 99 and an AES extra field."""
    extra = without_zip64(info.extra)
    if not _is_encrypted(info):
        return info.compress_type, extra
    size = _AES_EXTRA.size - 4
    return AES_METHOD, extra + _AES_EXTRA.pack(AES_EXTRA_ID, size, 2, b"AE", 3, info.compress_type)


def encoded_name(info: ZipInfo) -> tuple[bytes, int]:
    """Encode the member's name. Returns (bytes, flags): ASCII, or UTF-8 with bit 11 set (APPNOTE D.1)."""
    if info.filename.isascii():
        return info.filename.encode("ascii"), info.flag_bits
    return info.filename.encode("utf-8"), info.flag_bits | UTF8_FLAG


def decoded_name(name: bytes, flags: int) -> str:
    """Decode a name: UTF-8 if bit 11 of `flags` is set, else cp437 (APPNOTE D.1). Invalid bytes are replaced."""
    return name.decode("utf-8" if flags & UTF8_FLAG else "cp437", "replace")


def without_zip64(extra: bytes) -> bytes:
    """Remove zip64 extra fields from `extra`: a ZipInfo read from another archive has values that do not apply here."""
    if not extra:
        return extra
    kept, at = [], 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind != 1:
            kept.append(extra[at : at + 4 + size])
        at += 4 + size
    return b"".join(kept) + extra[at:]


def dos_date_time(date_time: tuple[int, ...]) -> tuple[int, int]:
    """Return the MS-DOS time and date (4.4.6) of a ZipInfo's `date_time`."""
    year, month, day, hour, minute, second = date_time[:6]
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
