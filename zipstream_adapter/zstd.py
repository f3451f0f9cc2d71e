"""Zstandard (RFC 8878): method 93. The library is Python's own from 3.14 on, and before that the extra ``zstd``.

A member is one frame of data, since ``zipfile`` reads no more than one; the library gets it in pieces that do not
depend on how the caller cut it. The library's own threads are not used: with one of them the bytes are already others
than with none, and each member would have its own. So a long member is compressed by whoever writes it; small ones,
several at a time. Another version of the library may make other bytes.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

DEFAULT_LEVEL = 3
# The library's own (ZSTD_minCLevel and ZSTD_maxCLevel); its 0 stands for the default.
LEVELS = range(-(1 << 17), 23)

# libarchive reads by so many bytes, and takes a member that ends with the last of them for cut, unless its compressed
# data goes on. A skippable frame (3.1.2) without anything in it is all that can follow.
_LIBARCHIVES_BUFFER = 1 << 17
_NOTHING = b"\x50\x2a\x4d\x18\0\0\0\0"

_IS_STANDARD = sys.version_info >= (3, 14)
_MODULE = "compression.zstd" if _IS_STANDARD else "backports.zstd"


@cache
def zstd_library() -> Any:
    """The module that compresses; where it cannot be had, an ImportError that says what to do."""
    try:
        return importlib.import_module(_MODULE)
    except ImportError as exc:
        remedy = "this Python was built without compression.zstd: use one that has it, or another compression"
        if not _IS_STANDARD:
            remedy = "install the extra 'zstd' (pip install 'zipstream-adapter[zstd]'), or use another compression"
        raise ImportError(f"compression='zstd' is not installed: {remedy}", name=_MODULE) from exc


def zstd_whole(level: int | None, data: bytes) -> bytes:
    """All `data` in a frame, which states its size."""
    frame: bytes = zstd_library().compress(data, _level(level))
    return frame + _ending(len(data))


class ZstdFrame:
    """A compressor of one member. What has up to `block` bytes is held until its end, and is a `zstd_whole`.

    The library takes smaller tables for that, which makes it faster and its output smaller. A longer member's data
    goes in by `block` bytes.
    """

    def __init__(self, level: int | None, block: int) -> None:
        self._library = zstd_library()
        self._level = level
        self._block = block
        self._frame: Any = None  # which is begun with the first block: it has the tables
        self._parts: list[bytes] = []
        self._size = 0  # of the parts
        self._gone = 0  # bytes of data that are in the frame

    def compress(self, data: Buffer) -> bytes:
        """Add `data`; returns what is finished by now."""
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
        self._gone += whole
        return b"".join(out)

    def flush(self) -> bytes:
        """What is left, and the end."""
        rest = b"".join(self._parts)
        if self._frame is None:
            return zstd_whole(self._level, rest)
        out = self._into_frame(rest, last=True) + _ending(self._gone + self._size)
        self._frame = None  # and with it the tables, however long somebody keeps the member
        return out

    def effort(self, size: int | None) -> int:
        """Bytes that are compressed where `size` are added; without: where all is finished."""
        total = self._size + (size or 0)
        if size is None and self._frame is not None:
            return total + self._block  # which the library itself may hold back
        return total if size is None or total > self._block else 0

    def _into_frame(self, data: Buffer, *, last: bool = False) -> bytes:
        out: bytes = self._frame.compress(data, self._frame.FLUSH_FRAME if last else self._frame.CONTINUE)
        return out


def _ending(size: int) -> bytes:
    """What follows the frame of `size` bytes of data."""
    return b"" if size % _LIBARCHIVES_BUFFER or not size else _NOTHING


def _level(level: int | None) -> int:
    return DEFAULT_LEVEL if level is None else level
