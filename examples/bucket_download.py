"""Plain WSGI, no framework: a resumable download of a bucket's objects as one archive.

    BUCKET=my-bucket PREFIX=photos gunicorn --worker-class gthread --threads 4 --pythonpath examples bucket_download:app
    curl -C - -o archive.zip http://127.0.0.1:8000/

Needs the extras ``s3`` and ``web``: in a checkout, ``pip install '.[s3,web]'``. Credentials and region come from the
environment, for example AWS_REGION. If curl is killed, run it again: the download continues, even from another server.

No data is stored on the server, and only the bytes that a request asks for are read from objects. Sizes, dates and
ETags come from the bucket's listing. So does the CRC-32 of objects that were uploaded with one. Other objects are read
once, by the request that needs their CRC-32, which is kept while the objects do not change. If an object is replaced
while it is sent, the transfer breaks. If it was replaced before, the archive has another ETag.
"""

import os

from obstore.store import S3Store

from zipstream_adapter import ZipLayout
from zipstream_adapter.remote import walk_store
from zipstream_adapter.web import Download, Request, wsgi_app

STORE = S3Store(os.environ["BUCKET"])
PREFIX = os.environ.get("PREFIX", "")
kept: tuple[str | None, ZipLayout] | None = None


def layout() -> ZipLayout:
    """Return the current layout. Each request lists the bucket; objects' CRC-32s are asked for only after a change."""
    global kept
    listed = ZipLayout(walk_store(STORE, PREFIX, checksums=False)).etag
    if kept is None or kept[0] != listed:
        kept = listed, ZipLayout(walk_store(STORE, PREFIX))
    return kept[1]


def resolve(request: Request) -> Download | None:
    if request.path != "/":
        return None
    return Download(layout(), filename=f"{PREFIX.strip('/').rpartition('/')[2] or os.environ['BUCKET']}.zip")


app = wsgi_app(resolve)
