"""Sources that make one wait: those that poll (b"" says that there is nothing yet), and those that are silent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.support.loops import LOOPS, module, run, until
from tests.support.oracles import members
from tests.support.strategies import noise, words
from tests.support.sweeps import pairwise
from zipstream_adapter import AsyncZipStream, Entry, async_stream_zip, stream_zip

Factory = Callable[[], asyncio.AbstractEventLoop]
# Seconds after which a test gives up: what holds takes a tenth of one.
LONGEST = 60
DATA = words(1, 128_000)
METHODS = ["stored", "deflate", "auto", "bzip2"]
PREFETCH = pytest.mark.parametrize("prefetch", [0, 1])
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=LOOPS)
def factory(request: pytest.FixtureRequest) -> Factory:
    return LOOPS[request.param]


class Poll:
    """A source that gives b"" until it is told that there is more. pause: seconds between, None for none at all."""

    def __init__(self, first: bytes, pause: float | None = 0.002) -> None:
        self.first = first
        self.pause = pause
        self.more = threading.Event()
        self.polls = self.closed = 0
        self.until = time.monotonic() + LONGEST

    def is_silent(self) -> bool:
        self.polls += 1
        return not self.more.is_set() and time.monotonic() < self.until

    def chunks(self) -> Iterator[bytes]:
        try:
            yield self.first
            while self.is_silent():
                if self.pause is not None:
                    time.sleep(self.pause)
                yield b""
            yield b"end"
        finally:
            self.closed += 1

    async def achunks(self) -> AsyncIterator[bytes]:
        try:
            yield self.first
            while self.is_silent():
                if self.pause is not None:
                    await asyncio.sleep(self.pause)
                yield b""
            yield b"end"
        finally:
            self.closed += 1

    @property
    def gave_up(self) -> bool:
        return time.monotonic() >= self.until


KINDS: dict[str, Callable[[Poll], Any]] = {
    "generator": Poll.chunks,
    "callable": lambda poll: poll.chunks,
    "iterator": lambda poll: map(bytearray, poll.chunks()),
}
ASYNC_KINDS: dict[str, Callable[[Poll], Any]] = {
    **KINDS,
    "async generator": Poll.achunks,
    "async callable": lambda poll: poll.achunks,
}


@pairwise(method=METHODS, prefetch=[0, 1], kind=KINDS, first=[DATA, DATA[:9], b""])
def test_what_is_ready_leaves_while_a_source_polls(kind: str, first: bytes, method: Any, prefetch: int) -> None:
    poll = Poll(first)
    entries: list[Any] = [("a", b"ready"), Entry("log", KINDS[kind](poll))]
    stream = stream_zip(entries, compression=method, prefetch=prefetch)
    got = next(stream)
    assert not poll.gave_up
    poll.more.set()
    assert members(got + stream.read()) == {"a": b"ready", "log": first + b"end"}
    assert poll.closed == 1


@pairwise(factory=LOOPS.values(), method=METHODS, prefetch=[0, 1], kind=ASYNC_KINDS)
def test_an_event_loop_gets_what_is_ready_while_a_source_polls(
    factory: Factory, kind: str, method: Any, prefetch: int
) -> None:
    async def main() -> None:
        poll = Poll(DATA)
        entries: list[Any] = [("a", b"ready"), Entry("log", ASYNC_KINDS[kind](poll))]
        stream = async_stream_zip(entries, compression=method, prefetch=prefetch)
        got = await anext(stream)
        assert not poll.gave_up
        poll.more.set()
        assert members(got + await stream.read()) == {"a": b"ready", "log": DATA + b"end"}
        assert poll.closed == 1

    run(main(), factory)


@pytest.mark.parametrize("method", ["deflate", "stored"])
@pytest.mark.parametrize("password", [None, "secret"])
def test_a_source_that_polls_lets_go_all_that_it_gave(method: Any, password: str | None) -> None:
    if password:
        module("Crypto")
    poll = Poll(noise(1, 128_000))
    stream = stream_zip([("log", poll.chunks())], compression=method, password=password)
    got = next(stream)
    while len(got) < 128_000:
        got += next(stream)
    assert not poll.gave_up
    poll.more.set()
    whole = got + stream.read()
    assert password or members(whole) == {"log": poll.first + b"end"}


@pytest.mark.patient
def test_polls_between_data_change_no_byte_of_it() -> None:
    """Nor of its header, as long as nobody has to wait for it."""
    pieces = [DATA[at : at + 1000] for at in range(0, len(DATA), 1000)]

    def polled() -> Iterator[bytes]:
        for piece in pieces:
            yield from (b"", piece, b"", bytearray())  # type: ignore[misc]

    for method in ("stored", "deflate"):
        archives = [
            stream_zip([Entry("a", source, modified=1_700_000_000)], compression=method).read()
            for source in (iter(pieces), polled())
        ]
        assert archives[0] == archives[1]


@PREFETCH
def test_a_source_that_only_polls_is_an_empty_member_with_a_complete_header(prefetch: int) -> None:
    poll = Poll(b"")
    threading.Timer(0.3, poll.more.set).start()
    source = (chunk for chunk in poll.chunks() if not chunk)
    archive = stream_zip([("a", source)], prefetch=prefetch).read()
    assert archive[6:8] == b"\0\0"
    assert members(archive) == {"a": b""}


@pairwise(factory=LOOPS.values(), prefetch=[0, 1], pause=[0.01, 0.0, None], kind=ASYNC_KINDS, first=[DATA, b""])
def test_a_stream_whose_source_polls_can_be_cancelled(
    factory: Factory, kind: str, first: bytes, pause: float | None, prefetch: int
) -> None:
    async def main() -> None:
        poll = Poll(first, pause)
        stream = async_stream_zip([("a", b"a"), Entry("log", ASYNC_KINDS[kind](poll))], prefetch=prefetch)
        task = asyncio.create_task(_consumed(stream))
        await until(lambda: poll.polls >= 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not poll.gave_up
        assert poll.closed == 1 or kind == "iterator"  # which cannot be closed

    run(main(), factory)


async def _consumed(stream: AsyncZipStream) -> None:
    async for _ in stream:
        pass


def test_a_prefetched_source_that_polls_does_not_hold_the_end_of_a_stream() -> None:
    poll = Poll(b"")
    stream = stream_zip([("a", bytes(10**6)), ("log", poll.chunks())], prefetch=1)
    next(stream)
    while not poll.polls:
        time.sleep(0.001)
    stream.close()
    assert not poll.gave_up
    assert poll.closed == 1


# Silent ones.


class _Spoken:
    """An asynchronous source that says a word, and the next one only when that has left in the archive."""

    def __init__(self) -> None:
        self.words = [noise(each, 60) for each in range(4)]
        self.seen = asyncio.Event()
        self._next = 0
        self.closed = 0

    async def read(self, size: int = -1) -> bytes:
        if self._next:
            async with asyncio.timeout(LONGEST):
                await self.seen.wait()
            self.seen.clear()
            await asyncio.sleep(0.15 if self._next == 2 else 0)  # longer than a consumer is patient, too
        self._next += 1
        return self.words[self._next - 1] if self._next <= len(self.words) else b""

    async def generate(self) -> AsyncIterator[bytes]:
        while word := await self.read():
            yield word

    async def aclose(self) -> None:
        self.closed += 1


@PREFETCH
@pytest.mark.parametrize("kind", ["file", "generator"])
def test_a_little_that_an_asynchronous_source_gives_does_not_wait_for_more(
    factory: Factory, kind: str, prefetch: int
) -> None:
    async def main() -> None:
        spoken = _Spoken()
        source = spoken if kind == "file" else spoken.generate()
        stream = async_stream_zip(
            [("a", b"ready"), ("log", source)], compression="stored", lookahead=0, prefetch=prefetch
        )
        got, heard = b"", 0
        async for chunk in stream:
            got += chunk
            if heard < len(spoken.words) and spoken.words[heard] in got:
                heard += 1
                spoken.seen.set()
        assert members(got) == {"a": b"ready", "log": b"".join(spoken.words)}

    run(main(), factory)


class Gate:
    """Something that waits until the consumer has had the bytes before it."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.late = False

    async def wait(self) -> None:
        try:
            await asyncio.wait_for(self.event.wait(), LONGEST)
        except TimeoutError:
            self.late = True


async def _slow_chunks(gate: Gate) -> AsyncIterator[bytes]:
    await gate.wait()
    yield b"later"


async def _slow_open(gate: Gate) -> bytes:
    await gate.wait()
    return b"later"


class _SlowContext:
    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    async def __aenter__(self) -> AsyncIterator[bytes]:
        await self.gate.wait()
        return _slow_chunks(self.gate)

    async def __aexit__(self, *_: object) -> None:
        pass


class _SlowReader:
    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.left = b"later"

    async def read(self, size: int) -> bytes:
        await self.gate.wait()
        data, self.left = self.left, b""
        return data


SLOW: dict[str, Callable[[Gate], Any]] = {
    "generator": _slow_chunks,
    "callable": lambda gate: lambda: _slow_chunks(gate),
    "awaitable": _slow_open,
    "async callable": lambda gate: lambda: _slow_open(gate),
    "context manager": _SlowContext,
    "file": _SlowReader,
}


async def _entries_before_a_slow(gate: Gate, kind: str) -> AsyncIterator[Any]:
    yield "ready", b"ready"
    if kind == "entries":
        await gate.wait()
        yield "slow", b"later"
    else:
        yield "slow", SLOW[kind](gate)


@pairwise(factory=LOOPS.values(), method=METHODS, prefetch=[0, 1], kind=[*SLOW, "entries"], listed=[True, False])
def test_what_is_ready_leaves_before_a_silent_source(
    factory: Factory, kind: str, method: Any, prefetch: int, listed: bool
) -> None:
    listed = listed and kind != "entries"

    async def main() -> None:
        gate = Gate()
        entries: Any = _entries_before_a_slow(gate, kind)
        if listed:
            entries = [("ready", b"ready"), ("slow", SLOW[kind](gate))]
        stream = async_stream_zip(entries, compression=method, prefetch=prefetch)
        got = await anext(stream)
        gate.event.set()
        whole = got + await stream.read()
        assert not gate.late
        assert members(whole) == {"ready": b"ready", "slow": b"later"}

    run(main(), factory)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["generator", "callable", "file"])
def test_a_synchronous_stream_hands_over_before_a_silent_source_that_it_prefetches(kind: str, method: Any) -> None:
    had, late = threading.Event(), []

    def wait() -> None:
        late.append(not had.wait(LONGEST))

    def chunks() -> Iterator[bytes]:
        wait()
        yield b"later"

    class File:
        left = b"later"

        def read(self, size: int) -> bytes:
            wait()
            data, self.left = self.left, b""
            return data

    def called() -> bytes:
        wait()
        return b"later"

    slow: Any = {"generator": chunks(), "callable": called, "file": File()}[kind]
    stream = stream_zip([("ready", b"ready"), ("slow", slow)], prefetch=1, compression=method)
    got = next(stream)
    had.set()
    assert members(got + stream.read()) == {"ready": b"ready", "slow": b"later"}
    assert not any(late)


class Blocked:
    """What waits on a thread until the consumer has had the bytes before it."""

    def __init__(self) -> None:
        self.had = threading.Event()
        self.late = False
        self.waits = 0

    def wait(self) -> None:
        self.waits += 1
        self.late = self.late or not self.had.wait(LONGEST)

    def chunks(self) -> Iterator[bytes]:
        self.wait()
        yield b"later"

    def called(self) -> bytes:
        self.wait()
        return b"later"

    def stalls(self) -> Iterator[bytes]:
        yield b"lat"
        self.wait()
        yield b"er"

    def read(self, size: int) -> bytes:
        self.wait()
        data, self.left = self.left, b""
        return data

    left = b"later"


BLOCKED: dict[str, Callable[[Blocked], Any]] = {
    "generator": Blocked.chunks,
    "callable": lambda blocked: blocked.called,
    "callable for a generator": lambda blocked: blocked.chunks,
    "stall": Blocked.stalls,
    "file": lambda blocked: blocked,
}


def _entries_before_a_blocked(blocked: Blocked, kind: str) -> Iterator[Any]:
    yield "ready", b"ready"
    if kind == "entries":
        blocked.wait()
        yield "slow", b"later"
    else:
        yield "slow", BLOCKED[kind](blocked)


@pairwise(factory=LOOPS.values(), method=METHODS, prefetch=[0, 1], kind=[*BLOCKED, "entries"], listed=[True, False])
def test_what_is_ready_leaves_before_a_source_that_blocks_its_thread(
    factory: Factory, kind: str, method: Any, prefetch: int, listed: bool
) -> None:
    listed = listed and kind != "entries"

    async def main() -> None:
        blocked = Blocked()
        entries: Any = _entries_before_a_blocked(blocked, kind)
        if listed:
            entries = [("ready", b"ready"), ("slow", BLOCKED[kind](blocked))]
        stream = async_stream_zip(entries, compression=method, prefetch=prefetch)
        got = await anext(stream)
        blocked.had.set()
        whole = got + await stream.read()
        assert not blocked.late
        assert members(whole) == {"ready": b"ready", "slow": b"later"}

    run(main(), factory)


@pytest.mark.parametrize("way", ["close", "cancel"])
def test_a_stream_can_be_given_up_while_a_thread_waits(factory: Factory, way: str) -> None:
    async def main() -> None:
        blocked = Blocked()
        stream = async_stream_zip([("ready", b"ready"), ("slow", blocked.chunks()), ("more", b"more")])
        got = await anext(stream)
        task = asyncio.create_task(stream.aclose() if way == "close" else _consumed(stream))
        await asyncio.sleep(0.01)
        if way == "cancel":
            task.cancel()
        blocked.had.set()
        await asyncio.wait([task])
        assert task.cancelled() is (way == "cancel")
        assert not blocked.late
        assert b"ready" in got
        with pytest.raises(Exception, match="incomplete"):
            await stream.read()

    run(main(), factory)


@pytest.mark.parametrize("method", ["stored", "deflate"])
def test_how_slow_a_silent_source_is_does_not_show(factory: Factory, method: Any) -> None:
    async def pieces(waits: float) -> AsyncIterator[bytes]:
        for at in range(0, 60_000, 20_000):
            yield DATA[at : at + 20_000]
            await asyncio.sleep(waits)

    async def archive(waits: float) -> bytes:
        async def entries() -> AsyncIterator[Entry]:
            for name in "ab":
                await asyncio.sleep(waits)
                yield Entry(name, pieces(waits), modified=1_700_000_000)

        return await async_stream_zip(entries(), compression=method).read()

    async def main() -> None:
        slow, fast = await asyncio.gather(archive(0.15), archive(0))
        assert slow == fast

    run(main(), factory)


@PREFETCH
@pytest.mark.parametrize("failure", [ValueError("no more"), asyncio.CancelledError()], ids=["error", "cancelled"])
def test_entries_that_are_broken_off_are_no_end_of_an_archive(
    factory: Factory, failure: BaseException, prefetch: int
) -> None:
    """Also if the iterable itself raises CancelledError."""

    async def entries() -> AsyncIterator[Any]:
        yield "a", b"a"
        raise failure

    async def main() -> None:
        stream = async_stream_zip(entries(), prefetch=prefetch)
        got = b""
        with pytest.raises(type(failure)):
            got += await stream.read()
        assert b"PK\5\6" not in got
        with suppress(Exception):
            got += await stream.read()
        assert b"PK\5\6" not in got

    run(main(), factory)


def test_entries_are_pulled_by_one_task_as_they_are_asked_for(factory: Factory) -> None:
    tasks: list[Any] = []

    async def entries() -> AsyncIterator[Any]:
        for number in range(5):
            tasks.append(asyncio.current_task())
            yield str(number), bytes(100_000)
        tasks.append(asyncio.current_task())

    async def main() -> None:
        stream = async_stream_zip(entries())
        assert tasks == []
        await anext(stream)
        assert len(tasks) <= 2
        await stream.read()
        assert len(tasks) == 6
        assert len(set(tasks)) == 1

    run(main(), factory)
