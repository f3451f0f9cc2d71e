"""Work in parallel that fails, is interrupted, dropped or forked: nothing hangs, is left behind, or looks whole."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from tests.support import oracles
from tests.support.executors import (
    DATE,
    NOISE,
    BoomError,
    Inline,
    Recording,
    blocks,
    long_archive,
    long_stream,
    new_threads,
    none_left,
    run_into,
    small_stream,
)
from zipstream_adapter import Entry, PoisonedError, StreamClosedError, StreamingZipFile, ZipStream, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK


def assert_over(stream: ZipStream, left: bytes, kind: type[Exception] = PoisonedError) -> None:
    """Nothing more leaves `stream`, and what has `left` it looks whole to nobody."""
    for _ in range(2):
        with pytest.raises(kind):
            next(stream)
        with pytest.raises(kind):
            stream.read()
    stream.close()
    assert not oracles.python(left)


def assert_idle(executor: Recording) -> None:
    """No thread has any of our work, no result waits to be read, and the executor is as good as before."""
    assert executor.futures
    assert all(future.done() for future in executor.futures)
    assert ThreadPoolExecutor.submit(executor, int, "7").result(60) == 7


def rest_of(stream: ZipStream, left: list[bytes]) -> None:
    left.extend(stream)


# Executors that fail.


@pytest.mark.parametrize("make", [long_stream, small_stream])
@pytest.mark.parametrize("when", ["before", "midway"])
@pytest.mark.parametrize("cancel", [False, True])
def test_an_executor_that_was_shut_down_ends_the_stream(
    make: Callable[..., ZipStream], when: str, cancel: bool
) -> None:
    executor = Recording(2)
    stream, left = make(executor=executor), list[bytes]()
    if when == "midway":
        left.append(run_into(stream, 2 * BLOCK))
    executor.shutdown(wait=False, cancel_futures=cancel)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        rest_of(stream, left)
    assert_over(stream, b"".join(left))
    assert all(future.done() for future in executor.futures)


def test_an_executor_that_was_shut_down_poisons_an_archive() -> None:
    before = set(threading.enumerate())
    executor = Recording(2)
    archive = long_archive(executor=executor)
    left = archive.drain()
    with pytest.raises(RuntimeError, match="after shutdown"), archive, archive.open("second", "w") as member:
        for number, data in enumerate(blocks(20)):
            member.write(data)
            left += archive.drain()
            if number == 6:
                executor.shutdown(wait=False)
    with pytest.raises(PoisonedError):
        archive.drain()
    with pytest.raises(ValueError):
        archive.writestr("third", b"3")
    assert not oracles.python(left)
    assert all(future.done() for future in executor.futures)
    executor.shutdown()
    assert new_threads(before) == set()


@pytest.mark.parametrize("make", [long_stream, small_stream])
def test_a_broken_process_pool_ends_the_stream(make: Callable[..., ZipStream]) -> None:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        stream = make(executor=executor)
        left = [run_into(stream, 2 * BLOCK)]
        with suppress(BrokenExecutor):
            executor.submit(os._exit, 1).result(60)
        with pytest.raises(BrokenExecutor):
            rest_of(stream, left)
        assert_over(stream, b"".join(left))


@pytest.mark.parametrize("make", [long_stream, small_stream])
@pytest.mark.parametrize("fatal", [0, 3, 7])
def test_a_job_that_raises_ends_the_stream(make: Callable[..., ZipStream], fatal: int) -> None:
    def job(number: int, work: Callable[[], Any]) -> Any:
        if number == fatal:
            raise BoomError("boom")
        return work()

    executor = Inline(job)
    stream, left = make(executor=executor), list[bytes]()
    with pytest.raises(BoomError, match="boom"):
        rest_of(stream, left)
    assert_over(stream, b"".join(left))
    # Nothing is asked for any more: what came behind it is given up.
    assert len(executor.futures) <= fatal + 4


# Sources that fail, consumers that go.


def test_a_source_that_fails_midway_leaves_no_work_behind() -> None:
    before = set(threading.enumerate())
    with Recording(2) as executor:
        for given in (executor, None):
            stream, left = long_stream(executor=given, failing=True), list[bytes]()
            with pytest.raises(BoomError, match="boom"):
                rest_of(stream, left)
            assert_over(stream, b"".join(left))
        assert_idle(executor)
    assert new_threads(before) == set()


@pytest.mark.parametrize("make", [long_stream, small_stream])
@pytest.mark.parametrize("way", ["close", "with", "drop", "interrupt"])
def test_a_consumer_that_goes_leaves_no_work_behind(make: Callable[..., ZipStream], way: str) -> None:
    before = set(threading.enumerate())
    with Recording(2) as executor:
        for given in (executor, None):
            left = leave(make(executor=given), way)
            assert not oracles.python(left)
            gc.collect()
            assert none_left(before | set(executor._threads))
        assert all(future.done() for future in executor.futures)
        assert_idle(executor)


def leave(stream: ZipStream, way: str) -> bytes:
    left = run_into(stream, 2 * BLOCK)
    if way == "close":
        stream.close()
        assert_over(stream, left, StreamClosedError)
    elif way == "with":
        with suppress(BoomError), stream:
            raise BoomError("boom")
        assert_over(stream, left, StreamClosedError)
    elif way == "interrupt":
        with pytest.raises(KeyboardInterrupt), stream:
            for chunk in stream:
                left += chunk
                raise KeyboardInterrupt
    return left


@pytest.mark.parametrize("way", ["member", "archive", "drop"])
def test_an_archive_that_is_left_midway_leaves_no_work_behind(way: str) -> None:
    before = set(threading.enumerate())
    with Recording(2) as executor:
        for given in (executor, None):
            left = leave_archive(long_archive(executor=given), way)
            gc.collect()
            assert not oracles.python(left)
            assert none_left(before | set(executor._threads))
        assert_idle(executor)


def leave_archive(archive: StreamingZipFile, way: str) -> bytes:
    left = b""
    if way == "drop":
        member = archive.open("second", "w")
        member.write(NOISE * 8)
        left += archive.drain()
        del member
        with pytest.warns(ResourceWarning, match="unclosed archive"):
            del archive
            gc.collect()
        return left
    with suppress(BoomError), archive, archive.open("second", "w") as member:
        member.write(NOISE * 8)
        left += archive.drain()
        if way == "member":
            raise BoomError("boom")
        with pytest.raises(ValueError, match="is open for writing"):
            archive.close()
        raise BoomError("boom")
    with pytest.raises(PoisonedError):
        archive.drain()
    return left


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal can be sent to a thread here")
def test_ctrl_c_while_a_block_is_waited_for_waits_for_it_and_ends_the_stream() -> None:
    main, sent = threading.main_thread().ident or 0, threading.Event()

    def job(number: int, work: Callable[[], Any]) -> Any:
        if number >= 5 and not sent.is_set():
            sent.set()
            signal.pthread_kill(main, signal.SIGINT)
        return work()

    def source() -> Iterator[bytes]:
        for number in range(40):
            if number == 20:
                sent.wait(60)  # the threads begin a block, however busy the machine is
            yield NOISE

    with Recording(2, job) as executor:
        entries = [Entry("first", NOISE, compression="stored", modified=DATE), Entry("second", source(), modified=DATE)]
        stream, left = stream_zip(entries, compression="deflate", level=1, executor=executor), list[bytes]()
        # A run in the background may have been told to ignore SIGINT.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                # The signal comes wherever the main thread is by then: while it waits, or in here.
                rest_of(stream, left)
        finally:
            signal.signal(signal.SIGINT, before)
        stream.close()
        assert not oracles.python(b"".join(left))
        assert_idle(executor)


def test_an_entry_that_fails_while_its_blocks_are_in_flight_can_be_left_out() -> None:
    def entries(*names: str) -> Iterator[Entry]:
        yield Entry("first", NOISE, compression="stored", modified=DATE)
        for name in names:
            yield Entry(name, blocks(6, failing=name == "bad"), modified=DATE)

    options: dict[str, Any] = {"compression": "deflate", "level": 1, "lookahead": 1 << 22, "workers": 3}
    with Recording(1) as executor:
        stream = stream_zip(
            entries("bad", "good", "bad"), on_error=lambda *_: None, executor=executor, duplicates="rename", **options
        )
        made = stream.read()
        assert [skipped.entry.name for skipped in stream.skipped] == ["bad", "bad"]
        assert_idle(executor)
    assert made == stream_zip(entries("good"), **options).read()
