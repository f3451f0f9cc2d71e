"""`respond` in views of frameworks, which have opinions of their own about lengths, ranges and HEAD."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from typing import Any

import falcon
import falcon.testing
import flask
import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from tests.support.layouts import CHANGED, BytesLayout, archive
from tests.support.loops import module, run
from tests.support.oracles import members
from zipstream_adapter import Entry, ZipLayout, async_stream_zip, stream_zip
from zipstream_adapter.web import asgi_app, respond, zip_headers

DATA = archive()
# (status, header fields, body) of the answer to a method and fields.
Ask = Callable[[str, dict[str, str], BytesLayout], tuple[int, dict[str, str], bytes]]


def in_flask(method: str, headers: dict[str, str], layout: BytesLayout) -> tuple[int, dict[str, str], bytes]:
    app = flask.Flask(__name__)

    @app.route("/", methods=["GET"])
    def download() -> flask.Response:
        answer = respond(layout, flask.request.method, flask.request.headers, filename="a.zip")
        return flask.Response(answer.body(), status=answer.status, headers=answer.headers)

    got = app.test_client().open("/", method=method, headers=headers, buffered=True)
    return got.status_code, {name.lower(): value for name, value in got.headers.items()}, got.data


def in_falcon(method: str, headers: dict[str, str], layout: BytesLayout) -> tuple[int, dict[str, str], bytes]:
    class Download:
        def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
            answer = respond(layout, request.method, request.headers, filename="a.zip")
            response.status, response.stream = answer.status_line, answer.body()
            response.set_headers(answer.headers)

        on_head = on_get

    app = falcon.App()
    app.add_route("/", Download())
    got = falcon.testing.TestClient(app).simulate_request(method, "/", headers=headers)
    return got.status_code, {name.lower(): value for name, value in got.headers.items()}, got.content


def in_starlette(method: str, headers: dict[str, str], layout: BytesLayout) -> tuple[int, dict[str, str], bytes]:
    async def download(request: Request) -> Response:
        answer = respond(layout, request.method, request.headers, filename="a.zip")
        return StreamingResponse(answer.abody(), status_code=answer.status, headers=answer.headers)

    return _asked(Starlette(routes=[Route("/", download)]), method, headers)


def _asked(
    app: ASGIApp, method: str, headers: dict[str, str], sent: list[Message] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """The answer of an ASGI application; `sent` gets its messages, also if it fails."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": raw, "query_string": b""}
    messages: list[Message] = [] if sent is None else sent

    async def main() -> None:
        async def receive() -> Message:
            await asyncio.sleep(1000)
            raise AssertionError

        async def send(message: Message) -> None:
            messages.append(message)

        await app(scope, receive, send)

    run(main())
    told = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], told, b"".join(message["body"] for message in messages[1:])


def in_django(method: str, headers: dict[str, str], layout: BytesLayout) -> tuple[int, dict[str, str], bytes]:
    settings, http = module("django.conf").settings, module("django.http")
    if not settings.configured:
        settings.configure()
    request = http.HttpRequest()
    request.method = method
    request.META = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}

    async def main() -> tuple[int, dict[str, str], bytes]:
        answer = respond(layout, request.method, request.headers, filename="a.zip")
        got = http.StreamingHttpResponse(answer.abody(), status=answer.status, headers=answer.headers)
        assert got.is_async
        chunks: AsyncIterator[bytes] = aiter(got)
        data = b"".join([chunk async for chunk in chunks])
        return got.status_code, {name.lower(): value for name, value in got.items()}, data

    return run(main())


@pytest.mark.parametrize("ask", [in_flask, in_falcon, in_starlette, in_django], ids=lambda ask: ask.__name__)
def test_the_answer_comes_through_as_it_is(ask: Ask) -> None:
    cases: list[tuple[str, dict[str, str], int, bytes]] = [
        ("GET", {}, 200, DATA),
        ("GET", {"Range": "bytes=100-199", "If-Range": '"tag"'}, 206, DATA[100:200]),
        ("GET", {"Range": "bytes=100-199", "If-Range": '"other"'}, 200, DATA),
        ("GET", {"If-None-Match": '"tag"'}, 304, b""),
        ("GET", {"Range": "bytes=99999-"}, 416, f"{HTTPStatus(416).phrase}\n".encode()),
        ("GET", {"If-Match": '"other"'}, 412, b"Precondition Failed\n"),
        ("HEAD", {}, 200, b""),
    ]
    for method, headers, status, body in cases:
        layout = BytesLayout(DATA)
        got: tuple[int, dict[str, str], Any] = ask(method, headers, layout)
        answer = respond(BytesLayout(DATA), method, headers, filename="a.zip")
        assert (got[0], got[2]) == (status, body)
        for name, value in answer.headers.items():
            assert got[1][name.lower()] == value
        assert layout.closed == len(layout.opened)


# Middlewares that compress.

TEXT = b"some text that gets smaller\n" * 10_000
TEXTS = ZipLayout([Entry("a.txt", TEXT, modified=CHANGED), Entry("b.txt", b"b" * 1000, modified=CHANGED)])
WHOLE = b"".join(TEXTS.iter_range())
ACCEPTED = {"Accept-Encoding": "gzip, deflate, br"}
Compressed = Callable[[str, str, dict[str, str]], tuple[int, dict[str, str], bytes]]


def texts() -> Iterator[Entry]:
    """The entries, of which no size is known beforehand."""
    yield Entry("a.txt", iter([TEXT]), modified=CHANGED)
    yield Entry("b.txt", b"b" * 1000, modified=CHANGED)


def under_flask_compress(way: str, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    app = flask.Flask(__name__)
    app.config.update(COMPRESS_MIMETYPES=["application/zip"], COMPRESS_MIN_SIZE=0, COMPRESS_STREAMS=True)
    module("flask_compress").Compress(app)

    @app.route("/", methods=["GET"])
    def download() -> flask.Response:
        if way == "zip_headers":
            return flask.Response(stream_zip(texts()), headers=zip_headers("a.zip"))
        archive = TEXTS if way == "layout" else stream_zip(texts())
        answer = respond(archive, flask.request.method, flask.request.headers, filename="a.zip")
        return flask.Response(answer.body(), status=answer.status, headers=answer.headers)

    got = app.test_client().open("/", method=method, headers=headers, buffered=True)
    return got.status_code, {name.lower(): value for name, value in got.headers.items()}, got.data


def under_starlette(way: str, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    async def download(request: Request) -> Response:
        if way == "zip_headers":
            return StreamingResponse(async_stream_zip(texts()), headers=zip_headers("a.zip"))
        archive = TEXTS if way == "layout" else async_stream_zip(texts())
        answer = respond(archive, request.method, request.headers, filename="a.zip")
        return StreamingResponse(answer.abody(), answer.status, answer.headers)

    applications: dict[str, Any] = {"asgi_app": lambda request: texts(), "asgi_app of a layout": lambda request: TEXTS}
    app: Any = asgi_app(applications[way]) if way in applications else Starlette(routes=[Route("/", download)])
    # By default it knows archives by their media type; not so its older versions.
    return _asked(GZipMiddleware(app, minimum_size=0, **_NOTHING_EXCLUDED), method, headers)


_NOTHING_EXCLUDED: dict[str, Any] = (
    {"exclude_content_types": ()} if "exclude_content_types" in inspect.signature(GZipMiddleware).parameters else {}
)


def under_django(way: str, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    return _in_django(way, method, headers, asynchronous=False)


def under_asynchronous_django(way: str, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    return _in_django(way, method, headers, asynchronous=True)


def _in_django(
    way: str, method: str, headers: dict[str, str], *, asynchronous: bool
) -> tuple[int, dict[str, str], bytes]:
    settings, http = module("django.conf").settings, module("django.http")
    if not settings.configured:
        settings.configure()
    middleware = module("django.middleware.gzip").GZipMiddleware
    make: Any = async_stream_zip if asynchronous else stream_zip
    request = http.HttpRequest()
    request.method = method
    request.META = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}

    def download(request: Any) -> Any:
        if way == "zip_headers":
            return http.StreamingHttpResponse(make(texts()), headers=zip_headers("a.zip"))
        archive = TEXTS if way == "layout" else make(texts())
        answer = respond(archive, request.method, request.headers, filename="a.zip")
        body = answer.abody() if asynchronous else answer.body()
        return http.StreamingHttpResponse(body, status=answer.status, headers=answer.headers)

    async def main() -> tuple[int, dict[str, str], bytes]:
        got = middleware(download)(request)
        data = b"".join([chunk async for chunk in got]) if asynchronous else b"".join(got)
        return got.status_code, {name.lower(): value for name, value in got.items()}, data

    return run(main())


WAYS = ["layout", "stream", "zip_headers"]
UNDER: list[tuple[Compressed, str]] = [
    *((under_starlette, way) for way in [*WAYS, "asgi_app", "asgi_app of a layout"]),
    *((ask, way) for ask in (under_django, under_asynchronous_django, under_flask_compress) for way in WAYS),
]


@pytest.mark.parametrize(("ask", "way"), UNDER, ids=[f"{ask.__name__}-{way}" for ask, way in UNDER])
def test_nothing_is_compressed_on_its_way(ask: Compressed, way: str) -> None:
    """Django's compresses each chunk by itself, and 206, too. What is left alone keeps its length and strong tag."""
    status, told, body = ask(way, "GET", ACCEPTED)
    assert (status, told.get("content-encoding")) == (200, "identity")
    assert members(body) == {"a.txt": TEXT, "b.txt": b"b" * 1000}
    status, told, _ = ask(way, "HEAD", ACCEPTED)
    assert (status, told.get("content-encoding")) == (200, "identity")
    if "layout" not in way:
        return
    assert told["content-length"] == str(len(body))
    assert (told["etag"], body) == (f'"{TEXTS.etag}"', WHOLE)
    ranged = {**ACCEPTED, "Range": "bytes=100-9099", "If-Range": told["etag"]}
    status, told, body = ask(way, "GET", ranged)
    assert (status, body, told["content-range"]) == (206, WHOLE[100:9100], f"bytes 100-9099/{len(WHOLE)}")
    assert (told["content-length"], told["content-encoding"], told["etag"]) == ("9000", "identity", f'"{TEXTS.etag}"')
    status, told, body = ask(way, "GET", {**ACCEPTED, "Range": "bytes=0-99,9000-9999"})
    assert (status, told["content-length"]) == (206, str(len(body)))
    assert WHOLE[:100] in body and WHOLE[9000:10000] in body
    assert ask(way, "GET", {**ACCEPTED, "Range": "bytes=99999999-"})[0] == 416


# A middleware that hides failures.


def test_what_fails_under_a_base_http_middleware_does_not_end_like_a_whole_body() -> None:
    """It takes an application that ends for a body that ends, also where it has failed."""

    def breaks() -> Iterator[bytes]:
        yield TEXT
        raise OSError("the disk broke")

    class Passes(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            answer: Response = await call_next(request)
            return answer

    whole, sent = asgi_app(lambda request: texts()), list[Message]()
    assert members(_asked(Passes(whole), "GET", {})[2]) == {"a.txt": TEXT, "b.txt": b"b" * 1000}
    broken = asgi_app(lambda request: [("a.txt", breaks())])
    compressed: dict[str, Any] = {"minimum_size": 0, **_NOTHING_EXCLUDED}
    for app in (
        Passes(broken),
        Passes(Passes(Passes(broken))),
        GZipMiddleware(Passes(broken), **compressed),
        Passes(GZipMiddleware(broken, **compressed)),
    ):
        sent.clear()
        with pytest.raises((AssertionError, OSError)):  # the middleware's, in older versions, or ours
            _asked(app, "GET", {}, sent)
        assert len(sent) > 1
        assert not [message for message in sent if message.get("more_body") is False]
