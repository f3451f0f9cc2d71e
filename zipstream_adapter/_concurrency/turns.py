"""Turns of an event loop: limit the time that all streams together take before other tasks run."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import MutableMapping
from weakref import WeakKeyDictionary

from .pools import usable_cores

# The time that the loop's thread works. Waiting, as for the interpreter's lock, does not count: less work would not
# shorten it. Not every platform has this clock.
_clock = getattr(time, "thread_time", time.monotonic)
# Seconds of one loop iteration after which streams wait for the next.
_ITERATION_S = 0.001
# Seconds of a loop iteration, and number of loop iterations, that a stream may run before it waits behind others. It
# takes two or three iterations to get a chunk of a source that is on the loop.
_TURN_S = 0.0005
_ITERATIONS = 4
# Streams beyond one per core that may run a step on a thread, or hand over its chunks, at a time: the step may wait for
# a disk. The more threads want the interpreter's lock, the longer the event loop waits for it.
_MORE_STEPS = 1


class LoopTurns:
    """The turns of the streams on one event loop, in order of arrival.

    In each loop iteration, as many streams run as keep it short; the others wait. The number adapts to the work of all
    streams and other tasks.
    """

    def __init__(self) -> None:  # has no reference to the loop, so that it can be collected
        self._number = 0  # of the loop iteration
        self._began: float | None = None  # when a stream ran first in this iteration
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._most = 1.0  # streams to wake per iteration
        self._free = usable_cores() + _MORE_STEPS
        self._entering: deque[asyncio.Future[None]] = deque()

    def _may_run(self, now: float) -> bool:
        """Whether a stream that is not waiting may run."""
        if self._began is None:
            self._began = now
            asyncio.get_running_loop().call_soon(self._next_iteration)
        return not self._waiting and now - self._began < _ITERATION_S

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _next_iteration(self) -> None:
        assert self._began is not None
        now = _clock()
        took = now - self._began
        self._number += 1
        if not self._waiting:
            self._began = None
            return
        self._most = self._most + 1 / _ITERATIONS if took < _ITERATION_S else max(1.0, self._most / 2)
        self._began = now
        asyncio.get_running_loop().call_soon(self._next_iteration)
        for _ in range(min(int(self._most), len(self._waiting))):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    # Steps on threads.

    async def _enter(self) -> None:
        """Wait, in order of arrival, until the stream may run a step on a thread."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._entering.append(turn)
        try:
            await turn
        except BaseException:
            if not turn.cancelled():
                self._leave()  # it was let in and cancelled at the same moment
            raise

    def _leave(self) -> None:
        while self._entering:
            turn = self._entering.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


_turns: MutableMapping[asyncio.AbstractEventLoop, LoopTurns] = WeakKeyDictionary()


class Turn:
    """One stream's turn on the running event loop."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        turns = _turns.get(loop)
        if turns is None:
            turns = _turns[loop] = LoopTurns()
        self._turns = turns
        self._first = self._number = -_ITERATIONS  # numbers of its first and its last loop iteration
        self._until = 0.0
        self._is_within = False

    def is_over(self) -> bool:
        """Whether to `wait` before the next step: the stream has run for long, or in several loop iterations."""
        now, number = _clock(), self._turns._number
        if number == self._number and now < self._until:
            return False
        if number == self._number or number - self._first >= _ITERATIONS:
            if not self._turns._may_run(now):
                return True
            self._first = number
        self._number, self._until = number, now + _TURN_S
        return False

    async def wait(self) -> None:
        """Wait for the next turn."""
        await self._turns._wait()
        self._first = self._number = self._turns._number
        self._until = _clock() + _TURN_S

    async def enter(self) -> None:
        """Wait until the stream may run a step on a thread: few may at a time. Call `leave` after the step."""
        await self._turns._enter()
        self._is_within = True

    def leave(self) -> None:
        """End the step that `enter` allowed, if any."""
        if self._is_within:
            self._is_within = False
            self._turns._leave()
