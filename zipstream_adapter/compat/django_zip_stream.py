"""The interface of django-zip-stream: ``from zipstream_adapter.compat.django_zip_stream import …``. Extra ``web``.

Django answers with a list of files, from which nginx's mod_zip makes the archive.

Differences from django-zip-stream:

- Lines have the format that mod_zip reads: CRC-32 or dash, size, URL, name. Every line ends in CRLF, also the last.
- URLs are percent-encoded. Characters that would break a line, such as a line break in a name, raise an error.
- The download's filename is quoted or encoded, so that it cannot end its header field. Directories are removed from it.
- An empty list or a missing folder raises an error. In django-zip-stream, mod_zip cannot answer such a list.
- Links that lead out of the folder raise an error. A folder's files are sorted by name.
- mod_zip sends no response to HEAD: add `HeadMiddleware` to MIDDLEWARE.

If a size in the list is too small, mod_zip makes an unreadable archive and reports success. It opens all listed files
at once: 20,000 local files need 20,000 file descriptors (``worker_rlimit_nofile``).
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._checks import shown_half_made
from .._entries.entry import Entry
from .._entries.walk import walk
from ..web import Manifest, mod_zip_manifest
from ..web.mod_zip import MOD_ZIP_FIELD

try:
    from django.http import HttpResponse, StreamingHttpResponse  # type: ignore[import-untyped]
    from django.utils.deprecation import MiddlewareMixin  # type: ignore[import-untyped]
except ImportError as exc:
    raise ImportError("zipstream_adapter.compat.django_zip_stream needs Django: pip install django") from exc

if TYPE_CHECKING:
    from .._entries.types import StrPath

__all__ = ["FolderZipResponse", "HeadMiddleware", "TransferZipResponse"]

_SEPARATORS = re.compile(r"[/\\]")
_CRC32 = re.compile(r"[0-9A-Fa-f]{1,8}")


@shown_half_made
class HeadMiddleware(MiddlewareMixin):  # type: ignore[misc]
    """Answers HEAD with the header fields of the download, as mod_zip sends no response to HEAD.

    Add it to MIDDLEWARE, or decorate single views with
    ``django.utils.decorators.decorator_from_middleware(HeadMiddleware)``. It applies to every response that activates
    mod_zip, including those made with `mod_zip_manifest`.
    """

    def process_response(self, request: Any, response: Any) -> Any:
        """Return `response`; for HEAD, without the list and the header field that activates mod_zip."""
        if request.method != "HEAD" or not response.has_header(MOD_ZIP_FIELD):
            return response
        left_out = {MOD_ZIP_FIELD.lower(), "content-length"}
        fields = {name: value for name, value in response.items() if name.lower() not in left_out}
        bare = StreamingHttpResponse((), headers=fields)  # streaming, or Django would add Content-Length: 0
        bare.cookies = response.cookies
        response.close()
        return bare


class _ManifestResponse(HttpResponse):  # type: ignore[misc]
    """A response from which mod_zip makes an archive."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest.body, status=200, headers=manifest.headers)


class TransferZipResponse(_ManifestResponse):
    """A response from which nginx makes an archive of `files`.

    Args:
        filename: name of the downloaded file.
        files: tuples (name, URL, size), (name, URL, size, CRC-32) or (CRC-32, name, URL, size). Sizes are in bytes. The
            CRC-32 is a number or a str of hexadecimal digits. Names are stored unchanged.

    Raises the same errors as `mod_zip_manifest`.
    """

    def __init__(self, filename: str, files: Iterable[tuple[Any, ...]]) -> None:
        entries = map(_translated, files)
        super().__init__(mod_zip_manifest(entries, filename=_basename(filename), names="allow", duplicates="allow"))


class FolderZipResponse(_ManifestResponse):
    """A response from which nginx makes an archive of all files in and below the folder `path`.

    Args:
        path: the folder, as a path that Django can read.
        url_prefix: URL path from nginx's root, under which nginx serves the folder.
        filename: name of the downloaded file. Default: the folder's name with ".zip".
        add_folder_name: whether file URLs have the folder's name after the prefix.

    Raises the same errors as `mod_zip_manifest` and `walk`.
    """

    def __init__(
        self, path: StrPath, url_prefix: str = "", filename: str | None = None, add_folder_name: bool = True
    ) -> None:
        folder = os.path.basename(os.path.abspath(path))
        place = _location(url_prefix.rstrip("/") + "/") + (quote(folder) + "/" if add_folder_name and folder else "")

        def location(entry: Entry) -> str:
            return place + quote(entry.name)

        files = walk(path, directories="none", special="skip")
        name = f"{folder or 'folder'}.zip" if filename is None else _basename(filename)
        super().__init__(mod_zip_manifest(files, filename=name, location=location, names="allow"))


def _translated(item: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert a tuple of `files` to one for `mod_zip_manifest`."""
    if not isinstance(item, tuple | list) or len(item) not in (3, 4):
        return item  # refused by mod_zip_manifest
    if len(item) == 4 and isinstance(item[2], str) and not item[2].isdecimal():
        crc32, name, url, size = item
    else:
        name, url, size, crc32 = (*item, None)[:4]
    if isinstance(crc32, str):
        crc32 = int(crc32, 16) if _CRC32.fullmatch(crc32) else None if crc32 == "-" else crc32
    if isinstance(size, str) and size.isdecimal():
        size = int(size)
    return name, _location(url) if isinstance(url, str) else url, size, crc32


def _location(url: str) -> str:
    """Percent-encode spaces and non-ASCII characters; keep existing escapes."""
    return quote(url, safe=string.punctuation)


def _basename(filename: str) -> str:
    """Return the last component of a filename."""
    return _SEPARATORS.split(filename)[-1] if isinstance(filename, str) else filename
