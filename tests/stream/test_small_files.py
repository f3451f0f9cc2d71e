"""Files of any size: each is opened once, its errors are those of its entry, and an interrupt is nobody's error."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.oracles import members
from tests.support.strategies import noise
from zipstream_adapter import Entry, async_stream_zip, stream_zip, walk

SIZES = {"empty": 0, "small": 120, "half a chunk": 40_000, "two chunks": 140_000, "blocks": 600_000}
DATE = 1_000_000_000
_FOLDER = [""]
_OPENED: Counter[str] = Counter()
_FAILING: dict[str, BaseException] = {}  # by file name


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _FOLDER[0] and str(arguments[0]).startswith(_FOLDER[0]):
        name = os.path.basename(str(arguments[0]))
        _OPENED[name] += 1
        if name in _FAILING:
            raise _FAILING[name]


@cache
def _watch_once() -> None:
    sys.addaudithook(_watch)  # it cannot be removed


@pytest.fixture
def tree(tmp_path: Path) -> Iterable[Path]:
    for number in range(4):
        for name, size in SIZES.items():
            path = tmp_path / f"{name} {number}"
            path.write_bytes(noise(number, size))
            os.utime(path, (DATE, DATE))  # a new file may be the archive itself, and is looked at twice
    _watch_once()
    _OPENED.clear()
    _FOLDER[0] = str(tmp_path)
    yield tmp_path
    _FOLDER[0] = ""
    _FAILING.clear()


def data_of(tree: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in tree.iterdir()}
    _OPENED.clear()
    return found


def sync(entries: Any, **options: Any) -> bytes:
    return b"".join(stream_zip(entries, **options))


def asynchronous(entries: Any, **options: Any) -> bytes:
    async def run() -> bytes:
        async with async_stream_zip(entries, **options) as stream:
            return await stream.read()

    return asyncio.run(run())


FORMS: dict[str, Callable[[Path], Any]] = {
    "walk": walk,
    "walk, mode": lambda tree: walk(tree, mode=0o600),
    "pairs": lambda tree: [(path.name, path) for path in sorted(tree.iterdir())],
    "paths": lambda tree: sorted(tree.iterdir()),
    "paths as str": lambda tree: sorted(map(str, tree.iterdir())),
    "entries": lambda tree: [Entry(path.name, path, modified=DATE) for path in sorted(tree.iterdir())],
    "generator": lambda tree: (Entry(path.name, path) for path in sorted(tree.iterdir())),
}


@pytest.mark.parametrize("compression", ["stored", "deflate"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", [sync, asynchronous])
def test_each_file_is_opened_once(tree: Path, stream: Any, form: str, compression: str) -> None:
    expected = data_of(tree)
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    archive = stream(FORMS[form](tree), compression=compression)
    assert Counter(dict.fromkeys(expected, 1)) == _OPENED
    assert members(archive) == expected
    assert not descriptors or len(os.listdir("/proc/self/fd")) <= descriptors


@pytest.mark.parametrize("stream", [sync, asynchronous])
@pytest.mark.parametrize("name", ["small 1", "blocks 1"])
def test_a_file_that_cannot_be_opened_is_its_entrys_failure(tree: Path, stream: Any, name: str) -> None:
    expected = data_of(tree)
    del expected[name]
    _FAILING[name] = PermissionError(13, "Permission denied", name)
    failed: list[Any] = []
    archive = stream(walk(tree), on_error=lambda entry, error: failed.append((entry, type(error))))
    assert members(archive) == expected
    assert failed == [(Entry(name, tree / name), PermissionError)]
    with pytest.raises(PermissionError) as caught:
        stream(walk(tree))
    assert name in str(caught.value)


def test_a_name_that_is_refused_leaves_no_file_open(tree: Path) -> None:
    left_out: list[str] = []
    taken = [("a", tree / "small 1"), ("a", tree / "blocks 1"), ("../b", tree / "blocks 2"), ("b", tree / "blocks 3")]
    archive = sync(taken, on_error=lambda entry, error: left_out.append(entry.name))
    assert members(archive) == {"a": noise(1, SIZES["small"]), "b": noise(3, SIZES["blocks"])}
    assert left_out == ["a", "../b"]


def test_a_replacement_is_read_in_place_of_the_file_that_was_open(tree: Path) -> None:
    replacement = Entry("other", tree / "blocks 2")
    archive = sync([("../a", tree / "blocks 1")], on_error=lambda entry, error: replacement)
    assert members(archive) == {"other": noise(2, SIZES["blocks"])}


@pytest.mark.parametrize("name", ["empty 2", "small 2"])
def test_an_exception_of_a_signal_handler_ends_the_stream(tree: Path, name: str) -> None:
    _FAILING[name] = TimeoutError("alarm")  # without an errno, so no call to the system has raised it
    with pytest.raises(TimeoutError, match="alarm"):
        sync(walk(tree))


def test_the_entries_of_a_walk_are_those_of_path_objects(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (walked,) = walk(tmp_path, prefix="top")
    entry = Entry("top/file", tmp_path / "file")
    assert walked == entry
    assert hash(walked) == hash(entry)
    assert repr(walked) == repr(entry)
    assert isinstance(walked.source, Path)
    assert walked.source is walked.source
    assert pickle.loads(pickle.dumps(walked)) == entry
    assert walked.replace(mode=0o600) == Entry("top/file", tmp_path / "file", mode=0o600)
    with pytest.raises(AttributeError, match="frozen"):
        walked.source = b""
