"""Hypothesis strategies: entries that can be made again and again, and ways to cut data.

Reading a source uses it up, so nothing here is an Entry: a `Recipe` builds a fresh one, with fresh sources, each
time it is asked.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import cycle
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

from hypothesis import strategies as st

from zipstream_adapter import Entry
from zipstream_adapter._format.name_parts import is_empty_or_dots, look_of
from zipstream_adapter._format.records import end_signature_in

if TYPE_CHECKING:
    from typing import Self

# Fields that no reader knows, so that none takes what is in them for its own.
_UNKNOWN_EXTRAS = (0x1234, 0x7FFE, 0xBEEF, 0xFACE)
# lzma's higher presets take up to a gigabyte of memory each, and differ in numbers only.
_LEVELS: dict[int, Sequence[int]] = {ZIP_STORED: (), ZIP_DEFLATED: range(10), ZIP_BZIP2: (1, 9), ZIP_LZMA: (0, 1)}


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """`data` in chunks of `sizes`, over and over; a size of 0 is an empty chunk among the others."""
    if not any(sizes):
        return [b""] * len(sizes) + ([data] if data else [])
    chunks: list[bytes] = []
    at = 0
    for size in cycle(sizes):
        if at >= len(data):
            return chunks
        chunks.append(data[at : at + size])
        at += size
    raise AssertionError("a cycle has no end")


def generated(chunks: Sequence[bytes]) -> Iterator[bytes]:
    yield from chunks


def overwritten(chunks: Sequence[bytes]) -> Iterator[bytearray]:
    """Each chunk in the same bytearray, as code does that reads into a buffer of its own."""
    buffer = bytearray()
    for chunk in chunks:
        buffer[:] = chunk
        yield buffer
    buffer[:] = b"\xff" * len(buffer)


class ShortReads:
    """A file object whose reads give what has come, as a socket's do."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = [chunk for chunk in chunks if chunk]

    def read(self, size: int = -1) -> bytes:
        if not self._chunks:
            return b""
        chunk = self._chunks.pop(0)
        if 0 <= size < len(chunk):
            self._chunks.insert(0, chunk[size:])
            chunk = chunk[:size]
        return chunk


SOURCES: dict[str, Callable[[list[bytes]], Any]] = {
    "bytes": lambda chunks: b"".join(chunks),
    "bytearray": lambda chunks: bytearray(b"".join(chunks)),
    "memoryview": lambda chunks: memoryview(b"".join(chunks)),
    "list": list,
    "list of bytearrays": lambda chunks: [bytearray(chunk) for chunk in chunks],
    "generator": generated,
    "overwritten buffer": overwritten,
    "file": lambda chunks: io.BytesIO(b"".join(chunks)),
    "short reads": ShortReads,
    "callable for bytes": lambda chunks: lambda: b"".join(chunks),
    "callable for a generator": lambda chunks: lambda: generated(chunks),
    "callable for a file": lambda chunks: lambda: io.BytesIO(b"".join(chunks)),
}


@dataclass(frozen=True)
class Recipe:
    """How to make one Entry. `date` is the instant that `options["modified"]` stands for."""

    name: str
    data: bytes
    source: str = "bytes"
    sizes: tuple[int, ...] = ()
    date: datetime = datetime(1980, 1, 1, tzinfo=UTC)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_dir(self) -> bool:
        return self.name.endswith("/")

    @property
    def method(self) -> int:
        return ZIP_STORED if self.is_dir else self.options.get("compression", ZIP_STORED)

    def entry(self, source: str | None = None, sizes: Sequence[int] | None = None) -> Entry:
        """A fresh Entry, its data handed over as `source` and cut to `sizes`, or as the recipe says."""
        if self.is_dir:
            return Entry.directory(self.name, **self.options)
        chunks = cut(self.data, self.sizes if sizes is None else sizes)
        return Entry(self.name, SOURCES[source or self.source](chunks), **self.options)


def noise(seed: int, size: int) -> bytes:
    """`size` bytes that no compressor makes smaller, the same for the same `seed`."""
    return random.Random(seed).randbytes(size)


def words(seed: int, size: int) -> bytes:
    """`size` bytes of text that compresses well, the same for the same `seed`."""
    chosen = random.Random(seed).choices([b"stream ", b"archive ", b"member ", b"of ", b"bytes\n"], k=size // 3 + 1)
    return b"".join(chosen)[:size]


def data(largest: int = 3000) -> st.SearchStrategy[bytes]:
    """Data of all kinds: short and arbitrary, long noise, long text."""
    sizes = st.integers(0, largest)
    seeds = st.integers(0, 3)
    return st.one_of(st.binary(max_size=40), st.builds(noise, seeds, sizes), st.builds(words, seeds, sizes))


def comments(largest: int = 20) -> st.SearchStrategy[bytes]:
    """Bytes that no reader takes for an archive's end: others are refused."""
    return st.binary(max_size=largest).filter(lambda text: end_signature_in(text) is None)


# Sizes of chunks: over and over; empty ones among them, and one chunk for all.
cuttings = st.lists(st.integers(0, 900), max_size=5).map(tuple)

_components = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Cn"), exclude_characters="/\\:"), min_size=1, max_size=8
).filter(lambda text: not is_empty_or_dots(text) and look_of(text, first=True) is None)
_names = st.lists(_components, min_size=1, max_size=3).map("/".join)


def _exist_together(names: Sequence[str]) -> bool:
    """Whether no file stands where another name needs a directory."""
    files = {name for name in names if not name.endswith("/")}
    if any(name.removesuffix("/") in files for name in names if name.endswith("/")):
        return False
    return not any(name[:at] in files for name in names for at, letter in enumerate(name) if letter == "/")


def _dates() -> st.SearchStrategy[tuple[Any, datetime]]:
    """(what is given as `modified`, the instant it stands for): all forms that are not the machine's own time."""
    instants = st.datetimes(datetime(1980, 1, 2), datetime(2107, 12, 30)).map(lambda date: date.replace(microsecond=0))
    zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.one_of(
        instants.map(lambda date: (date, date.replace(tzinfo=UTC))),
        st.tuples(instants, zones).map(lambda pair: (pair[0].replace(tzinfo=UTC).astimezone(pair[1]), _utc(pair[0]))),
        instants.map(lambda date: (_utc(date).timestamp(), _utc(date))),
        instants.map(lambda date: (tuple(date.timetuple()[:6]), _utc(date))),
    )


def _utc(date: datetime) -> datetime:
    return date.replace(tzinfo=UTC)


_extras = st.lists(
    st.tuples(st.sampled_from(_UNKNOWN_EXTRAS), comments(12)).map(
        lambda field: struct.pack("<2H", field[0], len(field[1])) + field[1]
    ),
    max_size=2,
).map(b"".join)


@st.composite
def _recipe(draw: st.DrawFn, name: str, methods: Sequence[int], largest: int) -> Recipe:
    modified, date = draw(_dates())
    options: dict[str, Any] = {"modified": modified}
    if draw(st.booleans()):
        options |= {"comment": draw(comments()), "extra": draw(_extras)}
        options["mode"] = draw(st.sampled_from([None, 0o600, 0o755]))
    options["zip64"] = draw(st.sampled_from([None, None, None, False, True]))
    if name.endswith("/"):
        return Recipe(name, b"", date=date, options=options)
    options["compression"] = method = draw(st.sampled_from(methods))
    options["level"] = draw(st.sampled_from([None, *_LEVELS[method]]))
    content = draw(data(largest))
    options["size"] = len(content) if draw(st.booleans()) else None
    options["crc32"] = zlib.crc32(content) if draw(st.booleans()) else None
    return Recipe(name, content, draw(st.sampled_from(sorted(SOURCES))), draw(cuttings), date, options)


@st.composite
def recipes(
    draw: st.DrawFn,
    *,
    methods: Sequence[int] = (ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA),
    largest: int = 3000,
    most: int = 5,
) -> list[Recipe]:
    """A list of recipes whose names can stand in one archive."""
    directories = _names.map(lambda name: name + "/")
    names = draw(st.lists(_names | _names | directories, max_size=most, unique=True).filter(_exist_together))
    return [draw(_recipe(name, methods, largest)) for name in names]


class Watched:
    """An iterator of `steps` that counts what is done with it. A step that is an exception is raised."""

    def __init__(self, steps: Iterable[Any], close_error: BaseException | None = None) -> None:
        self._steps = iter(steps)
        self._close_error = close_error
        self.asked = 0
        self.closed = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        self.asked += 1
        step = next(self._steps)
        if isinstance(step, BaseException):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1
        if self._close_error is not None:
            raise self._close_error
