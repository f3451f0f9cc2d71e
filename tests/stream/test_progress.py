"""on_progress: what it is told, and when."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.strategies import Recipe, Watched, recipes
from zipstream_adapter import Entry, Progress, ZipStream, stream_zip


def watch(entries: Any, **options: Any) -> tuple[list[Progress], bytes]:
    told: list[Progress] = []
    archive = stream_zip(entries, on_progress=told.append, **options).read()
    return told, archive


def test_every_chunk_of_data_and_every_end_is_told() -> None:
    a = Entry("a", [b"12", b"", b"345"])
    b = Entry("b", b"6789", size=4)
    told, archive = watch([a, Entry.directory("d"), b])
    assert [(p.entry.name, p.entry_read, p.entry_size, p.read, p.members) for p in told] == [
        ("a", 2, None, 2, 0),
        ("a", 5, None, 5, 0),
        ("a", 5, None, 5, 1),
        ("d/", 0, 0, 5, 2),
        ("b", 4, 4, 9, 2),
        ("b", 4, 4, 9, 3),
        ("b", 4, 4, 9, 3),
    ]
    assert told[0].entry is a
    assert told[-1].entry is b
    # Before the last: all of it but the directory and the end record, each row of 46 bytes with its name and its date.
    rows = sum(46 + len(name) + 9 for name in ("a", "d/", "b"))
    assert [p.written for p in told[-2:]] == [len(archive) - rows - 22, len(archive)]


def test_a_directory_has_a_size_of_0() -> None:
    told, _ = watch([Entry.directory("d"), ("e/", None)])
    assert [(p.entry.name, p.entry_read, p.entry_size) for p in told] == [
        ("d/", 0, 0),
        ("e/", 0, 0),
        ("e/", 0, 0),
    ]


@given(recipes(), st.sampled_from([0, 100, 65536]), st.sampled_from([0, 10, 65536]))
def test_what_is_told_adds_up(made: list[Recipe], chunk_size: int, lookahead: int) -> None:
    told, archive = watch([recipe.entry() for recipe in made], chunk_size=chunk_size, lookahead=lookahead)
    for before, after in itertools.pairwise(told):
        assert before.read <= after.read
        assert before.written <= after.written
        assert after.members - before.members in (0, 1)
    ends = [last for _, group in itertools.groupby(told, lambda p: p.entry.name) for last in list(group)[-1:]]
    assert [(p.entry.name, p.entry_read, p.members) for p in ends] == [
        (recipe.name, len(recipe.data), count) for count, recipe in enumerate(made, start=1)
    ]
    assert [p.read for p in ends] == list(itertools.accumulate(len(recipe.data) for recipe in made))
    assert all(p.entry_size in (None, len(recipe.data)) for p, recipe in zip(ends, made, strict=True))
    assert {p.members_total for p in told} <= {len(made)}
    totals = {p.read_total for p in told}
    assert totals <= {None} or totals == {sum(len(recipe.data) for recipe in made)}
    assert all(p.written < len(archive) for p in told[:-1])
    assert told == [] or told[-1].written == len(archive)


@pytest.mark.parametrize("kind", [list, tuple])
def test_totals_are_known_where_every_entry_states_its_size(
    kind: Callable[[list[Any]], Sequence[Any]], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1234567")
    entries = [
        ("bytes", b"12"),
        ("array", bytearray(b"345")),
        Entry("stated", iter([b"0"] * 5), size=5),
        str(path),
        Entry.directory("d"),
        Entry.symlink("link", "target"),
        {"name": "mapping", "stream": iter([b"ab"]), "size": 2},
    ]
    told, _ = watch(kind(entries))
    assert {(p.members_total, p.read_total) for p in told} == {(7, 2 + 3 + 5 + 7 + 0 + 6 + 2)}
    assert told[-1].read == told[-1].read_total


@pytest.mark.parametrize("source", [memoryview(b"1234"), array("H", [1, 2])])
def test_totals_count_whatever_has_its_bytes_in_memory(source: Any) -> None:
    told, _ = watch([("a", source)])
    assert {(p.entry_size, p.read_total) for p in told} == {(4, 4)}


def test_totals_are_none_where_they_are_not_known() -> None:
    told, _ = watch([("a", b"1"), ("b", iter([b"2"]))])
    assert {(p.members_total, p.read_total) for p in told} == {(2, None)}
    told, _ = watch(iter([("a", b"1"), ("b", b"2")]))
    assert {(p.members_total, p.read_total) for p in told} == {(None, None)}


def test_asking_for_totals_opens_nothing() -> None:
    calls = Watched([b"1"])
    sources = Watched([b"2"])
    first: list[tuple[int, int]] = []

    def look(progress: Progress) -> None:
        first.append((calls.asked, sources.asked))

    stream_zip([("a", b"0"), ("b", calls.__next__), ("c", sources)], on_progress=look).read()
    assert first[0] == (0, 0)


def test_progress_is_told_before_the_consumer_asks_for_more() -> None:
    told: list[Progress] = []
    stream = stream_zip(
        [("a", [b"1" * 50] * 4)], compression="stored", lookahead=0, chunk_size=0, on_progress=told.append
    )
    seen = [(len(chunk), len(told)) for chunk in stream]
    # The header and the first chunk leave before the first report, which follows the chunk it is about.
    assert seen[:4] == [(40, 0), (50, 0), (50, 1), (50, 2)]


def test_replaced_and_left_out_entries_are_told_as_what_they_became() -> None:
    def mend(entry: Any, error: Exception) -> Entry | None:
        return None if entry.name == "gone" else Entry(entry.name, b"mended")

    entries = [("bad", Watched([b"12", ValueError()])), ("gone", Watched([b"345", ValueError()])), ("c", b"6")]
    told, archive = watch(entries, on_error=mend)
    assert oracles.members(archive) == {"bad": b"mended", "c": b"6"}
    ends = {(p.entry.name, p.members): (p.entry_read, p.read) for p in told}
    # What was read of an entry that failed counts while it is read, and is not kept.
    assert ends["bad", 1] == (6, 6)
    assert ends["c", 2] == (1, 7)


@pytest.mark.parametrize("error", [ValueError("stop"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(5))
def test_an_exception_in_it_ends_the_stream(error: BaseException, at: int) -> None:
    source = Watched([b"1", b"2"])
    calls = itertools.count()

    def fail(progress: Progress) -> None:
        if next(calls) == at:
            raise error

    stream: ZipStream = stream_zip([("a", source), ("b", _one())], on_progress=fail)
    with pytest.raises(type(error)) as caught:
        stream.read()
    assert caught.value is error
    assert source.closed == 1
    with pytest.raises(ValueError, match="failed before"):
        stream.read()


def _one() -> Iterator[bytes]:
    yield b"3"
