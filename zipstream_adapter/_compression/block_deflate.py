"""Deflate in blocks that workers compress in parallel. The output is the same for any number of workers.

A member's data is cut every `BLOCK` bytes, however the caller cut it. Each block is compressed on its own, with the
32 KiB before it as dictionary, and ends on a byte boundary, so that the outputs can be joined. A member that ends
before `whole_limit` is compressed whole instead. At most `Workers.window` blocks are in flight, each with its output.
Together with the data that is held, the piece that is added and the memory of the compressors, a stream holds up to
1 MiB * (workers + 4).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED

from .._buffers import LARGEST_PIECE
from .._concurrency.ordered import InOrder, Workers
from .codec import COMPRESSION_EFFORT, Codec
from .engines import WINDOW, Engines, deflate_block

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK = 1 << 18


def whole_limit(engines: Engines) -> int:
    """Bytes from which `engines` compress a member in blocks."""
    return engines.limit if engines.whole else BLOCK


class BlockDeflate(Codec):
    """Deflates one member in blocks, on `workers`. Members shorter than `whole_limit` stay in the caller's thread."""

    method = ZIP_DEFLATED
    step = LARGEST_PIECE

    def __init__(self, engines: Engines, workers: Workers) -> None:
        self._engines = engines
        self._least = whole_limit(engines)  # bytes from which the data held is cut into blocks
        self._parts: list[bytes] = []
        self._size = 0
        self._dictionary = b""
        self._is_begun = False
        self._blocks: InOrder[bytes] = InOrder(workers)

    def compress(self, data: Buffer) -> bytes:
        part = data if type(data) is bytes else bytes(data)
        self._parts.append(part)
        self._size += len(part)
        if self._size < self._least:
            return b""
        joined = b"".join(self._parts)
        whole = self._size - self._size % BLOCK
        out: list[bytes] = []
        for at in range(0, whole, BLOCK):
            out += self._start(joined[at : at + BLOCK], last=False)
        self._parts = [joined[whole:]] if whole < self._size else []
        self._size -= whole
        return b"".join(out)

    def flush(self) -> bytes:
        rest = b"".join(self._parts)
        if not self._is_begun:
            return self._engines.deflate(rest)
        if not self._blocks:
            return deflate_block(*self._engines.blocks, rest, self._dictionary, True)
        return b"".join([*self._start(rest, last=True), *self._blocks.finish()])

    def effort(self, size: int | None) -> int:
        """See `Codec.effort`. Counts the bytes that are compressed or waited for."""
        total = self._size + (size or 0)
        if self._blocks:
            return (total + BLOCK) * COMPRESSION_EFFORT
        return total * COMPRESSION_EFFORT if size is None or total >= self._least else 0

    def gather(self) -> bytes:
        return b"".join(self._blocks.finish())

    def push(self) -> bytes:
        rest, self._parts, self._size = b"".join(self._parts), [], 0
        out: list[bytes] = []
        for at in range(0, len(rest), BLOCK):
            out += self._start(rest[at : at + BLOCK], last=False)
        return b"".join([*out, *self._blocks.finish()])

    def follow(self, block: bytes) -> None:
        """Continue after `block`, a full block that the caller has compressed."""
        self._is_begun, self._least = True, BLOCK
        self._dictionary = block[-WINDOW:]

    def begin_with(self, block: bytes, coded: bytes) -> bytes:
        """Add `block`, a full block, which the caller has compressed to `coded`. Returns the output."""
        self.follow(block)
        return coded

    def whole(self, data: bytes, coded: bytes) -> bytes:
        """Return the output for a member with `data`, which the caller has compressed to `coded`."""
        return coded

    def close(self) -> None:
        self._blocks.close()

    def _start(self, block: bytes, *, last: bool) -> list[bytes]:
        self._is_begun, self._least = True, BLOCK
        work = partial(deflate_block, *self._engines.blocks, block, self._dictionary, last)
        self._dictionary = block[-WINDOW:]
        return self._blocks.start(work, len(block))
