"""Makes a range of a layout on threads, for an event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator
from functools import partial

from .._concurrency.cancellation import outlasting
from .._concurrency.offload import StepThreads
from .._concurrency.turns import Turn

# Seconds after which a step returns even without data: a cancellation waits for the running step.
_TURN = 0.02


async def offloaded(chunks: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
    """Iterate over the chunks of `chunks` (b"" means that data takes time) on the threads that all streams share."""
    making = _Making(chunks)
    try:
        while (chunk := await outlasting(making.next(), making.threads)) is not None:
            if chunk:
                yield chunk
    finally:
        await outlasting(making.close(), making.threads)


class _Making:
    """Runs a range on threads; closes it if it fails or is cancelled."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self.threads = StepThreads("closing a range of a layout")
        self.threads.begin()
        self._turn = Turn()
        self._chunks = chunks
        self._is_busy = self._is_closing = False

    async def next(self) -> bytes | None:
        self._is_busy = True
        try:
            if self._turn.is_over():
                await self._turn.wait()
            chunk: bytes | None = await self.threads.run(partial(_next, self._chunks))
        except BaseException:
            self._is_busy = False
            await self.close()
            raise
        self._is_busy = False
        return chunk

    async def close(self) -> None:
        if self._is_busy or self._is_closing:
            return  # a second cancellation left it to the background
        self._is_closing = True
        try:
            await self.threads.run(self._chunks.close, closing=True)
        finally:
            self.threads.close()


def _next(chunks: Generator[bytes, None, None]) -> bytes | None:
    """Return the next chunk, b"" if it takes longer than `_TURN`, or None at the end."""
    began = time.monotonic()
    for chunk in chunks:
        if chunk or time.monotonic() - began >= _TURN:
            return chunk
    return None
