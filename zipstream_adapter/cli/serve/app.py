"""The ASGI application of ``serve``: pages, files and archives of a shelf."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from ..._concurrency.offload import on_thread
from ..._entries.crc_cache import ChecksumCache
from ..._layout.layout import ZipLayout
from ...errors import ZipStreamError
from ...web.asgi import ASGIApp, Receive, Scope, Send, asgi_app
from ...web.request import Download, Request
from .page import HEADERS, directory_page, error_page
from .plain_file import PlainFile
from .shelf import Item, Place, Shelf
from .tries import Tries

# Number of archives kept, so that a browser resumes the same bytes.
_MOST_LAYOUTS = 64
# Number of fields of a query.
_MOST_FIELDS = 100_000
_METHODS = ("GET", "HEAD")


class Library:
    """Finds the page, file or archive for a request.

    Args:
        checksums: keeps the CRC-32s of files.
    """

    def __init__(self, shelf: Shelf, checksums: ChecksumCache) -> None:
        self.shelf = shelf
        self._checksums = checksums
        self._layouts: dict[str, ZipLayout] = {}
        self._lock = threading.Lock()

    def answer(self, names: list[str] | None, query: str, has_slash: bool) -> Page | Redirect | Download:
        """Return the page, redirect or download at the path of `names`. names: None if the path is invalid."""
        try:
            place = None if names is None else self.shelf.find(names)
        except OSError:
            return _unreadable("folder")
        if place is None:
            return _missing()
        item = place.item
        is_dir = item is None or item.is_dir
        if item is not None and not is_dir:
            return _missing() if has_slash and place.names else self._file(item)
        if not has_slash:
            return Redirect()
        try:
            fields = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            text = f"More than {_MOST_FIELDS:,} files and folders cannot be chosen at a time."
            return Page(HTTPStatus.BAD_REQUEST, error_page("Too many chosen", text))
        kinds = [value for key, value in fields if key == "zip"]
        try:
            items = self.shelf.items(place)
        except OSError:
            return _unreadable("folder")
        if not kinds:
            return Page(HTTPStatus.OK, directory_page(self.shelf.title, place.names, items))
        if kinds != ["all"]:
            chosen = {os.fsdecode(unquote_to_bytes(value)) for key, value in fields if key == "name"}
            if not chosen:
                text = "Choose at least one file or folder, or download all."
                return Page(HTTPStatus.BAD_REQUEST, directory_page(self.shelf.title, place.names, items, text))
            items = [item for item in items if item.name in chosen]
            if {item.name for item in items} != chosen:
                return _missing()
        return self._archive(place, items)

    def _file(self, item: Item) -> Page | Download:
        try:
            file = PlainFile(item.path)
        except OSError:
            return _unreadable("file")
        headers = {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
        return Download(file, _filename(item.name), headers)

    def _archive(self, place: Place, items: list[Item]) -> Page | Download:
        name = place.names[-1] if place.names else self.shelf.title
        try:
            layout = self._layout(items)
        except (ZipStreamError, OSError) as exc:
            return Page(HTTPStatus.INTERNAL_SERVER_ERROR, error_page("No archive can be made of this", str(exc)))
        return Download(layout, _filename(f"{name}.zip"), {"X-Content-Type-Options": "nosniff"})

    def _layout(self, items: list[Item]) -> ZipLayout:
        """Return the archive of `items`.

        Its bytes depend on the CRC-32s that are known when it is made. So that a download can be resumed, the layout is
        kept, under the ETag that it has if no CRC-32 is known.
        """
        make = partial(ZipLayout, names="repair", duplicates="rename")
        entries = [*self.shelf.entries(items)]
        plain = make(entries)
        assert plain.etag is not None  # all its sources are files
        with self._lock:
            kept = self._layouts.pop(plain.etag, None)
            if kept is None:
                kept = make(entries, checksums=self._checksums)
            self._layouts[plain.etag] = kept  # now the latest
            while len(self._layouts) > _MOST_LAYOUTS:
                del self._layouts[next(iter(self._layouts))]
        return kept


class Page:
    """A page of HTML, with its status."""

    def __init__(self, status: HTTPStatus, html: bytes) -> None:
        self.status = status
        self.html = html


class Redirect:
    """A redirect to the same path with a slash at its end."""


def _unreadable(what: str) -> Page:
    return Page(HTTPStatus.FORBIDDEN, error_page("Not readable", f"This {what} cannot be read."))


def _missing() -> Page:
    return Page(HTTPStatus.NOT_FOUND, error_page("Not found", "There is no such file or folder."))


def _filename(name: str) -> str:
    """Return a name that a header can carry."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    kept = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in text)
    while len(kept.encode()) > 255:
        stem, dot, suffix = kept.rpartition(".")
        kept = f"{stem[:-1]}{dot}{suffix}" if stem else kept[:-1]
    return kept if kept.strip(". ") else f"file{kept.strip()}"


def make_app(
    library: Library, *, password: bytes | None, only_local: bool, log: Callable[[str, str, int, str], object]
) -> ASGIApp:
    """Return the application.

    Args:
        password: the password for HTTP Basic; None for none.
        only_local: whether to refuse requests whose Host is not this machine. Otherwise a web page could read the files
            through a host name that resolves to this machine (DNS rebinding).
        log: called with method, path and status of each request, and what went wrong if that was not expected. Called
            again if it goes wrong in the middle of a transfer.
    """
    download = asgi_app(lambda request: _found(request))
    tries = None if password is None else Tries(password)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await download(scope, receive, send)
            return
        method, path, status = scope["method"], _raw_path(scope), 0

        async def logged(message: Any, error: str = "") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                log(method, path.decode("latin-1"), status, error)
            await send(message)

        try:
            await answer(scope, receive, logged, path)
        except Exception as exc:
            error = f"{type(exc).__name__}: {exc}"
            if status:
                log(method, path.decode("latin-1"), status, f"the transfer was broken: {error}")
                raise  # so that the server breaks it
            page = error_page("Something went wrong", "This cannot be sent.")
            await _say(partial(logged, error=error), method, HTTPStatus.INTERNAL_SERVER_ERROR, page)

    async def answer(scope: Scope, receive: Receive, send: Send, path: bytes) -> None:
        method = scope["method"]
        headers = {name.lower(): value for name, value in scope["headers"]}
        if only_local and not _is_local(headers.get(b"host", b"")):
            await _say(send, method, HTTPStatus.MISDIRECTED_REQUEST, b"")
        elif tries is not None and (wait := tries.wait(scope)):
            page = error_page("Too many wrong passwords", f"Try again in {wait} seconds.")
            await _say(send, method, HTTPStatus.TOO_MANY_REQUESTS, page, {"Retry-After": str(wait)})
        elif tries is not None and not tries.is_right(scope, _given(headers)):
            challenge = {"WWW-Authenticate": 'Basic realm="zipstream-adapter", charset="UTF-8"'}
            page = error_page("A password is needed", "Any user name will do.")
            await _say(send, method, HTTPStatus.UNAUTHORIZED, page, challenge)
        elif method not in _METHODS:
            await _say(send, method, HTTPStatus.METHOD_NOT_ALLOWED, b"", {"Allow": ", ".join(_METHODS)})
        else:
            names, has_slash = _names(path)
            query = scope.get("query_string", b"").decode("latin-1")
            found = await on_thread(partial(library.answer, names, query, has_slash), "looking for files")
            if isinstance(found, Page):
                await _say(send, method, found.status, found.html)
            elif isinstance(found, Redirect):
                await _say(send, method, HTTPStatus.MOVED_PERMANENTLY, b"", {"Location": _with_slash(path, query)})
            else:
                await download({**scope, "zipstream_adapter.found": found}, receive, send)

    return app


def _found(request: Request) -> Download:
    found = request.raw["zipstream_adapter.found"]
    assert isinstance(found, Download)
    return found


async def _say(send: Send, method: str, status: HTTPStatus, body: bytes, more: dict[str, str] | None = None) -> None:
    fields = {**HEADERS, **(more or {}), "Content-Length": str(len(body))}
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _raw_path(scope: Scope) -> bytes:
    raw: bytes | None = scope.get("raw_path")
    return (raw if raw is not None else scope["path"].encode()).partition(b"?")[0]


def _names(path: bytes) -> tuple[list[str] | None, bool]:
    """Return the names in a path, decoded once, and whether it ends in a slash. None: an invalid path."""
    if not path.startswith(b"/"):
        return None, False
    parts = path[1:].split(b"/")
    has_slash = parts[-1] == b""
    names = [os.fsdecode(unquote_to_bytes(part)) for part in (parts[:-1] if has_slash else parts)]
    impossible = any(name in ("", ".", "..") or "/" in name or "\0" in name for name in names)
    return (None if impossible else names), has_slash


def _with_slash(path: bytes, query: str) -> str:
    """Return the path with a slash at its end, relative, so that it leads to no other host."""
    last = path.rpartition(b"/")[2].decode("latin-1")
    return f"./{last}/" + (f"?{query}" if query else "")


def _given(headers: dict[bytes, bytes]) -> bytes:
    """Return the password in the Authorization field of HTTP Basic (RFC 7617); b"" if there is none, or an invalid one.

    serve refuses an empty password, so b"" is never right.
    """
    kind, _, value = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _is_local(host: bytes) -> bool:
    name = host.decode("latin-1").lower()
    name = name.rpartition(":")[0] if name.rpartition(":")[2].isdecimal() else name
    if name in ("localhost", "localhost."):
        return True
    address = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    with suppress(ValueError):
        return ip_address(address).is_loopback
    return False
