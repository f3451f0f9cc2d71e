"""Prefetch: open and read the sources of upcoming entries on threads while the current one is written."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from .._checks import count_of
from .._concurrency.closing import Closing
from .._concurrency.patience import NOTHING_YET, PATIENCE, NothingYet
from ..errors import OptionError, StreamStateError
from .coercion import coerce
from .entry import Entry
from .files.growing import Cut
from .source import FileFacts, OpenSource

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Bytes of each entry that are read before its turn (plus the rest of the chunk that reaches them).
AHEAD = 1 << 18
# Seconds that closing waits, in total, for sources that are being opened or read.
_LONGEST_WAIT = 1.0
_CONSUMER, _THREAD = "consumer", "thread"
_THREAD_NAME = "zipstream-adapter-prefetch"


def check_prefetch(prefetch: int) -> int:
    """Refuse a `prefetch` that is not a whole number of entries, 0 or more."""
    number = count_of(prefetch)
    if number is None:
        raise OptionError(f"prefetch={prefetch!r}: give a number of entries, 0 for none")
    return number


def to_fetch(item: Any) -> Entry | None:
    """Return the Entry of `item` if its source is worth prefetching. Returns None if it is in memory or invalid.

    The error of an invalid item is raised when its turn comes.
    """
    try:
        entry = coerce(item) if not isinstance(item, str | os.PathLike) else None
    except Exception:
        return None
    if entry is None or entry.is_dir or isinstance(entry.source, bytes | bytearray | memoryview | str | None):
        return None
    return entry


class Fetched:
    """An entry whose source a thread opens and reads ahead. Used in place of an `OpenSource`.

    When the entry's turn comes, chunks already read are passed on at once, even if the source must wait for the next.

    The thread and the consumer share no lock, because an interrupt or a fork could leave it locked. A queue passes
    chunks to the consumer. The first of the two to add itself to `_claims` opens the source.
    """

    in_memory = has_data = False

    def __init__(self, entry: Entry, read_size: int, cuts: bool = False) -> None:
        self.item = entry
        self._cuts = cuts
        self._read_size = read_size
        self._process = os.getpid()
        self._context = copy_context()
        self._closing = Closing()
        self._source: OpenSource | None = None
        self._error: BaseException | None = None
        self._claims: list[str] = []
        self._news: SimpleQueue[bytes | None] = SimpleQueue()  # b"": opened; None: the thread is done
        self._is_awaited = self._is_over = self._is_given_up = self._hangs = False
        self._has_told = False  # whether the consumer was told that no data is available yet

    @property
    def size(self) -> int | None:
        return self._source.size if self._source else None

    @property
    def facts(self) -> FileFacts | None:
        return self._source.facts if self._source else None

    @property
    def cut(self) -> Cut | None:
        return self._source.cut if self._source else None

    def fetch_later(self) -> None:
        """Leave the source to the consumer, which opens it when its turn comes: no thread could be started."""
        self._is_over = self._is_claimed_by(_CONSUMER)

    def run(self) -> None:
        """Open the source and read ahead, unless it was given up. Runs on the thread."""
        if self._is_claimed_by(_THREAD):
            self._context.run(self._fetch)

    def _is_claimed_by(self, who: str) -> bool:
        self._claims.append(who)
        return self._claims[0] is who

    def _fetch(self) -> None:
        try:
            source = OpenSource(self.item, self._read_size, cuts=self._cuts, closing=self._closing)
            self._source = source
            self._news.put(b"")
            self._read_ahead(source)
        except BaseException as exc:
            self._error = exc  # raised after the chunks before it
        self._is_over = True
        self._news.put(None)
        if self._is_given_up:
            self._close_for_nobody()

    def _read_ahead(self, source: OpenSource) -> None:
        held = 0
        # Once the consumer waits, it reads the source itself.
        while held < AHEAD and not (held and self._is_awaited) and not self._is_given_up:
            chunk = next(source, None)
            if chunk is None:
                return
            data = bytes(chunk)  # a copy: the source may reuse its buffer
            if not data:  # no data yet, maybe for long
                if self._is_awaited:
                    return
                continue
            held += len(data)
            self._news.put(data)

    def _close_for_nobody(self) -> None:
        try:
            self._closing.close()
        except Exception as exc:
            exc.add_note(f"(while closing the source of entry {self.item.name!r}, which was given up)")
            threading.excepthook(threading.ExceptHookArgs((type(exc), exc, exc.__traceback__, None)))

    def open(self) -> Fetched | NothingYet:
        """Wait until the source is opened, as its turn has come. Returns self, or `NOTHING_YET` as `__next__` does.

        Raises the error of opening the source.
        """
        self._refuse_if_forked()
        self._is_awaited = True
        if not self._is_over and sys.is_finalizing():
            self._take_over()
        if self._claims and self._claims[0] is _CONSUMER:
            self._source = OpenSource(self.item, self._read_size, cuts=self._cuts, closing=self._closing)
            return self
        if self._next_news() is NOTHING_YET:
            return NOTHING_YET
        if self._source is None:
            assert self._error is not None
            raise self._error
        return self

    def _next_news(self) -> bytes | NothingYet | None:
        """Return the next item of the queue, or `NOTHING_YET`, once, if it takes longer than `PATIENCE`."""
        try:
            news = self._news.get(timeout=None if self._has_told else PATIENCE)
        except Empty:
            self._has_told = True
            return NOTHING_YET
        self._has_told = False
        return news

    def __iter__(self) -> Iterator[Buffer | NothingYet]:
        return self

    def __next__(self) -> Buffer | NothingYet:
        self._refuse_if_forked()
        if not self._is_over and sys.is_finalizing():
            self._take_over()
        if not self._is_over or not self._news.empty():
            chunk = self._next_news()
            if chunk is not None:
                return chunk
        if self._error is not None:
            raise self._error
        assert self._source is not None
        return next(self._source)

    def _refuse_if_forked(self) -> None:
        if self._process != os.getpid():
            raise StreamStateError(
                f"entry {self.item.name!r} was prefetched in process {self._process}, and its thread has stayed "
                "there: make the stream in the process that reads it, or leave out prefetch"
            )

    def _take_over(self) -> None:
        """Let the consumer open the source, as the ending interpreter has stopped all threads.

        Raises StreamStateError if a thread was stopped while it opened or read the source.
        """
        if not self._is_claimed_by(_CONSUMER):
            raise StreamStateError(
                f"entry {self.item.name!r} was being prefetched when the interpreter ended, which stops all threads: "
                "read the stream to its end, or close it, before that"
            )
        self._is_over = True

    def give_up(self) -> None:
        """Ask the thread to close the source, if it is working on it."""
        self._is_given_up = True
        if self._is_claimed_by(_CONSUMER):
            self._is_over = True

    def close(self) -> None:
        """Close the source. A source that was never opened still belongs to its owner."""
        self.closed_by(time.monotonic() + _LONGEST_WAIT)

    def closed_by(self, end: float, *, wait: bool = True) -> bool:
        """Close the source, waiting for its thread until `end`. Returns False if the thread still has to close it.

        There is no thread in a forked child, nor at the end of the interpreter.
        """
        self.give_up()
        is_alone = self._process != os.getpid() or sys.is_finalizing()
        if not self._is_over and not self._hangs and wait and not is_alone:
            try:
                while self._news.get(timeout=max(0.0, end - time.monotonic())) is not None:
                    pass
            except Empty:
                self._hangs = True  # do not wait for it again
        if self._is_over:
            self._closing.close()
        return self._is_over or is_alone


class Prefetcher:
    """An iterator of `items` that prefetches up to `count` of them before their turn, on as many threads.

    It owns the item it has returned until the next is requested, and closes an item that is not used up.
    """

    def __init__(self, items: Iterator[Any], count: int, read_size: int, cuts: bool = False) -> None:
        self._items = items
        self._cuts = cuts
        self._count = count
        self._read_size = read_size
        self._process = os.getpid()
        self._is_closed = False
        self._coming: deque[Any] = deque()
        self._current: Any = None
        self._ended: Exception | None = None
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[Fetched | None] = SimpleQueue()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while len(self._coming) <= self._count:
            if self._ended is not None:
                break
            try:
                item = next(self._items)
            except StopIteration:
                self._ended = StopIteration()  # without a traceback, which refers to this object
            except Exception as exc:
                self._ended = exc  # raised after the items before it
            else:
                self._begin(item)
        if self._coming:
            self._current = self._coming[0]
            return self._coming.popleft()
        assert self._ended is not None
        if type(self._ended) is StopIteration:
            raise StopIteration
        raise self._ended

    def _begin(self, item: Any) -> None:
        entry = to_fetch(item)
        if entry is None:
            self._coming.append(item)
            return
        fetched = Fetched(entry, self._read_size, self._cuts)
        self._coming.append(fetched)  # before a thread gets it, so that it is closed in any case
        self._jobs.put(fetched)
        if sys.is_finalizing():  # starting a thread may never return
            fetched.fetch_later()
        elif len(self._threads) < self._count and not self.is_forked:
            thread = threading.Thread(
                target=_work, args=(self._jobs,), name=f"{_THREAD_NAME}_{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            try:
                thread.start()
            except RuntimeError:  # no thread can be started, for example if the interpreter is shutting down
                self._threads.remove(thread)
                if not self._threads:
                    fetched.fetch_later()

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked after the threads were started, so that it does not have them."""
        return self._process != os.getpid()

    def close(self) -> None:
        """Close all items that are left, and end the threads. Does not wait for sources that hang.

        Emits a RuntimeWarning for each entry whose source is still being opened or read. Its thread closes it later.
        """
        if self._is_closed:
            return
        end = time.monotonic() + _LONGEST_WAIT
        held = [each for each in (*self._coming, self._current) if isinstance(each, Fetched)]
        for fetched in held:
            fetched.give_up()
        if not self.is_forked:
            for _ in self._threads:
                self._jobs.put(None)
        # If the garbage collector closes a dropped stream on one of our threads, that cannot wait for itself.
        waits = threading.current_thread() not in self._threads
        closing = Closing()  # closes each, even if others raise
        hung: list[Entry] = []
        closing.callback(lambda: _warn_of(hung))
        closing.callback(self._end)
        if waits and not self.is_forked and not sys.is_finalizing():
            closing.callback(lambda: self._join(end))
        for fetched in held:
            closing.callback(partial(_close_one, fetched, end, waits, hung))
        closing.close()

    def _end(self) -> None:
        self._coming.clear()
        self._is_closed = True

    def _join(self, end: float) -> None:
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))


def _close_one(fetched: Fetched, end: float, waits: bool, hung: list[Entry]) -> None:
    if not fetched.closed_by(end, wait=waits):
        hung.append(fetched.item)


def _warn_of(hung: list[Entry]) -> None:
    for entry in hung:
        warnings.warn(
            f"entry {entry.name!r}: its source was still opened or read {_LONGEST_WAIT:g} s after closing began: it is "
            "closed when that ends",
            RuntimeWarning,
            stacklevel=2,
        )


def _work(jobs: SimpleQueue[Fetched | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job
