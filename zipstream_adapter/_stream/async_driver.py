"""The driver of an asynchronous stream. A table says which requests run on the event loop, and which on a thread.

It never blocks the loop, and no thread waits for the loop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextvars import Context, copy_context
from enum import Enum
from functools import partial
from operator import is_
from typing import Any, NamedTuple

from .._concurrency.cancellation import called
from .._concurrency.offload import StepThreads
from .._concurrency.patience import NOTHING_YET, PATIENCE
from .._concurrency.turns import Turn
from .._entries.async_prefetch import FetchedSource
from .._entries.async_source import OpenFile, is_asynchronous, open_file
from .._entries.entry import Entry
from .._entries.peek import PeekedSource
from .._entries.prefetch import AHEAD
from .._entries.source import FILE_READ, OpenSource
from . import requests
from .async_items import AsyncItems
from .producer import Producer

# The references to a task: whoever keeps one may cancel it later. Not every interpreter counts them.
_references: Callable[[object], int] = getattr(sys, "getrefcount", lambda _: 0)
# Seconds of steps on a thread after which their chunks are handed over.
_TURN = 0.005
# Seconds after which sources no longer share a task: as long as a turn on the event loop.
_SHARED = 0.0005


class Place(Enum):
    """Where a request runs, and the steps after it."""

    HERE = "where the steps run"
    LOOP = "on the event loop"
    TASK = "in a task of its own: it begins to read a source"
    THREAD = "on a thread: it may block"
    WORK = "on a thread: it does not wait for anything"


class Placed(NamedTuple):
    """A request to run.

    Attributes:
        function: returns the answer; on the loop, maybe an awaitable of it; in a task, the source to read.
        closing: whether it must run, even after a cancellation.
        waits_for: name of the entry whose source is waited for; "" for the entries; None: no waiting. Pending bytes are
            handed over meanwhile.
    """

    place: Place
    function: Callable[[], Any]
    closing: bool = False
    waits_for: str | None = None


class AsyncDriver:
    """Runs the steps of `producer`.

    threads: run the requests that may block.
    """

    def __init__(self, producer: Producer, threads: StepThreads) -> None:
        self._producer = producer
        self._threads = threads
        self._chunk_size = producer.archive.sink.chunk_size
        self._items = AsyncItems(
            producer.entries, producer.options.prefetch, threads, partial(_prefetched, producer, threads)
        )
        self._last_read: tuple[Any, Placed] = None, _WORK
        self._gate = threading.Lock()
        self._most = 0  # bytes that a step on a thread may produce
        self._is_waiting = False  # whether a thread waits for a source or for the entries

    async def close_unbegun(self) -> None:
        """Close the entries if no item was requested."""
        await self._items.close()

    # Where each kind of request is run.

    def _placed(self, request: Any) -> Placed:
        return _TABLE[type(request)](self, request)

    def _items_of(self, _: requests.Items) -> Placed:
        items = self._items
        if items.on_loop:
            return Placed(Place.LOOP, items.pull)
        if items.at_hand:
            return Placed(Place.HERE, items.take)
        return Placed(Place.THREAD, items.take, waits_for="")

    def _close_items(self, _: requests.CloseItems) -> Placed:
        items = self._items
        if items.on_loop:
            return Placed(Place.LOOP, items.close, closing=True)
        if items.at_hand:
            return Placed(Place.HERE, items.let_go)
        return Placed(Place.THREAD, items.let_go, closing=True)

    def _open(self, request: requests.Open) -> Placed:
        entry, source, cuts = request.entry, request.entry.source, self._producer.cuts
        if not entry.is_dir:
            if isinstance(source, os.PathLike):
                opening = partial(open_file, entry, source, self._chunk_size, self._threads, cuts=cuts)
                return Placed(Place.LOOP, opening)
            if is_asynchronous(source):
                return Placed(Place.LOOP, partial(_begun_to_fetch, self._producer, self._threads, entry, 0))
        made = partial(OpenSource, entry, self._chunk_size, cuts=cuts)
        return Placed(Place.HERE, made) if type(source) is bytes else Placed(Place.THREAD, made, waits_for=entry.name)

    def _take(self, request: requests.Take) -> Placed:
        source = request.source
        if isinstance(source, PeekedSource):
            return Placed(Place.THREAD, source.open, waits_for=source.item.name)
        return Placed(Place.LOOP, source.open)

    def _peek(self, source: requests.Peek) -> Placed:
        if source.is_at_once and is_asynchronous(source.item.source):
            return Placed(Place.TASK, partial(self._fetched, source))
        peek = partial(self._peeked, source, source.limit)
        if not source.is_at_once:  # a file
            return Placed(Place.WORK, peek)
        return Placed(Place.THREAD, peek, waits_for=source.item.name)

    def _peek_at_once(self, request: requests.PeekAtOnce) -> Placed:
        source = request.source
        if is_asynchronous(source.item.source):
            return Placed(Place.TASK, partial(self._fetched, source))
        return Placed(Place.HERE, lambda: (source, NOTHING_YET))

    def _peek_on(self, request: requests.PeekOn) -> Placed:
        source, limit = request
        if isinstance(source, FetchedSource):
            return Placed(Place.LOOP, partial(self._whole, source))
        return Placed(Place.THREAD, partial(self._peeked, source, limit), waits_for=source.item.name)

    def _peeked(self, source: PeekedSource, limit: int) -> tuple[PeekedSource, bytes | None]:
        return source, source.peek(limit, self._producer.is_awaited)

    def _read(self, request: requests.Read) -> Placed:
        source, placed = self._last_read
        if source is not request.source:
            placed = self._reading(request.source)
            self._last_read = request.source, placed
        return placed

    def _reading(self, source: Any) -> Placed:
        if isinstance(source, OpenFile) or (isinstance(source, OpenSource) and source.facts is not None):
            return Placed(Place.WORK, partial(self._next_of_file, source))  # reading a file is work, not waiting
        if not isinstance(source, OpenSource):
            return Placed(Place.LOOP, partial(_next_on_loop, source))
        if source.in_memory:
            return Placed(Place.HERE, lambda: (source, False))
        return Placed(Place.THREAD, partial(_next_of, source), waits_for=self._producer.entry_name)

    def _close(self, request: requests.Close) -> Placed:
        source = request.source
        self._last_read = None, _WORK
        if not isinstance(source, OpenSource | PeekedSource):
            return Placed(Place.LOOP, source.close, closing=True)
        closing = partial(self._named, self._producer.entry_name, source.close)
        return Placed(Place.HERE, closing) if source.in_memory else Placed(Place.THREAD, closing, closing=True)

    def _report(self, request: requests.Report) -> Placed:
        return Placed(Place.LOOP, partial(self._report_on_loop, request))

    def _next_of_file(self, source: Any) -> tuple[tuple[Any, ...], bool]:
        source.file_read = min(max(self._chunk_size, FILE_READ), self._threads.read_size)
        return _next_of(source)

    # Requests that are run on the event loop.

    def _fetched(self, source: requests.Peek) -> FetchedSource:
        """Return the source to fetch for an asynchronous `source` to peek at."""
        entry, limit = source.item, source.limit
        ahead = limit if entry.size is None else min(limit, entry.size + 1)
        return FetchedSource(entry, self._chunk_size, self._threads, ahead, cuts=self._producer.cuts, on_loop=True)

    async def _whole(self, fetched: FetchedSource) -> tuple[FetchedSource, bytes | None]:
        return fetched, await fetched.whole(self._producer.is_awaited)

    async def _report_on_loop(self, request: requests.Report) -> None:
        on_progress: Any = self._producer.options.on_progress
        for progress in request.progress:
            await called(partial(on_progress, progress))

    # Running.

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Run the steps, each on the loop or on a thread, and yield the archive's bytes."""
        threads, steps = self._threads, self._producer.steps()
        resume: Callable[[], Any] = partial(next, steps)
        made: deque[Any] = deque()
        stop: BaseException | None = None
        failure: BaseException | None = None
        is_ending = False
        held = 0  # bytes of chunks in `made`
        threads.begin()
        turn = Turn()
        try:
            while True:
                if stop is None and turn.is_over():
                    try:
                        await turn.wait()
                    except asyncio.CancelledError as exc:
                        stop = exc
                if stop is not None and not made:
                    resume, stop, is_ending = partial(steps.throw, stop), None, True
                out = made.popleft() if made else self._made(resume)
                resume = partial(next, steps)
                if type(out) is bytes:
                    if stop is not None:
                        continue
                    turn.leave()
                    try:
                        size = len(out)
                        yield out
                        out = None
                        if held:
                            held -= size
                            threads.hold(held)
                    except GeneratorExit:
                        stop = requests.ConsumerGone()
                    except asyncio.CancelledError as exc:
                        stop = exc
                elif type(out) is _Ended:
                    if failure := stop or out.error:
                        raise failure
                    return
                elif stop is not None and not out.closing:
                    continue
                elif out.place is Place.HERE:
                    resume = self._answered(steps, out)
                elif out.place is Place.LOOP:
                    resume = await _answered_on_loop(steps, out)
                elif out.place is Place.TASK:
                    sources = _Sources(out, lambda answer: self._made(partial(steps.send, answer)))
                    stop = await sources.run()
                    made.extend(sources.made)
                    resume = partial(steps.send, (sources.current, NOTHING_YET)) if not made else resume
                    del sources
                else:
                    if out.place is Place.WORK and stop is None:
                        try:
                            await turn.enter()
                        except asyncio.CancelledError as exc:
                            stop = exc
                            continue
                    self._most = threads.reserve()
                    step = threads.step(partial(self._run_on_thread, steps, out), must=out.closing, at_once=is_ending)
                    step.on_stop = turn.leave
                    try:
                        while not await step.within(PATIENCE):
                            turn.leave()  # others do not wait for a step that takes long
                            for chunk in self._made_meanwhile() if stop is None else ():
                                yield chunk
                    except GeneratorExit:
                        stop = requests.ConsumerGone()
                    except asyncio.CancelledError as exc:
                        stop = exc
                    finally:
                        await step.end()
                    stop = stop or step.stop
                    made.extend(step.made)
                    del step  # it references the chunks
                    held = sum(len(each) for each in made if type(each) is bytes)
                    threads.hold(held)
                    if not held:
                        turn.leave()
        except requests.ConsumerGone:
            return
        finally:
            out = stop = failure = None
            made.clear()
            turn.leave()
            resume = int  # this frame may live on: it must not keep the failure and its frames alive
            threads.close()

    def _made(self, resume: Callable[[], Any]) -> Any:
        """Run the next step. Returns a chunk, a `Placed` request, or an `_Ended`.

        An exception is returned, so that it is not mistaken for a cancellation of the caller.
        """
        try:
            out = resume()
        except StopIteration:
            return _Ended(None)
        except requests.ConsumerGone as exc:
            return _Ended(exc.with_traceback(None))  # its frames would keep the archive
        except BaseException as exc:
            return _Ended(exc)
        return out if type(out) is bytes else self._placed(out)

    def _answered(self, steps: Any, request: Placed) -> Callable[[], Any]:
        """Run `request` on this thread. Returns the call that sends its answer, or throws its exception."""
        try:
            if request.waits_for is None:
                return partial(steps.send, request.function())
            return partial(steps.send, self._awaited(request.waits_for, request.function))
        except BaseException as exc:
            return partial(steps.throw, exc)

    def _run_on_thread(self, steps: Any, request: Placed) -> list[Any]:
        """Run `request` and the steps that follow, on a thread. Returns chunks, and at most one request, the last.

        Ends after some bytes or `_TURN` seconds, and before a step that belongs to the loop, may block, or must run.
        """
        made: list[Any] = []
        most, size, until = self._most, 0, time.monotonic() + _TURN
        self._producer.reads_until = until
        resume = self._answered(steps, request)
        while size < most:
            out = self._made(resume)
            if type(out) is bytes:
                made.append(out)
                size += len(out)
                resume = partial(next, steps)
                if request.closing or time.monotonic() >= until:
                    break
                continue
            is_last = type(out) is _Ended or request.closing or out.closing or out.place in _ON_LOOP
            if not is_last and out.place is not Place.HERE:
                is_last = (bool(made) and out.place is not Place.WORK) or time.monotonic() >= until
            if is_last:
                made.append(out)
                break
            resume = self._answered(steps, out)
        self._producer.reads_until = 0.0  # the next step may run on the loop
        return made

    def _awaited(self, name: str, function: Callable[[], Any]) -> Any:
        """Call `function`, which may wait; meanwhile `_made_meanwhile` may hand over pending bytes."""
        with self._gate:
            self._is_waiting = True
        try:
            return self._named(name, function)
        finally:
            with self._gate:
                self._is_waiting = False

    def _made_meanwhile(self) -> list[bytes]:
        """Return the chunks that can be handed over while a thread waits for a source; [] if none waits."""
        with self._gate:
            return self._producer.hand_over_meanwhile() if self._is_waiting else []

    def _named(self, name: str | None, function: Callable[[], Any]) -> Any:
        """Call `function`. A warning that it was left behind names the entry `name`, if that is known."""
        if name:
            self._threads.sources[self] = name
        try:
            return function()
        finally:
            self._threads.sources.pop(self, None)


_WORK = Placed(Place.WORK, lambda: None)
_ON_LOOP = (Place.LOOP, Place.TASK)
_TABLE: dict[type, Callable[[AsyncDriver, Any], Placed]] = {
    requests.Items: AsyncDriver._items_of,
    requests.CloseItems: AsyncDriver._close_items,
    requests.Open: AsyncDriver._open,
    requests.Take: AsyncDriver._take,
    requests.Peek: AsyncDriver._peek,
    requests.PeekAtOnce: AsyncDriver._peek_at_once,
    requests.PeekOn: AsyncDriver._peek_on,
    requests.Read: AsyncDriver._read,
    requests.Close: AsyncDriver._close,
    requests.Call: lambda _, request: Placed(Place.LOOP, request.function),
    requests.Check: lambda _, request: Placed(Place.THREAD, partial(request.function, *request.arguments)),
    requests.Report: AsyncDriver._report,
    requests.Work: lambda _, request: _WORK,
    requests.LetGo: lambda driver, _: Placed(Place.THREAD, driver._producer.held.let_go, closing=True),
}


# Not methods of the driver: it keeps them, and would not be freed, with the central directory, when it is dropped.


def _prefetched(producer: Producer, threads: StepThreads, entry: Entry) -> FetchedSource:
    return _begun_to_fetch(producer, threads, entry, AHEAD, on_loop=is_asynchronous(entry.source))


def _begun_to_fetch(
    producer: Producer, threads: StepThreads, entry: Entry, ahead: int, *, on_loop: bool = True
) -> FetchedSource:
    """Begin to fetch the source of `entry` in a task of its own, up to `ahead` bytes."""
    chunk_size = producer.archive.sink.chunk_size
    fetched = FetchedSource(entry, chunk_size, threads, ahead, cuts=producer.cuts, on_loop=on_loop)
    fetched.task = asyncio.create_task(fetched.fetch())
    return fetched


class _Sources:
    """A task that reads asynchronous sources, one after another, and runs the steps between them.

    For `_SHARED` seconds, it goes on to the next source if the data of the one before came at once, all of it, and if
    that source left no trace in the task: no cancellation, no context variable, and no reference. So a small member
    does not need a task, and an iteration of the event loop, of its own.

    Attributes:
        current: the source that must be waited for, or has failed; the steps wait for it, too. None if there is none.
        made: the last output of the steps, if there is no such source.
    """

    def __init__(self, request: Placed, resume: Callable[[Any], Any]) -> None:
        """resume: sends an answer into the steps and returns their next output."""
        self._resume = resume
        self._is_left = False  # whether the task ends with the current source
        self.made: list[Any] = []
        self.current: FetchedSource | None = request.function()

    async def run(self) -> asyncio.CancelledError | None:
        """Run the task until a source must be waited for. Returns a cancellation; the source is closed then."""
        first = self.current
        assert first is not None
        first.task = asyncio.create_task(self._read())
        try:
            await asyncio.sleep(0)  # let it run
            return None
        except asyncio.CancelledError as exc:
            stop = exc
        finally:
            self._is_left = True
        try:
            if self.current is not None:
                await self.current.close()
        except asyncio.CancelledError as exc:
            stop = exc
        return stop

    async def _read(self) -> None:
        task, variables, until = asyncio.current_task(), copy_context(), time.monotonic() + _SHARED
        assert task is not None
        while (source := self.current) is not None:
            source.task = task
            references = _references(task)
            await source.fetch()
            if self._is_left or (data := source.data) is None:
                return
            is_free = _references(task) <= references and not task.cancelling() and _are_current(variables)
            self.current = None
            out = self._resume((source, data))
            is_next = type(out) is Placed and out.place is Place.TASK
            if is_next and is_free and time.monotonic() < until:
                self.current = out.function()
            else:
                self.made.append(out)


def _are_current(variables: Context) -> bool:
    """Whether the running task has these context variables, and these objects in them."""
    now = copy_context()
    return len(now) == len(variables) and all(map(is_, (*now, *now.values()), (*variables, *variables.values())))


class _Ended(NamedTuple):
    """The end of the steps; with an exception, if they failed."""

    error: BaseException | None


async def _answered_on_loop(steps: Any, request: Placed) -> Callable[[], Any]:
    """Run `request` on the loop. Returns the call that sends its answer, or throws its exception, into `steps`."""
    try:
        return partial(steps.send, await called(request.function))
    except BaseException as exc:
        return partial(steps.throw, exc)


def _next_of(source: Any) -> tuple[tuple[Any, ...], bool]:
    chunk = next(source, None)
    return ((), False) if chunk is None else ((chunk,), True)


async def _next_on_loop(source: FetchedSource) -> tuple[tuple[Any, ...], bool]:
    chunk = await source.next()
    return ((), False) if chunk is None else ((chunk,), True)
