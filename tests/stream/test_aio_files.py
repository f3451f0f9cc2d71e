"""Files on an event loop: read off it, and refused in the words of stream_zip."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiofiles
import pytest

from tests.support import oracles
from tests.support.async_sources import on_disk
from tests.support.loops import own_pool, run
from tests.support.strategies import noise
from zipstream_adapter import Entry, SourceChangedError, async_stream_zip, stream_zip
from zipstream_adapter._concurrency import offload as aio_threads
from zipstream_adapter._entries.source import FILE_READ

DATE = 1_000_000_000


@pytest.fixture(autouse=True)
def _pool(monkeypatch: pytest.MonkeyPatch) -> None:
    own_pool(monkeypatch)


async def archive_of(*entries: Any, **options: Any) -> bytes:
    async with async_stream_zip(entries, **options) as stream:
        return await stream.read()


def refusals(folder: Path) -> dict[str, Any]:
    """What both facades refuse, and say the same of."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket"))
    paths = {name: folder / name for name in ("missing", "pipe", "socket", "missing/in/it")}
    return paths | {
        "directory": folder,
        "device": Path("/dev/null"),
        "not a directory": on_disk(folder) / "below",
        "NUL": Path("a\0b"),
        "str": "text",
        "callable for str": lambda: "text",
        "callable for a missing path": lambda: folder / "missing",
        "None": None,
        "int": 5,
        "mapping": {b"a": b"b"},
        "set": {b"a"},
        "callable for a callable": lambda: lambda: lambda: None,
        "iterable of str": ["text"],
        "iterable of int": [b"ok", 5],
        "iterable of None": [None],
        "text file": io.StringIO("text"),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and sockets of Unix")
@pytest.mark.parametrize("prefetch", [0, 2])
def test_what_is_refused_is_refused_in_the_same_words(tmp_path: Path, prefetch: int) -> None:
    names = list(refusals(tmp_path))
    for number, name in enumerate(names):
        folders = [tmp_path / f"{number} {way}" / "same" for way in ("sync", "async")]
        said = []
        for folder, way in zip(folders, ("sync", "async"), strict=True):
            folder.mkdir(parents=True)
            entry = Entry("bad", refusals(folder)[name])
            with pytest.raises(Exception) as caught:
                if way == "sync":
                    b"".join(stream_zip([entry]))
                else:
                    run(archive_of(entry, prefetch=prefetch))
            text = str(caught.value).replace(str(folder), "folder")
            said.append((type(caught.value), text, getattr(caught.value, "__notes__", [])))
        # Of the one, more is asked for; of the other, the system call is named.
        assert said[0] == said[1] or name in ("callable for a callable", "NUL")


@pytest.mark.parametrize("size", [100_000, 1_500_000])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changes_while_it_is_read_fails_the_same_way(size: int, change: int, tmp_path: Path) -> None:
    path = tmp_path / "file"

    def on_progress(progress: Any) -> None:
        if progress.entry.name == "changes" and progress.members != 2:
            os.truncate(path, size + change)

    def outcome(archive: Callable[..., bytes]) -> Any:
        path.write_bytes(noise(1, size))
        os.utime(path, (DATE, DATE))
        entries = [Entry("before", iter([noise(2, 200_000)]), modified=DATE), Entry("changes", path)]
        try:
            return archive(entries, on_progress=on_progress)
        except Exception as exc:
            return type(exc), str(exc), getattr(exc, "__notes__", [])

    def asynchronous(entries: list[Any], **options: Any) -> bytes:
        return run(archive_of(*entries, **options))

    sync = outcome(lambda entries, **options: b"".join(stream_zip(entries, **options)))
    assert outcome(asynchronous) == sync
    assert size < 1_000_000 or sync[0] is SourceChangedError


def _status(source: Any) -> bytes:
    return oracles.members(run(archive_of(("status", source))))["status"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_that_says_it_is_empty_and_is_not() -> None:
    assert b"Name:" in _status(Path("/proc/self/status"))
    assert b"Name:" in _status(lambda: Path("/proc/self/status"))


_WATCHED: list[tuple[str, int]] = []
_FOLDER = [""]


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _FOLDER[0] and str(arguments[0]).startswith(_FOLDER[0]):
        _WATCHED.append((str(arguments[0]), threading.get_ident()))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_files_are_opened_off_the_loop(tmp_path: Path, prefetch: int) -> None:
    sys.addaudithook(_watch)
    (tmp_path / "small").write_bytes(b"small")
    small, large = tmp_path / "small", on_disk(tmp_path)

    async def entries() -> AsyncIterator[Any]:
        for path in (small, large):
            yield path
            yield (path.name + " pair", path)
            yield Entry(path.name + " entry", path)
            yield {"name": path.name + " mapping", "file": str(path)}
            yield (path.name + " called", lambda path=path: path)

    async def main() -> bytes:
        _FOLDER[0] = str(tmp_path)
        try:
            async with async_stream_zip(entries(), prefetch=prefetch) as stream:
                return await stream.read()
        finally:
            _FOLDER[0] = ""

    _WATCHED.clear()
    assert len(oracles.members(run(main()))) == 10
    assert len(_WATCHED) >= 10
    assert threading.get_ident() not in [thread for _, thread in _WATCHED]


# Several chunks to a hop.


def long_file(folder: Path, chunks: int) -> Path:
    path = folder / f"{chunks} chunks"
    path.write_bytes(noise(3, 1 << 16) * (chunks * FILE_READ >> 16))
    return path


def test_a_long_file_takes_few_hops_to_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    step = aio_threads.StepThreads.step

    def counted(threads: Any, function: Any, **options: Any) -> Any:
        def counting() -> list[Any]:
            made: list[Any] = function()
            steps.append(sum(len(each) for each in made if type(each) is bytes))
            return made

        return step(threads, counting, **options)

    monkeypatch.setattr(aio_threads.StepThreads, "step", counted)
    path = long_file(tmp_path, 80)
    made = run(archive_of(Entry("a", path, modified=DATE)))
    assert made == stream_zip([Entry("a", path, modified=DATE)]).read()
    assert len(steps) < 60  # on a machine where none takes long, some 15
    assert FILE_READ < max(steps) < (1 << 22) + 2 * FILE_READ


def test_the_more_streams_there_are_the_less_each_reads_at_a_time(tmp_path: Path) -> None:
    path = long_file(tmp_path, 4)
    sizes: dict[int, set[int]] = {}

    async def read_slowly(number: int, streams: int) -> int:
        total = 0
        async with async_stream_zip([Entry(f"{number:02}", path)], lookahead=0) as stream:
            async for chunk in stream:
                total += len(chunk)
                sizes.setdefault(streams, set()).add(stream._threads.read_size)
                await asyncio.sleep(0)
        return total

    async def crowd(streams: int) -> list[int]:
        return await asyncio.gather(*(read_slowly(number, streams) for number in range(streams)))

    assert min(run(crowd(1))) > 4 * FILE_READ
    assert len(set(run(crowd(40)))) == 1
    assert min(sizes[1]) >= FILE_READ
    assert min(sizes[40]) <= (8 << 20) // 40


def test_what_a_source_gave_does_not_wait_for_what_it_gives_next() -> None:
    gate = threading.Event()

    def slow() -> Iterator[bytes]:
        yield noise(1, FILE_READ)
        assert gate.wait(60)
        yield b"end"

    async def main() -> bytes:
        stream = async_stream_zip([Entry("a", slow(), modified=DATE)])
        left = b""
        while len(left) < FILE_READ:
            left += await anext(stream)
        gate.set()
        return left + await stream.read()

    assert oracles.members(run(main())) == {"a": noise(1, FILE_READ) + b"end"}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are not listed here")
def test_the_end_of_the_loop_waits_for_a_file_that_is_being_opened(tmp_path: Path) -> None:
    """It is open once the thread ends, and is closed then: nothing is left open."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading: list[asyncio.Future[Any]] = []

    async def begin() -> None:
        reading.append(asyncio.ensure_future(archive_of(("a", aiofiles.open(pipe, "rb")))))
        await asyncio.sleep(0.1)

    def write() -> None:
        time.sleep(0.4)
        pipe.write_bytes(b"")

    writer = threading.Thread(target=write)
    writer.start()
    asyncio.run(begin())
    writer.join()
    assert reading[0].cancelled()
    assert not any(os.path.realpath(each) == str(pipe) for each in Path("/proc/self/fd").iterdir())
