"""The members of `compat.stream_zip`: its methods, and its tuples as entries."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import UTC, datetime
from types import NoneType
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

from ..coding import Coded, Coding
from ..coercion import Draft
from ..dates import EARLIEST, LATEST, LocalTime, extended_timestamp
from ..entry import Entry
from ..errors import CRC32MismatchError, OptionError, SizeMismatchError, Zip64RequiredError
from ..records import LIMIT16, LIMIT32, ROW_SIZE
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
    ZipOverflowError,
    ZipValueError,
)

if TYPE_CHECKING:
    from ..encryption import Salt

# From here on, what deflate makes of data that it cannot compress may have 4 GiB.
_MAY_NEED_ZIP64 = 4293656842
# What zlib takes for its default.
_ZLIB_DEFAULT = (-1, 6)
# What needed a zip64 that was refused.
_OVERFLOWS: dict[str | None, type[ZipOverflowError]] = {
    "size": UncompressedSizeOverflowError,
    "compressed_size": CompressedSizeOverflowError,
    "offset": OffsetOverflowError,
}


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


class _Draft(Draft):
    __slots__ = ()

    def entry(self) -> Entry:
        return _Member(self.name, self.mode, source=self.source, **self.options())  # type: ignore[arg-type]


class OwnDeflate(Coding):
    """A coding whose compressors, where no level is said, are those of `get_compressobj`, called by who iterates."""

    def __init__(self, get_compressobj: Callable[[], Any], salt: Salt) -> None:
        super().__init__(salt=salt)
        self._get_compressobj = get_compressobj

    def compressor(self, method: int, level: int | None = None) -> Any:
        if method == ZIP_DEFLATED and level is None:
            return self._get_compressobj()
        return super().compressor(method, level)

    def small(self, method: int, level: int | None) -> Callable[[list[bytes]], list[Coded]] | None:
        if method == ZIP_DEFLATED and level is None:
            return None  # theirs is given a member's chunks as they are
        return super().small(method, level)


class Members:
    """The members of one archive: entries of the tuples, and what its errors are called.

    own_level: of ZIP_32 and ZIP_64 members; None where the user's function makes their compressors.

    Attributes:
        place: where in the archive the next member will begin. Whoever makes the stream of them sets it.
    """

    place: Callable[[], int]

    def __init__(self, extended_timestamps: bool, own_level: int | None) -> None:
        self._extended_timestamps = extended_timestamps
        self._own_level = own_level
        self._count = self._directory = 0  # members so far, and what they take in the central directory
        self._strict = True  # no member so far allows zip64
        self._date: Any = None  # the last one, and what is made of it
        self._dated: dict[str, Any] = {}
        self._date_fits = False

    def options(self, chunk_size: int, coding: Callable[[], Coding] | None) -> dict[str, Any]:
        """What the stream of them is told. Every member with data that is deflated has a descriptor."""
        return {
            "chunk_size": chunk_size,
            "lookahead": 0,
            "names": "allow",
            "duplicates": "allow",
            "extended_timestamps": False,  # each brings its own, which is of another zone than its date
            "make_coding": coding,
        }

    def entries(self, files: Iterable[Any]) -> Generator[Entry | Draft, None, None]:
        """What becomes an Entry, for each of `files`, when its turn comes."""
        try:
            for name, modified_at, mode, method, chunks in files:
                self._begin(name, method)
                data = _known(chunks) if method.is_buffered or name.endswith("/") else None
                yield self._entry(name, modified_at, mode, method, chunks, data)
        finally:
            close = close_of(files)
            if close is not None:
                close()
        self._end()

    async def async_entries(self, files: AsyncIterable[Any]) -> AsyncGenerator[Entry | Draft, None]:
        """Likewise. `files` has a context of its own, of which their data sees nothing."""
        within = OwnContext()
        try:
            async for name, modified_at, mode, method, chunks in _within(within, files):
                self._begin(name, method)
                data = None
                if method.is_buffered or name.endswith("/"):
                    is_async = hasattr(chunks, "__aiter__")
                    data = await (_async_known(chunks) if is_async else asyncio.to_thread(_known, chunks))
                yield self._entry(name, modified_at, mode, method, chunks, data)
        finally:
            if hasattr(files, "aclose"):
                await within(files.aclose())
        self._end()

    def _begin(self, name: str, method: Method) -> None:
        if not isinstance(method, Method):
            raise ZipValueError(f"entry {name!r}: method={method!r}: give ZIP_32, ZIP_AUTO(size) or another of these")
        size = len(name) if name.isascii() else len(name.encode("utf-8", "surrogatepass"))
        if size > LIMIT16:
            raise NameLengthOverflowError(
                f"entry {name[:60] + '…'!r}: the name has {size} bytes: {LIMIT16} is the most"
            )
        self._check_place()
        self._strict = self._strict and method.zip64 is False
        if self._strict and self._count >= LIMIT16:
            raise CentralDirectoryNumberOfEntriesOverflowError(
                f"entry {name!r} is member number {self._count + 1}, which needs zip64: use ZIP_AUTO(size) or ZIP_64"
            )
        self._count += 1
        self._directory += ROW_SIZE + size
        self._check_directory()

    def _check_place(self) -> None:
        """Refuse an archive that has come to need zip64, where no member allows it."""
        if self._strict and (place := self.place()) > LIMIT32:
            raise OffsetOverflowError(f"{self._count} members have {place} bytes: what is behind them needs zip64")

    def _end(self) -> None:
        self._check_place()
        self._check_directory()

    def _check_directory(self) -> None:
        if self._strict and self._directory > LIMIT32:
            raise CentralDirectorySizeOverflowError(
                f"the central directory of {self._count} members has 4 GiB or more, which needs zip64"
            )

    def _entry(
        self, name: str, modified_at: datetime, mode: int, method: Method, chunks: Any, known: bytes | None
    ) -> Entry | Draft:
        if modified_at is not self._date:
            local = LocalTime(*modified_at.timetuple()[:6], tzinfo=UTC)
            self._date, self._dated = modified_at, {"modified": local, "extra": self._extra(modified_at)}
            self._date_fits = EARLIEST <= local <= LATEST
        self._directory += len(self._dated["extra"])
        if name.endswith("/"):
            if known:
                raise ZipValueError(f"entry {name!r} is a directory, by the slash at its end, and has no data")
            return _Member(name, mode, size=method.size, crc32=method.crc32, **self._dated)
        zip64, level = method.zip64, method.level
        if method.compression == ZIP_DEFLATED:
            level = self._own_level if level is None else level
            if zip64 is None and self.place() > LIMIT32:
                zip64 = True
        coded = {"compression": method.compression, "level": level, "zip64": zip64, **self._dated}
        if known is None and method.size is not None:
            return _Member(name, mode, source=chunks, size=method.size, crc32=method.crc32, **coded)
        source, is_declared = (chunks, False) if known is None else (known, True)
        is_right = self._date_fits and type(mode) is int and 0 <= mode <= 0xFFFF and type(level) in (int, NoneType)
        if is_right and not stat.S_IFMT(mode):
            mode |= stat.S_IFREG
        draft = _Draft(name, source, mode=mode, is_declared=is_declared, **coded)
        return draft if is_right else draft.entry()

    def _extra(self, modified_at: datetime) -> bytes:
        if not self._extended_timestamps:
            return b""
        return extended_timestamp(datetime.fromtimestamp(int(modified_at.timestamp()), UTC))

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
            raise _OVERFLOWS[exc.field](str(exc)) from exc


async def _within(context: OwnContext, items: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    iterator = aiter(items)
    while True:
        try:
            item = await context(anext(iterator))
        except StopAsyncIteration:
            return
        yield item


def _known(chunks: Any) -> bytes:
    """All of the data, which is closed."""
    if type(chunks) in (list, tuple):
        return b"".join([_kept(chunk) for chunk in chunks])
    with ExitStack() as stack:
        for thing in (chunks, iterator := iter(chunks)):
            close = close_of(thing)
            if close is not None:
                stack.callback(close)
        return b"".join([_kept(chunk) for chunk in iterator])


async def _async_known(chunks: AsyncIterable[Any]) -> bytes:
    async with AsyncExitStack() as stack:
        for thing in (chunks, iterator := aiter(chunks)):
            if hasattr(thing, "aclose"):
                stack.push_async_callback(thing.aclose)
        return b"".join([_kept(chunk) async for chunk in iterator])


def _kept(chunk: Any) -> bytes:
    """A chunk as it is now; TypeError for what is no data."""
    return chunk if type(chunk) is bytes else bytes(memoryview(chunk))
