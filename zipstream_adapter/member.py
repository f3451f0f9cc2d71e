"""MemberWriter: one member while it is written: checksum, compressor, promises, and the late header."""

from __future__ import annotations

import io
import sys
import time
import zlib
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol
from zipfile import ZIP_STORED, ZipInfo

from .checksum import Crc32, fastest_crc32
from .coding import STEP, Coding, Encrypted, StoreOrDeflate, effort_of, gathered, overhead_of, step_of
from .compress import AUTO
from .errors import (
    CRC32MismatchError,
    EntryTypeError,
    IntegrityError,
    PoisonedError,
    SizeMismatchError,
    SourceChangedError,
    StreamStateError,
    Zip64RequiredError,
)
from .lookahead import outlasts
from .records import DESCRIPTOR_FLAG, LIMIT32, data_descriptor, local_header, needs_zip64
from .sink import Gap
from .source import close_of, flat_view, slices

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from .sink import FileSink, StreamSink

# Seconds after which what is there is handed over, however little it is.
PATIENCE = 0.1
# The checksums of the extra `fast` are at least so many times as fast as zlib's.
_FAST_CHECKSUM = 8


class Archive(Protocol):
    """What a member needs of its archive."""

    sink: StreamSink | FileSink
    zip64_offsets: set[int]
    coding: Coding

    def member_ended(self, info: ZipInfo | None) -> None: ...

    def fail(self, reason: str = "", *, silent: bool = False) -> None: ...


class MemberWriter(io.BufferedIOBase):
    """One member while it is written: a file object that takes bytes.

    Its local header is held back together with up to `lookahead` bytes of output (and 16 times as many of input).
    A member that ends first gets a complete header; otherwise the header leaves with bit 3 set, and a data
    descriptor follows the data (APPNOTE 4.4.4). Leaving a ``with`` block by an exception poisons the archive; so does
    any failure in here once the header has left. Before that, `discard` can still leave the member out.
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
    ) -> None:
        self._archive = archive
        self._sink = archive.sink
        self._info = info
        # Of data that is compressed already, nothing is known here but what was said.
        self._raw_size = raw_size
        self._read_field = "size" if raw_size is None else "compressed_size"
        self._compressor = archive.coding.coder(info.compress_type, level, raw=raw_size is not None, password=password)
        self._undecided = info.compress_type == AUTO
        self._promised_size, self._promised_crc, self._pinned = size, crc32, pinned
        self._zip64, self._lookahead = zip64, lookahead
        self._is_dir = info.filename.endswith("/")
        self._crc32: Crc32 = fastest_crc32() if raw_size is None else lambda _, crc: crc
        self._held: list[tuple[bytes | Gap, bool]] | None = []
        self._size = self._compressed = 0
        self._crc = 0 if raw_size is None else crc32 or 0
        self._over = self._broken = False
        self._emitted = time.monotonic()
        self._handled = sys.exception()  # whoever opens this may be handling one already
        info.header_offset = self._sink.tell()
        if info.header_offset >= LIMIT32:
            self._refuse_zip64("offset", info.header_offset, "begins at byte")
        more = overhead_of(self._compressor) or 0
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
        """Whether any byte of this member has gone into the archive."""
        return self._held is None

    @property
    def size(self) -> int:
        """Bytes written to it so far."""
        return self._size

    def pieces(self, data: Buffer) -> Iterable[bytes | memoryview]:
        """`data` as it is where it passes without a copy, else in steps; TypeError, at once, for what is no buffer."""
        if self._compressor is None and type(data) is bytes:
            return (data,)
        step = step_of(self._compressor)
        if type(data) is bytes and len(data) <= step:
            return (data,)
        return slices(flat_view(data), step)

    def effort(self, size: int | None = None) -> int:
        """What writing `size` bytes takes, or, without, completing the member: in bytes for zlib's CRC-32."""
        if self._compressor is None:
            return (size or 0) // (1 if self._crc32 is zlib.crc32 else _FAST_CHECKSUM)
        return effort_of(self._compressor, size)

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        """Add `data` to the member; returns its size in bytes.

        Raises SizeMismatchError at the first byte beyond the declared size, Zip64RequiredError at the first that
        needs a refused zip64, EntryTypeError for data in a directory.
        """
        self._refuse_if_over()
        before = self._size
        steps = self.pieces(data)  # what is refused here leaves the member as it was
        try:
            for piece in steps:
                self._step(piece)
            return self._size - before
        except BaseException:
            self._break()
            raise
        finally:
            del steps  # with it goes the hold on the buffer, even where a traceback keeps this frame

    def add(self, piece: bytes | memoryview) -> None:
        """`write` one of the `pieces` that data was cut to."""
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
            self._check_crc()  # before the last of it leaves
        if self._compressor is not None:
            coded = self._compressor.compress(data)
            if not coded and self._is_awaited():
                coded = gathered(self._compressor)  # it could be long until the next data pushes it out
            self._emit_coded(coded)
        elif type(data) is bytes:
            self._put(data, len(data), len(data) >= self._sink.chunk_size)
        else:
            self._put(bytes(data), len(data), False)  # only what cannot change any more may be kept without a copy

    def _grow(self, by: int) -> None:
        size = self._size + by
        if self._promised_size is not None and size > self._promised_size:
            raise self._mismatch("more than")
        if size and self._is_dir:
            raise EntryTypeError(f"entry {self.name!r} is a directory, by the slash at its end, and has no data")
        if size >= LIMIT32:
            self._refuse_zip64(self._read_field, size, "has grown to a size in bytes of")
        self._size = size

    def skip(self, size: int, coded: int) -> None:
        """Stand in for all data: `size` bytes, `coded` ones in the archive, with the promised CRC-32. See `Gap`."""
        self._refuse_if_over()
        try:
            self._grow(size)
            self._crc = self._promised_crc or 0
            self._put(Gap(coded), coded, False)
            self._compressor = None
        except BaseException:
            self._break()
            raise

    def _is_awaited(self) -> bool:
        """Whether somebody may be waiting for this archive's first bytes, or for its next ones for long."""
        return self._sink.tell() == 0 or time.monotonic() - self._emitted >= PATIENCE

    def _emit_coded(self, data: bytes) -> None:
        if self._undecided:
            assert isinstance(self._compressor, StoreOrDeflate | Encrypted)
            method = self._compressor.method
            if method is None:
                return
            self._undecided = False
            self._info.compress_type = method
            if method == ZIP_STORED:
                self._compressor = self._compressor.without_inner()
        if data:
            self._emitted = time.monotonic()
        # Stored data that is encrypted comes as large as it was, and need not be copied again.
        self._put(data, len(data), bool(overhead_of(self._compressor)) and len(data) >= self._sink.chunk_size)

    def _put(self, data: bytes | Gap, size: int, whole: bool) -> None:
        self._compressed += size
        if self._compressed >= LIMIT32:
            self._refuse_zip64("compressed_size", self._compressed, "has grown to a compressed size in bytes of")
        if self._held is None:
            self._sink.write(data, whole=whole)
            return
        if size:  # a compressor that gathers gives nothing for most of what it gets, however small that is
            self._held.append((data, whole and size > STEP))
        if outlasts(self._lookahead, self._size, self._compressed) or (
            self._size and self._promises_all and (self._promised_size or 0) > self._lookahead
        ):
            self.release()

    @property
    def _promises_all(self) -> bool:
        """Whether a complete header can be written before the data."""
        overhead = overhead_of(self._compressor)
        if overhead is None or self._promised_size is None:
            return False
        return self._promised_crc is not None or overhead > 0  # which leaves the CRC-32 out

    def release(self) -> None:
        """Let the header go before the member's end, and what was held back behind it."""
        info = self._info
        if self._promises_all:
            info.CRC = self._promised_crc or 0
            info.file_size = self._promised_size or 0
            info.compress_size = info.file_size + (overhead_of(self._compressor) or 0)
        else:
            info.flag_bits |= DESCRIPTOR_FLAG
        if self._raw_size is not None:
            info.file_size = self._raw_size
        known = max(info.file_size, info.compress_size, self._promised_size or 0)
        self._let_go(bool(self._zip64) or known >= LIMIT32)

    def _let_go(self, zip64: bool) -> None:
        held, self._held = self._held or [], None
        if zip64:
            self._archive.zip64_offsets.add(self._info.header_offset)
        self._sink.write(local_header(self._info, zip64=zip64))
        for data, whole in held:
            self._sink.write(data, whole=whole)

    def close(self) -> None:
        """`complete` the member, unless it is closed because of an exception: that poisons the archive.

        Such is the close() of a ``finally``, or of a wrapper's ``with`` block that an exception left.
        """
        if self._over:
            return
        handled = sys.exception()
        if handled is not None and handled is not self._handled:
            self._archive.fail(f"entry {self.name!r} was closed while an exception was being handled", silent=True)
        else:
            self.complete()

    def complete(self) -> None:
        """End the member: its last bytes, its descriptor where it needs one, its place in the directory."""
        if self._broken:
            self._archive.fail()
            raise PoisonedError(f"entry {self.name!r} failed before: it cannot be completed")
        self._over = True  # once, even where an interrupt comes in between
        try:
            self._write_end()
        except BaseException:
            self._break()
            raise
        self._end(self._info)

    def _write_end(self) -> None:
        info = self._info
        if self._compressor is not None:
            self._emit_coded(self._compressor.flush())
        self._check_promises()
        info.CRC, info.compress_size = self._crc, self._compressed
        info.file_size = self._size if self._raw_size is None else self._raw_size
        if self._held is not None:
            self._let_go(bool(self._zip64) or needs_zip64(info))
        elif info.flag_bits & DESCRIPTOR_FLAG:
            zip64 = info.header_offset in self._archive.zip64_offsets
            self._sink.write(data_descriptor(info, zip64=zip64))

    def _check_promises(self) -> None:
        if self._promised_size not in (None, self._size):
            raise self._mismatch("not")
        if self._raw_size is not None and not self._size:
            raise SizeMismatchError(f"entry {self.name!r}: its source gave nothing, which no method makes of any data")
        self._check_crc()

    def _check_crc(self) -> None:
        if self._promised_crc not in (None, self._crc):
            raise CRC32MismatchError(
                f"entry {self.name!r}: its data has the CRC-32 {self._crc:#010x}, not the declared "
                f"{self._promised_crc:#010x}"
            )

    def _mismatch(self, relation: str) -> IntegrityError:
        if self._pinned:
            change, gave = ("grew", "more") if relation == "more than" else ("shrank", str(self._size))
            return SourceChangedError(
                f"entry {self.name!r}: its file {change} while it was read: it had {self._promised_size} bytes, "
                f"and gave {gave}. Pass open(path, 'rb') as the source to take what there is"
            )
        data = "data" if self._raw_size is None else "compressed data"
        given = f"{self._size} bytes of {data}" if relation == "not" else data
        return SizeMismatchError(
            f"entry {self.name!r}: it has {given}, {relation} the declared {self._promised_size} bytes"
        )

    def discard(self) -> None:
        """Leave the member out. Only while no byte of it has gone into the archive (`left`)."""
        if self.left:
            raise StreamStateError(f"entry {self.name!r} cannot be left out any more: its header has left")
        self._release_compressor()
        self._end(None)

    def drop(self) -> None:
        """Let go without ending the member: the archive is poisoned."""
        self._over = self._broken = True
        self._held = None
        self._release_compressor()
        super().close()

    def _release_compressor(self) -> None:
        close = close_of(self._compressor)
        self._compressor = None  # and with it what it holds, however long somebody keeps this member
        if close is not None:
            close()

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
            self.complete()  # and not close(): a caller far above may be handling an exception of its own

    def __del__(self) -> None:
        # io's finaliser would close, and so complete, a member that a failure left open.
        pass

    def _dealloc_warn(self, source: object) -> None:
        # io's wrappers call this, and close() after it, where they are dropped and not closed.
        if not self._over:
            self._archive.fail(f"entry {self.name!r} was dropped without being closed", silent=True)
