"""Open remote archives and stream their members on an event loop, without blocking it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from ..._checks import count_of
from ..._compression.decoders import STEP, Decoder, inflate_chunk
from ..._concurrency.cancellation import check_loop, dropped, settled
from ..._concurrency.offload import StepThreads, on_thread
from ..._format.end_records import SUFFIX, check_directory, not_an_archive
from ..._format.records import LOCAL
from ..._format.sozip import find_index
from ...errors import EntryTypeError, OptionError
from ..objects import RemoteObject
from ..waiting import PATIENCE_S, Waiting
from .parts import PartWindow
from .read_ahead import Extent
from .seekable_member import NEAR_BYTES, index_range
from .stored_member import header_size, too_long
from .zip_file import PART_SIZE, ArchiveOpener, RemoteMembers, members_of, readable_member

if TYPE_CHECKING:
    from typing import Unpack

    from typing_extensions import Buffer

    from ..store_options import ArchiveOptions, StoreOptions

# Most bytes to decompress, and to check if stored, on the event loop: a thread hop costs more.
_LOOP_MAX_BYTES, _LOOP_MAX_STORED_BYTES = 1 << 14, 1 << 19


async def open_remote_async(
    url: str | Callable[[int, int], Buffer],
    *,
    window: int = 4,
    part_size: int = PART_SIZE,
    store: Any = None,
    size: int | None = None,
    suffix_size: int = SUFFIX,
    patience: float = PATIENCE_S,
    deadline: float | None = None,
    **store_options: Unpack[StoreOptions],
) -> ZipFile:
    """Like `open_remote`, on an event loop. Requests do not block the loop; a thread parses the central directory.

    The returned ZipFile is an ordinary one: read it on threads, or with `member_stream`. `Entry.copy` accepts it, also
    for `async_stream_zip`. A `fetch` function is called on threads.

    Raises: as `open_remote`.
    """
    check_loop()
    waiting = Waiting.checked(patience, deadline)
    archive: ArchiveOpener = await on_thread(
        lambda: ArchiveOpener(url, window, part_size, store, size, suffix_size, waiting, store_options),
        "opening an archive",
    )
    source = archive.source
    tail = await source.atail(suffix_size)
    end = archive.find_end(tail)
    if end is None:
        raise not_an_archive(await source.aread(0, min(4, source.size)), source.where)
    missing = archive.missing(end, tail)
    if missing is not None:
        parts: list[bytes] = []
        async with aclosing(source.achunks(*missing)) as chunks:
            async for chunk in chunks:
                if not parts:
                    check_directory(chunk, source.where, end)
                parts.append(chunk)
        tail = b"".join([*parts, tail])
    opened: ZipFile = await on_thread(lambda: archive.build(end, tail), "opening an archive")
    return opened


async def member_stream(
    archive: ZipFile | str | Callable[[int, int], Buffer],
    member: str | ZipInfo,
    *,
    start: int = 0,
    stop: int | None = None,
    **options: Unpack[ArchiveOptions],
) -> AsyncGenerator[bytes, None]:
    """Yield the decompressed data of a member on the event loop, in chunks of up to 1 MiB, as they arrive.

    Nothing is fetched before it is needed, except the parts that `window` allows. Each member takes one request, or one
    for each part; only `ZipFile.open` fetches several small members together. The last chunk is held back until size
    and CRC-32 have been verified, unless `stop` comes before it. Close the generator if it is not iterated to its end
    (`contextlib.aclosing`): closing and cancellation end running requests.

    Args:
        archive: the return value of `open_remote_async` or `open_remote`, which stays open; or their first argument,
            with their `options`: that archive is opened, and closed at the end.
        member: name of the member, or its ZipInfo. Methods other than stored, deflate, bzip2, lzma and zstd (extra
            ``zstd``) are rejected.
        start, stop: offsets in the data, of the first byte and after the last one (default: all). From 1 MiB on, a
            request for the header of a stored member, or for the index of a deflated one (see `open_remote`), spares
            the bytes before `start`. The CRC-32 cannot be verified then.
        options: keyword arguments of `open_remote_async`; not for an open archive.

    Raises: as `open_remote`; OptionError for an invalid `start` or `stop`; EntryError if the member does not exist;
    EncryptedMemberError if it is encrypted.
    """
    part = _checked_range(start, stop)
    if isinstance(archive, ZipFile):
        if options:
            raise EntryTypeError(
                f"{next(iter(options))}=: the archive is open already: give its options to open_remote_async"
            )
        chunks = _member_data(archive, member, *part)
    else:
        opened = await open_remote_async(archive, **options)
        chunks = _member_data(opened, member, *part, close=True)
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk


def _checked_range(start: int, stop: int | None) -> tuple[int, int | None]:
    first, last = count_of(start), None if stop is None else count_of(stop)
    if first is None:
        raise OptionError(f"start={start!r}: give an offset, 0 or more")
    if stop is not None and (last is None or last < first):
        raise OptionError(f"start={start!r}, stop={stop!r}: give two offsets, the larger one last")
    return first, last


async def _member_data(
    archive: ZipFile, member: Any, start: int, stop: int | None, *, close: bool = False
) -> AsyncGenerator[bytes, None]:
    threads = StepThreads("closing a remote member")
    threads.begin()
    try:
        remote = members_of(archive)
        info = readable_member(archive, member, remote.source.where)
        extents = await threads.run(lambda: remote.extents)
        opened = _Opened(remote, info, extents.of(info), threads)
        stop = info.file_size if stop is None else min(stop, info.file_size)
        is_whole = start == 0 and stop == info.file_size
        async with aclosing(_decoded(opened) if is_whole else _part(opened, start, stop)) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        threads.close()
        if close:
            archive.close()


class _Opened(NamedTuple):
    """A member that is read, and the threads that decompress it."""

    remote: RemoteMembers
    info: ZipInfo
    extent: Extent
    threads: StepThreads

    @property
    def label(self) -> str:
        return f"{self.remote.source.where}: member {self.info.filename!r}"


async def _decoded(member: _Opened) -> AsyncGenerator[bytes, None]:
    """Yield all data of the member."""
    decoder, threads = Decoder(member.info, member.label), member.threads
    held = b""
    async with aclosing(_compressed(member.remote, member.extent, member.info)) as chunks:
        async for chunk in chunks:
            decoder.feed(chunk)
            on_loop = decoder.pending <= (_LOOP_MAX_STORED_BYTES if decoder.is_stored else _LOOP_MAX_BYTES)
            while data := decoder.take() if on_loop else await threads.run(decoder.take):
                if held:
                    yield held
                held = data
    decoder.check()
    if held:
        yield held


async def _part(member: _Opened, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    """Yield the data of the member from `start` to `stop`."""
    if start >= stop:
        return
    if start >= NEAR_BYTES:
        jumps = _stored_part if member.info.compress_type == ZIP_STORED else _indexed_part
        async with aclosing(jumps(member, start, stop)) as chunks:
            async for chunk in chunks:
                yield chunk
                start += len(chunk)
        if start >= stop:
            return
    at = 0
    async with aclosing(_decoded(member)) as chunks:
        async for chunk in chunks:
            part = chunk[max(0, start - at) : stop - at]
            at += len(chunk)
            if part:
                yield part
            if at >= stop:
                return


async def _stored_part(member: _Opened, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    """Yield the data from `start` to `stop` of a stored member."""
    remote, info, extent = member.remote, member.info, member.extent
    end = extent.stop - info.compress_size
    if end <= extent.start:
        return  # reading it from the beginning says why
    head = await remote.source.aread(extent.start, end)
    if len(head) >= LOCAL.size and len(head) < LOCAL.size + (more := sum(LOCAL.unpack_from(head)[-2:])):
        head += await remote.source.aread(extent.start + len(head), min(extent.start + LOCAL.size + more, extent.limit))
    header = header_size(head, info, member.label)
    begin = extent.start + (header or 0)
    if header is None or info.compress_size != info.file_size or begin + info.compress_size > extent.limit:
        return
    async with aclosing(_ranges(remote, begin + start, begin + stop)) as chunks:
        async for chunk in chunks:
            yield chunk


async def _indexed_part(member: _Opened, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    """Yield the data from `start` to `stop` by the index of a deflated member, as far as that is valid."""
    remote, info, extent = member.remote, member.info, member.extent
    place = index_range(info, extent.limit)
    if place is None:
        return
    tail = await remote.source.aread(*place)
    points = await member.threads.run(partial(find_index, tail, place[0], info))
    if points is None:
        return
    numbers = points.chunks(start, stop)
    places = points.places(numbers, extent.limit)
    if places is None:
        return
    held, number = b"", numbers.start
    async with aclosing(_ranges(remote, *places)) as pieces:
        async for piece in pieces:
            held, used = held + piece, 0
            while number < numbers.stop:
                size = points.place(number + 1) - points.place(number)
                if used + size > len(held):
                    break
                coded, is_last = held[used : used + size], points.is_last(number)
                work = partial(inflate_chunk, coded, points.length(number), is_last=is_last)
                data = work() if size <= _LOOP_MAX_BYTES else await member.threads.run(work)
                if data is None:
                    return
                begin = number * points.chunk
                end = min(len(data), stop - begin)
                for at in range(max(0, start - begin), end, STEP):
                    yield data[at : min(at + STEP, end)]
                number, used = number + 1, used + size
            held = held[used:]


async def _compressed(remote: RemoteMembers, extent: Extent, info: ZipInfo) -> AsyncGenerator[bytes, None]:
    """Yield the compressed data of the member."""
    label = f"{remote.source.where}: member {info.filename!r}"
    head, left = b"", -1
    for start, stop in ((extent.start, extent.stop), (extent.stop, extent.limit)):
        if left == 0 or start >= stop:
            break
        stop = stop if left < 0 else min(stop, start + left)
        async with aclosing(_ranges(remote, start, stop)) as chunks:
            async for chunk in chunks:
                if left < 0:
                    head += chunk
                    skipped = header_size(head, info, label)
                    if skipped is None:
                        continue
                    chunk, left = head[skipped:], info.compress_size
                chunk = chunk[:left]
                left -= len(chunk)
                if chunk:
                    yield chunk
                if not left:
                    return
    if left:
        raise too_long(label)


def _ranges(remote: RemoteMembers, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    if remote.window < 2 or stop - start <= remote.part_size:
        return remote.source.achunks(start, stop)
    return _windowed(remote.source, start, stop, remote.window, remote.part_size)


async def _windowed(
    source: RemoteObject, start: int, stop: int, window: int, part_size: int
) -> AsyncGenerator[bytes, None]:
    """Like `parts.windowed`, with tasks instead of threads."""
    ahead = PartWindow(start, stop, window, part_size, partial(_TaskPart, source))
    try:
        while True:
            ahead.make_parts()
            if not ahead.parts:
                return
            chunk = await ahead.parts[0].take()
            ahead.note_taken(chunk)
            if chunk:
                yield chunk
    finally:
        for part in ahead.parts:
            part.task.cancel()
        cancelled = [await dropped(part.task) for part in ahead.parts]
        for error in filter(None, cancelled):
            raise error


class _TaskPart:
    """Bytes `start` to `stop` of an object, fetched by a task."""

    def __init__(self, source: RemoteObject, start: int, stop: int) -> None:
        import asyncio

        self._chunks: deque[bytes] = deque()
        self._moved = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(source.achunks(start, stop)))

    async def _run(self, chunks: AsyncGenerator[bytes, None]) -> None:
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    self._chunks.append(chunk)
                    self._moved.set()
        finally:
            self._moved.set()

    async def take(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        while not self._chunks:
            if self.task.done():
                await self.task
                return b""
            self._moved.clear()
            if not self._chunks:
                await self._moved.wait()
            if not self._chunks:  # the data has ended, and the task ends next
                stop = await settled(self.task)
                if stop is not None:
                    raise stop
        return self._chunks.popleft()
