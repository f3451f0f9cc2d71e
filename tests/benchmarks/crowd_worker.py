"""One task of `tests.benchmarks.crowd`, in a process and an environment of its own. Prints one line of JSON."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import statistics
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiofiles

from tests.benchmarks.worker import peak, reset_peak

KIB = 1 << 10
_DATE = datetime(2024, 1, 2, 3, 4, 6, tzinfo=UTC)
_SAMPLED = 5  # archives that are kept and read back
_BEAT, _SLOW_BEAT = 0.001, 0.005  # seconds

Figures = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """A member: its data comes from `chunks()` where that is asynchronous, and from `plain()` where it is not.

    Its size and CRC-32 are for who cannot do without.
    """

    name: str
    chunks: Callable[[], Any]
    plain: Callable[[], Iterator[bytes]] | None = None
    deflate: bool = True
    size: int = 0
    crc32: int = 0


# Who takes part: the archive of some sources, deflated at a level.


def ours(sources: list[Source], level: int | None, **options: Any) -> AsyncIterator[bytes]:
    from zipstream_adapter import async_stream_zip

    return async_stream_zip(_entries(sources, [source.chunks for source in sources], level), **options)


def ours_plainly(sources: list[Source], level: int | None, **options: Any) -> Iterator[bytes]:
    """Our facade for code that is not asynchronous."""
    from zipstream_adapter import stream_zip

    return stream_zip(_entries(sources, [source.plain for source in sources], level), **options)


def _entries(sources: list[Source], data: list[Any], level: int | None) -> Iterator[Any]:
    from zipstream_adapter import Entry

    for source, given in zip(sources, data, strict=True):
        options: Any = {"compression": "deflate", "level": level} if source.deflate else {"compression": "stored"}
        yield Entry(source.name, given, modified=_DATE, **options)


def stream_zip(sources: list[Source], level: int | None) -> AsyncIterator[bytes]:
    module = importlib.import_module("stream_zip")

    async def files() -> AsyncIterator[Any]:
        for source in sources:
            yield source.name, _DATE, 0o600, _stream_zip_method(source), source.chunks()

    made: AsyncIterator[bytes] = module.async_stream_zip(files(), get_compressobj=_compressor(level))
    return made


def stream_zip_plainly(sources: list[Source], level: int | None) -> Iterator[bytes]:
    module = importlib.import_module("stream_zip")
    files = (
        (source.name, _DATE, 0o600, _stream_zip_method(source), source.plain())
        for source in sources
        if source.plain is not None
    )
    made: Iterator[bytes] = module.stream_zip(files, get_compressobj=_compressor(level))
    return made


def _stream_zip_method(source: Source) -> Any:
    module = importlib.import_module("stream_zip")
    return module.ZIP_32 if source.deflate else module.NO_COMPRESSION_32(source.size, source.crc32)


def _compressor(level: int | None) -> Callable[[], Any]:
    return lambda: zlib.compressobj(level=6 if level is None else level, wbits=-zlib.MAX_WBITS)


def aiozipstream(sources: list[Source], level: int | None) -> AsyncIterator[bytes]:
    """It has level 5 only."""
    files = [
        {"name": source.name, "stream": source.chunks(), "compression": "deflate" if source.deflate else None}
        for source in sources
    ]
    made: AsyncIterator[bytes] = importlib.import_module("zipstream").AioZipStream(files).stream()
    return made


def zipfly(sources: list[Source], level: int | None) -> AsyncIterator[bytes]:
    """It has level 5 only."""
    module = importlib.import_module("zipFly")
    methods = module.consts.NO_COMPRESSION, module.consts.COMPRESSION_DEFLATE
    files = [module.GenFile(source.name, source.chunks(), methods[source.deflate]) for source in sources]
    made: AsyncIterator[bytes] = module.ZipFly(files).async_stream()
    return made


WHO: dict[str, Callable[..., AsyncIterator[bytes]]] = {
    "ours": ours,
    "ours-plain": ours,
    "stream-zip": stream_zip,
    "aiozipstream": aiozipstream,
    "zipFly64": zipfly,
}
PLAINLY: dict[str, Callable[..., Iterator[bytes]]] = {
    "ours": ours_plainly,
    "ours-plain": ours_plainly,
    "stream-zip": stream_zip_plainly,
}

# The tasks.


async def downloads(who: str, count: int, stored: list[str], deflated: list[str]) -> Figures:
    """So many at a time, of files that aiofiles has opened, each to a consumer that lets others go on."""
    sources = [
        *(_file_source(who, f"stored-{at}.bin", Path(path), deflate=False) for at, path in enumerate(stored)),
        *(_file_source(who, f"deflated-{at}.txt", Path(path), deflate=True) for at, path in enumerate(deflated)),
    ]
    before, begun, busiest = reset_peak(), time.perf_counter(), 0
    totals: list[tuple[int, int]] = []  # of each: bytes, and their CRC-32
    samples: list[bytes] = []
    ended: list[float] = []

    async def download(number: int) -> None:
        size = crc = 0
        kept = []
        async for chunk in WHO[who](sources, 6):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            if number < _SAMPLED:
                kept.append(chunk)
            await asyncio.sleep(0)
        totals.append((size, crc))
        samples.extend([b"".join(kept)] if kept else [])
        ended.append(time.perf_counter() - begun)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(download(number)) for number in range(count)]
        while not all(task.done() for task in tasks):
            busiest = max(busiest, threading.active_count())
            await asyncio.sleep(0.01)
    most = peak()
    return {
        "done": len(totals),
        "different": len(set(totals)),
        "wrong": [bad for sample in samples if (bad := zipfile.ZipFile(io.BytesIO(sample)).testzip())],
        "seconds": max(ended),
        "first": min(ended),
        "threads": busiest,
        "left": threading.active_count(),
        "peak": most,
        "grown": most - before,
    }


def _file_source(who: str, name: str, path: Path, *, deflate: bool) -> Source:
    async def chunks() -> AsyncIterator[bytes]:
        async with aiofiles.open(path, "rb") as file:
            while chunk := await file.read(64 * KIB):
                yield chunk

    data = path.read_bytes()
    handle = partial(aiofiles.open, path, "rb")
    return Source(name, handle if who == "ours" else chunks, deflate=deflate, size=len(data), crc32=zlib.crc32(data))


async def heartbeat(who: str, text: str, streams: int, level: int) -> Figures:
    """How late a task comes that wants to run every millisecond, while streams deflate; `who` "nobody": none do."""
    data = Path(text).read_bytes()  # noqa: ASYNC240, nothing else runs yet
    pieces = [data[at : at + 64 * KIB] for at in range(0, len(data), 64 * KIB)]
    late: list[float] = []

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces:
            await asyncio.sleep(0)
            yield piece

    async def little() -> AsyncIterator[bytes]:
        yield pieces[0]

    async def drain(source: Callable[[], Any]) -> None:
        if who == "nobody":
            await asyncio.sleep(2)
            return
        async for _ in WHO[who]([Source("text.txt", source)], level):
            pass

    async def beat() -> None:
        while True:
            due = time.perf_counter() + _BEAT
            await asyncio.sleep(_BEAT)
            late.append(time.perf_counter() - due)

    await drain(little)  # imports
    begun, beating = time.perf_counter(), asyncio.create_task(beat())
    await asyncio.gather(*(drain(chunks) for _ in range(streams)))
    seconds = time.perf_counter() - begun
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
    late.sort()
    found = {"p50": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "worst": late[-1]}
    return found | {"seconds": seconds, "beats": len(late)}


async def lag(who: str, paths: list[str], streams: int, reading: str, level: int | None) -> Figures:
    """How late a task comes that wants to run every five milliseconds, while many streams run; and how fast these are.

    Each stream has one member for each of `paths`. Sources are asynchronous generators of 64 KiB, which `reading` says:
    from "memory", or from files opened by "aiofiles".
    """
    sources = [_read_source(Path(path), reading, deflate=level is not None) for path in paths]
    late: list[float] = []

    async def drain() -> int:
        size = 0
        async for chunk in WHO[who](sources, level):
            size += len(chunk)
        return size

    async def beat() -> None:
        while True:
            due = time.perf_counter() + _SLOW_BEAT
            await asyncio.sleep(_SLOW_BEAT)
            late.append(time.perf_counter() - due)

    await drain()  # imports, and the first threads
    before, begun, beating = reset_peak(), time.perf_counter(), asyncio.create_task(beat())
    cpu = time.process_time()
    total = sum(await asyncio.gather(*(drain() for _ in range(streams))))
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    grown = peak() - before
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
    late.sort()
    found = {"p50": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "worst": late[-1]} if late else {}
    return (
        found
        | {"seconds": seconds, "cpu": cpu, "read": streams * sum(source.size for source in sources)}
        | {
            "bytes": total,
            "beats": len(late),
            "grown": grown / streams,
        }
    )


def _read_source(path: Path, reading: str, *, deflate: bool) -> Source:
    data = path.read_bytes()
    pieces = [data[at : at + 64 * KIB] for at in range(0, len(data), 64 * KIB)]

    async def from_memory() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def from_file() -> AsyncIterator[bytes]:
        async with aiofiles.open(path, "rb") as file:
            while chunk := await file.read(64 * KIB):
                yield chunk

    chunks = from_memory if reading == "memory" else from_file
    return Source(path.name, chunks, deflate=deflate, size=len(data), crc32=zlib.crc32(data))


async def small_chunks(who: str, count: int, size: int, level: int | None, runs: int) -> Figures:
    """Many small chunks, from an asynchronous generator and from a plain one."""
    data = Path(__file__).read_bytes()  # noqa: ASYNC240, nothing else runs yet
    pieces = [data[at % (len(data) - size) :][:size] for at in range(count)]

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    whole = b"".join(pieces)
    source = Source("data", chunks, lambda: iter(pieces), level is not None, len(whole), zlib.crc32(whole))
    return await _both_ways(who, [source], level, runs)


async def files(who: str, paths: list[str], level: int | None, runs: int, **options: Any) -> Figures:
    """Files that the package opens and reads itself."""
    sources = [Source(Path(path).name, Path(path), Path(path), level is not None) for path in paths]  # type: ignore[arg-type]
    return await _both_ways(who, sources, level, runs, **options)


async def _both_ways(who: str, sources: list[Source], level: int | None, runs: int, **options: Any) -> Figures:
    """Seconds of the asynchronous facade and of the other one, in turn."""
    taken: list[tuple[float, float]] = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        size = 0
        async for chunk in WHO[who](sources, level, **options):
            size += len(chunk)
        between = time.perf_counter()
        plain = sum(len(chunk) for chunk in PLAINLY[who](sources, level, **options))
        taken.append((between - begun, time.perf_counter() - between))
        assert size == plain, "the archives differ"
    asynchronous, other = zip(*taken[1:], strict=True)  # the first run imports
    return {"async": statistics.median(asynchronous), "sync": statistics.median(other)}


async def latency(who: str, count: int, seconds: float, size: int, prefetch: int) -> Figures:
    """Sources that answer after a while, as those of another machine do; how many were open at a time."""
    data, waiting, most = bytes(size), 0, 0

    async def get() -> bytes:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(seconds)
        waiting -= 1
        return data

    begun, total = time.perf_counter(), 0
    async for chunk in WHO[who](
        [Source(f"{number}", get, deflate=False) for number in range(count)], None, prefetch=prefetch
    ):
        total += len(chunk)
    return {"seconds": time.perf_counter() - begun, "bytes": total, "most": most}


TASKS: dict[str, Callable[..., Any]] = {
    "downloads": downloads,
    "heartbeat": heartbeat,
    "lag": lag,
    "small_chunks": small_chunks,
    "files": files,
    "latency": latency,
}

if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(TASKS[job.pop("task")](**job))))
