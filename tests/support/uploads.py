"""A server on 127.0.0.1 that takes uploads, and can send their clients away first: with a 503, a 307, or midway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.support.background import running

PART = 1000  # bytes of the first request's body that are read before an early answer


class Upload(NamedTuple):
    """A request with a body."""

    body: bytes
    length: str | None  # its Content-Length
    whole: bool  # whether all of its body came


class Receiver(ThreadingHTTPServer):
    """What was uploaded, in `uploads`. The path of the first request says how that is answered.

    /plain: 200. /busy: 503. /moved: 307, to itself. With "-early" behind it: after a part of the body, whose connection
    is closed. All others are answered with 200.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.uploads: list[Upload] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients break off on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_PUT(self) -> None:
        first = not self.server.uploads
        early = first and self.path.endswith("-early")
        self.server.uploads.append(self._upload(PART if early else None))
        status = 200
        if first:
            status = 503 if self.path.startswith("/busy") else 307 if self.path.startswith("/moved") else 200
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "/moved")
        if early:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_PUT

    def _upload(self, most: int | None) -> Upload:
        length = self.headers.get("Content-Length")
        if length is not None:
            body = self.rfile.read(int(length) if most is None else most)
            return Upload(body, length, len(body) == int(length))
        chunks = bytearray()
        while size := int(self.rfile.readline() or b"0", 16):
            chunks += self.rfile.read(size)
            self.rfile.readline()
            if most is not None:
                return Upload(bytes(chunks), None, False)
        return Upload(bytes(chunks), None, self.rfile.readline() == b"\r\n")


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A server, for as long as the block lasts."""
    with running(Receiver()) as server:
        yield server
