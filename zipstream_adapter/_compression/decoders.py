"""Decompression of a member from pieces of its compressed data, in steps of bounded size, checked at the end."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipInfo

from ..errors import BadArchiveError, UnsupportedMethodError
from .crc32 import fastest_crc32
from .methods import ZIP_ZSTANDARD
from .zstd import zstd_library

# Most bytes that one step decompresses to: a little compressed data can become very much.
STEP = 1 << 20


class _Raw(Protocol):
    def feed(self, data: bytes) -> None: ...
    def take(self, most: int) -> bytes: ...


class Decoder:
    """Decompresses one member and checks its size and CRC-32.

    Args:
        info: the member's method, size and CRC-32.
        what: how error messages name the member.

    Attributes:
        pending: bytes fed since `take` last returned nothing.
        is_stored: whether the member is stored, not compressed.
    """

    def __init__(self, info: ZipInfo, what: str) -> None:
        make = _DECODERS.get(info.compress_type)
        if make is None:
            raise UnsupportedMethodError(
                f"{what} is compressed by method {info.compress_type}, which this package cannot decompress"
            )
        try:
            self._raw: _Raw = make()
        except ImportError as exc:
            raise UnsupportedMethodError(f"{what} cannot be decompressed by this Python: {exc}") from exc
        self.is_stored = info.compress_type == ZIP_STORED
        self.pending = 0
        self._what = what
        self._left = info.file_size
        self._expected = getattr(info, "CRC", None)
        self._crc = 0
        self._crc32 = fastest_crc32()

    def feed(self, data: bytes) -> None:
        """Add compressed data."""
        self.pending += len(data)
        self._raw.feed(data)

    def take(self) -> bytes:
        """Decompress up to `STEP` bytes. Returns b"" if more compressed data is needed."""
        try:
            data = self._raw.take(STEP)
        except Exception as exc:  # each library has its own error types
            raise BadArchiveError(f"{self._what} cannot be decompressed: {exc}") from exc
        if not data:
            self.pending = 0
            return b""
        self._left -= len(data)
        if self._left < 0:
            raise BadArchiveError(
                f"{self._what} is broken: its data is at least {-self._left} bytes longer than its size"
            )
        self._crc = self._crc32(data, self._crc)
        return data

    def check(self) -> None:
        """Raise BadArchiveError unless the data is complete and its CRC-32 is right. Call it at the end of the data."""
        if self._left:
            raise BadArchiveError(f"{self._what} is broken: its data ends {self._left} bytes early")
        if self._expected is not None and self._crc != self._expected:
            raise BadArchiveError(
                f"{self._what} is broken: its CRC-32 is {self._crc:#010x}, and should be {self._expected:#010x}"
            )


def inflate_chunk(coded: bytes, size: int, *, is_last: bool) -> bytes | None:
    """Return the data of a chunk of a seekable member. None unless it has `size` bytes, and ends as it should."""
    raw = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = raw.decompress(coded, size + 1)
    except zlib.error:
        return None
    is_whole = len(data) == size and not raw.unconsumed_tail and not raw.unused_data
    return data if is_whole and raw.eof is is_last else None


class _Stored:
    def __init__(self) -> None:
        self._data = memoryview(b"")

    def feed(self, data: bytes) -> None:
        self._data = memoryview(bytes(self._data) + data if self._data else data)

    def take(self, most: int) -> bytes:
        data, self._data = self._data[:most], self._data[most:]
        return bytes(data)


class _Deflated:
    def __init__(self) -> None:
        self._raw = zlib.decompressobj(-zlib.MAX_WBITS)
        self._data = b""

    def feed(self, data: bytes) -> None:
        self._data = self._raw.unconsumed_tail + self._data + data

    def take(self, most: int) -> bytes:
        if self._raw.eof:
            return b""
        data, self._data = self._data or self._raw.unconsumed_tail, b""
        return self._raw.decompress(data, most)


class _Library:
    """Wraps a decompressor with the interface of those in `bz2` and `lzma`."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._data = b""

    def feed(self, data: bytes) -> None:
        self._data += data

    def take(self, most: int) -> bytes:
        if self._raw.eof or (self._raw.needs_input and not self._data):
            return b""
        data, self._data = self._data, b""
        out: bytes = self._raw.decompress(data, most)
        return out


class _Lzma:
    """LZMA in the framing of zip: version, size of the properties, properties, raw stream (APPNOTE 5.8.8)."""

    def __init__(self) -> None:
        import lzma  # some Pythons are built without it

        self._lzma = lzma
        self._head = b""
        self._inner: _Library | None = None

    def feed(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.feed(data)
            return
        self._head += data
        if len(self._head) < 4:
            return
        size = int.from_bytes(self._head[2:4], "little")
        if len(self._head) < 4 + size:
            return
        self._inner = _Library(self._opened(self._head[4 : 4 + size]))
        self._inner.feed(self._head[4 + size :])

    def _opened(self, properties: bytes) -> Any:
        if len(properties) < 5 or properties[0] >= 9 * 5 * 5:
            raise BadArchiveError(f"its LZMA properties are {properties[:8].hex(' ')}")
        rest, lc = divmod(properties[0], 9)
        pb, lp = divmod(rest, 5)
        filter_ = {"id": self._lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb}
        filter_["dict_size"] = int.from_bytes(properties[1:5], "little")
        return self._lzma.LZMADecompressor(self._lzma.FORMAT_RAW, filters=[filter_])

    def take(self, most: int) -> bytes:
        return self._inner.take(most) if self._inner is not None else b""


class _Zstd(_Library):
    """One or more frames, some of which may be empty or skippable (RFC 8878 section 3)."""

    def __init__(self) -> None:
        self._make: Callable[[], Any] = zstd_library().ZstdDecompressor
        super().__init__(self._make())

    def take(self, most: int) -> bytes:
        while True:
            out = super().take(most)
            if out or not self._raw.eof:
                return out
            rest = self._raw.unused_data + self._data
            if not rest:
                return b""
            self._raw, self._data = self._make(), rest


def _bzip2() -> _Library:
    import bz2

    return _Library(bz2.BZ2Decompressor())


_DECODERS: dict[int, Callable[[], _Raw]] = {
    ZIP_STORED: _Stored,
    ZIP_DEFLATED: _Deflated,
    ZIP_BZIP2: _bzip2,
    ZIP_LZMA: _Lzma,
    ZIP_ZSTANDARD: _Zstd,
}
