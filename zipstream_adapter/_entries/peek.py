"""PeekedSource: the source of an entry, read up to a limit. Small data is then complete."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from operator import attrgetter, call
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from .._buffers import flat_view
from .._concurrency.closing import Closing
from .one_pass import refuse_at_end
from .source import (
    BUFFERS,
    FUNCTIONS,
    PLAIN_FILES,
    FileFacts,
    OpenSource,
    close_all,
    facts_of,
    raising,
    read_head,
    read_size_of,
    read_whole,
)

if TYPE_CHECKING:
    from .entry import Entry

_LISTS = (list, tuple)
_MEMORY = (bytes, *BUFFERS)
_END = object()
_CLOSE = attrgetter("close")
# Kinds of sources that are read without waiting.
_AT_HAND = frozenset({*_MEMORY, *_LISTS, io.BytesIO, type(None)})


class PeekedSource:
    """The source of `entry`, read as far as `peek` has read it.

    The most common kinds of sources are read here; all others by an `OpenSource`, which takes longer to make.

    Attributes:
        item: the entry.
        limit: bytes up to which its owner wants it to be peeked.
        is_at_hand: whether the data is in memory, so that reading does not wait.
        is_at_once: whether reading may wait, so that the member is written as soon as it is read.
        sizes: sizes in bytes of the chunks that made up the complete data.
        is_size_known: whether the source knew its size before it was read.
        facts: facts about a file, else None.
        read_size, cuts: see `OpenSource`.
    """

    in_memory = False
    is_size_known = False
    facts: FileFacts | None = None
    _inner: OpenSource | None = None
    _closing: Closing | None = None
    # Arguments for an `OpenSource` that continues to read this source.
    _given: tuple[Any, ...] = ()
    _begun: tuple[Any, ...] = ()

    def __init__(self, entry: Entry, limit: int, read_size: int, cuts: bool, held: list[int]) -> None:
        """held: gets the descriptor of the entry's file, which may be open already. The caller may close it, too."""
        self.item = entry
        self.limit = limit
        self._held = held
        self._read_size = read_size
        self._cuts = cuts
        self._chunks: list[Any] = []
        self._opened: list[Any] = []  # to close: the source and its iterator
        kind = type(entry.source)
        self.is_at_hand = kind in _AT_HAND
        self.is_at_once = not self.is_at_hand and (kind is GeneratorType or not hasattr(kind, "__fspath__"))

    def peek(self, limit: int, is_awaited: Callable[[int], bool]) -> bytes | None:
        """Return the complete data if the source ends within less than `limit` bytes; else None.

        It reads to the end, `limit` bytes, more bytes than declared, or until `is_awaited(bytes_read)`. An empty chunk
        also stops it: the source has no data yet. A source that was read to its end is closed. In all other cases
        `open` continues after the part read, and then raises an error of reading.
        """
        entry = self.item
        if entry.size is not None and entry.size < limit:
            limit = entry.size + 1
        source = entry.source
        kind = type(source)
        if entry.name[-1:] == "/":
            if source is None or (kind is bytes and not source):
                self.is_size_known = True
                return b""
        elif not self.is_at_once and not self.is_at_hand:  # a path
            data = self._read_file(source, limit)
            return self._peek_inner(limit, is_awaited) if data is None and not self._held else data
        elif kind is GeneratorType:
            self._opened.append(source)
            self._given = (source,)
            return self._read(source, limit, is_awaited)
        elif kind in _MEMORY:
            return self._in_memory(source, limit)
        elif kind in _LISTS:
            return self._read(source, limit, is_awaited)
        elif kind in FUNCTIONS:
            self._opened.extend(map(call, (source,)))
            if not self._opened:
                raise RuntimeError(f"{source!r} raised StopIteration")
            source = self._opened[0]
            kind = type(source)
            self._given = (source,)
            if kind in _MEMORY:
                return self._in_memory(source, limit)
            if kind is GeneratorType or kind in _LISTS:
                return self._read(source, limit, is_awaited)
            if kind in PLAIN_FILES:
                return self._read_open_file(source, limit, is_awaited)
        elif kind in PLAIN_FILES:
            self._opened.append(source)
            self._given = (source,)
            return self._read_open_file(source, limit, is_awaited)
        elif _is_iterator(source):
            self._opened.append(source)
            self._given = (source,)
            return self._read(source, limit, is_awaited)
        return self._peek_inner(limit, is_awaited)

    def _in_memory(self, source: Any, limit: int) -> bytes | None:
        self.is_size_known = True
        if type(source) is bytes:
            return source if len(source) < limit else None
        view = flat_view(source)
        return bytes(view) if len(view) < limit else None

    def _read_file(self, path: Any, limit: int) -> bytes | None:
        """Read the regular file at `path` if it has less than `limit` bytes; else leave it to an `OpenSource`."""
        held = self._held
        try:
            if (found := read_whole(held, path, limit)) is not None:
                data, info = found
                self.facts, self.is_size_known = facts_of(info, path), bool(data)
                return data
        except Exception:  # a path object of another library may raise anything: the `OpenSource` raises it again
            close_all(held)
        return None

    def _read(self, source: Any, limit: int, is_awaited: Callable[[int], bool]) -> bytes | None:
        """Read an iterable."""
        chunks, kind = self._chunks, type(source)
        if kind is GeneratorType and source.gi_frame is None:  # finished: refused by the `OpenSource`
            return None
        try:
            iterator = iter(source)
            if iterator is not source and kind not in _LISTS:
                self._opened.append(iterator)
            if read_head(iterator, chunks, limit, is_awaited):
                if kind is not GeneratorType and kind not in _LISTS:  # a finished generator needs no closing
                    self.close()
                self._given = (iter(chunks),)
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except Exception as exc:
            iterator = raising(exc)
        self._given = (_resumed(chunks, iterator),)
        return None

    def _read_open_file(self, file: Any, limit: int, is_awaited: Callable[[int], bool]) -> bytes | None:
        """Read a file object."""
        chunks = self._chunks
        size = min(limit, read_size_of(self._read_size))
        try:
            if type(file) is io.BytesIO:
                chunks.append(file.read(size))
            is_whole = bool(chunks) and len(chunks[0]) < size  # a short read is the end of a BytesIO
            if is_whole or read_head(iter(partial(file.read, size), b""), chunks, limit, is_awaited):
                if not (chunks and chunks[0]) and self.item.size != 0:
                    refuse_at_end(file, self.item.name)
                for _ in map(call, map(_CLOSE, map(self._opened.pop, repeat(-1, len(self._opened))))):
                    pass
                self._given = (iter(chunks),)
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except Exception as exc:
            self._given = (_resumed(chunks, raising(exc)),)
        else:
            self._begun = tuple(chunks)
        return None

    def _peek_inner(self, limit: int, is_awaited: Callable[[int], bool]) -> bytes | None:
        self._inner = inner = self.open()
        data = inner.peek(limit, is_awaited)
        self._chunks = inner.peeked
        self.facts, self.is_size_known = inner.facts, inner.size is not None
        return data

    @property
    def sizes(self) -> list[int]:
        """Sizes in bytes of the chunks that were read, if there was more than one."""
        return [len(chunk) for chunk in self._chunks]

    @property
    def has_data(self) -> bool:
        """Whether any data was read."""
        return bool(self._chunks)

    def open(self) -> OpenSource:
        """Return the open source, which continues after the part that was read."""
        if self._inner is not None:
            return self._inner
        return OpenSource(
            self.item,
            self._read_size,
            given=self._given or None,
            begun=self._begun,
            cuts=self._cuts,
            closing=self.closing,
            held=self._held,
        )

    @property
    def closing(self) -> Closing:
        """Closes the source, whoever reads it. Made on demand: most sources are read whole and do not need it."""
        if self._closing is None:
            self._closing = Closing()
        self._closing.take(self._opened)
        return self._closing

    def close(self) -> None:
        """Close the iterator and the source."""
        try:
            if self._held:
                close_all(self._held)
        finally:
            if self._opened or self._closing is not None:
                self.closing.close()


def _resumed(chunks: list[Any], iterator: Iterator[Any]) -> Iterator[Any]:
    """Yield `chunks`, then the rest of `iterator`. `iter` is not called on that again."""
    yield from chunks
    while (chunk := next(iterator, _END)) is not _END:
        yield chunk


def _is_iterator(source: Any) -> bool:
    """Whether `source` is only an iterator, and nothing that could be read in another way."""
    return isinstance(source, Iterator) and not hasattr(source, "read") and not hasattr(type(source), "__enter__")
