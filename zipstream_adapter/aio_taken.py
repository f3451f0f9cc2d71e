"""`zipstream_adapter.taken` for asynchronous iterables, which are touched on the event loop only."""

from __future__ import annotations

from collections.abc import Callable
from types import AsyncGeneratorType
from typing import Any

from .aio_prefetch import FetchedSource
from .aio_wait import called, closed
from .entry import Entry
from .source import close_of
from .taken import FUNCTIONS, Beginning


class AsyncTaken(Beginning):
    """The beginning of an asynchronous source; an asynchronous iterator of what was read, and of what follows.

    begin: makes a source for the producer of an entry of it.
    """

    def __init__(self, item: Any, begin: Callable[[Entry], FetchedSource]) -> None:
        super().__init__(item)
        self._begin = begin
        self.iterator: Any = None
        self.closing: list[Callable[[], Any]] = []

    async def open(self) -> FetchedSource:
        """Its turn has come, in the way of all others."""
        return await self._begin(Entry(self.item.name, self)).open()

    def __aiter__(self) -> AsyncTaken:
        return self

    async def __anext__(self) -> Any:
        if self.chunks:
            return self.chunks.popleft()
        error, self.error = self.error, None
        if error is not None:
            raise error
        if self.iterator is None:
            raise StopAsyncIteration
        return await anext(self.iterator)

    async def close(self) -> None:
        """Close the iterator, and what it iterates over."""
        while self.closing:
            try:
                await called(self.closing.pop())
            except BaseException:
                await self.close()
                raise

    aclose = close


async def take_async(
    item: Any,
    source: Any,
    limit: int,
    declared: int | None,
    is_awaited: Callable[[int], bool],
    begin: Callable[[Entry], FetchedSource],
) -> AsyncTaken:
    """As `take`."""
    taken = AsyncTaken(item, begin)
    try:
        if isinstance(source, FUNCTIONS):
            source = source()
        await _read(taken, source, limit, declared, is_awaited)
    except Exception as exc:
        taken.error = exc
    except BaseException:
        await closed(taken.close())
        raise
    return taken


async def _read(
    taken: AsyncTaken, source: Any, limit: int, declared: int | None, is_awaited: Callable[[int], bool]
) -> None:
    taken.closing.extend(_closing(source))
    iterator = taken.iterator = aiter(source)
    if iterator is not source:
        taken.closing.extend(_closing(iterator))
    size, most = 0, limit if declared is None else min(limit, declared + 1)
    async for chunk in iterator:
        taken.chunks.append(chunk)
        if type(chunk) is not bytes:
            return
        size += len(chunk)
        if size >= most or is_awaited(size):
            return
    if type(source) is not AsyncGeneratorType:  # which is over
        await closed(taken.close())
    taken.closing.clear()
    taken.is_whole = True


def _closing(thing: Any) -> list[Callable[[], Any]]:
    close = getattr(thing, "aclose", None) or close_of(thing)
    return [close] if callable(close) else []
