"""Mixtures of engines: a member is never much larger than zlib's, and the bytes depend on its data alone."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from zipfile import ZIP_DEFLATED

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.executors import Recording
from tests.strategies import noise, words
from zipstream_adapter.coding import Coding
from zipstream_adapter.engines import Tuned, is_installed
from zipstream_adapter.mixture import Mixture, Tried, candidates, try_engines
from zipstream_adapter.parallel import BLOCK, BlockDeflate, Workers

ZLIB, FAST, SMALL = Tuned("zlib", 6), Tuned("zlib-ng", 1), Tuned("zlib-ng", 2)


def trial(**excesses: float) -> list[Tried]:
    """A trial of all three, by what each makes more than zlib."""
    costs = {"zlib": (ZLIB, 1.0), "fast": (FAST, 0.3), "small": (SMALL, 0.5)}
    return [Tried(*costs[name], 10_000 * (1 + excess)) for name, excess in {"zlib": 0.0, **excesses}.items()]


def chosen(mixture: Mixture, count: int) -> list[Tuned]:
    return [mixture.next() for _ in range(count)]


def test_before_anything_is_known_the_first_has_every_block() -> None:
    assert chosen(Mixture(FAST), 5) == [FAST] * 5


def test_the_fastest_that_can_be_afforded_has_every_block() -> None:
    mixture = Mixture(ZLIB)
    mixture.learn(trial(fast=0.005, small=-0.02))
    assert chosen(mixture, 50) == [FAST] * 50


def test_where_none_can_zlib_has_the_most() -> None:
    mixture = Mixture(ZLIB)
    mixture.learn(trial(fast=0.06, small=0.3))
    found = chosen(mixture, 1000)
    assert found.count(ZLIB) + found.count(FAST) == 1000
    assert 0 < found.count(FAST) * 0.06 <= 1000 * 0.01


def test_the_first_blocks_are_paid_for_by_those_that_follow() -> None:
    mixture = Mixture(FAST)
    assert chosen(mixture, 3) == [FAST] * 3
    mixture.learn(trial(fast=0.03))
    assert chosen(mixture, 10) == [ZLIB] * 10
    assert FAST in chosen(mixture, 20)


@given(st.lists(st.tuples(st.floats(-0.3, 0.5), st.floats(-0.3, 0.5), st.integers(1, 60)), min_size=1, max_size=12))
def test_by_what_is_known_the_whole_is_never_more_than_one_per_cent_larger(
    found: list[tuple[float, float, int]],
) -> None:
    mixture = Mixture(ZLIB)
    for fast, small, blocks in found:
        mixture.learn(trial(fast=fast, small=small))
        known = {each.tuned: each.excess for each in mixture._known.values()}
        excess = sum(known[tuned] for tuned in chosen(mixture, blocks))
        # What was saved before may be spent now, up to a bound.
        assert excess <= 0.01 * blocks + 0.1


def test_data_that_changes_is_noticed() -> None:
    mixture = Mixture(ZLIB)
    mixture.learn(trial(fast=-0.01))
    assert chosen(mixture, 10) == [FAST] * 10
    for _ in range(20):
        mixture.learn(trial(fast=0.4))
    assert chosen(mixture, 100).count(FAST) < 10
    for _ in range(40):
        mixture.learn(trial(fast=-0.01))
    assert chosen(mixture, 10) == [FAST] * 10


# With the engines that are there.


@pytest.mark.parametrize("level", range(1, 10))
def test_zlib_is_tried_first_and_then_whoever_is_installed(level: int) -> None:
    sample, before = words(1, 8_000)[:32_768], words(2, 8_000)[:32_768]
    zlibs, *others = try_engines(level, sample, before)
    assert (zlibs.tuned, zlibs.cost) == (("zlib", level), 1.0)
    assert [each.tuned for each in others] == [tuned for tuned, _ in candidates(level)][: len(others)]
    assert all(0 < each.cost < 1 for each in others)
    assert all(each.size > zlibs.size for each in others[:-1])
    if not (is_installed("zlib-ng") or is_installed("isal")):
        assert others == []


def deflated(level: int, data: bytes, workers: int, executor: Any = None) -> bytes:
    coding = Coding("auto", workers=workers, executor=executor)
    compressor = coding.compressor(ZIP_DEFLATED, level)
    assert compressor is not None
    made = b"".join(compressor.compress(data[at : at + 300_000]) for at in range(0, len(data), 300_000))
    made += compressor.flush()
    coding.close()
    return made


@pytest.mark.parametrize("level", [1, 3, 6])
def test_a_long_member_is_no_larger_than_one_per_cent_over_zlib(level: int) -> None:
    data = b"".join(words(number, 30_000) for number in range(40))
    data += b"".join(words(number, 500) + noise(number, 3_000) for number in range(1_000))
    plain = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    limit = len(plain.compress(data) + plain.flush()) * 1.01
    made = deflated(level, data, 0)
    assert len(made) <= limit
    assert zlib.decompress(made, -zlib.MAX_WBITS) == data
    with ThreadPoolExecutor(3) as executor:
        assert made == deflated(level, data, 2) == deflated(level, data, 3, executor)


def test_a_trial_that_is_still_under_way_at_the_end_is_not_left() -> None:
    def slow(sample: bytes, before: bytes) -> list[Tried]:
        return [Tried(ZLIB, 1.0, 1)]

    with Recording(2) as executor:
        compressor = BlockDeflate(ZLIB, Workers(2, executor), slow)
        made = compressor.compress(noise(1, 2 * BLOCK)) + compressor.flush()
        assert all(future.done() for future in executor.futures)
    assert zlib.decompress(made, -zlib.MAX_WBITS) == noise(1, 2 * BLOCK)
