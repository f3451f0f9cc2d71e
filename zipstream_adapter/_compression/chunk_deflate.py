"""Deflate in chunks that can be inflated one by one, for members in which readers seek (SOZip).

Workers compress as many chunks at a time as fit into a block of `block_deflate`, or one larger chunk. The output is the
same for any number of workers. A member that ends before `Seeking.least` bytes is compressed as any other.
"""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED

from .._buffers import LARGEST_PIECE
from .._concurrency.ordered import InOrder, Workers
from .block_deflate import BLOCK, BlockDeflate
from .codec import COMPRESSION_EFFORT, Codec
from .engines import Engines, deflate_chunks

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .._format.sozip import Seeking


class ChunkDeflate(Codec):
    """Deflates one member in chunks, on `workers`.

    It holds up to `Seeking.least` bytes of data at first, then less than two blocks, and 8 bytes for each chunk.
    """

    method = ZIP_DEFLATED
    step = LARGEST_PIECE

    def __init__(self, engines: Engines, workers: Workers, seeking: Seeking) -> None:
        self._engines = engines
        self._workers = workers
        self._chunk = seeking.chunk
        self._block = max(seeking.chunk, BLOCK // seeking.chunk * seeking.chunk)
        self._first = max(seeking.least, seeking.chunk + 1)  # bytes of data from which there are chunks
        self._least = max(self._first, self._block + 1)  # bytes of data held from which some are compressed
        self._parts: list[bytes] = []
        self._size = 0
        self._coded = 0  # bytes of output
        self._offsets: array[int] = array("Q")
        self._is_begun = False
        self._blocks: InOrder[list[bytes]] = InOrder(workers)

    def compress(self, data: Buffer) -> bytes:
        part = data if type(data) is bytes else bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return self._start_full(self._block) if self._size >= self._least else b""

    def flush(self) -> bytes:
        rest = b"".join(self._parts)
        if not self._is_begun and len(rest) < self._first:
            plain = BlockDeflate(self._engines, self._workers)
            return plain.compress(rest) + plain.flush()
        cuts = range(0, len(rest), self._block)
        out = [self._start(rest[at : at + self._block], last=at == cuts[-1]) for at in cuts]
        return b"".join([*out, self.gather()])

    def effort(self, size: int | None) -> int:
        """See `Codec.effort`. Counts the bytes that are compressed or waited for."""
        total = self._size + (size or 0)
        if self._blocks:
            return (total + self._block) * COMPRESSION_EFFORT
        return total * COMPRESSION_EFFORT if size is None or total >= self._least else 0

    def gather(self) -> bytes:
        return self._joined(self._blocks.finish())

    def push(self) -> bytes:
        """Compress the full chunks. The rest of the data waits for more: the chunks have one size."""
        if not self._is_begun and self._size < self._first:
            return b""  # the member may end before it has chunks
        return self._start_full(self._chunk) + self.gather()

    def chunk_offsets(self) -> array[int] | None:
        return self._offsets if self._is_begun else None

    def begin_with(self, block: bytes, coded: bytes) -> bytes:
        """See `BlockDeflate.begin_with`. The output is another."""
        return self.compress(block)

    def whole(self, data: bytes, coded: bytes) -> bytes:
        """See `BlockDeflate.whole`. A member of several chunks has another output."""
        return coded if len(data) < self._first else self.compress(data) + self.flush()

    def close(self) -> None:
        self._blocks.close()

    def _start_full(self, unit: int) -> bytes:
        """Compress all data held but for the last 1 to `unit` bytes, which may be the last of the member."""
        rest = b"".join(self._parts)
        whole = (len(rest) - 1) // unit * unit if rest else 0
        out = [self._start(rest[at : min(at + self._block, whole)], last=False) for at in range(0, whole, self._block)]
        self._parts, self._size = [rest[whole:]], len(rest) - whole
        return b"".join(out)

    def _start(self, block: bytes, *, last: bool) -> bytes:
        self._is_begun, self._least = True, self._block + 1
        work = partial(deflate_chunks, *self._engines.blocks, block, self._chunk, last)
        return self._joined(self._blocks.start(work, len(block)))

    def _joined(self, blocks: list[list[bytes]]) -> bytes:
        """Join the output of blocks, and note where their chunks begin."""
        chunks = [chunk for block in blocks for chunk in block]
        for chunk in chunks:
            if self._coded:
                self._offsets.append(self._coded)
            self._coded += len(chunk)
        return b"".join(chunks)
