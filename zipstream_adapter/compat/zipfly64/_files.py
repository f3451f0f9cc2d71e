"""The file classes of `zipstream_adapter.compat.zipfly64`. Each object becomes one member."""

from __future__ import annotations

import os
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing, closing
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED

from ..._checks import shown_half_made
from ..._compression.crc32 import fastest_crc32
from ..._entries.entry import Entry
from ..._entries.files.regular import open_regular
from ..._format.timestamps import to_utc
from ...errors import IntegrityError

consts = SimpleNamespace(
    NO_COMPRESSION=ZIP_STORED,
    COMPRESSION_DEFLATE=ZIP_DEFLATED,
    UTF8_FLAG=0x0800,
    DATA_DESCRIPTOR_FLAG=0x08,
    CUSTOM_EXTRA_FIELD_SIGNATURE=b"\xfe\xca",
)
_LEVEL = 5
_METHODS = (ZIP_STORED, ZIP_DEFLATED)
_MAX_PAYLOAD = 0xFFFF


class PromiseError(IntegrityError, RuntimeError):
    """A file's data differs from its declared `size` or `crc`."""


class MemberInfo(NamedTuple):
    """Facts of a finished member. Sizes and the offset are in bytes."""

    size: int
    compressed_size: int
    crc: int
    offset: int


def _nothing() -> None:
    """Stands in until the file is used: the member is not finished."""


@shown_half_made
class BaseFile(ABC):
    """A file to add, for one use.

    Subclasses implement `modification_time`, `predicted_size` and `predicted_crc`, and the methods
    ``_generate_file_data`` and ``_async_generate_file_data``, which return generators of the data.

    Args:
        name: the member's name.
        compression_method: ZIP_STORED (default) or ZIP_DEFLATED.
        custom_payload: data of an extra field 0xCAFE, at most 65,485 bytes.
        validate_crc: ignored.

    Raises ValueError if `name` is empty or `custom_payload` is too large.
    """

    def __init__(
        self,
        name: str,
        compression_method: int = ZIP_STORED,
        custom_payload: bytes = b"",
        validate_crc: bool = True,
    ) -> None:
        if custom_payload and len(custom_payload) > _MAX_PAYLOAD:
            raise ValueError("ZIP extra field payload too large")
        if name == "":
            raise ValueError("File name cannot be blank.")
        self._name = name
        self._method = compression_method
        self._payload = custom_payload
        self._is_used = False
        self._find: Callable[[], MemberInfo | None] = _nothing

    def __str__(self) -> str:
        return f"{type(self).__name__}[name={self.name}]"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    @property
    @abstractmethod
    def modification_time(self) -> float:
        """Seconds since 1970-01-01 UTC."""

    @property
    @abstractmethod
    def predicted_size(self) -> int | None:
        """Size of the data in bytes, or None if unknown."""

    @property
    @abstractmethod
    def predicted_crc(self) -> int | None:
        """CRC-32 of the data, or None if unknown."""

    @abstractmethod
    def _generate_file_data(self) -> Generator[bytes, None, None]: ...

    @abstractmethod
    def _async_generate_file_data(self) -> AsyncGenerator[bytes, None]: ...

    @property
    def name(self) -> str:
        return self._name

    def set_file_name(self, new_name: str) -> None:
        self._name = new_name

    @property
    def file_path_bytes(self) -> bytes:
        return self._name.encode()

    @property
    def custom_payload(self) -> bytes:
        return self._payload

    @property
    def compression_method(self) -> int:
        return self._method

    @property
    def size(self) -> int:
        """Size of the data in bytes. Like the properties below, raises RuntimeError until the member is finished."""
        return self._found("Size").size

    @property
    def compressed_size(self) -> int:
        return self._found("Compressed size").compressed_size

    @property
    def crc(self) -> int:
        return self._found("Crc").crc

    @property
    def offset(self) -> int:
        """Offset of the member's local file header in the archive, in bytes."""
        return self._found("Offset").offset

    def _found(self, what: str) -> MemberInfo:
        found = self._find()
        if found is None:
            raise RuntimeError(f"{what} called before file data finished streaming.")
        return found

    def entry(self, source: Any) -> Entry:
        """Return an Entry for the file, with `source`. Raises KeyError for an unknown compression method."""
        if self._method not in _METHODS:
            raise KeyError(f"Unknown compression method in compressor: {self._method}")
        extra = self._payload and consts.CUSTOM_EXTRA_FIELD_SIGNATURE + struct.pack("<H", len(self._payload))
        return Entry(
            self._name,
            None if self._name.endswith("/") else source,
            modified=self._instant(),
            compression=self._method,
            level=_LEVEL if self._method else None,
            extra=extra + self._payload,
            **self._stated(),
        )

    def _instant(self) -> datetime | None:
        """The member's date; None for the date of its source."""
        return to_utc(self.modification_time).replace(microsecond=0)

    def _stated(self) -> dict[str, Any]:
        return {"size": self.predicted_size, "crc32": self.predicted_crc}

    def use(self, find: Callable[[], MemberInfo | None]) -> None:
        """Mark the file as used; raises RuntimeError the second time. find: looks up the finished member."""
        if self._is_used:
            raise RuntimeError("Do not re-use file instances. Recreate it.")
        self._is_used = True
        self._find = find

    @property
    def is_known(self) -> bool:
        """Whether the member's headers can be made without reading data."""
        return self._method == ZIP_STORED and None not in (self.predicted_size, self.predicted_crc)

    @property
    def is_async(self) -> bool:
        """Whether the data is read asynchronously on an event loop."""
        return not self._name.endswith("/")

    def source(self, on_loop: bool) -> Any:
        """Return the source for an Entry."""
        return self.async_data if on_loop and self.is_async else self.data

    def data(self) -> Iterator[bytes]:
        """Yield the data, checked against the declared size and CRC-32."""
        promise = _Promise(self)
        with closing(self._generate_file_data()) as chunks:
            for chunk in chunks:
                promise.add(chunk)
                yield chunk
        promise.end()

    async def async_data(self) -> AsyncGenerator[bytes, None]:
        """Yield the data, checked against the declared size and CRC-32."""
        promise = _Promise(self)
        async with aclosing(self._async_generate_file_data()) as chunks:
            async for chunk in chunks:
                promise.add(chunk)
                yield chunk
        promise.end()


class _Promise:
    """Checks data against a file's declared size and CRC-32, before the last chunk is yielded."""

    def __init__(self, file: BaseFile) -> None:
        self._size, self._crc = file.predicted_size, file.predicted_crc
        self._streamed = self._streamed_crc = 0
        self._crc32 = fastest_crc32()

    def add(self, chunk: bytes) -> None:
        self._streamed += len(chunk)
        if self._crc is not None:
            self._streamed_crc = self._crc32(chunk, self._streamed_crc)
        if self._size is not None and self._streamed >= self._size:
            self.end()

    def end(self) -> None:
        if self._size not in (None, self._streamed):
            raise PromiseError(f"Size({self._size}) != streamed size({self._streamed})")
        if self._crc not in (None, self._streamed_crc):
            raise PromiseError(f"Crc({self._crc}) != streamed crc({self._streamed_crc})")


class LocalFile(BaseFile):
    """A file in the file system.

    Args:
        file_path: path of a regular file.
        name: the member's name. Default: `file_path`.
        compression_method, custom_payload: see `BaseFile`.
        chunk_size: ignored.

    Raises ValueError if `file_path` is not a regular file.
    """

    def __init__(
        self,
        file_path: str | os.PathLike[str],
        name: str | None = None,
        compression_method: int = ZIP_STORED,
        chunk_size: int | None = None,
        custom_payload: bytes = b"",
    ) -> None:
        path = Path(file_path)
        if not path.is_file():
            raise ValueError(f"{path} is not a correct file path.")
        self._file_path = str(path)
        self.chunk_size = chunk_size
        super().__init__(name or self._file_path, compression_method, custom_payload)

    @property
    def modification_time(self) -> float:
        return os.path.getmtime(self._file_path)

    @property
    def predicted_size(self) -> int | None:
        return os.path.getsize(self._file_path)

    @property
    def predicted_crc(self) -> int | None:
        """CRC-32, computed by reading the file."""
        crc, crc32 = 0, fastest_crc32()
        for chunk in self._generate_file_data():
            crc = crc32(chunk, crc)
        return crc

    def _generate_file_data(self) -> Generator[bytes, None, None]:
        with open_regular(self._file_path) as file:
            while chunk := file.read(1 << 18):
                yield chunk

    async def _async_generate_file_data(self) -> AsyncGenerator[bytes, None]:
        for chunk in self._generate_file_data():
            yield chunk

    @property
    def _is_plain(self) -> bool:
        """Whether the data is the file's content, that is, no subclass overrides the generators."""
        own = type(self)
        return (own._generate_file_data, own._async_generate_file_data) == (
            LocalFile._generate_file_data,
            LocalFile._async_generate_file_data,
        )

    def _stated(self) -> dict[str, Any]:
        return {} if self._is_plain else super()._stated()  # OpenSource asks the file

    def _instant(self) -> datetime | None:
        return None if self._is_plain else super()._instant()

    @property
    def is_known(self) -> bool:
        return self._method == ZIP_STORED if self._is_plain else super().is_known

    @property
    def is_async(self) -> bool:
        return not self._is_plain

    def source(self, on_loop: bool) -> Any:
        return Path(self._file_path) if self._is_plain else super().source(on_loop)


class GenFile(BaseFile):
    """A file whose data comes from a generator.

    Args:
        name: the member's name.
        generator: a generator of bytes; for `ZipFly.async_stream`, an asynchronous or a plain one.
        compression_method: ZIP_STORED (default) or ZIP_DEFLATED.
        modification_time: seconds since 1970-01-01 UTC. Default: now.
        size, crc: size in bytes and CRC-32 of the data, for stored data only. Checked while streaming. Default:
            unknown.
        custom_payload: data of an extra field 0xCAFE, at most 65,485 bytes.
        validate_crc: ignored; `crc` is always checked.

    Raises ValueError if `name` is empty, `custom_payload` is too large, or compressed data has a `size` or `crc`.
    """

    def __init__(
        self,
        name: str,
        generator: Any,
        compression_method: int = ZIP_STORED,
        modification_time: float | None = None,
        size: int | None = None,
        crc: int | None = None,
        custom_payload: bytes = b"",
        validate_crc: bool = True,
    ) -> None:
        for what, value in (("size", size), ("crc", crc)):
            if value and compression_method != ZIP_STORED:
                raise ValueError(f"File {what} is allowed only with NO_COMPRESSION")
        self._generator = generator
        self._size, self._crc = size, crc
        self._modified = modification_time or time.time()
        super().__init__(name, compression_method, custom_payload, validate_crc)

    modification_time = property(lambda self: self._modified)
    predicted_size = property(lambda self: self._size)
    predicted_crc = property(lambda self: self._crc)

    def _get_generator(self) -> Any:
        return self._generator

    def _generate_file_data(self) -> Generator[bytes, None, None]:
        generator = self._get_generator()
        if not isinstance(generator, Generator):
            raise ValueError(f"generator must be of type Generator, not '{type(generator)}'")
        return generator

    def _async_generate_file_data(self) -> AsyncGenerator[bytes, None]:
        generator = self._get_generator()
        if not isinstance(generator, AsyncGenerator):
            raise ValueError(f"generator must be of type AsyncGenerator, not '{type(generator)}'")
        return generator

    @property
    def is_async(self) -> bool:
        return not isinstance(self._generator, Generator)

    def source(self, on_loop: bool) -> Any:
        own = type(self)
        kind, method = (
            (AsyncGenerator, own._async_generate_file_data is GenFile._async_generate_file_data)
            if on_loop and self.is_async
            else (Generator, own._generate_file_data is GenFile._generate_file_data)
        )
        if method and self._size is None and self._crc is None and isinstance(self._generator, kind):
            return self._get_generator()  # nothing is declared, so there is nothing to check
        return super().source(on_loop)


class EmptyFolder(BaseFile):
    """A directory.

    Args:
        name: the directory's name; a slash is added if missing.
        modification_time: seconds since 1970-01-01 UTC. Default: now.
    """

    predicted_size = 0
    predicted_crc = 0

    def __init__(self, name: str, modification_time: float | None = None) -> None:
        super().__init__(name)
        self._name = name.removesuffix("/") + "/"
        self._modified = modification_time or time.time()

    modification_time = property(lambda self: self._modified)

    def _generate_file_data(self) -> Generator[bytes, None, None]:
        yield b""

    async def _async_generate_file_data(self) -> AsyncGenerator[bytes, None]:
        yield b""
