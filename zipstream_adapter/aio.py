"""async_stream_zip and AsyncZipStream: the stream for an event loop, which never waits for the work."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED

from .aio_pipeline import AsyncProducer, OnLoop
from .aio_threads import StepThreads
from .aio_wait import called
from .engines import Engine
from .errors import StreamStateError
from .facade import Facade
from .lookahead import DEFAULT_LOOKAHEAD
from .names import DuplicatePolicy, NamePolicy
from .options import Options
from .sink import DEFAULT_CHUNK_SIZE
from .steps import Abandoned, Offload

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from typing import Self

    from .checksums import ChecksumCache

_END = object()
# Seconds that a stream whose every step is small may keep the event loop from others.
_TURN = 0.005


def async_stream_zip(
    entries: Iterable[Any] | AsyncIterable[Any],
    *,
    compression: int | str = ZIP_STORED,
    level: int | None = None,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    lookahead: int = DEFAULT_LOOKAHEAD,
    comment: bytes = b"",
    names: NamePolicy = "strict",
    duplicates: DuplicatePolicy = "error",
    on_error: Callable[[Any, Exception], Any] | None = None,
    on_progress: Callable[[Any], Any] | None = None,
    extended_timestamps: bool = True,
    engine: Engine = "auto",
    workers: int | None = None,
    executor: Executor | None = None,
    prefetch: int = 0,
    checksums: ChecksumCache | None = None,
    password: str | bytes | None = None,
) -> AsyncZipStream:
    """A zip archive of `entries`, as an asynchronous iterator of its bytes: `stream_zip` for an event loop.

    The options are those of `stream_zip`, and the bytes are the same. Reading files (which aiofiles opens), checksums,
    compression and the central directory are done on threads, of which all streams of the process share
    min(32, cores + 4): for up to 5 ms or 4 MiB at a time (32 MiB for all streams together). On the loop are awaited
    whatever is asynchronous, and done steps of up to 64 KiB of stored data (512 KiB with the extra ``fast``, 1 KiB of
    deflated), which are less than a hop to a thread.

    Args:
        entries: an iterable or an asynchronous one. A source may also be an async iterable, an object with an
            awaitable ``read(n)``, an awaitable, an async context manager, a response of aiohttp or httpx (whose status
            is checked), or a callable that returns any of these: an async one is called on the loop, any other on a
            thread, or on the loop where it fails for want of the running one. All are used when their turn comes, and
            closed once, on the loop. Iterables and files that are not asynchronous are read on threads, with the
            caller's context variables.
        on_error, on_progress: plain or asynchronous; called on the loop.
        prefetch: as of `stream_zip`, by tasks: each opens, reads and closes one source. `entries` are pulled by a task.
        checksums: is asked on threads only.

    Raises:
        As `stream_zip`. A cancelled ``__anext__`` or `aclose` waits for the step that is under way, closes what is
        open, and leaves no task or thread; nothing can be had from the stream any more.
    """
    return AsyncZipStream(
        entries,
        compression=compression,
        level=level,
        chunk_size=chunk_size,
        lookahead=lookahead,
        comment=comment,
        names=names,
        duplicates=duplicates,
        on_error=on_error,
        on_progress=on_progress,
        extended_timestamps=extended_timestamps,
        engine=engine,
        workers=workers,
        executor=executor,
        prefetch=prefetch,
        checksums=checksums,
        password=password,
    )


class AsyncZipStream(Facade):
    """An asynchronous iterator of an archive's bytes (non-empty ``bytes``), made as they are asked for. One pass.

    To iterate over one that is finished, failed or closed raises StreamStateError, so that no client sends an empty
    body in its place. It has no ``len()``; see `size`. To be used by one task at a time. One that is merely dropped is
    closed by the event loop. `options` are those of `async_stream_zip`.
    """

    def __init__(self, entries: Iterable[Any] | AsyncIterable[Any], **options: Any) -> None:
        self._threads = threads = StepThreads()
        checked = Options(**options).checked()
        producer = AsyncProducer(entries, checked, threads.run)
        super().__init__(entries, checked, producer)
        self._unbegun = producer.close_unbegun
        # It knows nothing of this object, so that a dropped stream is collected, and closed, at once.
        self._chunks = _drive(producer, threads)
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
        """The next `size` bytes, fewer only at the end; all that are left for -1 or None. b"" is the end."""
        self._refuse_if_running()
        wanted = -1 if size is None or size < 0 else size
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
            # What was taken for this call is lost: nothing may follow the hole.
            self._fail(self._failure or exc)
            raise

    async def _take(self) -> bytes:
        """The next chunk; b"" is the end."""
        self._refuse_if_failed()
        if self._over:
            return b""
        self._refuse_if_running()
        self._begun = self._running = True
        try:
            chunk = await anext(self._chunks, b"")
            self._over = not chunk
            self._taken += len(chunk)
            return chunk
        except BaseException as exc:
            self._fail(exc)
            raise
        finally:
            self._running = False

    async def aclose(self) -> None:
        """End the stream: what is open, and `entries`, are closed; an unfinished archive stays unfinished."""
        self._refuse_if_running()
        self._close_for_good()
        first, self._closed = not self._closed, True
        self._running = True
        try:
            await self._chunks.aclose()
            if first and not self._begun:
                await self._unbegun()
        finally:
            self._threads.close()
            self._running = False

    def _refuse_if_running(self) -> None:
        if self._running:
            raise StreamStateError(
                "this stream is making its next chunk: use it from one task at a time, and cancel that, or raise an "
                "exception in a callback, to end it there"
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def _drive(producer: AsyncProducer, threads: StepThreads) -> AsyncGenerator[bytes, None]:
    """Make `producer`'s steps, each where it belongs: the archive's bytes."""
    steps = producer.chunks()
    resume: Callable[[], Any] = partial(next, steps)
    made: deque[Any] = deque()
    stop: BaseException | None = None
    rested = time.monotonic()
    try:
        while True:
            if stop is not None and not made:
                resume, stop = partial(steps.throw, stop), None
            out = made.popleft() if made else _made(resume)
            resume = partial(next, steps)
            if type(out) is _Raised:
                raise stop or out.error
            if out is _END:
                if stop is not None:
                    raise stop
                return
            if stop is not None and not getattr(out, "closing", False):
                continue
            if isinstance(out, Offload):
                several, stop = await threads.step(partial(_made_on_thread, resume, threads.share), must=out.closing)
                made.extend(several)
                rested = time.monotonic()
            elif type(out) is OnLoop:
                resume = await _answered(steps, out)
            else:
                try:
                    if time.monotonic() - rested > _TURN:
                        await asyncio.sleep(0)
                        rested = time.monotonic()
                    yield out
                except GeneratorExit:
                    stop = Abandoned()
                except asyncio.CancelledError as exc:
                    stop = exc
    except Abandoned:
        return
    finally:
        out = stop = None
        made.clear()
        resume = int  # what failed, and its frames, must not live on for as long as this one's does
        threads.close()


async def _answered(steps: Any, request: OnLoop) -> Callable[[], Any]:
    """How `steps` go on after what it has requested."""
    try:
        return partial(steps.send, await called(request.function))
    except BaseException as exc:
        return partial(steps.throw, exc)


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _made(resume: Callable[[], Any]) -> Any:
    """What the next step gives; the end is no exception, which could not come out of a coroutine."""
    try:
        return resume()
    except StopIteration:
        return _END


def _made_on_thread(resume: Callable[[], Any], most: int) -> list[Any]:
    """Likewise, on a thread, with all that belongs there: chunks, as long as the next one is no matter of waiting.

    An exception is a result: it is no cancellation of ours. What is last can be a request, too.
    """
    made: list[Any] = []
    size, until = 0, time.monotonic() + _TURN
    try:
        while size < most and time.monotonic() < until:
            while isinstance(out := _made(resume), Offload) and (out.is_work or not made):
                pass
            made.append(out)
            if type(out) is not bytes:
                break
            size += len(out)
    except BaseException as exc:
        made.append(_Raised(exc))
    return made
