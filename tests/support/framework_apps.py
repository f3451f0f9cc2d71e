"""Applications of web frameworks whose views are one line of `zipstream_adapter.web`, as they run in servers.

Paths: /files.zip a directory of known size; /ranges.zip the same as a layout; /stream.zip entries, with the report
under control; /early.zip entries of which the first cannot be opened. Wherever a framework has a middleware that
compresses, it is on. That of Litestar looks at no header field: there the route is left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.support.async_servers import WatchedReport
from tests.support.servers import watched
from zipstream_adapter import ChecksumCache, walk

EXTRA = {"X-From": "the view"}
CACHE = ChecksumCache(Path(os.environ["CONTROL"]) / "checksums.sqlite")


def _given(path: str, report: Any) -> tuple[Any, dict[str, Any]]:
    """What a view gives for the path, and its further arguments."""
    control, root = Path(os.environ["CONTROL"]), os.environ["DOWNLOAD_ROOT"]
    told: dict[str, Any] = {"filename": f"Grüße {path}", "headers": EXTRA}
    match path:
        case "files.zip":
            return walk(root), told
        case "ranges.zip":
            return walk(root), {**told, "ranges": True, "checksums": CACHE}
        case "stream.zip":
            return [("a note.txt", b"some text\n"), ("report.txt", report(control))], told
        case _:
            return [("gone.txt", control / "there is no such file")], told


def flask() -> Any:
    from flask import Flask, request
    from flask_compress import Compress

    from zipstream_adapter.web.flask import ZipResponse

    app = Flask(__name__)
    app.config.update(COMPRESS_MIMETYPES=["application/zip"], COMPRESS_MIN_SIZE=0, COMPRESS_STREAMS=True)
    Compress(app)

    @app.get("/")
    def home() -> str:
        return "here"

    @app.get("/<path>")
    def download(path: str) -> ZipResponse:
        archive, told = _given(path, watched)
        return ZipResponse(request, archive, **told)

    return app


def _configure_django(view: Any) -> None:
    from django.conf import settings  # type: ignore[import-untyped]
    from django.http import HttpResponse  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    settings.configure(
        ROOT_URLCONF=(path("", lambda request: HttpResponse("here")), path("<str:name>", view)),
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.gzip.GZipMiddleware", "django.middleware.common.CommonMiddleware"],
    )


def django() -> Any:
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

    from zipstream_adapter.web.django import ZipResponse

    def download(request: Any, name: str) -> Any:
        archive, told = _given(name, watched)
        return ZipResponse(request, archive, **told)

    _configure_django(download)
    return get_wsgi_application()


def django_asgi() -> Any:
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]

    from zipstream_adapter.web.django import ZipResponse

    async def download(request: Any, name: str) -> Any:
        archive, told = _given(name, WatchedReport)
        return await ZipResponse.acreate(request, archive, **told)

    _configure_django(download)
    return get_asgi_application()


def django_asgi_plain() -> Any:
    """A synchronous view under ASGI."""
    from django.core.asgi import get_asgi_application

    from zipstream_adapter.web.django import ZipResponse

    def download(request: Any, name: str) -> Any:
        archive, told = _given(name, WatchedReport)
        return ZipResponse(request, archive, **told)

    _configure_django(download)
    return get_asgi_application()


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.middleware.gzip import GZipMiddleware
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    from zipstream_adapter.web.starlette import ZipResponse

    class Passes(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            answer: Response = await call_next(request)
            return answer

    async def home(request: Request) -> Response:
        return PlainTextResponse("here")

    async def download(request: Request) -> Response:
        archive, told = _given(request.path_params["path"], WatchedReport)
        return ZipResponse(request, archive, **told)

    middleware = [Middleware(Passes), Middleware(GZipMiddleware, minimum_size=0)]
    return Starlette(routes=[Route("/", home), Route("/{path}", download)], middleware=middleware)


def fastapi() -> Any:
    from fastapi import FastAPI, Request
    from fastapi.middleware.gzip import GZipMiddleware

    from zipstream_adapter.web.starlette import ZipResponse

    app = FastAPI()
    app.add_middleware(GZipMiddleware, minimum_size=0)

    @app.get("/")
    def home() -> str:
        return "here"

    def download(request: Request) -> ZipResponse:
        archive, told = _given(request.path_params["path"], WatchedReport)
        return ZipResponse(request, archive, **told)

    download.__annotations__["request"] = Request  # a name of this function, which FastAPI cannot look up
    app.api_route("/{path}", methods=["GET", "HEAD"], response_class=ZipResponse, response_model=None)(download)
    return app


def litestar() -> Any:
    from litestar import Litestar, Request, route
    from litestar.config.compression import CompressionConfig
    from litestar.types import ASGIApp

    from zipstream_adapter.web.starlette import ZipResponse

    @route("/", http_method=["GET", "HEAD"], sync_to_thread=False)
    def home() -> str:
        return "here"

    async def download(request: Any, path: str) -> Any:
        archive, told = _given(path.strip("/"), WatchedReport)
        return ZipResponse(request, archive, **told)

    download.__annotations__.update(request=Request[Any, Any, Any], path=str)
    download.__annotations__["return"] = ASGIApp
    handler = route("/{path:str}", http_method=["GET", "HEAD"], opt={"is_archive": True})(download)
    gzip = CompressionConfig(backend="gzip", minimum_size=1, exclude_opt_key="is_archive")
    return Litestar([home, handler], compression_config=gzip)


def falcon() -> Any:
    from falcon import App, Request, Response

    from zipstream_adapter.web.falcon import send_zip

    class Home:
        def on_head(self, req: Request, resp: Response) -> None:
            resp.status = 200

    class Download:
        def on_get(self, req: Request, resp: Response, path: str) -> None:
            archive, told = _given(path, watched)
            send_zip(req, resp, archive, **told)

        on_head = on_get

    app = App()
    app.add_route("/", Home())
    app.add_route("/{path}", Download())
    return app


def falcon_asgi() -> Any:
    from falcon.asgi import App, Request, Response

    from zipstream_adapter.web.falcon import send_zip_async

    class Home:
        async def on_head(self, req: Request, resp: Response) -> None:
            resp.status = 200

    class Download:
        async def on_get(self, req: Request, resp: Response, path: str) -> None:
            archive, told = _given(path, WatchedReport)
            await send_zip_async(req, resp, archive, **told)

        on_head = on_get

    app = App()
    app.add_route("/", Home())
    app.add_route("/{path}", Download())
    return app


def quart() -> Any:
    from quart import Quart, Response, request

    from zipstream_adapter.web.quart import send_zip

    app = Quart(__name__)

    @app.get("/")
    async def home() -> str:
        return "here"

    @app.get("/<path>")
    async def download(path: str) -> Response:
        archive, told = _given(path, WatchedReport)
        return await send_zip(request, archive, **told)

    return app


def aiohttp() -> Any:
    from aiohttp import web

    from zipstream_adapter.web.aiohttp import ZipResponse

    async def home(request: web.Request) -> web.Response:
        return web.Response(text="here")

    async def download(request: web.Request) -> ZipResponse:
        archive, told = _given(request.match_info["path"], WatchedReport)
        return ZipResponse(request, archive, **told)

    async def compress(request: web.Request, response: web.StreamResponse) -> None:
        response.enable_compression()

    app = web.Application()
    app.on_response_prepare.append(compress)
    app.router.add_get("/", home)
    app.router.add_get("/{path}", download)
    return app


def main() -> None:
    """Serve the aiohttp application until the process is ended."""
    from aiohttp import web

    web.run_app(aiohttp(), host="127.0.0.1", port=0, shutdown_timeout=2)


if __name__ == "__main__":
    main()
