"""Whatever an asynchronous user hands over as data -> chunks of bytes, opened when its turn comes and closed once.

What is asynchronous is touched on the event loop only. What is not is left to `zipstream_adapter.source`, on a thread.
"""

from __future__ import annotations

import inspect
import os
import stat
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiofiles
import aiofiles.os
from aiofiles.base import AiofilesContextManager, AsyncBase

from .aio_wait import called, kept, to_the_end
from .entry import Entry
from .source import FILE_READ, FileFacts, OpenSource, close_of, facts_of, not_a_file, read_small, size_of

# Small pieces that come at once are joined to this many bytes, so that each costs less than a hop to a thread.
JOINED = 1 << 16
# Seconds within which a piece comes at once. One that took longer is passed on with what was there before it.
_AT_ONCE = 0.002
_LONGEST_JOIN = 0.1
# A callable that returns an awaitable of a context manager of a response is four already.
_MOST_WRAPPERS = 8

_read_small = aiofiles.os.wrap(read_small)
_fstat = aiofiles.os.wrap(os.fstat)

OnThread = Callable[[Callable[[], Any]], Awaitable[Any]]


def is_asynchronous(source: Any) -> bool:
    """Whether `source` cannot be read, or called, without the event loop; where it is a path, it should not be."""
    return (
        isinstance(source, os.PathLike | AsyncIterable)
        or any(hasattr(source, name) for name in ("__await__", "__aenter__", "aiter_bytes"))
        or inspect.iscoroutinefunction(getattr(source, "read", None))
        or (callable(source) and not hasattr(source, "read"))
    )


async def read_small_file(path: os.PathLike[Any], limit: int) -> tuple[bytes, FileFacts] | None:
    """`read_small`, through aiofiles."""
    found: tuple[bytes, FileFacts] | None = await to_the_end(_read_small(path, limit))
    return found


class AsyncSource:
    """An entry's data while it is read, on the event loop.

    Attributes:
        size: bytes to come, where the source knows, else None.
        facts: what a file says of itself, else None.
    """

    def __init__(self, entry: Entry, read_size: int) -> None:
        self.size: int | None = None
        self.facts: FileFacts | None = None
        self._entry = entry
        self._read_size = read_size
        self._exit = AsyncExitStack()
        self.closing = False
        self._holds = False  # whether there is anything to let go of
        self._chunk: Callable[[], Awaitable[Any]]  # raises StopAsyncIteration at the end
        self._ended: Exception | None = None
        self._held: Any = None  # what was opened, and is nobody's yet

    async def open(self, on_thread: OnThread) -> AsyncSource | OpenSource:
        """Open it; returns what is to be read: this, or what its callable came to, where that is not asynchronous.

        on_thread: runs a function on a thread.
        """
        try:
            source = await self._unwrapped(self._entry.source, on_thread)
            if isinstance(source, os.PathLike):
                await self._open_path(source)
            elif inspect.iscoroutinefunction(getattr(source, "read", None)):
                # Before it is iterated over, which gives lines.
                self._close_later(source)
                self._chunk = self._reads(source.read, self._read_size, on_thread=isinstance(source, AsyncBase))
            elif isinstance(source, AsyncIterable):
                self._iterate(source)
            else:
                self._taken()  # it is closed by what is made of it now
                await kept(on_thread(lambda: OpenSource(self._entry, self._read_size, given=(source,))), self._take)
                inner: OpenSource = self._taken()
                if not self._holds:
                    return inner
                self._let_go_by(on_thread, inner.close)
                self._chunk = lambda: on_thread(lambda: _next(inner))
            self._taken()
            return self
        except BaseException as exc:
            try:
                held = self._taken()
                if is_asynchronous(held):
                    self._close_later(held)
                elif close := close_of(held):
                    self._let_go_by(on_thread, close)
                await self.close()
            except Exception as second:
                exc.add_note(f"(and closing its source raised {second!r})")
            raise

    async def _unwrapped(self, source: Any, on_thread: OnThread) -> Any:
        """What calling, awaiting and entering `source` comes to."""
        for _ in range(_MOST_WRAPPERS):
            if isinstance(source, AiofilesContextManager):
                await kept(source, self._take)
                source = self._held
            elif hasattr(source, "__await__"):
                source = await source
            elif hasattr(source, "raise_for_status") and (hasattr(source, "aiter_bytes") or hasattr(source, "content")):
                # The response of an HTTP client. The page that says what went wrong is not the data.
                self._close_later(source)
                source.raise_for_status()
                return source.aiter_bytes() if hasattr(source, "aiter_bytes") else source.content
            elif hasattr(source, "read") or isinstance(source, os.PathLike | AsyncIterable):
                return source
            elif hasattr(source, "__aenter__"):
                self._holds = True
                source = await self._exit.enter_async_context(source)
            elif inspect.iscoroutinefunction(source) or inspect.isasyncgenfunction(source):
                source = source()
            elif callable(source):
                await kept(_called(source, on_thread), self._take)
                source = self._held
            else:
                return source
        return source

    def _take(self, thing: Any) -> None:
        self._held = thing

    def _taken(self) -> Any:
        held, self._held = self._held, None
        return held

    async def _open_path(self, path: os.PathLike[Any]) -> None:
        # A named pipe that nobody writes to has to be refused, not waited for.
        info = await to_the_end(aiofiles.os.stat(path))
        if not stat.S_ISREG(info.st_mode):
            raise not_a_file(self._entry.name, os.fspath(path), info.st_mode)
        await kept(aiofiles.open(path, "rb", buffering=0), self._take)
        file = self._taken()
        self._close_later(file)
        info = await to_the_end(_fstat(file.fileno()))
        self.facts = facts_of(info, path)
        self.size = info.st_size or None  # what says 0 may be a file that is made as it is read
        self._chunk = self._reads(file.read, max(self._read_size, FILE_READ), on_thread=True)

    def _iterate(self, source: AsyncIterable[Any]) -> None:
        self._close_later(source)
        iterator = aiter(source)
        if iterator is not source:
            self._close_later(iterator)  # and so before what it iterates over
        self._chunk = iterator.__anext__

    def _reads(
        self, read: Callable[[int], Awaitable[Any]], size: int, *, on_thread: bool
    ) -> Callable[[], Awaitable[Any]]:
        async def chunk() -> Any:
            # A thread that reads is waited for: a cancellation does not stop it.
            data = await (to_the_end(read(size)) if on_thread else read(size))
            if data is None:
                raise BlockingIOError(
                    f"entry {self._entry.name!r}: the file object has no data yet (read() gave None): it must wait"
                )
            if not size_of(data, self._entry.name):
                raise StopAsyncIteration
            return data

        return chunk

    def _close_later(self, source: Any) -> None:
        if source is self._held:
            self._held = None
        close = getattr(source, "aclose", None) or close_of(source)
        if callable(close):
            self._let_go_by(called, close)

    def _let_go_by(self, run: Callable[[Callable[[], Any]], Awaitable[Any]], close: Callable[[], Any]) -> None:
        self._holds = True
        self._exit.push_async_callback(run, close)

    async def next(self) -> Any:
        """The next chunk; None at the end. Small ones that come at once are joined."""
        parts: list[bytes] = []
        total = 0
        begun = now = time.monotonic()
        while total < JOINED and self._ended is None:
            asked = now
            try:
                chunk = await self._chunk()
                size = size_of(chunk, self._entry.name)
            except Exception as exc:
                self._ended = exc  # is said after what came before it
                break
            if total + size >= JOINED and not parts:
                return chunk
            parts.append(bytes(chunk))
            total += size
            now = time.monotonic()
            if total and (now - asked > _AT_ONCE or now - begun > _LONGEST_JOIN):
                break
        if total:
            return b"".join(parts)
        assert self._ended is not None
        if isinstance(self._ended, StopAsyncIteration):
            return None
        raise self._ended

    async def close(self) -> None:
        """Let go of the source, once; further calls do nothing. Not to be cut short."""
        self.closing = True
        await self._exit.aclose()


async def _called(source: Callable[[], Any], on_thread: OnThread) -> Any:
    """What `source` returns, called on a thread, where it may block; on the loop, where it asks for the running one."""
    try:
        return await on_thread(source)
    except RuntimeError as exc:
        if "event loop" not in str(exc):
            raise
    return source()


def _next(source: OpenSource) -> Any:
    for chunk in source:
        return chunk
    raise StopAsyncIteration
