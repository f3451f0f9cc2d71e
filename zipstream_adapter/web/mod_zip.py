"""mod_zip_manifest: the file list from which nginx's mod_zip (https://github.com/evanmiller/mod_zip) makes an archive.

The application answers with the list. nginx fetches each file from one of its own locations and sends the archive, so
file data never passes through Python. Use it for data that nginx can reach itself.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from .._checks import typed_repr
from .._entries.entry import Entry
from .._format.names import DuplicatePolicy, NamePolicy, NameRegistry
from ..errors import EntryError, EntryTypeError, OptionError, UnsafeNameError
from .headers import DEFAULT_FILENAME, zip_headers

MOD_ZIP_FIELD = "X-Archive-Files"  # the response field that activates the module
_DIRECTORY = "@directory"  # marks a directory, in place of a location (since mod_zip 1.3.0)
_URL_CHAR = r"[!$&-/:-@A-Z\[\]_a-z~0-9]|%[0-9A-Fa-f]{2}"
_LOCATION = re.compile(rf"/(?:(?!\?)(?:{_URL_CHAR}))*(?:\?(?:{_URL_CHAR})+)?")
_ESCAPE = re.compile("%..")
_CONTROL = re.compile("[\0-\x1f\x7f]")


class Manifest(NamedTuple):
    """Header fields and body of the response to nginx.

    Attributes:
        headers: header fields by name.
        body: the file list, one line per member; b"" for HEAD.
    """

    headers: dict[str, str]
    body: bytes


def mod_zip_manifest(
    entries: Iterable[Entry | tuple[str, str, int] | tuple[str, str, int, int | None] | list[Any]],
    *,
    filename: str = DEFAULT_FILENAME,
    location: Callable[[Entry], str] | None = None,
    etag: str | None = None,
    last_modified: datetime | None = None,
    names: NamePolicy = "strict",
    duplicates: DuplicatePolicy = "error",
    method: str = "GET",
) -> Manifest:
    """Make the response from which nginx's mod_zip makes an archive.

    Send it as ``Response(manifest.body, headers=manifest.headers)``.

    mod_zip trusts the sizes given here: if one is too small, the client gets an unreadable archive and nginx reports
    success. mod_zip opens all listed files at once, so 20,000 files on nginx's own disk need 20,000 file descriptors
    (``worker_rlimit_nofile``).

    Args:
        entries: tuples ``(name, url, size)`` or ``(name, url, size, crc32)``, or `Entry` objects. Sizes are in bytes.
            From an Entry, only name, size and crc32 are used; if its size is not declared, the size of the file at its
            path. mod_zip stores data uncompressed, sets members' dates itself, and does not support modes, comments
            and links.
        filename: see `zip_headers`.
        location: a function that returns the URL of an Entry's data on nginx:
            ``lambda entry: "/internal/" + urllib.parse.quote(entry.name)``. A URL is a percent-encoded path from the
            root, with or without a query; it may be an internal location.
        etag, last_modified: see `zip_headers`. mod_zip answers Range requests if all CRC-32s are known, and compares
            If-Range with these values. Versions of mod_zip before September 2026 set members' dates to the time of the
            request, so ranges from two requests do not form one archive: leave both out for them.
        names, duplicates: see `stream_zip`.
        method: the request method. mod_zip sends no response to HEAD. For "HEAD", the body is therefore empty, and the
            header field that activates mod_zip is left out. Do not add a Content-Length: the archive's size is unknown
            here.

    Raises:
        EntryError: an entry has no size or an invalid URL.
        EntryTypeError: an entry or a URL has the wrong type.
        UnsafeNameError, DuplicateNameError: a name is refused by `names` or `duplicates`, or mod_zip cannot store it.
        OptionError: there are no entries, from which mod_zip cannot make an archive; or `location` is missing.
    """
    registry = NameRegistry(names, duplicates)
    lines = []
    for entry in entries:
        given, url, size, crc32 = _fields(entry, location)
        name = registry.resolve(given)
        if name is None:
            continue
        if _CONTROL.search(name) or name.startswith(" "):
            raise UnsafeNameError(f"entry {name!r}: mod_zip does not support control characters or a leading space")
        registry.take(name)
        lines.append(f"{'-' if crc32 is None else f'{crc32:08x}'} {size} {url} {name}\r\n")
    if not lines:
        raise OptionError("entries: there are none, and mod_zip cannot make an empty archive: give at least one")
    fields = zip_headers(filename, etag=etag, last_modified=last_modified)
    fields.pop("X-Accel-Buffering", None)  # would apply to this list, which nginx must buffer whole
    if method == "HEAD":
        return Manifest(fields, b"")
    return Manifest({MOD_ZIP_FIELD: "zip", **fields}, "".join(lines).encode())


def _fields(item: Any, location: Callable[[Entry], str] | None) -> tuple[str, str, int, int | None]:
    """Return (name, URL, size in bytes, CRC-32) of an entry."""
    if isinstance(item, tuple | list) and len(item) in (3, 4):
        name, url, size, *crc32 = item
        entry = Entry(name, size=size, crc32=crc32[0] if crc32 else None)
        located: Any = url
    elif isinstance(item, Entry):
        entry, located = item, None if item.is_dir else _located(item, location)
    else:
        raise EntryTypeError(
            f"{typed_repr(item)} is not an entry: give (name, url, size), (name, url, size, crc32) or an Entry"
        )
    if entry.is_dir:
        return entry.name, _DIRECTORY, 0, 0
    return entry.name, _checked_url(entry.name, located), _size(entry), entry.crc32


def _located(entry: Entry, location: Callable[[Entry], str] | None) -> str:
    if location is None:
        raise OptionError(f"entry {entry.name!r}: an Entry has no URL: give location=, a function from Entry to URL")
    return location(entry)


def _size(entry: Entry) -> int:
    if entry.size is not None:
        return entry.size
    if isinstance(entry.source, os.PathLike):
        found = os.stat(entry.source)
        if stat.S_ISREG(found.st_mode):
            return found.st_size
    raise EntryError(f"entry {entry.name!r}: mod_zip needs the size in bytes: declare size=")


def _checked_url(name: str, url: Any) -> str:
    """Encode `url` for mod_zip, which reads + in a path as a space; old versions only know upper-case hex digits."""
    if not isinstance(url, str):
        raise EntryTypeError(f"entry {name!r}: url={typed_repr(url)}: give a str")
    if not _LOCATION.fullmatch(url):
        raise EntryError(
            f"entry {name!r}: the url {url[:300]!r} is not a percent-encoded path from the root of nginx: encode it "
            "with urllib.parse.quote"
        )
    path, mark, query = url.partition("?")
    return _ESCAPE.sub(lambda found: found[0].upper(), path.replace("+", "%2B")) + mark + query
