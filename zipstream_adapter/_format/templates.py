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
    LOCAL_START,
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

    def __init__(self, info: ZipInfo, *, zip64: bool) -> None:
        info.CRC = info.compress_size = info.file_size = info.header_offset = 0
        self._start, self._extra = local_start(info, zip64=zip64)
        self._zip64, self._has_descriptor = zip64, bool(info.flag_bits & DESCRIPTOR_FLAG)
        self._is_plain = not self._has_descriptor and not zip64
        central = central_header(info)
        # Everything up to the date is the same for all members: two bytes more than in the local file header (4.3.12).
        at = LOCAL_START.size + 2
        self._central = central[:at]
        # Size of the comment, disk number, attributes.
        self._rest = central[at + LOCAL_REST.size : CENTRAL_HEADER_SIZE - 4]
        info.header_offset = LIMIT32
        self._central_zip64 = central_header(info)[:at]  # with a higher version needed
        info.header_offset = 0
        self._comment = info.comment

    def dated(self, date_time: tuple[int, ...], extra: bytes) -> HeaderTemplate:
        """Return a template of members that differ in their date, and so in their `extra` fields, without zip64."""
        date = _DATE.pack(*dos_date_time(date_time))
        other = object.__new__(type(self))  # attribute by attribute: copying them at once makes each access slower
        other._rest, other._comment = self._rest, self._comment
        other._has_descriptor, other._is_plain, other._zip64 = self._has_descriptor, self._is_plain, self._zip64
        other._start, other._central = self._start[:-4] + date, self._central[:-4] + date
        other._central_zip64, other._extra = self._central_zip64[:-4] + date, extra
        return other

    def records(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> tuple[bytes, bytes, bytes]:
        """Return the local file header, the data descriptor, and the central directory header of a member at `offset`.

        They are those of `records.py`. The descriptor is empty if the members have none.
        """
        # CRC-32, sizes, and sizes of name and extra fields follow the date in both headers (4.3.7, 4.3.12).
        sizes = LOCAL_REST.pack(crc, compressed, size, len(name), len(self._extra))
        named = name + self._extra
        if self._is_plain:
            header, descriptor = self._start + sizes + named, b""  # as by `completed_local`: both headers share these
        else:
            header, descriptor = self._local_records(name, crc, compressed, size)
        if offset < LIMIT32:
            parts = self._central, sizes, self._rest, offset.to_bytes(4, "little"), named, self._comment
            return header, descriptor, b"".join(parts)
        return header, descriptor, self._zip64_central_header(name, crc, compressed, size, offset)

    def _local_records(self, name: bytes, crc: int, compressed: int, size: int) -> tuple[bytes, bytes]:
        """Return the local file header and the descriptor of a member that has one, or a zip64 header."""
        descriptor = b""
        if self._has_descriptor:
            layout = _DESCRIPTOR64 if self._zip64 else _DESCRIPTOR
            descriptor = layout.pack(b"PK\7\x08", crc, compressed, size)
            crc = compressed = size = 0
        return completed_local(self._start, self._extra, self._zip64, name, crc, compressed, size), descriptor

    def _zip64_central_header(self, name: bytes, crc: int, compressed: int, size: int, offset: int) -> bytes:
        extra = _ZIP64_OFFSET.pack(1, 8, offset) + self._extra
        sizes = LOCAL_REST.pack(crc, compressed, size, len(name), len(extra))
        return self._central_zip64 + sizes + self._rest + b"\xff\xff\xff\xff" + name + extra + self._comment
