"""Objects read by a method: `read(size)`, `read_chunk(size)`, or `read()` without a size."""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable
from contextlib import aclosing, closing
from types import CodeType, CoroutineType, MethodType
from typing import Any

from ..._buffers import view_of
from ...errors import EntryTypeError

Read = Callable[[int], Any]


def reader_of(source: Any, name: str) -> Read | None:
    """Return a function of a size that reads `source`, for the entry `name`. Returns None if there is none."""
    if isinstance(source, type):
        return None  # a class is called, not read
    read = getattr(source, "read", None)
    if not callable(read):
        return _chunk_reader(source)
    if isinstance(source, io.IOBase):
        return read  # type: ignore[no-any-return]
    if _is_buffer(source):
        return None
    if takes_size(read):
        return read  # type: ignore[no-any-return]
    chunked = _chunk_reader(source)
    if chunked is not None:
        return chunked
    if isinstance(source, Iterable | AsyncIterable):
        return None  # iterating gives smaller chunks than read()
    return Unsized(read, name)


def _is_buffer(source: Any) -> bool:
    try:
        view_of(source).release()
    except TypeError:
        return False
    return True


def _chunk_reader(source: Any) -> Read | None:
    # Ask the class: objects with `__getattr__` may claim any attribute.
    if not callable(getattr(type(source), "read_chunk", None)):
        return None
    read: Callable[..., Any] = source.read_chunk
    return read if takes_size(read) else lambda size: read()


def takes_size(read: Callable[..., Any]) -> bool:
    """Whether `read` takes a positional argument; True if that is not known."""
    import inspect  # imports much that most streams do not need

    function = read.__func__ if isinstance(read, MethodType) else read
    code = getattr(function, "__code__", None)
    if type(code) is CodeType and not hasattr(function, "__wrapped__"):  # a mock claims the class of its spec
        return bool(code.co_argcount > isinstance(read, MethodType) or code.co_flags & inspect.CO_VARARGS)
    try:
        inspect.signature(read).bind(1)
    except TypeError:
        return False
    except ValueError:  # compiled, without a signature
        return True
    return True


def is_seekable(file: Any) -> bool:
    """Whether `file` can be read, and says that it can seek."""
    seekable = getattr(file, "seekable", None)
    return callable(getattr(file, "read", None)) and callable(seekable) and bool(seekable())


def position_of(file: Any) -> Any:
    """What the `tell` of `file` returns; None if it cannot seek."""
    try:
        return file.tell() if is_seekable(file) else None
    except Exception:  # files without a position raise various errors
        return None


def is_coroutine_function(read: Any) -> bool:
    """Whether `read`, or the function it wraps, is a coroutine function."""
    import inspect

    if isinstance(read, Unsized):
        read = read.function
    try:
        return inspect.iscoroutinefunction(read) or inspect.iscoroutinefunction(inspect.unwrap(read))
    except ValueError:  # it wraps itself
        return False


class Unsized:
    """A `read()` without a size, called until it returns b"".

    Raises EntryTypeError, for the entry `name`, if the second call returns the same data again: then there is no end.
    """

    def __init__(self, read: Callable[[], Any], name: str) -> None:
        self.function = read
        self._name = name
        self._first: Any = None
        self._calls = 0

    def __call__(self, size: int) -> Any:
        data = self.function()
        return _Awaited(data, self.checked) if hasattr(data, "__await__") else self.checked(data)

    def checked(self, data: Any) -> Any:
        self._calls += 1
        if self._calls == 1:
            self._first = data
        elif self._calls == 2:
            first, self._first = self._first, None
            if data and data == first:
                raise EntryTypeError(
                    f"entry {self._name!r}: read() takes no size and gave the same {len(data)} bytes twice, so its "
                    "end is unknown: give the bytes that it returns as the source"
                )
        return data


class _Awaited:
    """An awaitable of the checked result of `data`."""

    def __init__(self, data: Awaitable[Any], check: Callable[[Any], Any]) -> None:
        self._data = data
        self._check = check

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._check((yield from self._data.__await__()))

    def close(self) -> None:
        """Close the coroutine, which nobody will await."""
        if isinstance(self._data, CoroutineType):
            self._data.close()


def is_context(source: Any) -> bool:
    """Whether `source` is a context manager, to be entered for the object to read."""
    return hasattr(type(source), "__enter__")


def must_be_left(source: Any) -> bool:
    """Whether leaving the context of `source` is the only way to close it."""
    kind = type(source)
    is_entered = hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")
    return is_entered and not any(callable(getattr(source, name, None)) for name in ("close", "aclose"))


def closed_by(context: Any) -> Any:
    """The object to close if `context` is never entered: that of `contextlib.closing`, else `context` itself."""
    return context.thing if isinstance(context, closing | aclosing) else context  # type: ignore[union-attr]


def closes_itself(context: Any, given: Any) -> bool:
    """Whether leaving `context` closes the object `given` by entering it. Not every object can be closed twice."""
    return given is context or isinstance(context, closing | aclosing)
