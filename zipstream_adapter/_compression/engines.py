"""Deflate engines: the standard zlib; zlib-ng, ISA-L and libdeflate (extra ``fast``); and the fastest for each level.

Every reader can inflate the output of every engine. Speed, size and bytes differ, also between versions of an engine.
No engine is imported before data flows.

libdeflate compresses a whole buffer to a whole stream: it has no dictionary, and its output ends with a final block. So
it gets members that are shorter than `WHOLE`. Longer ones are compressed in blocks, by another engine.
"""

from __future__ import annotations

import importlib
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from .._checks import check_choice

if TYPE_CHECKING:
    from typing_extensions import Buffer

Engine = Literal["auto", "zlib", "zlib-ng", "isal", "libdeflate"]

# Largest distance of a match, in bytes (RFC 1951 section 2).
WINDOW = 1 << 15

# Bytes from which a member is too long for libdeflate, unless a `CodecFactory` has another limit. A stream holds a few
# members of that size at a time.
WHOLE = 1 << 19
# Bytes below which zlib-ng is faster than libdeflate, which allocates its memory anew for each member.
LEAST_WHOLE = 1 << 12

# A stored block of no data that begins on a byte boundary (RFC 1951 section 3.2.4).
_EMPTY_BLOCK = b"\0\0\0\xff\xff"
_LIBDEFLATE = "libdeflate"
_MODULES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib", _LIBDEFLATE: "deflate"}


class EngineLevel(NamedTuple):
    """An installed engine, and a level in that engine's own scale."""

    engine: str
    level: int


class Engines(NamedTuple):
    """The engines of one level.

    Attributes:
        blocks: compresses the blocks of long members.
        short: compresses members of less than `LEAST_WHOLE` bytes, and all whole ones if `whole` is None.
        whole: compresses longer members, of less than `limit` bytes. None: those of a block or more are cut.
        limit: bytes; see `whole`.
    """

    blocks: EngineLevel
    short: EngineLevel
    whole: EngineLevel | None = None
    limit: int = WHOLE

    def deflate(self, data: bytes) -> bytes:
        """Compress the data of a whole member."""
        engine, level = self.short if self.whole is None or len(data) < LEAST_WHOLE else self.whole
        return deflate_block(engine, level, data, b"", True)


# By level, the fastest first: engines whose output is at most 1 % larger than zlib's at that level, on each of three
# classes of data as a whole: texts, binaries, and logs, CSV and JSON. If none is installed, zlib is used. Measured by
# tests/benchmarks/levels.py. ISA-L is not used for short members: of a million, it makes about one a byte longer or
# shorter if other threads compress, too.
_AUTO_SHORT: dict[int, tuple[EngineLevel, ...]] = {
    1: (EngineLevel("zlib-ng", 2),),
    2: (EngineLevel("zlib-ng", 3),),
    3: (EngineLevel("zlib-ng", 3),),
    4: (EngineLevel("zlib-ng", 4),),
    5: (EngineLevel("zlib-ng", 5),),
    6: (EngineLevel("zlib-ng", 6),),
    7: (EngineLevel("zlib-ng", 7),),
    8: (EngineLevel("zlib-ng", 7),),
    9: (EngineLevel("zlib-ng", 7),),
}
# The same for blocks of 256 KiB with a dictionary.
_AUTO_BLOCKS = {**_AUTO_SHORT, 1: (EngineLevel("isal", 2), EngineLevel("zlib-ng", 2))}
# The same for libdeflate.
_AUTO_WHOLE = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 6, 7: 6, 8: 6, 9: 7}
DEFAULT_LEVEL = 6
_ISAL_LEVELS = 3


def check_engine(engine: Engine) -> None:
    """Raise OptionError if `engine` is unknown, or ImportError (which names the extra) if it is not installed."""
    check_choice("engine", engine, get_args(Engine))
    if engine != "auto" and not is_installed(engine):
        raise ImportError(
            f"engine={engine!r} is not installed: install the extra 'fast' (pip install 'zipstream-adapter[fast]'), or "
            "use engine='auto', which takes the fastest that is installed"
        )


@cache
def choose_engines(engine: str, level: int | None) -> Engines:
    """The engines to use for `engine` (a name or "auto") at `level`, 1 to 9 (None: 6).

    ISA-L has the levels 1 to 3 only; higher ones become its level 3. "libdeflate" leaves long members to "auto".
    """
    level = DEFAULT_LEVEL if level is None else level
    blocks, short = _fastest(_AUTO_BLOCKS, level), _fastest(_AUTO_SHORT, level)
    if engine == _LIBDEFLATE:
        return Engines(blocks, EngineLevel(engine, level), EngineLevel(engine, level))
    if engine != "auto":
        own = EngineLevel(engine, min(level, _ISAL_LEVELS) if engine == "isal" else level)
        return Engines(own, own)
    whole = EngineLevel(_LIBDEFLATE, _AUTO_WHOLE[level]) if is_installed(_LIBDEFLATE) else None
    return Engines(blocks, short, whole)


def _fastest(table: dict[int, tuple[EngineLevel, ...]], level: int) -> EngineLevel:
    fitting = (engine_level for engine_level in table[level] if is_installed(engine_level.engine))
    return next(fitting, EngineLevel("zlib", level))


def deflate_block(engine: str, level: int, data: Buffer, dictionary: bytes, last: bool) -> bytes:
    """Compress `data` to one block of a raw deflate stream (RFC 1951).

    Args:
        engine: name of an installed engine.
        level: in the engine's own scale.
        data: the data of the block.
        dictionary: the data before the block; matches reach back up to 32 KiB.
        last: whether the stream ends with this block. Any other block ends on a byte boundary (with an empty stored
            block, by Z_SYNC_FLUSH), so that the next block can be appended.

    libdeflate compresses only a `last` block without a dictionary.
    """
    module = _module(engine)
    if engine == _LIBDEFLATE:
        assert last and not dictionary, "libdeflate compresses whole members"
        return bytes(module.deflate_compress(data, level))
    if last and not dictionary:
        whole: bytes = module.compress(data, level, wbits=-zlib.MAX_WBITS)
        return whole
    known = {"zdict": dictionary} if dictionary else {}
    compressor = module.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, **known)
    out: bytes = compressor.compress(data)
    out += compressor.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
    return out


def deflate_chunks(engine: str, level: int, data: bytes, chunk: int, last: bool) -> list[bytes]:
    """Compress each `chunk` bytes of `data` so that they can be inflated without those before them.

    The arguments are those of `deflate_block`. All but a `last` chunk end in two empty stored blocks: SOZip requires a
    Z_FULL_FLUSH after a Z_SYNC_FLUSH, and readers take the second one, which begins on a byte boundary, for the end.
    """
    chunks = []
    for at in range(0, len(data), chunk):
        ends = last and at + chunk >= len(data)
        coded = deflate_block(engine, level, data[at : at + chunk], b"", ends)
        chunks.append(coded if ends else coded + _EMPTY_BLOCK)
    return chunks


@cache
def is_installed(engine: str) -> bool:
    """Whether the library of `engine` can be imported."""
    try:
        _module(engine)
    except ImportError:
        return False
    return True


@cache
def _module(engine: str) -> Any:
    return importlib.import_module(_MODULES[engine])
