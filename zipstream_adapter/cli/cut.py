"""Find where an archive without a central directory was cut: follow its local file headers from front to back."""

from __future__ import annotations

import os
import struct
import zlib
from typing import IO

from .terminal import shown_count

_LOCAL, _DESCRIPTOR, _CENTRAL = b"PK\x03\x04", b"PK\x07\x08", b"PK\x01\x02"
# APPNOTE 4.3.7: version, flags, method, time, date, CRC-32, sizes, lengths of the name and of the extra fields.
_HEADER = struct.Struct("<4s5H3L2H")
_HAS_DESCRIPTOR, _IS_UTF8 = 0x0008, 0x0800
_END, _END_SIZE = b"PK\x05\x06", 22
_STEP = 1 << 20


def where_cut(path: str) -> str | None:
    """Say where the archive at `path` was cut. Returns None if it does not begin like an archive, or was not cut."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return "the file is empty"
        at, count = 0, 0
        while True:
            file.seek(at)
            head = file.read(_HEADER.size)
            if head[:4] == _CENTRAL:
                if _has_end(file, size):
                    return None
                return f"it is cut in its central directory, after {_whole(count)} (it has {size:,} bytes)"
            if head[:4] != _LOCAL[: len(head)] or (not head and not count):
                return None
            if len(head) < _HEADER.size:
                return f"it is cut after {_whole(count)} (it has {size:,} bytes)"
            _, _, flags, method, *_, compressed, _, name_size, extra_size = _HEADER.unpack(head)
            name = file.read(name_size).decode("utf-8" if flags & _IS_UTF8 else "cp437", "replace")
            extra = file.read(extra_size)
            start = at + _HEADER.size + name_size + extra_size
            if flags & _HAS_DESCRIPTOR:
                end = _after_descriptor(file, start, method)
            else:
                end = start + (_zip64_size(extra) if compressed == 0xFFFFFFFF else compressed)
            if end is None or end > size:
                return f"it is cut in the member {name!r}, after {_whole(count)} (it has {size:,} bytes)"
            at, count = end, count + 1


def _has_end(file: IO[bytes], size: int) -> bool:
    """Whether a whole end of central directory record (APPNOTE 4.3.16) ends the file."""
    file.seek(max(0, size - _END_SIZE - 0xFFFF))
    tail = file.read()
    record = tail[at:] if (at := tail.rfind(_END)) >= 0 else b""
    return len(record) >= _END_SIZE and len(record) - _END_SIZE >= int.from_bytes(record[20:22], "little")


def _whole(count: int) -> str:
    return shown_count(count, "whole member")


def _zip64_size(extra: bytes) -> int:
    """Return the compressed size in a zip64 extra field of a local file header (APPNOTE 4.5.3)."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == 1 and length >= 16:
            return int(struct.unpack("<Q", extra[12:20])[0])
        extra = extra[4 + length :]
    return 1 << 64


def _after_descriptor(file: IO[bytes], start: int, method: int) -> int | None:
    """Return the offset after the data descriptor of data that begins at `start`; None if there is none."""
    if method == 8:
        end = _end_of_deflate(file, start)
        return None if end is None else _descriptor_at(file, end, end - start)
    file.seek(start)
    kept, at = b"", start
    while data := file.read(_STEP):
        block, place = kept + data, 0
        while (place := block.find(_DESCRIPTOR, place)) >= 0:
            found = at - len(kept) + place
            end = _descriptor_at(file, found, found - start)
            if end is not None:
                return end
            place += 4
        at += len(data)
        kept = block[-3:]
        file.seek(at)
    return None


def _descriptor_at(file: IO[bytes], at: int, compressed: int) -> int | None:
    """Return the offset after the data descriptor at `at`, with 32-bit or 64-bit sizes (APPNOTE 4.3.9)."""
    file.seek(at)
    data = file.read(24)
    if data[:4] != _DESCRIPTOR or len(data) < 16:
        return None
    if struct.unpack("<L", data[8:12])[0] == compressed & 0xFFFFFFFF and compressed <= 0xFFFFFFFF:
        is_wide = len(data) == 24 and struct.unpack("<Q", data[8:16])[0] == compressed and data[16:20] != _LOCAL
        if not is_wide or data[16:18] == b"PK":
            return at + 16
    if len(data) == 24 and struct.unpack("<Q", data[8:16])[0] == compressed:
        return at + 24
    return None


def _end_of_deflate(file: IO[bytes], start: int) -> int | None:
    file.seek(start)
    decoder, at = zlib.decompressobj(-15), start
    while not decoder.eof:
        data = decoder.unconsumed_tail or file.read(_STEP)
        if not data:
            return None
        if not decoder.unconsumed_tail:
            at += len(data)
        try:
            decoder.decompress(data, _STEP)
        except zlib.error:
            return None
    return at - len(decoder.unused_data)
