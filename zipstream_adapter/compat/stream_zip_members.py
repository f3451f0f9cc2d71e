"""The members of `compat.stream_zip`: its methods, and its tuples as entries."""

from __future__ import annotations

import asyncio
import stat
import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator
from contextlib import aclosing, closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import (  # type: ignore[attr-defined]
    ZIP_DEFLATED,
    ZIP_STORED,
    structCentralDir,
)

from ..checksum import fastest_crc32
from ..coding import Coding
from ..dates import LocalTime, extended_timestamp
from ..entry import Entry
from ..errors import CRC32MismatchError, OptionError, SizeMismatchError, Zip64RequiredError
from ..records import LIMIT16, LIMIT32
from ..source import close_of
from .contexts import OwnContext
from .stream_zip_errors import (
    CentralDirectoryNumberOfEntriesOverflowError,
    CentralDirectorySizeOverflowError,
    CompressedSizeOverflowError,
    CRC32IntegrityError,
    NameLengthOverflowError,
    OffsetOverflowError,
    UncompressedSizeIntegrityError,
    UncompressedSizeOverflowError,
    ZipValueError,
)

if TYPE_CHECKING:
    from ..archive import StreamingZipFile
    from ..encryption import Salt
    from ..options import Progress

# From here on, what deflate makes of data that it cannot compress may have 4 GiB.
_MAY_NEED_ZIP64 = 4293656842
# APPNOTE 4.3.12: a row of the directory, without its name.
_ROW_SIZE = struct.calcsize(structCentralDir)
# What zlib takes for its default.
_ZLIB_DEFAULT = (-1, 6)


class Method:
    """How a member is stored: one of ZIP_32, ZIP_64, ZIP_AUTO(size), NO_COMPRESSION_32, NO_COMPRESSION_64.

    Attributes:
        compression: of the member; level: of that, where the method says.
        zip64: whether its header is zip64: True, False (what needs it is refused), or None: where it is needed,
            or where the member begins behind 4 GiB.
        size, crc32: what is promised of its data.
    """

    compression = ZIP_DEFLATED
    level: int | None = None
    zip64: bool | None = None
    size: int | None = None
    crc32: int | None = None

    @property
    def is_buffered(self) -> bool:
        """Whether the data is read whole to learn its size and CRC-32."""
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
        """The same for data of that size and CRC-32, which is passed on as it comes, and checked."""
        return _Stored(bool(self.zip64), uncompressed_size, crc_32)


class _Auto:
    def __call__(self, uncompressed_size: int, level: int = 9) -> Method:
        """Deflate, with zip64 where data of that size may need it."""
        default, meant = _ZLIB_DEFAULT
        zip64 = True if uncompressed_size >= _MAY_NEED_ZIP64 else None
        return _Deflated(zip64, meant if level == default else level)


ZIP_32 = _Deflated(zip64=False)
ZIP_64 = _Deflated(zip64=True)
ZIP_AUTO = _Auto()
NO_COMPRESSION_32 = _Stored(zip64=False)
NO_COMPRESSION_64 = _Stored(zip64=True)


class _Data:
    """A member's chunks, which are counted, as an iterator of them. Of asynchronous ones, `_AsyncData`."""

    def __init__(self, chunks: Any) -> None:
        self.size = 0
        self._chunks = chunks
        self._iterator: Any = None

    def counted(self, chunk: Any) -> Any:
        self.size += len(chunk) if isinstance(chunk, bytes | bytearray | memoryview) else 0
        return chunk

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self._chunks)
        return self.counted(next(self._iterator))

    def close(self) -> None:
        """Close the iterator, and what it iterates over."""
        for thing in (self._iterator, self._chunks):
            close = close_of(thing)
            if close is not None:
                close()


class _AsyncData:
    """As `_Data`."""

    def __init__(self, chunks: AsyncIterable[Any]) -> None:
        self._data = _Data(None)
        self._chunks = chunks
        self._iterator: Any = None

    @property
    def size(self) -> int:
        return self._data.size

    def __aiter__(self) -> _AsyncData:
        return self

    async def __anext__(self) -> Any:
        if self._iterator is None:
            self._iterator = aiter(self._chunks)
        return self._data.counted(await anext(self._iterator))

    async def aclose(self) -> None:
        for thing in (self._iterator, self._chunks):
            if hasattr(thing, "aclose"):
                await thing.aclose()


class _Known(NamedTuple):
    """Data that has been read whole."""

    chunks: list[bytes]
    size: int


class _Member(Entry):
    """An Entry whose mode is stored as it was given, also where the name says otherwise."""

    __slots__ = ()

    def __init__(self, name: str, mode: int, **options: Any) -> None:
        super().__init__(name, **options)
        if not isinstance(mode, int) or not 0 <= mode <= 0xFFFF:
            raise OptionError(f"entry {name!r}: mode={mode!r}: give a Unix mode, as in stat.S_IFREG | 0o644")
        if not stat.S_IFMT(mode):
            mode |= stat.S_IFDIR if self.is_dir else stat.S_IFREG
        object.__setattr__(self, "mode", mode)


class OwnDeflate(Coding):
    """A coding whose compressors, where no level is said, are those of `get_compressobj`."""

    def __init__(self, get_compressobj: Callable[[], Any], salt: Salt) -> None:
        super().__init__(salt=salt)
        self._get_compressobj = get_compressobj

    def compressor(self, method: int, level: int | None = None) -> Any:
        if method == ZIP_DEFLATED and level is None:
            return self._get_compressobj()
        return super().compressor(method, level)


def take_over(archive: StreamingZipFile, coding: Coding) -> None:
    """Have an archive that is empty yet coded by `coding`."""
    archive.coding.close()
    archive.coding = coding


class Members:
    """The members of one archive: entries of the tuples, and what its errors are called.

    own_level: of ZIP_32 and ZIP_64 members; None where the user's function makes their compressors.
    """

    def __init__(self, extended_timestamps: bool, own_level: int | None) -> None:
        self._extended_timestamps = extended_timestamps
        self._own_level = own_level
        self._data: Any = _Known([], 0)  # of the member that is being written
        self._declared = 0
        self._count = self._finished = 0
        self._rows = 0  # bytes of the directory, without extras
        self._written = 0  # where in the archive the last member ended
        self._strict = True  # no member so far allows zip64
        self._over = False

    def options(self, chunk_size: int) -> dict[str, Any]:
        """What the stream of them is told. Every member with data that is deflated has a descriptor."""
        return {
            "chunk_size": chunk_size,
            "lookahead": 0,
            "names": "allow",
            "duplicates": "allow",
            "extended_timestamps": False,  # each brings its own, which is of another zone than its date
            "on_progress": self._progress,
        }

    def entries(self, files: Iterable[Any]) -> Generator[Entry, None, None]:
        """An Entry for each of `files`, when its turn comes."""
        try:
            for name, modified_at, mode, method, chunks in files:
                self._begin(name, method)
                data: Any = _Data(chunks)
                if method.is_buffered or name.endswith("/"):
                    data = _known(data)
                yield self._entry(name, modified_at, mode, method, data)
        finally:
            close = close_of(files)
            if close is not None:
                close()
        self._over = True

    async def async_entries(self, files: AsyncIterable[Any]) -> AsyncGenerator[Entry, None]:
        """Likewise. `files` has a context of its own, of which their data sees nothing."""
        within = OwnContext()
        try:
            async for name, modified_at, mode, method, chunks in _within(within, files):
                self._begin(name, method)
                is_async = hasattr(chunks, "__aiter__")
                data: Any = _AsyncData(chunks) if is_async else _Data(chunks)
                if method.is_buffered or name.endswith("/"):
                    data = await (_async_known(data) if is_async else asyncio.to_thread(_known, data))
                yield self._entry(name, modified_at, mode, method, data)
        finally:
            if hasattr(files, "aclose"):
                await within(files.aclose())
        self._over = True

    def _begin(self, name: str, method: Method) -> None:
        if not isinstance(method, Method):
            raise ZipValueError(f"entry {name!r}: method={method!r}: give ZIP_32, ZIP_AUTO(size) or another of these")
        size = len(name.encode("utf-8", "surrogatepass"))
        if size > LIMIT16:
            raise NameLengthOverflowError(
                f"entry {name[:60] + '…'!r}: the name has {size} bytes: {LIMIT16} is the most"
            )
        self._strict = self._strict and method.zip64 is False
        if self._strict and self._count >= LIMIT16:
            raise CentralDirectoryNumberOfEntriesOverflowError(
                f"entry {name!r} is member number {self._count + 1}, which needs zip64: use ZIP_AUTO(size) or ZIP_64"
            )
        self._count += 1
        self._rows += _ROW_SIZE + size
        if self._strict and self._rows > LIMIT32:
            raise self._too_large_directory()

    def _entry(self, name: str, modified_at: datetime, mode: int, method: Method, data: Any) -> Entry:
        self._data, self._declared = data, method.size or 0
        common = {"modified": LocalTime(*modified_at.timetuple()[:6], tzinfo=UTC), "extra": self._extra(modified_at)}
        if name.endswith("/"):
            if data.size:
                raise ZipValueError(f"entry {name!r} is a directory, by the slash at its end, and has no data")
            return _Member(name, mode, **common)
        size, crc32, source = method.size, method.crc32, data
        if isinstance(data, _Known):
            size, crc32, source = data.size, _crc32_of(data.chunks), data.chunks
        return _Member(
            name,
            mode,
            source=source,
            size=size,
            crc32=crc32,
            compression=method.compression,
            level=self._own_level if method.level is None and method.compression == ZIP_DEFLATED else method.level,
            zip64=True if method.zip64 is None and self._written > LIMIT32 else method.zip64,
            **common,
        )

    def _extra(self, modified_at: datetime) -> bytes:
        if not self._extended_timestamps:
            return b""
        return extended_timestamp(datetime.fromtimestamp(int(modified_at.timestamp()), UTC))

    def _progress(self, progress: Progress) -> None:
        """Refuse an archive that has come to need zip64, where no member allows it."""
        if progress.members > self._finished:
            self._finished, self._written = progress.members, progress.written
            if self._strict and self._written > LIMIT32:
                raise OffsetOverflowError(
                    f"{progress.members} members have {self._written} bytes: what is behind them needs zip64"
                )
        elif self._over and self._strict and progress.written - self._written > LIMIT32:
            raise self._too_large_directory()

    def _too_large_directory(self) -> Exception:
        return CentralDirectorySizeOverflowError(
            f"the central directory of {self._count} members has 4 GiB or more, which needs zip64"
        )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """This package's errors by their names here."""
        try:
            yield
        except CRC32MismatchError as exc:
            raise CRC32IntegrityError(str(exc)) from exc
        except SizeMismatchError as exc:
            raise UncompressedSizeIntegrityError(str(exc)) from exc
        except Zip64RequiredError as exc:
            raise self._overflow()(str(exc)) from exc

    def _overflow(self) -> type[Exception]:
        """Which value needed a zip64 that was refused."""
        if self._written >= LIMIT32:
            return OffsetOverflowError
        if max(self._data.size, self._declared) >= LIMIT32:
            return UncompressedSizeOverflowError
        return CompressedSizeOverflowError


async def _within(context: OwnContext, items: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    iterator = aiter(items)
    while True:
        try:
            item = await context(anext(iterator))
        except StopAsyncIteration:
            return
        yield item


def _known(data: _Data) -> _Known:
    with closing(data):
        return _gathered([_kept(chunk) for chunk in data])


async def _async_known(data: _AsyncData) -> _Known:
    async with aclosing(data):
        return _gathered([_kept(chunk) async for chunk in data])


def _gathered(chunks: list[bytes]) -> _Known:
    return _Known(chunks, sum(map(len, chunks)))


def _kept(chunk: Any) -> bytes:
    """A chunk as it is now; TypeError for what is no data."""
    return chunk if type(chunk) is bytes else bytes(memoryview(chunk))


def _crc32_of(chunks: Iterable[bytes]) -> int:
    crc32, known = fastest_crc32(), zlib.crc32(b"")
    for chunk in chunks:
        known = crc32(chunk, known)
    return known
