"""Open, read and close each source in one task; with prefetch, another task reads the items of `entries`.

So objects bound to a task, such as cancel scopes, stay in one task, and closing is not cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from types import AsyncGeneratorType
from typing import Any

from .._concurrency.cancellation import Waiting, called, dropped, forget_cancellation
from .._concurrency.offload import StepThreads
from .._concurrency.patience import NOTHING_YET, PATIENCE, NothingYet
from .async_source import JOINED, AsyncSource, aclose_of, async_position, coroutine_of, is_file, stopped
from .entry import Entry
from .error_notes import note_closing
from .files.growing import Cut
from .one_pass import is_finished, refuse_position
from .prefetch import AHEAD, to_fetch
from .source import FileFacts, OpenSource, read_size_of

END = object()
# Chunks of a source that are kept as they are. More are joined.
_MOST_CHUNKS = 8


class FetchedSource:
    """An entry whose source a task opens, reads (ahead or on demand) and closes.

    Attributes:
        task: the task that runs `fetch`, set by the owner. If the source has to be waited for, it ends with `fetch`.
    """

    task: asyncio.Task[None]

    in_memory = is_at_once = False
    size: int | None = None
    facts: FileFacts | None = None
    cut: Cut | None = None
    _source: AsyncSource | None = None
    _opened = _closing = _is_whole = False
    _error: Exception | None = None
    # The consumer waits for a chunk, in time or after it was told that there is none yet, or the task for demand.
    _in_time: Waiting | None = None
    _waiting: asyncio.Future[None] | None = None
    _wanted = False  # whether the consumer waits for a chunk
    _has_told = False  # whether the consumer was told that no data is available yet
    _held = 0

    def __init__(
        self, entry: Entry, read_size: int, threads: StepThreads, ahead: int = AHEAD, *, cuts: bool, on_loop: bool
    ) -> None:
        """on_loop: whether to open and read the source on the event loop, see `is_asynchronous`."""
        self.item = entry
        self._on_loop = on_loop
        self._cuts = cuts
        self._ahead = ahead  # bytes to read ahead of demand
        self._read_size = read_size_of(read_size)
        self._threads = threads
        threads.sources[self] = entry.name
        self._chunks: deque[bytes] = deque()

    async def fetch(self) -> None:
        """Open, read and close the source."""
        try:
            given: tuple[Any, ...] = ()
            coroutine = coroutine_of(self.item.source)
            if coroutine is not None:  # the most common kinds need no more than this
                data = await coroutine
                if type(data) is bytes and len(data) < JOINED:
                    self._keep_all(data)
                    return
                given = (data,)
            head = given[0] if given else self.item.source
            if (type(head) is AsyncGeneratorType and not is_finished(head)) or is_file(head):
                rest = await self._read_head(head)
                if rest is None:
                    self._is_whole = True
                    return
                given = (head, *rest)
            source = await self._open_source(given)
            try:
                self.size, self.facts, self.cut, self._opened = source.size, source.facts, source.cut, True
                self._notify()
                await self._read_on(source)
            except BaseException as exc:
                self._closing = True
                await _closed_after(exc, partial(self._close_source, source))
                raise
            self._closing = True
            await self._close_source(source)
            self._is_whole = True
        except Exception as exc:
            self._error = exc
            self._threads.failed(self.item.name, exc)
        finally:
            self._threads.sources.pop(self, None)
            if self._source is not None:
                self._source.on_part = None  # which refers to this object
            self._notify()
            if self._in_time is not None:
                self._in_time.close()

    def _keep_all(self, data: bytes) -> None:
        self.size, self._held, self._opened, self._is_whole = len(data), len(data), True, True
        if data:
            self._chunks.append(data)

    async def _read_head(self, source: Any) -> tuple[Any, ...] | None:
        """Read some small chunks of `source`, a generator or a file. At its end, or if it fails, it is closed.

        Returns None at the end, else the last chunk if it was not kept.
        """
        is_generator = type(source) is AsyncGeneratorType
        read = source.__anext__ if is_generator else partial(source.read, self._read_size)
        rest: tuple[Any, ...] | None = None
        failure: BaseException | None = None
        self._opened = True
        self._notify()
        try:
            for number in range(_MOST_CHUNKS):
                chunk = await read()
                if not is_generator and type(chunk) is bytes and not chunk:
                    if not number and self.item.source_size != 0:
                        refuse_position(await async_position(source), self.item.name)
                    return None
                if type(chunk) is not bytes or not chunk or self._held + len(chunk) >= self._ahead:
                    rest = (chunk,)
                    return rest
                self._keep(chunk)
            rest = ()
        except StopAsyncIteration as exc:
            if is_generator:
                return None
            failure = stopped()
            raise failure from exc
        except BaseException as exc:
            failure = exc
            raise
        finally:
            try:
                if rest is None and not is_generator:
                    self._closing = True
                    forget_cancellation()
                    if callable(close := aclose_of(source)):
                        await _closed_after(failure, partial(called, close))
            finally:
                failure = None  # which refers to this frame
        return rest

    async def _read_on(self, source: AsyncSource | OpenSource) -> None:
        while True:
            while self._held >= self._ahead and not self._wanted:
                await self._change()
            chunk = await self._next_of(source)
            if chunk is None:
                return
            if not self._keeps(chunk):
                await asyncio.sleep(0)  # let other tasks run: the source may never wait
                continue
            self._keep(bytes(chunk))

    def _keep(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._held += len(chunk)
        self._wanted = False
        self._notify()

    def _keeps(self, chunk: Any) -> bool:
        """Whether to keep `chunk`. An empty one (no data yet) is kept only if the consumer waits."""
        return self._wanted or type(chunk) is not bytes or bool(chunk)

    async def _open_source(self, given: tuple[Any, ...]) -> AsyncSource | OpenSource:
        if given or self._on_loop:
            self._source = AsyncSource(self.item, self._read_size, self._cuts, given)
            self._source.on_part = self._part_has_come
            return await self._source.open(self._threads)
        opened: list[OpenSource] = []
        try:
            await self._threads.run(lambda: OpenSource(self.item, self._read_size, cuts=self._cuts), keep=opened.append)
        except asyncio.CancelledError:
            for source in opened:
                await self._close_source(source)
            raise
        return opened[0]

    async def _next_of(self, source: AsyncSource | OpenSource) -> Any:
        if isinstance(source, OpenSource):
            if source.in_memory:
                return next(source, None)
            return await self._threads.run(lambda: next(source, None))
        return await source.next()

    async def _close_source(self, source: AsyncSource | OpenSource) -> None:
        if isinstance(source, OpenSource) and source.in_memory:
            source.close()
        elif isinstance(source, OpenSource):
            await self._threads.run(source.close, closing=True)
        else:
            await source.close()

    async def open(self) -> FetchedSource | NothingYet:
        """Wait until the source is opened, as its turn has come. If opening failed, closes it and raises the error."""
        try:
            while not self._opened and not self.task.done():
                if not await self._task_goes_on():
                    return self._told()
            self._has_told = False
            if not self._opened:
                await self._end()
            return self
        except BaseException:
            await self.close()
            raise

    @property
    def data(self) -> bytes | None:
        """The complete data if the source ended, without an error, with less than is read ahead; else None."""
        return b"".join(self._chunks) if self._is_whole and self._held < self._ahead else None

    async def whole(self, is_awaited: Callable[[int], bool]) -> bytes | None:
        """Return the complete data if the source ended, without an error, with less than is read ahead; else None.

        Stops early if `is_awaited(bytes_read)`. Data read so far stays buffered until the entry's turn.
        """
        try:
            while not self.task.done() and self._held < self._ahead and not (self._held and is_awaited(self._held)):
                if not await self._task_goes_on():
                    break
        except BaseException:
            await self.close()
            raise
        data = self.data if self.task.done() else None
        self._ahead = 0
        return data

    async def next(self) -> bytes | NothingYet | None:
        """Return the next chunk; b"" if the source has no data yet; None at the end, when the source is closed."""
        while not self._chunks and not self.task.done():
            self._wanted = True
            self._notify()
            if not await self._task_goes_on() and not self._chunks:
                part = self._source.joined() if self._source is not None else b""
                return part or self._told()
        self._has_told = False
        if not self._chunks:
            await self._end()
            return None
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        self._notify()
        return chunk

    def _told(self) -> NothingYet:
        self._has_told = True
        return NOTHING_YET

    @property
    def is_size_known(self) -> bool:
        """Whether the source knew its size before it was read."""
        return self.size is not None

    @property
    def sizes(self) -> list[int]:
        """Sizes in bytes of the chunks that were read and not passed on."""
        return [len(chunk) for chunk in self._chunks]

    def _part_has_come(self) -> None:
        """Note that the source gave a small chunk and is read on: a consumer that waited long waits again."""
        if self._has_told:
            self._has_told = False
            self._notify()

    @property
    def has_data(self) -> bool:
        """Whether a chunk is available."""
        return bool(self._chunks)

    async def _change(self) -> None:
        """Wait for the other side. Only one of the two waits at a time."""
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    async def _task_goes_on(self) -> bool:
        """Wait for the task. Returns False, once, after `PATIENCE` seconds: the consumer is told then."""
        if self._has_told:
            await self._change()
            return True
        if self._in_time is None:
            self._in_time = Waiting(PATIENCE)  # all chunks share its timer
        return await self._in_time.wait()

    def _notify(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        elif self._in_time is not None:
            self._in_time.wake()

    async def _end(self) -> None:
        await self.task
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Close the source, once."""
        # Do not cancel a task that is closing: the source would stay half closed.
        if not self._closing and not (self._source is not None and self._source.closing):
            self.task.cancel()
        stop = await dropped(self.task)
        if stop is not None:
            raise stop


async def _closed_after(
    failure: BaseException | None, close: Callable[[], Awaitable[Any]], what: str = "its source"
) -> None:
    """Close a source, or the entries. After a `failure`, an exception of `close` becomes a note of it.

    A cancellation is no failure: its task ends with the exception.
    """
    try:
        await close()
    except Exception as second:
        if failure is None or isinstance(failure, asyncio.CancelledError):
            raise
        note_closing(failure, second, what)


class AsyncPrefetcher:
    """Calls `pull` for items in a task of its own, and prefetches up to `count` of them before their turn."""

    def __init__(
        self,
        pull: Callable[[], Awaitable[Any]],
        close: Callable[[], Awaitable[Any]],
        count: int,
        begin: Callable[[Entry], FetchedSource],
    ) -> None:
        self._pull = pull
        self._close = close
        self._begin = begin
        self._fetches = count > 0
        self._coming: deque[Any] = deque()
        self._room = count  # items that may be pulled ahead
        self._for_room: asyncio.Future[None] | None = None
        self._for_item = Waiting(PATIENCE)
        self._begun = self._closing = self._has_told = False
        self._task = asyncio.create_task(self._pull_all())

    async def _pull_all(self) -> None:
        failure: BaseException | None = None
        try:
            try:
                while (item := await self._pull()) is not END:
                    entry = to_fetch(item) if self._fetches else None
                    self._put(item if entry is None else self._begin(entry))
                    self._room -= 1
                    if self._room < 0:
                        self._for_room = asyncio.get_running_loop().create_future()
                        await self._for_room
            except BaseException as exc:
                failure = exc
                raise
            finally:
                self._closing = True
                await _closed_after(failure, self._close, "the entries")
                del self._pull, self._close  # they refer to the owner of this object
        except BaseException as exc:
            self._put(_Failed(exc))  # also a CancelledError from elsewhere: it is not the end of the items
            if not isinstance(exc, Exception):
                raise
        else:
            self._put(END)
        finally:
            failure = None  # which refers to this frame

    def _put(self, item: Any) -> None:
        self._coming.append(item)
        self._for_item.wake()

    async def next(self) -> Any:
        """Return the next item; `END` after the last; `NOTHING_YET`, once, if it takes long."""
        if not self._has_told:
            if self._begun:  # the item before was used
                self._room += 1
                if self._for_room is not None and not self._for_room.done():
                    self._for_room.set_result(None)
            self._begun = True
        while not self._coming:
            if not await self._for_item.wait(patient=self._has_told):
                self._has_told = True
                return NOTHING_YET
        self._has_told = False
        item = self._coming.popleft()
        if isinstance(item, _Failed):
            raise item.error
        return item

    async def close(self) -> None:
        """Close the items that have not had their turn, and their iterator."""
        self._for_item.close()
        if not self._closing:
            self._task.cancel()
        stop: BaseException | None = await dropped(self._task)
        coming, self._coming = self._coming, deque()
        for item in coming:
            if isinstance(item, FetchedSource):
                try:
                    await item.close()
                except asyncio.CancelledError as exc:
                    stop = exc
            elif isinstance(item, _Failed) and isinstance(item.error, Exception):
                stop = stop or item.error
        if stop is not None:
            raise stop


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error
