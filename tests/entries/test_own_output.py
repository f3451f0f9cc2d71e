"""An archive that is written into the tree that it is made of never becomes its own member."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import run
from tests.support.oracles import members
from tests.support.strategies import noise
from tests.support.sweeps import pairwise
from zipstream_adapter import async_stream_zip, stream_zip, walk

FILES = {"a.txt": b"hello", "large.bin": noise(1, 400_000), "zz/last.txt": b"last"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def _sync(entries: Any, file: Any, **options: Any) -> list[Any]:
    stream = stream_zip(entries, **options)
    for chunk in stream:
        file.write(chunk)
    return stream.skipped


def _async(entries: Any, file: Any, **options: Any) -> list[Any]:
    async def main() -> list[Any]:
        stream = async_stream_zip(entries, **options)
        async for chunk in stream:
            file.write(chunk)
        return stream.skipped

    return run(main())


WAYS: dict[str, Callable[..., list[Any]]] = {"sync": _sync, "async": _async}


@pairwise(
    way=WAYS,
    compression=["stored", "deflate"],
    name=["0.zip", "out.zip", "zz/out.zip", "zz/z.zip"],
    buffering=[0, -1, 10**7],
    chunk_size=[65536, 0],
    listed=[False, True],
)
def test_a_walk_leaves_it_out(
    tree: Path, way: str, compression: str, name: str, buffering: int, chunk_size: int, listed: bool
) -> None:
    output = tree / name
    with output.open("wb", buffering=buffering) as file:
        entries: Any = list(walk(tree)) if listed else walk(tree)
        skipped = WAYS[way](entries, file, compression=compression, chunk_size=chunk_size)
    assert members(output.read_bytes()) == FILES
    assert [entry.name for entry, _ in skipped] == [name]
    assert "the archive that is being made" in str(skipped[0].error)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("way", WAYS)
def test_under_a_name_of_its_own_or_by_a_link_too(tree: Path, way: str, prefetch: int) -> None:
    output = tree / "out.zip"
    with output.open("wb") as file:
        os.link(output, tree / "hard")
        (tree / "soft").symlink_to(output)
        skipped = WAYS[way](walk(tree), file, prefetch=prefetch)
    assert members(output.read_bytes()) == FILES
    assert {entry.name for entry, _ in skipped} == {"hard", "out.zip", "soft"}


@pytest.mark.parametrize("way", WAYS)
def test_other_files_that_are_open_or_new_stay(tree: Path, way: str) -> None:
    """Those of this process that have data, empty ones that nobody writes, and archives of before."""
    before = stream_zip(walk(tree)).read()
    with (tree / "log").open("wb", buffering=0) as log, (tree / "out.zip").open("wb") as file:
        log.write(b"a line\n")
        (tree / "before.zip").write_bytes(before)
        (tree / "empty").touch()
        skipped = WAYS[way](walk(tree), file)
    expected = {**FILES, "log": b"a line\n", "before.zip": before, "empty": b""}
    assert members((tree / "out.zip").read_bytes()) == expected
    assert [entry.name for entry, _ in skipped] == ["out.zip"]


def test_a_log_that_was_empty_when_the_walk_began_is_taken_once_it_has_data(tree: Path) -> None:
    with (tree / "z.log").open("wb", buffering=0) as log:
        stream = stream_zip(walk(tree))
        next(stream)
        log.write(b"a line\n" * 100)
        next(stream)
        rest = stream.read()
    assert stream.skipped == []
    assert b"a line\n" * 100 in rest


def test_an_entry_of_a_list_that_is_empty_and_open_is_a_member(tree: Path) -> None:
    """Who names a file by itself means it."""
    with (tree / "a").open("wb"):
        assert members(stream_zip([("a", tree / "a")]).read()) == {"a": b""}


def test_the_length_of_such_an_archive_is_not_promised(tree: Path) -> None:
    entries = list(walk(tree))
    assert stream_zip(entries).size == len(stream_zip(entries).read())
    with (tree / "out.zip").open("wb"):
        assert stream_zip(list(walk(tree))).size is None


@pytest.mark.parametrize("way", WAYS)
def test_an_archive_of_an_hour_ago_is_a_member_although_it_begins_alike(tree: Path, way: str) -> None:
    older = tree / "y.zip"
    before = stream_zip(walk(tree)).read()
    older.write_bytes(before)
    os.utime(older, (time.time() - 3600,) * 2)
    with (tree / "z.zip").open("wb") as file:
        WAYS[way](walk(tree), file)
    assert members((tree / "z.zip").read_bytes()) == {**FILES, "y.zip": before}
