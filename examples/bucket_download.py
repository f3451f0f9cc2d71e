"""The objects of a bucket as one archive whose download can be resumed: plain WSGI, no framework.

    BUCKET=my-bucket PREFIX=photos gunicorn --pythonpath examples bucket_download:app
    curl -C - -o archive.zip http://127.0.0.1:8000/

Needs ``pip install 'zipstream-adapter[s3,web]'``; credentials and region come from the environment, as in AWS_REGION.
Run curl again after it was killed, and it goes on where it was, whichever server it comes to.

Nothing is stored, and no object is read but for the bytes that a request is for: sizes, dates and ETags come from the
bucket's listing, and the CRC-32 of those objects that were uploaded with one from the bucket, too. (The others are read
once, by the request that needs their checksum, and remembered while the objects stay the same.) An object that is
replaced while it is sent breaks the transfer; one that was replaced before has given the archive another tag.
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
    """What the archive is now: a listing for each request, and a look at each object only where something changed."""
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
