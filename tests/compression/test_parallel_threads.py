"""The threads of the work in parallel: shared, there while they are needed, and never in the way of their own end."""

from __future__ import annotations

import gc
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.executors import (
    NOISE,
    BoomError,
    blocks,
    long_archive,
    long_stream,
    new_threads,
    none_left,
    occupied,
    run_into,
    run_script,
)
from tests.support.sweeps import WHOLE
from zipstream_adapter import Entry, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK
from zipstream_adapter._concurrency.pools import usable_cores

MANY = 100 if WHOLE else 30

# Shared.


def test_all_streams_share_the_default_threads_and_they_end_with_the_last() -> None:
    before = set(threading.enumerate())
    streams = [long_stream(workers=8) for _ in range(5)]
    assert new_threads(before) == set()
    for stream in streams:
        run_into(stream)
    with long_archive(workers=8) as archive:
        archive.writestr("a", NOISE * 3)
        # As many as there are cores, however many streams there are.
        assert 1 <= len(new_threads(before)) <= usable_cores()
    last = streams.pop()
    for stream in streams:
        stream.close()
    assert new_threads(before)
    assert last.read().endswith(long_stream(workers=0).read()[-BLOCK:])
    assert new_threads(before) == set()
    for _ in range(2):
        assert long_stream().read() == long_stream(workers=0).read()
        assert new_threads(before) == set()


def test_many_streams_closed_midway_leave_no_thread() -> None:
    before = set(threading.enumerate())
    for way in range(MANY):
        stream = long_stream(workers=2) if way % 2 else long_stream(workers=2, compression="auto")
        run_into(stream)
        if way % 3:
            stream.close()
        else:
            del stream
        assert new_threads(before) == set()
    streams = [long_stream(workers=2, count=8) for _ in range(MANY)]
    for stream in streams:
        run_into(stream, 2 * BLOCK)
    assert new_threads(before)
    while streams:
        streams.pop().close()
    assert new_threads(before) == set()


ONE_CORE = """
import os, sys, threading
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from zipstream_adapter import stream_zip
from zipstream_adapter._concurrency.pools import usable_cores
for workers, most in ((None, 1), (0, 1), (2, 2)):
    for _ in stream_zip([("a", [bytes(1 << 18)] * 9)], compression="deflate", workers=workers):
        assert threading.active_count() <= most, (workers, threading.enumerate())
    assert threading.active_count() == 1
assert usable_cores() == 1
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_on_a_single_core_nobody_works_besides() -> None:
    assert run_script(ONE_CORE) == 0


def test_as_many_workers_as_usable_cores_by_default() -> None:
    cores = usable_cores()
    assert cores == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores >= 1
    with occupied() as executor:
        long_stream(workers=None, executor=executor, count=cores + 9, engine="zlib").read()
    assert executor.most == cores + 1


# Many at once.


def test_many_streams_from_many_threads_share_the_default_threads() -> None:
    before = set(threading.enumerate())
    whole = long_stream(workers=0).read()

    def consumer(seed: int) -> int:
        chance = random.Random(seed)
        finished = 0
        for _ in range(6 if WHOLE else 3):
            fate = chance.choice(["finish", "finish", "fail", "close", "drop"])
            stream = long_stream(workers=chance.choice([None, 1, 2, 8]), failing=fate == "fail")
            if fate == "finish":
                assert stream.read() == whole
                finished += 1
            elif fate == "fail":
                with pytest.raises(BoomError):
                    stream.read()
            else:
                run_into(stream, chance.randrange(9) * BLOCK)
                stream.close() if fate == "close" else None
            del stream
        return finished

    with ThreadPoolExecutor(10, thread_name_prefix="consumer") as consumers:
        assert sum(consumers.map(consumer, range(10), timeout=200)) > (10 if WHOLE else 5)
    gc.collect()
    assert none_left(before)


NO_THREADS = """
import threading, tracemalloc
from tests.support.executors import NOISE
from zipstream_adapter import stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK

threading.stack_size(1 << 46)  # more than there is, so that no thread can be started
try:
    threading.Thread(target=int).start()
except RuntimeError:
    pass
else:
    raise SystemExit(77)
tracemalloc.start()
size = 0
source = (bytes(bytearray(NOISE)) for _ in range(100))  # not one of which is the same object
for chunk in stream_zip([("a", source)], compression="deflate", level=1, workers=2):
    size += len(chunk)
assert size > 100 * BLOCK
assert tracemalloc.get_traced_memory()[1] < 30 * BLOCK, tracemalloc.get_traced_memory()[1] / BLOCK
"""


def test_where_no_thread_can_be_started_the_caller_does_the_work_and_nothing_piles_up() -> None:
    if run_script(NO_THREADS) == 77:
        pytest.skip("threads of any stack size can be started here")


# Garbage.


def test_an_unfinished_stream_in_a_cycle_is_closed_when_it_is_collected() -> None:
    before = set(threading.enumerate())
    closed = []

    def source(held: list[Any]) -> Iterator[bytes]:
        try:
            yield from blocks(16)
        finally:
            closed.append(bool(held))

    for _ in range(3):
        held: list[Any] = []
        entries: list[Any] = [Entry("first", NOISE, compression="stored"), ("second", source(held))]
        held.append(stream_zip(entries, compression="deflate", workers=2))
        run_into(held[0])
        assert new_threads(before)
        del held, entries
        gc.collect()
        assert none_left(before)
    assert closed == [True] * 3


COLLECTED = """
import gc, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from tests.support.executors import *

gc.disable()  # so that it runs where it is said here, as it can wherever something is allocated

def in_its_thread(number, work):
    gc.collect()
    result = slowly(work)
    gc.collect()
    return result

class Processes(ProcessPoolExecutor):
    futures = ()

    def submit(self, work, *arguments):
        future = super().submit(slowly, work, *arguments)
        # In the thread that brings the results.
        future.add_done_callback(lambda _: gc.collect())
        self.futures = *self.futures, future
        return future

def drop(executor):
    held = []
    def source():
        yield from blocks(40)
        held.clear()
    entries = [Entry("first", NOISE, compression="stored"), ("second", source())]
    held.append(stream_zip(entries, compression="deflate", executor=executor, workers=6))
    while sum(not future.done() for future in executor.futures) < 4:
        next(held[0])

if __name__ == "__main__":
    if sys.argv[1] == "threads":
        executor = Recording(2, in_its_thread)
    else:
        executor = Processes(2, mp_context=multiprocessing.get_context("spawn"))
    with executor:
        drop(executor)
    assert all(future.done() for future in executor.futures)
"""


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_stream_that_is_collected_by_a_thread_of_its_executor_does_not_hang(kind: str) -> None:
    assert run_script(COLLECTED, kind) == 0
