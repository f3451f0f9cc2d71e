"""Threads for the steps of asynchronous streams, which all of them share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from .aio_wait import settled
from .parallel import Lease, SharedPool, usable_cores

if TYPE_CHECKING:
    from concurrent.futures import Future

# A step can block, where a source does: there are more of these than there are cores.
_threads = SharedPool("zipstream-adapter-step", lambda: min(32, usable_cores() + 4))


NOT_BEGUN = object()


class StepThreads:
    """One stream's use of the threads that all share, from its first step that needs one to its end."""

    def __init__(self) -> None:
        self._lease = Lease(_threads)

    async def run(self, function: Callable[[], Any]) -> Any:
        """`function()`, on a thread, with the caller's context. Cancelled, it is waited for, if it has begun."""
        under_way, result = self._submit(function)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            if not under_way.cancel():
                await settled(result)
            raise

    async def step(self, function: Callable[[], Any], *, must: bool) -> tuple[Any, asyncio.CancelledError | None]:
        """What `function`, which raises nothing, gives, and the cancellation that came meanwhile.

        `NOT_BEGUN` where that kept it from being begun, which it does not where it `must` be done.
        """
        under_way, result = self._submit(function)
        try:
            return await asyncio.shield(result), None
        except asyncio.CancelledError as exc:
            if not must and under_way.cancel():
                return NOT_BEGUN, exc
            await settled(result)
            return result.result(), exc

    def _submit(self, function: Callable[[], Any]) -> tuple[Future[Any], asyncio.Future[Any]]:
        under_way = self._lease.executor.submit(copy_context().run, function)
        return under_way, asyncio.wrap_future(under_way)

    def close(self) -> None:
        """Let go of the threads."""
        self._lease.close()
