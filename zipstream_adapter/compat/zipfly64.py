"""For programs written for zipFly64 1.5: ``from zipstream_adapter.compat.zipfly64 import ZipFly, LocalFile, GenFile``.

As there, names that are taken are numbered, and neither a `ZipFly` nor a file can be used twice. Other than there:

- zip64 only where a value needs it, and complete headers where sizes are known; there, every archive was zip64.
- A size that is told comes true: of deflated data there is none (RuntimeError); there, it was that of stored data.
- At an offset, declared data before it is not asked for; a local file is read once where its CRC-32 is needed.
- A local file that changes while it is read, and an offset too large, raise.
- Absolute names, ``..``, drives and backslashes are made relative and plain. Files keep their modes.
- After a failure nothing more leaves. `validate_crc=False` lets no wrong CRC-32 into an archive.
- `async_stream` takes plain generators, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any
from zipfile import ZIP_STORED

from ..aio import AsyncZipStream
from ..coercion import Draft
from ..entry import Entry
from ..errors import EntryTypeError, OptionError
from ..layout import ZipLayout
from ..options import Progress
from ..stream import ZipStream
from .clock import Clock
from .zipfly64_files import BaseFile, EmptyFolder, Found, GenFile, LocalFile, consts

__all__ = ["BaseFile", "EmptyFolder", "GenFile", "LocalFile", "ZipFly", "consts"]

_OPTIONS: Any = {"names": "repair", "duplicates": "rename"}


class ZipFly:
    """An archive of `files`, for one use.

    Args:
        files: an iterable of files; what is no sequence is taken up as it is streamed.
        byte_offset: where in the archive to begin. Local files and data with declared `size` and `crc` that stand
            before it are not sent again; with deflated data, or none declared, behind it, all is made anew up to there.

    Raises:
        RuntimeError for a second use; PromiseError (a RuntimeError) where data is not as declared; ValueError for an
        offset too large, or behind deflated data; whatever `stream_zip` raises.
    """

    def __init__(self, files: Iterable[BaseFile], byte_offset: int = 0) -> None:
        if not isinstance(byte_offset, int) or byte_offset < 0:
            raise OptionError(f"byte_offset={byte_offset!r}: give a place in the archive, a whole number of bytes")
        self._files = files
        self._offset = byte_offset
        self._used = False
        self._members = 0

    def was_used(self) -> bool:
        """Whether it was streamed."""
        return self._used

    def calculate_archive_size(self) -> int:
        """Bytes in the whole archive. Raises RuntimeError where they cannot be known beforehand."""
        if not isinstance(self._files, Sequence):
            raise RuntimeError("Cannot calculate archive size for lazy files. Use a list of files instead.")
        with ZipStream([file.entry(file.source(False)) for file in _renamed(self._files)], **_OPTIONS) as stream:
            if stream.size is None:
                raise RuntimeError(
                    "Cannot calculate archive size: every file has to be stored, and every GenFile needs its size."
                )
            return stream.size

    def stream(self) -> Generator[bytes, None, None]:
        """The archive's bytes."""
        self._use()
        layout = self._layout() if self._offset else None
        if layout is not None:
            yield from layout.iter_range(self._offset)
            return
        stream = ZipStream(self._entries(lambda: stream.infolist(), on_loop=False), **self._options())
        left = self._offset
        with stream:
            for chunk in stream:
                if left < len(chunk):
                    yield chunk[left:] if left else chunk
                left = max(0, left - len(chunk))
        self._check_end(left)

    async def async_stream(self) -> AsyncGenerator[bytes, None]:
        """The archive's bytes, for an event loop."""
        async with aclosing(self._async_stream(0)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def async_stream_parallel(
        self, prefetch_files: int = 20, max_chunks_per_file: int = 2
    ) -> AsyncGenerator[bytes, None]:
        """Likewise, while the first 256 KiB of as many files to come are fetched.

        max_chunks_per_file: is taken, and not minded; an offset among declared data fetches nothing ahead.
        """
        async with aclosing(self._async_stream(prefetch_files)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _async_stream(self, prefetch: int) -> AsyncGenerator[bytes, None]:
        self._use()
        layout = self._layout(on_loop=True) if self._offset else None
        if layout is not None:
            async with aclosing(self._around(layout)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        entries: Any = self._entries(lambda: stream.infolist(), on_loop=True)
        if isinstance(self._files, list | tuple):  # no one has to wait for the next of them
            entries = _at_once(entries)
        stream = AsyncZipStream(entries, prefetch=prefetch, **self._options())
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

    def _entries(self, infolist: Callable[[], list[Any]], on_loop: bool) -> Iterator[Entry | Draft]:
        clock = Clock()
        for index, file in enumerate(_renamed(self._files)):
            file.use(partial(_in_stream, infolist, index))
            yield file.draft(file.source(on_loop), clock)

    def _layout(self, on_loop: bool = False) -> ZipLayout | None:
        """The archive, where all is known that stands around data, so that data before the offset is not needed."""
        self._files = files = list(_renamed(self._files))
        if not all(file.is_known for file in files):
            return None
        layout = ZipLayout([file.entry(_placed(file, on_loop)) for file in files], **_OPTIONS)
        self._check_end(self._offset - layout.size)
        for index, file in enumerate(files):
            file.use(partial(_in_layout, layout, index))
        return layout

    async def _around(self, layout: ZipLayout) -> AsyncGenerator[bytes, None]:
        """From the offset on: asynchronous data as it comes, and from the layout what stands around it."""
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
        """Refuse deflated data before the offset: another library, or version, would have made other bytes of it."""
        over, self._members = progress.members > self._members, progress.members
        if over and progress.entry.compression != ZIP_STORED and progress.written <= self._offset:
            raise ValueError("Byte offset is supported only for non compressed files")

    @staticmethod
    def _check_end(left: int) -> None:
        if left > 0:
            raise ValueError("Byte offset > total archive size")


async def _at_once(entries: Iterable[Entry | Draft]) -> AsyncGenerator[Entry | Draft, None]:
    for entry in entries:
        yield entry


def _renamed(files: Iterable[BaseFile]) -> Iterator[BaseFile]:
    """The files, as they come; one whose name is taken has got a number behind it."""
    taken: dict[str, int] = {}
    for file in files:
        if not isinstance(file, BaseFile):
            raise EntryTypeError(
                f"{file!r} is no file: give a LocalFile, GenFile, EmptyFolder, or a BaseFile of your own"
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


def _numbered(name: str, number: int) -> str:
    """``name (1).txt``: by the last component's last dot."""
    head, slash, tail = name.removesuffix("/").rpartition("/")
    stem, dot, suffix = tail.rpartition(".") if "." in tail else (tail, "", "")
    return f"{head}{slash}{stem} ({number}){dot}{suffix}{'/' if name.endswith('/') else ''}"


def _placed(file: BaseFile, on_loop: bool) -> Any:
    """What a layout takes; of asynchronous data it gets to see nothing, and asks for none but of an empty file."""
    return b"" if on_loop and file.is_async and not file.predicted_size else file.source(False)


def _in_stream(infolist: Callable[[], list[Any]], index: int) -> Found | None:
    for info in infolist()[index : index + 1]:
        return Found(info.file_size, info.compress_size, info.CRC, info.header_offset)
    return None


def _in_layout(layout: ZipLayout, index: int) -> Found | None:
    entry = layout.entries[index]
    return None if entry.crc32 is None else Found(entry.size, entry.compressed_size, entry.crc32, entry.offset)
