"""wsgi_app: a WSGI application (PEP 3333) that sends archives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from .errors import OptionError, ZipStreamError
from .fields import described
from .stream import stream_zip
from .web_answer import Body
from .web_fields import by_lower_name
from .web_request import Request, answer_to, refused

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def wsgi_app(resolve: Callable[[Request], Any], **options: Any) -> WSGIApplication:
    """A WSGI application that sends what `resolve` finds, to be served by itself or mounted in any framework.

    GET and HEAD are answered, with conditions and ranges as `respond` does; other methods get 405. The first bytes are
    made before the headers leave, so that what fails until then is the server's 500. What fails later comes out of the
    iterator, so that the server breaks the transfer. `close`, which the server calls whatever happens, closes what is
    open. An OSError, which servers would take for the connection's, comes as the cause of a ZipStreamError.

    Args:
        resolve: called with a `Request`; returns an iterable of entries (sent as `stream_zip` makes it of them), a
            `ZipLayout` (sent whole or in ranges), a `ZipStream`, a `Download` with one of these and a filename or
            further headers, or None for a 404.
        options: those of `stream_zip`, for entries.
    """
    _check_callable(resolve)
    stream_zip((), **options)  # refuses what it does not take, here and not with the first request
    stream = partial(stream_zip, **options)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        request = _request(environ)
        try:
            answer = refused(request.method) or answer_to(request, resolve(request), stream)
            begun = _Begun(answer.body())
        except OSError as exc:
            raise _not_the_connections(exc) from exc
        try:
            start_response(answer.status_line, list(answer.headers.items()))
        except BaseException:
            begun.close()
            raise
        return begun

    return app


def _not_the_connections(exc: OSError) -> ZipStreamError:
    """What to raise for a failure of ours that servers (gunicorn) would take for the connection's, and keep quiet."""
    return ZipStreamError(f"the answer failed: {exc!r}")


class _Begun:
    """A body, whose first bytes have been made already."""

    def __init__(self, body: Body) -> None:
        self._body = body
        try:
            first = next(body, None)
        except BaseException:
            body.close()
            raise
        self._chunks = iter(()) if first is None else itertools.chain((first,), body)

    def __iter__(self) -> _Begun:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except OSError as exc:
            raise _not_the_connections(exc) from exc

    def close(self) -> None:
        self._body.close()


def _request(environ: WSGIEnvironment) -> Request:
    named = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    return Request(
        method=environ["REQUEST_METHOD"],
        path=_decoded(environ.get("PATH_INFO", "")),
        query=environ.get("QUERY_STRING", ""),
        headers=by_lower_name(named),
        root=_decoded(environ.get("SCRIPT_NAME", "")),
        raw=environ,
    )


def _decoded(path: str) -> str:
    """UTF-8, which WSGI hands over as if it was Latin-1."""
    return path.encode("latin-1").decode("utf-8", "replace")


def _check_callable(resolve: Any) -> None:
    if not callable(resolve):
        raise OptionError(f"resolve={described(resolve)}: give a function of a Request")
