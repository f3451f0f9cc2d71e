"""MemberWriter: writes one member: checksum, compressor, declared values, and the delayed local file header."""

from __future__ import annotations

import io
import sys
import time
import zlib
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Protocol
from zipfile import ZIP_STORED, ZipInfo

from .._buffers import flat_view, slices
from .._compression.codec import STEP, Codec, StoredCodec
from .._compression.codecs import CodecFactory
from .._compression.crc32 import Crc32, fastest_crc32
from .._compression.methods import UNCOMPRESSED, uncompressed_method
from .._concurrency.patience import PATIENCE
from .._format.records import DESCRIPTOR_FLAG, LIMIT16, LIMIT32, data_descriptor, local_header, needs_zip64
from .._format.sozip import Seeking, has_room_for_index, index_member
from ..errors import (
    EntryTypeError,
    IntegrityError,
    LimitError,
    PoisonedError,
    SizeMismatchError,
    StreamStateError,
    Zip64RequiredError,
)
from .lookahead import needs_descriptor
from .mimetype import extra_of, lookahead_for
from .promises import wrong_crc, wrong_size
from .sink import Hole

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from .sink import FileSink, StreamSink

# The CRC-32 of the extra `fast` is at least this many times as fast as zlib's.
_FAST_CHECKSUM = 8


class Archive(Protocol):
    """The parts of an archive that its members use."""

    sink: StreamSink | FileSink
    zip64_offsets: set[int]
    coding: CodecFactory

    def member_ended(self, info: ZipInfo | None) -> None: ...

    def fail(self, reason: str = "", *, silent: bool = False) -> None: ...


class MemberWriter(io.BufferedIOBase):
    """One member while it is written: a writable binary file object.

    The local file header is held back together with up to `lookahead` bytes of output (and 16 times as many of input).
    If the member ends within them, the header is complete. Otherwise the header is written with bit 3 set, and a data
    descriptor follows the data (APPNOTE 4.4.4). Leaving a ``with`` block by an exception poisons the archive; so does
    any failure here once the header has been written. Before that, `discard` can still leave the member out.
    """

    def __init__(
        self,
        archive: Archive,
        info: ZipInfo,
        *,
        level: int | None,
        size: int | None = None,
        crc32: int | None = None,
        zip64: bool | None,
        pinned: bool = False,
        raw_size: int | None = None,
        password: bytes | None = None,
        lookahead: int,
        seeking: Seeking | None = None,
    ) -> None:
        self._archive = archive
        self._sink = archive.sink
        self._info = info
        # The uncompressed size and CRC-32 of data that is already compressed are only known as declared.
        self._raw_size = raw_size
        self._read_field = "size" if raw_size is None else "compressed_size"
        info.header_offset = self._sink.tell()
        self._lookahead = lookahead_for(info.filename, info.header_offset, lookahead)
        method: int | None = info.compress_type
        if method == UNCOMPRESSED:
            method, level = uncompressed_method(size, crc32, self._lookahead, encrypted=password is not None), 0
            info.compress_type = ZIP_STORED if method is None else method
        self._seeking = seeking
        if seeking is not None and not has_room_for_index(info.filename):
            raise LimitError(
                f"entry {info.filename[:64]!r}…: the name of its index would have more than {LIMIT16} bytes: use "
                "seekable=False"
            )
        coder = partial(archive.coding.coder, raw=raw_size is not None, password=password, lookahead=self._lookahead)
        self._use(coder(UNCOMPRESSED if method is None else method, level, seeking=seeking))
        self._undecided = self._codec.method is None
        self._promised_size, self._promised_crc, self._pinned = size, crc32, pinned
        self._zip64 = zip64
        self._is_dir = info.filename.endswith("/")
        self._crc32: Crc32 = fastest_crc32() if raw_size is None else lambda _, crc: crc
        self._held: list[tuple[bytes | Hole, bool]] | None = []
        self._size = self._compressed = 0
        self._crc = 0 if raw_size is None else crc32 or 0
        self._over = self._broken = False
        self._emitted = time.monotonic()
        self._handled = sys.exception()  # the caller may already be handling an exception
        if info.header_offset >= LIMIT32:
            self._refuse_zip64("offset", info.header_offset, "begins at byte")
        more = self._codec.overhead or 0
        for field, declared in ((self._read_field, size), ("size", raw_size)):
            if declared is not None and declared >= LIMIT32:
                self._refuse_zip64(field, declared, "declares a size in bytes of")
        if size is not None and size + more >= LIMIT32:
            self._refuse_zip64("compressed_size", size + more, "declares a size in bytes of")

    @property
    def name(self) -> str:
        return self._info.filename

    @property
    def mode(self) -> str:
        return "wb"

    @property
    def left(self) -> bool:
        """Whether any byte of this member is in the archive."""
        return self._held is None

    @property
    def size(self) -> int:
        """Bytes of data written to the member so far."""
        return self._size

    def pieces(self, data: Buffer) -> Iterable[bytes | memoryview]:
        """Split `data` into pieces for `add`, unless it needs no copy. Raises TypeError at once if not a buffer."""
        if type(data) is bytes and (self._stores or len(data) <= self._codec.step):
            return (data,)
        return slices(flat_view(data), self._codec.step)

    def effort(self, size: int | None = None) -> int:
        """Return the work of writing `size` bytes (None: of completing the member), as bytes of CRC-32 by zlib."""
        checksum = (size or 0) // (1 if self._crc32 is zlib.crc32 else _FAST_CHECKSUM)
        return checksum if self._stores else checksum + self._codec.effort(size)

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        """Add `data` to the member; returns its size in bytes.

        Raises:
            SizeMismatchError: if the data exceeds the declared size.
            Zip64RequiredError: if the data needs zip64, which was refused.
            EntryTypeError: if the member is a directory.
        """
        self._refuse_if_over()
        before = self._size
        steps = self.pieces(data)  # an error here leaves the member unchanged
        try:
            for piece in steps:
                self._step(piece)
            return self._size - before
        except BaseException:
            self._break()
            raise
        finally:
            del steps  # releases the buffer even if a traceback keeps this frame

    def add(self, piece: bytes | memoryview) -> None:
        """`write` a single item of `pieces`."""
        if self._broken or self._over:
            self._refuse_if_over()
        try:
            self._step(piece)
        except BaseException:
            self._break()
            raise

    def _step(self, data: bytes | memoryview) -> None:
        self._grow(len(data))
        self._crc = self._crc32(data, self._crc)
        if self._size == self._promised_size:
            self._check_crc()  # before the last piece is written
        if not self._stores:
            coded = self._codec.compress(data)
            if not coded and self._is_awaited():
                coded = self._codec.gather()  # it could be long until the next data pushes it out
            self._emit_coded(coded)
        elif type(data) is bytes:
            self._put(data, len(data), len(data) >= self._sink.chunk_size)
        else:
            self._put(bytes(data), len(data), False)  # the caller may change a mutable buffer later: copy it

    def _grow(self, by: int) -> None:
        size = self._size + by
        if self._promised_size is not None and size > self._promised_size:
            raise self._mismatch("more than")
        if size and self._is_dir:
            raise EntryTypeError(
                f"entry {self.name!r} is a directory, because its name ends with a slash, and cannot have data"
            )
        if size >= LIMIT32:
            self._refuse_zip64(self._read_field, size, "has grown to a size in bytes of")
        self._size = size

    def skip(self, size: int, coded: int) -> None:
        """Write a `Hole` in place of all data: `size` bytes, `coded` bytes in the archive, with the declared CRC-32."""
        self._refuse_if_over()
        try:
            self._grow(size)
            self._crc = self._promised_crc or 0
            self._put(Hole(coded), coded, False)
            self._use(StoredCodec())  # there is no more data to code
        except BaseException:
            self._break()
            raise

    def _is_awaited(self) -> bool:
        """Return whether the consumer may be waiting for the archive's first bytes, or for long for the next ones."""
        return self._sink.tell() == 0 or time.monotonic() - self._emitted >= PATIENCE

    def _emit_coded(self, data: bytes) -> None:
        if self._undecided:
            if self._codec.method is None:
                return
            self._undecided = False
            self._info.compress_type = self._codec.method
            self._use(self._codec.successor())
        if data:
            self._emitted = time.monotonic()
        self._put(data, len(data), self._codec.is_whole and len(data) >= self._sink.chunk_size)

    def _put(self, data: bytes | Hole, size: int, pass_through: bool) -> None:
        self._compressed += size
        if self._compressed >= LIMIT32:
            self._refuse_zip64("compressed_size", self._compressed, "has grown to a compressed size in bytes of")
        if self._held is None:
            self._sink.write(data, pass_through=pass_through)
            return
        if size:  # a compressor that buffers its input returns nothing for most pieces
            self._held.append((data, pass_through and size > STEP))
        if needs_descriptor(self._lookahead, self._size, self._compressed) or (
            self._size and self._promises_all and (self._promised_size or 0) > self._lookahead
        ):
            self.flush_header()

    @property
    def _promises_all(self) -> bool:
        """Whether a complete header can be written before the data."""
        overhead = self._codec.overhead
        if overhead is None or self._promised_size is None:
            return False
        return self._promised_crc is not None or overhead > 0  # the header of an AE-2 member has no CRC-32

    def flush_header(self) -> None:
        """Write the header before the member ends, and then the data that was held back."""
        info = self._info
        if self._promises_all:
            info.CRC = self._promised_crc or 0
            info.file_size = self._promised_size or 0
            info.compress_size = info.file_size + (self._codec.overhead or 0)
        else:
            info.flag_bits |= DESCRIPTOR_FLAG
        if self._raw_size is not None:
            info.file_size = self._raw_size
        known = max(info.file_size, info.compress_size, self._promised_size or 0)
        self._write_header(bool(self._zip64) or known >= LIMIT32)

    def _write_header(self, zip64: bool) -> None:
        held, self._held = self._held or [], None
        if zip64:
            self._archive.zip64_offsets.add(self._info.header_offset)
        self._info.extra = extra_of(self._info)
        self._sink.write(local_header(self._info, zip64=zip64))
        for data, pass_through in held:
            self._sink.write(data, pass_through=pass_through)

    def hurry(self, *, pushes: bool) -> None:
        """Write the blocks that are being compressed; with `pushes`, all data so far and the header.

        Does nothing for a member without data, or while the method still depends on the next data ("auto").
        """
        self._refuse_if_over()
        if not self._size:
            return
        try:
            self._emit_coded(self._codec.push() if pushes else self._codec.gather())
            if pushes and not self._undecided and self._held is not None:
                self.flush_header()
        except BaseException:
            self._break()
            raise

    def close(self) -> None:
        """`finish` the member; if called while an exception is being handled, poison the archive instead.

        Such calls come from a ``finally``, or from a wrapper's ``with`` block that an exception left.
        """
        if self._over:
            return
        handled = sys.exception()
        if handled is not None and handled is not self._handled:
            self._archive.fail(f"entry {self.name!r} was closed while an exception was being handled", silent=True)
        else:
            self.finish()

    def finish(self) -> None:
        """End the member: write its last bytes and any data descriptor, and list it in the central directory."""
        if self._broken:
            self._archive.fail()
            raise PoisonedError(f"entry {self.name!r} failed before: it cannot be completed")
        self._over = True  # first, so that the end is written only once, even after an interrupt
        try:
            self._write_end()
        except BaseException:
            self._break()
            raise
        self._end(self._info)

    def _write_end(self) -> None:
        info = self._info
        if not self._stores:
            self._emit_coded(self._codec.flush())
        self._check_promises()
        if self._held is not None and needs_descriptor(self._lookahead, self._size, self._compressed):
            self.flush_header()
        info.CRC, info.compress_size = self._crc, self._compressed
        info.file_size = self._size if self._raw_size is None else self._raw_size
        if self._held is not None:
            self._write_header(bool(self._zip64) or needs_zip64(info))
        elif info.flag_bits & DESCRIPTOR_FLAG:
            zip64 = info.header_offset in self._archive.zip64_offsets
            self._sink.write(data_descriptor(info, zip64=zip64))
        offsets = self._codec.chunk_offsets()
        if offsets is not None:
            assert self._seeking is not None
            self._sink.write(index_member(info, self._seeking.chunk, offsets))

    def _check_promises(self) -> None:
        if self._promised_size not in (None, self._size):
            raise self._mismatch("not")
        if self._raw_size is not None and not self._size:
            raise SizeMismatchError(
                f"entry {self.name!r}: its source gave 0 bytes, and compressed data is never empty: give all of it"
            )
        self._check_crc()

    def _check_crc(self) -> None:
        if self._promised_crc not in (None, self._crc):
            raise wrong_crc(self.name, self._crc, self._promised_crc or 0)

    def _mismatch(self, relation: str) -> IntegrityError:
        size, is_raw = None if relation == "more than" else self._size, self._raw_size is not None
        return wrong_size(self.name, self._promised_size or 0, size, is_raw=is_raw, pinned=self._pinned)

    def discard(self) -> None:
        """Leave the member out of the archive. Raises StreamStateError if `left`."""
        if self.left:
            raise StreamStateError(f"entry {self.name!r} cannot be left out any more: its header is already written")
        self._release_codec()
        self._end(None)

    def abort(self) -> None:
        """Release resources without ending the member, because the archive is poisoned."""
        self._over = self._broken = True
        self._held = None
        self._release_codec()
        super().close()

    def _use(self, codec: Codec) -> None:
        self._codec = codec
        self._stores = type(codec) is StoredCodec

    def _release_codec(self) -> None:
        codec = self._codec
        self._use(StoredCodec())  # frees the codec's memory even if the caller keeps this object
        codec.close()

    def _end(self, info: ZipInfo | None) -> None:
        self._over = True
        self._archive.member_ended(info)
        super().close()

    def _break(self) -> None:
        self._broken = True
        if self.left:
            self._archive.fail()

    def _refuse_if_over(self) -> None:
        if self._broken:
            raise PoisonedError(f"entry {self.name!r} failed before: nothing can be added to it")
        if self._over:
            raise ValueError(f"I/O operation on closed file: entry {self.name!r} has ended")

    def _refuse_zip64(self, field: str, value: int, what: str) -> None:
        if self._zip64 is False:
            raise Zip64RequiredError(f"entry {self.name!r} {what} {value}: that needs zip64, which was refused", field)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is not None:
            self._archive.fail(f"entry {self.name!r} was left by an exception")
        elif not self._over:
            self.finish()  # not close(): an outer caller may be handling an exception of its own

    def __del__(self) -> None:
        # io's finalizer would call close(), which completes a member that a failure left open.
        pass

    def _dealloc_warn(self, source: object) -> None:
        # io's wrappers call this, and then close(), if they are dropped without being closed.
        if not self._over:
            self._archive.fail(f"entry {self.name!r} was dropped without being closed", silent=True)
