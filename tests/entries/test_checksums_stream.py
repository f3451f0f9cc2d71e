"""The option checksums of both streams: complete headers for files that are known, and what happens to a wrong one."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop import readers
from tests.support import oracles
from tests.support.drivers import Driver
from tests.support.strategies import noise
from zipstream_adapter import (
    ChecksumCache,
    CRC32MismatchError,
    Entry,
    OptionError,
    SourceChangedError,
    async_stream_zip,
    stream_zip,
    walk,
)
from zipstream_adapter._entries import crc_cache as checksums

LARGE, OTHER, SMALL = noise(1, 2_000_000), noise(2, 900_000), noise(3, 3000)
WAYS = ["sync", "async"]
pytestmark = pytest.mark.parametrize("way", WAYS)


class Watching(ChecksumCache):
    """One that tells what it is asked, and in which thread."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[tuple[str, str]] = []
        self.threads: set[int] = set()

    def _note(self, verb: str, path: Any) -> None:
        self.asked.append((verb, os.path.basename(path)))
        self.threads.add(threading.get_ident())

    def get(self, path: Any, info: os.stat_result) -> int | None:
        self._note("get", path)
        return super().get(path, info)

    def put(self, path: Any, info: os.stat_result, crc32: int, *, opened: int) -> None:
        self._note("put", path)
        super().put(path, info, crc32, opened=opened)

    def forget(self, path: Any) -> None:
        self._note("forget", path)
        super().forget(path)

    def told(self) -> list[tuple[str, str]]:
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "_SETTLED_NS", -(10**18))


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Watching]:
    with Watching(tmp_path / "cache") as made:
        yield made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "large").write_bytes(LARGE)
    (root / "sub" / "other").write_bytes(OTHER)
    (root / "small").write_bytes(SMALL)
    (root / "empty").write_bytes(b"")
    return root


def zipped(way: str, entries: Any, **options: Any) -> bytes:
    if way == "sync":
        return stream_zip(entries, **options).read()

    async def collect() -> bytes:
        return await async_stream_zip(entries, **options).read()

    return asyncio.run(collect())


def descriptors_of(archive: bytes) -> int:
    return archive.count(b"PK\7\x08")


@pytest.mark.parametrize(
    "options",
    [{}, {"prefetch": 2}, {"on_progress": lambda progress: None}],
    ids=["plain", "prefetch", "on_progress"],
)
def test_files_are_remembered_and_then_have_complete_headers(
    way: str, options: dict[str, Any], tree: Path, cache: Watching, tmp_path: Path
) -> None:
    members = {"large": LARGE, "sub/other": OTHER, "small": SMALL, "empty": b""}
    first = zipped(way, walk(tree), checksums=cache, **options)
    assert cache.told() == [("get", "large"), ("put", "large"), ("get", "other"), ("put", "other")]
    assert first == zipped(way, walk(tree), **options)
    assert (oracles.members(first), descriptors_of(first)) == (members, 2)
    second = zipped(way, walk(tree), checksums=cache, **options)
    assert cache.told() == [("get", "large"), ("get", "other")]
    assert (oracles.members(second), descriptors_of(second)) == (members, 0)
    for number, (name, reader) in enumerate(readers.READERS.items()):
        place = tmp_path / str(number)
        place.mkdir()
        expected = {member: readers.member(data) for member, data in members.items()}
        assert reader(second, place) == readers.as_found_by(name, expected)


@pytest.mark.patient
def test_both_streams_give_the_same_bytes(way: str, tree: Path, cache: Watching) -> None:
    zipped(way, walk(tree), checksums=cache)
    assert zipped("sync", walk(tree), checksums=cache) == zipped("async", walk(tree), checksums=cache)


def test_on_the_loop_s_thread_the_database_is_never_used(way: str, tree: Path, cache: Watching) -> None:
    entries = [*walk(tree), Entry("again", tree / "large"), Entry("called", lambda: tree / "large")]
    for prefetch in (0, 2):
        zipped(way, entries, checksums=cache, prefetch=prefetch)
        cache.put(tree / "large", os.stat(tree / "large"), 1, opened=1 << 62)
        cache.threads.clear()
        with pytest.raises(SourceChangedError):
            zipped(way, entries, checksums=cache, prefetch=prefetch)
    assert [verb for verb, _ in cache.told()].count("forget") == 2
    assert (threading.get_ident() in cache.threads) == (way == "sync")


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_file_with_other_data_than_remembered_fails_before_its_end_and_is_forgotten(
    way: str, prefetch: int, tree: Path, cache: Watching
) -> None:
    entries = [Entry("a", tree / "sub" / "other"), Entry("b", tree / "large")]
    zipped(way, entries, checksums=cache)
    info = os.stat(tree / "large")
    cache.put(tree / "large", info, 12345, opened=1 << 62)
    taken = b""
    with Driver(way, entries, checksums=cache, prefetch=prefetch) as driver:
        with pytest.raises(SourceChangedError, match=r"'b': '.*large' has other data than when its CRC-32") as caught:
            while True:
                taken += driver.next()
        assert isinstance(caught.value.__cause__, CRC32MismatchError)
    start = taken.index(LARGE[:1000])
    assert 1_000_000 < len(taken) - start < len(LARGE)
    assert cache.get(tree / "large", info) is None
    assert oracles.members(zipped(way, entries, checksums=cache)) == {"a": OTHER, "b": LARGE}


def test_a_declared_checksum_is_the_caller_s(way: str, tree: Path, cache: Watching) -> None:
    with pytest.raises(CRC32MismatchError):
        zipped(way, [Entry("a", tree / "large", crc32=5)], checksums=cache)
    assert cache.told() == []


def test_other_sources_are_not_looked_up(way: str, tree: Path, cache: Watching) -> None:
    raw = Entry.raw("raw", tree / "large", compression=8, size=5, crc32=5)
    with open(tree / "large", "rb") as file:
        zipped(way, [("bytes", LARGE), ("chunks", iter([LARGE])), ("file", file), raw], checksums=cache)
    assert cache.told() == []


def test_deflated_members_are_remembered_and_mind_no_wrong_one(way: str, tree: Path, cache: Watching) -> None:
    entries = [Entry("a", tree / "large", compression="deflate")]
    zipped(way, entries, checksums=cache)
    assert cache.told() == [("get", "large"), ("put", "large")]
    info = os.stat(tree / "large")
    cache.put(tree / "large", info, 1, opened=1 << 62)
    assert oracles.members(zipped(way, entries, checksums=cache)) == {"a": LARGE}
    assert cache.get(tree / "large", info) == readers.member(LARGE).crc32


def test_what_ends_within_the_lookahead_needs_none(way: str, tree: Path, cache: Watching) -> None:
    for lookahead, asked in ((3_000_000, 0), (2_000_000, 0), (1_999_999, 2), (0, 1)):
        archive = zipped(way, [Entry("a", tree / "large", comment=b"c")], checksums=cache, lookahead=lookahead)
        assert len(cache.told()) == asked
        assert descriptors_of(archive) == (1 if lookahead == 1_999_999 else 0)


@pytest.mark.parametrize("change", ["touched", "grown"])
def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    way: str, change: str, tree: Path, cache: Watching
) -> None:
    path = tree / "larger"
    path.write_bytes(LARGE * 5)  # more than is read in a step
    with Driver(way, [Entry("a", path)], checksums=cache) as driver:
        driver.next()
        if change == "touched":
            os.utime(path, (1e9, 1e9))
            driver.rest()
        else:
            with open(path, "ab") as file:
                file.write(b"more")
            with pytest.raises(SourceChangedError, match="grew"):
                driver.rest()
    assert "put" not in [verb for verb, _ in cache.told()]
    assert cache.get(path, os.stat(path)) is None


def test_a_stream_that_is_given_up_remembers_nothing_of_its_last_file(way: str, tree: Path, cache: Watching) -> None:
    with Driver(way, [Entry("a", tree / "large")], checksums=cache) as driver:
        driver.next()
    assert cache.told() == [("get", "large")]


def test_one_that_cannot_be_used_breaks_no_stream(way: str, tree: Path, tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="cannot be used"):
        cache = ChecksumCache(tmp_path / "missing" / "cache")
    assert oracles.members(zipped(way, [("a", tree / "large")], checksums=cache)) == {"a": LARGE}


def test_a_warning_that_is_an_error_leaves_no_member_out_that_is_in_the_archive(
    way: str, tree: Path, cache: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwritable(*args: Any, **options: Any) -> None:
        raise RuntimeWarning("cannot be used")

    monkeypatch.setattr(ChecksumCache, "put", unwritable)
    left_out: list[Any] = []
    with pytest.raises(RuntimeWarning):
        zipped(way, [("a", tree / "large")], checksums=cache, on_error=lambda *what: left_out.append(what))
    assert left_out == []


@pytest.mark.parametrize("value", ["cache.sqlite", Path("cache"), {}, 5])
def test_what_is_no_cache_is_refused(way: str, value: Any) -> None:
    with pytest.raises(OptionError, match=r"checksums=.*: give a ChecksumCache, or None"):
        zipped(way, [], checksums=value)
