"""The library's own threads: work that was not begun is withdrawn, closing does not queue, and none is needed."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from tests.support.executors import none_left, run_script
from zipstream_adapter import streams_closed
from zipstream_adapter._concurrency import offload
from zipstream_adapter._concurrency.ordered import InOrder, Workers
from zipstream_adapter._concurrency.threads import Job, Lease, ThreadPool


@contextmanager
def leased(threads: int, **options: Any) -> Iterator[ThreadPool]:
    pool = ThreadPool("test-threads", lambda: threads, **options)
    lease = Lease(pool)
    try:
        yield lease.executor
    finally:
        lease.close()
        assert pool.leases == 0


def blocked(pool: ThreadPool, over: threading.Event, count: int) -> list[Job]:
    """Jobs that have begun, and wait for `over`."""
    begun = threading.Semaphore(0)

    def wait() -> str:
        begun.release()
        assert over.wait(60)
        return "waited"

    jobs = [Job(wait) for _ in range(count)]
    for job in jobs:
        pool.place(job)
    for _ in jobs:
        assert begun.acquire(timeout=60)
    return jobs


def test_what_was_not_begun_is_withdrawn_and_what_was_is_not() -> None:
    done: list[int] = []
    over = threading.Event()
    with leased(2) as pool:
        jobs = blocked(pool, over, 2)
        queued = [Job(lambda each=each: done.append(each)) for each in range(4)]  # type: ignore[misc]
        for job in queued:
            pool.place(job)
        assert all(job.is_queued for job in queued)
        assert [job.cancel() for job in jobs] == [False, False]
        assert [job.cancel() for job in queued[::2]] == [True, True]
        over.set()
        assert [job.result(60) for job in jobs] == ["waited", "waited"]
        for job in queued[1::2]:
            job.result(60)
    assert sorted(done) == [1, 3]


def test_a_job_is_withdrawn_or_done_and_never_both() -> None:
    done: list[Job] = []
    with leased(4) as pool:
        jobs = []
        for _ in range(2000):
            job = Job(lambda: done.append(threading.current_thread()))  # type: ignore[arg-type]
            pool.place(job)
            jobs.append((job, job.cancel()))
        withdrawn = sum(cancelled for _, cancelled in jobs)
        for job, cancelled in jobs:
            assert cancelled or job.result(60) is None
    assert len(done) + withdrawn == len(jobs)


def test_what_is_hastened_does_not_queue() -> None:
    over = threading.Event()
    with leased(2) as pool:
        jobs = blocked(pool, over, 2)
        try:
            queued = [Job(threading.current_thread) for _ in range(40)]
            for job in queued:
                pool.place(job)
            for job in queued[10:30]:
                pool.hasten(job)
                job.result(60)
                pool.hasten(job)  # too late, and no harm
            assert not any(job.done() for job in queued[:10] + queued[30:])
        finally:
            over.set()
        for job in jobs + queued:
            job.result(60)
        assert len({job.result() for job in queued[:10] + queued[30:]}) <= 2


def test_a_thread_that_hangs_is_replaced_when_nobody_waits_for_it() -> None:
    over = threading.Event()
    before = set(threading.enumerate())
    with leased(2) as pool:
        jobs = blocked(pool, over, 2)
        queued = [Job(lambda: "done") for _ in range(9)]
        for job in queued:
            pool.place(job)
        for job in jobs:
            pool.leave(job)
            pool.leave(job)
        assert [job.result(60) for job in queued] == ["done"] * 9
        jobs += blocked(pool, over, 2)
        assert [job.cancel() for job in jobs] == [False] * 4
    over.set()  # the pool did not wait for them
    assert [job.result(60) for job in jobs] == ["waited"] * 4
    assert none_left(before)


def test_the_last_to_give_the_threads_back_finds_none_left() -> None:
    before = set(threading.enumerate())
    for _ in range(200):
        with leased(3) as pool:
            jobs = [Job(int) for _ in range(6)]
            for job in jobs:
                pool.place(job)
            withdrawn = Job(int)
            pool.place(withdrawn)
            for job in jobs:
                job.result(60)
            if not withdrawn.cancel():
                withdrawn.result(60)
        assert set(threading.enumerate()) - before == set()


def test_what_is_raised_is_the_outcome_and_the_thread_goes_on() -> None:
    with leased(1) as pool:
        failed, fine = pool.submit(int, "x"), pool.submit(int, "7")
        with pytest.raises(ValueError, match="invalid literal"):
            failed.result(60)
        assert fine.result(60) == 7


@contextmanager
def no_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """No thread can be started; counts who tried."""
    tried: list[int] = []

    def start(self: threading.Thread) -> None:
        tried.append(1)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield tried


def test_without_threads_work_is_done_where_it_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with no_threads(monkeypatch) as tried, leased(2) as pool:
        jobs = [pool.submit(threading.get_ident) for _ in range(3)]
        assert [job.result(0) for job in jobs] == [threading.get_ident()] * 3
        assert pool.submit(int, "x").exception(0) is not None
    assert tried


def test_at_the_end_of_the_interpreter_no_thread_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its threads never run again then, and on Python 3.11 starting one may never return.
    with no_threads(monkeypatch) as tried, leased(1) as pool, monkeypatch.context() as patch:
        patch.setattr(sys, "is_finalizing", lambda: True)
        assert pool.submit(threading.get_ident).result(0) == threading.get_ident()
    assert not tried
    over = threading.Event()
    with leased(2) as pool:
        (running,) = blocked(pool, over, 1)
        assert pool.submit(int).result(60) == 0  # its thread is idle now
        with monkeypatch.context() as patch:
            patch.setattr(sys, "is_finalizing", lambda: True)
            assert pool.submit(threading.get_ident).result(0) == threading.get_ident()
        over.set()
        assert running.result(60) == "waited"


def test_nor_is_one_of_those_that_compress(monkeypatch: pytest.MonkeyPatch) -> None:
    with no_threads(monkeypatch) as tried, monkeypatch.context() as patch:
        patch.setattr(sys, "is_finalizing", lambda: True)
        workers = Workers(2)
        order: InOrder[int] = InOrder(workers)
        done = [each for _ in range(5) for each in order.start(threading.get_ident)] + order.finish()
        workers.close()
    assert done == [threading.get_ident()] * 5
    assert not tried


def test_where_one_thread_was_the_last_to_start_it_does_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    with leased(4) as pool:
        (first,) = blocked(pool, over, 1)
        with no_threads(monkeypatch):
            queued = pool.submit(threading.current_thread)
            closing = Job(threading.get_ident)
            pool.place(closing, at_once=True)
            assert closing.result(0) == threading.get_ident()
            assert not queued.done()
            over.set()
            assert queued.result(60) is not threading.current_thread()
        first.result(60)


def test_a_hung_thread_does_not_hold_the_end_of_the_interpreter() -> None:
    run_script("""
import threading
from zipstream_adapter._concurrency.threads import Job, Lease, ThreadPool
lease, begun = Lease(ThreadPool("hangs", lambda: 2)), threading.Event()
def hang():
    begun.set()
    threading.Event().wait()
lease.executor.place(Job(hang))
assert begun.wait(60)
""")


def test_threads_in_a_subinterpreter_that_allows_no_daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = threading.Thread.__init__

    def init(self: threading.Thread, *args: Any, daemon: bool | None = None, **options: Any) -> None:
        if daemon:
            raise RuntimeError("daemon threads are disabled in this (sub)interpreter")
        plain(self, *args, daemon=daemon, **options)

    monkeypatch.setattr(threading.Thread, "__init__", init)
    with leased(2) as pool:
        assert pool.submit(threading.get_ident).result(60) != threading.get_ident()


def test_a_stream_ends_while_other_event_loops_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    class Changing(WeakKeyDictionary[Any, Any]):
        def values(self) -> Iterator[Any]:  # type: ignore[override]
            """As if another thread had added a loop meanwhile."""
            yield from ()
            raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(offload, "_open_streams", Changing())

    async def main() -> None:
        threads = offload.StepThreads()
        threads.begin()
        assert not await streams_closed(0)
        threads.close()
        assert await asyncio.wait_for(streams_closed(), 60)

    asyncio.run(main())
