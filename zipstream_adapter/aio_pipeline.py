"""The way of the data where entries, sources and callbacks may be asynchronous: the same steps, elsewhere.

An `AsyncProducer` is a `Producer` that never waits for the event loop, nor blocks it: where a step has to be made on
the loop it yields an `OnLoop`; where what follows may block, or is more work than going to a thread, `OFFLOAD`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .aio_files import OpenFile, open_file
from .aio_prefetch import END, AsyncPrefetcher, FetchedSource
from .aio_source import OnThread, is_asynchronous, read_small_file
from .aio_wait import called, closed, to_the_end
from .coercion import Draft, coerce
from .entry import Entry
from .options import check_entries
from .pipeline import Producer, Source, close_items
from .prefetch import AHEAD
from .quick import NOT_READ
from .source import OpenSource
from .steps import OFFLOAD, OFFLOAD_CLOSING, OFFLOAD_WORK, SMALL_EFFORT, Steps
from .taken import Taken

if TYPE_CHECKING:
    from .options import Options
    from .quick import QuickMembers


class OnLoop(NamedTuple):
    """A request: call `function` on the event loop, and, where it gives an awaitable, wait for that."""

    function: Callable[[], Any]
    closing: bool = False  # whether it has to be done, whatever else happens


class AsyncProducer(Producer):
    """A `Producer` for the event loop. on_thread: runs a function on a thread."""

    offloads = True

    def __init__(self, entries: Iterable[Any] | AsyncIterable[Any], options: Options, on_thread: OnThread) -> None:
        super().__init__(entries, options)  # type: ignore[arg-type]
        self._on_thread = on_thread
        self._items_on_loop = self._at_hand = False
        self._begun_source: FetchedSource | None = None  # of the item whose turn it is

    def _check_entries(self, entries: Any) -> Any:
        return entries if isinstance(entries, AsyncIterable) else check_entries(entries)

    async def close_unbegun(self) -> None:
        """Close `entries` of which nothing was asked, where they can be."""
        await _Items(self._entries, self._on_thread).let_go()

    def _add_all(self) -> Steps:
        quick = self._quick
        one_by_one = _Items(self._entries, self._on_thread)
        count = self._options.prefetch
        items = _ItemsAhead(one_by_one, count, self._fetch) if count else one_by_one
        self._at_hand = one_by_one.at_hand
        self._items_on_loop = isinstance(self._entries, AsyncIterable) or bool(count)
        try:
            yield from items.begin()
            position = 0
            while (item := (yield from items.next())) is not END:
                self._fetched = item if hasattr(item, "in_memory") else None
                if quick is None or not (yield from self._add_quickly(item)):
                    if quick is not None:
                        taken, self._begun_source = self._begun_source or quick.taken(), None
                        self._fetched = taken or self._fetched
                        if quick.effort() > SMALL_EFFORT:
                            yield OFFLOAD
                        quick.settle()
                        if taken is None:  # else what was read of it leaves along with that
                            yield from self._ready()
                    yield from self._add(item, position)
                yield from self._ready() if quick is None else self._settle_if_late()
                position += 1
        finally:
            yield from items.close()
        if quick is not None:
            yield OFFLOAD
            quick.settle()
            yield from self._ready()

    def _fetch(self, entry: Entry, ahead: int = AHEAD) -> FetchedSource:
        return FetchedSource(entry, self._sink.chunk_size, self._on_thread, ahead)

    def _opened(self, fetched: FetchedSource | Taken) -> Generator[Any, Any, Source]:
        if isinstance(fetched, Taken):
            yield OFFLOAD
            return fetched.open()
        opened: Source = yield OnLoop(fetched.open)
        return opened

    def _add_quickly(self, item: Any) -> Generator[Any, Any, bool]:
        quick = self._quick
        assert quick is not None
        planned = quick.async_plan(item)
        if planned is None:
            return (yield from self._add_quickly_unless_async(quick, item))
        plan, most = planned
        taken, fetched = yield OnLoop(partial(self._begin_to_take, item, most))
        if taken is None:
            self._fetched = fetched  # closes it, should nobody want what follows
            # While this one makes us wait, nobody shall wait for what is there.
            yield from self._settle_before_waiting(quick)
            taken = yield OnLoop(partial(fetched.whole, most, self._is_awaited))
            self._fetched = None
        if taken is None:
            self._begun_source = fetched
            return False
        if quick.effort(item, taken, plan) > SMALL_EFFORT:
            yield OFFLOAD
        return bool(quick.add(item, taken, plan))

    async def _begin_to_take(self, item: Any, most: int) -> tuple[bytes | None, FetchedSource]:
        """All of an asynchronous source, where that is less than `most` bytes, and there at once; and what reads it."""
        fetched = self._fetch(coerce(item), most)
        is_there = await fetched.at_once()
        return (await fetched.whole(most, self._is_awaited)) if is_there else None, fetched

    def _add_quickly_unless_async(self, quick: QuickMembers, item: Any) -> Generator[Any, Any, bool]:
        found: Any = NOT_READ
        if self._at_hand and not self._items_on_loop:
            yield OFFLOAD
        if self._items_on_loop:  # items that come on a thread are read there and then
            path = quick.path_in(item)
            if path is not None:
                found = yield OnLoop(partial(read_small_file, *path))
                if found is None:
                    return False
            elif quick.blocks_in(item):
                yield from self._settle_before_waiting(quick)
                yield OFFLOAD
            if quick.effort(item, found) > SMALL_EFFORT:
                yield OFFLOAD
        added = quick.add(item, found)
        if added is None:
            yield from self._settle_before_waiting(quick)
            added = quick.add(item, found)
        return bool(added)

    def _settle_before_waiting(self, quick: QuickMembers) -> Steps:
        if not quick.is_settled:
            yield OFFLOAD
            quick.settle()
            yield from self._ready()

    def _coerce(self, item: Any) -> Generator[Any, Any, Entry]:
        if isinstance(item, str | os.PathLike | Draft):
            yield OFFLOAD  # the file system may be asked: whether it is a directory, or for its date
        return (yield from super()._coerce(item))

    def _open(self, entry: Entry) -> Generator[Any, Any, Source]:
        if not entry.is_dir and isinstance(entry.source, os.PathLike):
            file: Source = yield OnLoop(partial(open_file, entry.name, entry.source, self._sink.chunk_size))
            return file
        if not entry.is_dir and is_asynchronous(entry.source):
            return (yield from self._opened((yield OnLoop(partial(self._fetch, entry, 0)))))
        if type(entry.source) is not bytes:
            yield OFFLOAD
        return (yield from super()._open(entry))

    def _pull(self, source: Any) -> Generator[Any, Any, Any]:
        if isinstance(source, OpenFile):
            yield OFFLOAD_WORK
            return next(source, None)
        if isinstance(source, OpenSource):
            if not source.in_memory:
                yield OFFLOAD
            return next(source, None)
        return (yield OnLoop(source.next))

    def _close_source(self, source: Any) -> Steps:
        if _is_dropped():
            return
        if isinstance(source, OpenSource | Taken):
            if not source.in_memory:
                yield OFFLOAD_CLOSING
            source.close()
        else:
            yield OnLoop(source.close, closing=True)

    def _call(self, callback: Callable[[], Any]) -> Generator[Any, Any, Any]:
        return (yield OnLoop(callback))


class _Items:
    """The items of `entries`, one by one: asynchronous ones on the loop, others on a thread."""

    def __init__(self, entries: Any, on_thread: OnThread) -> None:
        self._asynchronous = isinstance(entries, AsyncIterable)
        self.at_hand = type(entries) in (list, tuple)  # to take the next one is nothing to wait for
        self._entries = entries
        self._iterator: Any = None
        self._on_thread = on_thread

    def begin(self) -> Steps:
        if self._asynchronous:
            self._iterator = yield OnLoop(partial(aiter, self._entries))
        else:
            if not self.at_hand:
                yield OFFLOAD
            self._iterator = iter(self._entries)

    def next(self) -> Generator[Any, Any, Any]:
        if self._asynchronous:
            return (yield OnLoop(self.pull))
        if not self.at_hand:
            yield OFFLOAD
        return next(self._iterator, END)

    def close(self) -> Steps:
        if _is_dropped():
            return
        if self.at_hand:
            return
        if not self._asynchronous:
            yield OFFLOAD_CLOSING
            self._let_go()
        else:
            yield OnLoop(self.let_go, closing=True)

    def _let_go(self) -> None:
        if self._iterator is not None:
            close_items(self._iterator)
        elif isinstance(self._entries, Iterator):
            close_items(self._entries)  # was never begun

    async def pull(self) -> Any:
        """The next item, or `END`."""
        if not self._asynchronous:
            return await self._on_thread(partial(next, self._iterator, END))
        try:
            return await anext(self._iterator)
        except StopAsyncIteration:
            return END

    async def let_go(self) -> None:
        """Close the iterator, where it can be."""
        if not self._asynchronous:
            await to_the_end(self._on_thread(self._let_go))
            return
        close = getattr(self._entries if self._iterator is None else self._iterator, "aclose", None)
        if close is not None:
            await closed(called(close))


class _ItemsAhead:
    """The items of `items`, of which some are fetched before their turn."""

    def __init__(self, items: _Items, count: int, begin: Callable[[Entry], FetchedSource]) -> None:
        self._items = items
        self._count = count
        self._fetch = begin
        self._prefetcher: AsyncPrefetcher | None = None

    def begin(self) -> Steps:
        yield from self._items.begin()
        self._prefetcher = yield OnLoop(self._start)

    def _start(self) -> AsyncPrefetcher:
        return AsyncPrefetcher(self._items.pull, self._items.let_go, self._count, self._fetch)

    def next(self) -> Generator[Any, Any, Any]:
        assert self._prefetcher is not None
        return (yield OnLoop(self._prefetcher.next))

    def close(self) -> Steps:
        if self._prefetcher is None:
            yield from self._items.close()
        elif not _is_dropped():
            yield OnLoop(self._prefetcher.close, closing=True)


def _is_dropped() -> bool:
    """Whether nothing can be requested any more: the producer is collected as garbage, without its event loop."""
    return isinstance(sys.exception(), GeneratorExit)
