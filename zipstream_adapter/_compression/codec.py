"""The interface of codecs, which turn a member's data into the bytes that the archive stores, and two simple codecs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol
from zipfile import ZIP_STORED

from .._buffers import close_of

if TYPE_CHECKING:
    from array import array

    from typing_extensions import Buffer

# Bytes of data that a codec takes at a time, unless it says otherwise.
STEP = 1 << 16
# Compressing a byte takes about this many times as long as zlib's CRC-32 of it.
COMPRESSION_EFFORT = 64


class Compressor(Protocol):
    """Any object that compresses one member, such as those of `zlib` and `bz2`."""

    def compress(self, data: Buffer, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Codec(ABC):
    """Codes the data of one member. The output depends on the data alone, not on how it was cut.

    Attributes:
        method: number of the compression method; None until the codec has decided on one.
        step: bytes of data to pass at a time, at most.
        overhead: bytes that the output is longer than the data, for any data; None if that depends on the data.
        is_whole: whether its output is passed on as it is, and not joined or cut to chunks.
    """

    method: int | None = None
    step: int = STEP
    overhead: int | None = None
    is_whole: bool = False

    @abstractmethod
    def compress(self, data: Buffer) -> bytes:
        """Add `data`. Returns the output that is ready, which may be empty."""

    @abstractmethod
    def flush(self) -> bytes:
        """End the data. Returns the rest of the output."""

    def effort(self, size: int | None) -> int:
        """Estimated work of adding `size` bytes, or of `flush` if None, in bytes of zlib's CRC-32."""
        return (size or STEP) * COMPRESSION_EFFORT

    def gather(self) -> bytes:
        """Wait for the blocks that workers are compressing. Returns their output."""
        return b""

    def push(self) -> bytes:
        """End the current block early. Returns the output of all data so far; b"" if the method has no such blocks."""
        return b""

    def successor(self) -> Codec:
        """The codec to continue with once `method` is decided."""
        return self

    def chunk_offsets(self) -> array[int] | None:
        """Offsets of all chunks but the first in the output of a seekable member; None if it is not seekable."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to release
        """Cancel the work in progress and release the memory it holds."""


class StoredCodec(Codec):
    """Passes data on: stored members, and data that is already compressed by `method`."""

    overhead = 0

    def __init__(self, method: int = ZIP_STORED) -> None:
        self.method = method

    def compress(self, data: Buffer) -> bytes:
        return data if type(data) is bytes else bytes(data)

    def flush(self) -> bytes:
        return b""

    def effort(self, size: int | None) -> int:
        """Zero: computing the CRC-32 is the caller's work."""
        return 0


class ObjectCodec(Codec):
    """A codec around a `compressor` object, which is closed if it has a ``close`` method."""

    def __init__(self, method: int, compressor: Compressor) -> None:
        self.method = method
        self._compressor = compressor

    def compress(self, data: Buffer) -> bytes:
        return self._compressor.compress(data)

    def flush(self) -> bytes:
        return self._compressor.flush()

    def close(self) -> None:
        close = close_of(self._compressor)
        if close is not None:
            close()
