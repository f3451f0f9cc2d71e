"""The interface of aiozipstream 0.4: ``from zipstream_adapter.compat import aiozipstream``.

`ZipStream` and `AioZipStream` take `files`, an iterable of dicts, and `stream` yields the archive. `stream` can be
called again if `files` is a collection whose streams can be read again. Every member with data has a data descriptor.
Deflate uses level 5.

Differences from aiozipstream:

- The data descriptor has the signature of the APPNOTE. aiozipstream reverses its bytes, which Apple's tools reject.
- Members and archives over 4 GiB, and archives of 65,535 members or more, use zip64. aiozipstream raises struct.error
  at the end.
- `files` of AioZipStream may be an asynchronous iterable. A plain iterable is iterated on a thread. File access and
  deflate do not block the event loop. A ``stream`` may be a plain iterable.
- If a source fails or the consumer stops early, the archive ends and the source is closed. A generator that an earlier
  `stream` read is refused. aiozipstream makes an archive without members, or an empty member.
- Files keep their date and permissions. In aiozipstream all have the date of the download and no permissions.
- Absolute names, names with ``..`` and names with backslashes are made relative and plain.
- Chunks are never empty. Small pieces are joined into chunks of `chunksize`, at least 64 KiB.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator, Mapping
from types import AsyncGeneratorType, GeneratorType, SimpleNamespace
from typing import Any

from .._checks import typed_repr
from .._entries.entry import Entry, path_of
from .._stream import sync
from .._stream.asynchronous import async_stream_with
from ..errors import EntryTypeError, StreamStateError
from ._local_clock import local_zipinfo

__all__ = ["AioZipStream", "ZipStream"]

_LEAST_CHUNKSIZE = 1 << 16
_LEVEL = 5
_METHODS = {None: None, "deflate": zipfile.ZIP_DEFLATED}

# Signatures and record formats that programs use to parse an archive's bytes.
consts = SimpleNamespace(
    LF_MAGIC=zipfile.stringFileHeader,  # type: ignore[attr-defined]
    LF_STRUCT=struct.Struct(zipfile.structFileHeader),  # type: ignore[attr-defined]
    DD_MAGIC=b"PK\7\x08",
    DD_STRUCT=struct.Struct("<LLL"),
    CDFH_MAGIC=zipfile.stringCentralDir,  # type: ignore[attr-defined]
    CDLF_STRUCT=struct.Struct(zipfile.structCentralDir),  # type: ignore[attr-defined]
    CD_END_MAGIC=zipfile.stringEndArchive,  # type: ignore[attr-defined]
    CD_END_STRUCT=struct.Struct(zipfile.structEndArchive),  # type: ignore[attr-defined]
)


class _ZipStream:
    def __init__(self, files: Any = (), chunksize: int = 1024) -> None:
        self.chunksize = chunksize
        self._files = files
        self._used = False

    def _options(self) -> dict[str, Any]:
        if self._used and (isinstance(self._files, Iterator | AsyncIterator)):
            raise StreamStateError("`files` is an iterator that an earlier stream() used up: give a list")
        self._used = True
        return {
            "chunk_size": max(self.chunksize, _LEAST_CHUNKSIZE),
            "compression": "stored",
            "lookahead": 0,
            "names": "repair",
            "duplicates": "allow",
            "make_zipinfo": local_zipinfo,
        }


class ZipStream(_ZipStream):
    """An archive of files and iterables.

    Args:
        files: an iterable of dicts: ``file`` (a path) or ``stream`` (an iterable of bytes); ``name`` (by default the
            last component of ``file``) and ``compression``: None or "deflate".
        chunksize: size in bytes of the chunks into which small pieces are joined. Values under 64 KiB mean 64 KiB.
    """

    def stream(self) -> Generator[bytes, None, None]:
        """Yield the archive's bytes.

        Raises:
            EntryTypeError: an item of `files` has not the keys listed above, or an unknown compression.
            StreamStateError: `files` or a ``stream`` was used up by an earlier call.
            Exception: any error of a source.
        """
        with sync.stream_with(_entries(self._files), **self._options()) as chunks:
            yield from chunks


class AioZipStream(_ZipStream):
    """An archive of files and asynchronous iterables.

    Args:
        files: an iterable or asynchronous iterable of dicts as for `ZipStream`. A ``stream`` is an asynchronous or a
            plain iterable of bytes.
        chunksize: size in bytes of the chunks into which small pieces are joined. Values under 64 KiB mean 64 KiB.
    """

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the archive's bytes. Raises the same errors as `ZipStream.stream`."""
        options, files = self._options(), self._files
        entries: Any = _async_entries(files) if isinstance(files, AsyncIterable) else _entries(files)
        if isinstance(files, list | tuple) and not any(isinstance(item, Mapping) and "file" in item for item in files):
            entries = _as_async(entries)  # cannot block, so needs no thread
        async with async_stream_with(entries, **options) as chunks:
            async for chunk in chunks:
                yield chunk


def _entries(files: Iterable[Any]) -> Generator[Any, None, None]:
    try:
        for item in files:
            yield _entry(item)
    finally:
        if isinstance(files, GeneratorType):
            files.close()


async def _async_entries(files: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    try:
        async for item in files:
            yield _entry(item)
    finally:
        if isinstance(files, AsyncGeneratorType):
            await files.aclose()


async def _as_async(entries: Iterable[Any]) -> AsyncGenerator[Any, None]:
    for entry in entries:
        yield entry


def _entry(item: Any) -> Any:
    """Make an entry from a dict of `files`."""
    if not isinstance(item, Mapping) or not ("file" in item or ("stream" in item and "name" in item)):
        raise EntryTypeError(f"{typed_repr(item)} is not a file: give a dict with 'file', or with 'stream' and 'name'")
    compression = item.get("compression")
    if compression not in _METHODS:
        raise EntryTypeError(f"{typed_repr(item)}: unknown compression method {compression!r}: give None or 'deflate'")
    method = _METHODS[compression]
    if "file" in item:
        source: Any = path_of(os.fsdecode(item["file"]))
        name = item.get("name", source.name)
    else:
        name, source = item["name"], _unused(item)
    return (name, source) if method is None else Entry(name, source, compression=method, level=_LEVEL)


def _unused(item: Mapping[str, Any]) -> Any:
    """Return the dict's stream; raise StreamStateError if it was read before."""
    source = item["stream"]
    if os.fspath(item["name"]).endswith("/") and isinstance(source, Iterable):
        return next(filter(None, source), None)  # None, or the data with which a directory is refused
    if isinstance(source, GeneratorType | AsyncGeneratorType):
        frame = source.gi_frame if isinstance(source, GeneratorType) else source.ag_frame
        if frame is None:
            raise StreamStateError(f"entry {item['name']!r}: its stream was read before: give a new generator")
        return source
    if isinstance(source, AsyncIterable):
        return _left_open(source)
    # Only generators are closed: anything else may be a file that the caller still needs.
    return (chunk for chunk in source) if hasattr(source, "close") else source


async def _left_open(source: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    async for chunk in source:
        yield chunk
