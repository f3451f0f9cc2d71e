"""Compression methods: names, numbers, levels, and the compressors of bzip2 and LZMA.

A compressor has ``compress(data) -> bytes`` and ``flush() -> bytes``. Its output depends on the data alone, not on how
the data was cut, so that the same input gives the same archive.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal, TypeAlias
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

from .._checks import whole
from .._format.records import AES_METHOD
from ..errors import OptionError
from .codec import Compressor
from .stored_blocks import framed_size
from .zstd import LEVELS as ZSTD_LEVELS
from .zstd import METHOD as ZSTD_METHOD
from .zstd import zstd_library

if TYPE_CHECKING:
    from typing_extensions import Buffer

ZIP_ZSTANDARD = ZSTD_METHOD

# A method as users give it: a `zipfile` constant or a name.
Compression: TypeAlias = (
    int | Literal["none", "stored", "store", "deflate", "deflated", "bzip2", "lzma", "zstd", "zstandard", "auto"]
)

# Not a method of the zip format: deflates or stores each member, depending on how well its first block compresses.
AUTO = -ZIP_DEFLATED
# Not a method of the zip format either: nothing is compressed. See `uncompressed_method`.
UNCOMPRESSED = AUTO - 1

METHODS = {
    "none": UNCOMPRESSED,
    "stored": ZIP_STORED,
    "deflate": ZIP_DEFLATED,
    "bzip2": ZIP_BZIP2,
    "lzma": ZIP_LZMA,
    "zstd": ZIP_ZSTANDARD,
    "auto": AUTO,
}
_NAMES = {number: name for name, number in METHODS.items()}
_ALWAYS_THERE = {name: number for name, number in METHODS.items() if number != ZIP_ZSTANDARD}
_ALIASES = {"store": ZIP_STORED, "deflated": ZIP_DEFLATED, "zstandard": ZIP_ZSTANDARD}
_LEVELS = {
    ZIP_DEFLATED: range(10),
    ZIP_BZIP2: range(1, 10),
    ZIP_LZMA: range(10),
    ZIP_ZSTANDARD: ZSTD_LEVELS,
    AUTO: range(1, 10),
}
# The range of Zstandard includes the ranges of all other methods.
_ANY_LEVEL = ZSTD_LEVELS
_LEVELS_OF_ALL = f"0 to 9 (bzip2: 1 to 9; zstd: {ZSTD_LEVELS[0]} to {ZSTD_LEVELS[-1]})"


def method_number(compression: int | str) -> int:
    """The method number for a `zipfile` constant, or for a name: one of `METHODS`."""
    if isinstance(compression, str):
        number = METHODS.get(compression.lower(), _ALIASES.get(compression.lower()))
    else:
        number = whole(compression)
        number = number if number in _NAMES else None
    if number is None:
        known = ", ".join(f"{name!r} ({number})" for name, number in METHODS.items() if number >= 0)
        known += ", 'none', 'auto'"
        raise OptionError(f"compression={compression!r} is not a method this package writes: use one of {known}")
    return number


def method_name(number: int) -> str:
    """The name of the method `number`."""
    return _NAMES[number]


def name_or_number(number: int) -> str | int:
    """The name of the method `number`; the number if this package does not write the method."""
    return _NAMES.get(number, number)


def method_to_write(compression: int | str) -> int:
    """Like `method_number`, but raises ImportError if the method needs a library that is not installed."""
    if type(compression) is str and compression in _ALWAYS_THERE:
        return _ALWAYS_THERE[compression]
    number = method_number(compression)
    check_installed(number)
    return number


def method_for_zipfile(number: int) -> int:
    """The method to give to `zipfile`, which does not know all of `METHODS`: stored or deflate in place of them."""
    if number == UNCOMPRESSED:
        return ZIP_STORED
    return ZIP_DEFLATED if number in (AUTO, ZIP_ZSTANDARD) else number


def check_installed(method: int | None) -> None:
    """Raise ImportError, which names the extra, if `method` needs a library that is not installed."""
    if method == ZIP_ZSTANDARD:
        zstd_library()


def raw_method_number(compression: int | str) -> int:
    """The method number of data that is already compressed: a number from 0 to 65535 (APPNOTE 4.4.5) or a name.

    Raises OptionError for 99 (encrypted data), "none" and "auto".
    """
    given = whole(compression)
    if given is not None and 0 <= given <= 0xFFFF:
        if given == AES_METHOD:
            raise OptionError(f"compression={compression!r} stands for encrypted data, which is not written")
        return given
    number = method_number(compression)
    if number < 0:
        raise OptionError(f"compression={compression!r} is not a method: give the one that compressed the data")
    return number


def check_level(method: int | None, level: int | None) -> int | None:
    """`level` as an int. None, the method's default, is returned as it is.

    Raises OptionError if `method` does not have the level, or, for None (method unknown), if no method has it. Stored
    data accepts any level, without effect.
    """
    if level is None:
        return None
    number = whole(level)
    if number is None:
        raise OptionError(f"level={level!r} is not a whole number: use one, or None for the default")
    levels = _ANY_LEVEL if method is None else _LEVELS.get(method)
    if levels is not None and number not in levels:
        which = "" if method is None else f" for {_NAMES[method]}"
        use = f"{levels[0]} to {levels[-1]}" if method is not None else _LEVELS_OF_ALL
        raise OptionError(f"level={level!r} is out of range{which}: use {use}, or None for the default")
    return number


def check_has_levels(method: int | None, level: object, advice: str) -> None:
    """Raise OptionError, with `advice`, if a level is given for a method without levels. None: method unknown."""
    if level is not None and method in (ZIP_STORED, UNCOMPRESSED):
        raise OptionError(f"level={level!r}: compression={_NAMES[method]!r} has no levels: {advice}")


def make_compressor(method: int, level: int | None = None) -> Compressor:
    """A new compressor for bzip2 or LZMA: the methods without a codec of their own."""
    check_level(method_number(method), level)
    if method == ZIP_BZIP2:
        import bz2

        return bz2.BZ2Compressor(9 if level is None else level)
    return LZMACompressor(level)


def uncompressed_method(size: int | None, crc32: int | None, lookahead: int, *, encrypted: bool) -> int | None:
    """The method of a member that is not to be compressed, in the form that every reader takes front to back.

    It is stored if its local file header can be complete: within the lookahead, or if its size and CRC-32 are known
    beforehand (encrypted members need only the size). Otherwise it is deflate in stored blocks, because many readers
    reject stored data with a data descriptor. None if the size, and so the method, is known only once data came.
    """
    if size is None:
        return None
    return ZIP_STORED if size <= lookahead or crc32 is not None or encrypted else ZIP_DEFLATED


def coded_size(method: int, level: int | None, size: int) -> int | None:
    """Compressed size, in bytes, of `size` bytes of data. None if it depends on the data."""
    if method == ZIP_STORED:
        return size
    return framed_size(size) if method == ZIP_DEFLATED and level == 0 else None


class LZMACompressor:
    """LZMA in the framing of zip: version, size of the properties, properties, raw stream (APPNOTE 5.8.8)."""

    # Dictionary size in bytes of the presets 0 to 9, which the header must state.
    _DICT = tuple(1 << bits for bits in (18, 20, 21, 22, 22, 23, 23, 24, 25, 26))
    _LC, _LP, _PB = 3, 0, 2

    def __init__(self, level: int | None = None) -> None:
        import lzma  # some Pythons are built without it

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
