"""The types of what users hand in: sources of data, and the options of an Entry. For type checkers only.

A str is not a source: it could be a path or text.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterable, Awaitable, Generator, Iterable
    from datetime import datetime
    from functools import partial
    from subprocess import Popen

    from typing_extensions import Buffer

    from .._compression.methods import Compression
    from .files.growing import GrownPolicy

StrPath: TypeAlias = str | os.PathLike[str]


class SupportsWrite(Protocol):
    """An object that bytes are written to, such as a file opened in binary mode."""

    def write(self, data: bytes, /) -> object: ...


class Reader(Protocol):
    """An object such as a file opened in binary mode."""

    def read(self, size: int, /) -> Buffer | None: ...


class UnsizedReader(Protocol):
    """An object whose `read` takes no size, such as an `httpx.Response`."""

    def read(self) -> Buffer | None: ...


class ChunkReader(Protocol):
    """An object with `read_chunk`."""

    def read_chunk(self) -> Buffer | None: ...


class AsyncReader(Protocol):
    """An object such as an `asyncio.StreamReader`."""

    def read(self, size: int, /) -> Awaitable[Buffer]: ...


class AsyncUnsizedReader(Protocol):
    """An object whose `read` takes no size, such as an `aiohttp.ClientResponse`."""

    def read(self) -> Awaitable[Buffer]: ...


class AsyncChunkReader(Protocol):
    """An object with `read_chunk`, such as an `aiohttp.BodyPartReader`."""

    def read_chunk(self) -> Awaitable[Buffer]: ...


# Strings, so that nothing is evaluated.
Data: TypeAlias = "Buffer | os.PathLike[Any] | Reader | UnsizedReader | ChunkReader | Iterable[Buffer] | Popen[bytes]"
AsyncData: TypeAlias = "Data | AsyncReader | AsyncUnsizedReader | AsyncChunkReader | AsyncIterable[Buffer] | Process"


class Context(Protocol):
    """A context manager of data. (Not of another context manager: a text file, which gives itself, would pass.)"""

    def __enter__(self) -> Data: ...


class AnyContext(Protocol):
    """A context manager of data that may be asynchronous."""

    def __enter__(self) -> AsyncData: ...


class AsyncContext(Protocol):
    """An asynchronous context manager of data."""

    def __aenter__(self) -> Awaitable[AsyncData]: ...


class Function(Protocol):
    """A function that returns data or a context manager of data."""

    def __call__(self) -> Data | Context: ...


class Future(Protocol):
    """An awaitable of data or of a context manager of data."""

    def __await__(self) -> Generator[Any, Any, AsyncData | AnyContext | AsyncContext]: ...


class AsyncFunction(Protocol):
    """A function, asynchronous or not, that returns data, a context manager of data, or an awaitable of one of them."""

    def __call__(self) -> AsyncData | AnyContext | AsyncContext | Future: ...


# Any partial: checkers take `partial(open, path, "rb")` for a function that opens a text file.
Source: TypeAlias = "Data | Context | Function | partial[Any]"
AsyncSource: TypeAlias = "AsyncData | AnyContext | AsyncContext | Future | AsyncFunction | partial[Any]"


class CopyOptions(TypedDict, total=False):
    """The options of `Entry.copy`."""

    modified: datetime | float | tuple[int, ...] | None
    mode: int | None
    comment: bytes
    extra: bytes
    zip64: bool | None
    password: str | bytes | Literal[False] | None


class RawOptions(CopyOptions, total=False):
    """The options of `Entry.raw`, apart from those that it requires."""

    flag_bits: int | None


class EntryOptions(CopyOptions, total=False):
    """The options of `Entry`."""

    size: int | None
    crc32: int | None
    compression: Compression | None
    level: int | None
    grown: GrownPolicy | None
    seekable: bool | int | None


class StoreEntryOptions(EntryOptions, total=False):
    """The options of `Entry.from_store`."""

    checksum: bool
    deadline: float | None


class EntryChanges(EntryOptions, RawOptions, total=False):
    """The arguments of `Entry.replace`."""

    name: str
    source: AsyncSource | None
    compressed_size: int | None
