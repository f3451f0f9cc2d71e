"""Sizes: of layouts and of streams, around the limits of 32 bits; what a stream's size must not use up."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.layout.test_layout_law import METHODS, entries_of, options_of
from tests.support.strategies import Recipe, Watched, recipes
from zipstream_adapter import AsyncZipStream, ChecksumCache, Entry, ZipLayout, ZipStream, async_stream_zip, stream_zip

DATE = 1_700_000_000
BLOCK = bytes(1 << 20)
LIMITS = [(1 << 31) - 1, 1 << 31, 0xFFFFFFFE, 0xFFFFFFFF, 0x100000000]


def zeros(size: int) -> Callable[[], Iterator[bytes]]:
    def chunks() -> Iterator[bytes]:
        for at in range(0, size, len(BLOCK)):
            yield BLOCK[: size - at]

    return chunks


class Zeros(io.RawIOBase):
    """A file of nothing, of any size."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._left -= offset
        return offset

    def read(self, size: int = -1) -> bytes:
        data = BLOCK[: min(size, self._left)]
        self._left -= len(data)
        return data


def crc_of_zeros(size: int) -> int:
    crc = 0
    for _ in range(size >> 20):
        crc = zlib.crc32(BLOCK, crc)
    return zlib.crc32(BLOCK[: size % len(BLOCK)], crc)


@pytest.mark.parametrize("size", LIMITS)
@pytest.mark.parametrize("options", [{}, {"compression": "stored"}, {"level": 0, "compression": "deflate"}])
@pytest.mark.parametrize("declared", [False, True])
def test_records_around_32_bits(size: int, options: dict[str, Any], declared: bool) -> None:
    """The records are what a reader wants them to be, with nothing read but what they need."""
    crc = 0x12345678
    entry = Entry("a", lambda: Zeros(size), size=size, crc32=crc if declared else None, modified=DATE, **options)
    small = Entry("b", b"after it", modified=DATE)
    layout = ZipLayout([entry, small])
    it = layout.entries[0]
    stored = options == {"compression": "stored"} or (declared and not options)
    assert it.compressed_size == (size if stored else size + 5 * -(-size // 65535))
    head = b"".join(layout.iter_range(0, it.data_offset))
    flags, version = int.from_bytes(head[6:8], "little"), int.from_bytes(head[4:6], "little")
    assert bool(flags & 8) is not (stored and declared)
    assert version == (45 if size >= 0xFFFFFFFF else 20)
    if not declared:
        return
    end = layout.iter_range(layout.entries[1].offset)
    with zipfile.ZipFile(_Sparse(layout.size, layout.entries[1].offset, b"".join(end))) as archive:
        assert [(info.file_size, info.header_offset) for info in archive.infolist()] == [
            (size, 0),
            (8, layout.entries[1].offset),
        ]
        assert archive.read("b") == b"after it"
        assert crc == archive.infolist()[0].CRC
    # In the middle: what is there stands alone.
    middle = it.data_offset + it.compressed_size // 2
    assert len(b"".join(layout.iter_range(middle, middle + 200_000))) == 200_000


class _Sparse(io.RawIOBase):
    """A file of which only the end is there."""

    def __init__(self, size: int, start: int, end: bytes) -> None:
        self._size, self._start, self._end, self._at = size, start, end, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        assert self._at >= self._start or self._at >= self._size, "before what is there"
        part = self._end[self._at - self._start :][: len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def ends_of(chunks: Iterator[bytes], keep: int) -> tuple[int, bytes, bytes, int]:
    """(size, first bytes, last bytes, CRC-32 of all) of what is far too large to be kept."""
    size, crc, first, last = 0, 0, b"", b""
    for chunk in chunks:
        size += len(chunk)
        crc = zlib.crc32(chunk, crc)
        if len(first) < keep:
            first += chunk[:keep]
        last = (last + chunk[-keep:])[-keep:]
    return size, first[:keep], last, crc


@pytest.mark.large
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", LIMITS)
@pytest.mark.parametrize("options", [{}, {"compression": "stored"}, {"level": 0, "compression": "deflate"}])
@pytest.mark.parametrize("declared", [False, True])
def test_a_layout_is_its_stream_around_32_bits(size: int, options: dict[str, Any], declared: bool) -> None:
    crc = crc_of_zeros(size) if declared else None
    entries = [
        Entry("a", zeros(size), size=size, crc32=crc, modified=DATE, **options),
        Entry("b", b"after it", modified=DATE),
    ]
    streamed = ends_of(iter(stream_zip(entries)), 100_000)
    layout = ZipLayout(entries)
    assert layout.size == streamed[0]
    assert ends_of(layout.iter_range(), 100_000) == streamed


@pytest.mark.large
def test_a_million_members() -> None:
    entries = (Entry(f"{n:07}", zeros(9 << 20), size=9 << 20, crc32=n, modified=DATE) for n in range(1_000_000))
    layout = ZipLayout(entries)
    assert layout.size > 8 << 40
    end = b"".join(layout.iter_range(layout.size - 65536))
    assert len(end) == 65536
    assert end.count(b"PK\1\2") > 500
    assert layout.etag is not None


# Of streams.


@settings(max_examples=settings().max_examples * 2)
@given(entries_of(), options_of())
def test_a_streams_size_is_its_length(entries: list[Entry], options: dict[str, Any]) -> None:
    stream = stream_zip(entries, **options)
    size = stream.size
    assert size in (None, sum(map(len, stream)))
    # Without a declared size, what a list or an iterable has in all is not known.
    assert size is not None or any(entry.size is None for entry in entries)


@given(recipes(methods=METHODS))
def test_a_size_that_is_known_is_true(made: list[Recipe]) -> None:
    entries = [recipe.entry() for recipe in made]
    stream = stream_zip(entries)
    size = stream.size
    whole = b"".join(stream)
    assert size in (None, len(whole))
    assert size is not None or any(entry.size is None or entry.compression == 8 for entry in entries)


def test_what_makes_a_size_unknown(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    known = ("a", b"data")
    given: tuple[Any, ...] = (
        (pair for pair in [known]),
        iter([known]),
        [known, ("b", [b"data"])],
        [known, ("b", lambda: b"data")],
        [known, ("b", io.BytesIO(b"data"))],
        [known, Entry("b", b"data", compression="deflate")],
        [known, Entry("b", b"data", compression="lzma")],
        [known, tmp_path / "missing"],
        [known, known],
        [known, 3],
        [known, Entry("b", b"data", size=5)],
    )
    for entries in given:
        stream = stream_zip(entries)
        assert stream.size is None
        assert not hasattr(stream, "len")
        assert bool(stream)
    assert stream_zip([known], compression="auto").size is None
    assert stream_zip([known], on_error=lambda entry, exc: None).size is None
    with ChecksumCache(tmp_path / "cache") as cache:
        assert stream_zip([tmp_path / "file"], checksums=cache).size is None  # what it will know decides
        assert stream_zip([known], checksums=cache).size is not None


def test_a_size_uses_nothing_up() -> None:
    opened = Watched([b"data"])
    calls = Watched([opened])
    entries = [Entry("a", calls.__next__, size=4), Entry("b", Watched([b"data"]), size=4)]
    stream = stream_zip(entries)
    size = stream.size
    assert (calls.asked, opened.asked, entries[1].source.asked, entries[1].source.closed) == (0, 0, 0, 0)
    watched = Watched(entries)
    assert stream_zip(watched).size is None
    assert (watched.asked, watched.closed) == (0, 0)
    assert size == stream.len == len(b"".join(stream))
    assert stream.size == size


def test_joining_a_stream_does_not_reserve_by_its_length() -> None:
    stream = stream_zip([Entry("a", iter([b""] * 3), size=1 << 60)])
    assert stream.size is not None and stream.size > 1 << 60
    with pytest.raises(ValueError, match="declared"):
        b"".join(stream)
    stream = stream_zip([Entry("a", iter([b""] * 3), size=1 << 60)])
    with pytest.raises(ValueError, match="declared"):
        list(stream)


async def test_the_size_of_an_asynchronous_stream() -> None:
    async def entries() -> Any:
        yield "a", b"data"

    async def source() -> Any:
        yield b"data"

    unknown = async_stream_zip(entries())
    assert unknown.size is None
    assert bool(unknown)
    await unknown.aclose()
    stream: AsyncZipStream = async_stream_zip([Entry("a", source(), size=4), ("b", b"data")])
    size = stream.size
    assert size == len(await stream.read())


# What names the bytes.


def test_the_etag_changes_with_whatever_decides_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    os.utime(path, ns=(10**18, 10**18))
    base: dict[str, Any] = {"modified": DATE}

    def tag(*given: Any, **options: Any) -> str:
        entries: Any = given or [Entry("a", b"data", **base), path]
        layout = ZipLayout(entries, **options)
        assert layout.etag is not None
        assert layout.etag == ZipLayout(entries, **options).etag
        return layout.etag

    tags = [
        tag(),
        tag(comment=b"!"),
        tag(lookahead=0),
        tag(extended_timestamps=False),
        tag(level=0, compression="deflate"),
        tag(Entry("a", b"data", **base)),
        tag(Entry("a", b"datA", **base)),
        tag(Entry("a", b"data", crc32=zlib.crc32(b"data"), **base)),
        tag(Entry("a", b"data", crc32=0, **base)),
        tag(Entry("b", b"data", **base)),
        tag(Entry("a", b"data", mode=0o600, **base)),
        tag(Entry("a", b"data", comment=b"!", **base)),
        tag(Entry("a", b"data", extra=b"\x34\x12\0\0", **base)),
        tag(Entry("a", b"data", zip64=True, **base)),
        tag(Entry("a", b"data", modified=DATE + 2)),
        tag(Entry("a", lambda: b"data", size=4, crc32=1, **base)),
        tag(Entry("a", lambda: b"data", size=4, crc32=2, **base)),
    ]
    os.utime(path, ns=(10**18, 10**18 + 1))
    tags.append(tag())
    path.chmod(0o600)
    tags.append(tag())
    assert len(set(tags)) == len(tags)
    assert all(found.isalnum() and found.isascii() for found in tags)


def test_the_etag_is_that_of_other_servers_and_stays(tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    tags = []
    for place in places:
        place.mkdir()
        (place / "file").write_bytes(b"data" * 50_000)
        os.utime(place / "file", ns=(10**18, 10**18 + 5))
        layout = ZipLayout([Entry("file", place / "file"), Entry("b", b"data", modified=DATE)])
        tags.append(layout.etag)
        layout.find_checksums()
        again = ZipLayout([Entry("file", place / "file"), Entry("b", b"data", modified=DATE)])
        again.find_checksums()
        tags.append(again.etag)
    assert len(set(tags)) == 1


def test_what_is_not_pinned_has_no_etag() -> None:
    assert ZipLayout([Entry("a", lambda: b"data", size=4)]).etag is None
    assert ZipLayout([Entry("a", lambda: b"data", size=4, crc32=zlib.crc32(b"data"))]).etag is not None
    assert ZipLayout([]).etag is not None


def test_the_date_of_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    os.utime(path, (DATE + 0.9, DATE + 0.9))
    newest = datetime.fromtimestamp(DATE, UTC)
    assert ZipLayout([path, Entry("a", b"", modified=5e8)]).last_modified == newest
    assert ZipLayout([Entry("b", path, modified=5e8)]).last_modified == newest
    assert ZipLayout([path, Entry("a", b"", modified=DATE + 9.5)]).last_modified == newest.replace(second=29)
    assert ZipLayout([]).last_modified is None
    now = ZipLayout([("a", b"")]).last_modified
    assert now is not None
    assert abs((datetime.now(UTC) - now).total_seconds()) < 60


def test_data_without_a_date_gets_one_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def entries() -> Iterator[Any]:
        for number in range(3):
            monkeypatch.setenv("SOURCE_DATE_EPOCH", str(DATE + 100 * number))
            yield f"{number}", b""

    layout = ZipLayout(entries())
    whole = b"".join(layout.iter_range())
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert len({info.date_time for info in archive.infolist()}) == 1
    assert b"".join(layout.iter_range()) == whole
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(DATE))
    assert ZipLayout([("a", b"")]).etag == ZipLayout([Entry("a", b"", modified=DATE)]).etag


def test_layouts_and_streams_are_true_even_of_nothing() -> None:
    layout = ZipLayout([])
    assert layout
    assert (len(layout), layout.size, list(layout.entries)) == (22, 22, [])
    assert repr(layout) == "<ZipLayout of 0 members, 22 bytes>"
    assert isinstance(stream_zip([]), ZipStream)
    assert stream_zip([]).size == 22
