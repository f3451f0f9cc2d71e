"""Sinks: every byte leaves once and in order, in chunks of the right size, and none after a failure."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipstream_adapter import OptionError, PoisonedError
from zipstream_adapter._writer.sink import DEFAULT_CHUNK_SIZE, FileSink, StreamSink

# (data, whole, whether what is ready is taken afterwards; None: everything is)
writes = st.lists(st.tuples(st.binary(max_size=40), st.booleans(), st.sampled_from([False, True, None])), max_size=30)


@given(writes, st.integers(0, 25))
def test_every_byte_leaves_once_in_order_and_in_chunks_of_the_right_size(
    steps: list[tuple[bytes, bool, bool | None]], chunk_size: int
) -> None:
    sink = StreamSink(chunk_size)
    written = b""
    chunks: list[bytes] = []
    for data, whole, takes in steps:
        assert sink.write(data, pass_through=whole) == len(data)
        written += data
        assert sink.tell() == len(written)
        if takes is not False:
            chunks += sink.take(everything=takes is None)
            # Less than one chunk ever waits to be joined.
            assert sink.pending < max(chunk_size, 1)
            assert takes or sink.pending == 0
        assert len(b"".join(chunks)) + sink.pending == len(written)
    chunks += sink.take(everything=True)
    assert b"".join(chunks) == written
    assert b"" not in chunks
    largest_whole = max((len(data) for data, whole, _ in steps if whole), default=0)
    assert all(len(chunk) <= max(chunk_size or 40, largest_whole) for chunk in chunks)
    assert sink.take(everything=True) == []


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 25))
def test_without_whole_writes_all_chunks_but_the_last_are_of_exactly_the_size(
    pieces: list[bytes], chunk_size: int
) -> None:
    sink = StreamSink(chunk_size)
    for piece in pieces:
        sink.write(piece)
    ready = sink.take()
    assert {len(chunk) for chunk in ready} <= {chunk_size}
    assert len(b"".join(sink.take(everything=True))) == sum(map(len, pieces)) % chunk_size


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.booleans()), max_size=30), st.integers(0, 25))
def test_a_whole_write_is_never_cut(steps: list[tuple[bytes, bool]], chunk_size: int) -> None:
    sink = StreamSink(chunk_size)
    for data, whole in steps:
        sink.write(data, pass_through=whole)
    ends, at = [], 0
    for chunk in sink.take(everything=True):
        at += len(chunk)
        ends.append(at)
    start = 0
    for data, whole in steps:
        end = start + len(data)
        assert not whole or not any(start < place < end for place in ends)
        start = end


@pytest.mark.parametrize("chunk_size", [0, 1, 10, 100])
def test_a_whole_write_of_a_chunk_or_more_passes_as_the_very_object(chunk_size: int) -> None:
    sink = StreamSink(chunk_size)
    large = bytes(range(100))
    sink.write(b"small")
    sink.write(large, pass_through=True)
    *_, last = sink.take(everything=True)
    assert last is large


def test_a_whole_write_that_fits_what_is_left_of_a_chunk_is_joined() -> None:
    sink = StreamSink(10)
    for size in (4, 6, 4, 7):
        sink.write(bytes(size), pass_through=size > 4)
    assert list(map(len, sink.take())) == [10, 4, 7]


def test_a_small_write_alone_is_not_copied() -> None:
    for chunk_size, everything in ((0, False), (5, False), (100, True)):
        sink = StreamSink(chunk_size)
        piece = b"piece"
        sink.write(piece)
        (chunk,) = sink.take(everything)
        assert chunk is piece


def test_without_a_chunk_size_every_write_is_ready_at_once_and_still_cut() -> None:
    sink = StreamSink(0)
    sink.write(b"a")
    sink.write(b"")
    sink.write(b"bc")
    assert sink.take() == [b"a", b"bc"]
    sink.write(bytes(2 * DEFAULT_CHUNK_SIZE + 1))
    assert list(map(len, sink.take())) == [DEFAULT_CHUNK_SIZE, DEFAULT_CHUNK_SIZE, 1]


@pytest.mark.parametrize("chunk_size", [-1, 1.5, "64K", None, True])
def test_a_chunk_size_that_is_no_number_of_bytes_is_refused(chunk_size: Any) -> None:
    with pytest.raises(OptionError, match=f"^chunk_size={chunk_size!r}: "):
        StreamSink(chunk_size)


# What both sinks are to zipfile, and their poison


class Target(io.BytesIO):
    """Keeps what it got, and counts flushes."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def both() -> list[StreamSink | FileSink]:
    return [StreamSink(4), FileSink(Target())]


def test_a_sink_neither_seeks_nor_reads() -> None:
    for sink in both():
        sink.write(b"data")
        with pytest.raises(
            io.UnsupportedOperation, match="being streamed cannot be seeked, or read back while it is written"
        ):
            sink.seek(0)
        with pytest.raises(
            io.UnsupportedOperation, match="being streamed cannot be seeked, or read back while it is written"
        ):
            sink.read()
        assert sink.tell() == 4


def test_a_poisoned_sink_takes_nothing_more() -> None:
    for sink in both():
        sink.write(b"before")
        sink.poison()
        for data in (b"after", b""):
            with pytest.raises(PoisonedError, match="nothing can be added"):
                sink.write(data)
        assert (sink.poisoned, sink.tell()) == (True, 6)


def test_poison_drops_what_has_not_left() -> None:
    sink = StreamSink(4)
    sink.write(b"ready and waiting")
    sink.poison()
    assert (sink.pending, sink.take(), sink.take(everything=True)) == (0, [], [])


# FileSink


class Writer:
    """Takes what its answers say, in turn, and at the end all: a count, None, or an error to raise."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.got = b""

    def write(self, data: bytes) -> Any:
        answer = self.answers.pop(0) if self.answers else len(data)
        if isinstance(answer, BaseException):
            raise answer
        self.got += data[:answer] if type(answer) is int else data
        return answer


class RawWriter(Writer, io.RawIOBase):  # type: ignore[misc]
    """The same as a raw file, where None means that it would have had to wait."""


def test_every_write_goes_on_at_once_and_flush_only_when_asked() -> None:
    target = Target()
    sink = FileSink(target)
    assert sink.write(b"ab") == 2
    assert target.getvalue() == b"ab"
    assert sink.write(b"", pass_through=True) == 0
    sink.write(b"c", pass_through=True)
    assert (target.getvalue(), sink.tell(), target.flushes) == (b"abc", 3, 0)
    sink.flush()
    assert target.flushes == 1
    sink.poison()
    sink.flush()
    assert target.flushes == 1
    FileSink(Writer()).flush()  # has none


@given(st.lists(st.binary(max_size=30), max_size=8), st.lists(st.integers(1, 4), max_size=60))
def test_a_short_write_is_continued(pieces: list[bytes], counts: list[int]) -> None:
    target = Writer()
    sink = FileSink(target)
    for piece in pieces:
        # No write takes more than it was given: at the end of a piece the rest of its counts is dropped.
        target.answers, left = [], len(piece)
        while left and counts:
            target.answers.append(min(counts.pop(), left))
            left -= target.answers[-1]
        assert sink.write(piece) == len(piece)
    assert target.got == b"".join(pieces)
    assert sink.tell() == len(target.got)


def test_none_from_a_frameworks_response_means_taken() -> None:
    target = Writer(None, None)
    sink = FileSink(target)
    sink.write(b"first,")
    sink.write(b"second")
    assert (target.got, sink.tell()) == (b"first,second", 12)


def test_none_from_a_raw_file_means_full() -> None:
    sink = FileSink(RawWriter(3, None))
    with pytest.raises(BlockingIOError, match="non-blocking and full"):
        sink.write(b"data")
    assert sink.poisoned


def test_a_full_pipe_that_does_not_block_is_refused() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "wb", buffering=0) as pipe:
        sink = FileSink(pipe)
        with pytest.raises(BlockingIOError, match="blocking or buffered file"):
            for _ in range(10_000):
                sink.write(bytes(4096))
        assert sink.poisoned
        assert sink.tell() >= 4096


@pytest.mark.parametrize("bogus", [0, -1, 5, 1 << 70])
def test_a_count_that_cannot_be_is_an_error(bogus: int) -> None:
    for answers in ((bogus,), (1, bogus)):
        sink = FileSink(Writer(*answers))
        with pytest.raises(OSError, match=rf"write\(\) of \d bytes returned {bogus}, which is not a possible count$"):
            sink.write(b"data")
        assert sink.poisoned


@pytest.mark.parametrize("bogus", ["4", 2.0, [4]])
def test_a_count_that_is_no_number_is_an_error_too(bogus: Any) -> None:
    sink = FileSink(Writer(bogus))
    with pytest.raises((TypeError, OSError)):
        sink.write(b"data")
    assert sink.poisoned


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), BrokenPipeError()])
@pytest.mark.parametrize("before", [(), (2,)], ids=["at once", "half-way"])
def test_a_failed_write_passes_through_and_poisons(error: BaseException, before: tuple[int, ...]) -> None:
    target = Writer(*before, error)
    sink = FileSink(target)
    with pytest.raises(type(error)) as caught:
        sink.write(b"data")
    assert caught.value is error
    # How much of it has left is unknown: a further byte would stand in the wrong place.
    with pytest.raises(PoisonedError):
        sink.write(b"more")
    assert target.got == b"data"[: sum(before)]


class Tells(Writer):
    def __init__(self, position: Any) -> None:
        super().__init__()
        self.position = position

    def tell(self) -> Any:
        if isinstance(self.position, Exception):
            raise self.position
        return self.position


@pytest.mark.parametrize(
    ("position", "start"),
    [
        (0, 0),
        (1000, 1000),
        (-1, 0),
        (None, 0),
        ("7", 0),
        (OSError(29, "Illegal seek"), 0),
        (io.UnsupportedOperation(), 0),
    ],
)
def test_offsets_count_from_where_the_file_says_it_stands(position: Any, start: int) -> None:
    sink = FileSink(Tells(position))
    assert sink.tell() == start
    sink.write(b"data")
    assert sink.tell() == start + 4


def test_a_file_opened_behind_other_data_starts_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"#!stub\n")
    with open(tmp_path / "a", "ab") as file:
        sink = FileSink(file)
        sink.write(b"data")
        assert sink.tell() == 11
    assert (tmp_path / "a").read_bytes() == b"#!stub\ndata"


@pytest.mark.parametrize(
    "file",
    [None, 5, "path", object(), cast(Any, type("NoWrite", (), {"write": 5})())],
    ids=lambda file: type(file).__name__,
)
def test_what_cannot_write_is_refused(file: Any) -> None:
    with pytest.raises(OptionError, match="needs a write\\(\\) that takes bytes"):
        FileSink(file)


def test_one_thread_can_write_while_another_takes() -> None:
    joining, go_on, written = threading.Event(), threading.Event(), threading.Event()

    class Slow(StreamSink):
        def _join(self) -> None:
            joining.set()
            go_on.wait(60)
            super()._join()

    def write() -> None:
        joining.wait(60)
        sink.write(b"second")
        written.set()

    def take() -> None:
        taken.extend(sink.take(everything=True))

    sink, taken = Slow(100), list[bytes]()
    sink.write(b"first")
    threads = [threading.Thread(target=run) for run in (take, write)]
    for thread in threads:
        thread.start()
    joining.wait(60)
    assert not written.wait(0.3), "the write came in between"
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert b"".join(taken + sink.take(everything=True)) == b"firstsecond"
