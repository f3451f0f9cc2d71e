"""Layouts with a cache of checksums, and of members that are compressed already."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import noise, words
from zipstream_adapter import ChecksumCache, Entry, SizeMismatchError, SourceChangedError, ZipLayout, stream_zip
from zipstream_adapter._layout.layout import SteadyLayout

DATE = 1_700_000_000
LEVEL_0: dict[str, Any] = {"compression": "deflate", "level": 0}


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ChecksumCache]:
    with ChecksumCache(tmp_path / "cache") as made:
        yield made


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """Files that have been what they are for long, and one that has not."""
    made = []
    for name, size in (("empty", 0), ("small", 1000), ("large", 300_000), ("new", 200_000)):
        (tmp_path / name).write_bytes(noise(1, size))
        made.append(Entry(name, tmp_path / name))
    return [*made, Entry("large 0", tmp_path / "large", **LEVEL_0), Entry("bytes", b"x" * 100_000, modified=DATE)]


class Patient(ChecksumCache):
    """To which every file is an old one."""

    def put(self, path: Any, info: os.stat_result, crc32: int, *, opened: int) -> None:
        super().put(path, info, crc32, opened=opened + 10**10)


def test_a_layout_with_a_cache_is_the_stream_with_it(tmp_path: Path, entries: list[Entry]) -> None:
    with Patient(tmp_path / "cache") as cache:
        first = ZipLayout(entries, checksums=cache)
        plain = b"".join(stream_zip(entries))
        assert b"".join(first.iter_range()) == plain
        # All are remembered now.
        second = ZipLayout(entries, checksums=cache)
        whole = b"".join(stream_zip(entries, checksums=cache))
        assert whole != plain
        assert b"".join(second.iter_range()) == whole
        assert [entry.crc32 for entry in second.entries[:5]] == [
            zlib.crc32(noise(1, size)) for size in (0, 1000, 300_000, 200_000, 300_000)
        ]
        assert second.etag != first.etag
        # What is complete in any case is the same.
        assert ZipLayout(entries[:2], checksums=cache).etag == ZipLayout(entries[:2]).etag
        for part in second.parts(70_000):
            assert pickle.loads(pickle.dumps(part)).read() == whole[part.start : part.stop]
        # The end alone needs nothing to be read, but what is in memory.
        for name in ("small", "large", "new"):
            assert cache.get(tmp_path / name, (tmp_path / name).stat()) is not None
        third = ZipLayout(entries, checksums=cache)
        (tmp_path / "large").unlink()
        assert b"".join(third.iter_range(third.size - 300)) == whole[-300:]


def test_a_steady_layout_has_the_same_bytes_whatever_is_cached(tmp_path: Path, entries: list[Entry]) -> None:
    plain = ZipLayout(entries)
    with Patient(tmp_path / "cache") as cache:
        first = SteadyLayout(entries, checksums=cache)
        assert b"".join(first.iter_range()) == b"".join(plain.iter_range())
        second = SteadyLayout(entries, checksums=cache)  # all are remembered now
        assert second.etag == first.etag == plain.etag
        assert [entry.crc32 for entry in second.entries[:3]] == [
            zlib.crc32(noise(1, size)) for size in (0, 1000, 300_000)
        ]
        assert b"".join(second.iter_range(299_000)) == b"".join(plain.iter_range(299_000))


def test_finding_the_checksums_fills_the_cache(tmp_path: Path, entries: list[Entry]) -> None:
    with Patient(tmp_path / "cache") as cache:
        ZipLayout(entries, checksums=cache).find_checksums()
        assert cache.get(tmp_path / "small", (tmp_path / "small").stat()) == zlib.crc32(noise(1, 1000))


def test_what_is_remembered_and_wrong_is_forgotten(tmp_path: Path, entries: list[Entry]) -> None:
    with Patient(tmp_path / "cache") as cache:
        path = tmp_path / "large"
        cache.put(path, path.stat(), 5, opened=0)
        cache.put(path, path.stat(), 5, opened=path.stat().st_ctime_ns)
        layout = ZipLayout([Entry("large", path)], checksums=cache)
        assert layout.entries[0].crc32 == 5
        with pytest.raises(SourceChangedError, match=r"'large'.*which was dropped: make another layout"):
            list(layout.iter_range())
        assert cache.get(path, path.stat()) is None


def test_declared_checksums_ask_no_cache(tmp_path: Path, cache: ChecksumCache) -> None:
    (tmp_path / "a").write_bytes(b"a" * 100_000)
    entry = Entry("a", tmp_path / "a", crc32=zlib.crc32(b"a" * 100_000))
    with_cache = ZipLayout([entry], checksums=cache)
    assert with_cache.etag == ZipLayout([entry]).etag
    assert stream_zip([entry], checksums=cache).size == with_cache.size


# What is compressed already.


def deflated(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def raw(name: str, data: bytes, source: Any = None, sized: bool = True, **options: Any) -> Entry:
    coded = deflated(data)
    known: dict[str, Any] = {"compressed_size": len(coded)} if sized else {}
    given = coded if source is None else source(coded)
    crc = zlib.crc32(data)
    return Entry.raw(name, given, compression="deflate", size=len(data), crc32=crc, modified=DATE, **known, **options)


@given(
    st.lists(
        st.tuples(st.sampled_from([noise, words]), st.integers(0, 3000), st.booleans(), st.booleans()), max_size=4
    ),
    st.sampled_from([0, 100, 65536]),
    st.data(),
)
def test_raw_members_are_the_streams(
    made: list[tuple[Any, int, bool, bool]], lookahead: int, draw: st.DataObject
) -> None:
    entries = []
    for number, (make, size, sized, called) in enumerate(made):
        source = (lambda coded: lambda: [coded]) if called else None
        entries.append(raw(f"{number}", make(number, size), source, sized or called))
    whole = b"".join(stream_zip(entries, lookahead=lookahead))
    layout = ZipLayout(entries, lookahead=lookahead)
    assert layout.size == len(whole)
    for _ in range(5):
        start, stop = sorted((draw.draw(st.integers(0, len(whole))), draw.draw(st.integers(0, len(whole)))))
        assert b"".join(layout.iter_range(start, stop)) == whole[start:stop]
    assert b"".join(layout.iter_range()) == whole
    assert all(entry.crc32 is not None for entry in layout.entries)
    assert layout.etag is not None
    assert stream_zip(entries, lookahead=lookahead).size == len(whole)


def test_copies_from_another_archive(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as other:
        other.writestr("text", words(1, 400_000))
        other.writestr("noise", noise(1, 100_000), zipfile.ZIP_STORED)
        other.writestr("packed", words(2, 9000), zipfile.ZIP_BZIP2)
        other.mkdir("folder")
    names = ["text", "noise", "packed", "folder/"]
    entries = [Entry.copy(path, name) for name in names]
    whole = b"".join(stream_zip(entries))
    layout = ZipLayout(entries)
    assert b"".join(layout.iter_range()) == whole
    assert b"".join(layout.iter_range(5000, 90_000)) == whole[5000:90_000]
    assert b"".join(pickle.loads(pickle.dumps(part)).read() for part in layout.parts(33_333)) == whole
    with layout.open() as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == names
    with zipfile.ZipFile(path) as other:
        open_copies = [Entry.copy(other, name) for name in names]
        assert b"".join(ZipLayout(open_copies).iter_range()) == whole
    os.utime(path, (DATE, DATE))
    with pytest.raises(SourceChangedError, match=r"other\.zip"):
        list(layout.iter_range())
    again = ZipLayout([Entry.copy(path, name) for name in names])
    assert again.last_modified == datetime.fromtimestamp(DATE, UTC)
    assert again.etag is not None
    assert again.etag != layout.etag


@pytest.mark.parametrize("by", [-1, 1])
def test_raw_data_of_another_size(by: int) -> None:
    data = noise(1, 200_000)
    entry = raw("a", data, lambda coded: lambda: coded[:by] if by < 0 else coded + b"!")
    layout = ZipLayout([entry])
    came = []
    with pytest.raises(SizeMismatchError, match="'a'"):
        for chunk in layout.iter_range():
            came.append(chunk)  # noqa: PERF402
    assert sum(map(len, came)) < layout.entries[0].data_offset + layout.entries[0].compressed_size
