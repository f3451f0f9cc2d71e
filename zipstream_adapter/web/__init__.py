"""Zip downloads over HTTP (extra ``web``): header fields, conditional and range requests, complete applications.

- `zip_headers`: the header fields for a response made by a web framework.
- `respond`: status, header fields and body of the answer to a request for a layout (with the conditions and ranges of
  RFC 9110) or for a stream.
- `wsgi_app`, `asgi_app`: applications made from a function that takes a `Request` and returns entries, a layout, a
  stream or a `Download`.
- `flask`, `django`, `starlette` (also FastAPI and Litestar), `falcon`, `aiohttp`, `quart`: modules with a response for
  each framework. Each is imported by itself. With ``ranges=True``, they make a `ZipLayout` of the entries, whose sizes
  must be known, for each request. With ``checksums=ChecksumCache(path)``, files are read for their CRC-32 once only. If
  the entries rarely change, make one `ZipLayout` and give that.
- `mod_zip_manifest`: the file list from which nginx's mod_zip makes an archive.
"""

from __future__ import annotations

from .asgi import asgi_app
from .headers import zip_headers
from .mod_zip import Manifest, mod_zip_manifest
from .request import Download, Request
from .response import Answer, AsyncBody, Body, Layout, respond
from .wsgi import wsgi_app

__all__ = [
    "Answer",
    "AsyncBody",
    "Body",
    "Download",
    "Layout",
    "Manifest",
    "Request",
    "asgi_app",
    "mod_zip_manifest",
    "respond",
    "wsgi_app",
    "zip_headers",
]
