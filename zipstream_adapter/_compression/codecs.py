"""CodecFactory: makes the codec of each member of an archive, by method, level, engine, workers and password."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED

from .._buffers import LARGEST_PIECE
from .._concurrency.ordered import InOrder, Workers
from ..errors import OptionError
from .block_deflate import BLOCK, BlockDeflate, whole_limit
from .chunk_deflate import ChunkDeflate
from .codec import COMPRESSION_EFFORT, Codec, ObjectCodec, StoredCodec
from .encryption import ENCRYPTION_STEP, OVERHEAD, Encryptor, Keys, Salt
from .engines import WHOLE, Engine, Engines, check_engine, choose_engines, deflate_block
from .methods import AUTO, UNCOMPRESSED, ZIP_ZSTANDARD, check_level, make_compressor, method_number
from .stored_blocks import StoredBlocks, StoreOrFrame
from .zstd import ZstdFrame, zstd_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from typing_extensions import Buffer

    from .._format.sozip import Seeking

# Under "auto", a member is deflated if that saves at least one byte in this many of its first block.
_WORTH = 20


class CodecFactory:
    """Makes the codecs of one archive's members. See `stream_zip` for the options.

    Args:
        salt: returns the random bytes for encryption; see `Keys`.
        whole: bytes from which a member is not compressed whole by libdeflate. The bytes of the archive depend on it.
            Memory: up to twice as many for each block that is in flight. 256 KiB or more.
        room: see `Workers`. Memory: up to twice as many.
    """

    def __init__(
        self,
        engine: Engine = "auto",
        workers: int | None = None,
        executor: Executor | None = None,
        *,
        salt: Salt = os.urandom,
        whole: int = WHOLE,
        room: int = 0,
    ) -> None:
        check_engine(engine)
        self._engine = engine
        self._whole = max(whole, BLOCK)
        self._workers = Workers(workers, executor, room)
        self._keys = Keys(self._workers, salt)

    def coder(
        self,
        method: int,
        level: int | None,
        *,
        raw: bool = False,
        password: bytes | None = None,
        lookahead: int = 0,
        seeking: Seeking | None = None,
    ) -> Codec:
        """A new codec for one member.

        raw: whether its data is already compressed by `method`.
        lookahead: bytes of data after which UNCOMPRESSED decides on a method.
        seeking: how it is made seekable, if it is deflated.
        """
        if method == UNCOMPRESSED:
            inner: Codec = StoreOrFrame(lookahead)
        elif seeking is not None and method in (ZIP_DEFLATED, AUTO):
            inner = self._chunked(method, level, seeking)
        else:
            inner = StoredCodec(method) if raw else self.compressor(method, level)
        return inner if password is None else Encrypted(inner, Encryptor(partial(self._keys.next, password)))

    def compressor(self, method: int, level: int | None = None) -> Codec:
        """A new codec for one member that is not encrypted."""
        check_level(method_number(method), level)
        if method == ZIP_STORED:
            return StoredCodec()
        if method == ZIP_ZSTANDARD:
            return ZstdFrame(level, BLOCK)
        if method == ZIP_DEFLATED and level == 0:
            return StoredBlocks()
        if method not in (ZIP_DEFLATED, AUTO):
            return ObjectCodec(method, make_compressor(method, level))
        engines = self._engines(level)
        deflate = BlockDeflate(engines, self._workers)
        return deflate if method == ZIP_DEFLATED else StoreOrDeflate(engines, deflate)

    def _chunked(self, method: int, level: int | None, seeking: Seeking) -> Codec:
        check_level(method, level)
        engines = self._engines(level)
        deflate = ChunkDeflate(engines, self._workers, seeking)
        return deflate if method == ZIP_DEFLATED else StoreOrDeflate(engines, deflate)

    def small(self, method: int, level: int | None) -> Callable[[list[bytes]], list[Coded]] | None:
        """A function that codes a list of members, each shorter than `small_limit`. None if the method has none."""
        try:
            check_level(method_number(method), level)
        except OptionError:
            return None  # reported when the entry is written
        if method == ZIP_ZSTANDARD:
            return partial(_zstd, level)
        if method not in (ZIP_DEFLATED, AUTO) or level == 0:
            return None  # UNCOMPRESSED, too: its short members are stored
        return partial(_deflate, self._engines(level), method)

    def small_limit(self, method: int, level: int | None) -> int:
        """Bytes from which a member is too long for the function of `small`."""
        return whole_limit(self._engines(level)) if method in (ZIP_DEFLATED, AUTO) else BLOCK

    def _engines(self, level: int | None) -> Engines:
        return choose_engines(self._engine, level)._replace(limit=self._whole)

    def in_order(self) -> InOrder[list[Coded]]:
        """An `InOrder` for the functions of `small`, on this archive's workers."""
        return InOrder(self._workers)

    def close(self) -> None:
        """Release the threads of this archive."""
        self._keys.close()
        self._workers.close()


class Coded(NamedTuple):
    """A member's coded data, and the method it is coded by."""

    method: int
    data: bytes


def _zstd(level: int | None, members: list[bytes]) -> list[Coded]:
    return [Coded(ZIP_ZSTANDARD, zstd_whole(level, data)) for data in members]


def _deflate(engines: Engines, method: int, members: list[bytes]) -> list[Coded]:
    return [_whole(engines, method, data) for data in members]


def _whole(engines: Engines, method: int, data: bytes) -> Coded:
    deflated = engines.deflate(data)
    if method == AUTO and not _is_worth_it(data, deflated):
        return Coded(ZIP_STORED, data)
    return Coded(ZIP_DEFLATED, deflated)


class StoreOrDeflate(Codec):
    """Deflates or stores, as the first block (`BLOCK` bytes) decides, or all data if the member is compressed whole.

    Until `method` is set, nothing comes out. From then on the `successor` codes the data.
    """

    step = LARGEST_PIECE

    def __init__(self, engines: Engines, deflate: BlockDeflate | ChunkDeflate) -> None:
        self._engines = engines
        self._deflate = deflate
        self._limit = whole_limit(engines)
        self._parts: list[bytes] = []
        self._size = 0

    def compress(self, data: Buffer) -> bytes:
        self._parts.append(data if type(data) is bytes else bytes(data))
        self._size += len(self._parts[-1])
        if self._size < self._limit or self._size == BLOCK:
            return b""
        joined, self._parts = b"".join(self._parts), []
        block = joined[:BLOCK]
        first = deflate_block(*self._engines.blocks, block, b"", False)
        if not _is_worth_it(block, first):
            self.method = ZIP_STORED
            return joined
        self.method = ZIP_DEFLATED
        return self._deflate.begin_with(block, first) + self._deflate.compress(joined[BLOCK:])

    def flush(self) -> bytes:
        data = b"".join(self._parts)
        self.method, out = _whole(self._engines, AUTO, data)
        return self._deflate.whole(data, out) if self.method == ZIP_DEFLATED else out

    def effort(self, size: int | None) -> int:
        total = self._size + (size or 0)
        return total * COMPRESSION_EFFORT if size is None or total >= self._limit else 0

    def successor(self) -> Codec:
        if self.method is None:
            return self
        return self._deflate if self.method == ZIP_DEFLATED else StoredCodec()

    def close(self) -> None:
        self._deflate.close()


def _is_worth_it(data: bytes, deflated: bytes) -> bool:
    return len(deflated) * _WORTH <= len(data) * (_WORTH - 1)


class Encrypted(Codec):
    """Encrypts the output of the `inner` codec."""

    def __init__(self, inner: Codec, encryptor: Encryptor) -> None:
        self._encryptor = encryptor
        self._wrap(inner)

    def _wrap(self, inner: Codec) -> None:
        self._inner = inner
        self._stores = type(inner) is StoredCodec
        self.method = inner.method
        self.step = ENCRYPTION_STEP if self._stores else inner.step
        self.is_whole = self._stores or inner.is_whole
        self.overhead = None if inner.overhead is None else inner.overhead + OVERHEAD

    def compress(self, data: Buffer) -> bytes:
        if self._stores:  # without a copy
            return self._encryptor.encrypt(data)
        coded = self._inner.compress(data)
        self.method = self._inner.method
        return self._encryptor.encrypt(coded)

    def flush(self) -> bytes:
        """Ends with the authentication code."""
        rest = self._encryptor.encrypt(self._inner.flush())
        self.method = self._inner.method
        return rest + self._encryptor.finish()

    def effort(self, size: int | None) -> int:
        return self._encryptor.effort(size or 0) + self._inner.effort(size)

    def gather(self) -> bytes:
        return self._encryptor.encrypt(self._inner.gather())

    def push(self) -> bytes:
        return self._encryptor.encrypt(self._inner.push())

    def successor(self) -> Codec:
        """This codec, around the successor of the inner one."""
        self._wrap(self._inner.successor())
        return self

    def close(self) -> None:
        self._inner.close()
