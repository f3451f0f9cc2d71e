"""An upload by parts that runs in the background, while a thread makes the parts (extra ``s3``).

The thread waits for the store where an interrupt and a deadline reach it. obstore's ``put`` would block in compiled
code.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, TypeVar

from ..background import background, wait_in_time

T = TypeVar("T")


class _Stopped(Exception):
    """Raised to obstore to make it abort the upload."""


class _Batches:
    """Asynchronous iterator over batches of parts, for obstore. Each is taken when the one before it has been sent."""

    def __init__(self) -> None:
        self._last: Exception | None = None  # raised at the end
        self._waiting: asyncio.Queue[tuple[memoryview | None, asyncio.Future[None]]] = asyncio.Queue()

    def __aiter__(self) -> _Batches:
        return self

    async def __anext__(self) -> memoryview:
        if self._last is None:
            batch, taken = await self._waiting.get()
            if not taken.done():
                taken.set_result(None)
            if not batch:
                # obstore waits for all parts before it writes even an empty batch: none may arrive after an abort.
                self._last = StopAsyncIteration() if batch is not None else _Stopped()
                return memoryview(b"")
            return batch
        raise self._last

    def put(self, batch: memoryview | None) -> asyncio.Future[None]:
        """Hand over a batch: an empty one ends the data, and None aborts. The future ends when it is taken."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((batch, taken))
        return taken

    def stop(self) -> None:
        """Make obstore abort, unless all parts have been sent after the end of the data."""
        if self._last is not None:
            self._last = _Stopped()
        else:
            self.put(None)


class PartUpload:
    """An upload by parts that runs on the background loop, for one thread that feeds it.

    Args:
        settings: the `UploadSettings`.
    """

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._release = background.hold()
        self._batches: _Batches | None = None
        self._task: asyncio.Task[Any] | None = None

    def send(self, batch: memoryview) -> None:
        """Hand over a batch. Waits until the parts before it have been sent. Raises the store's error."""
        self._wait(background.start(lambda: self._send(batch)))

    def _wait(self, future: Future[T]) -> T:
        return wait_in_time(future, self._settings.where)

    async def _send(self, batch: memoryview | None) -> None:
        if self._task is None:
            self._batches = _Batches()
            settings = self._settings
            self._task = asyncio.ensure_future(
                settings.obstore.put_async(settings.store, settings.path, self._batches, **settings.multipart_options)
            )
        assert self._batches is not None
        await asyncio.wait({self._batches.put(batch), self._task}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done() and (failure := self._task.exception()) is not None:
            raise failure

    def finish(self) -> Any:
        """End the data, wait until the object is complete, and return obstore's result."""
        return self._wait(background.start(self._finish))

    def put_whole(self, data: memoryview) -> Any:
        """Store an object of one part by one request, and return obstore's result."""
        settings = self._settings
        put = settings.obstore.put_async
        return self._wait(
            background.start(lambda: put(settings.store, settings.path, data, **settings.single_put_options))
        )

    async def _finish(self) -> Any:
        await self._send(memoryview(b""))
        assert self._task is not None
        return await asyncio.shield(self._task)

    def abort(self) -> BaseException | None:
        """Abort the upload, and wait for that. Returns the error if parts may remain in the store."""
        try:
            return background.start(self._abort).result()
        finally:
            self.close()

    async def _abort(self) -> BaseException | None:
        if self._task is None:
            return None
        assert self._batches is not None
        if not self._task.done():
            self._batches.stop()
            await asyncio.wait({self._task})
        failure = self._task.exception()
        return None if failure is None or isinstance(failure, _Stopped) else failure

    @property
    def has_begun(self) -> bool:
        """Whether parts have been handed over."""
        return self._task is not None

    def close(self) -> None:
        """Give the background loop back."""
        self._release()
