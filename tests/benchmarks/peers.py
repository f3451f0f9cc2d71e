"""Who takes part, and how each is driven: at its best, as its own source code says what that is.

Every contender has two functions: `large(work, sources)` for few members of many bytes, and `small(work, members)` for
many of few. Both return an iterator of the archive's bytes. What they import is imported inside of them, in the
contender's own environment.
"""

from __future__ import annotations

import importlib
import io
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.benchmarks import limits
from tests.benchmarks.workloads import MIB, Member, Source, Work, members

# The date of every member, where giving one saves looking at the clock for each.
_DATE = datetime(2024, 1, 2, 3, 4, 6, tzinfo=UTC)
_MANY = 100_000  # members, from which on memory counts more than time

Large = Callable[[Work, list[Source]], Iterator[bytes]]
Small = Callable[[Work, Iterator[Member]], Iterator[bytes]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Contender:
    """One who takes part.

    Attributes:
        requirements: what pip installs into its environment; "." is the checkout.
        levels: the deflate levels it does; () where it does not deflate.
        wants_checksums: whether it is told the CRC-32 of stored members, which is found off the clock.
        notes: what is said of it below the tables of "stored files", "deflate blocks" and so on.
    """

    name: str
    requirements: tuple[str, ...]
    large: Large
    small: Small
    levels: Iterable[int] = range(1, 10)
    wants_checksums: bool = False
    notes: dict[str, str] = field(default_factory=dict)

    def cannot(self, work: Work) -> str | None:
        """Why it cannot do `work`, as far as its interface tells."""
        if work.shape == "tree" and self not in (OURS, PLAIN, LIMIT):
            return "does not walk trees, or names their files in another way"
        if work.level is None or work.level in self.levels:
            return None
        return "has one level of deflate, and not this one" if list(self.levels) else "does not deflate"

    def note(self, work: Work) -> str:
        """What is to be said of how it does `work`."""
        return self.notes.get(f"{'stored' if work.level is None else 'deflate'} {work.shape}", "")

    def chunks(self, work: Work, sources: list[Source]) -> Iterator[bytes]:
        """The archive of `work`; `sources` are for those of large members."""
        return self.small(work, members(work)) if work.shape == "members" else self.large(work, sources)


def _ours_large(work: Work, sources: list[Source]) -> Iterator[bytes]:
    from zipstream_adapter import stream_zip, walk

    if work.shape == "tree":
        return stream_zip(walk(sources[0].path or ""), **work.options)
    # Files are opened and read by the package itself.
    entries = [(source.name, source.path or source.chunks()) for source in sources]
    method: Any = "stored" if work.level is None else "deflate"
    return stream_zip(entries, compression=method, level=work.level, **work.options)


def _ours_small(work: Work, members: Iterator[Member]) -> Iterator[bytes]:
    from zipstream_adapter import Entry, stream_zip

    if work.dated:
        return stream_zip((Entry(*each, modified=_DATE, mode=0o644) for each in members), **work.options)
    return stream_zip(members, **work.options)


def _ng_large(work: Work, sources: list[Source]) -> Iterator[bytes]:
    zipstream = importlib.import_module("zipstream")
    method = zipfile.ZIP_STORED if work.level is None else zipfile.ZIP_DEFLATED
    archive = zipstream.ZipStream(compress_type=method, compress_level=work.level)
    for source in sources:
        archive.add(source.chunks(), source.name, size=source.size)
    yield from archive


def _ng_small(work: Work, members: Iterator[Member]) -> Iterator[bytes]:
    archive = importlib.import_module("zipstream").ZipStream()
    for name, data in members:
        archive.add(data, name)
        if work.count >= _MANY:
            yield from archive.file()
    yield from archive


def _stream_zip_large(work: Work, sources: list[Source]) -> Iterator[bytes]:
    stream_zip = importlib.import_module("stream_zip")

    def method(source: Source) -> Any:
        return stream_zip.NO_COMPRESSION_64(source.size, source.crc32) if work.level is None else stream_zip.ZIP_32

    def compressor() -> Any:
        return zlib.compressobj(level=work.level or 0, wbits=-zlib.MAX_WBITS)

    files = ((source.name, _DATE, 0o600, method(source), source.chunks()) for source in sources)
    yield from stream_zip.stream_zip(files, chunk_size=MIB, get_compressobj=compressor, extended_timestamps=False)


def _stream_zip_small(work: Work, members: Iterator[Member]) -> Iterator[bytes]:
    stream_zip = importlib.import_module("stream_zip")
    method = stream_zip.NO_COMPRESSION_32 if work.count <= 0xFFFF else stream_zip.NO_COMPRESSION_64
    files = ((name, _DATE, 0o600, method, (data,)) for name, data in members)
    yield from stream_zip.stream_zip(files, extended_timestamps=False)


def _aio_large(work: Work, sources: list[Source]) -> Iterator[bytes]:
    method = None if work.level is None else "deflate"
    files = [{"name": source.name, "stream": source.chunks(), "compression": method} for source in sources]
    yield from importlib.import_module("zipstream").ZipStream(files).stream()


def _aio_small(work: Work, members: Iterator[Member]) -> Iterator[bytes]:
    files = ({"name": name, "stream": (data,)} for name, data in members)
    yield from importlib.import_module("zipstream").ZipStream(files).stream()


def _new_archive(work: Work) -> Any:
    method = zipfile.ZIP_STORED if work.level is None else zipfile.ZIP_DEFLATED
    return importlib.import_module("zipstream").ZipFile(mode="w", compression=method, allowZip64=True)


def _new_large(work: Work, sources: list[Source]) -> Iterator[bytes]:
    archive = _new_archive(work)
    for source in sources:
        archive.write_iter(source.name, source.chunks(), buffer_size=source.size)
    yield from archive


def _new_small(work: Work, members: Iterator[Member]) -> Iterator[bytes]:
    archive = _new_archive(work)
    date = _DATE.timetuple()[:6]
    for name, data in members:
        archive.write_iter(name, (data,), date_time=date)
        yield from archive.flush()  # its queue is a list that is taken from the front
    yield from archive


class _Chunks(io.RawIOBase):
    """A file object that hands out chunks as they come, whatever size is asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int = -1) -> bytes:
        return next(self._chunks, b"")


def _streamer_large(work: Work, sources: list[Source]) -> Iterator[bytes]:
    zipstreamer = importlib.import_module("zipstreamer")

    def file(source: Source) -> Any:
        return zipstreamer.ZipFile(source.name, source.size, lambda: _Chunks(source.chunks()), _DATE, None)

    yield from zipstreamer.ZipStream(map(file, sources)).generate()


def _streamer_small(work: Work, members: Iterator[Member]) -> Iterator[bytes]:
    zipstreamer = importlib.import_module("zipstreamer")
    date = time.struct_time(_DATE.timetuple())

    def file(member: Member) -> Any:
        name, data = member
        return zipstreamer.ZipFile(name, len(data), lambda: io.BytesIO(data), date, None)

    yield from zipstreamer.ZipStream(map(file, members)).generate()


def _fly_large(work: Work, sources: list[Source]) -> Iterator[bytes]:
    zipfly = importlib.import_module("zipFly")
    method = zipfly.consts.NO_COMPRESSION if work.level is None else zipfly.consts.COMPRESSION_DEFLATE
    files = [zipfly.GenFile(source.name, source.chunks(), method) for source in sources]
    yield from zipfly.ZipFly(files).stream()


def _fly_small(work: Work, members: Iterator[Member]) -> Iterator[bytes]:
    zipfly = importlib.import_module("zipFly")
    date = _DATE.timestamp()
    files = (zipfly.GenFile(name, (part for part in (data,)), modification_time=date) for name, data in members)
    yield from zipfly.ZipFly(files).stream()


_ONE_LEVEL = "level 5, its only one, which is faster than 6 and compresses less"

PEERS = [
    Contender(
        name="zipstream-ng",
        requirements=("zipstream-ng",),
        large=_ng_large,
        small=_ng_small,
        notes={"stored files": "given 1 MiB at a time; its own reads are of 64 KiB"},
    ),
    Contender(
        name="stream-zip",
        requirements=("stream-zip",),
        large=_stream_zip_large,
        small=_stream_zip_small,
        wants_checksums=True,
        notes=dict.fromkeys(
            ("stored blocks", "stored files"), "is told size and CRC-32, without which it holds a member in memory"
        ),
    ),
    Contender(
        name="aiozipstream",
        requirements=("aiozipstream",),
        large=_aio_large,
        small=_aio_small,
        levels=(6,),
        notes={"deflate blocks": _ONE_LEVEL, "stored files": "given 1 MiB at a time; its own reads are of 1 KiB"},
    ),
    Contender(
        name="zipstream-new",
        requirements=("zipstream-new",),
        large=_new_large,
        small=_new_small,
        levels=(6,),
        notes={"stored files": "given 1 MiB at a time; its own reads are of 8 KiB"},
    ),
    Contender(
        name="zipstreamer",
        requirements=("zipstreamer",),
        large=_streamer_large,
        small=_streamer_small,
        levels=(),
        notes={"stored files": "given 1 MiB at a time, though it asks for 4 KiB"},
    ),
    Contender(
        name="zipFly64",
        requirements=("zipFly64",),
        large=_fly_large,
        small=_fly_small,
        levels=(6,),
        notes={"deflate blocks": _ONE_LEVEL, "stored files": "given 1 MiB at a time; by itself it reads files twice"},
    ),
]

OURS = Contender(name="ours", requirements=(".[fast]",), large=_ours_large, small=_ours_small)
PLAIN = Contender(name="ours-plain", requirements=(".",), large=_ours_large, small=_ours_small)
LIMIT = Contender(name="limit", requirements=(".[fast]",), large=limits.large, small=limits.small)
