"""Checksums of a layout that workers find: threads and processes."""

from __future__ import annotations

import functools
import io
import os
import pickle
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.executors import Recording
from tests.support.strategies import noise
from tests.support.workers import processes, threads
from zipstream_adapter import (
    ChecksumCache,
    Entry,
    EntryTypeError,
    OptionError,
    SourceChangedError,
    ZipLayout,
    stream_zip,
)
from zipstream_adapter._layout.shares import _shares

DATE = 1_700_000_000


def of_path(path: Path) -> io.BufferedReader:
    """A callable source that can be pickled."""
    return path.open("rb")


def failing(text: str) -> Any:
    raise ValueError(text)


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """Files, small, empty and long; callables; data in memory; one whose CRC-32 is declared; a directory and a link."""
    made = [Entry.directory("dir", modified=DATE), Entry.symlink("link", "dir", modified=DATE)]
    for number, size in enumerate((0, 10, 70_000, 300_000, 1_500_000)):
        path = tmp_path / f"file {number}"
        path.write_bytes(noise(number, size))
        made.append(Entry(path.name, path))
        made.append(Entry(f"called {number}", functools.partial(of_path, path), size=size, modified=DATE))
    made.append(Entry("memory", noise(9, 100_000), modified=DATE))
    made.append(Entry("declared", tmp_path / "file 2", crc32=zlib.crc32(noise(2, 70_000))))
    return made


@pytest.mark.parametrize("executor", [threads, processes])
def test_workers_find_what_one_thread_finds(entries: list[Entry], executor: Callable[[], Executor]) -> None:
    layout, alone = ZipLayout(entries), ZipLayout(entries)
    with executor() as workers:
        layout.find_checksums(workers)
    alone.find_checksums()
    assert None not in [entry.crc32 for entry in layout.entries]
    assert list(layout.entries) == list(alone.entries)
    assert b"".join(layout.iter_range()) == b"".join(stream_zip(entries))


def test_found_checksums_are_not_sought_again(entries: list[Entry], tmp_path: Path) -> None:
    layout = ZipLayout(entries)
    with threads() as workers:
        layout.find_checksums(workers)
        for path in tmp_path.iterdir():
            path.unlink()
        layout.find_checksums(workers)
    directory = layout.entries[-1].data_offset + layout.entries[-1].compressed_size
    assert len(b"".join(layout.iter_range(directory))) == layout.size - directory


def test_a_share_has_no_more_than_its_members(entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipstream_adapter._layout.shares._MOST_MEMBERS", 2)
    layout = ZipLayout(entries)
    shares = list(_shares(layout._writer))
    assert [key for key, _ in shares] == [(2, 4), (4, 6), (6, 8), (8, 10), (10, 12)]
    layout = ZipLayout(entries)
    with threads() as workers:
        layout.find_checksums(workers, max_concurrency=2)
    assert b"".join(layout.iter_range()) == b"".join(stream_zip(entries))


def test_workers_get_some_hundred_bytes_a_member(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"some file {number}").write_bytes(bytes(5000))
    layout = ZipLayout(sorted(tmp_path.iterdir()))
    assert sum(len(pickle.dumps(task)) for _, task in _shares(layout._writer)) / 1000 < 400


def test_no_more_is_submitted_than_that(entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipstream_adapter._layout.shares._MOST_MEMBERS", 1)
    with Recording(8, together=3) as workers:
        ZipLayout(entries).find_checksums(workers, max_concurrency=3)
    assert workers.most == 3


@pytest.mark.parametrize("executor", [threads, processes])
def test_a_failure_names_its_entry(entries: list[Entry], executor: Callable[[], Executor]) -> None:
    layout = ZipLayout([*entries, Entry("broken", functools.partial(failing, "no data"), size=5)])
    with executor() as workers, pytest.raises(ValueError, match="no data") as caught:
        layout.find_checksums(workers)
    assert any("'broken'" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("executor", [threads, processes])
def test_a_file_that_changed_is_told_of(entries: list[Entry], tmp_path: Path, executor: Callable[[], Executor]) -> None:
    layout = ZipLayout(entries)
    (tmp_path / "file 3").write_bytes(b"less")
    with executor() as workers, pytest.raises(SourceChangedError, match="'file 3'"):
        layout.find_checksums(workers)


def test_the_first_failure_ends_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipstream_adapter._layout.shares._MOST_MEMBERS", 1)
    called: list[int] = []

    def source(number: int) -> Any:
        called.append(number)
        if not number:
            raise ValueError("the first")
        return io.BytesIO(b"data")

    entries = [Entry(str(number), functools.partial(source, number), size=4) for number in range(200)]
    with ThreadPoolExecutor(1) as workers:
        with pytest.raises(ValueError, match="the first"):
            ZipLayout(entries).find_checksums(workers)
        # The worker may have begun another before the rest was cancelled.
        assert len(called) < 64
        assert workers.submit(len, called).result(60) == len(called)


def test_a_source_that_no_process_can_get_is_named(entries: list[Entry]) -> None:
    layout = ZipLayout([*entries, Entry("local", lambda: io.BytesIO(b"data"), size=4)])
    with processes() as workers, pytest.raises(EntryTypeError, match=r"'local'.*cannot be sent to another process"):
        layout.find_checksums(workers)
    with threads() as workers:
        layout.find_checksums(workers)
    assert layout.entries[-1].crc32 == zlib.crc32(b"data")


def test_workers_fill_the_cache(entries: list[Entry], tmp_path: Path) -> None:
    class Patient(ChecksumCache):
        """To which every file is an old one."""

        def put(self, path: Any, info: os.stat_result, crc32: int, *, opened: int) -> None:
            super().put(path, info, crc32, opened=opened + 10**10)

    path = tmp_path / "file 4"
    with Patient(tmp_path / "cache") as cache, threads() as workers:
        ZipLayout(entries, checksums=cache).find_checksums(workers)
        assert cache.get(path, path.stat()) == zlib.crc32(noise(4, 1_500_000))


@pytest.mark.parametrize(
    ("executor", "most", "message"),
    [
        ("none", 1, "give a concurrent.futures.Executor"),
        (ThreadPoolExecutor, 1, "give a concurrent.futures.Executor"),
        (None, 0, "max_concurrency=0"),
    ],
)
def test_arguments_that_cannot_be_are_refused(executor: Any, most: int, message: str) -> None:
    with threads() as workers, pytest.raises(OptionError, match=message):
        ZipLayout([]).find_checksums(workers if executor is None else executor, max_concurrency=most)
