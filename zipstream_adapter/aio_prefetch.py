"""Sources in tasks of their own, which open, read and close them: what belongs to a task, such as a cancel scope, stays
within one, and closing is not cut short. Where entries are fetched ahead, one task more pulls them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from .aio_source import AsyncSource, OnThread, is_asynchronous
from .aio_wait import kept, settled
from .entry import Entry
from .prefetch import AHEAD, to_fetch
from .source import FileFacts, OpenSource

END = object()


class FetchedSource:
    """An entry whose source a task opens, reads (ahead, or as it is asked for) and closes."""

    in_memory = False

    def __init__(self, entry: Entry, read_size: int, on_thread: OnThread, ahead: int = AHEAD) -> None:
        self.item = entry
        self._ahead = ahead  # bytes that are read before they are asked for
        self._wanted = False  # whether a chunk is
        self._source: AsyncSource | None = None
        self.size: int | None = None
        self.facts: FileFacts | None = None
        self._read_size = read_size
        self._on_thread = on_thread
        self._opened = self._closing = False
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._error: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None  # the consumer, for a chunk, or the task, for room
        self._task = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            source = await self._open_source()
            try:
                self.size, self.facts, self._opened = source.size, source.facts, True
                self._notify()
                await self._read_on(source)
            finally:
                self._closing = True
                await self._close_source(source)
        except Exception as exc:
            self._error = exc
        finally:
            self._notify()

    async def _read_on(self, source: AsyncSource | OpenSource) -> None:
        while True:
            while self._held >= self._ahead and not self._wanted:
                await self._change()
            chunk = await self._next_of(source)
            if chunk is None:
                return
            self._chunks.append(bytes(chunk))
            self._held += len(self._chunks[-1])
            self._wanted = False
            self._notify()

    async def _open_source(self) -> AsyncSource | OpenSource:
        if is_asynchronous(self.item.source):
            self._source = AsyncSource(self.item, self._read_size)
            return await self._source.open(self._on_thread)
        opened: list[OpenSource] = []
        try:
            await kept(self._on_thread(lambda: OpenSource(self.item, self._read_size)), opened.append)
        except asyncio.CancelledError:
            for source in opened:
                await self._close_source(source)
            raise
        return opened[0]

    async def _next_of(self, source: AsyncSource | OpenSource) -> Any:
        if isinstance(source, OpenSource):
            return await self._on_thread(lambda: next(source, None))
        return await source.next()

    async def _close_source(self, source: AsyncSource | OpenSource) -> None:
        if isinstance(source, OpenSource):
            await self._on_thread(source.close)
        else:
            await source.close()

    async def open(self) -> FetchedSource:
        """Its turn has come: wait until it is opened; raises what that raised, and is closed then."""
        try:
            while not self._opened and not self._task.done():
                await self._change()
            if not self._opened:
                await self._end()
            return self
        except BaseException:
            await self.close()
            raise

    async def at_once(self) -> bool:
        """Whether it is read, or failed, without anything to wait for."""
        try:
            await asyncio.sleep(0)  # its task's turn
        except BaseException:
            await self.close()
            raise
        return self._task.done()

    async def whole(self, most: int, is_awaited: Callable[[int], bool]) -> bytes | None:
        """All of its data, where that is less than `most` bytes and the source is closed; None where it is not, or
        failed, or somebody waits for what there is: what was read is there when its turn comes.
        """
        try:
            while not self._task.done() and self._held < most and not (self._held and is_awaited(self._held)):
                await self._change()
        except BaseException:
            await self.close()
            raise
        self._ahead = 0
        is_whole = self._task.done() and self._error is None and self._held < most
        return b"".join(self._chunks) if is_whole else None

    async def next(self) -> bytes | None:
        """The next chunk; None at the end, when it is closed, too."""
        while not self._chunks and not self._task.done():
            self._wanted = True
            self._notify()
            await self._change()
        if not self._chunks:
            await self._end()
            return None
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        self._notify()
        return chunk

    async def _change(self) -> None:
        """Wait for the other side, of which but one waits at a time."""
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def _notify(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _end(self) -> None:
        await self._task
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Let go of the source, once."""
        # Half closed would be open for good.
        if not self._closing and not (self._source is not None and self._source.closing):
            self._task.cancel()
        stop = await settled(self._task)
        if stop is not None:
            raise stop


class AsyncPrefetcher:
    """The items that `pull` gives, of which up to `count` are fetched before their turn."""

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
        self._coming: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Semaphore(count)
        self._begun = self._closing = False
        self._task = asyncio.create_task(self._pull_all())

    async def _pull_all(self) -> None:
        try:
            try:
                while (item := await self._pull()) is not END:
                    entry = to_fetch(item)
                    self._coming.put_nowait(item if entry is None else self._begin(entry))
                    await self._room.acquire()
            finally:
                self._closing = True
                await self._close()
        except Exception as exc:
            self._coming.put_nowait(_Failed(exc))
        finally:
            self._coming.put_nowait(END)

    async def next(self) -> Any:
        """The next item; `END` when there is none."""
        if self._begun:
            self._room.release()  # the one before has had its turn
        self._begun = True
        item = await self._coming.get()
        if isinstance(item, _Failed):
            raise item.error
        return item

    async def close(self) -> None:
        """Let go of all that has not had its turn, and of the items."""
        if not self._closing:
            self._task.cancel()
        stop: BaseException | None = await settled(self._task)
        coming = [self._coming.get_nowait() for _ in range(self._coming.qsize())]
        for item in coming:
            if isinstance(item, FetchedSource):
                try:
                    await item.close()
                except asyncio.CancelledError as exc:
                    stop = exc
            elif isinstance(item, _Failed):
                stop = stop or item.error
        if stop is not None:
            raise stop


class _Failed:
    def __init__(self, error: Exception) -> None:
        self.error = error
