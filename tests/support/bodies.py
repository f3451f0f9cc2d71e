"""A server of bodies that are whole, cut, coded or refused; and HTTP clients that ask it."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.loops import module
from tests.support.strategies import noise

DATA = noise(7, 200_000)
_CODED = gzip.compress(DATA)


def _answer(path: str) -> bytes:
    def head(status: str, *fields: str) -> bytes:
        return "\r\n".join((f"HTTP/1.1 {status}", "Connection: close", *fields, "", "")).encode()

    status = path.split("/")[1].split("?")[0]
    if status.isdigit():
        body = b"" if status in ("204", "205", "304") else b"a page that says why"
        location = ["Location: /cut"] if status.startswith("3") else []
        return head(f"{status} Reason", f"Content-Length: {len(body)}", *location) + body
    match status:
        case "whole":
            return head("200 OK", f"Content-Length: {len(DATA)}") + DATA
        case "cut":
            return head("200 OK", f"Content-Length: {len(DATA)}") + DATA[:100_000]
        case "chunked":
            return head("200 OK", "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(DATA), DATA)
        case "chunked-cut":
            return head("200 OK", "Transfer-Encoding: chunked") + b"%x\r\n%b" % (len(DATA), DATA[:100_000])
        case "gzip":
            return head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(_CODED)}") + _CODED
        case "gzip-cut":
            return head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(_CODED)}") + _CODED[:100_000]
        case "part":
            span = f"Content-Range: bytes 10-19/{len(DATA)}"
            return head("206 Partial Content", span, "Content-Length: 10") + DATA[10:20]
        case "all-of-it":
            span = f"Content-Range: bytes 0-{len(DATA) - 1}/{len(DATA)}"
            return head("206 Partial Content", span, f"Content-Length: {len(DATA)}") + DATA
        case "empty":
            return head("200 OK", "Content-Length: 0")
    raise AssertionError(path)


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server, without a slash at its end."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def answer(conn: socket.socket) -> None:
        with conn:
            conn.settimeout(20)
            try:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += conn.recv(65536)
                conn.sendall(_answer(asked.split(b" ", 2)[1].decode()))
                conn.shutdown(socket.SHUT_WR)
                while conn.recv(65536):
                    pass
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=answer, args=(conn,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(60)
        for thread in threads:
            thread.join(60)


# Clients: a function of an address that gives what to call for the source.


def _by_urllib(url: str) -> Any:
    try:
        return urllib.request.build_opener(_NoRedirects).open(url, timeout=60)
    except urllib.error.HTTPError as exc:
        return exc


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def _by_http_client(url: str) -> Any:
    host, path = url.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", f"/{path}")
    return connection.getresponse()


def _by_urllib3(url: str, preload: bool = False) -> Any:
    import urllib3

    with urllib3.PoolManager() as pool:
        return pool.request("GET", url, preload_content=preload, redirect=False, retries=False, timeout=60)


def _by_requests(url: str, stream: bool = True) -> Any:
    import requests

    return requests.get(url, stream=stream, allow_redirects=False, timeout=60)


def _by_httpx(url: str) -> Any:
    import httpx

    with httpx.Client(trust_env=False) as client:
        return client.get(url)


class HttpxStream:
    """A context manager of a client and of its response."""

    def __init__(self, url: str) -> None:
        import httpx

        self._client = httpx.Client(trust_env=False, timeout=60)
        self._response = self._client.stream("GET", url)
        self.left = 0

    def __enter__(self) -> Any:
        return self._response.__enter__()

    def __exit__(self, *args: Any) -> None:
        self.left += 1
        self._response.__exit__(*args)
        self._client.close()


CLIENTS: dict[str, Callable[[str], Any]] = {
    "urllib": _by_urllib,
    "http.client": _by_http_client,
    "urllib3": _by_urllib3,
    "urllib3 loaded": lambda url: _by_urllib3(url, True),
    "requests": _by_requests,
    "requests loaded": lambda url: _by_requests(url, False),
    "httpx loaded": _by_httpx,
    "httpx stream": HttpxStream,
}


def need(client: str) -> None:
    """Skip the test if there is no such client."""
    module(client.split()[0])


async def with_aiohttp(url: str, work: Callable[[Callable[[], Any]], Any]) -> Any:
    """`work`, given a source of `url`."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        return await work(lambda: session.get(url, allow_redirects=False))


async def with_httpx(url: str, work: Callable[[Callable[[], Any]], Any]) -> Any:
    """Call `work` with a function that gives httpx's response to `url`."""
    import httpx

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await work(lambda: client.stream("GET", url))


async def with_httpx_send(url: str, work: Callable[[Callable[[], Any]], Any]) -> Any:
    """Call `work` with a response that has to be closed."""
    import httpx

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await work(lambda: client.send(client.build_request("GET", url), stream=True))


async def with_httpx_loaded(url: str, work: Callable[[Callable[[], Any]], Any]) -> Any:
    """Call `work` with a response that is in memory."""
    import httpx

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await work(lambda: client.get(url))


ASYNC_CLIENTS: dict[str, Callable[[str, Callable[[Callable[[], Any]], Any]], Any]] = {
    "aiohttp": with_aiohttp,
    "httpx": with_httpx,
    "httpx sent": with_httpx_send,
    "httpx loaded": with_httpx_loaded,
}
