"""Upload an archive to an object store on an event loop while it is made (extra ``s3``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ..._checks import check_names
from ..._compression.secret import hide_in
from ..._concurrency.cancellation import check_loop, settled
from ..._concurrency.offload import closed_or_left, on_thread
from ..._entries.one_pass import refuse_begun
from ..._layout.layout import ZipLayout
from ..._stream.asynchronous import AsyncZipStream
from ..._stream.sync import ZipStream
from ..._writer.options import AsyncStreamOptions
from ...errors import EntryTypeError
from ..objects import within_deadline
from ..store_options import StoreOptions
from .destination import find_destination, split_options
from .upload import Uploaded, UploadSettings, path_and_entries, refuse_options, size_bound

if TYPE_CHECKING:
    from typing import Unpack

    from ..._entries.coercion import AsyncEntryLike


class AsyncUploadOptions(AsyncStreamOptions, StoreOptions, total=False):
    """Options of `upload_zip_async` for a URL: those of the archive, and those of the store."""


async def upload_zip_async(
    store: Any,
    path: str | Iterable[AsyncEntryLike] | AsyncIterable[AsyncEntryLike] | AsyncZipStream | ZipLayout,
    entries: Iterable[AsyncEntryLike] | AsyncIterable[AsyncEntryLike] | AsyncZipStream | ZipLayout | None = None,
    *,
    part_size: int | None = None,
    max_concurrency: int = 4,
    attributes: Mapping[str, str] | None = None,
    patience: float | None = None,
    deadline: float | None = None,
    **options: Unpack[AsyncUploadOptions],
) -> Uploaded:
    """Like `upload_zip`, on an event loop, without blocking it.

    A cancellation ends the source and waits until the upload has been aborted; nothing is left. Only a cancellation
    while the last part is sent and the object is assembled comes too late: then the archive is complete.

    Args:
        store, path, part_size, max_concurrency, attributes, patience: as for `upload_zip`.
        entries: as for `async_stream_zip`, asynchronous ones included; or an `AsyncZipStream` from which nothing has
            been read; or a `ZipLayout`.
        deadline: seconds that the whole call may take, reading the sources included; None (the default) for no limit.
            Then the call ends as by a cancellation, with RemoteTimeoutError. Giving up the upload may take longer.
        options: those of `async_stream_zip`, if `entries` are entries; for a URL also those of the store.

    Raises as `upload_zip`.
    """
    hide_in(options)
    names = AsyncStreamOptions.__optional_keys__ | (StoreOptions.__optional_keys__ if isinstance(store, str) else set())
    check_names("upload_zip_async", options, names)
    check_loop()
    given_path, given = path_and_entries(store, path, entries)
    stream_options, store_options = split_options(options)
    store, place = find_destination(store, given_path, patience, store_options)
    settings = UploadSettings(store, place, part_size, max_concurrency, attributes, deadline)
    stream = _stream_of(given, cast("AsyncStreamOptions", stream_options))
    chunks = stream.aiter_range() if isinstance(stream, ZipLayout) else stream
    try:
        async with within_deadline(settings.deadline, settings.where):
            await _set_size(settings, stream, given)
            return await _upload(settings, _AsyncPartStream(chunks, settings))
    finally:
        await closed_or_left(chunks.aclose(), "closing an archive that was being uploaded")


def _stream_of(entries: Any, options: AsyncStreamOptions) -> AsyncZipStream | ZipLayout:
    if isinstance(entries, AsyncZipStream | ZipLayout):
        refuse_options(entries, options)
        if isinstance(entries, AsyncZipStream):
            refuse_begun(entries)
        return entries
    if isinstance(entries, ZipStream):
        raise EntryTypeError("a ZipStream is read on a thread: give its entries, or an AsyncZipStream of them")
    return AsyncZipStream(entries, **options)


async def _set_size(settings: UploadSettings, stream: AsyncZipStream | ZipLayout, entries: Any) -> None:
    """Determine the archive's size, on a thread because it may stat files, and choose the part size."""

    def size_or_bound() -> tuple[int | None, int | None]:
        known = stream.size
        ours = known is None and stream is not entries
        return known, size_bound(entries) if ours else None

    settings.set_size(*await on_thread(size_or_bound, "reading the size of an archive"))


async def _upload(settings: UploadSettings, parts: _AsyncPartStream) -> Uploaded:
    in_parts = await parts.gather_first()  # before the upload begins
    task = asyncio.ensure_future(_put(settings, parts, in_parts))
    try:
        done = await asyncio.shield(task)
    except asyncio.CancelledError as exc:
        # On cancellation obstore would stop without aborting, and leave the parts. A failing source makes it abort.
        if in_parts:
            parts.stop()
        else:
            task.cancel()
        await settled(task)
        if not task.cancelled() and task.exception() is not None:
            settings.error_to_raise(task.exception() or exc, exc)
        raise
    except BaseException as exc:
        raise settings.error_to_raise(exc, parts.failure) from None
    return settings.result(done, parts.size)


async def _put(settings: UploadSettings, parts: _AsyncPartStream, in_parts: bool) -> Any:
    if in_parts:
        return await settings.obstore.put_async(settings.store, settings.path, parts, **settings.multipart_options)
    return await settings.obstore.put_async(settings.store, settings.path, parts.first, **settings.single_put_options)


class _Stopped(Exception):
    """Raised to obstore to make it abort the upload."""


class _AsyncPartStream:
    """Like `upload._PartStream`, asynchronous; can be stopped."""

    def __init__(self, chunks: AsyncIterable[bytes], settings: UploadSettings) -> None:
        self.size = 0
        self.failure: BaseException | None = None
        self.first = memoryview(b"")
        self._chunks: Any = aiter(chunks)
        self._settings = settings
        self._unsent = memoryview(b"")
        self._source_ended = self._finished = self._stopped = False
        self._step: asyncio.Future[memoryview] | None = None

    async def gather_first(self) -> bool:
        """Gather the first batch. Returns whether the archive has more than one part."""
        self.first = await self._gather()
        return not self._source_ended or len(self.first) > self._settings.part_size

    def __aiter__(self) -> _AsyncPartStream:
        return self

    async def __anext__(self) -> memoryview:
        self._raise_if_stopped()
        if self._finished:
            raise StopAsyncIteration
        if self.first:
            buffer, self.first = self.first, memoryview(b"")
            return buffer
        # A task of its own can be cancelled; the awaitable that obstore drives cannot.
        self._step = asyncio.ensure_future(self._gather())
        try:
            buffer = await self._step
        except BaseException as exc:
            self.failure = exc
            if isinstance(exc, Exception):
                raise
            raise _Stopped from exc
        self._raise_if_stopped()
        self._finished = not buffer
        return buffer

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise _Stopped

    async def _gather(self) -> memoryview:
        buffer = self._settings.new_buffer()
        while not buffer.is_full:
            if not self._unsent:
                chunk = await anext(self._chunks, b"")
                if not chunk:
                    self._source_ended = True
                    break
                self.size += len(chunk)
                self._settings.check_size(self.size)
                self._unsent = memoryview(chunk)
            self._unsent = buffer.take(self._unsent)
        return buffer.data

    def stop(self) -> None:
        """Cancel the batch that is being gathered, and make the next one fail."""
        self._stopped = True
        if self._step is not None:
            self._step.cancel()
