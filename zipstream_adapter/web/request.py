"""Request and Download: the argument of `resolve`, and a possible result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias

from .._checks import shown_half_made, typed_repr
from ..errors import EntryTypeError, OptionError
from .headers import DEFAULT_FILENAME
from .response import METHODS, Answer, AsyncSent, Sent, are_entries, is_archive, plain_answer, respond

# Last segment of a URL path that is safe to use as the file name.
_PLAIN_FILENAME = re.compile(r"[\w(][\w .()+,-]{0,50}\.zip", re.IGNORECASE)


@shown_half_made
@dataclass(frozen=True, eq=False)
class Request:
    """A GET or HEAD request for an archive.

    Attributes:
        method: "GET" or "HEAD".
        path: the decoded path below the mount point of the application; it begins with a slash or is empty.
        query: the query string, still encoded, without the question mark. `urllib.parse.parse_qs` parses it.
        headers: header fields by lower-case name; the values of one name are joined by ", ". Read-only.
        root: the path where the application is mounted (WSGI SCRIPT_NAME, ASGI root_path); "" by default.
        raw: the WSGI environ or the ASGI scope.
    """

    method: str
    path: str
    query: str = field(repr=False)  # query, headers and raw may contain secrets
    headers: Mapping[str, str] = field(repr=False)
    root: str = ""
    raw: Any = field(default=None, repr=False)


@shown_half_made
@dataclass(frozen=True)
class Download:
    """An archive with a filename and header fields, for `resolve` to return.

    Args:
        archive: a `ZipLayout`, a stream, or an iterable of entries.
        filename: name of the downloaded file; see `zip_headers`. Default: the last segment of the request path if it is
            a simple name that ends in .zip, else "download.zip".
        headers: additional header fields; see `extra` of `respond`.
    """

    archive: Sent | AsyncSent
    filename: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


# Results of `resolve`, in a WSGI and in an ASGI application.
Resolved: TypeAlias = "Sent | Download | None"
AsyncResolved: TypeAlias = "AsyncSent | Download | None"


def check_resolve(resolve: Any) -> None:
    """Raise OptionError if `resolve` is not a function."""
    if not callable(resolve):
        raise OptionError(f"resolve={typed_repr(resolve)}: give a function of a Request")


def answer_to(request: Request, found: Any, stream: Callable[[Any], Any]) -> Answer:
    """Make the answer for the result of `resolve`. stream: a function that makes an archive from entries."""
    if found is None:
        return plain_answer(HTTPStatus.NOT_FOUND, request.method)
    download = found if isinstance(found, Download) else Download(found)
    filename = download.filename if download.filename is not None else _filename_of(request.path)
    archive = _archive(download.archive, stream)
    return respond(archive, request.method, request.headers, filename=filename, extra=download.headers)


def refused(method: str) -> Answer | None:
    """Return a 405 answer if `method` is not GET or HEAD, else None."""
    if method in METHODS:
        return None
    return plain_answer(HTTPStatus.METHOD_NOT_ALLOWED, method, fields={"Allow": ", ".join(METHODS)})


def _archive(found: Any, stream: Callable[[Any], Any]) -> Any:
    if is_archive(found):
        return found
    if not are_entries(found):
        raise EntryTypeError(
            f"resolve returned {typed_repr(found)}: return an iterable of entries, a ZipLayout, a stream, a Download "
            "with one of these, or None (404)"
        )
    return stream(found)


def _filename_of(path: str) -> str:
    last = path.rpartition("/")[2]
    return last if _PLAIN_FILENAME.fullmatch(last) else DEFAULT_FILENAME
