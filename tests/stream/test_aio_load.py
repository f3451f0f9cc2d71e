"""What an event loop bears: streams by the hundred, chunks by the thousand, and never long on its own thread."""

from __future__ import annotations

import asyncio
import os
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import aiofiles
import pytest

from tests.support import oracles
from tests.support.executors import occupied, run_script
from tests.support.loops import LOOPS, STEP_THREADS, own_pool, run, step_threads
from tests.support.strategies import noise, words
from tests.support.sweeps import WHOLE, pairwise
from zipstream_adapter import Entry, async_stream_zip, stream_zip
from zipstream_adapter._compression.crc32 import fastest_crc32
from zipstream_adapter._concurrency.pools import usable_cores

Factory = Callable[[], asyncio.AbstractEventLoop]
DATE = 1_000_000_000
KIB = 1024
CHUNKS = 20_000 if WHOLE else 5_000
STREAMS = 300 if WHOLE else 100


@pytest.fixture(params=LOOPS)
def factory(request: pytest.FixtureRequest) -> Factory:
    return LOOPS[request.param]


async def pieces(count: int, piece: bytes) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield piece


SMALL_CHUNKS: dict[str, Callable[[], Any]] = {
    "async": lambda: pieces(CHUNKS, noise(1, KIB)),
    "async, callable": lambda: lambda: pieces(CHUNKS, noise(1, KIB)),
    "sync": lambda: iter([noise(1, KIB)] * CHUNKS),
}


# A sync source that is fetched ahead takes a hop for each of its chunks.
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, options) for kind in SMALL_CHUNKS for options in ({}, {"compression": "deflate", "level": 1})),
        ("async", {"prefetch": 1}),
    ],
)
@pytest.mark.patient
def test_small_chunks_are_not_a_hop_each(
    factory: Factory, kind: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = own_pool(monkeypatch)
    hops = 0

    async def main() -> bytes:
        nonlocal hops
        executor: Any = pool.lease()
        submit = executor.submit

        def counted(*args: Any) -> Any:
            nonlocal hops
            hops += 1
            return submit(*args)

        executor.submit = counted
        try:
            return await async_stream_zip([Entry("a", SMALL_CHUNKS[kind](), modified=DATE)], **options).read()
        finally:
            pool.give_back(pool.generation)

    archive = run(main(), factory)
    assert archive == b"".join(stream_zip([Entry("a", iter([noise(1, KIB)] * CHUNKS), modified=DATE)], **options))
    # 64 KiB are 64 chunks: of them a hop at most, and a few for the rest.
    assert hops <= CHUNKS // 64 + 20


def test_a_hundred_streams_share_the_threads(factory: Factory, tmp_path: Path) -> None:
    data = noise(1, 300_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    most = 0

    def watching() -> Iterator[bytes]:
        nonlocal most
        most = max(most, len([name for name in step_threads() if name.startswith(STEP_THREADS + "-step")]))
        yield words(1, 1000)

    async def download(number: int) -> int:
        entries = [
            Entry("opened", aiofiles.open(path, "rb"), modified=DATE),
            Entry("called", lambda: aiofiles.open(path, "rb"), modified=DATE),
            Entry("path", path, compression="deflate", level=1),
            Entry("sync", watching(), modified=DATE),
        ]
        crc = 0
        async with async_stream_zip(entries, prefetch=number % 3) as stream:
            async for chunk in stream:
                crc = zlib.crc32(chunk, crc)
                await asyncio.sleep(0)
        return crc

    async def main() -> set[int]:
        return set(await asyncio.gather(*map(download, range(STREAMS))))

    assert len(run(main(), factory)) == 1
    assert 1 <= most <= min(32, usable_cores() + 4)


@contextmanager
def heart() -> Iterator[list[int]]:
    """Counts the turns that others get."""
    beats = [0]

    async def beat() -> None:
        while True:
            beats[0] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(beat())
    try:
        yield beats
    finally:
        task.cancel()


async def refused(count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        yield "../up", b""


async def empty_members(count: int) -> AsyncIterator[Any]:
    for number in range(count):
        yield Entry.directory(f"{number}", modified=DATE)


LONG_RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "large bytes": lambda: {"entries": [("a", bytes(48 << 20))]},
    "many pieces": lambda: {"entries": [("a", pieces(20_000, b"x" * KIB))]},
    "tiny pieces": lambda: {"entries": [("a", pieces(200_000, b"x"))]},
    "members that are left out": lambda: {"entries": refused(2000), "on_error": lambda entry, exc: None},
    "members without data": lambda: {"entries": empty_members(1500), "chunk_size": 1 << 24},
}


@pytest.mark.parametrize("kind", LONG_RUNS)
def test_others_get_their_turn(factory: Factory, kind: str) -> None:
    async def main() -> None:
        async with async_stream_zip(**LONG_RUNS[kind]()) as stream:
            with heart() as beats:
                await asyncio.sleep(0)
                before = beats[0]
                async for _ in stream:
                    pass
            assert beats[0] - before >= 5

    run(main(), factory)


class Watch:
    """Notes work beyond the stated small size that is done on this thread: by the functions that do it."""

    LIMITS: ClassVar = {
        "deflate_block": ("block", KIB),
        "deflate": ("data", KIB),
        "_into_frame": ("data", KIB),
        "zstd_whole": ("data", KIB),
        # The checksum: with the extra, more of it is less work than a hop.
        "_step": ("data", 64 * KIB if fastest_crc32() is zlib.crc32 else 512 * KIB),
    }

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or "zipstream_adapter" not in frame.f_code.co_filename:
            return
        name, limit = self.LIMITS.get(frame.f_code.co_name, ("", 0))
        if name in frame.f_locals and len(frame.f_locals[name]) > limit:
            self.seen.append((frame.f_code.co_name, len(frame.f_locals[name])))

    def __enter__(self) -> Watch:
        sys.setprofile(self)
        return self

    def __exit__(self, *args: object) -> None:
        sys.setprofile(None)


async def late(*chunks: bytes) -> AsyncIterator[bytes]:
    """Each chunk after more than the patience of whoever waits."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0.12)


async def late_entries() -> AsyncIterator[Any]:
    for number in range(50):
        yield f"{number}", words(number, 5000)
    await asyncio.sleep(0.12)
    yield "late", b"data"


WORK: dict[str, Callable[[], dict[str, Any]]] = {
    "large chunks": lambda: {"entries": [("a", pieces(4, noise(1, 700_000)))]},
    "bytearray": lambda: {"entries": [("a", bytearray(700_000))]},
    "bytes": lambda: {"entries": [("a", bytes(3_000_000)), ("b", bytes(900_000))]},
    "bytes, large chunks": lambda: {"entries": [("a", bytes(3_000_000)), ("b", bytes(9000))], "chunk_size": 1 << 20},
    "async entries": lambda: {"entries": late_entries()},
    "pieces that are late": lambda: {
        "entries": [Entry("first", b"x", compression="stored"), ("a", late(noise(1, 1_500_000), b"late", b"later"))]
    },
    "small pieces": lambda: {"entries": [("a", pieces(2000, noise(1, KIB)))]},
}


@pairwise(kind=WORK, method=["stored", "deflate", "auto", "zstd"], prefetch=[0, 2])
def test_no_work_is_done_on_the_loop(kind: str, method: str, prefetch: int) -> None:
    options: dict[str, Any] = {} if method == "stored" else {"compression": method}
    options |= {"level": 9} if method in ("deflate", "zstd") else {}
    if options.get("compression") == "zstd":
        oracles.need_zstd()

    async def main(executor: Any) -> bytes:
        keywords = WORK[kind]() | options | {"prefetch": prefetch, "lookahead": 0}
        if "compression" in options:
            keywords |= {"workers": 2, "executor": executor}
        with Watch() as watch:
            archive = await async_stream_zip(**keywords).read()
        assert watch.seen == []
        return archive

    # They are not available: what is to be done has to be done by whoever waits for it.
    with occupied() as executor:
        assert oracles.python(run(main(executor)), oracles.zstd_zipfile())


def test_a_child_process_has_streams_of_its_own() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    run_script(_FORK)


_FORK = """
import asyncio, os, signal, sys, warnings
from zipstream_adapter import Entry, async_stream_zip
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads: it is why we are here

def make():
    entries = [Entry("a", iter([bytes(500_000)] * 5), modified=1e9), Entry("b", bytes(100), modified=1e9)]
    return async_stream_zip(entries, compression="deflate")

async def whole():
    return await make().read()

async def some(stream):
    return [await anext(stream) for _ in range(1)]

with asyncio.Runner() as runner:
    stream = make()
    left = runner.run(some(stream))
    pid = os.fork()
    if not pid:
        signal.alarm(150)
        os._exit(0 if len(asyncio.run(whole())) > 100 else 1)
    status = os.waitpid(pid, 0)[1]
    rest = runner.run(stream.read())
    assert b"".join(left) + rest == runner.run(whole())
    sys.exit(os.waitstatus_to_exitcode(status))
"""
