"""The items of `entries` for an event loop: asynchronous entries are used on the loop, others on a thread."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterator
from typing import Any

from .._buffers import close_items
from .._concurrency.cancellation import called, closed
from .._concurrency.offload import StepThreads
from .._entries.async_prefetch import END, AsyncPrefetcher, FetchedSource
from .._entries.entry import Entry
from .._entries.error_notes import note_on_threads
from .._entries.one_pass import refuse_finished

# Items, and whether more may follow.
Answer = tuple[Any, bool]
_ENDED: Answer = ((), False)


class AsyncItems:
    """The items of `entries`.

    Args:
        prefetch: number of upcoming items whose sources are fetched in advance.
        fetch: fetches the source of an entry.

    Attributes:
        at_hand: whether all items can be taken without waiting.
        on_loop: whether to use `pull` and `close`, on the event loop, instead of `take` and `let_go`, on any thread.
    """

    def __init__(
        self, entries: Any, prefetch: int, threads: StepThreads, fetch: Callable[[Entry], FetchedSource]
    ) -> None:
        self._entries = entries
        self._is_asynchronous = isinstance(entries, AsyncIterable)
        self.at_hand = type(entries) in (list, tuple)
        # A task pulls asynchronous entries, so that pending chunks can be handed over meanwhile.
        self.on_loop = self._is_asynchronous or bool(prefetch)
        self._prefetch = prefetch
        self._threads = threads
        self._fetch = fetch
        self._iterator: Any = None
        self._prefetcher: AsyncPrefetcher | None = None

    # On any thread.

    def take(self) -> Answer:
        """Return the next item, or all of them if they are at hand."""
        if self.at_hand:
            return self._entries, False
        item = self._next()
        return _ENDED if item is END else ((item,), True)

    def _next(self) -> Any:
        try:
            if self._iterator is None:
                refuse_finished(self._entries)  # again: another stream may have read it since
                self._iterator = iter(self._entries)
            return next(self._iterator, END)
        except Exception as exc:
            note_on_threads(exc)
            raise

    def let_go(self) -> None:
        """Close the iterator if it has a close method."""
        if self._iterator is not None:
            close_items(self._iterator)
        elif isinstance(self._entries, Iterator):
            close_items(self._entries)  # never begun

    # On the event loop.

    async def pull(self) -> Answer:
        """Return the next item; `NOTHING_YET` in its place, once, if it takes long."""
        if self._prefetcher is None:
            if self._is_asynchronous:
                refuse_finished(self._entries)
                self._iterator = aiter(self._entries)
            self._prefetcher = AsyncPrefetcher(self._pull_one, self._close_iterator, self._prefetch, self._fetch)
        item = await self._prefetcher.next()
        return _ENDED if item is END else ((item,), True)

    async def _pull_one(self) -> Any:
        if self.at_hand:
            return self._next()
        if not self._is_asynchronous:
            return await self._threads.run(self._next)
        try:
            return await anext(self._iterator)
        except StopAsyncIteration:
            return END

    async def close(self) -> None:
        """Close the iterator, and the sources that were fetched in advance."""
        if self._prefetcher is not None:
            await self._prefetcher.close()
        else:
            await self._close_iterator()

    async def _close_iterator(self) -> None:
        if self.at_hand:
            return
        if not self._is_asynchronous:
            await self._threads.run(self.let_go, closing=True)
            return
        close = getattr(self._entries if self._iterator is None else self._iterator, "aclose", None)
        if close is not None:
            await closed(called(close))
