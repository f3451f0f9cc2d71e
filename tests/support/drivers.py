"""Drives streams of both kinds by the same few verbs, for tests of what holds for both."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tests.support.executors import none_left
from tests.support.loops import other_tasks
from zipstream_adapter import async_stream_zip, stream_zip

if TYPE_CHECKING:
    from typing import Self


class Driver:
    """A stream of either kind, driven step by step; one that is asynchronous has an event loop of its own."""

    def __init__(self, way: str, entries: Iterable[Any], **options: Any) -> None:
        self._before = set(threading.enumerate())
        self._runner = asyncio.Runner(debug=False) if way == "async" else None
        self.stream: Any = (async_stream_zip if self._runner else stream_zip)(entries, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        """Close it; nothing is left."""
        self.close()
        if self._runner is not None:
            assert self._runner.run(self._tasks()) == set()
            self._runner.close()
        assert none_left(self._before)

    async def _tasks(self) -> set[asyncio.Task[Any]]:
        return other_tasks()

    async def _take(self, step: Callable[[], Any]) -> Any:
        return await step()

    def next(self) -> bytes:
        chunk: bytes = self._runner.run(self._take(self.stream.__anext__)) if self._runner else next(self.stream)
        return chunk

    def rest(self) -> bytes:
        data: bytes = self._runner.run(self._take(self.stream.read)) if self._runner else self.stream.read()
        return data

    def close(self) -> None:
        if self._runner is not None:
            self._runner.run(self._take(self.stream.aclose))
        else:
            self.stream.close()

    def until(self, condition: Callable[[], object]) -> None:
        """Let the world go on until `condition`, and then a little more, for what should not come."""
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end
            self.pause(0.005)
        self.pause(0.02)

    def pause(self, seconds: float) -> None:
        if self._runner is not None:
            self._runner.run(asyncio.sleep(seconds))
        else:
            time.sleep(seconds)
