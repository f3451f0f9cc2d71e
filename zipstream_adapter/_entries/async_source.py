"""Turn a source given to an asynchronous stream into chunks of bytes: opened when its turn comes, closed once.

Asynchronous sources are used on the event loop only. Synchronous ones are read by `source.py`, on a thread.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack
from functools import lru_cache, partial
from types import AsyncGeneratorType, CoroutineType, FunctionType, MethodType
from typing import Any

import aiofiles
import aiofiles.os
from aiofiles.base import AiofilesContextManager, AsyncBase
from aiofiles.threadpool import wrap
from aiofiles.threadpool.binary import AsyncBufferedIOBase, AsyncBufferedReader, AsyncFileIO

from .._buffers import close_of
from .._concurrency.cancellation import called, closed, forget_cancellation, kept, to_the_end
from .._concurrency.offload import FileThreads, StepThreads
from .entry import Entry
from .files.growing import Cut
from .files.regular import not_a_file, open_to_read
from .foreign.async_process import chunks_of_async, close_async_process
from .foreign.processes import close_process, is_async_process, is_process
from .foreign.readers import (
    closed_by,
    closes_itself,
    is_context,
    is_coroutine_function,
    must_be_left,
    position_of,
    reader_of,
    takes_size,
)
from .foreign.response_body import Body
from .foreign.responses import kind_of_response, response_of
from .one_pass import OnePass, is_finished, refuse_position, refuse_used
from .source import FILE_READ, FUNCTIONS, FileFacts, OpenSource, cut_at, facts_of, read_size_of, size_and_cut, size_of

# Bytes up to which small chunks that come at once are joined, so that each costs less than a hop to a thread.
JOINED = 1 << 16
# Seconds within which a chunk counts as coming at once. A slower one is passed on with the chunks before it.
_AT_ONCE_S = 0.002
# Most seconds for joining chunks: a source that never waits would block the event loop.
_LONGEST_JOIN_S = 0.005
# Wrappers around the data: a callable that returns an awaitable of a context manager of a response has four.
_MOST_WRAPPERS = 8


def is_asynchronous(source: Any) -> bool:
    """Whether to read or call `source` by way of the event loop. True for a path, which aiofiles opens."""
    kind = type(source)
    if kind in _IN_MEMORY:
        return False
    if kind in _ON_LOOP or isinstance(source, type) or is_file(source):
        return True
    if isinstance(source, io.IOBase | bytes):
        return is_coroutine_function(getattr(source, "read", None)) or isinstance(source, os.PathLike)
    response = response_of(source, "")
    if response is not None:
        return response.is_async
    return (
        isinstance(source, os.PathLike | AsyncIterable)
        or any(hasattr(type(source), name) for name in ("__await__", "__aenter__"))
        or is_async_process(source)
        or _may_await(source)
        or (callable(source) and not hasattr(source, "read") and not is_context(source))
    )


def _may_await(source: Any) -> bool:
    """Whether the read method of `source` may return an awaitable. Only a call shows whether it does."""
    read = getattr(source, "read", None)
    if reader_of(source, "") is None or is_process(source):
        return False
    file = getattr(read, "__self__", None) or getattr(getattr(read, "__wrapped__", None), "__self__", None)
    # The methods of a temporary file wrap those of its file.
    return not isinstance(file, io.IOBase) or is_coroutine_function(read)


def _closes_on_loop(source: Any) -> bool:
    """Whether `source`, which was not opened yet, must be closed on the event loop."""
    if isinstance(source, AsyncIterable) or is_async_process(source):
        return True
    response = response_of(source, "")
    if response is not None:
        return response.is_async
    return _needs_loop(source, getattr(source, "read", None))


def _needs_loop(source: Any, read: Any) -> bool:
    """Whether `source` looks like an object to read on an event loop."""
    names = ("__aenter__", "__aiter__", "__anext__", "aclose")
    return is_coroutine_function(read) or any(hasattr(type(source), name) for name in names)


_PLAIN_DATA = frozenset({bytes, bytearray, memoryview, AsyncGeneratorType})
_CALLABLE = frozenset({*FUNCTIONS, partial})
_ON_LOOP = frozenset({*_CALLABLE, AsyncGeneratorType, CoroutineType})
_IN_MEMORY = frozenset({bytes, bytearray, memoryview, list, tuple, io.BytesIO, type(None)})


@lru_cache(maxsize=256)
def _are_files(kind: Hashable) -> bool:
    """Whether objects of the class `kind` are read by a coroutine function ``read(size)``, and used in no other way."""
    assert isinstance(kind, type)
    read = getattr(kind, "read", None)
    if (
        type(read) is not FunctionType
        or not inspect.iscoroutinefunction(read)
        or not takes_size(MethodType(read, kind))
    ):
        return False
    if issubclass(kind, io.IOBase | AsyncBase | OnePass) or kind_of_response(kind) is not None:  # type: ignore[arg-type]
        return False
    if any(hasattr(kind, name) for name in _OTHER_USES):
        return False
    # See `must_be_left`.
    return not hasattr(kind, "__aenter__") or any(callable(getattr(kind, name, None)) for name in ("close", "aclose"))


_OTHER_USES = ("__await__", "__enter__", "__fspath__", "__getattr__")


def is_file(source: Any) -> bool:
    """Whether `source` is read by a coroutine function ``read(size)``, by the look of its class alone."""
    return _are_files(type(source)) and "read" not in getattr(source, "__dict__", ())  # type: ignore[arg-type]


def coroutine_of(source: Any) -> CoroutineType[Any, Any, Any] | None:
    """Return the coroutine that gives the data: `source`, or the result of calling it. None for all other kinds."""
    kind = type(source)
    if kind is CoroutineType:
        coroutine: CoroutineType[Any, Any, Any] = source
        return coroutine
    function = source.func if kind is partial else source
    if type(function) is FunctionType and function.__code__.co_flags & inspect.CO_COROUTINE:
        made: CoroutineType[Any, Any, Any] = source()
        return made
    return None


class AsyncSource:
    """The source of an entry, opened and read on the event loop.

    Attributes:
        size: bytes to come, if the source knows, else None.
        facts: facts about a file, else None.
        cut: see `OpenSource`.
    """

    def __init__(self, entry: Entry, read_size: int, cuts: bool = False, given: tuple[Any, ...] = ()) -> None:
        """given: the object to read, if the source was called or awaited already, and a chunk that was read from it."""
        self._given = given or (entry.source,)
        self.size: int | None = None
        self.facts: FileFacts | None = None
        self.cut: Cut | None = None
        self._cuts = cuts
        self._entry = entry
        self._read_size = read_size_of(read_size)
        self._exit = AsyncExitStack()
        self._generator: AsyncGenerator[Any, None] | None = None  # to close before the rest
        self.closing = False
        self._needs_close = False  # whether there is anything to close
        self._chunk: Callable[[], Awaitable[Any]]  # raises StopAsyncIteration at the end
        self._ended: Exception | None = None
        self._parts: list[bytes] = []  # small chunks, to be joined
        self.on_part: Callable[[], None] | None = None  # called when the first of them has come
        self._held: Any = None  # opened, but not in `_exit` yet
        self._is_owned = True  # whether to close the source: a context manager may do that
        self._first: tuple[Any, ...] = ()  # a chunk read to find out that the source is not asynchronous

    async def open(self, threads: StepThreads) -> AsyncSource | OpenSource:
        """Open the source. Returns the object to read: self, or the source of the callable's result if synchronous.

        threads: call, read and close synchronous objects.
        """
        closing = partial(threads.run, closing=True)
        try:
            if is_file(self._given[0]):  # the most common kinds first
                return self._open_file(self._given[0])
            source = await self._unwrapped(self._given[0], threads)
            refuse_used(source, self._entry.name)
            if type(source) is AsyncGeneratorType:
                self._generator = source if self._is_owned else None
                self._pop_held()
                self._chunk = self._begun if self._given[1:] else source.__anext__
                return self
            if type(source) is bytes and len(source) < JOINED:
                self.size, self._ended = len(source), StopAsyncIteration()
                self._parts += (source,) if source else ()
                self._pop_held()
                return self
            if type(source) in _IN_MEMORY and not self._needs_close:  # no need of a thread
                return self._wrapped(source)
            response = response_of(source, self._entry.name)
            if isinstance(source, os.PathLike):
                await self._open_path(source, threads)
            elif response is not None and response.is_async:
                self._open_response(response)
            elif is_async_process(source):
                self._pop_held()
                self._close_with(called, partial(close_async_process, source))
                self._iterate(chunks_of_async(source, self._entry.name, self._read_size))
            elif response is None and await self._read_by_method(source, threads):
                pass
            elif response is None and not self._first and isinstance(source, AsyncIterable):
                self._iterate(source, self._is_owned)
            else:
                # Closed here if `_wrapped` is not reached, which hands it to an OpenSource.
                self._held = source if self._is_owned else None
                await threads.run(partial(self._wrapped, source), keep=self._hold)
                inner: OpenSource = self._pop_held()
                self.cut = inner.cut
                if not self._needs_close:
                    return inner
                self._close_with(closing, inner.close)
                self._chunk = lambda: threads.run(lambda: _next(inner))
            self._pop_held()
            return self
        except BaseException as exc:
            try:
                self._close_unbegun(closed_by(self._pop_held()), closing)
                await self.close()
            except Exception as second:
                exc.add_note(f"(and closing its source raised {second!r})")
            raise

    def _open_file(self, file: Any) -> AsyncSource:
        self._close_later(file)
        tell = partial(async_position, file)
        self._chunk = self._reads(file.read, self._read_size, first=self._given[1:], tell=tell)
        return self

    def _close_unbegun(self, held: Any, closing: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """Note that `held` must be closed, which was opened and not read. closing: calls a function on a thread."""
        if is_async_process(held):
            self._close_with(called, partial(close_async_process, held))
        elif is_process(held):
            self._close_with(closing, partial(close_process, held))
        elif _closes_on_loop(held):
            self._close_later(held)
        elif close := close_of(held):
            self._close_with(closing, close)

    async def _unwrapped(self, source: Any, threads: StepThreads) -> Any:
        """Call, await and enter `source` until it is an object to read; returns that."""
        for _ in range(_MOST_WRAPPERS):
            kind = type(source)
            if kind in _PLAIN_DATA:
                return source
            if kind is CoroutineType:
                source = await source
                continue
            if kind in _CALLABLE and (inspect.iscoroutinefunction(source) or inspect.isasyncgenfunction(source)):
                source = source()
                continue
            if isinstance(source, AiofilesContextManager):
                await opened_by_aiofiles(source, threads, self._hold)
                source = self._held
            elif hasattr(source, "__await__"):
                source = await source
            elif self._is_data(source) and not self._is_to_enter(source):
                return source
            elif self._is_owned and hasattr(type(source), "__aenter__"):
                self._needs_close = True
                given = await self._exit.enter_async_context(source)
                self._pop_held()
                self._is_owned = not closes_itself(source, given)
                source = given
            elif isinstance(source, AsyncIterable) or is_context(source):
                return source
            elif inspect.iscoroutinefunction(source) or inspect.isasyncgenfunction(source):
                source = source()
            elif callable(source):
                await self._call(source, threads)
                source = self._held
            else:
                return source
        return source

    def _is_data(self, source: Any) -> bool:
        """Whether `source` can be read without calling, awaiting or entering it."""
        if isinstance(source, os.PathLike) or response_of(source, "") is not None:
            return True
        if is_process(source) or is_async_process(source):
            return True
        return reader_of(source, "") is not None

    def _is_to_enter(self, source: Any) -> bool:
        """Whether `source` is entered although it can be read: there is no other way to close it."""
        return self._is_owned and not is_process(source) and not is_async_process(source) and must_be_left(source)

    def _wrapped(self, source: Any) -> OpenSource:
        """Return an OpenSource, which from now on reads and closes `source`."""
        self._pop_held()
        given: dict[str, Any] = {"given": (source,), "begun": self._first, "is_owned": self._is_owned}
        return OpenSource(self._entry, self._read_size, cuts=self._cuts, **given)

    async def _call(self, source: Callable[[], Any], threads: StepThreads) -> None:
        """Call `source` on a thread, as it may block; if it needs a running event loop, on the loop."""
        try:
            await threads.run(source, keep=self._hold)
        except RuntimeError as exc:
            if "event loop" not in str(exc):
                raise
            self._hold(source())

    async def _begun(self) -> Any:
        """Return the chunk of the generator that was read before."""
        generator, chunk = self._given
        self._given, self._chunk = (generator,), generator.__anext__
        return chunk

    async def _read_by_method(self, source: Any, threads: StepThreads) -> bool:
        """Read `source` by its read method if that is asynchronous. A chunk read to find that out is kept."""
        read = None if is_process(source) else reader_of(source, self._entry.name)
        if read is None or isinstance(source, io.IOBase) or self._is_to_enter(source):
            return False
        ours = on_our_threads(source, threads)
        if ours is not None:
            if self._is_owned:
                self._close_later(source, ours.close)
            self._chunk = self._reads(ours.read, self._read_size, tell=ours.tell)
            return True
        on_loop = _needs_loop(source, read)
        if is_coroutine_function(read):
            first: tuple[Any, ...] = ()
            if self._is_owned:
                self._close_later(source)
        else:
            self._held = source if self._is_owned else None
            asked = partial(read, self._read_size)
            result = asked() if on_loop else await _result_of(asked, threads)
            if not hasattr(result, "__await__"):
                self._first = (result,)
                return False
            if self._is_owned:
                self._close_later(source)  # on the loop, also if this read fails
            try:
                first = (await result,)
            except StopAsyncIteration as exc:
                raise stopped() from exc
        # Before iteration, which would give lines.
        on_thread = isinstance(source, AsyncBase)
        tell = partial(async_position, source, on_thread)
        self._chunk = self._reads(read, self._read_size, on_thread=on_thread, first=first, tell=tell)
        return True

    def _open_response(self, response: Body) -> None:
        close = response.close() if self._is_owned else None
        self._pop_held()
        if close is not None:
            self._close_with(called, close)
        response.begin()
        if response.data is not None:
            self._iterate(_once(response.data))
            return
        self.size = response.length
        self._iterate(response.chunks_on_loop(self._read_size))

    def _hold(self, thing: Any) -> None:
        self._held = thing

    def _pop_held(self) -> Any:
        held, self._held = self._held, None
        return held

    async def _open_path(self, path: os.PathLike[Any], threads: StepThreads) -> None:
        file = await open_file(self._entry, path, self._read_size, threads, cuts=self._cuts)
        self._close_later(file.handle, file.close)
        self.facts, self.size, self.cut = file.facts, file.size, file.cut
        self._chunk = self._reads(file.read, file.file_read)

    def _iterate(self, source: AsyncIterable[Any], is_owned: bool = True) -> None:
        if is_owned:
            self._close_later(source)
        iterator = aiter(source)
        if iterator is not source:
            self._close_later(iterator)  # closed before the source
        self._chunk = iterator.__anext__

    def _reads(
        self,
        read: Callable[[int], Awaitable[Any]],
        size: int,
        *,
        on_thread: bool = False,
        first: tuple[Any, ...] = (),
        tell: Callable[[], Awaitable[Any]] | None = None,
    ) -> Callable[[], Awaitable[Any]]:
        """tell: gives the position of a file that must not stand at its end; called if it gives no data."""
        begun, entry, name = list(first), self._entry, self._entry.name  # not self, which keeps the function
        is_unread = tell is not None

        async def chunk() -> Any:
            nonlocal is_unread
            # Wait for a thread that reads: a cancellation does not stop it.
            try:
                data = begun.pop() if begun else await (to_the_end(read(size)) if on_thread else read(size))
            except StopAsyncIteration as exc:
                raise stopped() from exc
            if data is None:
                raise BlockingIOError(
                    f"entry {name!r}: the file object has no data yet (read() returned None): read() must wait for data"
                )
            if not size_of(data, name):
                if is_unread and tell is not None and entry.source_size != 0:
                    refuse_position(await tell(), name)
                raise StopAsyncIteration
            is_unread = False
            return data

        return chunk

    def _close_later(self, source: Any, close: Callable[[], Any] | None = None) -> None:
        if source is self._held:
            self._held = None
        close = close or aclose_of(source)
        if callable(close):
            self._close_with(called, close)

    def _close_with(self, run: Callable[[Callable[[], Any]], Awaitable[Any]], close: Callable[[], Any]) -> None:
        self._needs_close = True
        self._exit.push_async_callback(run, close)

    async def next(self) -> Any:
        """Return the next chunk; None at the end; b"" if no data is available yet.

        Small chunks that come at once are joined.
        """
        parts, total = self._parts, 0
        begun = now = time.monotonic()
        while total < JOINED and self._ended is None:
            asked = now
            try:
                chunk = await self._chunk()
                size = size_of(chunk, self._entry.name)
            except StopAsyncIteration as exc:
                self._ended = exc.with_traceback(None)  # which refers to this object
                break
            except Exception as exc:
                self._ended = exc  # raised after the data before it
                break
            if not parts:
                total = 0  # the parts before were taken meanwhile
                if size >= JOINED:
                    return chunk
            if size and not total and self.on_part is not None:
                self.on_part()
            parts.append(bytes(chunk))
            total += size
            now = time.monotonic()
            if (total and now - asked > _AT_ONCE_S) or now - begun > _LONGEST_JOIN_S:
                break
        if parts:
            return self.joined()
        assert self._ended is not None
        if isinstance(self._ended, StopAsyncIteration):
            return None
        raise self._ended

    def joined(self) -> bytes:
        """The small chunks that `next` has joined so far. A consumer that waits long takes them before it returns."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    async def close(self) -> None:
        """Close the source. Further calls do nothing.

        Call it in the task that opened the source, and do not cancel it.
        """
        self.closing = True
        if not self._needs_close and (self._generator is None or is_finished(self._generator)):
            return
        forget_cancellation()
        try:
            if self._generator is not None:
                await self._generator.aclose()
        finally:
            await self._exit.aclose()


def aclose_of(source: Any) -> Any:
    """Return the method that closes `source`; None if it has none."""
    return getattr(source, "aclose", None) or close_of(source)


def stopped() -> RuntimeError:
    """Return the error for a read method that raised StopAsyncIteration: only an iterator ends by that."""
    return RuntimeError("the read method of the file object raised StopAsyncIteration: at the end, return b''")


async def _result_of(source: Callable[[], Any], threads: StepThreads) -> Any:
    """Return the result of `source`, called on a thread, or on the loop if it needs a running event loop."""
    try:
        return await threads.run(source)
    except RuntimeError as exc:
        if "event loop" not in str(exc):
            raise
    return source()


async def async_position(file: Any, on_thread: bool = False) -> Any:
    """The position of `file`; None if it has none. on_thread: whether to wait for its methods, see `to_the_end`."""
    if not hasattr(file, "tell"):  # an uploaded file of Starlette or Litestar, which holds a plain one
        return position_of(getattr(file, "file", None))
    try:
        for ask in (file.seekable, file.tell):
            answer = ask()
            if hasattr(answer, "__await__"):
                answer = await (to_the_end(answer) if on_thread else answer)
            if not answer:
                return None
    except Exception:  # files without a position raise various errors
        return None
    return answer


async def _once(data: Any) -> AsyncIterator[Any]:
    if len(data):
        yield data


def _next(source: OpenSource) -> Any:
    for chunk in source:
        return chunk
    raise StopAsyncIteration


_fstat = aiofiles.os.wrap(os.fstat)


_call = aiofiles.os.wrap(lambda function, *arguments: function(*arguments))


_BINARY = (AsyncBufferedIOBase, AsyncBufferedReader, AsyncFileIO)


class ThreadedFile:
    """A handle of aiofiles. A cancellation withdraws calls that no thread has begun."""

    def __init__(self, handle: Any, executor: FileThreads) -> None:
        self.handle = handle
        self._executor = executor

    async def read(self, size: int) -> Any:
        """Read up to `size` bytes. If cancelled, waits for a read that has begun."""
        return await to_the_end(self.handle.read(size), self._executor.withdraw)

    async def tell(self) -> Any:
        """The position of the file; None if it has none. Without a hop to a thread: nothing else uses it now."""
        return position_of(self.handle._file)

    async def close(self) -> None:
        """Close the file. Further calls do nothing."""
        self._executor.closing = True
        await closed(self.handle.close())


class OpenFile(ThreadedFile):
    """A file opened by aiofiles: an iterator of its chunks, for use on threads.

    Reading through aiofiles would need a hop to a thread for each chunk, which takes longer than reading the chunk; and
    data read on one core is slow to process on another.

    Attributes:
        size: bytes in the file; None if not known, see `stated_size`.
        facts: facts about the file.
        cut, file_read: see `OpenSource`.
    """

    in_memory = False

    def __init__(self, handle: Any, executor: FileThreads, facts: FileFacts, read_size: int, most: int | None) -> None:
        super().__init__(handle, executor)
        self.facts = facts
        self.file_read = max(read_size, FILE_READ)
        read: Callable[[int], bytes] = partial(os.read, handle.fileno())
        self.size, self.cut = size_and_cut(facts.stat, read, handle.fileno(), most)
        self._read: Callable[[int], bytes] = self.cut or read

    async def read(self, size: int) -> Any:
        """Read up to `size` bytes, up to the cut. If cancelled, waits for a read that has begun."""
        return await to_the_end(_call(self._read, size, executor=self._executor), self._executor.withdraw)

    def __next__(self) -> bytes:
        chunk = self._read(self.file_read)
        if not chunk:
            raise StopIteration
        return chunk


async def open_file(
    entry: Entry, path: os.PathLike[Any], read_size: int, threads: StepThreads, *, cuts: bool
) -> OpenFile:
    """Open the file at `path` for `entry`. A cancellation does not wait for calls that no thread has begun.

    cuts: see `OpenSource`.
    """
    name = entry.name
    executor = FileThreads(threads)
    threads.sources[executor] = name
    opened: list[Any] = []
    try:
        info = await to_the_end(aiofiles.os.stat(path, executor=executor), executor.withdraw)
        if not stat.S_ISREG(info.st_mode):
            raise not_a_file(name, os.fspath(path), info.st_mode)
        opening = aiofiles.open(path, "rb", buffering=0, opener=open_to_read, executor=executor)
        await kept(opening, opened.append, executor.withdraw)
        info = await to_the_end(_fstat(opened[0].fileno(), executor=executor), executor.withdraw)
        if not stat.S_ISREG(info.st_mode):  # the path was replaced meanwhile
            raise not_a_file(name, os.fspath(path), info.st_mode)
        return OpenFile(opened[0], executor, facts_of(info, path), read_size, cut_at(entry, cuts))
    except BaseException:
        for handle in opened:
            await ThreadedFile(handle, executor).close()
        raise
    finally:
        threads.sources.pop(executor, None)


def on_our_threads(handle: Any, threads: StepThreads) -> ThreadedFile | None:
    """Wrap an aiofiles `handle` so that it is read on our threads. Returns None for any other object.

    aiofiles would use the event loop's default executor, which is shared: a cancellation, and closing, would wait for
    other work there.
    """
    if type(handle) not in _BINARY or hasattr(handle, "_closer"):  # a temporary file
        return None
    executor = handle._executor
    if executor is None:
        executor = FileThreads(threads)
        handle = wrap(handle._file, executor=executor)
    return ThreadedFile(handle, executor) if isinstance(executor, FileThreads) else None


async def opened_by_aiofiles(manager: Any, threads: StepThreads, keep: Callable[[Any], object]) -> None:
    """Open the result of ``aiofiles.open(...)``, on our threads if possible, and pass its handle to `keep`."""
    coroutine: Any = getattr(manager, "_coro", None)
    arguments = _arguments(coroutine)
    if arguments is None or arguments.get("executor") is not None or arguments.get("loop") is not None:
        await kept(manager, keep)
        return
    coroutine.close()
    executor = FileThreads(threads)
    await kept(aiofiles.open(**arguments | {"executor": executor}), keep, executor.withdraw)


def _arguments(coroutine: Any) -> dict[str, Any] | None:
    """Return the arguments of an unstarted coroutine of ``aiofiles.open``, or None for any other coroutine."""
    frame = getattr(coroutine, "cr_frame", None)
    code = getattr(coroutine, "cr_code", None)
    if frame is None or code is not _OPEN or frame.f_lasti > _UNSTARTED:
        return None
    return dict(frame.f_locals)


def _unstarted() -> tuple[Any, int]:
    """Return the code object of the coroutine in ``aiofiles.open``, and its last instruction before its first step."""
    coroutine: Any = aiofiles.open(os.devnull)._coro  # type: ignore[attr-defined]
    try:
        return coroutine.cr_code, coroutine.cr_frame.f_lasti
    finally:
        coroutine.close()


_OPEN, _UNSTARTED = _unstarted()
