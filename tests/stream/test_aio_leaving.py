"""Cancellations wait for no work of others, and for nothing that hangs; where there is no asyncio, that is said."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import warnings
import zipfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiofiles
import pytest

from tests.concurrency.test_threads import no_threads
from tests.support import oracles
from tests.support.async_sources import DATA, KINDS, Ledger
from tests.support.executors import run_script
from tests.support.loops import LOOPS, HeldThreads, module, other_tasks, own_pool, run, turns, until
from tests.support.strategies import noise
from tests.support.sweeps import pairwise
from zipstream_adapter import (
    Entry,
    EventLoopError,
    PoisonedError,
    StreamClosedError,
    ZipLayout,
    ZipStreamError,
    async_stream_zip,
    stream_zip,
    streams_closed,
)
from zipstream_adapter.remote import open_remote_async, upload_zip_async

Factory = Callable[[], asyncio.AbstractEventLoop]
DATE = 1_000_000_000


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> HeldThreads:
    return own_pool(monkeypatch)


@pytest.fixture(params=LOOPS)
def factory(request: pytest.FixtureRequest) -> Factory:
    return LOOPS[request.param]


async def drain(stream: Any) -> None:
    async for _ in stream:
        pass


# Others' work on the loop's default executor.


@contextmanager
def busy_default_executor() -> Iterator[threading.Event]:
    """The loop's default executor has other things to do until the event."""
    over, executor = threading.Event(), ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(executor)
    for _ in range(3):
        executor.submit(over.wait, 60)
    try:
        yield over
    finally:
        over.set()


@pytest.mark.parametrize(
    "kind", ["path", "aiofiles to be awaited", "aiofiles handle", "callable for a path", "callable for aiofiles"]
)
@pytest.mark.parametrize("prefetch", [0, 2])
def test_files_do_not_wait_for_the_default_executor(factory: Factory, kind: str, prefetch: int, tmp_path: Path) -> None:
    async def main() -> bytes:
        path = tmp_path / "data"
        path.write_bytes(DATA)
        if kind == "aiofiles handle":
            source: Any = await aiofiles.open(path, "rb")
        elif kind == "callable for aiofiles":
            source = lambda: aiofiles.open(path, "rb")  # noqa: E731
        elif kind == "path":
            source = path
        else:
            source = KINDS[kind](Ledger(), tmp_path)
        with busy_default_executor() as over:
            async with asyncio.timeout(60):
                archive = await async_stream_zip([Entry("a", source, modified=DATE)], prefetch=prefetch).read()
            assert not over.is_set()
        return archive

    assert oracles.python(run(main(), factory))


@pytest.mark.parametrize("count", [40])
@pytest.mark.parametrize("prefetch", [0, 1])
def test_cancellations_do_not_wait_for_streams_that_block_all_threads(
    factory: Factory, prefetch: int, count: int, tmp_path: Path
) -> None:
    """Those whose step was begun are waited for; all others end at once."""
    (tmp_path / "data").write_bytes(DATA)
    over = threading.Event()
    begun: list[int] = []
    closed: list[int] = []

    def hangs(number: int) -> Iterator[bytes]:
        begun.append(number)
        try:
            assert over.wait(60)
            yield b"data"
        finally:
            closed.append(number)

    async def main() -> None:
        tasks = []
        for number in range(count):
            entries = [Entry("file", tmp_path / "data"), Entry("hangs", hangs(number))]
            tasks.append(asyncio.create_task(drain(async_stream_zip(entries, prefetch=prefetch))))
        await until(lambda: len(begun) == 6)
        for task in tasks:
            task.cancel()
        await until(lambda: sum(task.done() for task in tasks) == count - 6)
        assert not over.is_set()
        over.set()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        assert sorted(closed) == sorted(begun)

    run(main(), factory)


# What hangs while it is closed.


class Dead:
    """Closing it takes until `over`; then it fails, if `fails`."""

    def __init__(self, *, fails: bool = False) -> None:
        self.over, self.closing, self.begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.closed = 0
        self._fails = fails

    def __aiter__(self) -> Dead:
        return self

    async def __anext__(self) -> bytes:
        self.begun.set()
        await asyncio.sleep(0.001)
        return noise(1, 70_000)

    async def aclose(self) -> None:
        self.closing.set()
        await self.over.wait()
        self.closed += 1
        if self._fails:
            raise OSError("the peer is dead")


async def generator(dead: Dead) -> AsyncIterator[bytes]:
    try:
        async for chunk in dead:
            yield chunk
    finally:
        await dead.aclose()


MAKERS: dict[str, Callable[[Dead], Any]] = {
    "iterator": lambda dead: dead,
    "generator": generator,
    "callable": lambda dead: lambda: generator(dead),
}


@contextmanager
def told() -> Iterator[list[dict[str, Any]]]:
    """What the loop's exception handler is told."""
    loop, calls = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: calls.append(context))
    try:
        yield calls
    finally:
        loop.set_exception_handler(None)


@pairwise(factory=LOOPS.values(), fails=[False, True], prefetch=[0, 1], kind=MAKERS)
def test_an_aclose_that_hangs_is_left_by_a_second_cancellation(
    factory: Factory, kind: str, prefetch: int, fails: bool
) -> None:
    async def main() -> None:
        dead = Dead(fails=fails)
        stream = async_stream_zip([Entry("hangs", MAKERS[kind](dead))], prefetch=prefetch)
        task = asyncio.create_task(drain(stream))
        await dead.begun.wait()
        task.cancel()
        await asyncio.wait_for(dead.closing.wait(), 60)
        await asyncio.sleep(0.05)
        assert not task.done()
        with told() as calls:
            task.cancel()
            with pytest.warns(RuntimeWarning, match="entry 'hangs'.*did not end within 1 s after a second"):
                await asyncio.wait([task], timeout=200)
            assert task.cancelled()
            with pytest.raises(PoisonedError):
                await stream.read()
            assert not await streams_closed(0.05)
            dead.over.set()
            assert await streams_closed(60)
            await stream.aclose()
            await until(lambda: not other_tasks())
        assert dead.closed == 1
        assert [str(call["exception"]) for call in calls] == (["the peer is dead"] if fails else [])

    run(main(), factory)


@pytest.mark.parametrize("prefetch", [0, 1])
def test_an_aclose_of_the_users_is_left_as_well(factory: Factory, prefetch: int) -> None:
    async def main() -> None:
        dead = Dead()
        stream = async_stream_zip([Entry("hangs", dead)], prefetch=prefetch)
        await anext(stream)
        task = asyncio.create_task(stream.aclose())
        await asyncio.wait_for(dead.closing.wait(), 60)
        for _ in range(2):
            task.cancel()
            await turns()
        with pytest.warns(RuntimeWarning, match="entry 'hangs'"):
            await asyncio.wait([task], timeout=200)
        assert task.cancelled()
        await asyncio.wait_for(stream.aclose(), 60)  # there is nothing more that it could do
        with pytest.raises(StreamClosedError):
            await anext(stream)
        dead.over.set()
        assert await streams_closed(60)
        assert dead.closed == 1
        await until(lambda: not other_tasks())

    run(main(), factory)


@pairwise(factory=LOOPS.values(), what=["read", "open", "layout"], prefetch=[0, 1])
def test_a_thread_that_hangs_is_left_by_a_second_cancellation(
    factory: Factory, pool: HeldThreads, what: str, prefetch: int
) -> None:
    over, begun, closed = threading.Event(), threading.Event(), threading.Event()

    class Hanging:
        def read(self, size: int = -1) -> bytes:
            begun.set()
            assert over.wait(60)
            return b"x" * 10

        def close(self) -> None:
            closed.set()

    def opens() -> Hanging:
        if what == "open":
            Hanging().read()
        return Hanging()

    def make() -> Any:
        if what == "layout":
            return ZipLayout([Entry("hangs", opens, size=10)]).aiter_range()
        return async_stream_zip([Entry("hangs", opens)], prefetch=prefetch)

    async def main() -> None:
        # More than there are threads: those that are left count no more.
        tasks = [asyncio.create_task(drain(make())) for _ in range(4)]
        await until(begun.is_set)
        for _ in range(2):
            await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
        with pytest.warns(RuntimeWarning, match="did not end within 1 s"):
            await asyncio.wait(tasks, timeout=200)
        assert all(task.cancelled() for task in tasks)
        assert not over.is_set()
        assert len(await async_stream_zip([Entry("a", iter([b"x"] * 9))]).read()) > 100
        over.set()
        assert await streams_closed(60)
        await until(closed.is_set)
        await until(lambda: not other_tasks())

    run(main(), factory)


@pairwise(
    factory=LOOPS.values(),
    hangs=["calling", "first", "amid", "closing"],
    kind=["generator", "iterator", "callable"],
    prefetch=[0, 1],
)
def test_a_warning_names_the_source_that_hangs_on_a_thread(
    factory: Factory, pool: HeldThreads, kind: str, hangs: str, prefetch: int
) -> None:
    kind = "callable" if hangs == "calling" else kind
    over, begun = threading.Event(), threading.Event()

    def may_hang(where: str) -> None:
        if where == hangs:
            begun.set()
            assert over.wait(60)

    def chunks() -> Generator[bytes, None, None]:
        try:
            may_hang("first")
            for _ in range(50):
                yield noise(1, 70_000)
                may_hang("amid")
        finally:
            may_hang("closing")

    class Iterating:
        def __init__(self) -> None:
            self.chunks = chunks()

        def __iter__(self) -> Iterator[bytes]:
            return self.chunks

        def close(self) -> None:
            self.chunks.close()

    def opens() -> Iterator[bytes]:
        may_hang("calling")
        return chunks()

    async def main() -> None:
        made: dict[str, Callable[[], Any]] = {"generator": chunks, "iterator": Iterating, "callable": lambda: opens}
        source = made[kind]()
        stream = async_stream_zip([("a", b"data"), ("hangs", source)], prefetch=prefetch)
        if hangs == "closing":
            await stream.read(100_000)
            task = asyncio.create_task(stream.aclose())
        else:
            task = asyncio.create_task(drain(stream))
        await until(begun.is_set)
        for _ in range(2):
            await asyncio.sleep(0.05)
            task.cancel()
        with pytest.warns(RuntimeWarning, match="entry 'hangs'.*did not end within 1 s"):
            await asyncio.wait([task], timeout=200)
        over.set()
        assert await streams_closed(60)
        await until(lambda: not other_tasks())

    run(main(), factory)


@pytest.mark.parametrize("what", ["open_remote_async", "resolve"])
def test_what_is_asked_for_and_hangs_is_left_by_a_second_cancellation(factory: Factory, what: str) -> None:
    over, begun = threading.Event(), threading.Event()

    def hangs(*_: Any) -> Any:
        begun.set()
        assert over.wait(60)

    async def receive() -> Any:
        await asyncio.Event().wait()

    def ask() -> Any:
        if what == "open_remote_async":
            return open_remote_async(hangs, size=100_000)
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        return web().asgi_app(hangs)(scope, receive, None)

    async def main() -> None:
        task = asyncio.create_task(ask())
        await until(begun.is_set)
        for _ in range(2):
            task.cancel()
            await turns()
            assert not task.done()
        with pytest.warns(RuntimeWarning, match="did not end within 1 s"):
            await asyncio.wait([task], timeout=200)
        assert task.cancelled()
        over.set()
        await until(lambda: not other_tasks())

    run(main(), factory)


def test_a_warning_that_is_an_error_does_not_keep_the_cancellation(factory: Factory) -> None:
    async def main() -> None:
        dead = Dead()
        task = asyncio.create_task(drain(async_stream_zip([Entry("hangs", dead)])))
        await dead.begun.wait()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            task.cancel()
            await asyncio.wait_for(dead.closing.wait(), 60)
            task.cancel()
            await asyncio.wait([task], timeout=200)
        assert task.cancelled()
        dead.over.set()
        assert await streams_closed(60)
        await until(lambda: not other_tasks())

    run(main(), factory)


@pytest.mark.parametrize("kind", ["generator", "path"])
def test_a_loop_that_ends_does_not_wait_for_what_was_left(factory: Factory, kind: str) -> None:
    over, begun, ended = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        over.wait(60)
        ended.set()

    def hangs() -> Iterator[bytes]:
        hang()
        yield b""

    class Hangs(os.PathLike[str]):
        def __fspath__(self) -> str:
            hang()
            return os.devnull

    async def main() -> None:
        entry = Entry("hangs", hangs()) if kind == "generator" else Entry("hangs", Hangs(), size=10 << 20)
        task = asyncio.create_task(drain(async_stream_zip([entry])))
        await until(begun.is_set)
        task.cancel()
        await turns()
        task.cancel()
        with pytest.warns(RuntimeWarning, match="did not end"):
            await asyncio.wait([task], timeout=200)

    run(main(), factory)
    assert not ended.is_set()
    over.set()


def test_timeouts_of_a_source_are_no_cancellations(factory: Factory) -> None:
    """However many there are: those that have ended do not count."""

    async def late() -> AsyncIterator[Any]:
        for number in range(5):
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                yield f"{number}", b"data"

    async def main() -> bytes:
        return await async_stream_zip(late()).read()

    assert oracles.python(run(main(), factory))


# Without asyncio.


def web() -> Any:
    module("werkzeug")
    from zipstream_adapter import web

    return web


def test_trio_gets_a_refusal_that_says_what_is_needed() -> None:
    trio = module("trio")

    async def upload() -> None:
        await upload_zip_async(None, "a.zip", [("a", b"x")])

    async def aclose() -> None:
        await async_stream_zip([("a", b"x")]).aclose()

    async def enter() -> None:
        async with async_stream_zip([("a", b"x")]):
            pass

    async def asgi() -> None:
        await web().asgi_app(lambda request: [("a", b"x")])({"type": "http"}, None, None)

    async def layout() -> None:
        await drain(ZipLayout([("a", b"x")]).aiter_range())

    async def read() -> None:
        await async_stream_zip([("a", b"x")]).read()

    async def remote() -> None:
        await open_remote_async("http://127.0.0.1:1/a.zip")

    async def stream() -> None:
        await drain(async_stream_zip([("a", b"x")]))

    async def closings() -> None:
        await streams_closed()

    for ask in (upload, aclose, enter, layout, read, remote, stream, closings, asgi):
        with pytest.raises(EventLoopError, match="needs asyncio") as caught:
            trio.run(ask)
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, ZipStreamError)


def test_an_asgi_server_on_trio_is_told_at_its_start() -> None:
    trio = module("trio")
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    trio.run(web().asgi_app(lambda request: None), {"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "needs asyncio" in sent[0]["message"]


def test_without_any_loop_it_says_so() -> None:
    with pytest.raises(EventLoopError, match="needs asyncio"):
        async_stream_zip([("a", b"x")]).__anext__().send(None)


# Without threads.


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "upload"])  # which needs threads of anyio
@pairwise(factory=LOOPS.values(), prefetch=[0, 2])
@pytest.mark.patient
def test_without_threads_each_kind_of_source_gives_the_same(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, kind: str, prefetch: int, tmp_path: Path
) -> None:
    async def main() -> bytes:
        entry = Entry("a", KINDS[kind](Ledger(), tmp_path), modified=DATE, mode=0o644)
        options: dict[str, Any] = {"compression": "deflate", "level": 1, "workers": 2, "prefetch": prefetch}
        return await async_stream_zip([entry, ("b", b"b")], **options).read()

    with no_threads(monkeypatch):
        archive = run(main(), factory)
    with zipfile.ZipFile(io.BytesIO(archive)) as read:
        assert [read.read(name) for name in ("a", "b")] == [DATA, b"b"]


def test_without_threads_ranges_are_made_where_they_are(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    entries = [Entry("a", tmp_path / "data", modified=DATE), Entry("b", b"b" * 1000, modified=DATE)]
    layout = ZipLayout(entries)
    whole = b"".join(stream_zip(entries))

    async def main() -> bytes:
        return b"".join([chunk async for chunk in layout.aiter_range(100, layout.size - 7)])

    with no_threads(monkeypatch):
        assert run(main(), factory) == whole[100:-7]


# The end of a server.


def test_streams_closed_waits_for_all_that_was_begun_on_this_loop(factory: Factory) -> None:
    async def main() -> None:
        assert await streams_closed()
        gate = asyncio.Event()

        async def gated() -> AsyncIterator[bytes]:
            yield noise(1, 100_000)
            await gate.wait()

        unbegun = async_stream_zip([("a", b"x")])
        stream = async_stream_zip([("a", gated())], lookahead=0)
        await anext(stream)
        assert not await streams_closed(0.01)
        waiting = asyncio.create_task(streams_closed())
        await turns()
        gate.set()
        await stream.read()
        assert await asyncio.wait_for(waiting, 60)
        part = ZipLayout([("a", noise(1, 1_000_000))]).aiter_range()
        await anext(part)
        assert not await streams_closed(0)
        await part.aclose()
        assert await streams_closed(0)
        assert len(await unbegun.read()) > 10

    run(main(), factory)


def test_a_child_process_is_told_that_a_thread_has_stayed_in_its_parent() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    run_script("""
import os, signal, sys, threading, warnings
from zipstream_adapter import StreamStateError
from zipstream_adapter._concurrency.threads import Job, Lease, ThreadPool
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads: it is why we are here
over, begun = threading.Event(), threading.Event()
lease = Lease(ThreadPool("forked", lambda: 1))
def wait():
    begun.set()
    return over.wait(50)
jobs = [Job(wait), Job(int)]
for job in jobs:
    lease.executor.place(job)
assert begun.wait(50)
pid = os.fork()
if not pid:
    signal.alarm(150)
    ok = all(isinstance(job.exception(0), StreamStateError) for job in jobs)
    os._exit(0 if ok and lease.executor.submit(int, "7").result(60) == 7 else 1)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
over.set()
assert [job.result(50) for job in jobs] == [True, 0]
lease.close()
sys.exit(status)
""")
