"""Threads for the steps of asynchronous streams, which all of them share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING, Any

from .aio_wait import settled
from .parallel import Lease, SharedPool, usable_cores

if TYPE_CHECKING:
    from concurrent.futures import Future

# A step can block, where a source does: there are more of these than there are cores.
_threads = SharedPool("zipstream-adapter-step", lambda: min(32, usable_cores() + 4))
# Bytes that one step makes before its stream is asked for them, at most, and that those of all streams do together.
_MOST, _MOST_OF_ALL = 1 << 22, 1 << 25


@cache
def _keep_pages() -> None:
    """Have the C library keep what is freed, once for the process, where it learns how much from the largest block yet.

    glibc gives back all that is free at the end of a thread's heap beyond twice that: each step would have to be given
    its pages anew, which takes longer than reading into them.
    """
    bytes(_MOST)


class StepThreads:
    """One stream's use of the threads that all share, from its first step that needs one to its end."""

    def __init__(self) -> None:
        _keep_pages()
        self._lease = Lease(_threads)

    @property
    def share(self) -> int:
        """Bytes that a step may make, where it can go on."""
        return min(_MOST, _MOST_OF_ALL // max(1, _threads.leases))

    async def run(self, function: Callable[[], Any]) -> Any:
        """`function()`, on a thread, with the caller's context. Cancelled, it is waited for, if it has begun."""
        under_way, result = self._submit(function)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            if not under_way.cancel():
                await settled(result)
            raise

    async def step(
        self, function: Callable[[], list[Any]], *, must: bool
    ) -> tuple[list[Any], asyncio.CancelledError | None]:
        """What `function`, which raises nothing, gives, and the cancellation that came meanwhile.

        Nothing, where that kept it from being begun, which it does not where it `must` be done.
        """
        under_way, result = self._submit(function)
        try:
            return await asyncio.shield(result), None
        except asyncio.CancelledError as exc:
            if not must and under_way.cancel():
                return [], exc
            await settled(result)
            return result.result(), exc

    def _submit(self, function: Callable[[], Any]) -> tuple[Future[Any], asyncio.Future[Any]]:
        under_way = self._lease.executor.submit(copy_context().run, function)
        return under_way, asyncio.wrap_future(under_way)

    def close(self) -> None:
        """Let go of the threads."""
        self._lease.close()
