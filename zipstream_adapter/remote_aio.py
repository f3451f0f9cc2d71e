"""Archives that lie elsewhere, for an event loop: opened, and a member's data as it comes. The loop never waits."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any
from zipfile import ZipFile, ZipInfo

from .aio_threads import StepThreads
from .aio_wait import settled
from .errors import BadArchiveError, EntryError, EntryTypeError
from .fields import described
from .remote_ahead import Extent
from .remote_decoding import Decoder
from .remote_directory import SUFFIX, check_directory, not_an_archive
from .remote_object import RemoteObject, part_end
from .remote_parts import EAGER
from .remote_stored import header_size
from .remote_zip import PART_SIZE, Opening, Remote, RemoteZipFile, check_readable

# Bytes that are decompressed, and that are but checked, on the loop: that takes no longer than some hops to a thread.
_AT_ONCE, _STORED_AT_ONCE = 1 << 14, 1 << 19


async def open_remote_async(
    url: str | Callable[[int, int], Any],
    *,
    window: int = 4,
    part_size: int = PART_SIZE,
    store: Any = None,
    size: int | None = None,
    suffix_size: int = SUFFIX,
    **store_options: Any,
) -> ZipFile:
    """`open_remote` for an event loop, which waits for no answer: the directory is parsed on a thread.

    What it returns is a ZipFile as any other: it is read on threads, or by `member_stream`. `Entry.copy` takes it, also
    for `async_stream_zip`. A `fetch` function is called on threads.

    Raises: as `open_remote`.
    """
    threads = StepThreads()
    try:
        archive: Opening = await threads.run(
            lambda: Opening(url, window, part_size, store, size, suffix_size, store_options)
        )
        source = archive.source
        tail = await source.atail(suffix_size)
        end = archive.find_end(tail)
        if end is None:
            head = [chunk async for chunk in source.achunks(0, min(4, source.size))]
            raise not_an_archive(b"".join(head), tail, source.where)
        missing = archive.missing(end, tail)
        if missing is not None:
            parts: list[bytes] = []
            async with aclosing(source.achunks(*missing)) as chunks:
                async for chunk in chunks:
                    if not parts:
                        check_directory(chunk, source.where, end)
                    parts.append(chunk)
            tail = b"".join([*parts, tail])
        opened: ZipFile = await threads.run(lambda: archive.opened(end, tail))
        return opened
    finally:
        threads.close()


async def member_stream(
    archive: ZipFile | str | Callable[[int, int], Any], member: str | ZipInfo, **options: Any
) -> AsyncGenerator[bytes, None]:
    """The data of a member, decompressed, on the loop: chunks of up to 1 MiB, as they come, and none ahead of demand
    but the parts that `window` allows.

    Each member takes a request of its own, or one for each part: small ones in order come together in `ZipFile.open`
    only. The last chunk does not leave before the size and the CRC-32 have been found right. To be closed where it is
    not iterated to its end (`contextlib.aclosing`): that, and a cancellation, ends what is under way.

    Args:
        archive: what `open_remote_async` or `open_remote` has returned, which stays open; or what they take, with their
            `options`, which is closed at the end.
        member: its name, or its ZipInfo. What is compressed by other than deflate, bzip2, lzma
            and zstd (extra ``zstd``) is refused.

    Raises: as `open_remote`; EntryError where there is no such member; EncryptedMemberError for an encrypted one.
    """
    if isinstance(archive, ZipFile):
        if options:
            raise EntryTypeError(f"{next(iter(options))}=: the archive is open, and has its options")
        chunks = _data(archive, member)
    else:
        opened = await open_remote_async(archive, **options)
        chunks = _data(opened, member, close=True)
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk


async def _data(archive: ZipFile, member: Any, *, close: bool = False) -> AsyncGenerator[bytes, None]:
    threads = StepThreads()
    try:
        remote, info = _found(archive, member)
        extents = await threads.run(lambda: remote.extents)
        decoder = Decoder(info, f"{remote.source.where}: member {info.filename!r}")
        held = b""
        async with aclosing(_compressed(remote, extents.of(info), info)) as chunks:
            async for chunk in chunks:
                decoder.feed(chunk)
                on_loop = decoder.pending <= (_STORED_AT_ONCE if decoder.is_stored else _AT_ONCE)
                while data := decoder.take() if on_loop else await threads.run(decoder.take):
                    if held:
                        yield held
                    held = data
        decoder.check()
        if held:
            yield held
    finally:
        threads.close()
        if close:
            archive.close()


def _found(archive: ZipFile, member: Any) -> tuple[Remote, ZipInfo]:
    if not isinstance(archive, RemoteZipFile):
        raise EntryTypeError(f"archive={described(archive)}: give what open_remote or open_remote_async has returned")
    if archive.remote is None:
        raise ValueError(f"{archive.filename} has been closed")
    if not isinstance(member, str | ZipInfo):
        raise EntryTypeError(f"member={described(member)}: give the name of a member, or its ZipInfo")
    where = archive.remote.source.where
    try:
        info = archive.getinfo(member) if isinstance(member, str) else member
    except KeyError:
        raise EntryError(f"there is no member {member!r} in {where}") from None
    check_readable(info, where, has_password=False)
    return archive.remote, info


async def _compressed(remote: Remote, extent: Extent, info: ZipInfo) -> AsyncGenerator[bytes, None]:
    """The member's data as it is compressed."""
    what = f"{remote.source.where}: member {info.filename!r}"
    head, left = b"", -1
    for start, stop in ((extent.start, extent.stop), (extent.stop, extent.limit)):
        if left == 0 or start >= stop:
            break
        stop = stop if left < 0 else min(stop, start + left)
        async with aclosing(_ranges(remote, start, stop)) as chunks:
            async for chunk in chunks:
                if left < 0:
                    head += chunk
                    skipped = header_size(head, info, what)
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
        raise BadArchiveError(f"{what} cannot be read: its data runs into what follows it")


def _ranges(remote: Remote, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    if remote.window < 2 or stop - start <= remote.part_size:
        return remote.source.achunks(start, stop)
    return _windowed(remote.source, start, stop, remote.window, remote.part_size)


async def _windowed(
    source: RemoteObject, start: int, stop: int, window: int, part_size: int
) -> AsyncGenerator[bytes, None]:
    """As `remote_parts.windowed`, by tasks."""
    at = start
    ahead: deque[_Part] = deque()
    taken = 0
    try:
        while ahead or at < stop:
            most = window if taken > EAGER else 1
            while at < stop and len(ahead) < most:
                end = part_end(at, stop, part_size)
                ahead.append(_Part(source, at, end))
                at = end
            chunk = await ahead[0].take()
            taken += len(chunk)
            if chunk:
                yield chunk
            else:
                ahead.popleft()
    finally:
        for part in ahead:
            part.task.cancel()
        cancelled = [await settled(part.task) for part in ahead]
        for error in filter(None, cancelled):
            raise error


class _Part:
    """Bytes from `start` to `stop`, fetched by a task."""

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
        """The next bytes; none at the end."""
        while not self._chunks:
            if self.task.done():
                await self.task
                return b""
            self._moved.clear()
            if not self._chunks:
                await self._moved.wait()
            if not self._chunks:  # it has ended, but for its last step
                stop = await settled(self.task)
                if stop is not None:
                    raise stop
        return self._chunks.popleft()
