"""Waiting that a cancellation does not cut short."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any


async def called(function: Callable[[], Any]) -> Any:
    """What `function` returns, awaited where it can be."""
    result = function()
    return await result if inspect.isawaitable(result) else result


async def settled(future: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait for `future`, and take note of what came of it; returns what has cancelled that meanwhile, to be raised."""
    stop = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as exc:
            stop = exc
    if not future.cancelled():
        future.exception()
    return stop


async def closed(close: Coroutine[Any, Any, Any]) -> None:
    """Run `close`, which half done would leave things open for good; a cancellation meanwhile is raised after it.

    In a task of its own: it may have timeouts, which are cancellations, too, and are its own.
    """
    task = asyncio.ensure_future(close)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await settled(task)
        raise


async def to_the_end(awaitable: Awaitable[Any]) -> Any:
    """What `awaitable`, which waits for a thread, comes to; a cancellation meanwhile is raised when that has ended."""
    cancelled: list[asyncio.CancelledError] = []
    try:
        return await _held(awaitable, cancelled)
    finally:
        if cancelled:
            raise cancelled[0]


async def kept(awaitable: Awaitable[Any], keep: Callable[[Any], object]) -> None:
    """Hand what `awaitable` comes to to `keep`, also where a cancellation follows: what was opened is not lost."""

    async def keeping() -> None:
        keep(await awaitable)

    await to_the_end(keeping())


@types.coroutine
def _held(awaitable: Awaitable[Any], cancelled: list[asyncio.CancelledError]) -> Generator[Any, Any, Any]:
    steps = awaitable.__await__()
    while True:
        try:
            waited_for = next(steps)
        except StopIteration as end:
            return end.value
        if waited_for is None:  # a turn of the loop
            try:
                yield
            except asyncio.CancelledError as exc:
                cancelled.append(exc)
            continue
        # The task would cancel what it waits for, so it is given something else that ends with it.
        waited_for._asyncio_future_blocking = False
        while not waited_for.done():
            try:
                yield from asyncio.wait([waited_for]).__await__()
            except asyncio.CancelledError as exc:
                cancelled.append(exc)
