"""The interface of stream-zip 0.0.84: ``from zipstream_adapter.compat.stream_zip import stream_zip, ZIP_32``.

Names, signatures, defaults, errors, modes and dates (local fields, and UTC seconds in an extra field) are as in
stream-zip. As in stream-zip, a failing source ends the archive, and async `files` run in a copy of the context.

Differences from stream-zip:

- Sources and `files` are closed after a failure, and when the consumer stops early.
- `async_stream_zip` awaits sources on the event loop and does all other work on shared threads.
- Members are deflated on several cores and, with the extra ``fast``, by faster engines. If `get_compressobj` is given,
  it makes the compressors for ZIP_32 and ZIP_64 instead.
- Directories and empty members have complete local file headers and no data descriptor. ASCII names have no UTF-8 flag.
- Archives of exactly 65,535 members end with zip64 records, as 65,535 is the marker for zip64 in the end of central
  directory record.
- Data of a wrong size raises an error before its last byte is yielded. The error names the entry.
- Data in a directory is refused, and so are invalid names (empty, or with NUL).
- A mode without a file type gets the type that the name implies.
- All errors are also ZipStreamErrors: ``except zipstream_adapter.ZipStreamError`` catches them.
- With a `password`, directories are not encrypted, because they have no data.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from datetime import datetime
from functools import partial
from typing import Any

from ..._compression.codecs import CodecFactory
from ..._compression.secret import hidden
from ..._stream.asynchronous import AsyncZipStream, async_stream_with
from ..._stream.sync import ZipStream, stream_with
from ._errors import (
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
from ._members import NO_COMPRESSION_32, NO_COMPRESSION_64, ZIP_32, ZIP_64, ZIP_AUTO, CustomDeflate, Members, Method

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
    password: str | bytes | None = None,
    get_crypto_random: Callable[[int], bytes] = secrets.token_bytes,
) -> Generator[bytes, None, None]:
    """Return a generator of a zip archive of `files`. It can be used once, and reads nothing before its first chunk.

    Args:
        files: an iterable of (name, date, mode, method, iterable of bytes).
        chunk_size: size of a chunk in bytes. Only the first chunks of a member and its last may be smaller.
        get_compressobj: a function that makes a compressor, with ``compress`` and ``flush``, for each ZIP_32 and ZIP_64
            member. Default: raw deflate, level 9.
        extended_timestamps: whether members also store their date as UTC seconds in an extra field (0x5455).
        password: encrypts members with data by WinZip AES-256 (extra ``crypto``). Default: no encryption.
        get_crypto_random: a function that returns the given number of random bytes, used as a member's salt.

    Raises:
        ZipError: a subclass defined in this module.
        Exception: any error of a source, with a note that names the entry.
    """
    password = hidden(password)
    members, options = _make_members(chunk_size, get_compressobj, extended_timestamps, get_crypto_random)
    stream = stream_with(members.entries(files), password=password, **options)
    members.place = lambda: stream.place
    return _chunks(stream, members, chunk_size)


def async_stream_zip(
    files: AsyncIterable[AsyncMemberFile],
    chunk_size: int = 65536,
    get_compressobj: Callable[[], Any] = _default_compressobj,
    extended_timestamps: bool = True,
    password: str | bytes | None = None,
    get_crypto_random: Callable[[int], bytes] = secrets.token_bytes,
) -> AsyncGenerator[bytes, None]:
    """Like `stream_zip`, for an event loop, which is not blocked. `files` and members' data are asynchronous iterables.

    A plain iterable of data is read on a thread.
    """
    password = hidden(password)
    members, options = _make_members(chunk_size, get_compressobj, extended_timestamps, get_crypto_random)
    stream = async_stream_with(members.async_entries(files), password=password, **options)
    members.place = lambda: stream.place
    return _async_chunks(stream, members, chunk_size)


def _make_members(
    chunk_size: int,
    get_compressobj: Callable[[], Any],
    extended_timestamps: bool,
    get_crypto_random: Callable[[int], bytes],
) -> tuple[Members, dict[str, Any]]:
    """Return the members and the stream's options."""
    is_own = get_compressobj is not _default_compressobj
    members = Members(extended_timestamps, own_level=None if is_own else 9)
    salt = os.urandom if get_crypto_random is secrets.token_bytes else get_crypto_random
    coding = partial(CustomDeflate, get_compressobj, salt) if is_own else partial(CodecFactory, salt=salt)
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
    """Split a chunk: stored data is passed through and may exceed `chunk_size` bytes."""
    if not 0 < chunk_size < len(chunk):
        return (chunk,)
    return (chunk[at : at + chunk_size] for at in range(0, len(chunk), chunk_size))
