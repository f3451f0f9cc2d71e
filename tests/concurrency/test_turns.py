"""Many streams on one event loop: each gets its turn, other tasks theirs, and only so many are at a step."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import LOOPS, own_pool, run
from tests.support.strategies import noise
from zipstream_adapter import Entry, async_stream_zip
from zipstream_adapter._concurrency import offload, turns
from zipstream_adapter._concurrency.pools import usable_cores
from zipstream_adapter._concurrency.turns import Turn
from zipstream_adapter._stream import async_driver
from zipstream_adapter._stream.async_driver import AsyncDriver, Place

Factory = Callable[[], asyncio.AbstractEventLoop]
MOST = usable_cores() + turns._MORE_STEPS
DATE = 1_000_000_000


@pytest.fixture(params=LOOPS)
def factory(request: pytest.FixtureRequest) -> Factory:
    return LOOPS[request.param]


class Clock:
    """Shows the work that was done, in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(turns, "_clock", lambda: self.now)


@pytest.mark.parametrize("piece", [0.0001, 0.001, 0.004])
@pytest.mark.parametrize("streams", [1, 7, 100])
def test_a_loop_iteration_is_short_and_everybody_gets_his_turn(
    streams: int, piece: float, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    pieces = 60
    done: Counter[int] = Counter()
    apart: list[int] = []
    waits: list[float] = []

    async def stream(number: int) -> None:
        turn = Turn()
        for _ in range(pieces):
            if turn.is_over():
                await turn.wait()
            clock.now += piece
            done[number] += 1
            apart.append(done[number] - min(done[each] for each in range(streams)))

    async def others() -> None:
        while True:
            begun = clock.now
            await asyncio.sleep(0)
            waits.append(clock.now - begun)

    async def main() -> None:
        watching = asyncio.create_task(others())
        await asyncio.gather(*map(stream, range(streams)))
        watching.cancel()

    run(main(), factory)
    assert done == Counter(dict.fromkeys(range(streams), pieces))
    # The number that runs per iteration is found by trying: one too many is one too much.
    assert max(waits) <= 2 * turns._ITERATION_S + 2 * max(piece, turns._TURN_S)
    assert max(apart) <= 2 * max(1, round(turns._ITERATION_S / piece)) + 2


def test_a_stream_alone_does_not_wait(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    async def main() -> int:
        turn, waited = Turn(), 0
        for _ in range(1000):
            clock.now += 0.0001
            if turn.is_over():
                waited += 1
                await turn.wait()
        return waited

    assert run(main(), factory) <= 1000 * 0.0001 / turns._TURN_S


def test_a_stream_that_leaves_while_it_waits_for_its_turn_holds_up_nobody(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    done: list[int] = []

    async def stream(number: int) -> None:
        turn = Turn()
        clock.now += 1
        if turn.is_over():
            await turn.wait()
        clock.now += 1
        done.append(number)

    async def main() -> None:
        tasks = [asyncio.create_task(stream(number)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[3:12]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main(), factory)
    assert sorted(done) == [*range(len(done) - 8), *range(12, 20)]
    assert len(done) >= 9


def test_so_many_are_at_a_step_in_order_of_arrival(factory: Factory) -> None:
    let_in: list[int] = []
    within = most = 0

    async def stream(number: int) -> None:
        nonlocal within, most
        turn = Turn()
        await turn.enter()
        let_in.append(number)
        within += 1
        most = max(most, within)
        for _ in range(number % 3):
            await asyncio.sleep(0)
        within -= 1
        turn.leave()
        turn.leave()  # only the first counts

    async def main() -> None:
        await asyncio.gather(*map(stream, range(50)))

    run(main(), factory)
    assert let_in == list(range(50))
    assert most == MOST


@pytest.mark.parametrize("when", ["while it waits", "as it is let in"])
def test_one_that_is_cancelled_before_its_step_takes_no_place(when: str, factory: Factory) -> None:
    async def main() -> None:
        first = [Turn() for _ in range(MOST)]
        for turn in first:
            await turn.enter()
        waiting = asyncio.create_task(Turn().enter())
        await asyncio.sleep(0)
        if when == "as it is let in":
            first.pop().leave()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        for turn in first:
            turn.leave()
        for turn in (again := [Turn() for _ in range(MOST)]):
            await asyncio.wait_for(turn.enter(), 60)
        assert len(again) == MOST

    run(main(), factory)


def on_disk(folder: Path, size: int) -> Path:
    path = folder / "file"
    path.write_bytes(noise(1, size))
    return path


async def read_all(entry: Entry, seen: Callable[[int], object]) -> int:
    total = 0
    async for chunk in async_stream_zip([entry], lookahead=0):
        total += len(chunk)
        seen(len(chunk))
        await asyncio.sleep(0)
    return total


def test_no_more_streams_are_at_a_step_than_the_cores_can_serve(
    tmp_path: Path, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_pool(monkeypatch, threads=32)
    monkeypatch.setattr(async_driver, "PATIENCE", 600.0)  # after which a step counts no more
    path = on_disk(tmp_path, 3 << 20)
    at_once: list[int] = []
    run_on_thread = AsyncDriver._run_on_thread
    running = [0]

    def counted(driver: AsyncDriver, steps: Any, request: Any) -> list[Any]:
        if request.place is not Place.WORK:
            return run_on_thread(driver, steps, request)
        running[0] += 1
        at_once.append(running[0])
        try:
            return run_on_thread(driver, steps, request)
        finally:
            running[0] -= 1

    monkeypatch.setattr(AsyncDriver, "_run_on_thread", counted)

    async def main() -> list[int]:
        return await asyncio.gather(
            *(read_all(Entry(f"{n:02}", path, modified=DATE), lambda size: None) for n in range(40))
        )

    assert len(set(run(main(), factory))) == 1
    assert len(at_once) > 40
    assert max(at_once) <= MOST


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_steps_that_hang_hold_up_nobody(
    is_cancelled: bool, tmp_path: Path, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as reads from a server that has gone. Whoever waited for them may have been cancelled."""
    own_pool(monkeypatch, threads=32)
    if is_cancelled:
        monkeypatch.setattr(async_driver, "PATIENCE", 600.0)  # after which a step counts no more
    hanging, fine = tmp_path / "hanging", on_disk(tmp_path, 1 << 20)
    hanging.write_bytes(fine.read_bytes())
    gate, begun = threading.Event(), threading.Semaphore(0)
    next_of_file = AsyncDriver._next_of_file

    def hung(driver: AsyncDriver, source: Any) -> Any:
        if driver._producer.entry_name == "hanging":
            begun.release()
            assert gate.wait(60)
        return next_of_file(driver, source)

    monkeypatch.setattr(AsyncDriver, "_next_of_file", hung)

    async def main() -> int:
        tasks = [asyncio.create_task(read_all(Entry("hanging", hanging), lambda size: None)) for _ in range(MOST)]
        for _ in tasks:
            await asyncio.to_thread(begun.acquire)
        for task in tasks if is_cancelled else ():
            task.cancel()
        try:
            return await asyncio.wait_for(read_all(Entry("fine", fine), lambda size: None), 60)
        finally:
            gate.set()
            await asyncio.gather(*tasks, return_exceptions=True)

    assert run(main(), factory) > 1 << 20


def test_all_streams_together_hold_little(tmp_path: Path, factory: Factory) -> None:
    path = on_disk(tmp_path, 2 << 20)
    streams, held = 60, [0]

    def seen(size: int) -> None:
        held[0] = max(held[0], offload._in_flight.total)

    async def main() -> list[int]:
        return await asyncio.gather(*(read_all(Entry(f"{n:02}", path, modified=DATE), seen) for n in range(streams)))

    assert len(set(run(main(), factory))) == 1
    assert 0 < held[0] <= offload._ALL_BYTES + streams * 2 * offload._LEAST_BYTES
    assert offload._in_flight.total == 0


def test_a_loop_that_has_ended_is_not_kept(factory: Factory) -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        assert await async_stream_zip([("a", b"data")]).read()

    run(main(), factory)
    end = time.monotonic() + 60
    while loops[0]() is not None and time.monotonic() < end:  # a thread may have it for a moment longer
        gc.collect()
        time.sleep(0.01)
    assert loops[0]() is None


def test_streams_advance_alike(tmp_path: Path, factory: Factory) -> None:
    """Those whose sources are on the loop and are always ready, too."""
    count, streams = 40, 50
    ended: list[int] = []
    chunks: Counter[int] = Counter()

    async def pieces(number: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            chunks[number] += 1
            yield b"x" * (1 << 16)

    async def download(number: int) -> None:
        async for _ in async_stream_zip([Entry("a", pieces(number), size=count << 16)]):
            pass
        ended.append(min(chunks[each] for each in range(streams)))

    async def main() -> None:
        await asyncio.gather(*map(download, range(streams)))

    run(main(), factory)
    # When the first has ended, the last has come far.
    assert ended[0] >= count // 2
