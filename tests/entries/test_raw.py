"""Entry.raw: data that is compressed already is passed on untouched, behind headers that say what was said of it."""

from __future__ import annotations

import asyncio
import bz2
import copy
import io
import itertools
import pickle
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.interop import readers
from tests.support import oracles
from tests.support.strategies import Watched, cut, cuttings, noise, words
from zipstream_adapter import (
    Entry,
    EntryError,
    EntryTypeError,
    OptionError,
    Progress,
    SizeMismatchError,
    StreamingZipFile,
    Zip64RequiredError,
    ZipStreamError,
    async_stream_zip,
    stream_zip,
)
from zipstream_adapter._compression.methods import LZMACompressor

DATA = words(1, 300_000)
DATE = (2020, 2, 3, 4, 5, 6)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


def lzma_in_zip(data: bytes) -> bytes:
    compressor = LZMACompressor(1)
    return compressor.compress(data) + compressor.flush()


def zstandard(data: bytes) -> bytes:
    """A frame of raw blocks (RFC 8878, 3.1.1)."""
    blocks = cut(data, [1 << 17])
    heads = [struct.pack("<L", len(block) << 3 | (block is blocks[-1]))[:3] for block in blocks]
    return (
        b"\x28\xb5\x2f\xfd\xa0"
        + struct.pack("<L", len(data))
        + b"".join(map(b"".join, zip(heads, blocks, strict=True)))
    )


CODERS: dict[int, Callable[[bytes], bytes]] = {8: deflated, 12: bz2.compress, 14: lzma_in_zip, 93: zstandard}
SMALL, LARGE = words(2, 3000), words(3, 600_000)


def raw(name: str, data: bytes, method: int = 8, source: Any = None, **options: Any) -> Entry:
    coded = CODERS[method](data)
    known = {"compression": method, "size": len(data), "crc32": zlib.crc32(data), "modified": DATE}
    return Entry.raw(name, coded if source is None else source(coded), **{**known, **options})


def as_iterator(coded: bytes) -> Iterator[bytes]:
    yield from cut(coded, [5000, 0, 1])


def first_header(archive: bytes) -> dict[str, int]:
    """The fields of the first local header (APPNOTE 4.3.7)."""
    names = ("version", "flags", "method", "time", "date", "crc", "compressed", "size", "name", "extra")
    return dict(zip(names, struct.unpack_from("<5H3L2H", archive, 4), strict=True))


# What readers make of it.


@pytest.mark.parametrize("reader", readers.READERS)
@pytest.mark.parametrize("known", [True, False], ids=["sizes known", "compressed size unknown"])
def test_deflated_data_is_read_by_everybody(reader: str, known: bool, tmp_path: Path) -> None:
    members = {"small.txt": SMALL, "large.txt": noise(1, 200_000) + LARGE, "empty": b""}
    source = None if known else as_iterator
    archive = stream_zip([raw(name, data, source=source) for name, data in members.items()]).read()
    assert bool(first_header(archive[archive.index(b"large.txt") - 30 :])["flags"] & 8) is not known
    found = readers.READERS[reader](archive, tmp_path)
    assert found == {name: readers.member(data) for name, data in members.items()}


@pytest.mark.parametrize(
    ("method", "reader"),
    [
        *((12, reader) for reader in ("unzip", "7z", "bsdtar", "bsdtar-pipe", "zipfile")),
        *((14, reader) for reader in ("7z", "bsdtar", "bsdtar-pipe", "zipfile")),
        *((93, reader) for reader in ("7z", "bsdtar", "bsdtar-pipe")),
    ],
)
def test_other_methods_are_read_by_who_knows_them(method: int, reader: str, tmp_path: Path) -> None:
    archive = stream_zip([raw("small", SMALL, method), raw("large", LARGE, method)]).read()
    expected = {"small": readers.member(SMALL), "large": readers.member(LARGE)}
    assert readers.READERS[reader](archive, tmp_path) == expected


@example(b"", 8, (), 0, True)
@given(
    st.binary(max_size=3000), st.sampled_from([8, 12, 14]), cuttings, st.sampled_from([0, 100, 65536]), st.booleans()
)
def test_the_bytes_are_those_of_the_member_compressed_here(
    data: bytes, method: int, sizes: tuple[int, ...], lookahead: int, known: bool
) -> None:
    coded = CODERS[method](data)
    told = len(coded) if known else None
    entry = raw("a", data, method, lambda coded: iter(cut(coded, sizes)), compressed_size=told)
    archive = stream_zip([entry], lookahead=lookahead).read()
    assert oracles.members(archive) == {"a": data}
    assert coded in archive
    header = first_header(archive)
    if known or len(coded) <= lookahead:
        assert (header["flags"] & 8, header["crc"], header["compressed"], header["size"]) == (
            0, zlib.crc32(data), len(coded), len(data),
        )  # fmt: skip
    elif data:
        assert (header["flags"] & 8, header["crc"], header["compressed"], header["size"]) == (8, 0, 0, 0)


# The header.


def test_with_all_sizes_known_the_header_leaves_with_the_first_data() -> None:
    coded = deflated(noise(1, 200_000))
    source = Watched(cut(coded, [1000]))
    entry = raw("a", noise(1, 200_000), source=lambda _: source, compressed_size=len(coded))
    archive = next(stream := stream_zip([entry], chunk_size=0))
    assert source.asked == 1
    assert first_header(archive + next(stream))["compressed"] == len(coded)


@pytest.mark.parametrize("path", [True, False])
def test_what_the_source_says_of_its_size_is_the_compressed_size(path: bool, tmp_path: Path) -> None:
    coded = deflated(noise(1, 200_000))
    (tmp_path / "coded").write_bytes(coded)
    entry = raw("a", noise(1, 200_000), source=(lambda _: tmp_path / "coded") if path else None)
    header = first_header(stream_zip([entry]).read())
    assert (header["flags"] & 8, header["compressed"], header["size"]) == (0, len(coded), 200_000)


VERSIONS = [(0, 20), (6, 20), (8, 20), (9, 21), (10, 25), (12, 46), (14, 63), (93, 63), (95, 63), (98, 63)]


@pytest.mark.parametrize(("method", "version"), VERSIONS)
def test_the_version_needed_is_the_method_s(method: int, version: int) -> None:
    entry = Entry.raw("a", b"data", compression=method, size=4, crc32=zlib.crc32(b"data"))
    stream = stream_zip([entry])
    header = first_header(stream.read())
    assert (header["method"], header["version"]) == (method, version)
    [info] = stream.infolist()
    assert (info.compress_type, info.extract_version) == (method, version)


@pytest.mark.parametrize(
    ("method", "flag_bits", "expected"), [(8, None, 0), (8, 4, 4), (14, None, 2), (14, 0, 0), (6, 6, 6), (93, None, 0)]
)
def test_bits_1_and_2_are_the_method_s(method: int, flag_bits: int | None, expected: int) -> None:
    entry = Entry.raw("ü", iter([b"data"]), compression=method, size=4, crc32=5, flag_bits=flag_bits)
    for lookahead, descriptor in ((0, 8), (65536, 0)):
        stream = stream_zip([entry.replace(source=iter([b"data"]))], lookahead=lookahead)
        assert first_header(stream.read())["flags"] == expected | 0x800 | descriptor
        assert stream.infolist()[0].flag_bits == expected | 0x800 | descriptor


@pytest.mark.parametrize("size", [0xFFFFFFFE, 0xFFFFFFFF, 0x100000000])
@pytest.mark.parametrize("compressed", [6000, None])
def test_zip64_comes_only_where_a_size_needs_it(size: int, compressed: int | None) -> None:
    entry = Entry.raw("a", iter([bytes(6000)]), compression=8, size=size, crc32=1, compressed_size=compressed)
    stream = stream_zip([entry], lookahead=5)
    archive = stream.read()
    wide = size >= 0xFFFFFFFF
    header = first_header(archive)
    assert (header["version"], header["extra"]) == (45 if wide else 20, 20 + 9 if wide else 9)
    assert header["size"] == (0xFFFFFFFF if wide else 0 if compressed is None else size)
    descriptor = archive.find(b"PK\7\x08")
    if compressed is None:
        layout = "<L2Q" if wide else "<3L"
        assert struct.unpack_from(layout, archive, descriptor + 4) == (1, 6000, size)
    else:
        assert descriptor == -1
    assert [(info.file_size, info.compress_size, info.CRC) for info in stream.infolist()] == [(size, 6000, 1)]
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.getinfo("a").file_size == size


def test_refused_zip64_is_refused_before_any_byte() -> None:
    entry = Entry.raw("a", b"coded", compression=8, size=1 << 32, crc32=1, zip64=False)
    with pytest.raises(Zip64RequiredError, match="'a' declares a size in bytes of 4294967296"):
        next(stream_zip([entry]))


@pytest.mark.large
@pytest.mark.parametrize(("known", "judge"), [(True, oracles.unzip), (False, oracles.seven_zip)])
def test_a_member_of_4_gib_in_4_mib_is_read(
    known: bool, judge: Callable[[Path], oracles.Verdict], tmp_path: Path
) -> None:
    piece = bytes(1 << 20)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)
    count, crc = (4 << 10) + 1, 0
    for _ in range(count):
        crc = zlib.crc32(piece, crc)
    source = itertools.chain(itertools.repeat(block, count), [b"\3\0"])
    told = len(block) * count + 2 if known else None
    entry = Entry.raw("zeros", source, compression=8, size=count << 20, crc32=crc, compressed_size=told)
    path = tmp_path / "a.zip"
    path.write_bytes(stream_zip([entry]).read())
    verdict = judge(path)
    assert verdict, verdict.said


# Promises.


@pytest.mark.parametrize("lookahead", [0, 65536])
@pytest.mark.parametrize("compressed_size", [99, 101])
def test_another_compressed_size_than_declared_fails(compressed_size: int, lookahead: int) -> None:
    source = Watched([bytes(60), bytes(40), b"never asked for"])
    entry = Entry.raw("a", source, compression=8, size=5, crc32=5, compressed_size=compressed_size)
    if compressed_size == 101:
        entry = entry.replace(source=iter([bytes(100)]))
    with pytest.raises(SizeMismatchError, match=r"'a': it has .*compressed data, .*the declared (99|101) bytes"):
        stream_zip([entry], lookahead=lookahead).read()
    assert source.asked == (2 if compressed_size == 99 else 0)


def test_a_source_that_says_another_size_fails_at_once() -> None:
    with pytest.raises(SizeMismatchError, match="'a': its data has 6 bytes, not the declared 7"):
        next(stream_zip([Entry.raw("a", b"123456", compression=8, size=9, crc32=0, compressed_size=7)]))


@pytest.mark.parametrize("size", [0, 5])
def test_no_compressed_data_at_all_is_none(size: int) -> None:
    with pytest.raises(SizeMismatchError, match="'a': its source gave 0 bytes"):
        stream_zip([Entry.raw("a", iter([b""]), compression=8, size=size, crc32=0)]).read()


@pytest.mark.parametrize(("size", "crc32"), [(5, zlib.crc32(b"data")), (4, 1)])
def test_stored_data_is_checked(size: int, crc32: int) -> None:
    with pytest.raises(ZipStreamError, match=r"'a': it.* not the declared"):
        stream_zip([Entry.raw("a", iter([b"data"]), compression="stored", size=size, crc32=crc32)]).read()


# The Entry.


def test_it_pickles_compares_and_is_replaced() -> None:
    entry = Entry.raw(
        "a", b"coded", compression="lzma", size=9, crc32=7, compressed_size=5, modified=DATE, comment=b"c", mode=0o600
    )
    assert (entry.is_raw, entry.compression, entry.size, entry.compressed_size) == (True, 14, 9, 5)
    assert (entry.source_size, entry.flag_bits, entry.level) == (5, 2, None)
    for twin in (pickle.loads(pickle.dumps(entry)), copy.deepcopy(entry), entry.replace()):
        assert twin == entry
        assert hash(twin) == hash(entry)
        assert twin.is_raw
    other = entry.replace(name="b", compressed_size=None)
    assert (other.name, other.compressed_size, other.is_raw, other.size) == ("b", None, True, 9)
    assert other != entry
    assert entry != Entry("a", b"coded", compression="lzma", size=9, crc32=7, modified=DATE, comment=b"c", mode=0o600)
    assert repr(entry).startswith("Entry.raw('a', b'coded', size=9, crc32=7, ")
    assert "compressed_size=5" in repr(entry)
    with pytest.raises(AttributeError, match="frozen"):
        entry.compressed_size = 6


def test_an_entry_that_is_not_raw_says_so() -> None:
    entry = Entry("a", b"data", size=4)
    assert (entry.is_raw, entry.compressed_size, entry.source_size) == (False, None, 4)


BAD: list[tuple[dict[str, Any], type[ZipStreamError], str]] = [
    ({"name": "d/"}, EntryError, "'d/': the name ends in '/'"),
    ({"size": None}, EntryTypeError, "size=None"),
    ({"crc32": None}, EntryTypeError, "crc32=None"),
    ({"size": -1}, OptionError, "size=-1"),
    ({"compressed_size": "5"}, EntryTypeError, "compressed_size='5'"),
    ({"compressed_size": -5}, OptionError, "compressed_size=-5"),
    ({"compression": "auto"}, OptionError, "compression='auto'"),
    ({"compression": -8}, OptionError, "compression=-8"),
    ({"compression": 65536}, OptionError, "compression=65536"),
    ({"compression": True}, OptionError, "compression=True"),
    ({"compression": "xz"}, OptionError, "compression='xz'"),
    ({"compression": None}, OptionError, "compression=None"),
    ({"compression": 99}, OptionError, "compression=99 stands for encrypted data"),
    ({"compression": 0, "compressed_size": 6}, SizeMismatchError, "compressed_size=6 and size=5"),
    ({"flag_bits": 1}, OptionError, "flag_bits=1"),
    ({"flag_bits": 8}, OptionError, "flag_bits=8"),
    ({"flag_bits": "2"}, OptionError, "flag_bits='2'"),
    ({"extra": struct.pack("<2H2Q", 1, 16, 5, 5)}, EntryError, "zip64 field"),
]


@pytest.mark.parametrize(("options", "error", "quoted"), BAD)
def test_what_cannot_be_is_refused_at_once(options: dict[str, Any], error: type[ZipStreamError], quoted: str) -> None:
    arguments = {"name": "a", "source": b"coded", "compression": 8, "size": 5, "crc32": 5, **options}
    with pytest.raises(ZipStreamError) as caught:
        Entry.raw(**arguments)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"entry {arguments['name']!r}: ")
    assert quoted in str(caught.value)


@pytest.mark.parametrize("missing", ["size", "crc32", "compression"])
def test_what_nobody_here_can_find_out_has_to_be_said(missing: str) -> None:
    arguments: dict[str, Any] = {"compression": 8, "size": 5, "crc32": 5}
    del arguments[missing]
    with pytest.raises(TypeError, match=missing):
        Entry.raw("a", b"coded", **arguments)


def test_a_member_of_an_archive_needs_it_as_well() -> None:
    file = io.BytesIO()
    with StreamingZipFile(file) as archive:
        info = zipfile.ZipInfo("a")
        info.compress_type = 8
        with pytest.raises(OptionError, match=r"'a': data that is already compressed needs crc32: give it"):
            archive.begin(info, raw_size=5)
        info.flag_bits = 0xFFFF  # of which only the method's own are kept
        with archive.begin(info, raw_size=len(SMALL), crc32=zlib.crc32(SMALL)) as member:
            member.write(deflated(SMALL))
        archive.writestr("b", b"2")
    assert oracles.members(file.getvalue()) == {"a": SMALL, "b": b"2"}


def test_a_level_means_nothing_here() -> None:
    with pytest.raises(TypeError, match="level"):
        Entry.raw("a", b"coded", compression=8, size=5, crc32=5, level=9)  # type: ignore[call-arg]


# With the stream's other options.


def test_progress_counts_what_is_read() -> None:
    told: list[Progress] = []
    coded = deflated(DATA)
    entries = [raw("a", DATA), Entry("b", b"12345"), raw("c", DATA, source=as_iterator, compressed_size=len(coded))]
    stream_zip(entries, on_progress=told.append).read()
    ends = {p.entry.name: (p.entry_read, p.entry_size, p.read) for p in told}
    total = 2 * len(coded) + 5
    assert ends == {
        "a": (len(coded), len(coded), len(coded)), "b": (5, 5, len(coded) + 5), "c": (len(coded), len(coded), total)
    }  # fmt: skip
    assert {p.read_total for p in told} == {total}


def test_one_that_fails_before_its_first_byte_can_be_replaced() -> None:
    good = raw("a", DATA)
    bad = good.replace(source=iter([b"coded"]), compressed_size=7)
    archive = stream_zip([bad, ("b", b"2")], on_error=lambda entry, exc: good).read()
    assert oracles.members(archive) == {"a": DATA, "b": b"2"}


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.patient
def test_the_asynchronous_stream_gives_the_same_bytes(prefetch: int, known: bool) -> None:
    async def chunks(coded: bytes) -> AsyncIterator[bytes]:
        for chunk in cut(coded, [5000]):
            yield chunk

    large = noise(3, 200_000)
    told = len(deflated(large)) if known else None

    def entries(source: Any) -> list[Any]:
        return [
            Entry("q", b"1", modified=DATE),
            raw("a", DATA),
            raw("b", large, source=source, compressed_size=told),
            Entry("c", b"2", modified=DATE),
        ]

    async def collect() -> bytes:
        return await async_stream_zip(entries(chunks), compression="deflate", prefetch=prefetch).read()

    expected = stream_zip(entries(as_iterator), compression="deflate", prefetch=prefetch).read()
    assert asyncio.run(collect()) == expected
    assert oracles.members(expected) == {"q": b"1", "a": DATA, "b": large, "c": b"2"}
