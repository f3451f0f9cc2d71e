"""The making of a range for an event loop, which never waits for it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator
from functools import partial

from .aio_threads import StepThreads
from .aio_wait import closed

# Seconds that a step may take that gives nothing yet: a cancellation waits for it.
_TURN = 0.02


async def offloaded(chunks: Generator[bytes, None, None]) -> AsyncGenerator[bytes, None]:
    """What `chunks` gives (b"" where it takes time), step by step on the threads that all streams share."""
    threads = StepThreads()
    try:
        while (chunk := await threads.run(partial(_next, chunks))) is not None:
            if chunk:
                yield chunk
    finally:
        try:
            await closed(threads.run(chunks.close))
        finally:
            threads.close()


def _next(chunks: Generator[bytes, None, None]) -> bytes | None:
    """The next chunk, b"" where that takes longer, or None at the end."""
    began = time.monotonic()
    for chunk in chunks:
        if chunk or time.monotonic() - began >= _TURN:
            return chunk
    return None
