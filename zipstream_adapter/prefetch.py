"""Entries that are to come, opened and begun on threads while the one before them is written."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from .coercion import coerce
from .counts import is_count
from .entry import Entry
from .errors import OptionError
from .source import FileFacts, OpenSource, close_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Buffer

# Bytes of each entry that are fetched before its turn (and what is left of the chunk that reaches them).
AHEAD = 1 << 18


def check_prefetch(prefetch: int) -> None:
    """Refuse a `prefetch` that is no number of entries."""
    if not is_count(prefetch):
        raise OptionError(f"prefetch={prefetch!r}: give a number of entries, 0 for none")


def to_fetch(item: Any) -> Entry | None:
    """The Entry of an item whose data is worth fetching: neither in memory, nor wrong (which its turn will say)."""
    try:
        entry = coerce(item) if not isinstance(item, str | os.PathLike) else None
    except Exception:
        return None
    if entry is None or entry.is_dir or isinstance(entry.source, bytes | bytearray | memoryview | str | None):
        return None
    return entry


class Fetched:
    """An entry whose source is opened and read ahead: what `OpenSource` is to others.

    What is there when its turn has come goes on its way at once, whatever the source makes one wait for next.
    """

    in_memory = False

    def __init__(self, entry: Entry, read_size: int) -> None:
        self.item = entry
        self._read_size = read_size
        self._future: Future[OpenSource] | None = None
        self._source: OpenSource | None = None
        self._chunks: deque[bytes] = deque()
        self._error: Exception | None = None
        self._moved = threading.Condition()
        self._is_awaited = self._is_over = False  # whether its turn has come; whether no more is read ahead

    @property
    def size(self) -> int | None:
        return self._source.size if self._source else None

    @property
    def facts(self) -> FileFacts | None:
        return self._source.facts if self._source else None

    def start(self, executor: Any) -> None:
        """Fetch it by `executor`, with the caller's context variables."""
        self._future = executor.submit(copy_context().run, self._fetch)

    def _fetch(self) -> OpenSource:
        try:
            source = OpenSource(self.item, self._read_size)
            try:
                self._read_ahead(source)
            except BaseException:
                source.close()
                raise
            return source
        finally:
            with self._moved:
                self._is_over = True
                self._moved.notify()

    def _read_ahead(self, source: OpenSource) -> None:
        held = 0
        with self._moved:
            self._source = source
            self._moved.notify()
        while held < AHEAD and not (held and self._is_awaited):  # from then on it is read as it is asked for
            try:
                chunk = next(source, None)
            except Exception as exc:
                self._error = exc  # after what came before it
                return
            if chunk is None:
                return
            data = bytes(chunk)  # what the source may use again is no longer its own
            held += len(data)
            with self._moved:
                self._chunks.append(data)
                self._moved.notify()

    def open(self) -> Fetched:
        """Its turn has come: wait until it is opened; raises what that raised."""
        assert self._future is not None
        self._is_awaited = True
        with self._moved:
            self._moved.wait_for(lambda: self._source is not None or self._is_over)
        if self._source is None:
            self._future.result()
        return self

    def __next__(self) -> Buffer:
        with self._moved:
            self._moved.wait_for(lambda: self._chunks or self._is_over)
            if self._chunks:
                return self._chunks.popleft()
        assert self._future is not None
        source = self._future.result()
        if self._error is not None:
            raise self._error
        return next(source)

    def close(self) -> None:
        """Let go of the source, once. One that was never opened stays its owner's."""
        future, self._future = self._future, None
        if future is None or future.cancel() or future.exception() is not None:
            return
        future.result().close()


class Prefetcher:
    """The items of `items`, of which up to `count` are fetched before their turn, on as many threads."""

    def __init__(self, items: Iterator[Any], count: int, read_size: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._items = items
        self._count = count
        self._read_size = read_size
        self._coming: deque[Any] = deque()
        self._ended: Exception | None = None
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="zipstream-adapter-prefetch")

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while len(self._coming) <= self._count:
            if self._ended is not None:
                break
            try:
                item = next(self._items)
            except Exception as exc:
                self._ended = exc  # its end, or a failure, which is said when what came before has had its turn
            else:
                self._coming.append(self._begun(item))
        if self._coming:
            return self._coming.popleft()
        assert self._ended is not None
        raise self._ended

    def _begun(self, item: Any) -> Any:
        entry = to_fetch(item)
        if entry is None:
            return item
        fetched = Fetched(entry, self._read_size)
        fetched.start(self._executor)
        return fetched

    def close(self) -> None:
        """Let go of all that has not had its turn, of the threads, and of the items."""
        with ExitStack() as stack:  # each is closed, whatever the others raise
            close = close_of(self._items)
            if close is not None:
                stack.callback(close)
            stack.callback(self._executor.shutdown)
            for item in self._coming:
                if isinstance(item, Fetched):
                    stack.callback(item.close)
            self._coming.clear()
