"""A small HTTP server that gives ranges of objects, counts what it is asked for, and misbehaves as it is told to.

On 127.0.0.1, in threads of the test's own process; it ends with the `with` block.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.servers import LIFETIME, Server, serve

Maker = Callable[[int, int], bytes]
_PIECE = 1 << 16
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"


class Asked(NamedTuple):
    """A request: of which object, which bytes, under which condition, and what was sent of its body."""

    method: str
    path: str
    range: str
    condition: str
    headers: Mapping[str, str]


@dataclass
class Objects:
    """The objects, and how they are served.

    Attributes:
        data: path -> bytes, or (size, function of a range).
        asked: every request.
        sent: bytes of bodies that were sent.
        open: requests that are being answered.
        most: the most that ever were at a time.
    """

    data: dict[str, bytes | tuple[int, Maker]] = field(default_factory=dict)
    latency: float = 0.0  # seconds before each answer
    rate: float = 0.0  # bytes a second of each connection; 0: as fast as it goes
    etag: str | None = '"first"'
    dated: bool = True
    conditions: bool = True  # whether If-Match and If-Unmodified-Since are minded
    ranges: bool = True
    suffixes: bool = True
    drops: int = 0  # connections that are still to be cut,
    drop_after: int = 1 << 20  # after so many bytes
    failures: list[int] = field(default_factory=list)  # statuses of the next answers
    status: int = 0  # of every answer
    body: bytes = b"no"
    more_headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[Asked], Any] | None = None
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    open: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    @property
    def ranges_asked(self) -> list[str]:
        return [it.range for it in self.asked]

    def forget(self) -> None:
        """Count from here."""
        with self.lock:
            self.asked.clear()
            self.sent = self.most = 0

    def range_of(self, path: str) -> tuple[int, Maker]:
        found = self.data[path]
        if isinstance(found, bytes):
            whole = found
            return len(whole), lambda start, stop: whole[start:stop]
        return found


@contextmanager
def serving(**data: bytes | tuple[int, Maker]) -> Iterator[Objects]:
    """Serve `data` under ``url + name``."""
    objects = Objects({f"/{name}": value for name, value in data.items()})
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"objects": objects}))
    objects.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield objects
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go."""


class _Handler(BaseHTTPRequestHandler):
    objects: Objects
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    _counted = False

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        condition = headers.get("if-match") or headers.get("if-unmodified-since", "")
        asked = Asked(self.command, self.path, headers.get("range", ""), condition, headers)
        with self.objects.lock:
            self.objects.asked.append(asked)
            self.objects.open += 1
            self._counted = True
            self.objects.most = max(self.objects.most, self.objects.open)
            status = self.objects.failures.pop(0) if self.objects.failures else self.objects.status
        try:
            if self.objects.before is not None:
                self.objects.before(asked)
            time.sleep(self.objects.latency)
            self._answer(asked, status)
        except ConnectionError:
            self.close_connection = True
        finally:
            self._ended()

    def _ended(self) -> None:
        """Count the request as answered, once."""
        if not self._counted:
            return
        self._counted = False
        with self.objects.lock:
            self.objects.open -= 1

    def _answer(self, asked: Asked, status: int) -> None:
        path = asked.path.partition("?")[0]
        if status or path not in self.objects.data:
            self._send(status or 404, self.objects.body, self.objects.more_headers)
            return
        size, make = self.objects.range_of(path)
        if self.objects.conditions and asked.condition not in ("", self.objects.etag, DATE):
            self._send(412, b"", {})
            return
        start, stop = 0, size
        headers = {"Last-Modified": DATE} if self.objects.dated else {}
        if self.objects.etag:
            headers["ETag"] = self.objects.etag
        wanted = asked.range.removeprefix("bytes=")
        if wanted and self.objects.ranges and (self.objects.suffixes or not wanted.startswith("-")):
            first, _, last = wanted.partition("-")
            start = int(first) if first else max(0, size - int(last))
            stop = min(size, int(last) + 1) if first and last else size
            if start >= stop:
                self._send(416, b"", {"Content-Range": f"bytes */{size}"})
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self.send_response(206 if "Content-Range" in headers else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if self.command != "HEAD":
            self._body(make, start, stop)

    def _body(self, make: Maker, start: int, stop: int) -> None:
        with self.objects.lock:
            cut = self.objects.drops > 0 and stop - start > self.objects.drop_after
            self.objects.drops -= cut
        end = start + self.objects.drop_after if cut else stop
        begun = time.monotonic()
        for at in range(start, end, _PIECE):
            if self.objects.rate:
                time.sleep(max(0.0, begun + (at - start) / self.objects.rate - time.monotonic()))
            piece = make(at, min(end, at + _PIECE))
            # Counted before it leaves: who has all of it may `forget`, or ask again on another connection, at once.
            with self.objects.lock:
                self.objects.sent += len(piece)
            if at + _PIECE >= stop:
                self._ended()
            self.wfile.write(piece)
        self.wfile.flush()
        if cut:
            self.close_connection = True

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def s3_environment(port: int) -> dict[str, str]:
    """What a program needs to find moto's S3."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


@contextmanager
def s3_server(home: Path) -> Iterator[Server]:
    """moto's S3, a process of its own, which ends by itself after `LIFETIME` seconds."""
    import sys

    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with suppress(FileExistsError):
        os.mkdir(home)
    with serve(command, home, {}) as server:
        yield server


__all__ = ["DATE", "LIFETIME", "Asked", "Objects", "s3_environment", "s3_server", "serving"]
