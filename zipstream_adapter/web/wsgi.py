"""wsgi_app: a WSGI application (PEP 3333) that sends archives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from .._stream.sync import stream_zip
from ..errors import ZipStreamError
from .headers import by_lower_name
from .request import Request, answer_to, check_resolve, refused
from .response import Body

if TYPE_CHECKING:
    from typing import Self, Unpack
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from .._writer.options import StreamOptions
    from .request import Resolved


def wsgi_app(resolve: Callable[[Request], Resolved], **options: Unpack[StreamOptions]) -> WSGIApplication:
    """Make a WSGI application that sends the archives `resolve` returns. Serve it directly or mount it.

    GET and HEAD are answered with conditions and ranges, as by `respond`; other methods with 405. The first chunk is
    made before the headers are sent, so that an early failure becomes the server's 500. A later failure is raised by
    the iterator, so that the server breaks the transfer. The server always calls the iterator's `close`, which closes
    the archive and its open source. An OSError is wrapped in a ZipStreamError, as servers would attribute it to the
    connection.

    Args:
        resolve: a function of a `Request`. It returns an iterable of entries (sent as a `stream_zip`), a `ZipLayout`
            (sent whole or in ranges), a `ZipStream`, a `Download` with one of these and a filename or more header
            fields, or None for a 404.
        options: options of `stream_zip`, used if `resolve` returns entries.

    Raises:
        OptionError: `resolve` is not callable, or an option has a wrong value.
        TypeError: `stream_zip` has no such option.
    """
    check_resolve(resolve)
    stream_zip((), **options)  # validates the options now instead of at the first request
    stream = partial(stream_zip, **options)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        request = _request(environ)
        try:
            answer = refused(request.method) or answer_to(request, resolve(request), stream)
            begun = StartedBody(answer.body())
        except OSError as exc:
            raise archive_failure(exc) from exc
        try:
            start_response(answer.status_line, list(answer.headers.items()))
        except BaseException:
            begun.close()
            raise
        return begun

    return app


def archive_failure(exc: OSError) -> ZipStreamError:
    """Wrap an OSError of an archive: gunicorn would attribute it to the connection and not report it."""
    return ZipStreamError(f"the archive failed: {type(exc).__name__}: {exc}")


class StartedBody:
    """A body whose first chunk is already made, so that an early failure comes before the headers are sent.

    An empty body (of HEAD, 304) is closed at once, as servers and frameworks may not look at it.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        try:
            first = next(body, None)
        except BaseException:
            body.close()
            raise
        if first is None:
            body.close()
        self._chunks = iter(()) if first is None else itertools.chain((first,), body)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except OSError as exc:
            raise archive_failure(exc) from exc

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
    """Decode a path that is UTF-8, which WSGI passes as Latin-1 (PEP 3333)."""
    return path.encode("latin-1").decode("utf-8", "replace")
