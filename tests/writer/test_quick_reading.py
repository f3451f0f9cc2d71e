"""Members that are written whole: nothing is read too early, and finished data is handed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from tests.support.both_ways import DATA, LONG_WAY, Odd
from zipstream_adapter import stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK
from zipstream_adapter._concurrency.patience import PATIENCE
from zipstream_adapter._stream.sync import stream_with


class Source:
    """`count` items of `size` bytes of noise, made as they are asked for; counts what it gave."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        try:
            for number in range(self.count):
                self.taken += 1
                yield str(number), DATA["noise"][: self.size]
        finally:
            self.closed = True


@pytest.mark.parametrize("compression", ["stored", "deflate", "auto"])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("size", [1000, 100_000, BLOCK - 1])
def test_reading_ahead_is_bounded(size: int, workers: int, compression: Any) -> None:
    source = Source(24 * BLOCK // size, size)
    level = None if compression == "stored" else 1
    handed, most = 0, 0
    for chunk in stream_zip(iter(source), compression=compression, level=level, workers=workers):
        most = max(most, source.taken * size - handed)
        handed += len(chunk)
    assert size <= most <= (workers + 3) * BLOCK


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_is_touched_before_it_is_asked_for_nor_after_the_end(workers: int, tmp_path: Path) -> None:
    touched: list[int] = []

    class Watched(Odd):
        def __fspath__(self) -> Any:
            touched.append(1)
            return self.what

    path = tmp_path / "file"
    path.write_bytes(DATA["noise"][:1000])
    entries = ((str(number), Watched(str(path))) for number in range(5000))
    stream = stream_zip(entries, compression="deflate", workers=workers)
    assert not touched
    next(stream)
    ahead = len(touched)
    assert 0 < ahead <= (workers + 3) * BLOCK // 1000
    stream.close()
    assert len(touched) == ahead
    assert list(entries) == []


@pytest.mark.parametrize("dropped", [False, True])
def test_a_stream_that_is_closed_or_dropped_closes_its_entries(dropped: bool) -> None:
    source = Source(5000, 1000)
    stream = stream_zip(iter(source), compression="deflate", workers=2)
    next(stream)
    if not dropped:
        stream.close()
    del stream
    assert source.closed
    assert source.taken < 5000


@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_what_is_there_is_handed_over_when_the_entries_are_slow(compression: Any) -> None:
    reached = []

    def entries() -> Iterator[tuple[str, bytes]]:
        for name in ("first", "second", "late", "after"):
            if name == "late":
                sleep(PATIENCE * 1.05)
            reached.append(name)
            yield name, DATA["noise"][:100]

    stream = stream_zip(entries(), compression=compression)
    handed = b""
    while "late" not in reached:
        handed += next(stream)
    assert reached == ["first", "second", "late"]
    assert [info.filename for info in stream.infolist()] == reached
    assert handed.count(b"PK\3\4") == 3


@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_full_chunks_are_handed_over_before_a_long_member_is_waited_for(compression: Any) -> None:
    begun = []

    def slow() -> Iterator[bytes]:
        begun.append(True)
        yield b"data"

    short = [(str(number), DATA["noise"][:1000]) for number in range(200)]
    stream = stream_zip([*short, ("slow", slow())], compression=compression, workers=0)
    handed = 0
    while not begun:
        handed += len(next(stream))
    assert handed > 200_000 - (1 << 16)


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt()])
def test_entries_that_fail_end_the_stream(error: BaseException) -> None:
    def entries() -> Iterator[tuple[str, bytes]]:
        yield "a", b"1"
        raise error

    for way in ({}, LONG_WAY):
        stream = stream_with(entries(), compression="deflate", on_error=lambda entry, exc: None, **way)
        with pytest.raises(type(error)) as caught:
            list(stream)
        assert caught.value is error
        assert not hasattr(error, "__notes__")


class Told:
    """An iterator of `count` chunks of 7 bytes, which tells in `events` what is asked of it."""

    def __init__(self, name: str, count: int, events: list[str]) -> None:
        self.name, self.left, self.events = name, count, events

    def __iter__(self) -> Iterator[bytes]:
        self.events.append(f"{self.name} begun")
        return self

    def __next__(self) -> bytes:
        self.events.append(f"{self.name} asked")
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return DATA["noise"][:7]

    def close(self) -> None:
        self.events.append(f"{self.name} closed")


@pytest.mark.parametrize("lookahead", [0, 10, 65536])
@pytest.mark.parametrize("compression", ["stored", "deflate", "auto"])
@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "b", "b"], ["a", "../b", "c"]])
def test_iterables_are_asked_and_closed_in_the_same_order(names: list[str], compression: Any, lookahead: int) -> None:
    def told(way: dict[str, Any]) -> list[str]:
        events: list[str] = []
        entries = ((name, Told(f"{at} {name}", at, events)) for at, name in enumerate(names))
        stream = stream_with(entries, compression=compression, lookahead=lookahead, chunk_size=100, **way)
        try:
            events.extend("a chunk" for _ in stream if events)
        except ValueError as exc:
            events.append(str(exc))
        return [event for event in events if event != "a chunk"]

    assert told({}) == told(LONG_WAY)


@pytest.mark.parametrize("lookahead", [0, 65536])
def test_what_a_slow_iterable_has_given_is_handed_over(lookahead: int) -> None:
    """At the latest when the next piece makes the consumer wait."""
    reached = []

    def slow() -> Iterator[bytes]:
        for number in range(3):
            reached.append(number)
            yield DATA["noise"][:1000]
            sleep(PATIENCE * 1.05)

    quick = [(str(number), iter([b"x"])) for number in range(3)]
    stream = stream_zip([*quick, ("slow", slow())], compression="stored", lookahead=lookahead)
    handed = next(stream)
    while handed.count(b"PK\3\4") < 3 + (lookahead == 0):
        handed += next(stream)
    assert reached == [0, 1][: len(reached)]  # on a machine that stalls it leaves earlier
