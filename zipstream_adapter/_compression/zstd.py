"""Zstandard (RFC 8878), method 93. The library is the standard library's from Python 3.14 on, else the extra ``zstd``.

The data of a member is one frame, since ``zipfile`` reads only the first. It is cut at fixed places before it is passed
to the library. The library's own threads are not used: even one of them changes the bytes, and each member would start
its own. So a long member is compressed in the thread that writes it, and small ones in batches. Another version of the
library may produce other bytes.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from .codec import COMPRESSION_EFFORT, Codec

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Method number (APPNOTE 4.4.5). `zipfile` has it from Python 3.14 on.
METHOD = 93
DEFAULT_LEVEL = 3
# The library's range (ZSTD_minCLevel to ZSTD_maxCLevel), in which 0 stands for the default.
LEVELS = range(-(1 << 17), 23)

# libarchive reads data in buffers of this size. If a member's data ends exactly at the end of a buffer, it reports the
# member as truncated unless more compressed data follows. So an empty skippable frame (3.1.2) is appended. Data that
# stays uncompressed in its frame needs none; and from a pipe libarchive 3.8 takes that frame for the data descriptor.
_LIBARCHIVE_BUFFER = 1 << 17
_EMPTY_FRAME = b"\x50\x2a\x4d\x18\0\0\0\0"

_IS_STANDARD = sys.version_info >= (3, 14)
_MODULE = "compression.zstd" if _IS_STANDARD else "backports.zstd"


@cache
def zstd_library() -> Any:
    """The zstd module. Raises ImportError, which says what to do, if it is not installed."""
    try:
        return importlib.import_module(_MODULE)
    except ImportError as exc:
        remedy = "this Python was built without compression.zstd: use one that has it, or another compression"
        if not _IS_STANDARD:
            remedy = "install the extra 'zstd' (pip install 'zipstream-adapter[zstd]'), or use another compression"
        raise ImportError(f"compression='zstd' is not installed: {remedy}", name=_MODULE) from exc


def zstd_whole(level: int | None, data: bytes) -> bytes:
    """Compress all of `data` to one frame, whose header states its size."""
    frame: bytes = zstd_library().compress(data, _level(level))
    return frame + _ending(len(data), len(frame))


class ZstdFrame(Codec):
    """Compresses one member. Data of up to `block` bytes is held until its end and compressed by `zstd_whole`.

    The library then uses smaller tables, which is faster and gives less output. Longer data is passed to the library
    in pieces of `block` bytes.
    """

    method = METHOD

    def __init__(self, level: int | None, block: int) -> None:
        self._library = zstd_library()
        self._level = level
        self._block = block
        self._frame: Any = None  # created with the first block, since it allocates the tables
        self._parts: list[bytes] = []
        self._size = 0  # bytes in the parts
        self._passed = 0  # bytes passed to the library
        self._coded = 0  # bytes that it returned

    def compress(self, data: Buffer) -> bytes:
        part = data if type(data) is bytes else bytes(data)
        self._parts.append(part)
        self._size += len(part)
        if self._size <= self._block:
            return b""
        if self._frame is None:
            self._frame = self._library.ZstdCompressor(_level(self._level))
        joined = b"".join(self._parts)
        whole = (self._size - 1) // self._block * self._block
        with memoryview(joined) as view:
            out = [self._into_frame(view[at : at + self._block]) for at in range(0, whole, self._block)]
        self._parts = [joined[whole:]]
        self._size -= whole
        self._passed += whole
        return b"".join(out)

    def flush(self) -> bytes:
        rest = b"".join(self._parts)
        if self._frame is None:
            return zstd_whole(self._level, rest)
        out = self._into_frame(rest, last=True)
        out += _ending(self._passed + self._size, self._coded)
        self._frame = None  # frees the tables, even if the member is kept
        return out

    def effort(self, size: int | None) -> int:
        """See `Codec.effort`. Counts the bytes that are compressed."""
        total = self._size + (size or 0)
        if size is None and self._frame is not None:
            total += self._block  # the library may still hold this much
        return total * COMPRESSION_EFFORT if size is None or total > self._block else 0

    def _into_frame(self, data: Buffer, *, last: bool = False) -> bytes:
        out: bytes = self._frame.compress(data, self._frame.FLUSH_FRAME if last else self._frame.CONTINUE)
        self._coded += len(out)
        return out


def _ending(size: int, coded: int) -> bytes:
    """The bytes after the frame of `coded` bytes that holds `size` bytes of data."""
    return b"" if size % _LIBARCHIVE_BUFFER or coded >= size else _EMPTY_FRAME


def _level(level: int | None) -> int:
    return DEFAULT_LEVEL if level is None else level
