"""compression="auto": each member is deflated or stored, as its first block compresses, and nothing else has a say."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.strategies import cut, generated, noise, words
from zipstream_adapter import CRC32MismatchError, Entry, OptionError, SizeMismatchError, StreamingZipFile, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK
from zipstream_adapter._compression.codecs import CodecFactory
from zipstream_adapter._compression.engines import Engine, choose_engines
from zipstream_adapter._format.records import DESCRIPTOR_FLAG

NOISE = noise(11, 3 * BLOCK)
TEXT = words(12, 3 * BLOCK)
ZEROS = bytes(BLOCK)
DATE = 1_700_000_000
EXTRAS: dict[str, Engine] = {"zlib_ng": "zlib-ng", "isal": "isal"}
ENGINES: list[Engine] = ["zlib", *(engine for module, engine in EXTRAS.items() if find_spec(module))]


def read(archive: bytes) -> zipfile.ZipFile:
    """`archive`, all of whose members are whole."""
    reader = zipfile.ZipFile(io.BytesIO(archive))
    assert reader.testzip() is None
    return reader


def archive_of(*entries: Any, compression: Any = "auto", **options: Any) -> bytes:
    return stream_zip(entries, compression=compression, **options).read()


def methods(archive: bytes) -> list[int]:
    return [info.compress_type for info in read(archive).infolist()]


# The decision

# A block of it loses a tenth by deflate, or a fiftieth.
SHRINKS = NOISE[: BLOCK * 9 // 10] + ZEROS[: BLOCK - BLOCK * 9 // 10]
HARDLY = NOISE[: BLOCK * 98 // 100] + ZEROS[: BLOCK - BLOCK * 98 // 100]

DECISIONS = {
    "nothing": ("a", b"", ZIP_STORED),
    "one byte": ("a", b"a", ZIP_STORED),
    "a little": ("a", b"abc\n", ZIP_STORED),
    "a little, repeated": ("a", b"abc\n" * 9, ZIP_DEFLATED),
    "text in a picture": ("a.jpg", TEXT[:5000], ZIP_DEFLATED),
    "long text in a picture": ("a.jpg", TEXT, ZIP_DEFLATED),
    "noise in a text": ("a.txt", NOISE[:5000], ZIP_STORED),
    "long noise in a text": ("a.txt", NOISE, ZIP_STORED),
    "text, then noise": ("a", TEXT[:BLOCK] + NOISE, ZIP_DEFLATED),
    "noise, then text": ("a", NOISE[:BLOCK] + TEXT, ZIP_STORED),
    "shrinks": ("a", SHRINKS, ZIP_DEFLATED),
    "shrinks hardly": ("a", HARDLY, ZIP_STORED),
    "shrinks, then noise": ("a", SHRINKS + NOISE, ZIP_DEFLATED),
    "shrinks hardly, then zeros": ("a", HARDLY + ZEROS * 2, ZIP_STORED),
    "shrinks hardly, then one byte": ("a", HARDLY + b"\0", ZIP_STORED),
    **{f"a block and {off} of text": ("a", TEXT[: BLOCK + off], ZIP_DEFLATED) for off in (-1, 0, 1)},
    **{f"a block and {off} of noise": ("a", NOISE[: BLOCK + off], ZIP_STORED) for off in (-1, 0, 1)},
}


@pytest.mark.parametrize("source", ["bytes", "generator", "path"])
@pytest.mark.parametrize(("name", "data", "method"), DECISIONS.values(), ids=list(DECISIONS))
def test_the_first_block_decides(tmp_path: Path, name: str, data: bytes, method: int, source: str) -> None:
    given_as: dict[str, Callable[[], Any]] = {
        "bytes": lambda: data,
        "generator": lambda: generated(cut(data, [70_001])),
        "path": lambda: tmp_path / "file",
    }
    (tmp_path / "file").write_bytes(data)
    archive = archive_of((name, given_as[source]()))
    (info,) = read(archive).infolist()
    assert info.compress_type == method
    assert read(archive).read(name) == data
    assert info.compress_size == len(data) if method == ZIP_STORED else info.compress_size < len(data)


@pytest.mark.parametrize("source", [lambda data: data, lambda data: generated([data])], ids=["bytes", "generator"])
def test_it_is_deflated_where_that_saves_a_twentieth(source: Callable[[bytes], Any]) -> None:
    by_size = {}
    for kept in range(1600, 2000):
        data = NOISE[:kept] + bytes(2000 - kept)
        by_size[
            zipfile.ZipFile(io.BytesIO(archive_of(("a", data), compression="deflate"))).infolist()[0].compress_size
        ] = data
    # A level or an engine may jump over a size.
    least = max(size for size in by_size if size <= 1900)
    most = min(size for size in by_size if size > 1900)
    assert methods(archive_of(("a", source(by_size[most])))) == [ZIP_STORED]
    assert methods(archive_of(("a", source(by_size[least])))) == [ZIP_DEFLATED]


# How it was handed over does not show

KINDS = {"noise": NOISE, "text": TEXT, "zeros": ZEROS * 2}
pieces = st.lists(
    st.tuples(st.sampled_from(list(KINDS)), st.sampled_from([1, 500, 20_000, BLOCK - 1, BLOCK, BLOCK + 1])), max_size=3
)


def joined(parts: list[tuple[str, int]]) -> bytes:
    return b"".join(KINDS[kind][:size] for kind, size in parts)


steps = st.lists(st.sampled_from([0, 1000, 65535, 65536, BLOCK - 1, BLOCK, 300_000]), max_size=4)


@settings(max_examples=settings().max_examples * 2)
@given(st.lists(pieces, min_size=1, max_size=2), steps, st.sampled_from([1, 2, 8]), st.sampled_from([0, 999, 65536]))
def test_neither_cutting_nor_workers_nor_chunks_show(
    members: list[list[tuple[str, int]]], sizes: list[int], workers: int, chunk_size: int
) -> None:
    contents = list(map(joined, members))
    whole = [Entry(str(number), data, modified=DATE) for number, data in enumerate(contents)]
    parts = [Entry(str(at), generated(cut(data, sizes)), modified=DATE) for at, data in enumerate(contents)]
    expected = archive_of(*whole, workers=0, level=1)
    assert archive_of(*parts, workers=workers, level=1, chunk_size=chunk_size) == expected
    assert [read(expected).read(str(number)) for number in range(len(contents))] == contents


@settings(max_examples=settings().max_examples * 2)
@given(
    st.lists(pieces, min_size=1, max_size=3),
    st.sampled_from([0, 1, 5000, 65536, BLOCK, 1 << 20]),
    st.booleans(),
    st.sampled_from(ENGINES),
)
def test_what_was_chosen_is_as_if_it_had_been_asked_for(
    members: list[list[tuple[str, int]]], lookahead: int, promised: bool, engine: Engine
) -> None:
    contents = list(map(joined, members))
    # Where there is no more than one block, "auto" need not end it as one that others follow.
    assume(BLOCK not in map(len, contents))

    def entries(chosen: list[int] | None) -> Iterator[Entry]:
        for number, data in enumerate(contents):
            promises: dict[str, Any] = {"size": len(data), "crc32": zlib.crc32(data)} if promised else {}
            method = chosen[number] if chosen else None
            yield Entry(str(number), generated([data]), modified=DATE, compression=method, **promises)

    made = archive_of(*entries(None), lookahead=lookahead, level=1, engine=engine)
    assert archive_of(*entries(methods(made)), lookahead=lookahead, level=1, engine=engine) == made


@pytest.mark.parametrize(("chunk_size", "step"), [(1000, 700), (65536, 65536)])
@pytest.mark.parametrize("data", [NOISE, TEXT, NOISE[:200_000]], ids=["noise", "text", "less than a block"])
def test_chunks_have_the_size_that_was_asked_for(data: bytes, chunk_size: int, step: int) -> None:
    """Not one of these pieces is large enough to pass as it is."""
    source = generated(cut(data, [step]))
    chunks = list(stream_zip([("a", source)], compression="auto", chunk_size=chunk_size, workers=0))
    assert max(map(len, chunks)) <= chunk_size


# Entries, archives, levels


def test_an_entry_says_auto_or_something_else_than_its_archive() -> None:
    entries = [
        ("1", TEXT[:999]),
        Entry("2", TEXT[:999], compression="auto"),
        Entry("3", NOISE[:999], compression="AUTO"),  # type: ignore[arg-type]
    ]
    assert methods(archive_of(*entries, compression="stored")) == [ZIP_STORED, ZIP_DEFLATED, ZIP_STORED]
    assert methods(archive_of(*entries, compression="bzip2")) == [ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED]
    entries = [
        ("1", TEXT[:999]),
        Entry("2", TEXT[:999], compression="stored"),
        Entry("3", NOISE[:999], compression="deflate", level=0),
        Entry("4", TEXT[:999], compression="bzip2"),
        ("5/", None),
        Entry.symlink("6", "1"),
    ]
    assert methods(archive_of(*entries)) == [ZIP_DEFLATED, ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_STORED, ZIP_STORED]


def test_levels_reach_deflate() -> None:
    if choose_engines("auto", 1) == choose_engines("auto", 9):
        pytest.skip("one engine's level serves for all")
    data = b"".join(b"%d," % (number * number) for number in range(90_000))
    fast, best = (archive_of(("a", data), level=level) for level in (1, 9))
    assert len(best) < len(fast)
    assert archive_of(Entry("a", data, level=9, modified=DATE)) == archive_of(Entry("a", data, modified=DATE), level=9)


@pytest.mark.parametrize("level", [0, 10, -1])
def test_a_level_that_auto_does_not_have_is_refused(level: int) -> None:
    refusal = rf"level={level} is out of range for auto: use 1 to 9, or None for the default$"
    with pytest.raises(OptionError, match="^" + refusal):
        stream_zip([], compression="auto", level=level)
    with pytest.raises(OptionError, match="^entry 'a': " + refusal):
        Entry("a", compression="auto", level=level)
    with pytest.raises(OptionError, match="^" + refusal):
        CodecFactory().compressor(-ZIP_DEFLATED, level)


def test_level_0_of_an_entry_or_its_archive_is_refused_when_its_turn_comes() -> None:
    told: list[str] = []
    stream = stream_zip(
        [("1", TEXT[:99]), Entry("2", TEXT[:99], level=0), ("3", TEXT[:99])],
        compression="auto",
        on_error=lambda entry, exc: told.extend((str(exc), *exc.__notes__)),
    )
    assert read(stream.read()).namelist() == ["1", "3"]
    assert told == ["level=0 is out of range for auto: use 1 to 9, or None for the default", "(while adding entry '2')"]
    with pytest.raises(OptionError, match="for auto"):
        archive_of(Entry("a", TEXT[:99], compression="auto"), compression="deflate", level=0)


# StreamingZipFile


def test_a_zipfile_chooses_for_each_member_however_it_is_written(tmp_path: Path) -> None:
    target = tmp_path / "made.zip"
    for name, data in (("noise", NOISE[:5000]), ("text", TEXT[:5000])):
        (tmp_path / name).write_bytes(data)
    own = zipfile.ZipInfo("of its own", (2024, 1, 1, 0, 0, 0))
    with StreamingZipFile(target, compression="auto") as archive:
        for name, data in (("open, noise", NOISE), ("open, text", TEXT)):
            with archive.open(name, "w") as member:
                for part in cut(data, [50_000]):
                    member.write(part)
        archive.writestr("str", "text " * 99)
        archive.writestr("noise", NOISE[:999])
        archive.writestr("asked for", NOISE[:999], compress_type=ZIP_DEFLATED, compresslevel=9)
        archive.writestr("bzip2", TEXT[:999], compress_type=ZIP_BZIP2)
        archive.writestr(own, TEXT[:999])
        archive.writestr("level", TEXT[:999], compresslevel=9)
        archive.write(tmp_path / "noise", "from noise")
        archive.write(tmp_path / "text", "from text")
        archive.write(tmp_path, "directory")
        archive.mkdir("another")
        archive.writestr("empty", b"")
        listed = [info.compress_type for info in archive.infolist()]
    made = target.read_bytes()
    assert methods(made) == listed == [0, 8, 8, 0, 8, ZIP_BZIP2, 0, 8, 0, 8, 0, 0, 0]
    assert read(made).read("open, noise") == NOISE
    assert read(made).read("open, text") == TEXT
    assert own.compress_type == ZIP_STORED
    verdict = oracles.python(made)
    assert verdict, verdict.said


def test_a_zipfile_refuses_level_0_and_goes_on() -> None:
    with StreamingZipFile(compression="auto") as archive:
        with pytest.raises(OptionError, match="level=0 is out of range for auto: use 1 to 9"):
            archive.writestr("a", TEXT[:999], compresslevel=0)
        archive.writestr("b", TEXT[:999])
        made = archive.drain()
        archive.close()
        assert read(made + archive.drain()).namelist() == ["b"]


# Readers, promises, failures

MIXED = [
    ("text", TEXT), ("short text", TEXT[:999]), ("empty", b""), ("noise", NOISE), ("short noise", NOISE[:999]),
    ("both", TEXT[:BLOCK] + NOISE), ("both the other way", NOISE[:BLOCK] + TEXT), ("a block", NOISE[:BLOCK]),
]  # fmt: skip


@pytest.mark.parametrize("reader", list(oracles.BY_DIRECTORY))
@pytest.mark.parametrize("lookahead", [0, 65536])
def test_outsiders_accept_it(tmp_path: Path, reader: str, lookahead: int) -> None:
    target = tmp_path / "auto.zip"
    target.write_bytes(archive_of(*MIXED, lookahead=lookahead))
    verdict = oracles.BY_DIRECTORY[reader](target)
    assert verdict, verdict.said


def test_a_pipe_is_read_where_headers_are_complete() -> None:
    verdict = oracles.bsdtar_pipe(archive_of(*MIXED, lookahead=1 << 20))
    assert verdict, verdict.said


@pytest.mark.parametrize(
    "data", [NOISE, TEXT, NOISE[:999], TEXT[:999]], ids=["noise", "text", "short noise", "short text"]
)
@pytest.mark.parametrize("lookahead", [0, 65536])
def test_promises_are_kept_or_fail(data: bytes, lookahead: int) -> None:
    size, crc32 = len(data), zlib.crc32(data)

    def made(**promises: Any) -> bytes:
        return archive_of(Entry("a", generated(cut(data, [60_000])), **promises), lookahead=lookahead)

    assert read(made(size=size, crc32=crc32)).read("a") == data
    for wrong in (size - 1, size + 1):
        with pytest.raises(SizeMismatchError, match=r"^entry 'a': .*declared"):
            made(size=wrong)
    with pytest.raises(CRC32MismatchError, match=r"^entry 'a': .*declared"):
        made(size=size, crc32=crc32 ^ 1)


def test_headers_are_complete_within_the_lookahead_and_where_all_is_promised() -> None:
    promises: dict[str, Any] = {"size": len(NOISE), "crc32": zlib.crc32(NOISE)}
    entries = [*MIXED, Entry("promised", NOISE, **promises)]
    for lookahead, late in ((0, "text short-text noise short-noise both both-the-other-way a-block"), (1 << 20, "")):
        infos = read(archive_of(*entries, lookahead=lookahead)).infolist()
        described = [info.filename.replace(" ", "-") for info in infos if info.flag_bits & DESCRIPTOR_FLAG]
        assert described == late.split()


class Broken(Exception):
    pass


def failing(data: bytes) -> Iterator[bytes]:
    yield from cut(data, [10_000])
    raise Broken


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("data", [NOISE, TEXT], ids=["noise", "text"])
def test_what_fails_while_undecided_is_left_out(data: bytes, workers: int) -> None:
    def made(size: int, lookahead: int) -> bytes:
        entries = [("1", TEXT[:999]), ("bad", failing(data[:size])), ("2", NOISE[:999])]
        return archive_of(*entries, lookahead=lookahead, workers=workers, on_error=lambda entry, exc: None)

    for lookahead in (0, 65536):
        assert read(made(BLOCK, lookahead)).namelist() == ["1", "2"]
    assert read(made(2 * BLOCK, 1 << 20)).namelist() == ["1", "2"]
    with pytest.raises(Broken):
        made(CodecFactory().small_limit(ZIP_DEFLATED, None) + 10_000, 0)
