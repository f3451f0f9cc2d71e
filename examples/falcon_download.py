"""Falcon: a resource whose stream is the archive.

    DOWNLOAD_ROOT=some/directory gunicorn --worker-class gthread --threads 4 --pythonpath examples falcon_download:app
    curl -OJ http://127.0.0.1:8000/

`resp.stream` takes any object with a read() method, such as the archive. Falcon, or the server's file wrapper, reads it
in blocks and closes it at the end, also if the client disconnects. A failure after the first bytes ends the transfer
without its last chunk, so that the client reports an incomplete download.
"""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import falcon

from zipstream_adapter import Entry, Progress, stream_zip, walk
from zipstream_adapter.web.falcon import send_zip

ROOT = Path(os.environ["DOWNLOAD_ROOT"])
log = logging.getLogger("falcon_download")


def report() -> Iterator[bytes]:
    """Generate a member while it is sent."""
    yield f"Downloaded on {datetime.now(UTC):%Y-%m-%d}\n".encode()
    for path in sorted(ROOT.rglob("*")):
        if path.is_file():
            yield f"{path.stat().st_size:12} {path.relative_to(ROOT)}\n".encode()


def entries() -> Iterator[Entry]:
    yield from walk(ROOT, prefix="files")
    yield Entry("report.txt", report)


def log_progress(progress: Progress) -> None:
    """Log progress. Called after each chunk read and at the end of each member."""
    log.debug("%s: %d bytes read, %d written in all", progress.entry.name, progress.entry_read, progress.written)


class Download:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "application/zip"
        resp.downloadable_as = "download.zip"
        resp.stream = stream_zip(entries(), compression="deflate", on_progress=log_progress)


class Files:
    """The directory alone, with its length; a download that breaks off can be resumed."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        send_zip(req, resp, walk(ROOT, prefix="files"), filename="files.zip", ranges=True)

    on_head = on_get


app = falcon.App()
app.add_route("/", Download())
app.add_route("/files", Files())
