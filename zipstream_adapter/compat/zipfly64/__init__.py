"""The interface of zipFly64 1.5: ``from zipstream_adapter.compat.zipfly64 import ZipFly, LocalFile, GenFile``.

As in zipFly64, duplicate names are numbered, and neither a `ZipFly` nor a file can be used twice.

Differences from zipFly64:

- Zip64 is used only if a value needs it, and local file headers are complete if sizes are known. In zipFly64 every
  archive is zip64.
- A calculated archive size is always right. With deflated data it is unknown (RuntimeError). zipFly64 calculates the
  size as if all data was stored.
- With an offset, declared data before it is not requested. A local file before it is read once if its CRC-32 is needed.
- A local file that changes while it is read raises an error, and so does an offset that is too large.
- Absolute names and names with ``..``, drives or backslashes are made relative and plain. Files keep their modes.
- After a failure no more bytes are yielded. `validate_crc=False` is ignored: a wrong CRC-32 always raises an error.
- `async_stream` accepts plain generators, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from types import GeneratorType
from typing import Any
from zipfile import ZIP_STORED

from ..._checks import count_of
from ..._entries.entry import Entry
from ..._layout.layout import ZipLayout
from ..._stream.asynchronous import async_stream_with
from ..._stream.sync import stream_with
from ..._writer.progress import Progress
from ...errors import EntryTypeError, OptionError
from .._local_clock import local_zipinfo, with_local_date
from ._files import BaseFile, EmptyFolder, GenFile, LocalFile, MemberInfo, consts

__all__ = ["BaseFile", "EmptyFolder", "GenFile", "LocalFile", "ZipFly", "consts"]

_NAMES: Any = {"compression": "stored", "names": "repair", "duplicates": "rename"}
_OPTIONS: Any = {**_NAMES, "make_zipinfo": local_zipinfo}


class ZipFly:
    """An archive of `files`, for one use.

    Args:
        files: an iterable of files. If it is not a sequence, it is consumed while the archive is streamed.
        byte_offset: position in the archive at which to begin, in bytes. Default: 0. If all data is stored, and each
            file is a local file or declares `size` and `crc`, data before the offset is not requested. Otherwise all
            data up to the offset is read and dropped.

    Raises:
        OptionError: `byte_offset` is not a whole number of bytes.
        RuntimeError: when streaming: the `ZipFly` or a file was used before.
        PromiseError: (a RuntimeError) when streaming: data differs from its declared `size` or `crc`.
        ValueError: when streaming: the offset is larger than the archive, or follows deflated data.

    Streaming also raises any error of `stream_zip`.
    """

    def __init__(self, files: Iterable[BaseFile], byte_offset: int = 0) -> None:
        offset = int(byte_offset) if isinstance(byte_offset, bool) else count_of(byte_offset)
        if offset is None:
            raise OptionError(f"byte_offset={byte_offset!r}: give a whole number of bytes, 0 or more")
        self._files = files
        self._offset = offset
        self._used = False
        self._members = 0

    def was_used(self) -> bool:
        """Return whether streaming was started."""
        return self._used

    def calculate_archive_size(self) -> int:
        """Return the size of the complete archive in bytes. Raises RuntimeError if it cannot be known in advance."""
        if not isinstance(self._files, Sequence):
            raise RuntimeError("Cannot calculate archive size for lazy files. Use a list of files instead.")
        with stream_with([file.entry(file.source(False)) for file in _renamed(self._files)], **_OPTIONS) as stream:
            if stream.size is None:
                raise RuntimeError(
                    "Cannot calculate archive size: every file has to be stored, and every GenFile needs its size."
                )
            return stream.size

    def stream(self) -> Generator[bytes, None, None]:
        """Yield the archive's bytes, from `byte_offset` on."""
        self._use()
        layout = self._layout() if self._offset else None
        if layout is not None:
            yield from layout.iter_range(self._offset)
            return
        stream = stream_with(self._entries(lambda: stream.infolist(), on_loop=False), **self._options())
        left = self._offset
        with stream:
            for chunk in stream:
                if left < len(chunk):
                    yield chunk[left:] if left else chunk
                left = max(0, left - len(chunk))
        self._check_end(left)

    async def async_stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the archive's bytes, from `byte_offset` on, without blocking the event loop."""
        async with aclosing(self._async_stream(0)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def async_stream_parallel(
        self, prefetch_files: int = 20, max_chunks_per_file: int = 2
    ) -> AsyncGenerator[bytes, None]:
        """Like `async_stream`, but read the first 256 KiB of upcoming files in advance.

        Args:
            prefetch_files: number of files to read in advance. With an offset, nothing is read in advance if all files
                are stored and either local or declared.
            max_chunks_per_file: ignored.
        """
        async with aclosing(self._async_stream(prefetch_files)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _async_stream(self, prefetch: int) -> AsyncGenerator[bytes, None]:
        self._use()
        layout = self._layout(on_loop=True) if self._offset else None
        if layout is not None:
            async with aclosing(self._from_layout(layout)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        entries: Any = self._entries(lambda: stream.infolist(), on_loop=True)
        if isinstance(self._files, list | tuple):  # cannot block, so needs no thread
            entries = _as_async(entries)
        stream = async_stream_with(entries, prefetch=prefetch, **self._options())
        left = self._offset
        async with stream:
            async for chunk in stream:
                if left < len(chunk):
                    yield chunk[left:] if left else chunk
                left = max(0, left - len(chunk))
        self._check_end(left)

    def _use(self) -> None:
        if self._used:
            raise RuntimeError("Do not re-use zipFly instances. Recreate it.")
        self._used = True

    def _entries(self, infolist: Callable[[], list[Any]], on_loop: bool) -> Iterator[Entry]:
        for index, file in enumerate(_renamed(self._files)):
            file.use(partial(_in_stream, infolist, index))
            yield file.entry(file.source(on_loop))

    def _layout(self, on_loop: bool = False) -> ZipLayout | None:
        """Return a layout of the archive if all headers can be made without reading data, else None."""
        self._files = files = list(_renamed(self._files))
        if not all(file.is_known for file in files):
            return None
        layout = ZipLayout([with_local_date(file.entry(_layout_source(file, on_loop))) for file in files], **_NAMES)
        self._check_end(self._offset - layout.size)
        for index, file in enumerate(files):
            file.use(partial(_in_layout, layout, index))
        return layout

    async def _from_layout(self, layout: ZipLayout) -> AsyncGenerator[bytes, None]:
        """Yield bytes from the offset on: asynchronous data from its files, everything else from the layout."""
        place = self._offset
        for file, entry in zip(list(self._files), layout.entries, strict=True):
            end = entry.data_offset + entry.size
            if not file.is_async or end <= place:
                continue
            async with aclosing(layout.aiter_range(place, max(place, entry.data_offset))) as chunks:
                async for chunk in chunks:
                    yield chunk
            left = max(0, place - entry.data_offset)
            async with aclosing(file.async_data()) as data:
                async for chunk in data:
                    if left < len(chunk):
                        yield chunk[left:] if left else chunk
                    left = max(0, left - len(chunk))
            place = end
        async with aclosing(layout.aiter_range(place)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _options(self) -> dict[str, Any]:
        return {**_OPTIONS, "on_progress": self._refuse_deflated} if self._offset else _OPTIONS

    def _refuse_deflated(self, progress: Progress) -> None:
        """Refuse deflated data before the offset: another zlib or engine may compress it to different bytes."""
        over, self._members = progress.members > self._members, progress.members
        if over and progress.entry.compression != ZIP_STORED and progress.written <= self._offset:
            raise ValueError("Byte offset is supported only for non compressed files")

    @staticmethod
    def _check_end(left: int) -> None:
        if left > 0:
            raise ValueError("Byte offset > total archive size")


async def _as_async(entries: Iterable[Entry]) -> AsyncGenerator[Entry, None]:
    for entry in entries:
        yield entry


def _renamed(files: Iterable[BaseFile]) -> Iterator[BaseFile]:
    """Yield the files; add a number to a name that is taken."""
    taken: dict[str, int] = {}
    try:
        for file in files:
            if not isinstance(file, BaseFile):
                raise EntryTypeError(
                    f"{file!r} is not a file: give a LocalFile, GenFile, EmptyFolder, or a BaseFile of your own"
                )
            name = file.name
            if name in taken:
                number = taken[name] + 1
                while (numbered := _numbered(name, number)) in taken:
                    number += 1
                taken[name] = number
                file.set_file_name(numbered)
            taken[file.name] = taken.get(file.name, 0)
            yield file
    finally:
        if isinstance(files, GeneratorType):
            files.close()


def _numbered(name: str, number: int) -> str:
    """Insert ``(1)`` before the extension: ``name (1).txt``."""
    head, slash, tail = name.removesuffix("/").rpartition("/")
    stem, dot, suffix = tail.rpartition(".") if "." in tail else (tail, "", "")
    return f"{head}{slash}{stem} ({number}){dot}{suffix}{'/' if name.endswith('/') else ''}"


def _layout_source(file: BaseFile, on_loop: bool) -> Any:
    """Return a source for the layout. It never reads asynchronous data, except of an empty file, which is b""."""
    return b"" if on_loop and file.is_async and not file.predicted_size else file.source(False)


def _in_stream(infolist: Callable[[], list[Any]], index: int) -> MemberInfo | None:
    for info in infolist()[index : index + 1]:
        return MemberInfo(info.file_size, info.compress_size, info.CRC, info.header_offset)
    return None


def _in_layout(layout: ZipLayout, index: int) -> MemberInfo | None:
    entry = layout.entries[index]
    return None if entry.crc32 is None else MemberInfo(entry.size, entry.compressed_size, entry.crc32, entry.offset)
