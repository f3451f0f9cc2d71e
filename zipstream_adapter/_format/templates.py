"""Prepared headers for members that differ in a few fields only."""

from __future__ import annotations

import struct
from zipfile import ZipInfo

from .records import (
    _DESCRIPTOR,
    _DESCRIPTOR64,
    _ZIP64_EXTRA,
    _ZIP64_OFFSET,
    CENTRAL_HEADER_SIZE,
    DESCRIPTOR_FLAG,
    LIMIT32,
    LOCAL,
    central_header,
    dos_date_time,
    local_header,
    without_zip64,
)

_DATE = struct.Struct("<2H")
# CRC-32, sizes, and sizes of name and extra fields: they follow the date in both headers (4.3.7, 4.3.12).
_SIZES = struct.Struct("<3L2H")


class HeaderTemplate:
    """Records of members that differ only in name, data and offset: packed once, completed for each member.

    No member may need 64-bit sizes.

    Args:
        info: the common fields, including bit 3. Its name is ignored; its CRC-32, sizes and offset are set to 0.
    """

    _zip64 = False

    def __init__(self, info: ZipInfo) -> None:
        info.CRC = info.compress_size = info.file_size = info.header_offset = 0
        local, central = local_header(info, zip64=self._zip64), central_header(info)
        # Everything up to the date is the same for all members.
        at = LOCAL.size - _SIZES.size
        self._local, self._central = local[:at], central[: at + 2]
        # Size of the comment, disk number, attributes.
        self._rest = central[at + 2 + _SIZES.size : CENTRAL_HEADER_SIZE - 4]
        info.header_offset = LIMIT32
        self._central_zip64 = central_header(info)[: at + 2]  # with a higher version needed
        info.header_offset = 0
        self._extra, self._comment = without_zip64(info.extra), info.comment
        self._has_descriptor = bool(info.flag_bits & DESCRIPTOR_FLAG)
        self._is_plain = not self._has_descriptor and not self._zip64

    def dated(self, date_time: tuple[int, ...], extra: bytes) -> HeaderTemplate:
        """Return a template of members that differ in their date, and so in their `extra` fields, without zip64."""
        date = _DATE.pack(*dos_date_time(date_time))
        other = object.__new__(type(self))
        other._rest, other._comment = self._rest, self._comment
        other._has_descriptor, other._is_plain = self._has_descriptor, self._is_plain
        other._local, other._central = self._local[:-4] + date, self._central[:-4] + date
        other._central_zip64, other._extra = self._central_zip64[:-4] + date, extra
        return other

    def records(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> tuple[bytes, bytes, bytes]:
        """Return the local file header, the data descriptor, and the central directory header of a member at `offset`.

        They are those of `records.py`. The descriptor is empty if the members have none.
        """
        sizes = _SIZES.pack(crc, compressed, size, len(name), len(self._extra))
        named = name + self._extra
        if self._is_plain:
            header, descriptor = self._local + sizes + named, b""
        else:
            header, descriptor = self._local_records(name, crc, compressed, size)
        if offset < LIMIT32:
            parts = self._central, sizes, self._rest, offset.to_bytes(4, "little"), named, self._comment
            return header, descriptor, b"".join(parts)
        return header, descriptor, self._zip64_central_header(name, crc, compressed, size, offset)

    def _local_records(self, name: bytes, crc: int, compressed: int, size: int) -> tuple[bytes, bytes]:
        """Return the local file header of a member with a descriptor, and the descriptor."""
        sizes = _SIZES.pack(0, 0, 0, len(name), len(self._extra))
        return self._local + sizes + name + self._extra, _DESCRIPTOR.pack(b"PK\7\x08", crc, compressed, size)

    def _zip64_central_header(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> bytes:
        extra = _ZIP64_OFFSET.pack(1, 8, offset) + self._extra
        sizes = _SIZES.pack(crc, compressed, size, len(name), len(extra))
        return self._central_zip64 + sizes + self._rest + b"\xff\xff\xff\xff" + name + extra + self._comment


class Zip64HeaderTemplate(HeaderTemplate):
    """Like `HeaderTemplate`, for small members whose local file header has a zip64 extra field nevertheless."""

    _zip64 = True

    def _local_records(self, name: bytes, crc: int, compressed: int, size: int) -> tuple[bytes, bytes]:
        descriptor = b""
        if self._has_descriptor:
            descriptor = _DESCRIPTOR64.pack(b"PK\7\x08", crc, compressed, size)
            crc = compressed = size = 0
        extra = self._extra + _ZIP64_EXTRA.pack(1, 16, size, compressed)
        return self._local + _SIZES.pack(crc, LIMIT32, LIMIT32, len(name), len(extra)) + name + extra, descriptor
