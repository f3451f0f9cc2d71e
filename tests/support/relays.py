"""A server between a store and its clients, on 127.0.0.1: notes what it passes on, and makes faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.support.background import running


class Asked(NamedTuple):
    """A request, and the status of the store's answer; None if the store has not got it."""

    method: str
    path: str
    query: str
    fields: dict[str, str]
    status: int | None


Rule = Callable[[str, str, str], "int | None"]
_NOT_PASSED_ON = ("transfer-encoding", "connection", "content-length", "keep-alive")


class Relay(ThreadingHTTPServer):
    """Passes requests on.

    Attributes:
        asked: the requests.
        rules: each is given (method, path, query), and may answer with a status in place of the store, or, negated,
            after it. 0 breaks the connection.
        fields: header fields of these answers.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store_port = port
        self.asked: list[Asked] = []
        self.rules: list[Rule] = []
        self.fields: dict[str, str] = {}

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients leave on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if len(body) < int(self.headers.get("Content-Length") or 0):  # the client has left
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        rule = next((said for each in self.server.rules if (said := each(self.command, path, query)) is not None), None)
        status = None
        if rule is None or rule < 0:
            status, fields, data = self._ask(body)
        self.server.asked.append(Asked(self.command, path, query, dict(self.headers.items()), status))
        if rule == 0:
            self.close_connection = True
            return
        if rule is not None:
            status, fields = abs(rule), self.server.fields
            data = b"<Error><Code>Injected</Code><Message>a fault of the test</Message></Error>"
        assert status is not None
        self.send_response(status)
        for name, value in fields.items():
            if name.lower() not in _NOT_PASSED_ON:
                self.send_header(name, value)
        self.send_header(
            "Content-Length", fields.get("content-length", "0") if self.command == "HEAD" else str(len(data))
        )
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.server.store_port, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()


@contextmanager
def relaying(port: int) -> Iterator[Relay]:
    """A relay to the server at `port`, for as long as the block lasts."""
    with running(Relay(port)) as relay:
        yield relay
