"""Daemon threads that are started on demand and ended when no archive uses them.

Work is a `Job`: queued, running, withdrawn or done. A job that has not begun can be withdrawn at once. A job that
closes something need not queue behind others: `ThreadPool.hasten` gives it a thread of its own. If no thread can be
started (Pyodide, RLIMIT_NPROC, interpreter shutdown), a job runs on the thread that submits it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from ..errors import StreamStateError

T = TypeVar("T")
_EXTRA = "zipstream-adapter-extra"  # name of a thread that is started for a single job


class Job(Future[Any]):
    """Work for a thread. `cancel` withdraws it unless it has begun; a job either runs or is withdrawn, never both.

    Attributes:
        is_queued: whether the job had to queue for a thread.
        is_counted: whether its thread counts towards the pool's limit.
        was_left: whether nobody waits for its end any more.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__()
        self._function: Callable[[], Any] | None = function
        self.is_queued = self.was_left = self.is_counted = False

    def cancel(self) -> bool:
        """Withdraw the job. Returns whether that was in time."""
        withdrawn = super().cancel()
        if withdrawn:
            self._function = None  # free what it references, although the job may stay in the queue
        return withdrawn

    def strand(self) -> None:
        """End the parent's job in a forked child, which has no thread for it. Waiting for it raises an error."""
        self._condition = threading.Condition()  # a thread of the parent may have held the old one
        if not self.done():
            self.set_exception(
                StreamStateError(
                    "this stream is in use by a thread of the parent process: create a new stream after a fork"
                )
            )

    def work(self) -> Callable[[], None] | None:
        """Run the job unless it was withdrawn. Returns a function that publishes its outcome, or None."""
        if not self.set_running_or_notify_cancel():
            return None
        function, self._function = self._function, None
        assert function is not None
        try:
            return partial(self.set_result, function())
        except StopIteration as exc:  # asyncio's futures cannot carry it, and would never be done
            error = RuntimeError("a source or a callback raised StopIteration")
            error.__cause__ = exc
            return partial(self.set_exception, error)
        except BaseException as exc:
            if type(exc) is CancelledError:  # asyncio would make it a cancellation of whoever waits
                return partial(self.set_exception, FutureCancelledError(*exc.args).with_traceback(exc.__traceback__))
            return partial(self.set_exception, exc)
        finally:
            del function


class FutureCancelledError(CancelledError):
    """A CancelledError of `concurrent.futures`, such as of ``future.result()`` in a source: a failure like others."""


class _Thread(threading.Thread):
    """A thread of a pool.

    Attributes:
        box: queue of the thread's next job; None ends the thread.
        job: the job that the thread runs, or None.
    """

    box: SimpleQueue[Job | None]
    job: Job | None

    def hand(self, job: Job | None) -> None:
        self.job = job
        self.box.put(job)


class ThreadPool(Executor):
    """Threads shared by all archives of the process. They exist while an archive leases them.

    So a process that writes no archive has no thread of this pool, and can fork. A child that is forked while an
    archive is being written has threads of its own. They are daemons: a source that hangs does not keep the
    interpreter from exiting.

    `SharedPool` is the pool of compression. This one is for work that may hang: a job can be withdrawn, hastened and
    left behind. Its counts do not survive an exception that a signal handler raises between two steps of theirs, so
    synchronous streams do not use it.
    """

    def __init__(self, name: str, most: Callable[[], int], *, waits: bool = True) -> None:
        """Make a pool without threads.

        Args:
            name: name of the threads.
            most: returns the limit of threads, which does not include those of hastened jobs.
            waits: whether the last archive to give the threads back waits until the idle threads have ended.
        """
        self._name = name
        self._most = most
        self._waits = waits
        self.generation = 0
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset_in_child)

    def _reset(self) -> None:
        # Reentrant: garbage collection may close a dropped stream while this thread holds the lock.
        self._lock = threading.RLock()
        self._queue: deque[Job] = deque()
        self._idle: list[_Thread] = []
        self._alive: list[_Thread] = []
        self._count = self._limit = 0  # threads, except those started for a single job and those left
        self.leases = 0  # number of archives that lease the threads

    def _reset_in_child(self) -> None:
        """Start afresh in a forked child: it has none of the threads, one of which may have held the lock."""
        stranded = [thread.job for thread in self._alive if thread.job is not None] + list(self._queue)
        self._reset()
        self.generation += 1
        for job in stranded:
            job.strand()

    def lease(self) -> ThreadPool:
        """Lease the threads to one more archive."""
        with self._lock:
            if not self.leases:
                self._limit = self._most()
            self.leases += 1
        return self

    def give_back(self, generation: int) -> None:
        """End the lease of one archive, taken in `generation`."""
        with self._lock:
            if generation != self.generation:
                return  # leased in the parent process, which still has it
            self.leases -= 1
            if self.leases:
                return
            for job in self._queue:  # nobody waits for these any more
                job.cancel()
            self._queue.clear()
            idle, self._idle = self._idle, []
            self._count -= len(idle)
            for thread in idle:
                thread.hand(None)
            ending = [each for each in self._alive if each.job is None or each.job.cancelled()]
        # A thread of a pool may be closing a dropped stream as garbage: it cannot wait for itself.
        # Daemons never end once the interpreter has stopped them.
        if self._waits and not isinstance(threading.current_thread(), _Thread) and not sys.is_finalizing():
            for thread in ending:
                thread.join()

    # Jobs.

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` on a thread."""
        job = Job(partial(fn, *args, **kwargs) if args or kwargs else fn)
        self.place(job)
        return job

    def place(self, job: Job, *, at_once: bool = False) -> None:
        """Hand `job` to an idle or new thread. At the limit of threads it is queued, unless `at_once` is set."""
        if sys.is_finalizing():  # the threads never run again, and starting one may never return
            if publish := job.work():
                publish()
            return
        with self._lock:
            if self._idle:
                job.is_counted = True
                self._idle.pop().hand(job)
                return
            is_extra = self._count >= self._limit
            if is_extra and not at_once:
                job.is_queued = True
                self._queue.append(job)
                return
            job.is_counted = not is_extra
            self._count += job.is_counted
        if self._started(job):
            return
        with self._lock:
            self._count -= job.is_counted
            job.is_counted = False
            if self._idle:
                job.is_counted = True
                self._idle.pop().hand(job)
                return
            if self._count and not at_once:
                job.is_queued = True
                self._queue.append(job)
                return
        if publish := job.work():  # no thread can be started
            publish()

    def hasten(self, job: Job) -> None:
        """Give a queued `job` a thread at once, ahead of the jobs before it."""
        with self._lock:
            try:
                self._queue.remove(job)
            except ValueError:
                return  # already handed to a thread, or withdrawn
        self.place(job, at_once=True)

    def leave(self, job: Job) -> None:
        """Stop counting the thread of a running `job` that nobody waits for. The thread ends after the job."""
        with self._lock:
            if job.was_left or not job.is_counted:
                return
            job.was_left, job.is_counted = True, False
            self._count -= 1
            following = self._queue.popleft() if self._queue else None
        if following is not None:
            self.place(following)

    def _started(self, job: Job) -> bool:
        """Start a thread for `job`. Returns whether that was possible."""
        for daemon in (True, False):  # some subinterpreters do not allow daemon threads
            try:
                thread = _Thread(target=self._work, name=self._name if job.is_counted else _EXTRA, daemon=daemon)
                thread.box = SimpleQueue()
                thread.hand(job)
                thread.start()
            except RuntimeError:
                continue
            with self._lock:
                self._alive = [each for each in self._alive if each.is_alive()] + [thread]
            return True
        return False

    def _work(self) -> None:
        thread = threading.current_thread()
        assert isinstance(thread, _Thread)
        goes_on = True
        while goes_on and (job := thread.box.get()) is not None:
            publish = job.work()
            # Free the thread before publishing the outcome: whoever waits for that may then end the idle thread.
            goes_on = self._freed(thread, job)
            if publish is not None:
                publish()
            del job, publish

    def _freed(self, thread: _Thread, job: Job) -> bool:
        """Give the thread of a finished `job` its next one, or mark it as idle. Returns whether it is still needed."""
        with self._lock:
            was_counted, job.is_counted = job.is_counted, False
            thread.job = None
            if was_counted and self.leases:
                if self._queue:
                    following = self._queue.popleft()
                    following.is_counted = True
                    thread.hand(following)
                else:
                    self._idle.append(thread)
                return True
            self._count -= was_counted
            return False


class Lease:
    """One archive's use of a `ThreadPool`, from its first work to `close`."""

    def __init__(self, pool: ThreadPool) -> None:
        self.pool = pool
        self._generation: int | None = None

    @property
    def executor(self) -> ThreadPool:
        """The pool, leased on first use."""
        if self._generation != self.pool.generation:
            self.pool.lease()
            self._generation = self.pool.generation
        return self.pool

    def close(self) -> None:
        """Give the threads back. Using `executor` again leases them again."""
        generation, self._generation = self._generation, None
        if generation is not None:
            self.pool.give_back(generation)
