"""How an archive's members are coded: a compressor for each, by method, level, engine and workers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED

from .compress import AUTO, ZIP_ZSTANDARD, Compressor, check_level, make_compressor, method_number
from .engines import DEFAULT_LEVEL, Engine, Tuned, check_engine, choose_engine, deflate_block
from .mixture import candidates, try_engines
from .parallel import BLOCK, BlockDeflate, InOrder, Workers
from .zstd import ZstdFrame, zstd_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from typing_extensions import Buffer

# Under "auto", deflate has to save at least one byte in this many of a member's first block.
_WORTH = 20


class Coding:
    """What the members of one archive are compressed with: see `stream_zip` for the options."""

    def __init__(self, engine: Engine = "auto", workers: int | None = None, executor: Executor | None = None) -> None:
        check_engine(engine)
        self._engine = engine
        self._workers = Workers(workers, executor)

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
