"""A gzip file (RFC 1952) as a deflated member: its data is passed on without recompression.

CRC-32 and size come from the trailer. While the data is read from its beginning to its end, it is also decompressed,
which shows whether the trailer is right, and whether the file has one gzip member.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, NamedTuple, cast

from .._buffers import RangeFile, flat_view
from .._checks import check_choice, shown_half_made, typed_repr
from .._format.timestamps import EARLIEST, date_of
from ..errors import (
    BadArchiveError,
    CRC32MismatchError,
    EntryError,
    EntryTypeError,
    SizeMismatchError,
    SourceChangedError,
)
from .files.regular import open_regular
from .foreign.readers import is_seekable

_MAGIC, _DEFLATE = b"\x1f\x8b", 8
_HEADER_CRC, _EXTRA, _NAME, _COMMENT, _RESERVED = 0x02, 0x04, 0x08, 0x10, 0xE0  # flags
_LEAST_SIZE = 10 + 2 + 8  # header, an empty deflate stream, trailer
_MAX_HEADER = 1 << 17
_STEP = 1 << 18  # bytes to decompress at a time
_WRAP = 1 << 32
_ENDINGS = {".gz": "", ".tgz": ".tar", ".svgz": ".svg"}
# Stored blocks make the longest stream: 5 bytes more for each. No encoder makes blocks of less data than this.
_MIN_BLOCK = 1 << 12


class GzipFacts(NamedTuple):
    """The values in header and trailer.

    Attributes:
        start, stop: the deflate stream's place in the file, in bytes.
        crc32, size: of the data; the size is modulo 2**32.
        name: the name in the header, without directories; "" if there is none.
        modified: the date in the header; None if there is none.
    """

    start: int
    stop: int
    crc32: int
    size: int
    name: str
    modified: datetime | None


def find(source: Any, name: str | None, several: str, size: int | None, options: Mapping[str, Any]) -> tuple[
    str, Any, dict[str, Any], bool
]:  # fmt: skip
    """Return an entry's name, source and options, and whether it is a raw entry. See `Entry.from_gzip`."""
    check_choice("several", several, ("error", "recompress"))
    opened = _Opener.of(source)
    with opened() as file:
        facts = _facts_of(file, opened.what)
        known: dict[str, Any] = {"modified": facts.modified, **opened.facts(file), **options}
        if facts.modified is not None and "modified" not in options:
            known["modified"] = facts.modified
        is_one = several == "error" or _has_one_member(file, facts)
    name = _name_of(source, facts, opened.what) if name is None else name
    if not is_one:
        return name, _Decompressed(opened), known, False
    total = facts.size if size is None else size
    if total % _WRAP != facts.size:
        raise SizeMismatchError(f"{opened.what}: size={total}, but its trailer states {facts.size} (modulo 2**32)")
    length = facts.stop - facts.start
    # If the stream is longer than stored blocks of this size would be, the size has wrapped around.
    if length > total + 5 * (total // _MIN_BLOCK + 1) + 64 and size is None:
        raise SizeMismatchError(
            f"{opened.what} has 4 GiB of data or more, of which its trailer states only the size modulo 2**32, "
            f"{facts.size}; or it has several members: give size=, or several='recompress'"
        )
    raw = {"compression": "deflate", "size": total, "crc32": facts.crc32, "compressed_size": length}
    return name, _Deflated(opened, facts, total), {**known, **raw}, True


@shown_half_made
@dataclass(frozen=True)
class _Opener:
    """Opens the gzip file. Can be pickled if its source can.

    Attributes:
        source: a path, bytes, a seekable file, or a callable that returns bytes or a seekable file.
        pin: size and modification time in nanoseconds of the file at a path; else None.
        start: position of a file object when it was given.
    """

    source: Any
    pin: tuple[int, int] | None
    start: int

    @classmethod
    def of(cls, source: Any) -> _Opener:
        if isinstance(source, str | os.PathLike):
            path = os.fspath(source)
            if not isinstance(path, str):
                raise EntryTypeError(f"path {path!r}: give a str or a path object (os.fsdecode turns bytes into a str)")
            path = os.path.abspath(path)
            with open_regular(path) as file:
                info = os.fstat(file.fileno())
            return cls(path, (info.st_size, info.st_mtime_ns), 0)
        if callable(source) or isinstance(source, bytes | bytearray | memoryview):
            return cls(source, None, 0)
        if is_seekable(source):
            return cls(source, None, source.tell())
        raise EntryTypeError(
            f"source={typed_repr(source)}: CRC-32 and size stand at the end of a gzip file: give a path, bytes, a "
            "seekable binary file, or a callable that returns one of the last two"
        )

    @property
    def what(self) -> str:
        """Name of the source in errors."""
        return f"gzip file {self.source!r}" if self.pin is not None else f"gzip data {typed_repr(self.source)}"

    def __call__(self) -> IO[bytes]:
        if self.pin is not None:
            file = open_regular(self.source)
            info = os.fstat(file.fileno())
            if (info.st_size, info.st_mtime_ns) != self.pin:
                file.close()
                raise SourceChangedError(f"{self.what} has changed since Entry.from_gzip looked at it")
            return io.BufferedReader(file)
        given = self.source() if callable(self.source) else self.source
        if isinstance(given, bytes | bytearray | memoryview):
            return io.BytesIO(flat_view(given))
        if not is_seekable(given):
            raise EntryTypeError(f"{self.what} returned {typed_repr(given)}: return bytes or a seekable binary file")
        if callable(self.source):
            return cast("IO[bytes]", _From(given, given.tell(), closes=True))
        return cast("IO[bytes]", _From(given, self.start, closes=False))

    def facts(self, file: IO[bytes]) -> dict[str, Any]:
        """Return date and mode of the file at a path, as options of an entry."""
        if self.pin is None:
            return {}
        info = os.fstat(file.fileno())
        return {"modified": date_of(info), "mode": info.st_mode}


class _From(io.RawIOBase):
    """The rest of a file object, as a file of its own."""

    _closes = False

    def __init__(self, file: Any, start: int, *, closes: bool) -> None:
        self._file, self._start, self._closes = file, start, closes
        file.seek(start)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        place: int = self._file.seek(offset + self._start if whence == os.SEEK_SET else offset, whence)
        return place - self._start

    def readinto(self, buffer: Any, /) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self._file.read(len(view))
            if not isinstance(data, bytes | bytearray | memoryview):
                raise EntryTypeError(f"a gzip file gave {typed_repr(data)}: open it in binary mode")
            view[: len(data)] = data
            return len(data)

    def close(self) -> None:
        if not self.closed and self._closes:
            self._file.close()
        super().close()


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    parts: list[bytes] = []
    while size and (data := file.read(size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _facts_of(file: IO[bytes], what: str) -> GzipFacts:
    """Read header and trailer. Raises BadArchiveError if they are not those of a gzip file."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = _read_exactly(file, min(end, _MAX_HEADER))
    if head[:2] != _MAGIC:
        raise BadArchiveError(f"{what} is not a gzip file: it begins with {head[:4]!r}")
    if end < _LEAST_SIZE or len(head) < 10:
        raise BadArchiveError(f"{what} is cut short: it has {end} bytes")
    _, method, flags, seconds, _, _ = struct.unpack_from("<2sBBLBB", head)
    if method != _DEFLATE or flags & _RESERVED:
        raise BadArchiveError(f"{what} cannot be read: method {method}, flags {flags:#04x}")
    at, name = 10, b""
    try:
        if flags & _EXTRA:
            at += 2 + struct.unpack_from("<H", head, at)[0]
        if flags & _NAME:
            stop = head.index(0, at)
            name, at = head[at:stop], stop + 1
        if flags & _COMMENT:
            at = head.index(0, at) + 1
    except (ValueError, struct.error):
        raise BadArchiveError(f"{what} cannot be read: its header does not end within {len(head)} bytes") from None
    if flags & _HEADER_CRC:
        at += 2
    if at > end - 10:
        raise BadArchiveError(f"{what} is cut short: its header ends at byte {at} of {end}")
    file.seek(end - 8)
    crc32, size = struct.unpack("<2L", _read_exactly(file, 8))
    modified = datetime.fromtimestamp(seconds, UTC) if seconds >= EARLIEST.timestamp() else None
    return GzipFacts(at, end - 8, crc32, size, name.decode("latin-1").rpartition("/")[2], modified)


def _name_of(source: Any, facts: GzipFacts, what: str) -> str:
    if isinstance(source, str | os.PathLike):
        base = os.path.basename(os.fspath(source))
        root, ending = os.path.splitext(base)
        return root + _ENDINGS[ending.lower()] if root and ending.lower() in _ENDINGS else base
    if not facts.name:
        raise EntryError(f"{what} has no name in its header: give name=")
    return facts.name


def _has_one_member(file: IO[bytes], facts: GzipFacts) -> bool:
    """Whether the file's first deflate stream reaches to its trailer. Reads it to its end."""
    file.seek(facts.start)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    left = facts.stop - facts.start
    try:
        while left and not inflate.eof:
            data = file.read(min(_STEP, left))
            if not data:
                return False
            left -= len(data)
            while data and not inflate.eof:
                inflate.decompress(data, _STEP)
                data = inflate.unconsumed_tail
    except zlib.error:
        return True  # reading it raises the error
    return not left and not inflate.unused_data


@shown_half_made
@dataclass(frozen=True)
class _Deflated:
    """Callable source: the deflate stream of a gzip file."""

    opener: _Opener
    facts: GzipFacts
    size: int

    def __call__(self) -> _DeflateFile:
        return _DeflateFile(self.opener(), self)


class _DeflateFile(RangeFile):
    """The deflate stream of a gzip file. It is checked while it is read from the beginning on."""

    _file: IO[bytes] | None = None

    def __init__(self, file: IO[bytes], source: _Deflated) -> None:
        super().__init__(source.facts.stop - source.facts.start)
        self._file = file
        self._source = source
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._checked = 0  # bytes that have been checked
        self._got = self._crc = 0

    def _read(self, size: int) -> bytes:
        assert self._file is not None
        facts = self._source.facts
        wanted = min(size, self._size - self._at)
        self._file.seek(facts.start + self._at)
        data = self._file.read(wanted) if wanted else b""
        if len(data) < wanted and not data:
            raise SourceChangedError(f"{self._what} ends at byte {facts.start + self._at}: it was cut meanwhile")
        if self._at == self._checked and data:
            self._check(data)
        return data

    @property
    def _what(self) -> str:
        return self._source.opener.what

    def _check(self, data: bytes) -> None:
        self._checked += len(data)
        try:
            while data and not self._inflate.eof:
                plain = self._inflate.decompress(data, _STEP)
                data = self._inflate.unconsumed_tail
                self._crc = zlib.crc32(plain, self._crc)
                self._got += len(plain)
            while self._checked == self._size and not self._inflate.eof:
                plain = self._inflate.decompress(b"", _STEP)  # the rest of the output
                if not plain:
                    break
                self._crc = zlib.crc32(plain, self._crc)
                self._got += len(plain)
        except zlib.error as exc:
            raise BadArchiveError(f"{self._what} cannot be decompressed: {exc}") from exc
        facts = self._source.facts
        if self._inflate.eof and (self._inflate.unused_data or self._checked < self._size):
            raise BadArchiveError(
                f"{self._what} has several members, or other data behind the first one: give several='recompress'"
            )
        if self._checked < self._size:
            return
        if not self._inflate.eof:
            raise BadArchiveError(f"{self._what} is broken: its deflate stream does not end before its trailer")
        if self._got != self._source.size:
            advice = f": give size={self._got}" if self._got % _WRAP == facts.size else ""
            raise SizeMismatchError(f"{self._what} has {self._got} bytes of data, not {self._source.size}{advice}")
        if self._crc != facts.crc32:
            raise CRC32MismatchError(
                f"{self._what} is broken: the CRC-32 of its data is {self._crc:#010x}, not {facts.crc32:#010x}"
            )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


@shown_half_made
@dataclass(frozen=True)
class _Decompressed:
    """Callable source: the data of all members of a gzip file."""

    opener: Callable[[], IO[bytes]]

    def __call__(self) -> IO[bytes]:
        return cast("IO[bytes]", _Plain(self.opener()))


class _Plain(gzip.GzipFile):
    """Decompresses, and closes the compressed file with itself."""

    _compressed: IO[bytes] | None = None

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._compressed = file

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._compressed is not None:
                self._compressed.close()
