"""Engines for deflate: the standard zlib, zlib-ng and ISA-L (extra ``fast``), and which of them does what best.

All write what every reader reads; they differ in speed, and in the bytes. None is imported before data flows.
"""

from __future__ import annotations

import importlib
import zlib
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from .names import check_choice

if TYPE_CHECKING:
    from typing_extensions import Buffer

Engine = Literal["auto", "zlib", "zlib-ng", "isal"]

# Bytes that deflate can look back (RFC 1951 section 2).
WINDOW = 1 << 15

_MODULES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}


class Tuned(NamedTuple):
    """An engine that is installed, and a level of its own."""

    engine: str
    level: int


# By level, the fastest first: what compresses to at most 1 % more than zlib does at that level, on texts as a whole, on
# binaries, and on logs, CSV and JSON. Where none of them is installed, zlib it is. Short members, and the first blocks
# of long ones (see `zipstream_adapter.mixture`), get these. Measured by tests/benchmarks/levels.py.
_AUTO: dict[int, tuple[Tuned, ...]] = {
    1: (Tuned("zlib-ng", 2), Tuned("isal", 3)),
    2: (Tuned("zlib-ng", 3),),
    3: (Tuned("zlib-ng", 3),),
    4: (Tuned("zlib-ng", 4),),
    5: (Tuned("zlib-ng", 5),),
    6: (Tuned("zlib-ng", 6),),
    7: (Tuned("zlib-ng", 7),),
    8: (Tuned("zlib-ng", 7),),
    9: (Tuned("zlib-ng", 7),),
}
DEFAULT_LEVEL = 6
_ISAL_LEVELS = 3


def check_engine(engine: Engine) -> None:
    """Refuse an `engine` that is none, and, with an ImportError that names the extra, one that is not installed."""
    check_choice("engine", engine, get_args(Engine))
    if engine != "auto" and not is_installed(engine):
        raise ImportError(
            f"engine={engine!r} is not installed: install the extra 'fast' (pip install 'zipstream-adapter[fast]'), or "
            "choose engine='auto', which takes the fastest that is there"
        )


@cache
def choose_engine(engine: str, level: int | None) -> Tuned:
    """What deflates at `level`, 1 to 9 (None: 6), when `engine` is asked for.

    ISA-L has the levels 1 to 3; higher ones are its third.
    """
    level = DEFAULT_LEVEL if level is None else level
    if engine == "auto":
        fitting = (tuned for tuned in _AUTO[level] if is_installed(tuned.engine))
        return next(fitting, Tuned("zlib", level))
    return Tuned(engine, min(level, _ISAL_LEVELS) if engine == "isal" else level)


def deflate_block(engine: str, level: int, data: Buffer, dictionary: bytes, last: bool) -> bytes:
    """One block of a raw deflate stream (RFC 1951), by `engine` at its own `level`.

    `dictionary` is the data before it, of which up to 32 KiB are looked back at. All blocks but the `last` end at a
    byte (an empty stored block, as Z_SYNC_FLUSH makes it), so that the next one's bytes can follow.
    """
    module = _module(engine)
    if last and not dictionary:
        whole: bytes = module.compress(data, level, wbits=-zlib.MAX_WBITS)
        return whole
    known = {"zdict": dictionary} if dictionary else {}
    compressor = module.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, **known)
    out: bytes = compressor.compress(data)
    out += compressor.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
    return out


@cache
def is_installed(engine: str) -> bool:
    """Whether `engine` can be had here."""
    try:
        _module(engine)
    except ImportError:
        return False
    return True


@cache
def _module(engine: str) -> Any:
    return importlib.import_module(_MODULES[engine])
