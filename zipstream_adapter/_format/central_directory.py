"""Central directory headers (APPNOTE 4.3.12), kept as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zipfile import ZipInfo

from .records import _CENTRAL_HEADER, _CRC, _CRC_OFFSET, LIMIT32


class CentralDirectory:
    """The central directory headers of an archive, packed, in blocks of about 64 KiB."""

    BLOCK = 1 << 16

    def __init__(self) -> None:
        self.count = 0
        self._full: list[bytes] = []
        self._open = bytearray()

    def add(self, header: bytes) -> None:
        """Append one packed central directory header."""
        if len(self._open) + len(header) > self.BLOCK and self._open:
            self._full.append(bytes(self._open))
            self._open.clear()
        self._open += header
        self.count += 1

    def take(self) -> Iterator[bytes]:
        """Yield the blocks. The last one may be empty and has at most 64 KiB, unless a single header is longer."""
        yield from self._full
        yield bytes(self._open)

    def infolist(self) -> list[ZipInfo]:
        """Return a ZipInfo for each header."""
        found = []
        for block in (*self._full, bytes(self._open)):
            at = 0
            while at < len(block):
                info, at = _parse_header(block, at)
                found.append(info)
        return found


def put_crc(headers: bytearray, at: int, crc: int) -> None:
    """Write a member's CRC-32 into its central directory header, which begins at `at`."""
    _CRC.pack_into(headers, at + _CRC_OFFSET, crc)


def _parse_header(headers: bytes | bytearray, at: int) -> tuple[ZipInfo, int]:
    """Parse the central directory header at `at`. Returns its ZipInfo and the offset of the next header.

    `zipfile`'s own parser is not used, because it interprets extra fields.
    """
    fields = _CENTRAL_HEADER.unpack_from(headers, at)
    at += _CENTRAL_HEADER.size
    name_size, extra_size, comment_size = fields[12:15]
    parts = []
    for size in (name_size, extra_size, comment_size):
        parts.append(bytes(headers[at : at + size]))
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
    _apply_zip64(info)
    return info, at


def read_member(headers: bytes | bytearray, at: int) -> ZipInfo:
    """Return the member whose central directory header begins at `at`, as `local_header` and `data_descriptor` take it.

    Version needed to extract is reset, so that `local_header` computes it for the local file header.
    """
    info, _ = _parse_header(headers, at)
    info.extract_version = 0  # a zip64 offset may have raised it, and a local file header has no offset
    return info


def _apply_zip64(info: ZipInfo) -> None:
    """Replace values at the 32-bit limit by those of the zip64 extra field (4.5.3), which is the first extra field."""
    fields = [name for name in ("file_size", "compress_size", "header_offset") if getattr(info, name) == LIMIT32]
    if fields:
        for name, value in zip(fields, struct.unpack_from(f"<{len(fields)}Q", info.extra, 4), strict=True):
            setattr(info, name, value)
