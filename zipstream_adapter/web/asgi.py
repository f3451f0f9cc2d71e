"""asgi_app: an ASGI application that sends archives."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from .._concurrency.cancellation import check_loop, settled
from .._concurrency.offload import closed_or_left, on_thread, streams_closed
from .._stream.asynchronous import async_stream_zip
from ..errors import EventLoopError
from .headers import by_lower_name
from .request import Request, answer_to, check_resolve, refused
from .response import Answer

if TYPE_CHECKING:
    from typing import Unpack

    from .._writer.options import AsyncStreamOptions
    from .request import AsyncResolved

_log = logging.getLogger(__name__)
# Seconds that a shutdown waits for open archives to be closed. Shorter than the time process managers allow before
# they kill a server (docker: 10 s).
_CLOSE_TIMEOUT_S = 5
_MISSING_PATH = f"{__file__}/the archive failed"  # cannot exist: its parent is a file

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Any, Receive, Send], Awaitable[None]]


def asgi_app(
    resolve: Callable[[Request], AsyncResolved | Awaitable[AsyncResolved]], **options: Unpack[AsyncStreamOptions]
) -> ASGIApp:
    """Make an ASGI application that sends the archives `resolve` returns. Serve it directly or mount it.

    Requests are answered as by `wsgi_app`. If the client disconnects or the request is cancelled, the archive is
    abandoned and its open source is closed. A failure after the first bytes is raised, so that the server breaks the
    transfer. On lifespan shutdown, the application waits up to 5 seconds for archives that are being closed.

    Args:
        resolve: a function of a `Request`, either plain (called on a thread) or asynchronous. It returns an iterable or
            asynchronous iterable of entries (sent as an `async_stream_zip`), a `ZipLayout` (sent whole or in ranges),
            an `AsyncZipStream`, a `Download` with one of these and a filename or more header fields, or None for a 404.
        options: options of `async_stream_zip`, used if `resolve` returns entries.

    Raises:
        OptionError: `resolve` is not callable, or an option has a wrong value.
        TypeError: `async_stream_zip` has no such option.
    """
    check_resolve(resolve)
    async_stream_zip((), **options)  # validates the options now instead of at the first request
    stream = partial(async_stream_zip, **options)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        check_loop()
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await until_disconnect(_respond(scope, resolve, stream, send), receive)
        else:
            raise ValueError(f"ASGI scope type {scope['type']!r} is not supported: use http, websocket or lifespan")

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    """Serve the lifespan protocol. A shutdown waits until unfinished archives are closed."""
    while True:
        kind = (await receive())["type"]
        try:
            check_loop()
        except EventLoopError as exc:
            await send({"type": f"{kind}.failed", "message": str(exc)})
            return
        if kind == "lifespan.shutdown" and not await streams_closed(_CLOSE_TIMEOUT_S):
            _log.warning("some archives are still not closed %s s after the shutdown began", _CLOSE_TIMEOUT_S)
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


class _ClientGoneError(Exception):
    """The client has disconnected."""


async def until_disconnect(answer: Awaitable[None], receive: Receive) -> None:
    """Run `answer` until it ends. Cancel it if the client disconnects or if this call is cancelled."""
    work = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(wait_for_disconnect(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = not work.done()
        work.cancel()
        gone.cancel()
        # A second cancellation stops waiting for work that hangs.
        stopped = await settled(work, work.cancel), await settled(gone)
        if stop := stopped[0] or stopped[1]:
            raise stop
    if left and work.cancelled():
        gone.result()  # raises the failure of receive(), if any
        return
    await _ignore_disconnect(work)


async def _ignore_disconnect(work: asyncio.Future[None]) -> None:
    try:
        await work
    except _ClientGoneError:
        return


async def wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(scope: Scope, resolve: Callable[[Request], Any], stream: Callable[[Any], Any], send: Send) -> None:
    request = _request(scope)
    answer = refused(request.method)
    if answer is None:
        found = await _call_resolve(resolve, request)
        # On a thread: a layout asks the file system for sizes, and its ETag is computed from all members.
        answer = cast(Answer, await on_thread(partial(answer_to, request, found, stream), "preparing an answer"))
    await send_answer(answer, send)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send `answer`. The first chunk is made before the headers are sent, so that an early failure can be a 500."""

    async def to_client(message: dict[str, Any]) -> None:
        try:
            await send(message)
        except OSError as exc:  # ASGI 2.4: send() raises OSError after a disconnect
            raise _ClientGoneError from exc

    begun = False
    body = answer.abody()
    try:
        chunk = await anext(body, None)
        begun = True
        headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in answer.headers.items()]
        await to_client({"type": "http.response.start", "status": answer.status, "headers": headers})
        while chunk is not None:
            await to_client({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await anext(body, None)
        await to_client({"type": "http.response.body", "body": b"", "more_body": False})
    except _ClientGoneError:
        raise
    except Exception as exc:
        if begun:
            await _break_transfer(send, exc)
        raise
    finally:
        await closed_or_left(body.aclose(), "closing an archive that was being sent")


async def _break_transfer(send: Send, failure: Exception) -> None:
    """Make the server or middleware break the transfer before the failure is raised.

    Starlette's BaseHTTPMiddleware ends the body normally if an application fails, and raises the failure only after the
    server was told that the body is complete. It does forward a ``pathsend`` event and sends nothing after it. The
    server does not expect this event here, so its `send` raises (ASGI, "Error Handling") and the transfer breaks.
    Without such a middleware this has no effect, as the application raises in any case.
    """
    try:
        await send({"type": "http.response.pathsend", "path": _MISSING_PATH, "body": b"", "more_body": True})
    except asyncio.CancelledError:
        # The middleware cancelled us and will raise the server's error instead of `failure`, so log `failure` here.
        _log.error("the archive failed while it was being sent: the transfer was broken", exc_info=failure)
        raise
    except Exception:
        return  # raised by the server, as intended


async def _call_resolve(resolve: Callable[[Request], Any], request: Request) -> Any:
    """Call `resolve`: on the event loop if it is asynchronous, else on a thread."""
    found = (
        resolve(request) if _is_asynchronous(resolve) else await on_thread(partial(resolve, request), "calling resolve")
    )
    return await found if inspect.isawaitable(found) else found


def _is_asynchronous(function: Any) -> bool:
    return any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, getattr(function, "func", None), getattr(function, "__call__", None))  # noqa: B004
    )


def _request(scope: Scope) -> Request:
    root = scope.get("root_path", "")
    path = scope["path"]
    below = path.removeprefix(root)
    return Request(
        method=scope["method"],
        path=below if below[:1] in ("", "/") else path,
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=by_lower_name(scope["headers"]),
        root=root,
        raw=scope,
    )
