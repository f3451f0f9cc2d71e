"""Compressed data in temporary objects: how workers make it, and how it is read again.

A worker compresses a share of the members, and puts the output of all into one object, a pack. Short output it returns.
A long member is made by several workers: each compresses a piece, with the data before the piece as dictionary.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._buffers import ChunkedFile, flat_view, slices
from ..._checks import shown_half_made
from ..._compression.block_deflate import BlockDeflate
from ..._compression.codecs import CodecFactory
from ..._compression.crc32 import fastest_crc32
from ..._compression.engines import WINDOW, Engine
from ..._entries.entry import Entry
from ..._entries.error_notes import name_entry
from ..._entries.source import FILE_READ, OpenSource
from ..._layout.rereading import PinnedSource, read_range
from ..object_source import FromStore, find
from .object_writer import ObjectWriter, open_object

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Job(NamedTuple):
    """A member, or a piece of one, to be compressed.

    Attributes:
        pin: the source, and the facts that must still be true of it. Its size is -1 if it is not known.
        start, stop: the piece of the data.
        method, level: the compression.
    """

    pin: PinnedSource
    start: int
    stop: int
    method: int
    level: int | None

    @property
    def is_piece(self) -> bool:
        """Whether it is not all of the member."""
        return self.stop - self.start != self.pin.size and self.pin.size >= 0


class Made(NamedTuple):
    """The result of a `Job`.

    Attributes:
        crc, size: CRC-32 of the data, and its size in bytes.
        data: the compressed data; None if it is in the pack.
        start, stop: its place in the pack.
        modified, mode: of the file that a callable returned the path of; else None.
    """

    crc: int
    size: int
    data: bytes | None
    start: int = 0
    stop: int = 0
    modified: datetime | None = None
    mode: int | None = None

    @property
    def compressed_size(self) -> int:
        """Bytes of compressed data."""
        return self.stop - self.start if self.data is None else len(self.data)


class PackTarget(NamedTuple):
    """Where a worker puts its pack.

    Attributes:
        store, prefix: the store, and how the path of the object begins.
        part_size: bytes up to which a pack is sent by one request. If a worker is killed, no unfinished upload is left.
        max_inline: bytes of compressed data up to which a member is returned instead.
    """

    store: Any
    prefix: str
    part_size: int
    max_inline: int


class PackVersion(NamedTuple):
    """A pack that was written, without its store."""

    path: str
    size: int
    etag: str | None
    modified: datetime

    def in_store(self, store: Any) -> FromStore:
        """Return the pack as a source."""
        return FromStore(store, self.path, self.size, self.etag, self.modified)


def compress_share(jobs: list[Job], engine: Engine, target: PackTarget | None) -> tuple[list[Made], PackVersion | None]:
    """Compress the data of `jobs`. Runs on the worker. An error names the entry. Without a target all is returned."""
    coding = CodecFactory(engine, 0)
    pack = None if target is None else _Pack(target)
    try:
        made = []
        for job in jobs:
            try:
                made.append(_compress(job, coding, pack))
            except Exception as exc:
                name_entry(exc, Entry(job.pin.name), 0)
                raise
        return made, None if pack is None else pack.close()
    except BaseException:
        if pack is not None:
            pack.abort()
        raise
    finally:
        coding.close()


def _compress(job: Job, coding: CodecFactory, pack: _Pack | None) -> Made:
    codec, crc32 = coding.compressor(job.method, job.level), fastest_crc32()
    output = _Output(pack, job)
    crc = size = 0
    skipped = min(job.start, WINDOW)
    try:
        with closing(_Reading(job, skipped)) as reading:
            if skipped:
                assert isinstance(codec, BlockDeflate)
                codec.follow(reading.dictionary)
            for chunk in reading:
                crc = crc32(chunk, crc)
                size += len(chunk)
                output.add(codec.compress(chunk))
            # A piece that others follow ends with a block.
            output.add(codec.flush() if not job.is_piece or job.stop == job.pin.size else codec.gather())
        return output.as_made(crc, size, reading.modified, reading.mode)
    finally:
        codec.close()


class _Reading(Iterator["bytes | memoryview"]):
    """The data of a job, in pieces for a codec.

    Attributes:
        dictionary: the `skipped` bytes before the data.
        modified, mode: of the file that a callable of unknown size returned the path of.
    """

    def __init__(self, job: Job, skipped: int) -> None:
        self.modified: datetime | None = None
        self.mode: int | None = None
        self._chunks = self._opened(job, skipped)
        self.dictionary = b""
        while len(self.dictionary) < skipped:
            chunk = next(self._chunks)
            taken = skipped - len(self.dictionary)
            self.dictionary += bytes(chunk[:taken])
            self._left = bytes(chunk[taken:])
        self._pieces = self._cut()

    _left = b""

    def _opened(self, job: Job, skipped: int) -> Generator[Any, None, None]:
        if job.pin.size >= 0:
            return read_range(job.pin, job.start - skipped, job.stop)
        return self._unknown(job.pin)

    def _unknown(self, pin: PinnedSource) -> Generator[Any, None, None]:
        with closing(OpenSource(Entry(pin.name, pin.source), FILE_READ)) as opened:
            if opened.facts is not None:
                self.modified, self.mode = opened.facts.modified, opened.facts.mode
            yield from opened

    def _cut(self) -> Generator[bytes | memoryview, None, None]:
        if self._left:
            yield self._left
        for chunk in self._chunks:
            if type(chunk) is bytes and len(chunk) <= FILE_READ:
                yield chunk
            else:
                yield from slices(flat_view(chunk), FILE_READ)

    def __next__(self) -> bytes | memoryview:
        return next(self._pieces)

    def close(self) -> None:
        self._pieces.close()
        self._chunks.close()


class _Pack:
    """The object of one share; it is begun with the first output that is not returned."""

    def __init__(self, target: PackTarget) -> None:
        self.max_inline = target.max_inline
        self._target = target
        self._file: ObjectWriter | None = None

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return 0 if self._file is None else self._file.tell()

    def write(self, data: Buffer) -> None:
        if self._file is None:
            # Another worker may do the same again, after this one was lost.
            path = f"{self._target.prefix}-{secrets.token_hex(4)}"
            self._file = open_object(
                self._target.store, path, part_size=self._target.part_size, max_concurrency=1, attributes={}
            )
        self._file.write(data)

    def close(self) -> PackVersion | None:
        """Complete the object. Returns None if nothing was written."""
        if self._file is None:
            return None
        self._file.close()
        found, _ = find(self._target.store, str(self._file.name), {"checksum": False})
        return PackVersion(found.path, found.size, found.etag, found.modified)

    def abort(self) -> None:
        if self._file is not None:
            self._file.abort()


class _Output:
    """The compressed data of one job: held while it is short, then written to the pack."""

    def __init__(self, pack: _Pack | None, job: Job) -> None:
        self._pack = pack
        self._most = -1 if job.is_piece else pack.max_inline if pack is not None else 0
        self._start = pack.size if pack is not None else 0
        self._held: list[bytes] | None = []
        self._size = 0

    def add(self, data: bytes) -> None:
        if not data:
            return
        self._size += len(data)
        if self._held is None:
            assert self._pack is not None
            self._pack.write(data)
            return
        self._held.append(data)
        if self._pack is not None and self._size > self._most:
            self._pack.write(b"".join(self._held))
            self._held = None

    def as_made(self, crc: int, size: int, modified: datetime | None, mode: int | None) -> Made:
        data = None if self._held is None else b"".join(self._held)
        return Made(crc, size, data, self._start, self._start + self._size, modified, mode)


class Slice(NamedTuple):
    """Bytes `start` to `stop` of a pack."""

    pack: FromStore
    start: int
    stop: int


@shown_half_made
@dataclass(frozen=True)
class FromPacks:
    """Callable source that opens slices of packs, one after another, as one seekable file. Can be pickled.

    Attributes:
        slices: the slices.
        first: offset in the data of the first slice. What is before it cannot be read.
    """

    slices: tuple[Slice, ...]
    first: int = 0

    def __call__(self) -> _PackedFile:
        return _PackedFile(self.slices, self.first)

    @property
    def data_tag(self) -> bytes | None:
        """See `FromStore.data_tag`."""
        tags = [each.pack.data_tag for each in self.slices]
        if None in tags:
            return None
        return b"\0".join(
            b"%b\0%d\0%d" % (tag or b"", each.start, each.stop) for tag, each in zip(tags, self.slices, strict=True)
        )

    def narrowed_to(self, start: int, stop: int) -> FromPacks:
        """Return a source of the data from `start` to `stop` only, at the same offsets."""
        kept, first, at = [], None, self.first
        for each in self.slices:
            begins, at = at, at + each.stop - each.start
            if begins < stop and start < at:
                first = begins if first is None else first
                kept.append(each)
        return FromPacks(tuple(kept), self.first if first is None else first)


class _PackedFile(ChunkedFile):
    def __init__(self, slices: tuple[Slice, ...], first: int) -> None:
        super().__init__(first + sum(each.stop - each.start for each in slices))
        self._slices = slices
        self._first = first

    def _open(self, wanted: int) -> Generator[Buffer, None, None]:
        assert self._at >= self._first
        return self._from(self._at - self._first)

    def _from(self, place: int) -> Generator[Buffer, None, None]:
        for pack, start, stop in self._slices:
            skipped = min(place, stop - start)
            place -= skipped
            if start + skipped < stop:
                with closing(pack.as_object().chunks(start + skipped, stop)) as chunks:
                    yield from chunks

    def _read(self, size: int) -> memoryview:
        try:
            return super()._read(size)
        except BaseException:
            self._drop()  # the request may be in an undefined state: start anew
            raise
