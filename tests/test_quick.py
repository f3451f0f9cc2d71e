"""The short way for small members: no byte differs from what the long way makes, and nothing is read too early.

Whoever wants to hear of progress gets members one by one: `on_progress` is what sends all of them the long way.
"""

from __future__ import annotations

import io
import math
import os
import socket
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import generated, noise, words
from zipstream_adapter import Entry, OptionError, SourceChangedError, stream_zip
from zipstream_adapter.member import PATIENCE, STEP
from zipstream_adapter.names import DuplicatePolicy, NamePolicy, NameRegistry
from zipstream_adapter.parallel import BLOCK
from zipstream_adapter.records import (
    DESCRIPTOR_FLAG,
    LIMIT32,
    LZMA_EOS_FLAG,
    Rows,
    Template,
    data_descriptor,
    directory_row,
    local_header,
)

LONG_WAY: dict[str, Any] = {"on_progress": lambda progress: None}
DATE = 1_700_000_001
DATA = {"noise": noise(1, BLOCK + 1), "text": words(2, BLOCK + 1), "zeros": bytes(BLOCK + 1)}
# Deflate makes it smaller by about a twentieth: "auto" goes either way.
DATA["between"] = b"".join(DATA["noise"][at : at + 940] + bytes(60) for at in range(0, BLOCK + 1, 1000))[: BLOCK + 1]


class Outcome(NamedTuple):
    """What came of a stream: its chunks, and all that it said."""

    chunks: list[bytes]
    error: tuple[Any, ...] | None
    heard: list[tuple[Any, ...]]
    skipped: list[tuple[Any, ...]]
    listed: list[tuple[Any, ...]]

    @property
    def archive(self) -> bytes:
        return b"".join(self.chunks)


def said(entry: Any, exc: Exception) -> tuple[Any, ...]:
    name = entry.name if isinstance(entry, Entry) else type(entry)
    return name, type(exc), str(exc), getattr(exc, "__notes__", []), type(exc.__cause__)


def fields(infos: list[zipfile.ZipInfo]) -> list[tuple[Any, ...]]:
    """All that a central directory says of members."""
    return [
        (
            info.filename, info.date_time, info.compress_type, info.comment, info.extra, info.create_system,
            info.create_version, info.extract_version, info.flag_bits, info.internal_attr, info.external_attr,
            info.header_offset, info.CRC, info.compress_size, info.file_size,
        )
        for info in infos
    ]  # fmt: skip


def outcome(items: Any, *, replacement: Any = None, forgive: bool = False, **options: Any) -> Outcome:
    """A stream of `items`; what fails is left out with `forgive`, or `replacement()` takes its place."""
    heard: list[tuple[Any, ...]] = []
    chunks: list[bytes] = []
    error = None

    def on_error(entry: Any, exc: Exception) -> Any:
        heard.append(said(entry, exc))
        return replacement() if replacement is not None and len(heard) == 1 else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(DATE))
        stream = stream_zip(items, on_error=on_error if forgive else None, **options)
        try:
            chunks.extend(stream)
        except Exception as exc:
            error = said(None, exc)
    listed = fields(stream.infolist()) if error is None else []
    return Outcome(chunks, error, heard, [said(*skipped) for skipped in stream.skipped], listed)


def assert_same(make: Callable[[], list[Any]], **options: Any) -> Outcome:
    """Both ways give the same, of entries that `make` makes afresh; returns what the short one gives."""
    short, long = outcome(make(), **options), outcome(make(), **options, **LONG_WAY)
    assert short[1:] == long[1:]
    if short.error is None:
        assert short.archive == long.archive
        with zipfile.ZipFile(io.BytesIO(short.archive)) as reader:
            assert fields(reader.infolist()) == short.listed
    else:  # what has been read ahead when it fails may stay behind
        assert long.archive.startswith(short.archive) or short.archive.startswith(long.archive)
    return short


# The law


@dataclass(frozen=True)
class Item:
    """How to make an item of `entries`: under `name`, with `size` bytes of `content`, given as `kind`."""

    name: str
    content: str
    size: int
    kind: str
    options: dict[str, Any] = field(default_factory=dict)

    def make(self, folder: Path) -> Any:
        return KINDS[self.kind](self, DATA[self.content][: self.size], self.file(folder))

    def file(self, folder: Path) -> Path:
        path = folder / f"{self.content}-{self.size}"
        if not path.exists():
            path.write_bytes(DATA[self.content][: self.size])
            path.chmod(0o640)
            os.utime(path, (DATE - self.size, DATE - self.size))
        return path


SHORT_KINDS: dict[str, Callable[[Item, bytes, Path], Any]] = {
    "pair": lambda item, data, path: (item.name, data),
    "pair, path": lambda item, data, path: (item.name, path),
    "entry": lambda item, data, path: Entry(item.name, data, **item.options),
    "entry, path": lambda item, data, path: Entry(item.name, path, **item.options),
}
KINDS: dict[str, Callable[[Item, bytes, Path], Any]] = SHORT_KINDS | {
    "list": lambda item, data, path: [item.name, data],
    "bytearray": lambda item, data, path: (item.name, bytearray(data)),
    "generator": lambda item, data, path: Entry(item.name, generated([data[:5], data[5:]]), **item.options),
    "declared": lambda item, data, path: Entry(item.name, data, size=len(data), **item.options),
    "comment": lambda item, data, path: Entry(item.name, data, comment=b"remark", **item.options),
    "extra": lambda item, data, path: Entry(item.name, path, extra=b"\x34\x12\1\0x", **item.options),
    "method": lambda item, data, path: Entry(item.name, data, compression="deflate", level=1, **item.options),
    "zip64": lambda item, data, path: Entry(item.name, path, zip64=True, **item.options),
    "mapping": lambda item, data, path: {"name": item.name, "file": str(path)},
    "path": lambda item, data, path: path,
    "folder": lambda item, data, path: Entry(item.name, path.parent, **item.options),
    "missing": lambda item, data, path: (item.name, path / "missing"),
    "text": lambda item, data, path: (item.name, "text"),
}

PLAIN = ["a", "b", "c.txt", "d/e", "d/f/g", "-x", "_", "a b", "d/e (2)", "a (2)"]
OTHERS = [
    "é", "日本/x", ".hidden", "d/", "d", "e/", "a/b", "d/e/f", "../x", "/x", "C:x", "x:y", "a\\b", "a//b", "./a", "...",
    " .", "a/ .", "", "a\0", "\udc80", " ", "a/ ", "d/" * 9 + "x",
]  # fmt: skip
METHODS: dict[str, list[int | None]] = {
    "stored": [None],
    "deflate": [None, 0, 1, 6],
    "auto": [None, 1, 9],
    "bzip2": [1],
}


def sizes_around(*thresholds: int, largest: int = BLOCK + 1) -> list[int]:
    around = {near + off for near in thresholds for off in (-1, 0, 1)}
    return [0, 1, *sorted(size for size in around if 1 < size <= largest)]


@st.composite
def cases(draw: st.DrawFn, kinds: Sequence[str] = tuple(KINDS)) -> tuple[list[Item], dict[str, Any]]:
    """Items, with sizes around all that matters, and a stream's options."""
    method = draw(st.sampled_from(list(METHODS)))
    chunk_size = draw(st.sampled_from([1000, 0, 1, 7, 65536, 1 << 20]))
    lookahead = draw(st.sampled_from([65536, 0, 1, 50, 1000]))
    largest = BLOCK + 1 if chunk_size in (0, 65536, 1 << 20) else 5000
    sizes = st.sampled_from(sizes_around(20, chunk_size, lookahead, lookahead * 16, BLOCK, largest=largest))
    dates = st.sampled_from([{}, {"modified": DATE - 7.5}, {"modified": 1 << 31}, {"modified": DATE, "mode": 0o755}])
    names = st.one_of(st.sampled_from(PLAIN), st.sampled_from(PLAIN), st.sampled_from(PLAIN + OTHERS))
    item = st.builds(
        Item,
        names,
        st.sampled_from(sorted(DATA)),
        sizes,
        st.sampled_from(kinds) | st.sampled_from(list(SHORT_KINDS)),
        dates,
    )
    options = {
        "compression": method,
        "level": draw(st.sampled_from(METHODS[method])),
        "chunk_size": chunk_size,
        "lookahead": lookahead,
        "names": draw(st.sampled_from(["strict", "repair", "allow"])),
        "duplicates": draw(st.sampled_from(["rename", "error", "allow"])),
        "extended_timestamps": draw(st.booleans()),
        "workers": draw(st.sampled_from([0, 2])),
        "forgive": draw(st.sampled_from([True, True, False])),
        "replacement": draw(st.sampled_from([None, lambda: Entry("in its place", b"other data")])),
    }
    return draw(st.lists(item, max_size=8)), options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quick")


@settings(max_examples=settings().max_examples * 4)
@given(cases())
def test_no_byte_and_no_word_differs_from_the_long_way(folder: Path, case: tuple[list[Item], dict[str, Any]]) -> None:
    items, options = case
    assert_same(lambda: [item.make(folder) for item in items], **options)


@pytest.mark.parametrize("lookahead", [0, 1, 50, 1000, 16384, 65536])
@pytest.mark.parametrize(("compression", "level"), [("stored", None), ("deflate", 1), ("auto", 1)])
def test_every_threshold(folder: Path, compression: str, level: int | None, lookahead: int) -> None:
    sizes = sizes_around(1000, lookahead, lookahead * 16, BLOCK)
    items = [
        Item(f"{size}-{content}-{kind}", content, size, kind)
        for size in sizes
        for content in DATA
        for kind in ("pair", "pair, path")[: 1 + (size < STEP)]
    ]
    options = {"compression": compression, "level": level, "lookahead": lookahead, "chunk_size": 1000}
    assert_same(lambda: [item.make(folder) for item in items], **options)


@given(cases(list(SHORT_KINDS)), st.integers(1, 40))
def test_chunks_are_cut_as_the_long_way_cuts_them(
    folder: Path, case: tuple[list[Item], dict[str, Any]], times: int
) -> None:
    items, options = case
    # Beyond STEP, the long way passes stored data on without a copy.
    chunk_size = min(options["chunk_size"], STEP)
    options |= {"duplicates": "allow", "forgive": True, "chunk_size": chunk_size}
    # The first bytes of a long member leave early: here it is the same member for both.
    first = Entry("first", DATA["noise"][: chunk_size + 1], comment=b"goes the long way")
    small = sum(item.size for item in items) < 5000
    made = [first, *(item.make(folder) for item in items * (times if small else 1))]
    with pytest.MonkeyPatch.context() as patch:  # a slow machine must not show
        patch.setattr("zipstream_adapter.pipeline.PATIENCE", math.inf)
        patch.setattr("zipstream_adapter.member.PATIENCE", math.inf)
        short, long = outcome(made, **options), outcome(made, **options, **LONG_WAY)
    assert list(map(len, short.chunks)) == list(map(len, long.chunks))
    assert short.chunks == long.chunks


@pytest.mark.parametrize("compression", ["stored", "deflate", "auto"])
@pytest.mark.parametrize("chunk_size", [1, 1000, 65536, 1 << 20])
def test_chunks_have_the_size_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, chunk_size: int, compression: str
) -> None:
    monkeypatch.setattr("zipstream_adapter.pipeline.PATIENCE", math.inf)
    size = min(chunk_size * 3 // 4, 200_000)
    items = [(str(number), DATA["noise"][:size]) for number in range(24)]
    chunks = list(stream_zip(items, compression=compression, chunk_size=chunk_size))
    # What stands before the end, which is one piece, may be less.
    assert {len(chunk) for chunk in chunks[:-2]} <= {chunk_size}
    assert len(chunks) > 3


@settings(max_examples=settings().max_examples * 4)
@given(
    st.lists(st.text(st.sampled_from("aab//. -:\\é(2)"), max_size=6) | st.sampled_from(PLAIN + OTHERS), max_size=12),
    st.sampled_from(["strict", "repair", "allow"]),
    st.sampled_from(["error", "rename", "allow"]),
)
def test_plain_names_are_taken_as_all_others_are(
    tried: list[str], names: NamePolicy, duplicates: DuplicatePolicy
) -> None:
    def taken(name: str, registry: NameRegistry, plain_first: bool) -> Any:
        if plain_first and registry.take_plain(name):
            return name
        try:
            found = registry.resolve(name)
        except Exception as exc:
            return type(exc), str(exc)
        if found is not None:
            registry.take(found)
        return found

    short, long = NameRegistry(names, duplicates), NameRegistry(names, duplicates)
    assert [taken(name, short, True) for name in tried] == [taken(name, long, False) for name in tried]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_does_not_show(kind: str) -> None:
    items = [(f"{number}", DATA[sorted(DATA)[number % 4]][: number * 1000]) for number in range(60)]
    made: Executor = ThreadPoolExecutor(2) if kind == "threads" else ProcessPoolExecutor(1, get_context("spawn"))
    with made as executor:
        executor.submit(int).result()  # what nobody has begun is done by the stream itself: let them be there
        for compression in ("deflate", "auto"):
            short = outcome(items, compression=compression, executor=executor)
            assert short.archive == outcome(items, compression=compression, workers=0, **LONG_WAY).archive


@pytest.mark.parametrize("name", ["n" * 65535, "n" * 65536, "d/" * 32767 + "n", "d/" * 32768 + "n"])
def test_the_longest_names(name: str) -> None:
    failed = assert_same(lambda: [(name, b"data"), (name[:60], b"")], forgive=True).skipped
    assert len(failed) == (len(name) > 65535)


# What fails


class Odd(os.PathLike[Any]):
    """A path object that gives, or raises, `what`."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __fspath__(self) -> Any:
        if isinstance(self.what, Exception):
            raise self.what
        return self.what


class Text(str):
    """A str that is none to be sure of."""

    __slots__ = ()


def at(*parts: str) -> Callable[[Path], Any]:
    return lambda folder: ("m", folder.joinpath(*parts))


# Items that the short way cannot take, and most of which no way can; of a folder as `odd_folder` makes it.
ODD: dict[str, Callable[[Path], Any]] = {
    "missing": at("missing"),
    "folder": at(""),
    "pipe": at("pipe"),
    "socket": at("socket"),
    "loop": at("loop"),
    "link": at("link"),
    "long name": at("n" * 300),
    "under a file": at("file", "x"),
    "NUL": at("a\0b"),
    "unreadable": at("locked", "file"),
    "device": lambda folder: ("m", Path(os.devnull)),
    "made when read": lambda folder: ("m", Path("/proc/version")),
    "says 4096": lambda folder: ("m", Path("/sys/kernel/mm/transparent_hugepage/enabled")),
    "raises": lambda folder: ("m", Odd(RuntimeError("no path today"))),
    "raises, in an Entry": lambda folder: Entry("m", Odd(ValueError("no path today"))),
    "is no path": lambda folder: ("m", Odd(7)),
    "path of bytes": lambda folder: ("m", Odd(os.fsencode(folder / "file"))),
    "text": lambda folder: ("m", "text"),
    "nothing": lambda folder: ("m", None),
    "one": lambda folder: ("m",),
    "three": lambda folder: ("m", b"", b""),
    "a number": lambda folder: 7,
    "no name": lambda folder: (None, b""),
    "number for a name": lambda folder: (7, b""),
    "bytes for a name": lambda folder: (b"m", folder / "file"),
    "text of a kind": lambda folder: (Text("m"), b"data"),
    "taken": lambda folder: ("first", b""),
}


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # a socket's path is short
        bound.bind("socket")
    (folder / "loop").symlink_to("loop")
    (folder / "link").symlink_to("file")
    (folder / "file").write_bytes(b"of a file")
    os.utime(folder / "file", (DATE, DATE))
    (folder / "locked").mkdir(0o000)
    return folder


@contextmanager
def as_nobody() -> Iterator[None]:
    """The superuser may read all."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("forgive", [False, True])
@pytest.mark.parametrize("compression", ["stored", "deflate"])
@pytest.mark.parametrize("name", list(ODD))
def test_what_fails_says_the_same(odd_folder: Path, name: str, compression: str, forgive: bool) -> None:
    items = [("first", b"1"), ODD[name](odd_folder), ("last", b"2")]
    with as_nobody() if name == "unreadable" else nullcontext():
        assert_same(lambda: items, compression=compression, forgive=forgive)


@pytest.mark.parametrize("size", [10, 30], ids=["grows", "shrinks"])
@pytest.mark.parametrize("times", [1, 99], ids=["once", "always"])
def test_a_file_that_changes_between_looking_and_reading(tmp_path: Path, size: int, times: int) -> None:
    """Read again the long way, which takes it as it is then, or says that it has changed."""
    path, real = tmp_path / "file", os.fstat

    def make() -> list[Any]:
        """The file is `size` bytes long while it is looked at, and 20 when it is read."""
        looked = 0

        def fstat(descriptor: int) -> os.stat_result:
            nonlocal looked
            if not os.path.samestat(real(descriptor), os.stat(path)):
                return real(descriptor)
            looked += 1
            if looked <= times:
                path.write_bytes(b"x" * size)
            info = real(descriptor)
            path.write_bytes(b"y" * 20)
            return info

        patch.setattr(os, "fstat", fstat)
        return [("before", b"1"), ("file", path)]

    path.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        short = outcome(make(), compression="deflate")
        if times == 1:
            assert short.error is None
            assert zipfile.ZipFile(io.BytesIO(short.archive)).read("file") == b"y" * 20
        else:
            assert short.error == outcome(make(), compression="deflate", **LONG_WAY).error
            assert short.error is not None
            assert short.error[1] is SourceChangedError


@pytest.mark.parametrize("way", [{}, LONG_WAY], ids=["short", "long"])
def test_a_bad_source_date_epoch_fails_what_needs_a_date(monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert b"".join(stream_zip([Entry("a", b"1", modified=DATE)], **way))
    stream = stream_zip([("a", b"1")], **way)
    with pytest.raises(OptionError, match="SOURCE_DATE_EPOCH='yesterday'") as caught:
        next(stream)
    assert caught.value.__notes__ == ["(while adding entry 'a')"]
    forgiving = stream_zip([("a", b"1")], on_error=lambda entry, exc: None, **way)
    assert zipfile.ZipFile(io.BytesIO(forgiving.read())).namelist() == []


# What is read, and when


class Source:
    """`count` items of `size` bytes of noise, made as they are asked for; counts what it gave."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        try:
            for number in range(self.count):
                self.taken += 1
                yield str(number), DATA["noise"][: self.size]
        finally:
            self.closed = True


@pytest.mark.parametrize("compression", ["stored", "deflate", "auto"])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("size", [1000, 100_000, BLOCK - 1])
def test_reading_ahead_is_bounded(size: int, workers: int, compression: str) -> None:
    source = Source(24 * BLOCK // size, size)
    handed, most = 0, 0
    for chunk in stream_zip(iter(source), compression=compression, level=1, workers=workers):
        most = max(most, source.taken * size - handed)
        handed += len(chunk)
    assert size <= most <= (workers + 3) * BLOCK


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_is_touched_before_it_is_asked_for_nor_after_the_end(workers: int, tmp_path: Path) -> None:
    touched: list[int] = []

    class Watched(Odd):
        def __fspath__(self) -> Any:
            touched.append(1)
            return self.what

    path = tmp_path / "file"
    path.write_bytes(DATA["noise"][:1000])
    entries = ((str(number), Watched(str(path))) for number in range(5000))
    stream = stream_zip(entries, compression="deflate", workers=workers)
    assert not touched
    next(stream)
    ahead = len(touched)
    assert 0 < ahead <= (workers + 3) * BLOCK // 1000
    stream.close()
    assert len(touched) == ahead
    assert list(entries) == []


@pytest.mark.parametrize("dropped", [False, True])
def test_a_stream_that_is_closed_or_dropped_closes_its_entries(dropped: bool) -> None:
    source = Source(5000, 1000)
    stream = stream_zip(iter(source), compression="deflate", workers=2)
    next(stream)
    if not dropped:
        stream.close()
    del stream
    assert source.closed
    assert source.taken < 5000


@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_what_is_there_is_handed_over_when_the_entries_are_slow(compression: str) -> None:
    reached = []

    def entries() -> Iterator[tuple[str, bytes]]:
        for name in ("first", "second", "late", "after"):
            if name == "late":
                sleep(PATIENCE * 1.05)
            reached.append(name)
            yield name, DATA["noise"][:100]

    stream = stream_zip(entries(), compression=compression)
    handed = b""
    while "late" not in reached:
        handed += next(stream)
    assert reached == ["first", "second", "late"]
    assert [info.filename for info in stream.infolist()] == reached
    assert handed.count(b"PK\3\4") == 3


@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_full_chunks_are_handed_over_before_a_long_member_is_waited_for(compression: str) -> None:
    begun = []

    def slow() -> Iterator[bytes]:
        begun.append(True)
        yield b"data"

    short = [(str(number), DATA["noise"][:1000]) for number in range(200)]
    stream = stream_zip([*short, ("slow", slow())], compression=compression, workers=0)
    handed = 0
    while not begun:
        handed += len(next(stream))
    assert handed > 200_000 - (1 << 16)


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt()])
def test_entries_that_fail_end_the_stream(error: BaseException) -> None:
    def entries() -> Iterator[tuple[str, bytes]]:
        yield "a", b"1"
        raise error

    for way in ({}, LONG_WAY):
        stream = stream_zip(entries(), compression="deflate", on_error=lambda entry, exc: None, **way)
        with pytest.raises(type(error)) as caught:
            list(stream)
        assert caught.value is error
        assert not hasattr(error, "__notes__")


# What is kept of a member

EXTRA = b"\x34\x12\1\0x"
STALE = struct.pack("<2H2Q", 1, 16, 7, 7)
FLAGS = [0, DESCRIPTOR_FLAG, LZMA_EOS_FLAG, DESCRIPTOR_FLAG | LZMA_EOS_FLAG]


@pytest.mark.parametrize("extra", [b"", EXTRA, STALE + EXTRA], ids=["no extra", "extra", "a stale zip64 extra"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("flags", FLAGS)
def test_a_template_packs_what_the_records_are(flags: int, method: int, extra: bytes) -> None:
    def info(name: str) -> zipfile.ZipInfo:
        made = zipfile.ZipInfo(name, (2024, 2, 29, 23, 59, 58))
        made.create_system, made.external_attr, made.internal_attr = 3, 0o100640 << 16, 1
        made.flag_bits, made.compress_type, made.extra = flags, method, extra
        return made

    template = Template(info("x"))
    for offset in (0, LIMIT32 - 1, LIMIT32, LIMIT32 + 1, 1 << 40, 7):
        for name, size, data in (("a", 0, b""), ("d/e", LIMIT32 - 1, b"coded"), ("n" * 65535, 9, b"-")):
            single = info(name)
            single.CRC, single.file_size, single.compress_size, single.header_offset = (
                0xFEDCBA98,
                size,
                len(data),
                offset,
            )
            whole = local_header(single, zip64=False) + data
            if flags & DESCRIPTOR_FLAG:
                whole += data_descriptor(single, zip64=False)
            row = directory_row(single, zip64=False)
            assert template.member(name.encode(), single.CRC, size, data) == whole
            assert template.directory_row(name.encode(), single.CRC, len(data), size, offset) == row


def row_of(name: str, comment: bytes = b"", *, zip64: bool = False) -> bytes:
    info = zipfile.ZipInfo(name)
    info.CRC = info.file_size = info.compress_size = info.header_offset = 0
    info.comment = comment
    return directory_row(info, zip64=zip64)


def test_rows_are_given_back_in_blocks_and_as_a_list() -> None:
    names = [f"{number}{'n' * (number % 7)}" for number in range(65_536)]  # an end record needs zip64 to count them
    rows, packed = Rows(), [row_of(name, zip64=len(name) == 9) for name in names]
    for row in packed:
        rows.add(row)
    assert rows.count == 65_536
    assert [info.filename for info in rows.infolist()] == names
    blocks = list(rows.take())
    assert b"".join(blocks) == b"".join(packed)
    assert 60_000 < min(map(len, blocks[:-1])) <= max(map(len, blocks)) <= Rows.BLOCK
    assert len(rows.infolist()) == 65_536


def test_a_row_larger_than_a_block_is_a_block() -> None:
    rows, row = Rows(), row_of("n" * 65535, b"c" * 65535)
    for _ in range(3):
        rows.add(row)
    assert list(rows.take()) == [row] * 3


@pytest.mark.parametrize("way", [{}, LONG_WAY], ids=["short", "long"])
def test_the_list_of_members_is_right_for_thousands(way: dict[str, Any]) -> None:
    items: list[Any] = [(f"{number}-{'é' * (number % 2)}", b"data") for number in range(3000)]
    items[::7] = [Entry(f"{number}", iter([b"da", b"ta"]), zip64=True, comment=b"remark") for number in range(429)]
    stream = stream_zip(items, compression="deflate", **way)
    assert stream.infolist() == []
    archive = stream.read()
    with zipfile.ZipFile(io.BytesIO(archive)) as reader:
        assert fields(stream.infolist()) == fields(stream.infolist()) == fields(reader.infolist())
        assert len(reader.infolist()) == 3000
    assert archive.count(b"PK\1\2") == 3000


def test_an_extra_that_readers_would_refuse_does_not_hide_the_list() -> None:
    stream = stream_zip([Entry("a", b"data", extra=struct.pack("<2HB", 0x7075, 1, 1))])
    stream.read()
    assert [info.filename for info in stream.infolist()] == ["a"]


@pytest.mark.parametrize("chunk_size", [0, 1000, 65536, 200_000])
@pytest.mark.parametrize("count", [1, 1023, 2048, 5000])
def test_the_central_directory_leaves_in_pieces(count: int, chunk_size: int) -> None:
    """Here a row has 64 bytes, so a block is full with 1,024 of them, and the end records come on top."""
    items = [(f"{number:09}", b"") for number in range(count)]
    chunks = list(stream_zip(items, chunk_size=chunk_size))
    assert max(map(len, chunks)) <= max(chunk_size, Rows.BLOCK + 22)
    assert b"".join(chunks).count(b"PK\1\2") == count


_PROBE = """
import resource, sys

def peak():
    # A process starts with its parent's peak in getrusage; Linux also tells its own.
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

from zipstream_adapter import stream_zip

method, duplicates, way, count = *sys.argv[1:4], int(sys.argv[4])
heard = None if way == "short" else lambda progress: None

def run(count):
    entries = ((f"{n:010}", b"x" * 20) for n in range(count))
    stream = stream_zip(entries, compression=method, duplicates=duplicates, on_progress=heard)
    return max(map(len, stream))

run(100)
before = peak()
assert run(count) <= 65536 + 100
sys.stdout.write(str((peak() - before) / count))
"""


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        ("stored allow short 200000", 130),
        ("stored error short 200000", 250),
        ("deflate error short 200000", 350),
        ("stored allow long 30000", 200),
    ],
    ids=["rows", "rows and names", "and what is in flight", "rows, the long way"],
)
def test_a_finished_member_costs_its_row_and_its_name(arguments: str, most: int) -> None:
    pytest.importorskip("resource", reason="the peak is not told here")
    command = [sys.executable, "-c", _PROBE, *arguments.split()]
    done = subprocess.run(command, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert float(done.stdout) < most


@pytest.mark.large
@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_members_beyond_4_gibibytes(compression: str, folder: Path) -> None:
    block = bytes(1 << 22)

    def tail(**options: Any) -> tuple[bytes, list[tuple[Any, ...]]]:
        big = Entry("big", (block for _ in range(1 << 10)), zip64=True, compression="stored", modified=DATE)
        small = [(f"{number}", DATA["text"][:number]) for number in range(0, 3000, 100)]
        after = [Entry(name, data, modified=DATE) for name, data in small]
        stream = stream_zip([big, *after, ("file", folder / "text-20")], compression=compression, **options)
        kept, at = [], 0
        for chunk in stream:
            at += len(chunk)
            if at > 1 << 32:
                kept.append(chunk)
        return b"".join(kept)[-100_000:], fields(stream.infolist())

    Item("", "text", 20, "path").file(folder)
    short, listed = tail()
    assert (short, listed) == tail(**LONG_WAY)
    assert len(short) > 50_000 or compression == "deflate"
    assert [row[11] > LIMIT32 for row in listed] == [False, *[True] * 31]
