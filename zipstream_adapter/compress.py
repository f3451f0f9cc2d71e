"""Methods, their levels, and the compressors of all but deflate and Zstandard, which have rooms of their own.

A compressor has ``compress(data) -> bytes`` and ``flush() -> bytes``. Its output depends on the data alone,
never on how the data was cut: the same input gives the same archive.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Protocol
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

from .errors import OptionError
from .records import AES_METHOD
from .zstd import LEVELS as ZSTD_LEVELS
from .zstd import zstd_library

if TYPE_CHECKING:
    from typing_extensions import Buffer

# `zipfile` has it from Python 3.14 on.
ZIP_ZSTANDARD = 93

# Not a number of the format's: each member is deflated or stored, as its first block compresses.
AUTO = -ZIP_DEFLATED

METHODS = {
    "stored": ZIP_STORED,
    "deflate": ZIP_DEFLATED,
    "bzip2": ZIP_BZIP2,
    "lzma": ZIP_LZMA,
    "zstd": ZIP_ZSTANDARD,
    "auto": AUTO,
}
_NAMES = {number: name for name, number in METHODS.items()}
_ALIASES = {"store": ZIP_STORED, "deflated": ZIP_DEFLATED, "zstandard": ZIP_ZSTANDARD}
_LEVELS = {
    ZIP_DEFLATED: range(10),
    ZIP_BZIP2: range(1, 10),
    ZIP_LZMA: range(10),
    ZIP_ZSTANDARD: ZSTD_LEVELS,
    AUTO: range(1, 10),
}
# Zstandard's takes in those of all others.
_ANY_LEVEL = ZSTD_LEVELS


class Compressor(Protocol):
    """What a member's data goes through."""

    def compress(self, data: Buffer, /) -> bytes: ...

    def flush(self) -> bytes: ...


def method_number(compression: int | str) -> int:
    """The zip method number of a `zipfile` constant or of a name: stored, deflate, bzip2, lzma, zstd, or `AUTO`'s."""
    if isinstance(compression, str):
        number = METHODS.get(compression.lower(), _ALIASES.get(compression.lower()))
    else:
        is_number = isinstance(compression, int) and not isinstance(compression, bool)
        number = compression if is_number and compression in _NAMES else None
    if number is None:
        known = ", ".join(f"{name!r} ({number})" for name, number in METHODS.items() if number != AUTO) + ", 'auto'"
        raise OptionError(f"compression={compression!r} is not a method this package writes: use one of {known}")
    return number


def method_name(number: int) -> str:
    """The name of a method by its number."""
    return _NAMES[number]


def method_to_write(compression: int | str) -> int:
    """`method_number` of a method that is installed."""
    number = method_number(compression)
    check_installed(number)
    return number


def method_for_zipfile(number: int) -> int:
    """What `zipfile` is told instead of a method of ours that it does not know, or not on every supported Python."""
    return ZIP_DEFLATED if number in (AUTO, ZIP_ZSTANDARD) else number


def check_installed(method: int | None) -> None:
    """Refuse, with an ImportError that names the extra, a method that needs one which is not installed."""
    if method == ZIP_ZSTANDARD:
        zstd_library()


def raw_method_number(compression: int | str) -> int:
    """The zip method number of data that is compressed already: a name as above, but "auto", or any number (4.4.5)."""
    if isinstance(compression, int) and not isinstance(compression, bool) and 0 <= compression <= 0xFFFF:
        if compression == AES_METHOD:
            raise OptionError(f"compression={compression!r} stands for encrypted data, which is not written")
        return compression
    number = method_number(compression)
    if number == AUTO:
        raise OptionError(f"compression={compression!r} is no method: say how the data is compressed")
    return number


def check_level(method: int | None, level: int | None) -> None:
    """Refuse a `level` that `method` does not have, or, where the method is not known yet (None), no method has.

    None, the method's default, is always good; stored data takes any level, without effect.
    """
    if level is None:
        return
    if not isinstance(level, int) or isinstance(level, bool):
        raise OptionError(f"level={level!r} is not a whole number, nor None for the method's default")
    levels = _ANY_LEVEL if method is None else _LEVELS.get(method)
    if levels is not None and level not in levels:
        which = "" if method is None else f" for {_NAMES[method]}"
        raise OptionError(
            f"level={level!r} is out of range{which}: use {levels[0]} to {levels[-1]}, or None for the default"
        )


def make_compressor(method: int, level: int | None = None) -> Compressor | None:
    """A fresh compressor, but for deflate at 1 to 9 and Zstandard; None for stored data (which passes as it is)."""
    check_level(method_number(method), level)
    if method == ZIP_STORED:
        return None
    if method == ZIP_DEFLATED:
        assert level == 0, "see zipstream_adapter.coding"
        return StoredBlocks()
    if method == ZIP_BZIP2:
        import bz2

        return bz2.BZ2Compressor(9 if level is None else level)
    return LZMACompressor(level)


def coded_size(method: int, level: int | None, size: int) -> int | None:
    """What `size` bytes of data come to, in bytes; None where that depends on the data."""
    if method == ZIP_STORED:
        return size
    return StoredBlocks.coded_size(size) if method == ZIP_DEFLATED and level == 0 else None


class StoredBlocks:
    """Deflate at level 0: stored blocks of 65,535 bytes (RFC 1951 section 3.2.4), n + 5 per block in size.

    zlib's own level 0 cuts its blocks where its input was cut; these fall at the same places always.
    """

    _BLOCK = 65535
    _HEAD = struct.Struct("<BHH")
    _FULL = _HEAD.size + _BLOCK

    @classmethod
    def coded_size(cls, size: int) -> int:
        """What `size` bytes of data come to."""
        return size + cls._HEAD.size * max(1, -(-size // cls._BLOCK))

    @classmethod
    def data_place(cls, size: int, at: int) -> int:
        """Where in `size` bytes of data the first byte is that stands at or behind the place `at` of what is coded."""
        block, within = divmod(at, cls._FULL)
        return min(size, block * cls._BLOCK + max(0, within - cls._HEAD.size))

    @classmethod
    def coded_part(
        cls, data: Iterable[bytes | memoryview], size: int, start: int, stop: int
    ) -> Generator[bytes | memoryview, None, None]:
        """The bytes from `start` to `stop` of what `size` bytes of data are coded to.

        data: chunks of just the data between the `data_place` of one and that of the other.
        """
        at, room = start, 0  # room: bytes of data that are left in the block
        for chunk in data:
            with memoryview(chunk) as view:
                done = 0
                if not view:
                    yield b""  # which says that it takes time
                while done < len(view):
                    if not room:
                        head, room = cls._head_at(size, at, stop)
                        at += len(head)
                        yield head
                    with view[done : done + room] as piece:
                        done, at, room = done + len(piece), at + len(piece), room - len(piece)
                        yield piece
        while at < stop:  # heads, or the ends of them, behind which nothing is asked for
            head, _ = cls._head_at(size, at, stop)
            assert head, "less data than that"
            at += len(head)
            yield head

    @classmethod
    def _head_at(cls, size: int, at: int, stop: int) -> tuple[bytes, int]:
        """What is left at `at` of a block's head, and how much data of the block is behind it."""
        block, within = divmod(at, cls._FULL)
        length = min(cls._BLOCK, size - block * cls._BLOCK)
        head = cls._HEAD.pack((block + 1) * cls._BLOCK >= size, length, length ^ 0xFFFF)[within:]
        return head[: stop - at], length - max(0, within - cls._HEAD.size)

    def __init__(self) -> None:
        self._held = bytearray()

    def compress(self, data: Buffer) -> bytes:
        held = self._held
        held += memoryview(data)
        # The last block says that it is the last: a full one waits until more has come.
        count = max(0, (len(held) - 1) // self._BLOCK)
        out = b"".join(self._block(held[i * self._BLOCK : (i + 1) * self._BLOCK], 0) for i in range(count))
        del held[: count * self._BLOCK]
        return out

    def flush(self) -> bytes:
        return self._block(self._held, 1)

    @staticmethod
    def _block(data: bytearray, last: int) -> bytes:
        return StoredBlocks._HEAD.pack(last, len(data), len(data) ^ 0xFFFF) + data


class LZMACompressor:
    """LZMA as zip frames it: a version, the filter's properties, the raw stream (APPNOTE 5.8.8)."""

    # (dictionary size in bytes) of the presets 0 to 9: written out, since the header has to state it.
    _DICT = tuple(1 << bits for bits in (18, 20, 21, 22, 22, 23, 23, 24, 25, 26))
    _LC, _LP, _PB = 3, 0, 2

    def __init__(self, level: int | None = None) -> None:
        import lzma  # some Pythons are built without

        preset = 6 if level is None else level
        dict_size = self._DICT[preset]
        options = {"preset": preset, "dict_size": dict_size, "lc": self._LC, "lp": self._LP, "pb": self._PB}
        self._raw = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, **options}])
        properties = struct.pack("<BL", (self._PB * 5 + self._LP) * 9 + self._LC, dict_size)
        self._header = struct.pack("<BBH", 9, 20, len(properties)) + properties

    def compress(self, data: Buffer) -> bytes:
        header, self._header = self._header, b""
        return header + self._raw.compress(data)

    def flush(self) -> bytes:
        header, self._header = self._header, b""
        return header + self._raw.flush()
