"""Seeking in a deflated member of a remote archive by its SOZip index, and in spite of a wrong one."""

from __future__ import annotations

import asyncio
import io
import random
import zipfile
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.loops import module
from tests.support.remote_archives import MIB, Fetch, archive_of, noise
from tests.support.remote_servers import serving
from tests.support.seekable import CHUNK, INDEX, NAME, chunks_of, indexed, offsets_of, table
from zipstream_adapter import Entry, stream_zip
from zipstream_adapter.errors import BadArchiveError, OptionError, StreamClosedError
from zipstream_adapter.remote import member_stream, open_remote
from zipstream_adapter.remote.reading.seekable_member import SeekableMember

DATA = table(3 * MIB)
OFFSETS = offsets_of(chunks_of(DATA))
OFFSETS_OF_NOISE = offsets_of(chunks_of(noise(2 * MIB)))


def opened(data: bytes, **options: Any) -> tuple[zipfile.ZipFile, Fetch]:
    fetch = Fetch(data)
    archive = open_remote(fetch, size=len(data), **options)
    fetch.forget()
    return archive, fetch


def made(data: bytes = DATA, **options: Any) -> bytes:
    entries = [Entry("first.txt", b"first"), Entry(NAME, data), Entry("last.txt", b"last")]
    return b"".join(stream_zip(entries, **{"compression": "deflate", "seekable": True, **options}))


def by_sozipfile(data: bytes = DATA) -> bytes:
    sozipfile = module("sozipfile.sozipfile")
    file = io.BytesIO()
    with sozipfile.ZipFile(file, "w", sozipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, data)
    return file.getvalue()


def seekable(member: Any) -> SeekableMember:
    assert isinstance(member, io.BufferedReader)
    return cast("SeekableMember", member.raw)


def has_index(archive: zipfile.ZipFile) -> bool:
    """Whether a read near the end finds a valid index."""
    with archive.open(NAME) as member:
        member.seek(-1, io.SEEK_END)
        member.read(1)
        return seekable(member)._points is not None


async def part(data: bytes, start: int, stop: int | None) -> tuple[bytes, Fetch]:
    fetch = Fetch(data)
    chunks = member_stream(fetch, NAME, start=start, stop=stop, size=len(data))
    return b"".join([chunk async for chunk in chunks]), fetch


# What it costs.


def test_a_read_in_the_middle_takes_two_requests_of_about_its_size() -> None:
    data = made()
    with serving(zip=data) as objects, open_remote(f"{objects.url}zip") as archive:
        objects.forget()
        with archive.open(NAME) as member:
            assert objects.asked == []
            middle = len(DATA) // 2
            member.seek(middle)
            assert member.read(1 << 16) == DATA[middle : middle + (1 << 16)]
            assert len(objects.asked) == 2
            assert objects.sent < 1 << 17
            member.seek(MIB)
            assert member.read(1 << 16) == DATA[MIB : MIB + (1 << 16)]
            assert len(objects.asked) == 3


def test_reading_from_the_beginning_takes_one_request_and_none_for_the_index() -> None:
    archive, fetch = opened(made())
    assert archive.read(NAME) == DATA
    assert len(fetch.asked) == 1
    with archive.open(NAME) as member:
        assert member.read(1000) == DATA[:1000]
        member.seek(MIB)
        assert member.read(1000) == DATA[MIB : MIB + 1000]
    assert len(fetch.asked) == 2
    archive.close()


def test_archives_without_an_index_are_read_as_before() -> None:
    archive, _ = opened(archive_of((3 * MIB, 3 * MIB), zipfile.ZIP_DEFLATED))
    with archive.open("1.bin") as member:
        assert isinstance(member, zipfile.ZipExtFile)
    archive.close()


def test_a_member_of_several_chunks_that_is_fetched_at_once_anyway_needs_no_index() -> None:
    archive, _ = opened(made(bytes(5 * MIB)))
    with archive.open(NAME) as member:
        assert isinstance(member, zipfile.ZipExtFile)
    archive.close()


def test_a_long_read_after_a_seek_goes_on_in_large_requests() -> None:
    archive, fetch = opened(made(table(9 * MIB), level=1))
    with archive.open(NAME) as member:
        member.seek(2 * MIB)
        got = b"".join(iter(lambda: member.read(50_000), b""))
    assert got == table(9 * MIB)[2 * MIB :]
    assert len(fetch.asked) < 8
    archive.close()


# What comes.

ARCHIVES: dict[str, Callable[[], bytes]] = {
    "stream": lambda: made(),
    "complete header": lambda: made(lookahead=1 << 23),
    "larger chunks": lambda: made(seekable=7 * CHUNK),
    "sozipfile": by_sozipfile,
    "narrow offsets": lambda: indexed(DATA, width=4),
    "bytes to skip": lambda: indexed(DATA, skipped=b"PK\3\4 skipped"),
    "descriptor": lambda: indexed(DATA, descriptor="<3L"),
    "wide descriptor": lambda: indexed(DATA, descriptor="<L2Q"),
    "local extra": lambda: indexed(DATA, local_extra=b"\xfe\xca\x08\0PK\3\4PK\3\4"),
    "name as of GDAL": lambda: indexed(DATA, index_name="a/.table.csv.sozip.idx"),
    "more behind it": lambda: indexed(DATA, tail=bytes(10_000)),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_whatever_is_read_is_what_stands_there(kind: str) -> None:
    data = ARCHIVES[kind]()
    archive, _ = opened(data)
    assert has_index(archive)
    places, beside = random.Random(kind), io.BytesIO(DATA)
    with archive.open(NAME) as member:
        for _ in range(40):
            place, size = places.randrange(-1000, len(DATA) + 1000), places.choice([0, 1, 5000, 70_000, 300_000])
            beside.seek(min(max(place, 0), len(DATA)))
            assert member.seek(place) == beside.tell()
            assert member.read(size) == beside.read(size)
        member.seek(0)
        assert member.read() == DATA
        assert member.read(1) == b""
    archive.close()
    for start, stop in ((0, None), (5, 5), (len(DATA), None), (MIB, MIB + 1), (2 * MIB - 7, None), (MIB, 9 * MIB)):
        got, fetch = asyncio.run(part(data, start, stop))
        assert got == DATA[start:stop], (start, stop)
    got, fetch = asyncio.run(part(data, 2 * MIB, 2 * MIB + 1000))
    assert got == DATA[2 * MIB : 2 * MIB + 1000]
    assert fetch.bytes < 300_000


STEPS = st.lists(st.tuples(st.none() | st.integers(0, 1_400_000), st.integers(0, 200_000)), min_size=1, max_size=12)


@given(
    st.integers(CHUNK + 1, 1_300_000),
    st.sampled_from([CHUNK, 2 * CHUNK, 1 << 20]),
    STEPS,
    st.tuples(st.integers(1, 3), st.sampled_from([1 << 16, 100_000, 1 << 20])),
    st.none() | st.sampled_from([999, 65_537]),
)
def test_reads_and_seeks_of_any_size(
    size: int, chunk: int, steps: list[tuple[int | None, int]], window: tuple[int, int], most: int | None
) -> None:
    content = noise(1_300_000)[:size]
    entry = Entry(NAME, content, compression="deflate", seekable=chunk)
    data = b"".join(stream_zip([entry, ("b.txt", b"b")], workers=0))
    fetch, beside = Fetch(data, most=most), io.BytesIO(content)
    with open_remote(fetch, size=len(data), window=window[0], part_size=window[1]) as archive:
        member = archive.open(NAME)
        for place, count in steps:
            if place is not None:
                beside.seek(min(place, size))
                assert member.seek(place) == beside.tell()
            assert member.read(count) == beside.read(count)
            assert member.tell() == beside.tell()
        assert member.read() == beside.read()


# Wrong indexes.

WRONG: dict[str, dict[str, Any]] = {
    "version": {"version": 2},
    "bytes to skip": {"skip": 4},
    "size": {"size": len(DATA) + 1},
    "coded size": {"coded": 5},
    "too few": {"offsets": OFFSETS[:-1]},
    "too many": {"offsets": [*OFFSETS, OFFSETS[-1] + 1]},
    "not ascending": {"offsets": [*OFFSETS[:5], OFFSETS[4], *OFFSETS[6:]]},
    "first is 0": {"offsets": [0, *OFFSETS[1:]]},
    "beyond the member": {"offsets": [*OFFSETS[:-1], 1 << 40]},
    "huge skip": {"skip": 0xFFFFFFFF},
    "checksum": {"crc": 5},
    "name": {"index_name": INDEX.replace("table", "other")},
}


@pytest.mark.parametrize("fault", WRONG)
def test_an_index_that_contradicts_the_member_is_ignored(fault: str) -> None:
    data = indexed(DATA, **WRONG[fault])
    archive, _ = opened(data)
    assert not has_index(archive)
    with archive.open(NAME) as member:
        member.seek(-100, io.SEEK_END)
        assert member.read() == DATA[-100:]
        member.seek(10)
        assert member.read(10) == DATA[10:20]
    archive.close()
    assert asyncio.run(part(data, 2 * MIB, 2 * MIB + 10))[0] == DATA[2 * MIB : 2 * MIB + 10]


LIES = {
    "one byte late": [each + 1 for each in OFFSETS],
    "one byte early": [each - 1 for each in OFFSETS],
    "a chunk late": [*OFFSETS[1:], OFFSETS[-1] + 1],
    "one of them": [*OFFSETS[:60], OFFSETS[60] + 3, *OFFSETS[61:]],
    "made up": list(range(1, len(OFFSETS) + 1)),
}


@pytest.mark.parametrize("lie", LIES)
def test_offsets_that_are_wrong_cost_time_and_change_no_byte(lie: str) -> None:
    """Apart from whole chunks, see the next test."""
    data = indexed(DATA, offsets=LIES[lie])
    archive, _ = opened(data)
    with archive.open(NAME) as member:
        for place in (60 * CHUNK + 5, 61 * CHUNK - 5, 2 * MIB, 70_000):
            if lie == "a chunk late":
                place = 95 * CHUNK  # the first chunk that is cut short
            member.seek(place)
            assert member.read(CHUNK) == DATA[place : place + CHUNK]
            assert asyncio.run(part(data, place, place + 9))[0] == DATA[place : place + 9]
    archive.close()


def test_only_reading_all_of_it_notices_chunks_of_another_content() -> None:
    """Each chunk inflates to its size, which a read in the middle checks. The CRC-32 covers all data."""
    content = noise(2 * MIB)  # in stored blocks, so that all chunks have one size
    data = bytearray(indexed(content))
    start = data.index(NAME.encode()) + len(NAME)
    first, second = (slice(start + OFFSETS_OF_NOISE[at], start + OFFSETS_OF_NOISE[at + 1]) for at in (3, 4))
    data[first], data[second] = data[second], data[first]
    archive, _ = opened(bytes(data))
    with archive.open(NAME) as member, pytest.raises(zipfile.BadZipFile):
        member.read()
    with archive.open(NAME) as member:
        member.seek(-1, io.SEEK_END)
        assert member.read() == content[-1:]
        member.seek(0)
        with pytest.raises(BadArchiveError, match="CRC-32"):
            member.read()
    archive.close()


def test_a_broken_chunk_is_an_error() -> None:
    data = bytearray(made())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo(NAME)
    middle, some = info.header_offset + info.compress_size // 2, info.compress_size // 10
    data[middle - some : middle + some] = bytes(2 * some)
    remote, _ = opened(bytes(data))
    with remote.open(NAME) as member, pytest.raises(Exception, match=r"Error -3|Bad CRC"):
        member.seek(-5, io.SEEK_END)
        assert member.read() == DATA[-5:]  # another chunk
        member.seek(MIB + MIB // 8)
        member.read(MIB)
    remote.close()


# Closing, and what is refused.


def test_closing_the_archive_closes_the_member() -> None:
    archive, _ = opened(made())
    member = archive.open(NAME)
    member.seek(2 * MIB)
    member.read(5)
    archive.close()
    member.seek(MIB + MIB // 2)
    with pytest.raises(StreamClosedError):
        member.read(CHUNK)
    member.close()


def test_a_local_header_that_is_wrong_is_told_when_the_member_is_read() -> None:
    data = bytearray(made())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo(NAME).header_offset
    data[start : start + 4] = b"PK\0\0"
    remote, _ = opened(bytes(data))
    with remote.open(NAME) as member:
        for _ in range(2):
            with pytest.raises(BadArchiveError, match=NAME):
                member.read(1)
    remote.close()


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (1.5, None), (5, 4), (0, -1), ("1", None)])
async def test_ranges_that_are_none_are_refused(start: Any, stop: Any) -> None:
    with pytest.raises(OptionError, match="start="):
        await part(made(), start, stop)


@pytest.mark.parametrize("start", [0, 5, 2 * MIB, 3 * MIB - 1, 3 * MIB, 4 * MIB])
async def test_a_range_of_a_stored_member(start: int) -> None:
    data = archive_of((MIB, 3 * MIB, MIB), extra=b"\xfe\xca\x04\0abcd")
    fetch = Fetch(data)
    got = b"".join(
        [chunk async for chunk in member_stream(fetch, "1.bin", start=start, stop=start + 9, size=len(data))]
    )
    assert got == noise(3 * MIB, 1)[start : start + 9]
    assert fetch.bytes < 250_000 or start < MIB
