"""Processes of asyncio as sources: the data is their standard output, and their exit status must be 0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from .processes import PATIENCE, check_status, output_of


async def chunks_of_async(process: Any, name: str, size: int) -> AsyncIterator[bytes]:
    """Yield the standard output of `process`, an `asyncio.subprocess.Process`, in chunks of up to `size` bytes.

    Raises ProcessFailedError at the end if the exit status is not 0.
    """
    output = output_of(process, name)
    while chunk := await output.read(size):
        yield chunk
    check_status(_command(process), await process.wait(), name)


async def close_async_process(process: Any) -> None:
    """Close the output of `process`, so that its next write ends it. Waits briefly for it, and does not kill it."""
    if process.returncode is not None:
        return
    # There is no public way to close only the pipe.
    transport = getattr(process, "_transport", None)
    pipe = transport.get_pipe_transport(1) if transport is not None else None
    if pipe is not None:
        pipe.close()
    await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=PATIENCE)


def _command(process: Any) -> Any:
    transport = getattr(process, "_transport", None)
    popen = transport.get_extra_info("subprocess") if transport is not None else None
    return getattr(popen, "args", None)
