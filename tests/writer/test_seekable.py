"""seekable=: deflated members with a SOZip index, as outsiders see them."""

from __future__ import annotations

import asyncio
import io
import random
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.readers import BY_DIRECTORY, FROM_PIPE, member
from tests.support.loops import module
from tests.support.remote_archives import noise
from tests.support.seekable import CHUNK, chunks_of, offsets_of, table
from zipstream_adapter import (
    Entry,
    StreamingZipFile,
    ZipLayout,
    ZipStream,
    async_stream_zip,
    stream_zip,
    walk,
)
from zipstream_adapter._compression.engines import is_installed
from zipstream_adapter._concurrency.patience import PATIENCE
from zipstream_adapter._format.sozip import LEAST_MEMBER, MOST_CHUNK, SeekPoints, find_index, least_tail
from zipstream_adapter.errors import EntryError, LimitError, OptionError
from zipstream_adapter.remote import compress_parts

NAME, DATE = "räume/table.csv", 1_700_000_000
DATA = table(1_500_000)
INDEX = "räume/.table.csv.sozip.idx"


def made(*entries: Any, **options: Any) -> bytes:
    return b"".join(stream_zip(entries, **{"compression": "deflate", "seekable": True, **options}))


def entry(data: Any = DATA, **options: Any) -> Entry:
    return Entry(NAME, data, modified=DATE, **options)


def points_of(archive: bytes, name: str = NAME) -> SeekPoints | None:
    """The index behind a member, checked against each of its chunks."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        info, data = opened.getinfo(name), opened.read(name)
        nexts = [each.header_offset for each in opened.infolist() if each.header_offset > info.header_offset]
        end = min([*nexts, opened.start_dir])
    begin, _ = least_tail(info)
    points = find_index(archive[begin:end], begin, info)
    if points is not None:
        for number in points.chunks(0, points.size):
            raw = zlib.decompressobj(-zlib.MAX_WBITS)
            coded = archive[points.place(number) : points.place(number + 1)]
            assert raw.decompress(coded) == data[number * points.chunk :][: points.length(number)]
            assert raw.eof is points.is_last(number)
            assert points.is_last(number) or coded.endswith(b"\0\0\xff\xff\0\0\0\xff\xff")
    return points


# Outsiders.


@pytest.mark.parametrize("reader", BY_DIRECTORY)
@pytest.mark.parametrize("lookahead", [1 << 16, 1 << 21])
def test_readers_by_the_directory_see_no_index(reader: str, lookahead: int, tmp_path: Path) -> None:
    archive = made(("a.txt", b"a"), entry(), ("b.txt", b"b"), lookahead=lookahead)
    assert points_of(archive) is not None
    found = BY_DIRECTORY[reader](archive, tmp_path)
    assert found == {"a.txt": member(b"a"), NAME: member(DATA), "b.txt": member(b"b")}


@pytest.mark.parametrize("reader", FROM_PIPE)
@pytest.mark.parametrize("lookahead", [1 << 16, 1 << 21])
def test_readers_of_a_pipe_see_it_as_a_member(reader: str, lookahead: int, tmp_path: Path) -> None:
    archive = made(("a.txt", b"a"), entry(), ("b.txt", b"b"), lookahead=lookahead)
    found = FROM_PIPE[reader](archive, tmp_path)
    assert found.pop(INDEX).size == 32 + 8 * ((len(DATA) - 1) // CHUNK)
    assert found == {"a.txt": member(b"a"), NAME: member(DATA), "b.txt": member(b"b")}


@pytest.mark.parametrize("chunk", [CHUNK, 3 * CHUNK, 1 << 20])
def test_sozipfile_seeks_in_members_without_a_data_descriptor(chunk: int, tmp_path: Path) -> None:
    sozipfile = module("sozipfile.sozipfile")
    path = tmp_path / "made.zip"
    # With a name of ASCII: sozipfile looks for the index behind as many bytes as the name has characters.
    path.write_bytes(made(("a.txt", b"a"), ("a/b.csv", DATA), seekable=chunk, lookahead=1 << 20))
    places = random.Random(chunk)
    with sozipfile.ZipFile(path) as archive:
        info = archive.getinfo("a/b.csv")
        assert info.is_sozip_optimized(archive)
        assert info.chunk_size == chunk
        assert archive.testzip() is None
        with archive.open(info) as opened:
            for _ in range(20):
                place = places.randrange(len(DATA))
                opened.seek(place)
                assert opened.read(50_000) == DATA[place : place + 50_000]


def test_sozipfile_reads_those_with_a_data_descriptor_whole(tmp_path: Path) -> None:
    sozipfile = module("sozipfile.sozipfile")
    path = tmp_path / "made.zip"
    path.write_bytes(made(entry()))
    with sozipfile.ZipFile(path) as archive:
        assert not archive.getinfo(NAME).is_sozip_optimized(archive)
        assert archive.read(NAME) == DATA


def test_the_index_is_that_of_sozipfile() -> None:
    sozipfile = module("sozipfile.sozipfile")
    file = io.BytesIO()
    with sozipfile.ZipFile(file, "w", sozipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, DATA)
    theirs, ours = points_of(file.getvalue()), points_of(made(entry(), engine="zlib"))
    assert theirs is not None
    assert ours is not None
    assert theirs[1:] == ours[1:]
    assert list(ours.offsets) == offsets_of(chunks_of(DATA))


# Equal bytes.


def pieces(size: int) -> Callable[[], Iterator[bytes]]:
    return lambda: (DATA[at : at + size] for at in range(0, len(DATA), size))


async def apieces() -> AsyncIterator[bytes]:
    for at in range(0, len(DATA), 99_991):
        yield DATA[at : at + 99_991]
        yield b""


@pytest.mark.parametrize("engine", ["zlib", "zlib-ng", "isal", "libdeflate", "auto"])
@pytest.mark.parametrize("chunk", [CHUNK, 3 * CHUNK, 1 << 20])
def test_the_bytes_depend_on_the_data_alone(engine: Any, chunk: int, tmp_path: Path) -> None:
    if engine != "auto" and not is_installed(engine):
        pytest.skip(f"{engine} is not installed")
    (tmp_path / "file").write_bytes(DATA)
    sources: list[Any] = [DATA, tmp_path / "file", pieces(7919), pieces(1 << 20), io.BytesIO(DATA)]
    options: list[dict[str, Any]] = [{"workers": number} for number in (0, 1, 2, 5)]
    with ThreadPoolExecutor(2) as executor:
        options.append({"executor": executor})
        archives = {
            made(entry(source, mode=0o644), seekable=chunk, engine=engine, **options[number])
            for number, source in enumerate(sources)
        }
    archives.add(asyncio.run(gathered(entry(apieces, mode=0o644), seekable=chunk, engine=engine)))
    assert len(archives) == 1
    points = points_of(archives.pop())
    assert points is not None
    assert points.chunk == chunk


async def gathered(*entries: Entry, **options: Any) -> bytes:
    stream = async_stream_zip(entries, **{"compression": "deflate", **options})
    return b"".join([chunk async for chunk in stream])


@given(st.integers(0, 5 * CHUNK), st.sampled_from([CHUNK, 2 * CHUNK]), st.integers(1, 100_000), st.integers(1, 9))
def test_members_of_any_size(size: int, chunk: int, step: int, level: int) -> None:
    data = (noise(3 * CHUNK) + DATA)[:size]
    source = (data[at : at + step] for at in range(0, size, step))
    archive = made(Entry(NAME, source, seekable=chunk), level=level, workers=0)
    points = points_of(archive)
    if size > chunk:
        assert points is not None
        assert points[1:4] == (chunk, size, points.coded)
    else:
        assert points is None


# Which members.


@pytest.mark.parametrize("size", [LEAST_MEMBER - 1, LEAST_MEMBER, LEAST_MEMBER + 1])
@pytest.mark.parametrize("method", ["deflate", "auto"])
@pytest.mark.parametrize("known", [True, False])
def test_the_option_of_an_archive_is_for_a_mebibyte_or_more(size: int, method: Any, known: bool) -> None:
    data = table(size)

    def of(**options: Any) -> bytes:
        return made(entry(data if known else iter([data])), compression=method, **options)

    assert (points_of(of()) is not None) is (size >= LEAST_MEMBER)
    assert (of() == of(seekable=False)) is (size < LEAST_MEMBER)


def test_an_entry_has_the_last_word() -> None:
    archive = made(entry(seekable=False), Entry("b", DATA[: 2 * CHUNK], seekable=CHUNK), Entry("c", DATA[:100_000]))
    assert [points_of(archive, name) is not None for name in (NAME, "b", "c")] == [False, True, False]
    archive = made(entry(seekable=True), seekable=False)
    assert points_of(archive) is not None


def test_auto_stores_what_deflate_does_not_make_smaller() -> None:
    archive = made(
        entry(),
        Entry("noise", noise(2 << 20), seekable=True),
        Entry("short", DATA[:100_000], seekable=True),
        compression="auto",
    )
    assert [points_of(archive, name) is not None for name in (NAME, "noise", "short")] == [True, False, True]
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.getinfo("noise").compress_type == zipfile.ZIP_STORED


def test_the_option_of_an_archive_passes_over_the_others(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "table").write_bytes(DATA)
    raw = zlib.compress(DATA, wbits=-15)
    archive = made(
        Entry("stored", DATA, compression="stored"),
        Entry("none", DATA, compression="none"),
        Entry("bzip2", DATA, compression="bzip2"),
        Entry("level", DATA, level=0),
        Entry.raw("raw", raw, compression="deflate", size=len(DATA), crc32=zlib.crc32(DATA)),
        Entry.directory("folder"),
        *walk(tmp_path, seekable=2 * CHUNK),
    )
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        found = [name for name in opened.namelist() if points_of(archive, name)]
    assert found == ["inner/table"]


def test_a_streaming_zip_file() -> None:
    file = io.BytesIO()
    with StreamingZipFile(file, compression="deflate", seekable=True) as archive:
        archive.writestr("a.csv", DATA)
        archive.writestr("b.csv", DATA, zipfile.ZIP_STORED)
        archive.writestr("c.csv", DATA, zipfile.ZIP_DEFLATED, 0)
        archive.mkdir("folder")
        with archive.open(NAME, "w") as target:
            for at in range(0, len(DATA), 1000):
                target.write(DATA[at : at + 1000])
    found = [name for name in ("a.csv", "b.csv", "c.csv", NAME) if points_of(file.getvalue(), name)]
    assert found == ["a.csv", NAME]


def test_a_source_that_pauses_gets_its_full_chunks_written() -> None:
    taken: list[int] = []
    stream: ZipStream | None = None

    def source() -> Iterator[bytes]:
        yield DATA[: 40 * CHUNK + 5]
        time.sleep(PATIENCE)
        yield b""
        assert stream is not None
        taken.append(stream.tell())
        yield DATA[40 * CHUNK + 5 :]

    stream = ZipStream([entry(source, seekable=True)], compression="deflate", workers=2)
    archive = b"".join(stream)
    assert archive == made(entry(seekable=True))
    points = points_of(archive)
    assert points is not None
    assert taken == [points.place(40)]


def test_the_size_of_a_stream_is_not_known() -> None:
    assert ZipStream([entry()], compression="deflate", seekable=True).size is None
    small = ZipStream([Entry("a", b"a" * 10, compression="stored")], compression="deflate", seekable=True)
    assert small.size == len(b"".join(small))


# Refusals.

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"compression": "stored"}, "'stored' has no index"),
    ({"compression": "none"}, "'none' has no index"),
    ({"compression": "bzip2"}, "'bzip2' has no index"),
    ({"compression": "lzma"}, "'lzma' has no index"),
    ({"level": 0}, "level=0 does not compress"),
]


@pytest.mark.parametrize(("options", "text"), REFUSED)
def test_members_that_cannot_have_an_index_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=f"seekable=32768: .*{text}"):
        stream_zip([], **{"compression": "deflate", "seekable": True, **options})
    if "level" not in options:
        with pytest.raises(OptionError, match=f"entry 'a': seekable=32768: .*{text}"):
            Entry("a", b"", seekable=True, **options)
        with pytest.raises(OptionError, match=f"entry 'a': seekable=32768: .*{text}"):
            b"".join(stream_zip([("x", b"x"), Entry("a", b"", seekable=True)], **options))
    assert Entry("a", b"", seekable=False, **options).seekable == 0


def test_by_default_nothing_is_compressed_and_that_has_no_index() -> None:
    with pytest.raises(OptionError, match="seekable=32768: compression='none'"):
        stream_zip([], seekable=True)


def test_encrypted_members_have_no_index() -> None:
    pytest.importorskip("Crypto.Cipher.AES", reason="the extra 'crypto' is not installed")
    with pytest.raises(OptionError, match="encrypted"):
        stream_zip([], compression="deflate", seekable=True, password="secret")
    with pytest.raises(OptionError, match=r"entry 'a'.*encrypted"):
        Entry("a", b"", seekable=True, password="secret")
    with pytest.raises(OptionError, match=r"entry 'a'.*encrypted"):
        b"".join(stream_zip([Entry("a", b"", seekable=True)], compression="deflate", password="secret"))
    archive = made(entry(password="secret"))
    assert INDEX.encode() not in archive


def test_raw_entries_layouts_and_compress_parts() -> None:
    with pytest.raises(TypeError, match="seekable"):
        Entry.raw("a", b"\3\0", compression="deflate", size=0, crc32=0, seekable=True)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="entry 'a': seekable=32768: compression='none'"):
        ZipLayout([Entry("a", b"a", seekable=True)])
    with pytest.raises(EntryError, match="entry 'a': its compressed size"):
        ZipLayout([Entry("a", b"a", seekable=True, compression="deflate")])
    with pytest.raises(TypeError, match="seekable"):
        ZipLayout([], seekable=True)  # type: ignore[call-arg]
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(EntryError, match="entry 'a': seekable=32768: workers make no index"),
    ):
        compress_parts([Entry("a", b"a", seekable=True)], executor)


@pytest.mark.parametrize("value", [1, 4096, -CHUNK, CHUNK + 1, 1.5, "yes", MOST_CHUNK + CHUNK, b""])
def test_chunk_sizes_that_are_none(value: Any) -> None:
    refusal: Literal["seekable="] = "seekable="
    for call in (
        lambda: stream_zip([], compression="deflate", seekable=value),
        lambda: Entry("a", b"", seekable=value),
        lambda: StreamingZipFile(compression="deflate", seekable=value),
    ):
        with pytest.raises(OptionError, match=refusal):
            call()


def test_a_name_without_room_for_the_index() -> None:
    name = "n" * 65_530
    assert made(Entry(name, DATA, seekable=False))
    with pytest.raises(LimitError, match="the name of its index"):
        made(Entry(name, DATA, seekable=True))
