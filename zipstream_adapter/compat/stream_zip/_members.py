"""The methods of `compat.stream_zip`, and the conversion of its member tuples to entries."""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

from ..._buffers import close_of
from ..._checks import shown_half_made, whole
from ..._compression.codec import Codec, ObjectCodec
from ..._compression.codecs import CodecFactory, Coded
from ..._compression.crc32 import fastest_crc32
from ..._concurrency.offload import on_thread
from ..._entries.entry import Entry
from ..._format.records import CENTRAL_HEADER_SIZE, LIMIT16, LIMIT32
from ..._format.timestamps import DosDateTime, extended_timestamp
from ...errors import CRC32MismatchError, OptionError, SizeMismatchError, Zip64RequiredError
from .._contexts import OwnContext
from .._positions import as_it_stands
from ._errors import (
    CentralDirectoryNumberOfEntriesOverflowError,
    CentralDirectorySizeOverflowError,
    CompressedSizeOverflowError,
    CRC32IntegrityError,
    NameLengthOverflowError,
    OffsetOverflowError,
    UncompressedSizeIntegrityError,
    UncompressedSizeOverflowError,
    ZipOverflowError,
    ZipValueError,
)

if TYPE_CHECKING:
    from ..._compression.encryption import Salt

# Uncompressed size from which incompressible data may reach 4 GiB after deflate.
_MAY_NEED_ZIP64 = 4293656842
# zlib's default level, and the level it stands for.
_ZLIB_DEFAULT = (-1, 6)
# The error for each field that needs zip64.
_OVERFLOWS: dict[str | None, type[ZipOverflowError]] = {
    "size": UncompressedSizeOverflowError,
    "compressed_size": CompressedSizeOverflowError,
    "offset": OffsetOverflowError,
}


class Method:
    """How a member is stored: one of ZIP_32, ZIP_64, ZIP_AUTO(size), NO_COMPRESSION_32, NO_COMPRESSION_64.

    Attributes:
        compression: compression method, as in `zipfile`.
        level: compression level, or None if the method does not specify one.
        zip64: whether the local file header is zip64. False: a member that needs zip64 is refused. None: zip64 is used
            if the member needs it or begins over 4 GiB.
        size, crc32: declared size in bytes and CRC-32 of the data, or None.
    """

    compression = ZIP_DEFLATED
    level: int | None = None
    zip64: bool | None = None
    size: int | None = None
    crc32: int | None = None

    @property
    def is_buffered(self) -> bool:
        """Whether all data must be read in advance to learn its size and CRC-32."""
        return self.compression == ZIP_STORED and self.size is None


class _Deflated(Method):
    def __init__(self, zip64: bool | None, level: int | None = None) -> None:
        self.zip64 = zip64
        self.level = level


class _Stored(Method):
    compression = ZIP_STORED

    def __init__(self, zip64: bool, size: int | None = None, crc32: int | None = None) -> None:
        self.zip64 = zip64
        self.size = size
        self.crc32 = crc32

    def __call__(self, uncompressed_size: int, crc_32: int) -> Method:
        """Return this method with a declared size (in bytes) and CRC-32: data is then streamed and checked."""
        return _Stored(bool(self.zip64), uncompressed_size, crc_32)


class _Auto:
    def __call__(self, uncompressed_size: int, level: int = 9) -> Method:
        """Return a deflate method that uses zip64 if data of `uncompressed_size` bytes may need it."""
        default, meant = _ZLIB_DEFAULT
        zip64 = True if uncompressed_size >= _MAY_NEED_ZIP64 else None
        return _Deflated(zip64, meant if level == default else level)


ZIP_32 = _Deflated(zip64=False)
ZIP_64 = _Deflated(zip64=True)
ZIP_AUTO = _Auto()
NO_COMPRESSION_32 = _Stored(zip64=False)
NO_COMPRESSION_64 = _Stored(zip64=True)


@shown_half_made
class _Member(Entry):
    """An Entry whose mode is stored unchanged, even if its file type does not match the name."""

    __slots__ = ()

    def __init__(self, name: str, mode: int, **options: Any) -> None:
        super().__init__(name, **options)
        number = int(mode) if isinstance(mode, bool) else whole(mode)
        if number is None or not 0 <= number <= 0xFFFF:
            raise OptionError(f"entry {name!r}: mode={mode!r}: give a Unix mode, as in stat.S_IFREG | 0o644")
        mode = number
        if not stat.S_IFMT(mode):
            mode |= stat.S_IFDIR if self.is_dir else stat.S_IFREG
        object.__setattr__(self, "mode", mode)


class CustomDeflate(CodecFactory):
    """Takes deflate compressors from `get_compressobj` if no level is given. Calls it on the consumer's thread."""

    def __init__(self, get_compressobj: Callable[[], Any], salt: Salt) -> None:
        super().__init__(salt=salt)
        self._get_compressobj = get_compressobj

    def compressor(self, method: int, level: int | None = None) -> Codec:
        if method == ZIP_DEFLATED and level is None:
            return ObjectCodec(method, self._get_compressobj())
        return super().compressor(method, level)

    def small(self, method: int, level: int | None) -> Callable[[list[bytes]], list[Coded]] | None:
        if method == ZIP_DEFLATED and level is None:
            return None  # a user's compressor must get a member's chunks unchanged
        return super().small(method, level)


class Members:
    """Converts the member tuples of one archive to entries, and its errors to those of stream-zip.

    own_level: level of ZIP_32 and ZIP_64 members; None if the user's function makes their compressors.

    Attributes:
        place: a function that returns the offset of the next member. Set by the code that makes the stream.
    """

    place: Callable[[], int]

    def __init__(self, extended_timestamps: bool, own_level: int | None) -> None:
        self._extended_timestamps = extended_timestamps
        self._own_level = own_level
        self._count = self._directory = 0  # number of members, and size of their central directory headers
        self._strict = True  # whether no member so far allows zip64
        self._date: Any = None  # the last date, and the Entry options made from it
        self._dated: dict[str, Any] = {}

    def options(self, chunk_size: int, coding: Callable[[], CodecFactory] | None) -> dict[str, Any]:
        """Return the stream's options. Every deflated member with data has a data descriptor."""
        return {
            "chunk_size": chunk_size,
            "lookahead": 0,
            "names": "allow",
            "duplicates": "allow",
            "extended_timestamps": False,  # entries bring their own, as their dates are not in UTC
            "make_coding": coding,
        }

    def entries(self, files: Iterable[Any]) -> Generator[Entry, None, None]:
        """Yield an entry for each of `files`."""
        try:
            for name, modified_at, mode, method, chunks in files:
                self._begin(name, method)
                data = _read_all(chunks) if method.is_buffered or name.endswith("/") else None
                yield self._entry(name, modified_at, mode, method, chunks, data)
        finally:
            close = close_of(files)
            if close is not None:
                close()
        self._end()

    async def async_entries(self, files: AsyncIterable[Any]) -> AsyncGenerator[Entry, None]:
        """Like `entries`. `files` runs in a separate context, which does not affect the members' data."""
        within = OwnContext()
        try:
            async for name, modified_at, mode, method, chunks in _within(within, files):
                self._begin(name, method)
                data = None
                if method.is_buffered or name.endswith("/"):
                    is_async = hasattr(chunks, "__aiter__")
                    data = await (_async_read_all(chunks) if is_async else _read_all_on_thread(chunks))
                yield self._entry(name, modified_at, mode, method, chunks, data)
        finally:
            if hasattr(files, "aclose"):
                await within(files.aclose())
        self._end()

    def _begin(self, name: str, method: Method) -> None:
        if not isinstance(method, Method):
            raise ZipValueError(f"entry {name!r}: method={method!r}: give ZIP_32, ZIP_AUTO(size) or another method")
        size = len(name) if name.isascii() else len(name.encode("utf-8", "surrogatepass"))
        if size > LIMIT16:
            raise NameLengthOverflowError(
                f"entry {name[:60] + '…'!r}: the name has {size} bytes, more than {LIMIT16}: shorten it"
            )
        self._check_place()
        self._strict = self._strict and method.zip64 is False
        if self._strict and self._count >= LIMIT16:
            raise CentralDirectoryNumberOfEntriesOverflowError(
                f"entry {name!r}: member number {self._count + 1} needs zip64: use ZIP_AUTO(size) or ZIP_64"
            )
        self._count += 1
        self._directory += CENTRAL_HEADER_SIZE + size
        self._check_directory()

    def _check_place(self) -> None:
        """Raise if the archive needs zip64 from here on and no member allows it."""
        if self._strict and (place := self.place()) > LIMIT32:
            raise OffsetOverflowError(
                f"{self._count} members have {place} bytes, so the next offset needs zip64: use ZIP_AUTO(size)"
            )

    def _end(self) -> None:
        self._check_place()
        self._check_directory()

    def _check_directory(self) -> None:
        if self._strict and self._directory > LIMIT32:
            raise CentralDirectorySizeOverflowError(
                f"the central directory of {self._count} members has 4 GiB or more and needs zip64: use ZIP_AUTO(size)"
            )

    def _entry(
        self, name: str, modified_at: datetime, mode: int, method: Method, chunks: Any, known: bytes | None
    ) -> Entry:
        if modified_at is not self._date:
            local = DosDateTime(*modified_at.timetuple()[:6], tzinfo=UTC)
            self._date, self._dated = modified_at, {"modified": local, "extra": self._extra(modified_at)}
        self._directory += len(self._dated["extra"])
        if name.endswith("/"):
            if known:
                raise ZipValueError(f"entry {name!r}: the slash makes it a directory, but it has data: remove either")
            return _Member(name, mode, size=method.size, crc32=method.crc32, **self._dated)
        zip64, level = method.zip64, method.level
        if method.compression == ZIP_DEFLATED:
            level = self._own_level if level is None else level
            if zip64 is None and self.place() > LIMIT32:
                zip64 = True
        coded = {"compression": method.compression, "level": level, "zip64": zip64, **self._dated}
        if known is None:
            return _Member(name, mode, source=as_it_stands(chunks), size=method.size, crc32=method.crc32, **coded)
        return _Member(name, mode, source=known, size=len(known), crc32=fastest_crc32()(known, 0), **coded)

    def _extra(self, modified_at: datetime) -> bytes:
        if not self._extended_timestamps:
            return b""
        return extended_timestamp(datetime.fromtimestamp(int(modified_at.timestamp()), UTC))

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Convert this package's errors to those of stream-zip."""
        try:
            yield
        except CRC32MismatchError as exc:
            raise CRC32IntegrityError(str(exc)) from exc
        except SizeMismatchError as exc:
            raise UncompressedSizeIntegrityError(str(exc)) from exc
        except Zip64RequiredError as exc:
            raise _OVERFLOWS[exc.field](str(exc)) from exc


async def _within(context: OwnContext, items: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    iterator = aiter(items)
    while True:
        try:
            item = await context(anext(iterator))
        except StopAsyncIteration:
            return
        yield item


def _read_all(chunks: Any) -> bytes:
    """Read all data and close its source."""
    if type(chunks) in (list, tuple):
        return b"".join([_as_bytes(chunk) for chunk in chunks])
    with ExitStack() as stack:
        for thing in (chunks, iterator := iter(chunks)):
            close = close_of(thing)
            if close is not None:
                stack.callback(close)
        return b"".join([_as_bytes(chunk) for chunk in iterator])


async def _read_all_on_thread(chunks: Any) -> bytes:
    data: bytes = await on_thread(partial(_read_all, chunks), "reading a member in advance")
    return data


async def _async_read_all(chunks: AsyncIterable[Any]) -> bytes:
    async with AsyncExitStack() as stack:
        for thing in (chunks, iterator := aiter(chunks)):
            if hasattr(thing, "aclose"):
                stack.push_async_callback(thing.aclose)
        return b"".join([_as_bytes(chunk) async for chunk in iterator])


def _as_bytes(chunk: Any) -> bytes:
    """Copy a chunk to bytes. Raises TypeError if it is not bytes-like."""
    return chunk if type(chunk) is bytes else bytes(memoryview(chunk))
