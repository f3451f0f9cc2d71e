"""An archive written into an object store on an event loop, while it is made: one object, or none (extra ``s3``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from typing import Any

from .aio import AsyncZipStream
from .aio_threads import StepThreads
from .aio_wait import closed, settled
from .errors import EntryTypeError
from .facade import refuse_begun
from .layout import ZipLayout
from .stream import ZipStream
from .upload import Job, Uploaded, refuse_options, size_bound


async def upload_zip_async(
    store: Any,
    path: str,
    entries: Any,
    *,
    part_size: int | None = None,
    max_concurrency: int = 4,
    attributes: Mapping[str, str] | None = None,
    **options: Any,
) -> Uploaded:
    """`upload_zip` for an event loop, which never waits for it.

    Args:
        entries: as `async_stream_zip` takes them, asynchronous ones included; or an `AsyncZipStream` that nothing has
            been taken of; or a `ZipLayout`.
        options: those of `async_stream_zip`, for entries.

    Raises as `upload_zip`. A cancellation ends the source, waits until the upload has been aborted, and leaves nothing;
    only one that comes while the last part is sent and the whole is made of them comes too late, as there.
    """
    job = Job(store, path, part_size, max_concurrency, attributes)
    stream = _stream_of(entries, options)
    chunks = stream.aiter_range() if isinstance(stream, ZipLayout) else stream
    try:
        await _begin(job, stream, entries)
        return await _uploaded(job, _Feed(chunks, job))
    finally:
        await closed(chunks.aclose())


def _stream_of(entries: Any, options: dict[str, Any]) -> AsyncZipStream | ZipLayout:
    if isinstance(entries, AsyncZipStream | ZipLayout):
        refuse_options(entries, options)
        if isinstance(entries, AsyncZipStream):
            refuse_begun(entries)
        return entries
    if isinstance(entries, ZipStream):
        raise EntryTypeError("a ZipStream is read in a thread: give its entries, or an AsyncZipStream of them")
    return AsyncZipStream(entries, **options)


async def _begin(job: Job, stream: AsyncZipStream | ZipLayout, entries: Any) -> None:
    """Find out how large the archive will be, on a thread: files may have to be looked at."""
    if isinstance(stream, ZipLayout):
        job.begin(stream.size, None)
        return
    threads = StepThreads()
    try:
        known = await threads.run(lambda: stream.size)
        ours = known is None and stream is not entries
        job.begin(known, await threads.run(lambda: size_bound(entries)) if ours else None)
    finally:
        threads.close()


async def _uploaded(job: Job, feed: _Feed) -> Uploaded:
    in_parts = await feed.begin()  # while nothing is begun there
    task = asyncio.ensure_future(_put(job, feed, in_parts))
    try:
        done = await asyncio.shield(task)
    except asyncio.CancelledError as exc:
        # Cancelled, obstore would drop what it is doing, and leave the parts: its source has to fail.
        if in_parts:
            feed.stop()
        else:
            task.cancel()
        await settled(task)
        if not task.cancelled() and task.exception() is not None:
            job.failed(task.exception() or exc, exc)
        raise
    except BaseException as exc:
        raise job.failed(exc, feed.failure) from None
    return job.done(done, feed.size)


async def _put(job: Job, feed: _Feed, in_parts: bool) -> Any:
    if in_parts:
        return await job.obstore.put_async(job.store, job.path, feed, **job.multipart)
    return await job.obstore.put_async(job.store, job.path, feed.first, **job.simple)


class _Stopped(Exception):
    """The upload is to end here."""


class _Feed:
    """The archive, as obstore takes it, batch by batch, until it is stopped: `upload._Feed` for an event loop."""

    def __init__(self, chunks: AsyncIterable[bytes], job: Job) -> None:
        self.size = 0
        self.failure: BaseException | None = None
        self.first = memoryview(b"")
        self._chunks: Any = aiter(chunks)
        self._job = job
        self._left = memoryview(b"")
        self._ended = self._over = self._stopped = False
        self._step: asyncio.Future[memoryview] | None = None

    async def begin(self) -> bool:
        """Gather the first batch; returns whether that is not all, or more than one part."""
        self.first = await self._gathered()
        return not self._ended or len(self.first) > self._job.part_size

    def __aiter__(self) -> _Feed:
        return self

    async def __anext__(self) -> memoryview:
        self._check()
        if self._over:
            raise StopAsyncIteration
        if self.first:
            batch, self.first = self.first, memoryview(b"")
            return batch
        # In a task of its own, which can be cancelled, as what obstore awaits cannot.
        self._step = asyncio.ensure_future(self._gathered())
        try:
            batch = await self._step
        except BaseException as exc:
            self.failure = exc
            if isinstance(exc, Exception):
                raise
            raise _Stopped from exc
        self._check()
        self._over = not batch
        return batch

    def _check(self) -> None:
        if self._stopped:
            raise _Stopped

    async def _gathered(self) -> memoryview:
        batch = self._job.batch()
        while not batch.is_full:
            if not self._left:
                chunk = await anext(self._chunks, b"")
                if not chunk:
                    self._ended = True
                    break
                self.size += len(chunk)
                self._job.check_size(self.size)
                self._left = memoryview(chunk)
            self._left = batch.take(self._left)
        return batch.data

    def stop(self) -> None:
        """Have it fail at its next batch, and the one that is being made be cancelled."""
        self._stopped = True
        if self._step is not None:
            self._step.cancel()
