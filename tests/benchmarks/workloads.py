"""The work: what is streamed, how much of it, and the data it is made of.

To add one, add a line to `WORKS`. Data is made once, as files in a cache; every process that measures reads it anew
before its clock starts.
"""

from __future__ import annotations

import random
import shutil
import sysconfig
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

MIB = 1 << 20
BLOCK = MIB  # bytes of what generators yield at a time
READ = MIB  # bytes that files are read by: of 64 KiB to 1 MiB the fastest for everybody

Shape = Literal["blocks", "files", "members", "tree"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something to do for everybody.

    Attributes:
        shape: "blocks" is one member from a generator of 1 MiB blocks, "files" are files on disk, "members" are pairs
            of a name and a few bytes, "tree" is a directory of small files.
        count: members of the archive; size: bytes of data in each of them.
        level: of deflate; None is stored.
        options: what else ours is given.
        dated: whether ours is given small members as Entries with a date and a mode, instead of pairs.
        fast: whether our own environment has the extra; the others have what they depend on.
        runs: at most so many, whatever is asked for.
        quick_count, quick_size: for a quick look.
    """

    name: str
    shape: Shape
    size: int
    count: int = 1
    level: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    dated: bool = False
    fast: bool = True
    runs: int | None = None
    quick_count: int | None = None
    quick_size: int | None = None

    def quick(self) -> Work:
        """The same in small, once."""
        return replace(self, count=self.quick_count or self.count, size=self.quick_size or self.size, runs=1)

    @property
    def total(self) -> int:
        """Bytes of data in all."""
        return self.count * self.size

    @property
    def title(self) -> str:
        method = "stored" if self.level is None else f"deflate, level {self.level}"
        what = {
            "blocks": f"{self.size / MIB:,.0f} MiB from a generator of 1 MiB blocks",
            "files": f"{self.count} files of {self.size / MIB:,.0f} MiB",
            "members": f"{self.count:,} members of {self.size} bytes"
            + (", as Entries with dates" if self.dated else ""),
            "tree": f"a tree of {self.count:,} files of {self.size} bytes",
        }[self.shape]
        return f"{what}, {method}" + ("" if self.fast else ", ours without its extra")


_TWO = {"workers": 2}

WORKS = [
    Work(name="stored-generator", shape="blocks", size=2048 * MIB, quick_size=256 * MIB),
    Work(
        name="stored-files", shape="files", count=8, size=128 * MIB, options={"chunk_size": READ}, quick_size=16 * MIB
    ),
    Work(name="deflate-1", shape="blocks", size=128 * MIB, level=1, options=_TWO, quick_size=16 * MIB),
    Work(name="deflate-6", shape="blocks", size=64 * MIB, level=6, options=_TWO, quick_size=16 * MIB),
    Work(name="deflate-9", shape="blocks", size=32 * MIB, level=9, options=_TWO, quick_size=8 * MIB),
    Work(
        name="deflate-6-noextra", shape="blocks", size=64 * MIB, level=6, options=_TWO, fast=False, quick_size=16 * MIB
    ),
    Work(name="small-members", shape="members", count=60_000, size=120, quick_count=10_000),
    Work(name="small-entries", shape="members", count=60_000, size=120, dated=True, quick_count=10_000),
    Work(name="small-files", shape="tree", count=60_000, size=120, quick_count=5_000),
    Work(name="million-members", shape="members", count=1_000_000, size=20, runs=1, quick_count=70_000),
]


@dataclass(frozen=True)
class Source:
    """A large member: its name, its size, its file where it has one, and its CRC-32 for who cannot do without."""

    name: str
    size: int
    crc32: int
    path: Path | None
    blocks: list[bytes]

    def chunks(self, read_size: int = READ) -> Iterator[bytes]:
        """The data; a generator in any case, since one peer takes nothing else."""
        if self.path is None:
            yield from self.blocks
        else:
            with open(self.path, "rb", buffering=0) as file:
                while chunk := file.read(read_size):
                    yield chunk


Member = tuple[str, bytes]


def prepare(work: Work, folder: Path) -> None:
    """Make the files that `load` and `sources` read, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if work.shape == "files":
        for number in range(work.count):
            _fill(_file(folder, work, number), partial(_noise, number, work.size))
    elif work.shape == "tree":
        _make_tree(tree(folder, work), work)
    elif work.level is not None:
        _fill(_text_file(folder, work.size), partial(_text, work.size))


def tree(folder: Path, work: Work) -> Path:
    """The directory of small files."""
    return folder / f"small-files-{work.count}-{work.size}"


def _make_tree(place: Path, work: Work) -> None:
    if place.exists():
        return
    beside = place.with_suffix(".part")
    shutil.rmtree(beside, ignore_errors=True)
    for name, data in members(work):
        target = beside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    beside.rename(place)


def sources(work: Work, folder: Path, checksums: bool) -> list[Source]:
    """The large members of `work`, or its tree."""
    if work.shape == "tree":
        return [Source("tree", work.total, 0, tree(folder, work), [])]
    if work.shape == "files":
        found = [Source(f"file{at}.bin", work.size, 0, _file(folder, work, at), []) for at in range(work.count)]
        # In any case they are read, so that all of them are in the system's cache.
        return [replace(source, crc32=_crc_of(source)) for source in found]
    if work.level is None:
        blocks = list(_noise(0, 4 * BLOCK)) * (work.size // (4 * BLOCK))
    else:
        data = memoryview(_text_file(folder, work.size).read_bytes())
        blocks = [bytes(data[at : at + BLOCK]) for at in range(0, work.size, BLOCK)]
    source = Source("data.bin", work.size, 0, None, blocks)
    return [replace(source, crc32=_crc_of(source))] if checksums else [source]


def members(work: Work) -> Iterator[Member]:
    """Its small members, made as they are asked for."""
    data = bytes(33 + at % 94 for at in range(work.size))
    for number in range(work.count):
        yield f"dir{number // 1000}/file{number}.txt", data


@cache
def zlib_size(folder: Path, size: int, level: int) -> int:
    """Bytes that one stream of the standard zlib makes of the text."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = memoryview(_text_file(folder, size).read_bytes())
    done = sum(len(compressor.compress(data[at : at + BLOCK])) for at in range(0, size, BLOCK))
    return done + len(compressor.flush())


def _crc_of(source: Source) -> int:
    crc = 0
    for chunk in source.chunks():
        crc = zlib.crc32(chunk, crc)
    return crc


def _file(folder: Path, work: Work, number: int) -> Path:
    return folder / f"noise-{number}-{work.size}.bin"


def _text_file(folder: Path, size: int) -> Path:
    return folder / f"text-{size}.txt"


def _noise(seed: int, size: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for at in range(0, size, BLOCK):
        yield rng.randbytes(min(BLOCK, size - at))


def _text(size: int) -> Iterator[bytes]:
    """This Python's own library, all its sources in order; again from the start only where they are not enough."""
    library = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in library.rglob("*.py") if "site-packages" not in path.parts)
    while size > 0:
        for path in paths:
            data = path.read_bytes()[:size]
            size -= len(data)
            yield data


def _fill(path: Path, parts: Callable[[], Iterator[bytes]]) -> None:
    if path.exists():
        return
    beside = path.with_suffix(".part")
    with open(beside, "wb") as file:
        file.writelines(parts())
    beside.replace(path)
