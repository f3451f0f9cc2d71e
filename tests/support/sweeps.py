"""Sweeps: every value, or every combination of values, of which a plain run takes a sample and CI takes all.

The sample is the same each time. ZIPSTREAM_SWEEP=1 takes all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
WHOLE = os.environ.get("ZIPSTREAM_SWEEP") == "1"


def sample(values: Iterable[T], count: int) -> list[T]:
    """Take `count` of `values` at even distances, the first and the last included; in a whole sweep all of them."""
    found = list(values)
    if WHOLE or len(found) <= count:
        return found
    return [found[number * (len(found) - 1) // (count - 1)] for number in range(count)]


def pairs(*axes: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Take so many rows of the product of `axes` that each two values of two axes meet; in a whole sweep all rows."""
    lists = [list(axis) for axis in axes]
    rows = list(product(*(range(len(each)) for each in lists)))
    if not WHOLE:
        rows = _covering(rows)
    return [tuple(each[at] for each, at in zip(lists, row, strict=True)) for row in rows]


def _covering(rows: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Rows, taken greedily, which hold all the pairs that `rows` hold."""
    held = {row: set(combinations(enumerate(row), 2)) for row in rows}
    missing = set().union(*held.values())
    taken = []
    while missing:
        best = max(held, key=lambda row: len(held[row] & missing))
        missing -= held.pop(best)
        taken.append(best)
    return sorted(taken)


def pairwise(**axes: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrise by `pairs` of the named axes."""
    ids = lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None  # noqa: E731
    return pytest.mark.parametrize(tuple(axes), pairs(*axes.values()), ids=ids)
