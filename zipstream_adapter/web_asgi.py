"""asgi_app: an ASGI application that sends archives."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, cast

from .aio import async_stream_zip
from .aio_threads import StepThreads
from .aio_wait import closed, settled
from .errors import OptionError
from .fields import described
from .web_answer import Answer
from .web_fields import by_lower_name
from .web_request import Request, answer_to, refused

_log = logging.getLogger(__name__)
_NO_FILE = f"{__file__}/the archive failed"  # under a file is no other

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Any, Receive, Send], Awaitable[None]]


def asgi_app(resolve: Callable[[Request], Any], **options: Any) -> ASGIApp:
    """An ASGI application that sends what `resolve` finds, to be served by itself or mounted in any framework.

    It answers as `wsgi_app` does. A client that goes away ends the work on its answer, and closes what is open; so does
    a cancellation. What fails after the first bytes is raised, so that the server breaks the transfer.

    Args:
        resolve: a function of a `Request`, plain (it is called on a thread) or asynchronous; returns an iterable or
            asynchronous iterable of entries (sent as `async_stream_zip` makes it of them), a `ZipLayout` (sent whole or
            in ranges), an `AsyncZipStream`, a `Download` with one of these and a filename or further headers, or None
            for a 404.
        options: those of `async_stream_zip`, for entries.
    """
    if not callable(resolve):
        raise OptionError(f"resolve={described(resolve)}: give a function of a Request")
    async_stream_zip((), **options)  # refuses what it does not take, here and not with the first request
    stream = partial(async_stream_zip, **options)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await _unless_gone(_respond(scope, resolve, stream, send), receive)
        else:
            raise ValueError(f"an ASGI scope of type {scope['type']!r} is not served")

    return app


async def _live(receive: Receive, send: Send) -> None:
    """The lifespan protocol: there is nothing to start, nor to shut down."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


class _GoneError(Exception):
    """The client is no longer there to be sent anything."""


async def _unless_gone(answer: Awaitable[None], receive: Receive) -> None:
    """Run `answer` to its end, or until the client goes away; then, and where this is cancelled, it is cancelled."""
    work = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        left = not work.done()
        work.cancel()
        gone.cancel()
        stopped = await settled(work), await settled(gone)
        if stop := stopped[0] or stopped[1]:
            raise stop
    if left and work.cancelled():
        gone.result()  # raises what kept us from listening to the client
        return
    await _told(work)


async def _told(work: asyncio.Future[None]) -> None:
    try:
        await work
    except _GoneError:
        return


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(scope: Scope, resolve: Callable[[Request], Any], stream: Callable[[Any], Any], send: Send) -> None:
    request = _request(scope)
    answer = refused(request.method)
    if answer is None:
        found = await _resolved(resolve, request)
        # On a thread: sizes are those of files, and a tag is worked out from all members.
        answer = cast(Answer, await _on_thread(partial(answer_to, request, found, stream)))
    await _send(answer, send)


async def _send(answer: Answer, send: Send) -> None:
    """Send `answer`; its first bytes are made before its headers leave."""

    async def to_client(message: dict[str, Any]) -> None:
        try:
            await send(message)
        except OSError as exc:  # ASGI 2.4 says so that the client is gone
            raise _GoneError from exc

    body, begun = answer.abody(), False
    try:
        chunk = await anext(body, None)
        begun = True
        headers = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in answer.headers.items()]
        await to_client({"type": "http.response.start", "status": answer.status, "headers": headers})
        while chunk is not None:
            await to_client({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await anext(body, None)
        await to_client({"type": "http.response.body", "body": b"", "more_body": False})
    except _GoneError:
        raise
    except Exception as exc:
        if begun:
            await _break(send, exc)
        raise
    finally:
        await closed(body.aclose())


async def _break(send: Send, failure: Exception) -> None:
    """Make whoever receives our messages break the transfer, before we raise.

    Starlette's BaseHTTPMiddleware takes the end of an application for the end of its body, also if that has failed, and
    raises the failure only when it has told the server that the body is whole. The event that it passes on and that
    makes it say nothing more is one that is out of place here: a server raises for it, out of `send`, as for every
    event that it does not expect (ASGI, "Error Handling"). Without such a middleware that changes nothing.
    """
    try:
        await send({"type": "http.response.pathsend", "path": _NO_FILE, "body": b"", "more_body": True})
    except asyncio.CancelledError:
        # By the middleware, from which what the server has raised comes now, instead of this:
        _log.error("the archive failed while it was sent, so the transfer was broken", exc_info=failure)
        raise
    except Exception:
        return  # it was the server


async def _resolved(resolve: Callable[[Request], Any], request: Request) -> Any:
    """What `resolve` gives: an asynchronous one on the loop, any other on a thread."""
    found = resolve(request) if _is_asynchronous(resolve) else await _on_thread(partial(resolve, request))
    return await found if inspect.isawaitable(found) else found


async def _on_thread(function: Callable[[], Any]) -> Any:
    threads = StepThreads()
    try:
        return await threads.run(function)
    finally:
        threads.close()


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
