"""What every module of `compat` that makes archives does, whatever its library does."""

from __future__ import annotations

import io
import itertools
import os
import time
import zipfile
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.ways import DESCRIPTOR, FILE_WAYS, UTF8, WAYS, Members, Way
from tests.support import oracles
from tests.support.faults import BoomError
from tests.support.strategies import words
from zipstream_adapter import SourceChangedError

ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
of_files = pytest.mark.parametrize("make", FILE_WAYS.values(), ids=FILE_WAYS)


class Source:
    """The data of a member: counts the bytes it gave, and how often it ended."""

    def __init__(self, chunks: Iterable[Any], fails: bool = False) -> None:
        self._chunks = chunks
        self._fails = fails
        self.given = self.begun = self.ended = 0

    def __iter__(self) -> Generator[Any, None, None]:
        self.begun += 1
        try:
            for chunk in self._chunks:
                self.given += len(chunk)
                yield chunk
            if self._fails:
                raise BoomError("the source failed")
        finally:
            self.ended += 1


def endless() -> Source:
    return Source(itertools.repeat(os.urandom(100_000)))


def given(members: Iterable[tuple[str, Source]]) -> Members:
    return [(name, iter(source)) for name, source in members]


def made(way: Way, *members: tuple[str, Iterable[bytes]]) -> bytes:
    return b"".join(way.make(given((name, Source(chunks)) for name, chunks in members)))


def infos(data: bytes) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.infolist()


@ways
def test_everyone_reads_the_archive(way: Way, tmp_path: Path) -> None:
    text = words(1, 300_000)
    members = {"a.txt": [b"short"], "empty": [], "deep/é.txt": [b"1", b"", b"2"], "long": [text[:9], text[9:]]}
    data = made(way, *members.items())
    assert oracles.members(data) == {name: b"".join(chunks) for name, chunks in members.items()}
    (path := tmp_path / "a.zip").write_bytes(data)
    for reads in oracles.BY_DIRECTORY.values():
        assert reads(path), reads
    assert [bool(info.flag_bits & UTF8) for info in infos(data)] == [False, False, True, False]


@ways
def test_flags_say_which_members_have_a_data_descriptor(way: Way) -> None:
    data = made(way, ("a", [b"data"]), ("empty", []))
    assert tuple(info.flag_bits for info in infos(data)) == way.flags
    for info in infos(data):
        assert int.from_bytes(data[info.header_offset + 6 :][:2], "little") == info.flag_bits
    assert data.count(b"PK\7\x08") == sum(bool(flags & DESCRIPTOR) for flags in way.flags)  # Apple's tools need it


@ways
def test_without_members_the_archive_is_empty(way: Way) -> None:
    assert made(way) == b"PK\5\6" + bytes(18)


@ways
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_may_be_given_twice(way: Way) -> None:
    data = made(way, ("a", [b"1"]), ("a", [b"2"]))
    assert [info.filename for info in infos(data)] == ["a", way.again]


@pytest.mark.parametrize(
    "name",
    ["push", *(pytest.param(name, marks=pytest.mark.sweep) for name in ("zipstream", "zipfly64", "aiozipstream"))],
)
def test_65536_members(name: str, tmp_path: Path) -> None:
    data = made(WAYS[name], *((str(number), ()) for number in range(65_536)))
    assert len(infos(data)) == 65_536
    (path := tmp_path / "a.zip").write_bytes(data)
    assert oracles.bsdtar(path) and oracles.unzip(path)


@ways
def test_nothing_is_read_before_the_first_bytes_are_requested(way: Way) -> None:
    source = Source([b"data"])
    chunks = way.make(given([("a", source)]))
    assert source.begun == 0
    assert oracles.members(b"".join(chunks)) == {"a": b"data"}


@ways
def test_sources_are_read_one_after_the_other_and_each_ends_once(way: Way) -> None:
    sources = [Source([b"x" * 200_000] * 3), Source([b"short"]), Source([]), Source([b"y" * 200_000])]

    def members() -> Iterator[Any]:
        for number, source in enumerate(sources):
            if way.is_lazy:
                assert all(earlier.ended for earlier in sources[:number])
            yield str(number), iter(source)

    for _ in way.make(members()):
        begun = [source.begun for source in sources]
        assert begun == sorted(begun, reverse=True)
        assert sum(source.begun - source.ended for source in sources) <= 1
    assert [source.ended for source in sources] == [1] * len(sources)


@ways
def test_the_consumer_pulls(way: Way) -> None:
    source = endless()
    chunks, taken = way.make(given([("a", source)])), 0
    while taken < 5_000_000:
        taken += len(next(chunks))
        assert source.given < taken + 1_500_000
    chunks.close()  # type: ignore[attr-defined]


@ways
def test_a_consumer_that_leaves_closes_what_is_open(way: Way) -> None:
    source, ended = endless(), []

    def members() -> Iterator[Any]:
        try:
            yield "a", iter(source)
        finally:
            ended.append(1)

    chunks = way.make(members())
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert (source.ended, ended) == (1, [1])
    assert list(chunks) == []


@ways
@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_a_failing_source_leaves_no_archive(way: Way, size: int, tmp_path: Path) -> None:
    bad, behind = Source([os.urandom(size)] if size else [], fails=True), Source([b"more"])
    chunks = way.make(given([("good", Source([b"G" * 100_000])), ("bad", bad), ("behind", behind)]))
    left: list[bytes] = []
    with pytest.raises(BoomError) as caught:
        left.extend(chunks)
    if way is not WAYS["push"]:  # the program reads the source itself
        assert caught.value.__notes__ == ["(while adding entry 'bad')"]
    assert (bad.ended, behind.begun) == (1, 0)
    assert list(chunks) == []
    assert not oracles.python(b"".join(left))
    (path := tmp_path / "a.zip").write_bytes(b"".join(left) or b"PK")
    assert not oracles.unzip(path)


@ways
def test_text_is_refused(way: Way) -> None:
    source = Source(["text"])
    with pytest.raises(TypeError):
        list(way.make(given([("a", source)])))
    assert source.ended == 1


@ways
@pytest.mark.patient
def test_small_pieces_are_joined_and_no_chunk_is_empty(way: Way) -> None:
    chunks = list(
        way.make(given([("lines", Source([os.urandom(100)] * 10_000)), ("large", Source([bytes(5_000_000)]))]))
    )
    assert all(chunks)
    if way.joins:
        assert len(chunks) < 150


@ways
@pytest.mark.patient
def test_the_same_members_make_the_same_bytes(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    now = time.gmtime()
    monkeypatch.setattr(time, "localtime", lambda seconds=None: now)
    first, second = (made(way, ("a", [b"A"]), ("b", [os.urandom(0), b"B" * 100_000])) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ["zipstream", "aiozipstream"])
def test_a_callers_file_stays_open(name: str) -> None:
    kept = io.BytesIO(b"1\n2\n")
    data = b"".join(WAYS[name].make([("a", kept)]))  # type: ignore[list-item]
    assert oracles.members(data) == {"a": b"1\n2\n"}
    assert kept.getvalue() == b"1\n2\n"


# Files.


@of_files
def test_a_file_keeps_its_date_and_mode(make: Any, tmp_path: Path) -> None:
    (path := tmp_path / "f").write_bytes(b"F")
    path.chmod(0o640)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (info,) = infos(b"".join(make(path)))
    assert info.date_time == time.localtime(1_700_000_000)[:6]
    assert info.external_attr >> 16 == 0o100640


@of_files
@pytest.mark.parametrize("size", [10, 60_000_000])
def test_a_file_that_shrinks_or_grows_is_noticed(make: Any, size: int, tmp_path: Path) -> None:
    (path := tmp_path / "f").touch()
    os.truncate(path, 50_000_000)
    chunks = make(path)
    next(chunks)
    os.truncate(path, size)
    with pytest.raises((SourceChangedError, RuntimeError)):
        list(chunks)


@of_files
def test_a_file_that_is_removed_leaves_no_archive(make: Any, tmp_path: Path) -> None:
    (path := tmp_path / "f").write_bytes(b"F")
    chunks = make(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(chunks)
    assert list(chunks) == []
