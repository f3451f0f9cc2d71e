"""A walk is a collection: it has a length, a size and a date, and is walked once for them, when they are asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.oracles import members
from zipstream_adapter import Entry, Walk, ZipLayout, async_stream_zip, stream_zip, walk


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "empty").mkdir()
    for name, size, date in (("a.txt", 10, 1e9), ("sub/b.bin", 100_000, 1.5e9 + 0.5)):
        (root / name).write_bytes(b"x" * size)
        os.utime(root / name, (date, date))
    os.utime(root / "empty", (1e9, 1e9))
    return root


def counted(root: Path, times: list[str]) -> Walk:
    """A walk that records when the tree is walked."""
    made = walk(root)
    walked = made._entries

    def entries() -> Iterator[Entry]:
        times.append("walked")
        return walked()

    made._entries = entries
    return made


def test_it_has_a_length_a_size_and_a_date(tree: Path) -> None:
    found = walk(tree)
    assert (len(found), found.size) == (3, 100_010)
    assert found.last_modified == datetime.fromtimestamp(1.5e9, UTC)
    assert ZipLayout(found).last_modified == found.last_modified
    assert found.root == tree
    assert [entry.name for entry in found] == ["a.txt", "empty/", "sub/b.bin"]
    assert bool(found) and next(iter(found)) in found and Entry("other", b"") not in found
    (tree.parent / "nothing").mkdir()
    nothing = walk(tree.parent / "nothing")
    assert (len(nothing), nothing.size, nothing.last_modified, bool(nothing)) == (0, 0, None, False)


def test_links_and_dates_that_are_given_count(tree: Path) -> None:
    (tree / "link").symlink_to("a.txt")
    found = walk(tree, symlinks="store", modified=2e9)
    assert found.size == 100_010 + len("a.txt")
    assert found.last_modified == datetime.fromtimestamp(2e9, UTC)


def test_it_is_walked_once_and_only_if_that_is_needed(tree: Path) -> None:
    times: list[str] = []
    found = counted(tree, times)
    assert (repr(found), times) == (f"<walk of {str(tree)!r}>", [])
    assert [entry.name for entry in found] == [entry.name for entry in found]
    assert len(times) == 2  # nothing was kept
    assert (len(found), found.size, len(found), len([*found])) == (3, 100_010, 3, 3)
    assert len(times) == 3
    (tree / "c.txt").touch()
    assert len(found) == 3
    assert repr(found) == f"<walk of {str(tree)!r}: 3 entries>"


def test_a_stream_of_it_knows_its_size_if_it_is_asked(tree: Path) -> None:
    times: list[str] = []
    found = counted(tree, times)
    stream = stream_zip(found)
    assert times == []
    size = stream.size
    (tree / "late.txt").touch()  # comes too late
    data = b"".join(stream)
    assert len(data) == size
    assert sorted(members(data)) == ["a.txt", "empty/", "sub/b.bin"]
    assert times == ["walked"]
    unasked: list[str] = []
    assert "late.txt" in members(b"".join(stream_zip(counted(tree, unasked))))
    assert unasked == ["walked"]


@pytest.mark.patient
def test_an_asynchronous_stream_does_the_same(tree: Path) -> None:
    async def main() -> tuple[int | None, bytes]:
        stream = async_stream_zip(walk(tree))
        return stream.size, await stream.read()

    size, data = asyncio.run(main())
    assert size == len(data)
    assert b"".join(stream_zip(walk(tree))) == data


def test_its_errors_are_those_of_the_walk(tree: Path) -> None:
    missing = walk(tree / "missing")
    for ask in (lambda: len(missing), lambda: missing.size, lambda: [*missing], lambda: bool(missing)):
        with pytest.raises(FileNotFoundError):
            ask()
    assert stream_zip(missing).size is None
    found = walk(tree)
    assert len(found) == 3
    (tree / "a.txt").unlink()
    with pytest.raises(FileNotFoundError):
        found.size  # noqa: B018
    failed: list[Path] = []
    (tree / "out").symlink_to("/")
    lenient = walk(tree, on_error=lambda path, error: failed.append(path))
    assert (len(lenient), len(lenient), failed) == (2, 2, [tree / "out"])
