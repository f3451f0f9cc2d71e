"""Prepared headers for members that differ in a few fields only."""

from __future__ import annotations

import struct
from zipfile import ZipInfo

from .records import (
    _CENTRAL_HEADER,
    _DESCRIPTOR,
    _DESCRIPTOR64,
    _ZIP64_EXTRA,
    _ZIP64_OFFSET,
    DESCRIPTOR_FLAG,
    LIMIT32,
    LOCAL,
    central_header,
    dos_date_time,
    local_header,
    without_zip64,
)

_DATE = struct.Struct("<2H")


class HeaderTemplate:
    """Records of members that differ only in name, data and offset: packed once, completed for each member.

    No member may need 64-bit sizes.

    Args:
        info: the common fields, including bit 3. Its name is ignored; its CRC-32, sizes and offset are set to 0.
    """

    _zip64 = False

    _LOCAL_REST = struct.Struct("<3L2H")
    _CENTRAL_REST = struct.Struct("<3L5H2L")

    def __init__(self, info: ZipInfo) -> None:
        info.CRC = info.compress_size = info.file_size = info.header_offset = 0
        local, central = local_header(info, zip64=self._zip64), central_header(info)
        # Everything up to the date is the same for all members (4.3.7, 4.3.12).
        central_size = _CENTRAL_HEADER.size - self._CENTRAL_REST.size
        self._local, self._central = local[: LOCAL.size - self._LOCAL_REST.size], central[:central_size]
        info.header_offset = LIMIT32
        self._central_zip64 = central_header(info)[:central_size]  # with a higher version needed
        info.header_offset = 0
        self._internal, self._external = info.internal_attr, info.external_attr
        self._extra, self._comment = without_zip64(info.extra), info.comment
        self._has_descriptor = bool(info.flag_bits & DESCRIPTOR_FLAG)

    def dated(self, date_time: tuple[int, ...], extra: bytes) -> HeaderTemplate:
        """Return a template of members that differ in their date, and so in their `extra` fields, without zip64."""
        date = _DATE.pack(*dos_date_time(date_time))
        other = object.__new__(type(self))
        other._local, other._central = self._local[:-4] + date, self._central[:-4] + date
        other._central_zip64 = self._central_zip64[:-4] + date
        other._internal, other._external = self._internal, self._external
        other._extra, other._comment = extra, self._comment
        other._has_descriptor = self._has_descriptor
        return other

    def header(self, name: bytes, crc: int, compressed: int, size: int) -> bytes:
        """Pack the local file header, like `records.local_header`."""
        if self._has_descriptor:
            crc = compressed = size = 0
        extra = self._extra
        return self._local + self._LOCAL_REST.pack(crc, compressed, size, len(name), len(extra)) + name + extra

    def records(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> tuple[bytes, bytes, bytes]:
        """Return (`header`, `descriptor`, `central_header`) of a member at `offset`."""
        header = self.header(name, crc, compressed, size)
        descriptor = self.descriptor(crc, compressed, size) if self._has_descriptor else b""
        return header, descriptor, self.central_header(name, crc, compressed, size, offset)

    def descriptor(self, crc: int, compressed: int, size: int) -> bytes:
        """Pack the data descriptor, like `records.data_descriptor`. Empty if the members have none."""
        return _DESCRIPTOR.pack(b"PK\7\x08", crc, compressed, size) if self._has_descriptor else b""

    def central_header(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> bytes:
        """Pack the central directory header of a member at `offset`, like `records.central_header`."""
        extra, start = self._extra, self._central
        if offset >= LIMIT32:
            extra, start = _ZIP64_OFFSET.pack(1, 8, offset) + extra, self._central_zip64
            offset = LIMIT32
        rest = self._CENTRAL_REST.pack(
            crc, compressed, size, len(name), len(extra), len(self._comment), 0, self._internal, self._external, offset
        )
        return start + rest + name + extra + self._comment


class Zip64HeaderTemplate(HeaderTemplate):
    """Like `HeaderTemplate`, for small members whose local file header has a zip64 extra field nevertheless."""

    _zip64 = True

    def header(self, name: bytes, crc: int, compressed: int, size: int) -> bytes:
        if self._has_descriptor:
            crc = compressed = size = 0
        extra = self._extra + _ZIP64_EXTRA.pack(1, 16, size, compressed)
        return self._local + self._LOCAL_REST.pack(crc, LIMIT32, LIMIT32, len(name), len(extra)) + name + extra

    def descriptor(self, crc: int, compressed: int, size: int) -> bytes:
        return _DESCRIPTOR64.pack(b"PK\7\x08", crc, compressed, size) if self._has_descriptor else b""
