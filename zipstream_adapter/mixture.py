"""Which engine deflates which block of a long member under "auto": the fastest that keeps the whole within 1 % of zlib.

No engine but zlib itself keeps to that on all kinds of data. So a sample of the member's own is deflated by those that
come into question; and of two of them, a fast one that makes too much and one that makes less, each gets so many of
the blocks that the whole does. What is chosen depends on the data alone.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from .engines import Tuned, deflate_block, is_installed

# Bytes that are tried.
SAMPLE = 1 << 15
# By how much a member may be larger than what zlib makes of it: the rest of the 1 % is for what a sample cannot tell.
_TARGET = 0.006
# What is added to a sample's excess. ISA-L's output differs most from one part of a file to another, that of zlib-ng's
# highest levels least.
_ISAL_MARGIN, _STEADY_MARGIN, _STEADY = 0.015, -0.002, 7
# What was saved in some blocks may be spent in others, up to this, in blocks of zlib's size.
_MOST_SAVED = 0.1
# Data changes on its way: so much is left of a sample's weight when the next one comes.
_KEPT = 0.8

# By level: who comes into question, the fastest first, and its time, where zlib's is 1. Of zlib-ng's and ISA-L's levels
# all that are faster than zlib and not hopelessly larger. Measured by tests/benchmarks/levels.py.
_NG, _ISAL = "zlib-ng", "isal"
_CANDIDATES: dict[int, tuple[tuple[Tuned, float], ...]] = {
    1: ((Tuned(_ISAL, 1), 0.26), (Tuned(_ISAL, 2), 0.28), (Tuned(_ISAL, 3), 0.45), (Tuned(_NG, 2), 0.72)),
    2: ((Tuned(_ISAL, 2), 0.25), (Tuned(_ISAL, 3), 0.38), (Tuned(_NG, 2), 0.65), (Tuned(_NG, 3), 0.79)),
    3: ((Tuned(_ISAL, 2), 0.17), (Tuned(_ISAL, 3), 0.27), (Tuned(_NG, 3), 0.58)),
    4: ((Tuned(_NG, 3), 0.54), (Tuned(_NG, 4), 0.68)),
    5: ((Tuned(_NG, 4), 0.49), (Tuned(_NG, 5), 0.54), (Tuned(_NG, 6), 0.69)),
    6: ((Tuned(_NG, 5), 0.36), (Tuned(_NG, 6), 0.45), (Tuned(_NG, 7), 0.73)),
    7: ((Tuned(_NG, 5), 0.28), (Tuned(_NG, 6), 0.35), (Tuned(_NG, 7), 0.58)),
    8: ((Tuned(_NG, 6), 0.22), (Tuned(_NG, 7), 0.33), (Tuned(_NG, 8), 0.70)),
    9: ((Tuned(_NG, 6), 0.17), (Tuned(_NG, 7), 0.28), (Tuned(_NG, 8), 0.48)),
}


def candidates(level: int) -> list[tuple[Tuned, float]]:
    """Those of `level` that are installed."""
    return [each for each in _CANDIDATES[level] if is_installed(each[0].engine)]


class Tried(NamedTuple):
    """What deflated a sample: its time, where zlib's is 1, and the bytes it made."""

    tuned: Tuned
    cost: float
    size: float


def try_engines(level: int, sample: bytes, dictionary: bytes) -> list[Tried]:
    """What becomes of `sample` at `level`: by zlib, and by the candidates up to one that makes no more than zlib."""
    size = len(deflate_block("zlib", level, sample, dictionary, False))
    tried = [Tried(Tuned("zlib", level), 1.0, size)]
    for tuned, cost in candidates(level):
        made = len(deflate_block(*tuned, sample, dictionary, False)) + size * _margin(tuned)
        tried.append(Tried(tuned, cost, made))
        if made <= size:
            break
    return tried


def _margin(tuned: Tuned) -> float:
    if tuned.engine == _ISAL:
        return _ISAL_MARGIN
    return _STEADY_MARGIN if tuned.level >= _STEADY else 0.0


class Mixture:
    """Who deflates the blocks of one member: `first`, until something is known of its data."""

    def __init__(self, first: Tuned) -> None:
        self._first = first
        self._unjudged = 0  # blocks that went to it
        self._pair: tuple[_Known, _Known] | None = None  # who does since then, in turns
        self._known: dict[Tuned, _Known] = {}
        self._balance = 0.0  # what is saved so far; in blocks of zlib's size

    def next(self) -> Tuned:
        """Who deflates the next block."""
        if self._pair is None:
            self._unjudged += 1
            return self._first
        fast, small = self._pair
        self._balance = min(self._balance + _TARGET, _MOST_SAVED)
        chosen = fast if self._balance >= fast.excess else small
        self._balance -= chosen.excess
        return chosen.tuned

    def learn(self, tried: list[Tried]) -> None:
        """Go on by what was `tried` on the member's own data, and before."""
        for each in tried:
            self._known.setdefault(each.tuned, _Known(each)).add(each.size, tried[0].size)
        if self._first in self._known:
            self._balance += self._unjudged * (_TARGET - self._known[self._first].excess)
        self._unjudged = 0
        good = [each for each in self._known.values() if each.excess <= _TARGET]
        large = [each for each in self._known.values() if each.excess > _TARGET]
        self._pair = min([*zip(good, good, strict=True), *product(large, good)], key=_cost)


class _Known:
    """What is known of somebody by now: sums, in which what was tried before loses weight."""

    def __init__(self, tried: Tried) -> None:
        self.tuned, self.cost = tried.tuned, tried.cost
        self._made = self._zlibs = 0.0

    def add(self, made: float, zlibs: float) -> None:
        self._made = self._made * _KEPT + made
        self._zlibs = self._zlibs * _KEPT + zlibs

    @property
    def excess(self) -> float:
        """By how much it makes more than zlib, as a part of that."""
        return self._made / self._zlibs - 1


def _cost(pair: tuple[_Known, _Known]) -> float:
    """The time of a mixture of the two that has the target's size."""
    fast, small = pair
    if fast is small:
        return fast.cost
    share = (_TARGET - small.excess) / (fast.excess - small.excess)
    return share * fast.cost + (1 - share) * small.cost
