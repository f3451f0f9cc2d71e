"""stream_zip and ZipStream: when bytes leave, in which pieces, behind which headers, and how it ends."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.support import oracles
from tests.support.strategies import Watched, noise, words
from zipstream_adapter import Entry, OptionError, Zip64RequiredError, async_stream_zip, stream_zip

# When bytes leave.


def test_nothing_is_taken_or_opened_before_the_first_byte_is_asked_for() -> None:
    opened = Watched([b"data"])
    calls = Watched([opened])
    entries = Watched([Entry("a", calls.__next__), ("b", b"")])
    stream = stream_zip(entries)
    assert (stream.infolist(), stream.skipped, stream.readable(), stream.closed) == ([], [], True, False)
    assert stream.read(0) == b""
    assert (entries.asked, calls.asked, opened.asked) == (0, 0, 0)
    stream.read(1)
    assert (entries.asked > 0, calls.asked, opened.asked) == (True, 1, 2)


@pytest.mark.parametrize("chunk_size", [0, 1000, 65536])
@pytest.mark.parametrize("method", ["stored", "deflate", "bzip2", "lzma"])
@pytest.mark.parametrize("make", [noise, words])
def test_first_bytes_leave_long_before_the_source_ends(
    make: Callable[[int, int], bytes], method: Any, chunk_size: int
) -> None:
    size, lookahead = 5000, 4096
    source = Watched(itertools.repeat(make(1, size)))
    stream = stream_zip(
        [("a", source)],
        compression=method,
        level=None if method == "stored" else 1,
        chunk_size=chunk_size,
        lookahead=lookahead,
    )
    assert next(stream).startswith(b"PK\3\4")
    # The header waits for `lookahead` bytes of output, or 16 times as many of input.
    assert source.asked <= 1 + 16 * lookahead // size
    stream.close()


def test_first_chunk_leaves_before_the_second_source_chunk_beyond_the_lookahead() -> None:
    source = Watched(itertools.repeat(b"x" * 40_000))
    with stream_zip([("a", source)]) as stream:
        next(stream)
        # The first fits the default lookahead of 65,536 bytes, the second passes it.
        assert source.asked == 2


def test_with_chunk_size_0_every_write_is_handed_over() -> None:
    chunks = [b"one", b"two", b"three"]
    source = Watched(chunks)
    stream = stream_zip([("a", source)], compression="stored", chunk_size=0, lookahead=0)
    assert next(stream).startswith(b"PK\3\4")
    for count, chunk in enumerate(chunks, start=1):
        assert (next(stream), source.asked) == (chunk, count)


@pytest.mark.parametrize("chunk_size", [1, 10, 1000, 4096])
@pytest.mark.parametrize("method", ["stored", "deflate"])
def test_small_pieces_are_joined_to_exactly_chunk_size(
    monkeypatch: pytest.MonkeyPatch, method: Any, chunk_size: int
) -> None:
    # A machine that stalls must not pass for a slow source.
    monkeypatch.setattr("zipstream_adapter._stream.producer.PATIENCE", 1e9)
    entries = [(f"{n}", [bytearray(noise(n + i, 37)) for i in range(n)]) for n in (0, 1, 5, 200, 201)]
    first, *chunks = stream_zip(entries, compression=method, chunk_size=chunk_size, lookahead=100)
    # The first bytes of a long member do not wait for company, and the directory's last piece is never cut.
    assert len(first) <= chunk_size
    assert {len(chunk) for chunk in chunks[:-2]} == {chunk_size}


def test_large_stored_bytes_pass_as_the_very_objects() -> None:
    chunks = [noise(n, 200_000) for n in range(3)]
    out = list(stream_zip([("a", iter(chunks)), ("b", chunks[0])], compression="stored"))
    for chunk in chunks:
        assert any(piece is chunk for piece in out)


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("method", ["stored", "deflate"])
def test_an_object_of_200_megabytes_comes_out_in_pieces(
    monkeypatch: pytest.MonkeyPatch, kind: type[bytes | bytearray], method: Any
) -> None:
    # On a machine that stalls, less than a whole piece would leave after 0.1 s.
    monkeypatch.setattr("zipstream_adapter._stream.producer.PATIENCE", 1e9)
    source = kind(200_000_000)
    largest = size = 0
    for chunk in stream_zip([("a", source)], compression=method, level=None if method == "stored" else 1):
        largest, size = max(largest, len(chunk)), size + len(chunk)
    assert largest == 65536
    assert size > (200_000_000 if method == "stored" else largest)


def test_a_buffer_that_is_used_again_or_resized_is_copied() -> None:
    def source() -> Iterator[bytearray]:
        buffer = bytearray()
        for letter in b"abc":
            buffer[:] = bytes([letter]) * (100_000 + letter)
            yield buffer
        buffer.clear()

    archive = b"".join(list(stream_zip([("a", source())])))
    assert oracles.members(archive) == {"a": b"".join(bytes([n]) * (100_000 + n) for n in b"abc")}


def test_a_slow_source_does_not_strand_finished_bytes() -> None:
    def slow(letters: bytes) -> Iterator[bytes]:
        for letter in letters:
            time.sleep(0.15)
            yield bytes([letter]) * 10

    source = Watched(slow(b"abcd"))
    stream = stream_zip([("fast", b"finished"), ("slow", source), ("last", b"")], compression="stored", lookahead=15)
    got = next(stream)
    # The first member is whole; the second is held back by the lookahead. No third chunk was waited for.
    assert b"finished" in got
    assert source.asked == 1
    for letter, asked in ((b"b", 2), (b"c", 3), (b"d", 4)):
        got = next(stream)
        assert got.endswith(letter * 10)
        assert source.asked == asked
    stream.close()


def test_a_long_directory_is_handed_over_in_pieces() -> None:
    *chunks, last = stream_zip(((f"member-{n:05}", b"") for n in range(3000)), chunk_size=4096)
    assert max(map(len, chunks)) == 4096
    assert len(last) <= 65536 + 22


@pytest.mark.parametrize("chunk_size", [0, 1, 100])
def test_a_short_directory_leaves_in_one_piece_with_the_end(chunk_size: int) -> None:
    *_, last = stream_zip([(f"{n}", b"") for n in range(9)], chunk_size=chunk_size, comment=b"comment")
    assert last.startswith(b"PK\1\2")
    assert last.endswith(b"comment")
    assert last.count(b"PK\1\2") == 9


# Which header a member gets.


class Anatomy(NamedTuple):
    descriptor: int  # its size in bytes
    sizes: tuple[int, int, int]  # CRC, compressed and plain size in the local header
    header_zip64: bool
    row_zip64: bool
    version: int


_DEFLATE_OF_NOTHING = b"\x03\x00"
_ALL_ONES = 0xFFFFFFFF


def anatomy(entry: Entry, **options: Any) -> Anatomy:
    """What stands around the data of `entry`, which is alone in its archive."""
    archive = b"".join(stream_zip([entry], extended_timestamps=False, **options))
    (info,) = zipfile.ZipFile(io.BytesIO(archive)).infolist()
    fields = struct.unpack_from("<4s5H3L2H", archive)
    flags, row_version = fields[2], info.extract_version
    assert fields[0] == b"PK\3\4"
    assert (flags, fields[1]) == (info.flag_bits, row_version), "the header and the directory differ"
    header_extra = archive[30 + fields[9] : 30 + fields[9] + fields[10]]
    start = 30 + fields[9] + fields[10]
    end = archive.rindex(b"PK\1\2")
    descriptor = archive[start + info.compress_size : end]
    if descriptor:
        assert flags & 8
        layout = "<4sL2Q" if len(descriptor) == 24 else "<4s3L"
        facts = (b"PK\7\x08", info.CRC, info.compress_size, info.file_size)
        assert struct.unpack(layout, descriptor) == facts
    else:
        assert not flags & 8
    assert b"PK\6\6" not in archive[end:], "a zip64 end record that nothing needs"
    return Anatomy(len(descriptor), fields[6:9], header_extra[:2] == b"\1\0", info.extra[:2] == b"\1\0", row_version)


_TEN = b"0123456789"
_CRC = zlib.crc32(_TEN)
_TEN_WORDS = words(1, 10 * 16)


@pytest.mark.parametrize("method", ["stored", "deflate", "bzip2", "lzma"])
@pytest.mark.parametrize("lookahead", [0, 1, 65536])
@pytest.mark.parametrize(
    "entry", [Entry("a", b""), Entry("a", [b"", b""]), Entry.directory("d"), Entry("a", iter(()), size=0, crc32=0)]
)
def test_empty_members_and_directories_have_a_complete_header(entry: Entry, lookahead: int, method: str) -> None:
    got = anatomy(entry, lookahead=lookahead, compression=method)
    assert (got.descriptor, got.header_zip64, got.row_zip64, got.sizes[2]) == (0, False, False, 0)
    assert got.sizes[1] == 0 or not entry.is_dir, "a directory is stored, whatever the archive's method"


@pytest.mark.parametrize(
    ("options", "lookahead", "complete"),
    [
        ({}, 10, True),
        ({}, 9, False),
        ({}, 0, False),
        ({"size": 10}, 9, False),
        ({"crc32": _CRC}, 9, False),
        ({"size": 10, "crc32": _CRC}, 9, True),
        ({"size": 10, "crc32": _CRC}, 0, True),
        ({"size": 10, "crc32": _CRC, "compression": "deflate"}, 9, False),
        ({"size": 10, "crc32": _CRC, "compression": "deflate"}, 100, True),
        ({"compression": "deflate"}, 100, True),
    ],
)
def test_header_is_complete_where_the_lookahead_or_promises_allow(
    options: dict[str, Any], lookahead: int, complete: bool
) -> None:
    got = anatomy(Entry("a", [_TEN[:4], _TEN[4:]], **options), lookahead=lookahead)
    assert got == (0, got.sizes, False, False, 20) if complete else (16, (0, 0, 0), False, False, 20)
    if complete:
        assert (got.sizes[0], got.sizes[2]) == (_CRC, 10)


@pytest.mark.parametrize(("size", "complete"), [(16 * 100, True), (16 * 100 + 1, False)])
def test_header_waits_for_16_times_the_lookahead_of_input_at_most(size: int, complete: bool) -> None:
    got = anatomy(Entry("a", [b"\0"] * size, compression="deflate"), lookahead=100)
    assert (got.descriptor == 0) == complete


def test_promised_header_leaves_at_once_and_complete() -> None:
    source = Watched([_TEN] * 5)
    stream = stream_zip([Entry("a", source, size=50, crc32=zlib.crc32(_TEN * 5))], lookahead=20, chunk_size=0)
    header = next(stream)
    assert source.asked == 1
    assert struct.unpack_from("<3L", header, 14) == (zlib.crc32(_TEN * 5), 50, 50)


@pytest.mark.parametrize(
    ("lookahead", "expected"),
    [
        (0, Anatomy(24, (0, _ALL_ONES, _ALL_ONES), True, False, 45)),
        (10, Anatomy(0, (_CRC, _ALL_ONES, _ALL_ONES), True, False, 45)),
    ],
)
def test_zip64_true_forces_header_and_descriptor_and_not_the_row(lookahead: int, expected: Anatomy) -> None:
    assert anatomy(Entry("a", [_TEN], zip64=True, compression="stored"), lookahead=lookahead) == expected
    assert anatomy(Entry("a", [_TEN], zip64=False), lookahead=lookahead).header_zip64 is False


@pytest.mark.parametrize("method", ["stored", "deflate"])
def test_zip64_false_raises_at_the_first_byte_past_the_limit(monkeypatch: pytest.MonkeyPatch, method: Any) -> None:
    # Stands in for 4 GiB.
    monkeypatch.setattr("zipstream_adapter._writer.member.LIMIT32", 1000)
    monkeypatch.setattr("zipstream_adapter._writer.stream_archive._NEAR_LIMIT32", -1)
    assert len(list(stream_zip([Entry("a", noise(1, 900), zip64=False, compression=method)])))
    source = Watched(itertools.repeat(noise(1, 100)))
    stream = stream_zip([Entry("big", source, zip64=False, compression=method)])
    with pytest.raises(Zip64RequiredError, match="'big'"):
        stream.read()
    assert source.asked == 10
    assert source.closed == 1


def test_zip64_false_refuses_a_declared_size_before_any_data() -> None:
    source = Watched(itertools.repeat(b"x"))
    stream = stream_zip([Entry("big", source, size=1 << 32, zip64=False)])
    with pytest.raises(Zip64RequiredError, match="'big'"):
        next(stream)
    assert source.asked == 0
    assert source.closed == 1


@pytest.mark.parametrize("make", [stream_zip, async_stream_zip])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_has_no_copy(make: Any, duplicate: Callable[[Any], Any]) -> None:
    """Each of two would give a part of the archive."""
    with pytest.raises(TypeError, match=r"^a (Async)?ZipStream cannot be copied or pickled, as its "):
        duplicate(make([("a", b"data")]))


@pytest.mark.parametrize("name", ["on_error", "on_progress"])
def test_a_coroutine_function_is_no_callback_of_a_plain_stream(name: str) -> None:
    async def callback(*_: Any) -> None: ...

    with pytest.raises(OptionError, match=rf"^{name}=.*: nobody would await it: .* or use async_stream_zip"):
        stream_zip([], **{name: callback})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["no", None, 2])
def test_a_switch_is_true_or_false(value: Any) -> None:
    with pytest.raises(OptionError, match=r"^extended_timestamps=.*: give True or False"):
        stream_zip([], extended_timestamps=value)
