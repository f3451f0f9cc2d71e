"""How an archive's members are coded: a compressor for each, by method, level, engine and workers."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED

from .compress import AUTO, ZIP_ZSTANDARD, Compressor, check_level, make_compressor, method_number
from .encryption import ENCRYPTION_STEP, OVERHEAD, Encryptor, Keys, Salt
from .engines import DEFAULT_LEVEL, Engine, Tuned, check_engine, choose_engine, deflate_block
from .errors import OptionError
from .mixture import candidates, try_engines
from .parallel import BLOCK, BlockDeflate, InOrder, Workers
from .source import LARGEST_PIECE, close_of
from .zstd import ZstdFrame, zstd_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from typing_extensions import Buffer

# Bytes that go through checksum and compressor, or are copied, at a time.
STEP = 1 << 16
# To compress a byte takes about so many times as long as to store it.
_COMPRESSION_EFFORT = 64
# Under "auto", deflate has to save at least one byte in this many of a member's first block.
_WORTH = 20


class Coding:
    """What the members of one archive go through: see `stream_zip` for the options.

    salt: gives the random bytes that encryption takes; see `Keys`.
    """

    def __init__(
        self,
        engine: Engine = "auto",
        workers: int | None = None,
        executor: Executor | None = None,
        *,
        salt: Salt = os.urandom,
    ) -> None:
        check_engine(engine)
        self._engine = engine
        self._workers = Workers(workers, executor)
        self._keys = Keys(self._workers, salt)

    def coder(
        self, method: int, level: int | None, *, raw: bool = False, password: bytes | None = None
    ) -> Compressor | StoreOrDeflate | Encrypted | None:
        """What one member's data goes through; None where that is nothing. raw: it is compressed already."""
        inner = None if raw else self.compressor(method, level)
        return inner if password is None else Encrypted(inner, Encryptor(partial(self._keys.next, password)))

    def compressor(self, method: int, level: int | None = None) -> Compressor | StoreOrDeflate | None:
        """A fresh compressor for one member; None for stored data (which passes as it is)."""
        if method == ZIP_ZSTANDARD:
            check_level(method, level)
            return ZstdFrame(level, BLOCK)
        if method not in (ZIP_DEFLATED, AUTO) or (method == ZIP_DEFLATED and level == 0):
            return make_compressor(method, level)
        check_level(method_number(method), level)
        tuned = choose_engine(self._engine, level)
        level = DEFAULT_LEVEL if level is None else level
        choosing = self._engine == "auto" and candidates(level)
        deflate = BlockDeflate(tuned, self._workers, partial(try_engines, level) if choosing else None)
        return deflate if method == ZIP_DEFLATED else StoreOrDeflate(tuned, deflate)

    def small(self, method: int, level: int | None) -> Callable[[list[bytes]], list[Coded]] | None:
        """What codes members of less than `BLOCK` bytes, a list of them at a time; None for methods that it cannot."""
        if method == ZIP_STORED:
            return _store
        try:
            check_level(method_number(method), level)
        except OptionError:
            return None  # whose entry will be named elsewhere
        if method == ZIP_ZSTANDARD:
            return partial(_zstd, level)
        if method not in (ZIP_DEFLATED, AUTO) or level == 0:
            return None
        return partial(_deflate, choose_engine(self._engine, level), method)

    def in_order(self) -> InOrder[list[Coded]]:
        """Who codes lists of small members."""
        return InOrder(self._workers)

    def close(self) -> None:
        """Let go of the threads that this archive has asked for."""
        self._keys.close()
        self._workers.close()


class Coded(NamedTuple):
    """What became of a member's data: the method, and the bytes."""

    method: int
    data: bytes


def _store(members: list[bytes]) -> list[Coded]:
    return [Coded(ZIP_STORED, data) for data in members]


def _zstd(level: int | None, members: list[bytes]) -> list[Coded]:
    return [Coded(ZIP_ZSTANDARD, zstd_whole(level, data)) for data in members]


def _deflate(tuned: Tuned, method: int, members: list[bytes]) -> list[Coded]:
    """Each of `members` by itself; under `AUTO` it is stored where that is no loss."""
    return [_whole(tuned, method, data) for data in members]


def _whole(tuned: Tuned, method: int, data: bytes) -> Coded:
    deflated = deflate_block(*tuned, data, b"", True)
    if method == AUTO and not _is_worth_it(data, deflated):
        return Coded(ZIP_STORED, data)
    return Coded(ZIP_DEFLATED, deflated)


class StoreOrDeflate:
    """A compressor that decides by the first block (`BLOCK` bytes, or all there is) whether the member is deflated.

    Attributes:
        method: what it came to: ZIP_STORED or ZIP_DEFLATED; None before. Until then nothing comes out.
    """

    def __init__(self, tuned: Tuned, deflate: BlockDeflate) -> None:
        self.method: int | None = None
        self._tuned = tuned
        self._inner = deflate
        self._parts: list[bytes] = []
        self._size = 0

    def compress(self, data: Buffer) -> bytes:
        """Add `data`; returns what is coded by now."""
        if self.method == ZIP_DEFLATED:
            return self._inner.compress(data)
        part = data if type(data) is bytes else bytes(data)
        if self.method == ZIP_STORED:
            return part
        self._parts.append(part)
        self._size += len(part)
        if self._size <= BLOCK:
            return b""
        return self._decided(b"".join(self._parts))

    def _decided(self, data: bytes) -> bytes:
        block = data[:BLOCK]
        first = deflate_block(*self._tuned, block, b"", False)
        if not _is_worth_it(block, first):
            self.method = ZIP_STORED
            return data
        self.method = ZIP_DEFLATED
        self._inner.follow(block)
        return first + self._inner.compress(data[BLOCK:])

    def flush(self) -> bytes:
        """What is left."""
        if self.method is not None:
            return self._inner.flush() if self.method == ZIP_DEFLATED else b""
        self.method, out = _whole(self._tuned, AUTO, b"".join(self._parts))
        return out

    def without_inner(self) -> None:
        """What goes on where the data is stored."""

    def effort(self, size: int | None) -> int:
        """As `BlockDeflate.effort`."""
        if self.method is not None:
            return self._inner.effort(size) if self.method == ZIP_DEFLATED else 0
        total = self._size + (size or 0)
        return total if size is None or total > BLOCK else 0

    def gather(self) -> bytes:
        """What is in flight, waited for."""
        return self._inner.gather()

    def close(self) -> None:
        """Give up."""
        self._inner.close()


def _is_worth_it(data: bytes, deflated: bytes) -> bool:
    return len(deflated) * _WORTH <= len(data) * (_WORTH - 1)


class Encrypted:
    """A compressor whose output is encrypted; without an `inner` one, the data is."""

    def __init__(self, inner: Compressor | StoreOrDeflate | None, encryptor: Encryptor) -> None:
        self.inner = inner
        self.encryptor = encryptor

    @property
    def method(self) -> int | None:
        """As of `StoreOrDeflate`, where that is the inner one."""
        assert isinstance(self.inner, StoreOrDeflate)
        return self.inner.method

    def without_inner(self) -> Encrypted:
        """What goes on where the data is stored."""
        self.inner = None
        return self

    def compress(self, data: Buffer) -> bytes:
        """Add `data`; returns what is encrypted by now."""
        return self.encryptor.encrypt(data if self.inner is None else self.inner.compress(data))

    def flush(self) -> bytes:
        """What is left, and the code at the end."""
        rest = b"" if self.inner is None else self.encryptor.encrypt(self.inner.flush())
        return rest + self.encryptor.finish()

    def gather(self) -> bytes:
        """What is in flight, waited for."""
        return self.encryptor.encrypt(gathered(self.inner))

    def close(self) -> None:
        """Give up."""
        close = close_of(self.inner)
        if close is not None:
            close()


AnyCompressor = Compressor | StoreOrDeflate | Encrypted | None


def step_of(compressor: AnyCompressor) -> int:
    """Bytes that it takes at a time."""
    if isinstance(compressor, Encrypted):
        return ENCRYPTION_STEP if compressor.inner is None else step_of(compressor.inner)
    return LARGEST_PIECE if isinstance(compressor, BlockDeflate | StoreOrDeflate) else STEP


def overhead_of(compressor: AnyCompressor) -> int | None:
    """Bytes by which data is longer behind it, always; None where that depends on the data."""
    if isinstance(compressor, Encrypted):
        return OVERHEAD if compressor.inner is None else None
    return 0 if compressor is None else None


def effort_of(compressor: AnyCompressor, size: int | None) -> int:
    """What it takes to add `size` bytes, or, without, all that is left; in bytes for zlib's CRC-32."""
    if isinstance(compressor, Encrypted):
        return compressor.encryptor.effort(size or 0) + effort_of(compressor.inner, size)
    if isinstance(compressor, BlockDeflate | StoreOrDeflate | ZstdFrame):
        return compressor.effort(size) * _COMPRESSION_EFFORT
    return 0 if compressor is None else (size or STEP) * _COMPRESSION_EFFORT


def gathered(compressor: AnyCompressor) -> bytes:
    """What is being compressed, waited for; nothing where nobody else is at work."""
    return compressor.gather() if isinstance(compressor, BlockDeflate | StoreOrDeflate | Encrypted) else b""
