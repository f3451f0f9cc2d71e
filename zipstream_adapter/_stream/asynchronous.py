"""async_stream_zip and AsyncZipStream: the stream for an event loop. It never blocks the loop."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._checks import check_names, size_to_take
from .._compression.secret import hide_in
from .._concurrency.cancellation import check_loop, outlasting
from .._concurrency.offload import StepThreads, closed_or_left, on_thread
from .._entries.inspection import check_entries
from .._entries.one_pass import refuse_begun, refuse_finished
from .._writer.options import AsyncStreamOptions, Options, SpelledOut, spelled_out
from ..errors import PoisonedError, StreamStateError
from .async_driver import AsyncDriver
from .base import StreamBase
from .producer import Producer

if TYPE_CHECKING:
    from typing import Self, Unpack

    from .._entries.coercion import AsyncEntryLike
    from .._entries.types import StrPath

_SAVED_AT_ONCE, _SAVING = 1 << 20, "saving an archive"


@spelled_out(AsyncStreamOptions)
def async_stream_zip(
    entries: Iterable[AsyncEntryLike] | AsyncIterable[AsyncEntryLike], **options: Unpack[AsyncStreamOptions]
) -> AsyncZipStream:
    """Return a zip archive of `entries` as an asynchronous iterator of bytes: `stream_zip` for an event loop.

    Options and output are those of `stream_zip`. Reading files (opened by aiofiles), checksums, compression and the
    central directory run on threads, for up to 5 ms or 4 MiB at a time; the more bytes all streams hold for their
    consumers (beyond 8 MiB together), the less, down to 128 KiB. All streams of the process share min(32, cores + 4)
    threads; at most one stream per core, and one more, run such steps at a time, in order of arrival, without those
    that wait for a source. Awaitables are awaited on the loop. Steps of up to 64 KiB of stored data (512 KiB with the
    extra ``fast``, 1 KiB of deflated data) also run on the loop: a thread hop costs more. There, streams take turns, so
    that they run for about 1 ms of each loop iteration, however many they are.

    Args:
        entries: an iterable or an asynchronous iterable of entries, as for `stream_zip`. A source may also be an async
            iterable, an object whose ``read(n)`` returns an awaitable, an awaitable, an async context manager, a
            response of an asynchronous client, an `asyncio.subprocess.Process`, or a callable that returns any of
            these. An async callable is called on the loop; any other is called on a thread, or on the loop if it fails
            because no loop is running in the thread. Each source is used when its turn comes, and closed once, on the
            loop. Iterables and files that are not asynchronous are read on threads, with the caller's context
            variables.
        on_error, on_progress: plain or asynchronous functions; called on the loop.
        prefetch: as for `stream_zip`, but by tasks: each opens, reads and closes one source. A task also pulls
            `entries`.
        checksums: as for `stream_zip`; used on threads only.

    Raises:
        EventLoopError: without asyncio, for example under trio. All other errors are those of `stream_zip`.

    A cancelled ``__anext__`` or `aclose` waits for the running step, withdraws steps that have not begun, closes what
    is open, and leaves no task or thread behind. The stream gives no more data after that. After a second
    cancellation, a step that hangs is abandoned 1 s later, with a RuntimeWarning, and closed in the background (see
    `streams_closed`).
    """
    hide_in(options)
    check_names("async_stream_zip", options, AsyncStreamOptions.__optional_keys__)
    return AsyncZipStream(entries, **options)


class AsyncZipStream(StreamBase):
    """An asynchronous iterator of an archive's bytes (non-empty ``bytes``), made on request. Can be iterated over once.

    Iterating over a stream that is finished, failed or closed raises StreamStateError, so that no client sends an empty
    body in place of the archive. It has no ``len()``; see `size`. Use it from one task at a time. The event loop closes
    a stream that is dropped without `aclose`. `options` are those of `async_stream_zip`.
    """

    __signature__ = SpelledOut(AsyncStreamOptions)

    def __init__(
        self,
        entries: Iterable[AsyncEntryLike] | AsyncIterable[AsyncEntryLike],
        **options: Unpack[AsyncStreamOptions],
    ) -> None:
        self._fill(entries, Options.given_to("AsyncZipStream", options, AsyncStreamOptions))

    def _fill(self, entries: Any, checked: Options) -> None:
        self._threads = threads = StepThreads()
        if isinstance(entries, AsyncIterable):
            refuse_finished(entries)
        else:
            check_entries(entries)
        producer = Producer(entries, checked)
        super().__init__(entries, checked, producer)
        # Holds no reference to this object, so that a dropped stream is collected, and closed, at once.
        self._driver = AsyncDriver(producer, threads)
        self._chunks: Any = self._driver.chunks()
        self._running = False

    def __aiter__(self) -> Self:
        self._refuse_if_used_up()
        return self

    async def __anext__(self) -> bytes:
        if self._left_over:
            return await self.read(len(self._left_over))
        chunk = await self._take()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read(self, size: int | None = -1) -> bytes:
        """Return the next `size` bytes, fewer only at the end; -1 or None returns all the rest. b"" means the end."""
        self._refuse_if_running()
        wanted = size_to_take(size)
        parts = []
        try:
            while wanted and (chunk := self._left_over or memoryview(await self._take())):
                part = chunk if wanted < 0 else chunk[:wanted]
                self._left_over = chunk[len(part) :]
                parts.append(part)
                wanted -= len(part) if wanted > 0 else 0
            return b"".join(parts)
        except StreamStateError:
            raise
        except BaseException as exc:
            # The bytes read by this call are lost: no later byte may be returned.
            self._fail(self._failure or exc)
            raise

    async def _take(self) -> bytes:
        """Return the next chunk; b"" means the end."""
        self._refuse_if_failed()
        if self._over:
            return b""
        self._refuse_if_running()
        if not self._begun:
            check_loop()
        self._begun = self._running = True
        try:
            try:
                chunk: bytes = await outlasting(self._chunks.__anext__(), self._threads)
            except StopAsyncIteration:
                # An event loop that ends closes its generators: they end then, too.
                if not self._producer.is_whole:
                    raise PoisonedError(
                        "this stream ended with the event loop that it was read in, and its archive is incomplete"
                    ) from None
                chunk = b""
            self._over = not chunk
            self._taken += len(chunk)
            return chunk
        except BaseException as exc:
            self._fail(exc)
            raise
        finally:
            self._running = False

    async def save(self, path: StrPath) -> int:
        """Write the archive to the file at `path`, as `async_save` does. Returns its size in bytes.

        The stream is closed afterwards. Raises StreamStateError if anything was read from it before.
        """
        from .._writer.whole_file import WholeFile  # only for those who save

        refuse_begun(self)
        check_loop()
        file = WholeFile(path)
        try:
            await on_thread(file.open, _SAVING)
            self._producer.leave_out(file.identities)
            # In pieces of a megabyte, as a hop to a thread costs more than a small write.
            while data := await self.read(_SAVED_AT_ONCE):
                await on_thread(partial(file.write, data), _SAVING)
            await on_thread(file.finish, _SAVING)
        except BaseException:
            await closed_or_left(on_thread(file.abort, _SAVING), _SAVING)
            raise
        finally:
            await self.aclose()
        return self.tell()

    async def aclose(self) -> None:
        """End the stream: close `entries` and the open source. An unfinished archive stays unfinished.

        Does nothing if a second cancellation left closing to the background; `streams_closed` waits for that.
        """
        self._refuse_if_running()
        check_loop()
        self._close_for_good()
        first, self._closed = not self._closed, True
        if self._chunks.ag_running:
            return  # a second cancellation left it to the background
        self._running = True
        try:
            await outlasting(self._ended(unbegun=first and not self._begun), self._threads)
        finally:
            self._running = False

    async def _ended(self, *, unbegun: bool) -> None:
        self._threads.hurry()
        try:
            await self._chunks.aclose()
            if unbegun:
                await self._driver.close_unbegun()
        finally:
            self._threads.close()

    def _refuse_if_running(self) -> None:
        if self._running:
            raise StreamStateError(
                "this stream is making its next chunk: use it from one task at a time; to end it, cancel that task or "
                "raise an exception in a callback"
            )

    async def __aenter__(self) -> Self:
        check_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def async_stream_with(entries: Any, **options: Any) -> AsyncZipStream:
    """Return a stream with any option of `Options`: also those that are for modules of this package only."""
    stream = AsyncZipStream.__new__(AsyncZipStream)
    stream._fill(entries, Options.given_to("AsyncZipStream", options))
    return stream
