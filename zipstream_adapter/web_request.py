"""What the applications ask `resolve`, and what it may answer."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from .aio import AsyncZipStream
from .entry import Entry
from .errors import EntryTypeError
from .fields import described
from .stream import ZipStream
from .web_answer import METHODS, Answer, is_layout, plain_answer, respond
from .web_fields import DEFAULT_FILENAME

# A last part of a path that can be a file's name without more ado.
_PLAIN_FILENAME = re.compile(r"[\w(][\w .()+,-]{0,50}\.zip", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Request:
    """A GET or HEAD that wants an archive.

    Attributes:
        method: GET or HEAD.
        path: the decoded path below the place where the application is mounted; it begins with a slash, or is empty.
        query: the query string as it came, without its question mark (`urllib.parse.parse_qs` reads it).
        headers: the header fields by lower-case name; those of one name are joined. Read-only.
        root: the path that the application is mounted at (SCRIPT_NAME, root_path), "" for none.
        raw: the WSGI environ or the ASGI scope.
    """

    method: str
    path: str
    query: str = field(repr=False)  # these can carry secrets
    headers: Mapping[str, str] = field(repr=False)
    root: str = ""
    raw: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Download:
    """An archive, or entries, with what else belongs to the answer.

    Args:
        archive: whatever `resolve` may return by itself: a `ZipLayout`, a stream, or entries.
        filename: see `zip_headers`. Default: the last part of the path where that is a plain name and ends in .zip,
            else "download.zip".
        headers: further header fields, as `respond` takes them in `extra`.
    """

    archive: Any
    filename: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def answer_to(request: Request, found: Any, stream: Callable[[Any], Any]) -> Answer:
    """The answer for what `resolve` has `found`. stream: makes an archive of entries."""
    if found is None:
        return plain_answer(HTTPStatus.NOT_FOUND, request.method)
    download = found if isinstance(found, Download) else Download(found)
    filename = download.filename if download.filename is not None else _filename_of(request.path)
    archive = _archive(download.archive, stream)
    return respond(archive, request.method, request.headers, filename=filename, extra=download.headers)


def refused(method: str) -> Answer | None:
    """The answer to a method that is none of ours."""
    if method in METHODS:
        return None
    return plain_answer(HTTPStatus.METHOD_NOT_ALLOWED, method, fields={"Allow": ", ".join(METHODS)})


def _archive(found: Any, stream: Callable[[Any], Any]) -> Any:
    if is_layout(found) or isinstance(found, ZipStream | AsyncZipStream):
        return found
    if isinstance(found, str | bytes | os.PathLike | Mapping | Entry) or not (
        hasattr(found, "__iter__") or hasattr(found, "__aiter__")
    ):
        raise EntryTypeError(
            f"resolve gave {described(found)}: return an iterable of entries, a ZipLayout, a stream, a Download with "
            "one of these, or None (404)"
        )
    return stream(found)


def _filename_of(path: str) -> str:
    last = path.rpartition("/")[2]
    return last if _PLAIN_FILENAME.fullmatch(last) else DEFAULT_FILENAME
