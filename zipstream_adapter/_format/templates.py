"""Prepared headers for members that differ in a few fields only."""

from __future__ import annotations

import struct
from zipfile import ZipInfo

from .records import (
    _DESCRIPTOR,
    _DESCRIPTOR64,
    _ZIP64_OFFSET,
    CENTRAL_HEADER_SIZE,
    DESCRIPTOR_FLAG,
    LIMIT32,
    LOCAL_REST,
    central_header,
    completed_local,
    dos_date_time,
    local_start,
)

_DATE = struct.Struct("<2H")


class HeaderTemplate:
    """Records of members that differ only in name, data and offset: packed once, completed for each member.

    No member may need 64-bit sizes. With `zip64`, its local file header has a zip64 extra field nevertheless.

    Args:
        info: the common fields, including bit 3. Its name is ignored; its CRC-32, sizes and offset are set to 0.
    """

    _CENTRAL_REST = struct.Struct("<3L5H2L")

    def __init__(self, info: ZipInfo, *, zip64: bool) -> None:
        info.CRC = info.compress_size = info.file_size = info.header_offset = 0
        self._start, self._extra = local_start(info, zip64=zip64)
        self._zip64, self._has_descriptor = zip64, bool(info.flag_bits & DESCRIPTOR_FLAG)
        # Everything up to the date is the same for all members (4.3.12).
        central_size = CENTRAL_HEADER_SIZE - self._CENTRAL_REST.size
        self._central = central_header(info)[:central_size]
        info.header_offset = LIMIT32
        self._central_zip64 = central_header(info)[:central_size]  # with a higher version needed
        info.header_offset = 0
        self._internal, self._external = info.internal_attr, info.external_attr
        self._comment = info.comment

    def dated(self, date_time: tuple[int, ...], extra: bytes) -> HeaderTemplate:
        """Return a template of members that differ in their date, and so in their `extra` fields, without zip64."""
        date = _DATE.pack(*dos_date_time(date_time))
        other = object.__new__(type(self))  # attribute by attribute: copying them at once makes each access slower
        other._start, other._central = self._start[:-4] + date, self._central[:-4] + date
        other._central_zip64 = self._central_zip64[:-4] + date
        other._internal, other._external = self._internal, self._external
        other._extra, other._comment = extra, self._comment
        other._zip64, other._has_descriptor = self._zip64, self._has_descriptor
        return other

    def header(self, name: bytes, crc: int, compressed: int, size: int) -> bytes:
        """Pack the local file header, like `records.local_header`."""
        if self._has_descriptor:
            crc = compressed = size = 0
        start, extra = self._start, self._extra
        if self._zip64:
            return completed_local(start, extra, True, name, crc, compressed, size)
        # The same without a call: an archive may have a million small members.
        return start + LOCAL_REST.pack(crc, compressed, size, len(name), len(extra)) + name + extra

    def records(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> tuple[bytes, bytes, bytes]:
        """Return (`header`, `descriptor`, `central_header`) of a member at `offset`."""
        header = self.header(name, crc, compressed, size)
        descriptor = self.descriptor(crc, compressed, size) if self._has_descriptor else b""
        return header, descriptor, self.central_header(name, crc, compressed, size, offset)

    def descriptor(self, crc: int, compressed: int, size: int) -> bytes:
        """Pack the data descriptor, like `records.data_descriptor`. Empty if the members have none."""
        layout = _DESCRIPTOR64 if self._zip64 else _DESCRIPTOR
        return layout.pack(b"PK\7\x08", crc, compressed, size) if self._has_descriptor else b""

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
