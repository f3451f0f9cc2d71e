"""The law of the layout: any range of it is that slice of the stream of the same entries and options."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.strategies import Recipe, comments, cut, generated, recipes
from zipstream_adapter import Entry, ZipLayout, stream_zip

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DATE = 1_700_000_000
LOOKAHEADS = st.sampled_from([0, 1, 50, 500, 65536])
# The options of members in stored blocks.
FRAMED: list[dict[str, Any]] = [{"compression": "deflate", "level": 0}, {"compression": "none"}]

# Sources that give the same again; those of the second row need a declared size.
AGAIN: dict[str, Callable[[list[bytes]], Any]] = {
    "bytes": lambda chunks: b"".join(chunks),
    "bytearray": lambda chunks: bytearray(b"".join(chunks)),
    "memoryview": lambda chunks: memoryview(b"".join(chunks)),
    "list": list,
    "callable for bytes": lambda chunks: lambda: b"".join(chunks),
    "callable for a generator": lambda chunks: lambda: generated(chunks),
    "callable for a file": lambda chunks: lambda: io.BytesIO(b"".join(chunks)),
    "callable for a file that cannot seek": lambda chunks: lambda: _Unseekable(b"".join(chunks)),
    "iterable": lambda chunks: _Iterable(chunks),
}


class _Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *place: int) -> int:
        raise io.UnsupportedOperation


class _Iterable:
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


def entry_of(recipe: Recipe, kind: str) -> Entry:
    if recipe.is_dir:
        return recipe.entry()
    options = dict(recipe.options)
    if options["compression"] == zipfile.ZIP_DEFLATED:
        options["level"] = 0
    if kind.startswith(("callable", "iterable")):
        options["size"] = len(recipe.data)
    return Entry(recipe.name, AGAIN[kind](cut(recipe.data, recipe.sizes)), **options)


@st.composite
def entries_of(draw: st.DrawFn, largest: int = 3000, most: int = 5) -> list[Entry]:
    made = draw(recipes(methods=METHODS, largest=largest, most=most))
    return [entry_of(recipe, draw(st.sampled_from(sorted(AGAIN)))) for recipe in made]


@st.composite
def options_of(draw: st.DrawFn) -> dict[str, Any]:
    comment = comments()
    return {
        "lookahead": draw(LOOKAHEADS),
        "comment": draw(comment),
        "chunk_size": draw(st.sampled_from([0, 1, 7, 100, 65536])),
        "extended_timestamps": draw(st.booleans()),
    }


def places(layout: ZipLayout, draw: st.DataObject, count: int) -> Iterator[tuple[int, int]]:
    """Ranges, that begin and end anywhere, or near where a record does."""
    edges = [0, layout.size]
    for entry in layout.entries:
        edges += [entry.offset, entry.data_offset, entry.data_offset + entry.compressed_size]
    near = st.builds(lambda at, by: min(max(0, at + by), layout.size), st.sampled_from(edges), st.integers(-3, 18))
    any_place = st.integers(0, layout.size) | near
    for _ in range(count):
        start, stop = sorted((draw.draw(any_place), draw.draw(any_place)))
        yield start, stop


@settings(max_examples=settings().max_examples * 2)
@given(entries_of(), options_of(), st.data())
def test_a_layout_is_its_stream(entries: list[Entry], options: dict[str, Any], draw: st.DataObject) -> None:
    whole = b"".join(stream_zip(entries, **options))
    layout = ZipLayout(iter(entries), **options)
    assert layout.size == len(layout) == len(whole)
    for start, stop in places(layout, draw, 6):
        assert b"".join(layout.iter_range(start, stop)) == whole[start:stop]
    assert b"".join(layout.iter_range()) == whole
    again = ZipLayout(entries, **options)
    assert again.etag == layout.etag
    assert b"".join(again.iter_range()) == whole
    listed = zipfile.ZipFile(io.BytesIO(whole)).infolist()
    assert [(it.name, it.offset, it.size, it.compressed_size, it.crc32, it.compression) for it in layout.entries] == [
        (it.filename, it.header_offset, it.file_size, it.compress_size, it.CRC, it.compress_type) for it in listed
    ]


@settings(max_examples=settings().max_examples // 2)
@given(entries_of(largest=200_000, most=3), st.sampled_from(FRAMED), LOOKAHEADS, st.data())
def test_stored_blocks_are_found_by_place(
    entries: list[Entry], framed: dict[str, Any], lookahead: int, draw: st.DataObject
) -> None:
    # Only "none" takes no level.
    made = [entry if entry.is_dir else entry.replace(**{"level": None, **framed}) for entry in entries]
    stream = stream_zip(made, lookahead=lookahead)
    expected = stream.size
    whole = b"".join(stream)
    layout = ZipLayout(made, lookahead=lookahead)
    assert layout.size == len(whole)
    assert expected in (None, len(whole))  # a stream does not know the size of chunks in a list
    for start, stop in places(layout, draw, 8):
        assert b"".join(layout.iter_range(start, stop)) == whole[start:stop]
    assert b"".join(layout.iter_range()) == whole


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 131069, 131070, 131071])
@pytest.mark.parametrize("framed", FRAMED, ids=lambda options: options["compression"])
def test_every_boundary_of_a_block(size: int, framed: dict[str, Any]) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    entries = [Entry("a", data[:size], modified=DATE, **framed)]
    whole = b"".join(stream_zip(entries, lookahead=0))
    layout = ZipLayout(entries, lookahead=0)
    begins = layout.entries[0].data_offset
    for block in range(0, size + 65540, 65540):
        for start in range(begins + block - 8, begins + block + 8):
            for stop in (start, start + 1, start + 5, start + 12):
                at, to = min(start, layout.size), min(stop, layout.size)
                assert b"".join(layout.iter_range(at, to)) == whole[at:to]


@pytest.mark.parametrize(
    ("count", "data"),
    [
        *product([0, 1], [b"", b"data"]),
        *(pytest.param(*row, marks=pytest.mark.sweep) for row in product([65534, 65535, 65536], [b"", b"data"])),
    ],
)
def test_counts_around_16_bits(count: int, data: bytes) -> None:
    entries = [Entry(f"{number}", data, modified=DATE) for number in range(count)]
    whole = b"".join(stream_zip(entries, lookahead=0))
    layout = ZipLayout(entries, lookahead=0)
    assert layout.size == len(whole)
    assert b"".join(layout.iter_range(layout.size - min(layout.size, 300_000))) == whole[-300_000:]
    assert b"".join(layout.iter_range()) == whole


def test_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "sea").mkdir()
    for name, size in (("empty", 0), ("small", 1000), ("late", 70_000), ("large", 2_000_000)):
        (tmp_path / name).write_bytes(bytes(range(250)) * (size // 250))
    entries: Sequence[Any] = [
        Entry.from_path(tmp_path / "sea"),
        tmp_path / "empty",
        tmp_path / "small",
        Entry("0", tmp_path / "large", compression="deflate", level=0),
        tmp_path / "late",
        tmp_path / "large",
    ]
    whole = b"".join(stream_zip(entries))
    layout = ZipLayout(entries)
    for start in range(0, layout.size, 99_991):
        assert b"".join(layout.iter_range(start, min(layout.size, start + 150_000))) == whole[start : start + 150_000]
    assert b"".join(ZipLayout(entries).iter_range()) == whole


@given(entries_of(), options_of(), st.sampled_from(["strict", "repair", "allow"]), st.data())
def test_names_and_duplicates(entries: list[Entry], options: dict[str, Any], names: Any, draw: st.DataObject) -> None:
    again = draw.draw(st.lists(st.sampled_from(entries), max_size=3)) if entries else []
    policy = draw.draw(st.sampled_from(["rename", "allow"]))
    options |= {"names": names, "duplicates": policy}
    whole = b"".join(stream_zip([*entries, *again], **options))
    layout = ZipLayout([*entries, *again], **options)
    assert layout.size == len(whole)
    assert b"".join(layout.iter_range()) == whole
