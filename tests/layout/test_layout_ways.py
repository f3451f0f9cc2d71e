"""The layout as a file, for an event loop, and in parts."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layout.test_layout_law import entries_of, options_of
from tests.support.loops import until
from zipstream_adapter import (
    ChecksumCache,
    Entry,
    EntryTypeError,
    LayoutEntry,
    OptionError,
    PoisonedError,
    SourceChangedError,
    ZipLayout,
    stream_zip,
)
from zipstream_adapter._layout.parts import Part

DATE = 1_700_000_000


def test_a_range_takes_what_a_generator_takes() -> None:
    layout = ZipLayout([("a", block(200_000))])
    chunks = layout.iter_range()
    begun = next(chunks) + chunks.send(None)
    assert begun == layout.open().read(len(begun))
    with pytest.raises(ValueError, match="thrown"):
        chunks.throw(ValueError("thrown"))
    assert list(chunks) == []


def block(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def virtual(size: int, seed: int) -> io.BytesIO:
    """A source by reference."""
    return io.BytesIO(block(size, seed))


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """Some of each kind; none declares its checksum."""
    (tmp_path / "small").write_bytes(block(1000))
    (tmp_path / "large").write_bytes(block(700_000))
    level_0: dict[str, Any] = {"compression": "deflate", "level": 0}
    deflated = zlib.compress(b"raw " * 9000, wbits=-15)
    raw: dict[str, Any] = {"compression": "deflate", "size": 36000, "crc32": zlib.crc32(b"raw " * 9000)}
    return [
        Entry("small", tmp_path / "small"),
        Entry("large", tmp_path / "large"),
        Entry("large 0", tmp_path / "large", **level_0),
        Entry("bytes", block(200_000, 1), modified=DATE),
        Entry("bytes 0", memoryview(block(200_000, 2)), modified=DATE, **level_0),
        Entry("called", partial(virtual, 150_000, 3), size=150_000, modified=DATE),
        Entry.raw("raw", deflated, **raw, modified=DATE),
        Entry.directory("folder", modified=DATE),
    ]


# A file.


@given(entries_of(), options_of(), st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1.1), st.integers(-1, 9000))))
def test_an_open_layout_reads_as_a_file(
    entries: list[Entry], options: dict[str, Any], jumps: list[tuple[int, float, int]]
) -> None:
    whole = io.BytesIO(b"".join(stream_zip(entries, **options)))
    with ZipLayout(entries, **options).open() as file:
        for whence, part, count in jumps:
            offset = int(part * len(whole.getvalue())) * (-1 if whence == 2 else 1)
            try:
                place = whole.seek(offset, whence) if whence == 0 else whole.seek(max(0, whole.tell()))
            except ValueError:
                continue
            assert file.seek(place) == place
            assert file.read(count) == whole.read(count)
            assert file.tell() == whole.tell()
    assert file.closed


def test_zipfile_reads_an_open_layout(entries: list[Entry]) -> None:
    layout = ZipLayout(entries)
    with layout.open() as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.read("raw") == b"raw " * 9000
        assert archive.read("large") == archive.read("large 0") == block(700_000)
        assert not file.writable()
        assert (file.seek(0, os.SEEK_END), file.read()) == (layout.size, b"")
        assert file.seek(layout.size + 5) == layout.size + 5
        assert file.read(1) == b""


def test_a_file_that_has_failed_stays_so(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(block(300_000))
    file = ZipLayout([tmp_path / "a"]).open()
    file.read(70_000)
    os.utime(tmp_path / "a", (DATE, DATE))
    with pytest.raises(SourceChangedError):
        file.read()
    for _ in range(2):
        with pytest.raises(PoisonedError):
            file.read(1)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_files_of_one_layout_do_not_mind_each_other(entries: list[Entry]) -> None:
    layout = ZipLayout(entries)
    whole = b"".join(layout.iter_range())
    found: list[bool] = []

    def read(seed: int) -> None:
        places = random.Random(seed)
        with ZipLayout(entries).open() if seed % 2 else layout.open() as file:
            for _ in range(30):
                at = places.randrange(layout.size)
                file.seek(at)
                found.append(file.read(5000) == whole[at : at + 5000])

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 180


# For an event loop.


async def test_ranges_on_an_event_loop(entries: list[Entry]) -> None:
    whole = b"".join(stream_zip(entries))
    layout = ZipLayout(entries)
    assert b"".join([chunk async for chunk in layout.aiter_range()]) == whole
    assert b"".join([chunk async for chunk in layout.aiter_range(90_000, 1_200_000)]) == whole[90_000:1_200_000]


class Blocking:
    """A source that says on which threads it is used, and waits for `go`."""

    def __init__(self, count: int) -> None:
        self.threads: set[threading.Thread] = set()
        self.begun = threading.Event()
        self.go = threading.Event()
        self.count = count
        self.read = self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        self.threads.add(threading.current_thread())
        for _ in range(self.count):
            self.read += 1
            self.begun.set()
            self.go.wait(60)
            yield b"x" * 100_000

    def close(self) -> None:
        self.threads.add(threading.current_thread())
        self.closed += 1


async def settle() -> None:
    for _ in range(3000):
        if not [thread for thread in threading.enumerate() if "zipstream" in thread.name]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("threads are left")


@pytest.mark.parametrize("place", ["data", "checksum"])
async def test_a_cancelled_range_closes_its_source_and_leaves_no_thread(place: str) -> None:
    source = Blocking(1000)
    layout = ZipLayout([Entry("a", lambda: source, size=100_000_000)])
    start = layout.size - 30 if place == "checksum" else layout.entries[0].data_offset

    async def consume() -> None:
        async for _ in layout.aiter_range(start):
            pass

    task = asyncio.create_task(consume())
    assert await asyncio.to_thread(source.begun.wait, 60)
    task.cancel()
    await asyncio.sleep(0.05)
    source.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed == 1
    assert source.read < 500  # and not all of it, for a checksum that nobody wants
    assert threading.current_thread() not in source.threads
    await settle()


async def test_a_range_that_is_closed_or_dropped_early(entries: list[Entry]) -> None:
    source = Blocking(1000)
    source.go.set()
    layout = ZipLayout([Entry("a", lambda: source, size=100_000_000)])
    chunks = layout.aiter_range()
    await anext(chunks)
    await chunks.aclose()
    assert source.closed == 1
    chunks = layout.aiter_range()
    await anext(chunks)
    del chunks
    gc.collect()
    await until(lambda: source.closed == 2)
    await settle()
    assert source.closed == 2
    layout.aiter_range()  # not begun: nothing to be closed
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_failures_reach_the_loop() -> None:
    layout = ZipLayout([Entry("a", lambda: 1 // 0, size=5)])  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError) as caught:
        async for _ in layout.aiter_range():
            pass
    assert caught.value.__notes__ == ["(while reading entry 'a')"]


# In parts.


@given(entries_of(), options_of(), st.integers(1, 3000))
def test_parts_are_the_stream(entries: list[Entry], options: dict[str, Any], part_size: int) -> None:
    whole = b"".join(stream_zip(entries, **options))
    parts = ZipLayout(entries, **options).parts(part_size)
    assert len(parts) == -(-len(whole) // part_size)
    assert b"".join(part.read() for part in parts) == whole
    assert [(part.start, part.stop) for part in parts] == [
        (start, min(start + part_size, len(whole))) for start in range(0, len(whole), part_size)
    ]


def read_part(part: Part) -> bytes:
    return part.read()


@pytest.mark.parametrize("first", ["", "checksums"])
def test_parts_are_made_in_other_processes(entries: list[Entry], first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b"".join(stream_zip(entries))
    layout = ZipLayout(entries)
    if first:
        layout.find_checksums()
        assert all(entry.crc32 is not None for entry in layout.entries)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(read_part, layout.parts(100_000)))
    assert b"".join(made) == whole


def test_a_part_carries_what_it_needs_only(entries: list[Entry]) -> None:
    layout = ZipLayout(entries)
    whole = b"".join(stream_zip(entries))
    for part in layout.parts(50_000):
        sent = pickle.dumps(part)
        assert len(sent) < 60_000
        assert pickle.loads(sent).read() == whole[part.start : part.stop]
        assert b"".join(part) == whole[part.start : part.stop]
        assert len(part) == part.stop - part.start
    many = ZipLayout([Entry(f"{number:06}", b"", modified=DATE) for number in range(10_000)])
    assert len(pickle.dumps(many.parts(1 << 16)[0])) < 200_000


def test_parts_of_files_need_no_folder_to_be_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").write_bytes(block(100_000))
    layout = ZipLayout([Entry("a", Path("a"))])
    whole = b"".join(layout.iter_range())
    sent = [pickle.dumps(part) for part in layout.parts(30_000)]
    code = "import pickle, sys; sys.stdout.buffer.write(pickle.load(sys.stdin.buffer).read())"
    done = subprocess.run([sys.executable, "-c", code], input=sent[1], cwd="/", capture_output=True, timeout=200)
    assert done.stdout == whole[30_000:60_000], done.stderr
    os.utime("a", (DATE, DATE))
    with pytest.raises(SourceChangedError):
        pickle.loads(sent[1]).read()


# Seconds before 1970, before 1980, after 2262 (2**63 nanoseconds), and after 2554 (2**64).
DATES = {-(10**9): 1980, 1: 1980, 9_300_000_000: 2107, 18_600_000_000: 2107, 10**14: 2107}


@pytest.fixture
def dated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file with the date that the test wants, on a file system that has such dates (as tmpfs)."""
    memory = [Path("/dev/shm")] if os.path.isdir("/dev/shm") else []
    for parent in (tmp_path, *memory):
        path = Path(tempfile.mkdtemp(dir=parent)) / "file"
        try:
            path.write_bytes(block(100_000))
            os.utime(path, (request.param, request.param))
            if path.stat().st_mtime == request.param:
                yield path
                return
        except OSError:
            continue
        finally:
            shutil.rmtree(path.parent)
    pytest.skip("no file system has such a date")


@pytest.mark.parametrize(("dated", "year"), DATES.items(), indirect=["dated"])
def test_a_file_of_any_date_has_a_layout(dated: Path, year: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(dated.with_name("zip"), "w") as archive:
        archive.writestr("b", block(1000))
    copied = dated.with_name("zip")
    os.utime(copied, ns=(0, dated.stat().st_mtime_ns))
    entries = [Entry("a", dated), Entry.copy(copied, "b"), Entry("c", b"data", modified=DATE)]
    whole = b"".join(stream_zip(entries, lookahead=0))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.getinfo("a").date_time[0] == year
    layout = ZipLayout(entries, lookahead=0)
    assert b"".join(layout.iter_range()) == layout.open().read() == whole
    assert b"".join(pickle.loads(pickle.dumps(part)).read() for part in layout.parts(30_000)) == whole
    assert ZipLayout(entries, lookahead=0).etag == layout.etag
    with ChecksumCache(tmp_path / "cache") as cache:
        cached = ZipLayout(entries, lookahead=0, checksums=cache)
        assert b"".join(cached.iter_range()) == whole
    # If the file gets another date, the layout is refused.
    date = dated.stat().st_mtime_ns
    for moved in (10**9, -(10**9)):
        os.utime(dated, ns=(0, date + moved))
        with pytest.raises(SourceChangedError, match="another date"):
            b"".join(layout.iter_range())
        assert ZipLayout(entries, lookahead=0).etag != layout.etag
    os.utime(dated, ns=(0, date))
    assert b"".join(layout.iter_range()) == whole


@pytest.mark.parametrize("part_size", [0, -1, 1.5, True, None])
def test_part_sizes_are_checked(part_size: Any) -> None:
    with pytest.raises(OptionError, match="part_size"):
        ZipLayout([]).parts(part_size)


def test_entries_and_parts_are_sequences() -> None:
    layout = ZipLayout([Entry(f"{number}", b"x", modified=DATE) for number in range(5)])
    assert [entry.name for entry in layout.entries[1:3]] == ["1", "2"]
    assert layout.entries[-1].name == "4"
    assert isinstance(layout.entries[0], LayoutEntry)
    assert len(layout.parts(7)[1:3]) == 2
    with pytest.raises(IndexError):
        layout.entries[5]
    with pytest.raises(IndexError):
        layout.parts(10**6)[1]
    with pytest.raises(EntryTypeError):
        ZipLayout([Entry("a", iter(()))])
