"""For programs written for django-zip-stream: ``from zipstream_adapter.compat.django_zip_stream import …``.

Django answers with a list of files, and nginx's mod_zip makes the archive of it. Extra ``web``. Other than there:

- The list is as mod_zip reads it: CRC-32 or dash, size, URL, name; each line ends in CRLF, the last one, too.
- URLs are percent-encoded; what would break a line, as a line break in a name does, raises.
- A download's name is quoted, or spelled out, so that it cannot end its header field; directories are cut off.
- A list of no files, or a folder that is not there, raises; there, mod_zip had nothing to answer with.
- A folder's links that lead out of it raise. Its files are in the order of their names.
- mod_zip answers nothing to HEAD: put `HeadMiddleware` into MIDDLEWARE.

If a size in the list is too small, mod_zip makes an archive that no reader opens, and reports success. It opens all
files of a list at a time: 20,000 local ones need as many descriptors (``worker_rlimit_nofile``).
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..entry import Entry
from ..mod_zip import MOD_ZIP_FIELD
from ..tree import walk
from ..web import Manifest, mod_zip_manifest

try:
    from django.http import HttpResponse, StreamingHttpResponse  # type: ignore[import-untyped]
    from django.utils.deprecation import MiddlewareMixin  # type: ignore[import-untyped]
except ImportError as exc:
    raise ImportError("zipstream_adapter.compat.django_zip_stream needs Django: pip install django") from exc

if TYPE_CHECKING:
    from ..entry import StrPath

__all__ = ["FolderZipResponse", "HeadMiddleware", "TransferZipResponse"]

_SEPARATORS = re.compile(r"[/\\]")
_CRC32 = re.compile(r"[0-9A-Fa-f]{1,8}")


class HeadMiddleware(MiddlewareMixin):  # type: ignore[misc]
    """Keeps mod_zip from HEAD requests, to which it answers nothing: they get the header fields of the download.

    For MIDDLEWARE, or for single views by ``django.utils.decorators.decorator_from_middleware(HeadMiddleware)``. It
    works for whatever calls mod_zip, also for `mod_zip_manifest`.
    """

    def process_response(self, request: Any, response: Any) -> Any:
        """The `response`; for HEAD without the list and the field that calls mod_zip."""
        if request.method != "HEAD" or not response.has_header(MOD_ZIP_FIELD):
            return response
        left_out = {MOD_ZIP_FIELD.lower(), "content-length"}
        fields = {name: value for name, value in response.items() if name.lower() not in left_out}
        bare = StreamingHttpResponse((), headers=fields)  # Django gives that no Content-Length: 0
        bare.cookies = response.cookies
        response.close()
        return bare


class _Answer(HttpResponse):  # type: ignore[misc]
    """What mod_zip makes an archive of."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest.body, status=200, headers=manifest.headers)


class TransferZipResponse(_Answer):
    """An archive of `files`, which nginx fetches.

    Args:
        filename: the name that the download gets.
        files: each a tuple (name, URL, size) or (name, URL, size, CRC-32); also (CRC-32, name, URL, size). The CRC-32
            is a number, or hexadecimal digits. Names are sent as they are.

    Raises: what `mod_zip_manifest` does.
    """

    def __init__(self, filename: str, files: Iterable[tuple[Any, ...]]) -> None:
        entries = map(_translated, files)
        super().__init__(mod_zip_manifest(entries, filename=_last(filename), names="allow", duplicates="allow"))


class FolderZipResponse(_Answer):
    """An archive of the files in the folder `path` and below, which nginx fetches from below a prefix.

    Args:
        path: the folder, as Django sees it.
        url_prefix: where nginx has it: a path from the root.
        filename: the name that the download gets. Default: the folder's, with ".zip".
        add_folder_name: whether the folder's name comes between the prefix and the files' own places.

    Raises: what `mod_zip_manifest` and `walk` do.
    """

    def __init__(
        self, path: StrPath, url_prefix: str = "", filename: str | None = None, add_folder_name: bool = True
    ) -> None:
        folder = os.path.basename(os.path.abspath(path))
        place = _location(url_prefix.rstrip("/") + "/") + (quote(folder) + "/" if add_folder_name and folder else "")

        def location(entry: Entry) -> str:
            return place + quote(entry.name)

        files = walk(path, directories="none", special="skip")
        name = f"{folder or 'folder'}.zip" if filename is None else _last(filename)
        super().__init__(mod_zip_manifest(files, filename=name, location=location, names="allow"))


def _translated(item: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tuple that `mod_zip_manifest` takes."""
    if not isinstance(item, tuple | list) or len(item) not in (3, 4):
        return item  # which it refuses
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
    """`url` with spaces and what is not ASCII encoded; what is encoded already stays."""
    return quote(url, safe=string.punctuation)


def _last(filename: str) -> str:
    """What clients make of a name with directories."""
    return _SEPARATORS.split(filename)[-1] if isinstance(filename, str) else filename
