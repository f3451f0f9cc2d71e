"""A server of one object that answers as a test says, down to its connections; on 127.0.0.1, in this process."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import responses
from typing import NamedTuple


class Request(NamedTuple):
    """A request, and the range that it asks for."""

    method: str
    fields: dict[str, str]
    has_range: bool
    is_suffix: bool
    start: int
    stop: int
    connection: socket.socket
    at: float


Answer = Callable[["RawServer", Request], object]


class RawServer:
    """Answers requests, each connection on a thread. An answer that raises OSError closes its connection."""

    def __init__(
        self, data: bytes, answer: Answer | None, context: ssl.SSLContext | None, *, listens: bool = True
    ) -> None:
        self.data = data
        self.answer = answer
        self.asked: list[Request] = []
        self.connections = 0
        self.ended = threading.Event()
        self._context = context
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}/a.zip"
        if listens:
            self.listen()

    def listen(self) -> None:
        """Take connections, which are refused before."""
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def give(self, request: Request) -> None:
        """Answer as a server should."""
        piece = self.data[request.start : request.stop]
        if request.has_range:
            self.send(request, 206, piece, f"Content-Range: bytes {request.start}-{request.stop - 1}/{len(self.data)}")
        else:
            self.send(request, 200, piece)

    def send(self, request: Request, status: int, body: bytes, *fields: str, length: int | None = None) -> None:
        """Send an answer, with `body` or the beginning of it, if `length` is more."""
        head = [f"HTTP/1.1 {status} {responses.get(status, 'Odd')}", f"Content-Length: {length or len(body)}"]
        head += ['ETag: "one"', "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT", *fields]
        request.connection.sendall("\r\n".join([*head, "", ""]).encode())
        if request.method != "HEAD":
            request.connection.sendall(body)

    def stall(self, seconds: float = 60) -> None:
        """Do nothing until the server ends."""
        self.ended.wait(seconds)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                rest = b""
                while not self.ended.is_set():
                    while b"\r\n\r\n" not in rest:
                        data = connection.recv(1 << 16)
                        if not data:
                            return
                        rest += data
                    head, _, rest = rest.partition(b"\r\n\r\n")
                    request = self._parsed(head.decode("latin-1"), connection)
                    self.asked.append(request)
                    (self.answer or RawServer.give)(self, request)

    def _parsed(self, head: str, connection: socket.socket) -> Request:
        first, *lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = len(self.data)
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", fields.get("range", ""))
        start, stop = 0, size
        if found:
            start = int(found[1]) if found[1] else max(0, size - int(found[2]))
            stop = min(size, int(found[2]) + 1) if found[1] and found[2] else size
        is_suffix = found is not None and not found[1]
        return Request(first.split()[0], fields, bool(found), is_suffix, start, stop, connection, time.monotonic())

    def close(self) -> None:
        self.ended.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listening.close()


@contextmanager
def raw_server(data: bytes, answer: Answer | None = None, context: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """A server of `data` for as long as the block lasts."""
    server = RawServer(data, answer, context)
    try:
        yield server
    finally:
        server.close()
