"""Entries that are fetched before their turn: nothing shows of it but the time that it saves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.async_sources import AsyncFile, AsyncIter, Ledger, SyncFile, SyncIterator
from tests.support.drivers import Driver
from tests.support.executors import Inline
from tests.support.faults import BoomError
from tests.support.loops import own_pool
from tests.support.strategies import Recipe, Watched, noise, recipes
from zipstream_adapter import Entry, OptionError, async_stream_zip, stream_zip
from zipstream_adapter._entries.async_source import JOINED
from zipstream_adapter._entries.prefetch import AHEAD

if TYPE_CHECKING:
    pass

DATE = 1_000_000_000
LONG = noise(1, 300_000)  # more than is fetched ahead
COUNTS = [1, 3, 50]


@pytest.fixture(autouse=True)
def _pool(monkeypatch: pytest.MonkeyPatch) -> None:
    own_pool(monkeypatch)


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def archive_of(way: str, entries: Iterable[Any], **options: Any) -> bytes:
    with Driver(way, entries, **options) as driver:
        return driver.rest()


@given(recipes(), st.sampled_from([1, 2, 5, 100]), st.sampled_from([0, 100, 65536]))
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.patient
def test_prefetch_does_not_show(way: str, made: list[Recipe], prefetch: int, chunk_size: int) -> None:
    plain = b"".join(stream_zip([recipe.entry() for recipe in made], chunk_size=chunk_size))
    assert archive_of(way, [recipe.entry() for recipe in made], prefetch=prefetch, chunk_size=chunk_size) == plain


@pytest.mark.parametrize("pieces", [1, 3])
def test_what_came_of_a_slow_source_is_handed_over_when_its_turn_has_come(pieces: int) -> None:
    arrived = threading.Event()

    def trickle() -> Iterator[bytes]:
        for _ in range(pieces):
            yield b"piece"
        assert arrived.wait(60), "nothing was handed over"
        yield b"end"

    entries: list[Any] = [("a", b"before"), ("slow", trickle())]
    stream = stream_zip(entries, compression="stored", prefetch=2, lookahead=0)
    archive = b""
    for chunk in stream:
        archive += chunk
        if b"piece" in archive:
            arrived.set()
    assert oracles.members(archive) == {"a": b"before", "slow": b"piece" * pieces + b"end"}


def test_paths_and_what_is_in_memory_and_directories_come_in_their_order(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(DATE))
    (tmp_path / "large").write_bytes(LONG)
    (tmp_path / "small").write_bytes(b"small")
    ledger = Ledger()

    def entries() -> list[Any]:
        return [
            tmp_path / "large",
            ("bytes", b"in memory"),
            Entry.directory("dir", modified=DATE),
            Entry("file", SyncFile(ledger), modified=DATE),
            {"name": "small", "file": tmp_path / "small"},
            Entry("generator", iter([LONG, LONG]), modified=DATE),
            Entry("array", bytearray(LONG), modified=DATE),
            Entry.from_path(tmp_path / "small", name="again"),
        ]

    assert archive_of(way, entries(), prefetch=3) == archive_of("sync", entries())


class Counting:
    """Makes sources, and counts those that are open: none can end before its turn."""

    def __init__(self) -> None:
        self.opened = self.ended = self.most = 0
        self._lock = threading.Lock()

    def entry(self, number: int, asynchronous: bool) -> Entry:
        return Entry(str(number), self._async_source if asynchronous else self._source, modified=DATE)

    def _begin(self) -> None:
        with self._lock:
            self.opened += 1
            self.most = max(self.most, self.opened - self.ended)

    def _source(self) -> Iterator[bytes]:
        self._begin()
        yield from (LONG, LONG, LONG)
        self.ended += 1

    async def _async_source(self) -> AsyncIterator[bytes]:
        self._begin()
        for _ in range(3):
            yield LONG
        self.ended += 1


@pytest.mark.parametrize("prefetch", COUNTS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_so_many_entries_are_fetched_and_no_more(way: str, prefetch: int, asynchronous: bool) -> None:
    if asynchronous and way == "sync":
        pytest.skip("for the event loop")
    counting = Counting()
    total = 9
    entries = Watched(counting.entry(number, asynchronous) for number in range(total))
    with Driver(way, entries, prefetch=prefetch) as driver:
        driver.next()
        driver.until(lambda: counting.opened >= min(total, 1 + prefetch))
        assert entries.asked <= 1 + prefetch + (prefetch > total)
        while counting.ended < total - 1:
            driver.next()
            driver.until(lambda: counting.opened >= min(total, counting.ended + prefetch))
        driver.rest()
    assert counting.most == min(total, 1 + prefetch)
    assert entries.closed == 1


def pieces(source: SyncIterator | AsyncIter, size: int) -> int:
    return source.asked * size


@pytest.mark.parametrize("size", [1000, AHEAD - 1, 3 * AHEAD])
def test_no_more_is_held_of_an_entry_than_is_said(way: str, size: int) -> None:
    ledger = Ledger()
    chunks = [noise(2, size)] * (4 * AHEAD // size + 4)
    source: Any = (SyncIterator if way == "sync" else AsyncIter)(ledger, chunks)
    on_thread = SyncIterator(ledger, chunks)
    entries = [Entry("first", iter([LONG, LONG])), Entry("second", source), Entry("third", on_thread)]
    with Driver(way, entries, prefetch=2) as driver:
        driver.next()
        driver.until(lambda: pieces(source, size) >= AHEAD and pieces(on_thread, size) >= AHEAD)
        joined = JOINED if way == "async" else 0
        assert pieces(source, size) < AHEAD + size + joined
        assert pieces(on_thread, size) < AHEAD + size
        driver.rest()
    assert ledger.open == ledger.closed_twice == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_they_are_waited_for_at_the_same_time(way: str, asynchronous: bool) -> None:
    if asynchronous and way == "sync":
        pytest.skip("for the event loop")
    count = 4
    here = threading.Barrier(count, timeout=60)
    begun: list[int] = []

    def source() -> Iterator[bytes]:
        here.wait()  # for all the others
        yield b"data"

    async def async_source() -> AsyncIterator[bytes]:
        begun.append(1)
        async with asyncio.timeout(60):
            while len(begun) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        yield b"data"

    entries = [Entry(str(number), async_source if asynchronous else source) for number in range(count)]
    assert len(oracles.members(archive_of(way, entries, prefetch=count))) == count


class Failing:
    """Entries of which some fail: each has what went wrong, and when."""

    def __init__(self, way: str, error: Exception) -> None:
        self.ledger = Ledger()
        self.kind: Any = SyncFile if way == "sync" else AsyncFile
        self.error = error

    def fails(self) -> Any:
        raise self.error

    def fails_later(self) -> Iterator[bytes]:
        yield b"first"
        raise self.error

    def entries(self, *, names: str = "abcdefg") -> Iterator[Entry]:
        sources = [self.kind(self.ledger), iter([LONG]), self.fails, self.kind(self.ledger)]
        sources += [self.fails_later, self.kind(self.ledger), iter([b"end"])]
        for name, source in zip(names, sources, strict=True):
            yield Entry(name, source, modified=DATE)


@pytest.mark.parametrize("prefetch", COUNTS)
@pytest.mark.patient
def test_an_error_waits_for_its_turn(way: str, prefetch: int) -> None:
    def outcome(count: int) -> tuple[Any, ...]:
        failing = Failing(way, BoomError("boom"))
        with Driver(way, failing.entries(), prefetch=count) as driver:
            left = b""
            with pytest.raises(BoomError) as caught:
                while True:
                    left += driver.next()
            done = [info.filename for info in driver.stream.infolist()]
        assert failing.ledger.open == failing.ledger.closed_twice == []
        return left, done, str(caught.value), caught.value.__notes__

    assert outcome(prefetch) == outcome(0)
    assert outcome(0)[1:] == (["a", "b"], "boom", ["(while adding entry 'c')"])


@pytest.mark.parametrize("prefetch", COUNTS)
def test_an_error_of_the_entries_waits_for_its_turn(way: str, prefetch: int) -> None:
    def entries() -> Iterator[Entry]:
        yield Entry("a", iter([LONG]), modified=DATE)
        yield Entry("b", iter([LONG]), modified=DATE)
        raise BoomError("boom")

    with Driver(way, entries(), prefetch=prefetch) as driver:
        with pytest.raises(BoomError):
            driver.rest()
        assert [info.filename for info in driver.stream.infolist()] == ["a", "b"]


@pytest.mark.parametrize("prefetch", COUNTS)
@pytest.mark.parametrize("answer", [None, Entry("instead", b"data", modified=DATE)])
@pytest.mark.patient
def test_on_error_has_the_same_to_decide(way: str, prefetch: int, answer: Entry | None) -> None:
    def outcome(count: int) -> tuple[Any, ...]:
        failing = Failing(way, BoomError("boom"))
        told: list[Any] = []

        def on_error(entry: Entry, exc: Exception) -> Entry | None:
            told.append((entry.name, str(exc), exc.__notes__.copy()))
            return answer

        options: dict[str, Any] = {"prefetch": count, "on_error": on_error, "duplicates": "rename"}
        with Driver(way, failing.entries(), **options) as driver:
            archive = driver.rest()
            skipped = [(entry.name, str(error)) for entry, error in driver.stream.skipped]
        assert failing.ledger.open == failing.ledger.closed_twice == []
        return archive, told, skipped

    assert outcome(prefetch) == outcome(0)


@pytest.mark.parametrize("prefetch", COUNTS)
@pytest.mark.parametrize("name", ["a", "../up", "a/"])
def test_what_is_fetched_for_a_refused_name_is_closed(way: str, prefetch: int, name: str) -> None:
    ledger = Ledger()
    kinds = [SyncFile] if way == "sync" else [SyncFile, AsyncFile]
    sources = [kind(ledger, [b"data"]) for kind in kinds]
    entries = [("a", b"1"), *((name, source) for source in sources), ("z", b"2")]
    archive = archive_of(way, entries, prefetch=prefetch, on_error=lambda entry, exc: None)
    assert [*oracles.members(archive)] == ["a", "z"]
    assert ledger.open == ledger.closed_twice == []
    assert all(source.closed for source in sources if source.touched)


def test_what_was_fetched_is_closed_where_those_before_it_fail(way: str) -> None:
    ledger = Ledger()
    source = SyncFile(ledger)

    def job(number: int, work: Callable[[], Any]) -> Any:
        raise BoomError

    entries = [*((str(each), noise(each, 50_000)) for each in range(8)), ("fetched", source)]
    options: dict[str, Any] = {"compression": "deflate", "executor": Inline(job), "workers": 1, "prefetch": 9}
    with Driver(way, entries, **options) as driver, pytest.raises(BoomError):
        driver.rest()
    assert source.touched <= source.closed <= 1  # it may be opened, and not read yet


@pytest.mark.parametrize("count", [1, 3, 5])
def test_what_was_fetched_is_closed_where_what_is_before_it_is_the_last_to_leave(way: str, count: int) -> None:
    ledger = Ledger()
    source = SyncFile(ledger)
    entries = [("small", noise(1, 6000)), ("fetched", source)]
    with Driver(way, entries, compression="deflate", chunk_size=1000, prefetch=9) as driver:
        for _ in range(count):
            driver.next()
        driver.until(lambda: source.touched)
    assert source.closed == 1


class BadlyClosing(SyncFile):
    def close(self) -> None:
        super().close()
        raise BoomError("closing")


@pytest.mark.parametrize("prefetch", COUNTS)
@pytest.mark.parametrize("kind", [SyncFile, SyncIterator, AsyncFile, AsyncIter, BadlyClosing])
def test_giving_up_closes_all_that_was_fetched(way: str, prefetch: int, kind: type[Any]) -> None:
    if kind in (AsyncFile, AsyncIter) and way == "sync":
        pytest.skip("for the event loop")
    for count in range(1, 8):
        ledger = Ledger()
        entries = Watched(Entry(str(each), kind(ledger, [LONG, LONG])) for each in range(6))
        with Driver(way, entries, prefetch=prefetch) as driver:
            for _ in range(count):
                driver.next()
            driver.until(lambda: sum(source.touched for source in ledger.sources) >= min(6, prefetch))  # noqa: B023
            try:
                driver.close()
            except BoomError:
                assert kind is BadlyClosing
        assert ledger.open == ledger.closed_twice == []
        assert entries.closed == 1


def test_closing_waits_for_what_blocks(way: str) -> None:
    waits, go = threading.Event(), threading.Event()
    ledger = Ledger()

    class Blocking(SyncFile):
        def read(self, size: int = -1) -> bytes:
            waits.set()
            assert go.wait(60)
            return super().read(size)

    source = Blocking(ledger)
    with Driver(way, [Entry("first", iter([LONG, LONG])), Entry("blocks", source)], prefetch=1) as driver:
        driver.next()
        driver.until(waits.is_set)
        timer = threading.Timer(0.05, go.set)
        timer.start()
        driver.close()
        assert go.is_set()
        assert source.closed == 1
        timer.join()


def test_a_buffer_that_is_used_again_is_copied() -> None:
    async def overwritten() -> AsyncIterator[bytearray]:
        buffer = bytearray()
        for value in range(40):
            buffer[:] = bytes([value]) * 70_000
            yield buffer

    archive = archive_of("async", [("a", b""), ("b", overwritten()), ("c", b"")], prefetch=2)
    assert oracles.members(archive)["b"] == b"".join(bytes([value]) * 70_000 for value in range(40))


_WHO: ContextVar[str] = ContextVar("_WHO", default="nobody")


def test_context_variables_are_there(way: str) -> None:
    def source() -> Iterator[bytes]:
        yield _WHO.get().encode()

    def entries() -> Iterator[Entry]:
        yield from (Entry(f"{_WHO.get()}{number}", source) for number in range(3))

    token = _WHO.set("me")
    try:
        members = oracles.members(archive_of(way, entries(), prefetch=2))
    finally:
        _WHO.reset(token)
    assert members == {"me0": b"me", "me1": b"me", "me2": b"me"}


@pytest.mark.parametrize("value", [-1, True, False, 1.0, "2", None, [1]])
def test_what_is_no_number_of_entries_is_refused(value: Any) -> None:
    for make in (stream_zip, async_stream_zip):
        with pytest.raises(OptionError, match="prefetch"):
            make([], prefetch=value)


def test_nothing_is_fetched_before_the_first_bytes_are_asked_for(way: str) -> None:
    ledger = Ledger()
    source = SyncFile(ledger)
    entries = Watched([Entry("a", source)])
    with Driver(way, entries, prefetch=5) as driver:
        driver.pause(0.02)
        assert entries.asked == 0
        assert not source.touched
    assert entries.closed == 1
    assert source.closed == 0


def badly_closed(begun: threading.Event | None = None) -> Iterator[bytes]:
    try:
        while True:
            if begun is not None:
                begun.set()
            yield LONG
    finally:
        raise ValueError("closing")


@pytest.mark.parametrize("error", [BoomError("cause"), KeyboardInterrupt("cause")], ids=["error", "interrupt"])
@pytest.mark.parametrize("options", [{}, {"compression": "deflate", "workers": 2}, {"on_error": None}])
def test_errors_of_closing_what_was_fetched_are_notes_of_the_failure(
    error: BaseException, options: dict[str, Any]
) -> None:
    others_began = [threading.Event(), threading.Event()]

    def failing() -> Iterator[bytes]:
        yield b"x"
        assert all(each.wait(60) for each in others_began)
        raise error

    if "on_error" in options:

        def refuse(entry: Entry, exc: Exception) -> None:
            raise exc

        options = {"on_error": refuse}
    others = [(f"other{number}", badly_closed(each)) for number, each in enumerate(others_began)]
    error.__notes__ = []
    stream = stream_zip([("failing", failing()), *others], prefetch=3, lookahead=0, **options)
    with pytest.raises(type(error), match="cause") as caught:
        stream.read()
    assert caught.value is error
    closing = [note for note in error.__notes__ if "closing" in note]
    assert closing == ["(and closing the entries raised ValueError('closing'))"] * 2
    assert ("(while adding entry 'failing')" in error.__notes__) == isinstance(error, Exception)


def test_so_are_those_of_an_asynchronous_stream() -> None:
    error = BoomError("cause")

    def failing() -> Iterator[bytes]:
        yield LONG
        raise error

    async def entries() -> AsyncIterator[Any]:
        try:
            yield "failing", failing()
            yield "other", badly_closed()
            yield "another", b""
        finally:
            raise ValueError("closing")

    for prefetch in (0, 1):
        error.__notes__ = []
        given: Any = entries()
        with Driver("async", given, prefetch=prefetch) as driver, pytest.raises(BoomError) as caught:
            driver.rest()
        assert caught.value is error
        assert error.__notes__ == [
            "(while adding entry 'failing')",
            "(and closing the entries raised ValueError('closing'))",
        ]


class FailsAndClosesBadly:
    """A source, or entries, whose `fails`-th step fails, as closing does."""

    def __init__(self, fails: int) -> None:
        self.left = fails

    def step(self, data: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise BoomError("cause")
        return data

    def close(self) -> None:
        raise ValueError("closing")


class BadFile(FailsAndClosesBadly):
    def read(self, size: int = -1) -> bytes:
        return bytes(self.step(LONG))


class BadIterator(FailsAndClosesBadly):
    def __iter__(self) -> BadIterator:
        if self.left == 0:
            self.step(b"")
        return self

    def __next__(self) -> bytes:
        return bytes(self.step(LONG))


class BadAsyncFile(FailsAndClosesBadly):
    async def read(self, size: int = -1) -> bytes:
        return bytes(self.step(LONG))

    async def close(self) -> None:  # type: ignore[override]
        super().close()


class BadAsyncIterator(FailsAndClosesBadly):
    def __aiter__(self) -> BadAsyncIterator:
        return self

    async def __anext__(self) -> bytes:
        return bytes(self.step(LONG))

    async def aclose(self) -> None:
        super().close()


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("fails", [0, 3])
@pytest.mark.parametrize("kind", [BadFile, BadIterator, BadAsyncFile, BadAsyncIterator])
def test_an_error_of_closing_the_failed_source_itself_is_a_note(
    way: str, kind: type[FailsAndClosesBadly], fails: int, prefetch: int
) -> None:
    if way == "sync" and kind in (BadAsyncFile, BadAsyncIterator):
        pytest.skip("for the event loop")
    with (
        Driver(way, [("a", kind(fails))], prefetch=prefetch) as driver,
        pytest.raises(BoomError, match="cause") as caught,
    ):
        driver.rest()
    assert sorted(caught.value.__notes__) == [
        "(and closing its source raised ValueError('closing'))",
        "(while adding entry 'a')",
    ]


class BadEntries(FailsAndClosesBadly):
    def __iter__(self) -> BadEntries:
        return self

    def __next__(self) -> Any:
        return self.step((str(self.left), b"data"))


class BadAsyncEntries(FailsAndClosesBadly):
    def __aiter__(self) -> BadAsyncEntries:
        return self

    async def __anext__(self) -> Any:
        return self.step((str(self.left), b"data"))

    async def aclose(self) -> None:
        super().close()


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("kind", [BadEntries, BadAsyncEntries])
def test_an_error_of_closing_the_failed_entries_is_a_note(way: str, kind: Any, prefetch: int) -> None:
    if way == "sync" and kind is BadAsyncEntries:
        pytest.skip("for the event loop")
    with Driver(way, kind(2), prefetch=prefetch) as driver, pytest.raises(BoomError, match="cause") as caught:
        driver.rest()
    assert caught.value.__notes__ == ["(and closing the entries raised ValueError('closing'))"]


def test_closing_a_stream_raises_the_error_of_closing_what_was_fetched() -> None:
    begun = threading.Event()
    stream = stream_zip([("a", iter([LONG, LONG])), ("other", badly_closed(begun))], prefetch=1)
    next(stream)
    assert begun.wait(60)
    with pytest.raises(ValueError, match="closing"):
        stream.close()
