"""mod_zip_manifest: what nginx's mod_zip (https://github.com/evanmiller/mod_zip) makes an archive of.

The application answers with a list of files, and nginx fetches each from a location of its own and sends the archive:
for data that nginx reaches by itself, so that none of it goes through Python.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from .entry import Entry
from .errors import EntryError, EntryTypeError, OptionError, UnsafeNameError
from .fields import described
from .names import DuplicatePolicy, NamePolicy, NameRegistry
from .web_fields import DEFAULT_FILENAME, zip_headers

MOD_ZIP_FIELD = "X-Archive-Files"  # what calls the module
_DIRECTORY = "@directory"  # instead of a location, from mod_zip 1.3.0 on
_URL_CHAR = r"[!$&-/:-@A-Z\[\]_a-z~0-9]|%[0-9A-Fa-f]{2}"
_LOCATION = re.compile(rf"/(?:(?!\?)(?:{_URL_CHAR}))*(?:\?(?:{_URL_CHAR})+)?")
_ESCAPE = re.compile("%..")
_CONTROL = re.compile("[\0-\x1f\x7f]")


class Manifest(NamedTuple):
    """The header fields and the body of the answer to nginx."""

    headers: dict[str, str]
    body: bytes


def mod_zip_manifest(
    entries: Iterable[Any],
    *,
    filename: str = DEFAULT_FILENAME,
    location: Callable[[Entry], str] | None = None,
    etag: str | None = None,
    last_modified: datetime | None = None,
    names: NamePolicy = "strict",
    duplicates: DuplicatePolicy = "error",
    method: str = "GET",
) -> Manifest:
    """What to answer, so that nginx's mod_zip makes the archive: ``Response(manifest.body, headers=manifest.headers)``.

    mod_zip sends the sizes as they are given here: if one is too small, the client gets an unreadable archive,
    and nginx reports success. It opens all files of a list, so 20,000 that nginx reads from its own disk need as many
    descriptors (``worker_rlimit_nofile``).

    Args:
        entries: each a tuple ``(name, url, size)`` or ``(name, url, size, crc32)``, or an `Entry`, of which name, size
            and crc32 are used, and the size of the file at its path where none is declared. mod_zip stores data as it
            is, dates members itself, and knows no modes, comments or links.
        filename: see `zip_headers`.
        location: the URL of an Entry's data on nginx: ``lambda entry: "/internal/" + urllib.parse.quote(entry.name)``.
            A URL is a path from the root, percent-encoded, with or without a query; it may be an internal location.
        etag, last_modified: see `zip_headers`. mod_zip answers Range where all CRCs are known, and If-Range by these.
            Its versions before September 2026 date members with the time of the request, so that ranges of two requests
            do not make one archive: give them none.
        names, duplicates: see `stream_zip`.
        method: the request's. mod_zip answers nothing at all to HEAD. So for "HEAD" the body is empty, and the fields
            are without the one that calls mod_zip. Send no Content-Length of your own: the archive's is not known here.

    Raises:
        EntryError, EntryTypeError, UnsafeNameError, DuplicateNameError: for an entry without a size or a location, and
        for names that cannot or should not be sent; and for no entries at all, of which mod_zip makes nothing.
    """
    registry = NameRegistry(names, duplicates)
    lines = []
    for entry in entries:
        given, url, size, crc32 = _fields(entry, location)
        name = registry.resolve(given)
        if name is None:
            continue
        if _CONTROL.search(name) or name.startswith(" "):
            raise UnsafeNameError(f"entry {name!r}: mod_zip takes no control characters, and no space at the beginning")
        registry.take(name)
        lines.append(f"{'-' if crc32 is None else f'{crc32:08x}'} {size} {url} {name}\r\n")
    if not lines:
        raise OptionError("entries: there are none, and mod_zip makes no archive of nothing")
    fields = zip_headers(filename, etag=etag, last_modified=last_modified)
    fields.pop("X-Accel-Buffering", None)  # is about this answer, which nginx has to have whole
    if method == "HEAD":
        return Manifest(fields, b"")
    return Manifest({MOD_ZIP_FIELD: "zip", **fields}, "".join(lines).encode())


def _fields(item: Any, location: Callable[[Entry], str] | None) -> tuple[str, str, int, int | None]:
    """(name, URL, size, CRC-32) of an entry."""
    if isinstance(item, tuple | list) and len(item) in (3, 4):
        name, url, size, *crc32 = item
        entry = Entry(name, size=size, crc32=crc32[0] if crc32 else None)
        located: Any = url
    elif isinstance(item, Entry):
        entry, located = item, None if item.is_dir else _located(item, location)
    else:
        raise EntryTypeError(
            f"{described(item)} is no entry of a manifest: give (name, url, size), (name, url, size, crc32) or an Entry"
        )
    if entry.is_dir:
        return entry.name, _DIRECTORY, 0, 0
    return entry.name, _checked_url(entry.name, located), _size(entry), entry.crc32


def _located(entry: Entry, location: Callable[[Entry], str] | None) -> str:
    if location is None:
        raise OptionError(f"entry {entry.name!r}: an Entry says no URL; give location=, a function from Entry to URL")
    return location(entry)


def _size(entry: Entry) -> int:
    if entry.size is not None:
        return entry.size
    if isinstance(entry.source, os.PathLike):
        found = os.stat(entry.source)
        if stat.S_ISREG(found.st_mode):
            return found.st_size
    raise EntryError(f"entry {entry.name!r}: mod_zip has to know its size in bytes: declare size=")


def _checked_url(name: str, url: Any) -> str:
    """`url` as mod_zip reads it: it takes a plus in the path for a space, and old ones know no small hex digits."""
    if not isinstance(url, str):
        raise EntryTypeError(f"entry {name!r}: the url {described(url)} is no str")
    if not _LOCATION.fullmatch(url):
        raise EntryError(
            f"entry {name!r}: the url {url[:300]!r} is no percent-encoded path from the root of nginx, as "
            "urllib.parse.quote makes one"
        )
    path, mark, query = url.partition("?")
    return _ESCAPE.sub(lambda found: found[0].upper(), path.replace("+", "%2B")) + mark + query
