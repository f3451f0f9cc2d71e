"""Servers for the asynchronous examples, as `servers` has them for the others; and what runs in their processes.

There, an example's report can be put under the test's control, and "/counts" says what is open.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.servers import AFTER_THE_GATE, BEFORE_THE_GATE, BLOCK, PATIENCE, BrokenSourceError, probe, watched

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LONG = 1024  # blocks of a report that nobody waits for the end of


def uvicorn(app: str, *options: str) -> list[str]:
    """Does not wait long for clients when it is told to end."""
    return [sys.executable, "-m", "uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2", *options, app]


def aiohttp(example: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.async_servers", example]


# What runs in the server's process.


def asgi() -> App:
    """The app that EXAMPLE names, its report under control, and "/counts" beside it.

    Without the garbage collector, which would close after a while what should have been closed at once.
    """
    gc.disable()
    module = probe(*_example(os.environ["EXAMPLE"]))
    made: App = module.asgi() if hasattr(module, "asgi") else module.app

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope.get("path") != "/counts":
            await made(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(
            {
                "type": "http.response.body",
                "body": json.dumps(counts(collect=scope["query_string"] == b"collect")).encode(),
            }
        )

    return app


def wsgi() -> Any:
    """Django's other half."""
    return probe("django_download", "report", watched).wsgi()


def _example(name: str) -> tuple[str, str, Callable[[Path], Any]]:
    return name, "areport" if name == "django_download" else "report", WatchedReport


class WatchedReport:
    """The report under control. A line in the file "ends" says how it ended, for each time that it was closed."""

    opened = closed = 0

    def __init__(self, control: Path) -> None:
        self._ends = control / "ends"
        self._how = "closed"
        self._chunks = _gated(control) if (control / "report").read_text() == "gated" else _long()
        WatchedReport.opened += 1

    def __aiter__(self) -> WatchedReport:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self._how = "read to its end"
            raise
        except BrokenSourceError:
            self._how = "failed"
            raise

    async def aclose(self) -> None:
        WatchedReport.closed += 1
        asyncio.get_running_loop()
        with self._ends.open("a") as ends:
            ends.write(self._how + "\n")


async def _gated(control: Path) -> AsyncIterator[bytes]:
    """Some data, then the file "waits", and the rest (or a failure) when the test says so in the file "gate"."""
    for _ in range(len(BEFORE_THE_GATE) // len(BLOCK)):
        yield BLOCK
    (control / "waits").touch()
    gate, deadline = control / "gate", time.monotonic() + PATIENCE
    while not gate.exists() or not gate.read_text():  # it is empty while it is being written
        assert time.monotonic() < deadline, "waited in vain for the gate"
        await asyncio.sleep(0.01)
    if gate.read_text() == "fail":
        raise BrokenSourceError("the source broke midway")
    yield AFTER_THE_GATE


async def _long() -> AsyncIterator[bytes]:
    for _ in range(LONG):
        await asyncio.sleep(0)
        yield BLOCK


def counts(*, collect: bool) -> dict[str, Any]:
    """What is open in this process, and the memory that it needs."""
    if collect:
        gc.collect()
    return {
        "opened": WatchedReport.opened,
        "open": WatchedReport.opened - WatchedReport.closed,
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(asyncio.all_tasks()),
        "files": _open_files(),
        "memory": _memory(),
    }


def _open_files() -> list[str]:
    """Files of the served directory that are open, where the system tells (Linux)."""
    root, found = os.environ["DOWNLOAD_ROOT"], []
    place = Path("/proc/self/fd")
    for entry in place.iterdir() if place.exists() else ():
        try:
            target = str(entry.readlink())
        except OSError:  # was that of the listing itself
            continue
        if target.startswith(root):
            found.append(target)
    return found


def _memory() -> int:
    """Bytes of memory now, less what only the C library keeps for later; where the system tells (Linux)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        text = Path("/proc/self/status").read_text("ascii")
    except (AttributeError, OSError, TypeError):
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS:"))


def main() -> None:
    os.environ["PORT"] = "0"
    probe(*_example(sys.argv[1])).main()


if __name__ == "__main__":
    main()
