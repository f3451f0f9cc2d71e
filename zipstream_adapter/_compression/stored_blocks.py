"""Stored blocks: data framed as deflate without being compressed (RFC 1951, section 3.2.4).

Every block has 65,535 bytes of data, except the last, and 5 bytes of header. zlib's own level 0 cuts blocks where its
input was cut; these are always cut at the same places.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED

from .codec import Codec, StoredCodec

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from typing_extensions import Buffer

BLOCK_DATA = 65535
_HEAD = struct.Struct("<BHH")  # whether it is the last block, size of the data, its complement
_FULL_SIZE = _HEAD.size + BLOCK_DATA
# Bytes of data framed at a time. Outputs of a megabyte can make the allocator map and unmap memory for each of them,
# which takes several times as long as the copy.
_PIECE = 1 << 19
# Copying a byte takes about this share of the time of zlib's CRC-32 of it.
_COPY_EFFORT = 4
# The signatures of zip records: these bytes after "PK" (APPNOTE 4.3).
_SIGNATURE_ENDS = frozenset({b"\1\2", b"\3\4", b"\5\6", b"\6\6", b"\6\7", b"\7\x08"})
_SIGNATURE_SIZE = 4
_ZIP_BEGINS = b"PK\3\4"


def _head(size: int, last: bool = False) -> bytes:
    return _HEAD.pack(last, size, size ^ 0xFFFF)


_FULL_HEAD = _head(BLOCK_DATA)


def framed_size(size: int) -> int:
    """Framed size, in bytes, of `size` bytes of data."""
    return size + _HEAD.size * max(1, -(-size // BLOCK_DATA))


def data_place(size: int, at: int) -> int:
    """Offset of the first of `size` data bytes whose framed offset is `at` or more; `size` if there is none."""
    block, within = divmod(at, _FULL_SIZE)
    return min(size, block * BLOCK_DATA + max(0, within - _HEAD.size))


def framed_part(data: Iterable[bytes | memoryview], size: int, start: int, stop: int) -> Generator[bytes, None, None]:
    """The framed bytes from `start` to `stop` for `size` bytes of data. b"" means that the source is slow.

    data: chunks of the data from ``data_place(size, start)`` to ``data_place(size, stop)``.
    """
    at, room = start, 0  # room: bytes of data left in the block
    for chunk in data:
        parts: list[bytes | memoryview] = []
        with memoryview(chunk) as view:
            done = 0
            while done < len(view):
                if not room:
                    head, room = _head_at(size, at, stop)
                    at += len(head)
                    parts.append(head)
                piece = view[done : done + room]
                done, at, room = done + len(piece), at + len(piece), room - len(piece)
                parts.append(piece)
            joined = b"".join(parts)
            parts.clear()
        yield joined
    while at < stop:  # headers, or parts of them, whose data is not requested
        head, _ = _head_at(size, at, stop)
        assert head, "the data ends before `stop`"
        at += len(head)
        yield head


def _head_at(size: int, at: int, stop: int) -> tuple[bytes, int]:
    """The rest of a block's header from the framed offset `at`, and the number of data bytes left in that block."""
    block, within = divmod(at, _FULL_SIZE)
    length = min(BLOCK_DATA, size - block * BLOCK_DATA)
    head = _head(length, (block + 1) * BLOCK_DATA >= size)[within:]
    return head[: stop - at], length - max(0, within - _HEAD.size)


class StoredBlocks(Codec):
    """Frames data in stored blocks, with one copy.

    Args:
        is_free: whether `push` may end a block early, because nobody relies on the framed size.
        splits: whether a block also ends inside each signature of a zip record, so that readers that search for
            signatures do not find those of a zip archive in the data. The framed size then depends on the data.
    """

    method = ZIP_DEFLATED
    step = _PIECE
    is_whole = True

    def __init__(self, *, is_free: bool = False, splits: bool = False) -> None:
        self._is_free, self._splits = is_free, splits
        self._held = bytearray()  # the beginning of the next block
        self._searched = 0  # no signature begins before this offset of it

    def compress(self, data: Buffer) -> bytes:
        if self._splits:
            return self._split(data)
        held = self._held
        with memoryview(data) as view:
            if len(held) + len(view) <= BLOCK_DATA:  # the last block is marked: a full one waits for more data
                held += view
                return b""
            at = BLOCK_DATA - len(held)
            parts: list[Buffer] = [_FULL_HEAD, held, view[:at]]
            while len(view) - at > BLOCK_DATA:
                parts += (_FULL_HEAD, view[at : at + BLOCK_DATA])
                at += BLOCK_DATA
            out = b"".join(parts)
            parts.clear()
            self._held = bytearray(view[at:])
        return out

    def flush(self) -> bytes:
        out = self._split(b"", last=True) if self._splits else b""
        return out + _head(len(self._held), True) + self._held

    def push(self) -> bytes:
        if not self._is_free or not self._held:
            return b""
        held, self._held, self._searched = self._held, bytearray(), 0
        return _head(len(held)) + held

    def effort(self, size: int | None) -> int:
        return (size or BLOCK_DATA) // _COPY_EFFORT

    def _split(self, data: Buffer, last: bool = False) -> bytes:
        held, at, from_ = self._held, 0, self._searched
        held += memoryview(data)
        parts: list[bytes | bytearray] = []
        while True:
            # A signature that begins in a full block ends within 3 bytes after it.
            most = min(len(held), at + BLOCK_DATA + _SIGNATURE_SIZE - 1)
            mark = _find_signature(held, from_, most)
            if mark is not None:
                # The block ends before the last byte of the signature: the last bytes of a block header can be "P" or
                # "PK", and would complete a signature with more of it.
                end = mark + _SIGNATURE_SIZE - 1
                if end - at > BLOCK_DATA:
                    end = mark
            elif most - at > BLOCK_DATA and (last or most < len(held)):
                end = at + BLOCK_DATA
            else:
                break
            parts += (_head(end - at), held[at:end])
            at = from_ = end
        self._searched = max(0, len(held) - at - _SIGNATURE_SIZE + 1)
        del held[:at]
        return b"".join(parts)


def _find_signature(data: bytearray, start: int, end: int) -> int | None:
    """The offset of the first signature of a zip record within `start` and `end` of `data`."""
    while (at := data.find(b"PK", start, end - 2)) >= 0:
        if bytes(data[at + 2 : at + _SIGNATURE_SIZE]) in _SIGNATURE_ENDS:
            return at
        start = at + 1
    return None


class StoreOrFrame(Codec):
    """Stores data of at most `lookahead` bytes as it is, and frames longer data, whose size is not known beforehand.

    Until `method` is set, nothing comes out. From then on the `successor` codes the data.
    """

    step = _PIECE

    def __init__(self, lookahead: int) -> None:
        self._lookahead = lookahead
        self._held = bytearray()
        self._successor: Codec = self

    def compress(self, data: Buffer) -> bytes:
        held = self._held
        held += memoryview(data)
        # The first bytes of the data decide, too: see `push`.
        return self.push() if len(held) > self._lookahead and len(held) >= _SIGNATURE_SIZE else b""

    def flush(self) -> bytes:
        if len(self._held) > self._lookahead:
            return self.push() + self._successor.flush()
        self.method, self._successor = ZIP_STORED, StoredCodec()
        return bytes(self._held)

    def push(self) -> bytes:
        """Decide to frame the data."""
        self.method = ZIP_DEFLATED
        self._successor = StoredBlocks(is_free=True, splits=self._held.startswith(_ZIP_BEGINS))
        return self._successor.compress(self._held)

    def effort(self, size: int | None) -> int:
        return (size or BLOCK_DATA) // _COPY_EFFORT

    def successor(self) -> Codec:
        return self._successor
