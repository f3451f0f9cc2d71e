"""For programs written for aiozipstream 0.4: ``from zipstream_adapter.compat import aiozipstream``.

`ZipStream` and `AioZipStream` take `files` as dicts, and `stream` makes the archive of them: from a collection of them
each time, as long as their streams can be read again. Every member that has data has a data descriptor; deflated ones
are at level 5.

What is otherwise than there:

- The descriptors' signature is the format's, and not its reverse, which Apple's tools refuse.
- Members and archives past 4 GiB, and 65,535 members or more, get zip64; there, they die with struct.error at the end.
- `files` of AioZipStream can be an asynchronous iterable, too, and one that is not is iterated over on a thread; files
  and deflate do not keep the event loop, and a stream may be a plain iterable.
- A source that fails or is given up ends its archive, and is closed; what was read by an earlier `stream` is refused:
  there, the same generator again makes an archive without members, or an empty member.
- Files keep their date and permissions; there, all have the date of their download, and no permissions.
- Names that climb out with ``..``, are absolute or carry backslashes are made plain and relative.
- Chunks are never empty; small pieces are joined to `chunksize`, of which 64 KiB are the least.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from types import AsyncGeneratorType, GeneratorType, SimpleNamespace
from typing import Any

from ..aio import async_stream_zip
from ..coercion import Draft
from ..entry import path_of
from ..errors import EntryTypeError, StreamStateError
from ..fields import described
from ..stream import stream_zip
from .clock import Clock

__all__ = ["AioZipStream", "ZipStream"]

_LEAST_CHUNKSIZE = 1 << 16
_METHODS = {None: None, "deflate": zipfile.ZIP_DEFLATED}

# What programs look for in an archive's bytes.
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
            raise StreamStateError("`files` was iterated over by an earlier stream(): give a list, or make it anew")
        self._used = True
        chunk_size = max(self.chunksize, _LEAST_CHUNKSIZE)
        return {"chunk_size": chunk_size, "lookahead": 0, "level": 5, "names": "repair", "duplicates": "allow"}


class ZipStream(_ZipStream):
    """An archive of files and iterables.

    Args:
        files: an iterable of dicts: ``file`` (a path) or ``stream`` (an iterable of bytes); ``name`` (by default the
            last component of ``file``) and ``compression``: None or "deflate".
        chunksize: bytes that small pieces are joined to; at least 64 KiB.
    """

    def stream(self) -> Generator[bytes, None, None]:
        """The archive's bytes. Raises EntryTypeError for a dict that is none of those, and whatever a source raises."""
        with stream_zip(_entries(self._files, Clock()), **self._options()) as chunks:
            yield from chunks


class AioZipStream(_ZipStream):
    """An archive of files and asynchronous iterables.

    Args:
        files: as `ZipStream` has it, or an asynchronous iterable of them; ``stream`` is an asynchronous iterable of
            bytes, or a plain one.
        chunksize: bytes that small pieces are joined to; at least 64 KiB.
    """

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The archive's bytes; raises as `ZipStream.stream`."""
        options, clock = self._options(), Clock()
        files: Any = self._files
        entries: Any = _async_entries(files, clock) if isinstance(files, AsyncIterable) else _entries(files, clock)
        if isinstance(files, list | tuple) and not any(isinstance(item, Mapping) and "file" in item for item in files):
            entries = _at_once(entries)  # no one has to wait for the next of them
        async with async_stream_zip(entries, **options) as chunks:
            async for chunk in chunks:
                yield chunk


def _entries(files: Iterable[Any], clock: Clock) -> Generator[Draft, None, None]:
    try:
        for item in files:
            yield _draft(item, clock)
    finally:
        if isinstance(files, GeneratorType):
            files.close()


async def _async_entries(files: AsyncIterable[Any], clock: Clock) -> AsyncGenerator[Draft, None]:
    try:
        async for item in files:
            yield _draft(item, clock)
    finally:
        if isinstance(files, AsyncGeneratorType):
            await files.aclose()


async def _at_once(entries: Iterable[Draft]) -> AsyncGenerator[Draft, None]:
    for entry in entries:
        yield entry


def _draft(item: Any, clock: Clock) -> Draft:
    """What a dict says."""
    if not isinstance(item, Mapping) or not ("file" in item or ("stream" in item and "name" in item)):
        raise EntryTypeError(f"{described(item)} is no file: give a dict with 'file', or with 'stream' and 'name'")
    compression = item.get("compression")
    if compression not in _METHODS:
        raise EntryTypeError(f"{described(item)}: unknown compression method {compression!r}: give None or 'deflate'")
    method = _METHODS[compression]
    if "file" not in item:
        date, extra = clock.now()
        return Draft(item["name"], _unused(item), date, extra=extra, compression=method)
    path = path_of(os.fsdecode(item["file"]))
    name: Any = item.get("name", path.name)
    return Draft(name, path, compression=method, dated=clock.shown)


def _unused(item: Mapping[str, Any]) -> Any:
    """The dict's stream, where it was not read before."""
    source = item["stream"]
    if os.fspath(item["name"]).endswith("/") and isinstance(source, Iterable):
        return next(filter(None, source), None)  # nothing, of a directory
    if isinstance(source, GeneratorType | AsyncGeneratorType):
        frame = source.gi_frame if isinstance(source, GeneratorType) else source.ag_frame
        if frame is None:
            raise StreamStateError(f"entry {item['name']!r}: its stream is a generator that was read before")
        return source
    if isinstance(source, AsyncIterable):
        return _left_open(source)
    # What is no generator may be somebody's file, and is not closed.
    return (chunk for chunk in source) if hasattr(source, "close") else source


async def _left_open(source: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    async for chunk in source:
        yield chunk
