"""Members that are written whole: no byte differs from members that are streamed."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.both_ways import DATA, DATE, LONG_WAY, assert_same, outcome
from tests.support.strategies import generated, overwritten
from zipstream_adapter import Entry, ZipStream, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK
from zipstream_adapter._compression.codec import STEP
from zipstream_adapter._format.names import DuplicatePolicy, NamePolicy, NameRegistry
from zipstream_adapter._format.timestamps import EARLIEST, DosDateTime
from zipstream_adapter._stream.sync import stream_with


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
    "own timestamp": lambda item, data, path: Entry(item.name, data, extra=b"UT\5\0\1abcd", **item.options),
    "local time": lambda item, data, path: Entry(item.name, data, **{**item.options, "modified": LOCAL}),
    "the same in UTC": lambda item, data, path: Entry(item.name, data, **{**item.options, "modified": NOT_LOCAL}),
    "promised": lambda item, data, path: Entry(item.name, data, size=len(data), crc32=zlib.crc32(data)),
    "CRC-32": lambda item, data, path: Entry(item.name, path, crc32=zlib.crc32(data)),
    "wrong size": lambda item, data, path: Entry(item.name, generated([data, b"x"]), size=len(data)),
    "wrong CRC-32": lambda item, data, path: Entry(item.name, data, crc32=zlib.crc32(data) ^ 1),
    "promised, generator": lambda item, data, path: Entry(
        item.name, generated([data[:5], data[5:]]), size=len(data), crc32=zlib.crc32(data)
    ),
    "no zip64": lambda item, data, path: Entry(item.name, data, zip64=False, **item.options),
    "zip64, generator": lambda item, data, path: Entry(item.name, generated([data[:5], data[5:]]), zip64=True),
    "stored": lambda item, data, path: Entry(item.name, path, compression="stored", **item.options),
    "level": lambda item, data, path: Entry(item.name, data, level=1, **item.options),
    "chunks": lambda item, data, path: (item.name, [data[:9], b"", data[9:]]),
    "iterator": lambda item, data, path: (item.name, map(bytes, [data[:9], data[9:]])),
    "overwritten": lambda item, data, path: (item.name, overwritten([data[:9], data[9:]])),
    "function": lambda item, data, path: (item.name, lambda: generated([data])),
    "function of data": lambda item, data, path: (item.name, lambda: data),
    "function that fails": lambda item, data, path: (item.name, broken),
    "breaks": lambda item, data, path: (item.name, breaking([data[:9], data[9:]])),
    "breaks at once": lambda item, data, path: (item.name, breaking([])),
    "breaks when closed": lambda item, data, path: (item.name, BadlyClosed([data])),
    "gives text": lambda item, data, path: (item.name, iter([data, "text"])),
    "method": lambda item, data, path: Entry(item.name, data, compression="deflate", level=1, **item.options),
    "zip64": lambda item, data, path: Entry(item.name, path, zip64=True, **item.options),
    "mapping": lambda item, data, path: {"name": item.name, "file": str(path)},
    "path": lambda item, data, path: path,
    "folder": lambda item, data, path: Entry(item.name, path.parent, **item.options),
    "missing": lambda item, data, path: (item.name, path / "missing"),
    "text": lambda item, data, path: (item.name, "text"),
}

LOCAL: datetime = DosDateTime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
NOT_LOCAL: datetime = datetime(2001, 2, 3, 4, 5, 6, 7, tzinfo=UTC)


def broken() -> bytes:
    raise OSError("broken from the start")


def breaking(chunks: list[bytes]) -> Iterator[bytes]:
    yield from chunks
    raise OSError("broken")


class BadlyClosed:
    """An iterator of `chunks` that cannot be closed."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        raise OSError("cannot be closed")


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
    **({"zstd": [None, -7, 19]} if oracles.has_zstd() else {}),
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
def test_no_byte_and_no_error_differs(folder: Path, case: tuple[list[Item], dict[str, Any]]) -> None:
    items, options = case
    assert_same(lambda: [item.make(folder) for item in items], **options)


@pytest.mark.parametrize("lookahead", [0, 1, 50, 1000, 16384, 65536])
@pytest.mark.parametrize(("compression", "level"), [("stored", None), ("deflate", 1), ("auto", 1), ("zstd", 1)])
def test_every_threshold(folder: Path, compression: str, level: int | None, lookahead: int) -> None:
    if compression == "zstd":
        oracles.need_zstd()
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
def test_chunks_are_cut_as_for_streamed_members(
    folder: Path, case: tuple[list[Item], dict[str, Any]], times: int
) -> None:
    items, options = case
    # Beyond STEP, a MemberWriter passes stored data on without a copy.
    chunk_size = min(options["chunk_size"], STEP)
    options |= {"duplicates": "allow", "forgive": True, "chunk_size": chunk_size}
    # The first bytes of a long member leave early: here it is the same member for both.
    data = DATA["noise"][: chunk_size + 1]
    first = Entry.raw("first", data, compression="stored", size=len(data), crc32=zlib.crc32(data), modified=DATE)
    small = sum(item.size for item in items) < 5000
    made = [first, *(item.make(folder) for item in items * (times if small else 1))]
    with pytest.MonkeyPatch.context() as patch:  # a slow machine must not show
        patch.setattr("zipstream_adapter._stream.producer.PATIENCE", math.inf)
        patch.setattr("zipstream_adapter._writer.member.PATIENCE", math.inf)
        short, long = outcome(made, **options), outcome(made, **options, **LONG_WAY)
    assert list(map(len, short.chunks)) == list(map(len, long.chunks))
    assert short.chunks == long.chunks


@pytest.mark.parametrize("compression", ["stored", "deflate", "auto"])
@pytest.mark.parametrize("chunk_size", [1, 1000, 65536, 1 << 20])
def test_chunks_have_the_size_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, chunk_size: int, compression: Any
) -> None:
    monkeypatch.setattr("zipstream_adapter._stream.producer.PATIENCE", math.inf)
    size = min(chunk_size * 3 // 4, 200_000)
    items = [(str(number), DATA["noise"][:size]) for number in range(24)]
    chunks = list(stream_zip(items, compression=compression, chunk_size=chunk_size))
    # What stands before the end, which is one piece, may be less.
    assert {len(chunk) for chunk in chunks[:-2]} <= {chunk_size}
    assert len(chunks) > 3


@settings(max_examples=settings().max_examples * 4)
@given(
    st.lists(
        st.tuples(
            st.text(st.sampled_from("aAab//. -:\\é(2)"), max_size=6) | st.sampled_from([*PLAIN, *OTHERS, "con.a"]),
            st.sampled_from([False, False, False, True]),
        ),
        max_size=12,
    ),
    st.sampled_from(get_args(NamePolicy)),
    st.sampled_from(["error", "rename", "allow"]),
)
def test_the_cache_of_directories_does_not_show(
    tried: list[tuple[str, bool]], names: NamePolicy, duplicates: DuplicatePolicy
) -> None:
    def taken(member: tuple[str, bool], registry: NameRegistry, cached: bool) -> Any:
        name, is_link = member
        is_link = is_link and not name.endswith("/")
        if not cached:
            registry._accepted.clear()
        try:
            found = registry.resolve(name, is_link=is_link)
        except Exception as exc:
            return type(exc), str(exc)
        if found is not None:
            registry.take(found, is_link=is_link)
        return found

    one, other = NameRegistry(names, duplicates), NameRegistry(names, duplicates)
    assert [taken(name, one, True) for name in tried] == [taken(name, other, False) for name in tried]


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.patient
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


@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_dates_and_modes_in_turn_are_those_of_the_long_way(compression: Any) -> None:
    first = datetime(2024, 1, 2, 3, 4, 6, tzinfo=UTC)
    dates = [first, first, first.replace(microsecond=7), DosDateTime(2024, 1, 2, 3, 4, 6, tzinfo=UTC), EARLIEST, first]
    modes = [None, 0o644, 0o100600, 0o100600, 0o755, 0o644, 0o120777]
    entries = [
        Entry(f"{number}-{at}", b"data", modified=date, mode=mode)
        for number, date in enumerate(dates)
        for at, mode in enumerate(modes)
    ]
    made = ZipStream(entries, compression=compression).read()
    assert made == stream_with(entries, compression=compression, **LONG_WAY).read()
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        infos = archive.infolist()
    assert [info.external_attr >> 16 & 0o777 for info in infos] == [
        0o644 if m is None else m & 0o777 for m in modes
    ] * 6
