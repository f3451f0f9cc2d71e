"""Deflate in parallel: the same bytes whoever does the work, in order, bounded, and no thread without need."""

from __future__ import annotations

import multiprocessing
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any
from zipfile import ZIP_DEFLATED, ZipInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.executors import (
    DATE,
    NOISE,
    Inline,
    Recording,
    blocks,
    long_archive,
    long_stream,
    new_threads,
    occupied,
)
from tests.support.strategies import cut, noise, words
from tests.support.sweeps import pairwise
from zipstream_adapter import Entry, OptionError, StreamingZipFile, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK, BlockDeflate
from zipstream_adapter._compression.engines import EngineLevel, Engines
from zipstream_adapter._concurrency.ordered import Workers

# Text that repeats over the ends of the blocks, and noise.
DATA = b"".join(words(number, 30_000) + noise(number % 3, 20_000) for number in range(24))
SIZES = [0, 1, 100, 60_000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 777, 4 * BLOCK]


@pytest.fixture(scope="module")
def executors() -> Iterator[dict[str, Executor]]:
    """One of each kind, for all tests: nobody shuts them down meanwhile."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    with ThreadPoolExecutor(3) as threads, ProcessPoolExecutor(2, mp_context=context) as processes:
        with occupied() as never:
            yield {"threads": threads, "processes": processes, "inline": Inline(), "occupied": never}
        assert threads.submit(int, "7").result() == processes.submit(int, "8").result() - 1 == 7


# The same bytes.


def streamed(members: Sequence[bytes], sizes: Sequence[int] = (), **options: Any) -> bytes:
    chunks = [cut(data, sizes) if sizes else data for data in members]
    entries = [Entry(str(number), data, modified=DATE) for number, data in enumerate(chunks)]
    options = {"compression": "deflate", "level": 1, **options}
    return b"".join(stream_zip(entries, **options))


def legacy(members: Sequence[bytes], sizes: Sequence[int] = (), **options: Any) -> bytes:
    made = []
    with StreamingZipFile(**options) as archive:
        for number, data in enumerate(members):
            info = ZipInfo(str(number), DATE.timetuple()[:6])
            info.compress_type = ZIP_DEFLATED
            with archive.open(info, "w") as member:
                for chunk in cut(data, sizes or (len(data) or 1,)):
                    member.write(chunk)
                    made.append(archive.drain())
    made.append(archive.drain())
    return b"".join(made)


# Pieces of DATA: where they begin, and how long they are.
_members = st.lists(st.tuples(st.integers(0, 50_000), st.sampled_from(SIZES)), min_size=1, max_size=4)
_sizes = st.lists(st.integers(0, 3 * BLOCK) | st.integers(0, 90_000), max_size=3).filter(
    lambda sizes: not sizes or sum(sizes) >= 5_000
)
_who = st.sampled_from([None, "threads", "processes", "inline", "occupied"])
_workers = st.sampled_from([None, 1, 2, 8])


@settings(max_examples=settings().max_examples // 2)
@given(_members, _sizes, _who, _workers, st.sampled_from(["deflate", "auto"]), st.sampled_from([0, 65536]))
@pytest.mark.patient
def test_the_same_bytes_for_any_workers_executor_and_cutting(
    executors: dict[str, Executor],
    places: list[tuple[int, int]],
    sizes: list[int],
    who: str | None,
    workers: int | None,
    method: str,
    lookahead: int,
) -> None:
    members = [DATA[at : at + size] for at, size in places]
    executor = executors[who] if who else None
    plain = streamed(members, workers=0, compression=method, lookahead=lookahead)
    made = streamed(members, sizes, workers=workers, executor=executor, compression=method, lookahead=lookahead)
    assert made == plain
    assert list(oracles.members(made).values()) == members


@settings(max_examples=settings().max_examples // 2)
@given(_members, _sizes, _who, _workers)
@pytest.mark.patient
def test_the_same_bytes_from_a_zipfile(
    executors: dict[str, Executor],
    places: list[tuple[int, int]],
    sizes: list[int],
    who: str | None,
    workers: int | None,
) -> None:
    members = [DATA[at : at + size] for at, size in places]
    made = legacy(members, sizes, workers=workers, executor=executors[who] if who else None)
    assert made == legacy(members, workers=0)
    assert list(oracles.members(made).values()) == members


@pairwise(who=["threads", "processes", "inline", "occupied"], workers=[0, 1, 2, 8], method=["deflate", "auto"])
@pytest.mark.patient
def test_the_same_bytes_from_many_small_members(
    executors: dict[str, Executor], who: str, workers: int, method: str
) -> None:
    members = [DATA[number * 1_000 : number * 1_000 + size] for number, size in zip(range(300), cycle([900, 9_000, 0]))]
    members.insert(150, DATA[: 2 * BLOCK])
    made = streamed(members, workers=workers, executor=executors[who], compression=method)
    assert made == streamed(members, workers=0, compression=method)
    assert list(oracles.members(made).values()) == members


@pytest.mark.parametrize("method", ["deflate", "auto"])
@pytest.mark.patient
def test_the_same_bytes_from_data_that_changes_on_its_way(executors: dict[str, Executor], method: str) -> None:
    # Long enough that an engine may be chosen anew.
    data = b"".join([DATA[: 2 * BLOCK], words(1, BLOCK) * 30, noise(5, BLOCK) * 4, DATA[:BLOCK] * 4, b"end"])
    plain = streamed([data], workers=0, compression=method)
    for who, sizes in (("threads", [100_000]), ("processes", [BLOCK + 1, 9]), ("occupied", [1 << 20])):
        assert streamed([data], sizes, workers=3, executor=executors[who], compression=method) == plain
    assert oracles.members(plain) == {"0": data}


def test_blocks_that_are_finished_in_reverse_order_come_in_order() -> None:
    begun, finished = ([threading.Event() for _ in range(9)] for _ in range(2))
    order = []

    def job(number: int, work: Callable[[], Any]) -> Any:
        begun[number].set()
        result = work()
        if number not in (3, 7, 8):
            assert finished[number + 1].wait(60)
        order.append(number)
        finished[number].set()
        return result

    with Recording(4, job) as executor:
        compressor = BlockDeflate(Engines(EngineLevel("zlib", 1), EngineLevel("zlib", 1)), Workers(3, executor))
        made = b""
        for first in (0, 4):
            made += compressor.compress(DATA[: 4 * BLOCK])
            # What nobody has begun is done by whoever waits for it.
            assert all(event.wait(60) for event in begun[first : first + 4])
        made += compressor.compress(b"end") + compressor.flush()
    assert [number for number in order if number < 8] == [3, 2, 1, 0, 7, 6, 5, 4]
    assert zlib.decompress(made, -zlib.MAX_WBITS) == DATA[: 4 * BLOCK] * 2 + b"end"


# Whose threads, and how many.


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("engine", ["zlib", "auto"])
def test_one_more_block_than_workers_is_in_flight_at_most(workers: int, engine: Any) -> None:
    options = {"workers": workers, "engine": engine}
    most = {"zlib": [workers + 1], "auto": [workers + 1, workers + 2]}[engine]  # there may be a sample, too
    with occupied() as executor:
        made = long_stream(executor=executor, **options).read()
        assert executor.most in most
        with long_archive(executor=executor, **options) as archive:
            archive.writestr("second", NOISE * 9)
        assert executor.most in most
    assert oracles.members(made) == {"first": NOISE, "second": NOISE * 16}
    assert all(future.cancelled() for future in executor.futures)
    with Recording(workers, lambda number, work: work()) as executor:
        assert long_stream(executor=executor, **options).read() == made
        assert executor.most <= max(most)


@pytest.mark.parametrize("workers", [None, 1, 4])
def test_an_executor_whose_threads_are_taken_for_good_is_not_waited_for(workers: int | None) -> None:
    with occupied(3) as executor:
        for _ in range(2):
            made = long_stream(workers=workers, executor=executor).read()
            assert made == long_stream(workers=0).read()
        assert executor.futures
        assert not any(future.running() for future in executor.futures)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stream_can_run_inside_the_executor_that_it_was_given(threads: int) -> None:
    with ThreadPoolExecutor(threads) as executor:
        inside = [executor.submit(lambda: long_stream(executor=executor).read()) for _ in range(4)]
        assert {future.result(60) for future in inside} == {long_stream(workers=0).read()}


@pytest.mark.parametrize("size", [0, 1, 5_000, BLOCK - 1])
@pytest.mark.parametrize("method", ["deflate", "auto"])
def test_a_lone_member_under_a_block_uses_no_thread(size: int, method: Any) -> None:
    before = set(threading.enumerate())
    with Recording(2) as executor:
        for source in (DATA[:size], cut(DATA[:size], [1000]), lambda: DATA[:size]):
            for given in (executor, None):
                for _ in stream_zip([("a", source)], compression=method, workers=2, executor=given):
                    assert new_threads(before) == set()
        with StreamingZipFile(compression=method, workers=2, executor=executor) as archive:
            archive.writestr("a", DATA[:size])
        assert executor.futures == []
    assert new_threads(before) == set()


def test_small_members_are_gathered_until_there_is_a_block_of_them() -> None:
    with Recording(2) as executor:
        made = streamed([DATA[:9_000]] * 400, executor=executor)
    assert 1 <= len(executor.futures) <= 400 * 9_000 // BLOCK
    assert made == streamed([DATA[:9_000]] * 400, workers=0)


def test_no_workers_use_no_thread_and_no_executor() -> None:
    before = set(threading.enumerate())
    with Recording(2) as executor:
        for given in (None, executor):
            for _ in long_stream(workers=0, executor=given):
                assert new_threads(before) == set()
        assert executor.futures == []


def test_an_executor_that_is_given_keeps_the_default_threads_away() -> None:
    with Recording(2, lambda number, work: work()) as executor:
        before = set(threading.enumerate())
        for _ in long_stream(workers=2, executor=executor):
            assert all(thread.name.startswith("ThreadPoolExecutor") for thread in new_threads(before))
        assert len(executor.futures) > 10
        assert executor.submit(int, "7").result() == 7


@pytest.mark.parametrize("workers", [-1, 1.0, "2", True, False, [], b"1", 1.5])
@pytest.mark.parametrize("make", [lambda **options: stream_zip([], **options), StreamingZipFile, Workers])
def test_workers_that_are_no_number_are_refused(make: Any, workers: Any) -> None:
    with pytest.raises(OptionError, match=r"^workers=.*: give a whole number, 0 for none, or None"):
        make(workers=workers)


@pytest.mark.parametrize("executor", [3, "threads", object(), threading.Thread(), [], ThreadPoolExecutor, Executor])
@pytest.mark.parametrize("make", [lambda **options: stream_zip([], **options), StreamingZipFile])
def test_an_executor_that_is_none_is_refused(make: Any, executor: Any) -> None:
    with pytest.raises(OptionError, match=r"^executor=.*: give a concurrent.futures.Executor"):
        make(executor=executor)


# What waits, and how much.


def test_what_a_slow_source_gave_is_handed_over_while_more_is_awaited() -> None:
    left = bytearray()
    seen = []

    def slow() -> Iterator[bytes]:
        yield from blocks(2)
        for _ in range(2):
            time.sleep(0.15)  # longer than anything that is ready is kept
            seen.append(len(left))
            yield b"."

    with occupied() as never, Recording(2) as executor:
        for given in (executor, never, None):
            left.clear()
            seen.clear()
            stream = stream_zip([("first", b"1"), ("second", slow())], compression="deflate", executor=given, workers=2)
            for chunk in stream:
                left += chunk
            assert seen[1] > 2 * BLOCK - 65536  # the rest makes no chunk
            assert oracles.members(bytes(left)) == {"first": b"1", "second": NOISE * 2 + b".."}


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peak(workers: int, entries: Iterator[Any]) -> int:
    """Bytes in use at most for a stream of `entries` with threads for all `workers`."""
    with ThreadPoolExecutor(workers or 1) as executor, traced() as most:
        # The standard zlib's memory is seen from here.
        for _ in stream_zip(entries, compression="deflate", level=1, engine="zlib", workers=workers, executor=executor):
            pass
        return most()


MADE = noise(3, 4 * BLOCK)
WORKLOADS: dict[str, Callable[[int], Iterator[Any]]] = {
    "long, in small chunks": lambda size: iter([("a", (MADE[: 1 << 16] for _ in range(size >> 16)))]),
    "long, in large chunks": lambda size: iter([("a", (MADE for _ in range(size >> 20)))]),
    "small": lambda size: ((str(number), MADE[number : number + 9_000]) for number in range(size // 9_000)),
    "just small": lambda size: ((str(n), MADE[n : n + BLOCK - 1]) for n in range(size // BLOCK)),
}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_memory_is_two_blocks_for_each_worker_and_does_not_grow_with_the_data(workload: str) -> None:
    entries = WORKLOADS[workload]
    # Chunks of up to 1 MiB on their way in and out.
    alone = peak(0, entries(12 << 20))
    assert alone <= 16 * BLOCK
    for workers, size in ((2, 24 << 20), (8, 12 << 20)):
        most = peak(workers, entries(size))
        # zlib itself takes 268 KB for each that is at work, and room for its output to grow.
        engines = workers * 3 * BLOCK // 2
        assert most - alone <= 2 * BLOCK * (workers + 2) + engines, workers


def test_the_measurement_sees_blocks_that_are_kept() -> None:
    kept: list[bytes] = []
    with traced() as most:
        kept.extend(bytes(islice(cycle(b"12"), BLOCK)) for _ in range(8))
        assert most() >= 8 * BLOCK
    assert kept
