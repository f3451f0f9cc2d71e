"""`respond` in views of frameworks, which have opinions of their own about lengths, ranges and HEAD."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import falcon
import falcon.testing
import flask
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message

from tests.layouts import BytesLayout, archive
from tests.loops import module, run
from zipstream_adapter.web import respond

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

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": raw, "query_string": b""}
    sent: list[Message] = []

    async def main() -> None:
        async def receive() -> Message:
            await asyncio.sleep(1000)
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        await Starlette(routes=[Route("/", download)])(scope, receive, send)

    run(main())
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(message["body"] for message in sent[1:])


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
