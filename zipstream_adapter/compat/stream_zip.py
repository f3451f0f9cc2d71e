"""The interface of stream-zip 0.0.8: ``from zipstream_adapter.compat.stream_zip import stream_zip, ZIP_32``.

Names, signatures, defaults, errors, dates (the clock's own, and the instant beside it) and modes are as there. Other
than there:

- A source's failure ends the archive, as there; sources and `files` are closed then, and when the consumer goes.
- `async_stream_zip` awaits on the event loop and works on shared threads; `files` sees a copy of the context, as there.
- Members are deflated on several cores and, with the extra ``fast``, by faster engines, unless `get_compressobj` is
  given: that makes the compressors for ZIP_32 and ZIP_64 then.
- Directories and empty members have complete headers and no descriptor; ASCII names no UTF-8 flag.
- At 65,535 members the end is zip64, without which that number would be no number.
- Data of a wrong size raises before its last byte leaves, and the error says which entry it was.
- Data in a directory is refused, and so are names that no archive can hold (empty, with NUL).
- A mode without a file type gets the one that the name says.
- The errors are this package's, too: ``except zipstream_adapter.ZipStreamError`` catches them.
- With a `password`, directories are not encrypted: they have no data.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from datetime import datetime
from functools import partial
from typing import Any

from ..aio import AsyncZipStream
from ..coding import Coding
from ..stream import ZipStream
from .stream_zip_errors import (
    CentralDirectoryNumberOfEntriesOverflowError,
    CentralDirectorySizeOverflowError,
    CompressedSizeOverflowError,
    CRC32IntegrityError,
    NameLengthOverflowError,
    OffsetOverflowError,
    UncompressedSizeIntegrityError,
    UncompressedSizeOverflowError,
    ZipError,
    ZipIntegrityError,
    ZipOverflowError,
    ZipValueError,
)
from .stream_zip_members import (
    NO_COMPRESSION_32,
    NO_COMPRESSION_64,
    ZIP_32,
    ZIP_64,
    ZIP_AUTO,
    Members,
    Method,
    OwnDeflate,
)

__all__ = [
    "NO_COMPRESSION_32",
    "NO_COMPRESSION_64",
    "ZIP_32",
    "ZIP_64",
    "ZIP_AUTO",
    "AsyncMemberFile",
    "CRC32IntegrityError",
    "CentralDirectoryNumberOfEntriesOverflowError",
    "CentralDirectorySizeOverflowError",
    "CompressedSizeOverflowError",
    "MemberFile",
    "Method",
    "NameLengthOverflowError",
    "OffsetOverflowError",
    "UncompressedSizeIntegrityError",
    "UncompressedSizeOverflowError",
    "ZipError",
    "ZipIntegrityError",
    "ZipOverflowError",
    "ZipValueError",
    "async_stream_zip",
    "stream_zip",
]

MemberFile = tuple[str, datetime, int, Method, Iterable[bytes]]
AsyncMemberFile = tuple[str, datetime, int, Method, AsyncIterable[bytes]]


def _default_compressobj() -> Any:
    return zlib.compressobj(wbits=-zlib.MAX_WBITS, level=9)


def stream_zip(
    files: Iterable[MemberFile],
    chunk_size: int = 65536,
    get_compressobj: Callable[[], Any] = _default_compressobj,
    extended_timestamps: bool = True,
    password: str | None = None,
    get_crypto_random: Callable[[int], bytes] = secrets.token_bytes,
) -> Generator[bytes, None, None]:
    """A zip archive of `files`, as a generator: one pass. Nothing is read before the first chunk is asked for.

    Args:
        files: an iterable of (name, date, mode, method, iterable of bytes).
        chunk_size: bytes of each chunk; only the first ones of a member, and the last, may be smaller.
        get_compressobj: makes a compressor, with ``compress`` and ``flush``, for each ZIP_32 and ZIP_64 member.
        extended_timestamps: whether members have their date as UTC seconds, too.
        password: what members with data are encrypted with, by AES-256 as WinZip defines it (extra ``crypto``).
        get_crypto_random: gives each member's salt: so many random bytes.

    Raises: a ZipError of this module, or whatever a source raises, with a note naming the entry.
    """
    members, options = _members(chunk_size, get_compressobj, extended_timestamps, get_crypto_random)
    stream = ZipStream(members.entries(files), password=password, **options)
    members.place = lambda: stream.place
    return _chunks(stream, members, chunk_size)


def async_stream_zip(
    files: AsyncIterable[AsyncMemberFile],
    chunk_size: int = 65536,
    get_compressobj: Callable[[], Any] = _default_compressobj,
    extended_timestamps: bool = True,
    password: str | None = None,
    get_crypto_random: Callable[[int], bytes] = secrets.token_bytes,
) -> AsyncGenerator[bytes, None]:
    """`stream_zip` for an event loop, which it does not block. `files`, and the data of each, are asynchronous.

    An iterable of data that is not asynchronous is read on a thread.
    """
    members, options = _members(chunk_size, get_compressobj, extended_timestamps, get_crypto_random)
    stream = AsyncZipStream(members.async_entries(files), password=password, **options)
    members.place = lambda: stream.place
    return _async_chunks(stream, members, chunk_size)


def _members(
    chunk_size: int,
    get_compressobj: Callable[[], Any],
    extended_timestamps: bool,
    get_crypto_random: Callable[[int], bytes],
) -> tuple[Members, dict[str, Any]]:
    """The members, and the options of a stream of them."""
    is_own = get_compressobj is not _default_compressobj
    members = Members(extended_timestamps, own_level=None if is_own else 9)
    salt = os.urandom if get_crypto_random is secrets.token_bytes else get_crypto_random
    coding = partial(OwnDeflate, get_compressobj, salt) if is_own else partial(Coding, salt=salt)
    return members, members.options(chunk_size, coding)


def _chunks(stream: ZipStream, members: Members, chunk_size: int) -> Generator[bytes, None, None]:
    with stream, members.translated():
        for chunk in stream:
            yield from _cut(chunk, chunk_size)


async def _async_chunks(stream: AsyncZipStream, members: Members, chunk_size: int) -> AsyncGenerator[bytes, None]:
    async with stream:
        with members.translated():
            async for chunk in stream:
                for piece in _cut(chunk, chunk_size):
                    yield piece


def _cut(chunk: bytes, chunk_size: int) -> Iterable[bytes]:
    """`chunk` in pieces of no more than `chunk_size` bytes: large stored ones come whole."""
    if not 0 < chunk_size < len(chunk):
        return (chunk,)
    return (chunk[at : at + chunk_size] for at in range(0, len(chunk), chunk_size))
