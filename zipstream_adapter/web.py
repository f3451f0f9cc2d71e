"""Archives for the web (extra ``web``): header fields, answers with conditions and ranges, whole applications.

- `zip_headers`: the fields of a response that a framework makes.
- `respond`: status, fields and body for a request, of a layout (RFC 9110: conditions, ranges) or a stream.
- `wsgi_app`, `asgi_app`: applications made of a function from a `Request` to entries, a layout or a `Download`.
- `mod_zip_manifest`: what nginx's mod_zip makes an archive of.
"""

from __future__ import annotations

from .mod_zip import Manifest, mod_zip_manifest
from .web_answer import Answer, AsyncBody, Body, Layout, respond
from .web_asgi import asgi_app
from .web_fields import zip_headers
from .web_request import Download, Request
from .web_wsgi import wsgi_app

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
