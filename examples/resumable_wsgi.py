"""Plain WSGI, no framework: a resumable download of a directory as one archive.

    ARCHIVED=some/directory gunicorn --worker-class gthread --threads 4 --pythonpath examples resumable_wsgi:app
    curl -C - -o archive.zip http://127.0.0.1:8000/

If curl is killed, run it again: the download continues. `wget -c` does the same, and `aria2c -x4` uses four
connections. Requests may go to several independent servers if all have the same files with the same dates: their
archives are then identical and have the same ETag.

No data is stored. A request reads the sizes and dates of all files, and the content of those in its range. If a file
changes while it is sent, the transfer breaks. If it changed before, the archive has another ETag: clients that send
If-Range, such as browsers, start again. curl and wget do not send If-Range.
"""

import os
from pathlib import Path

from zipstream_adapter import ZipLayout, walk
from zipstream_adapter.web import Download, Request, wsgi_app

ROOT = Path(os.environ["ARCHIVED"]).resolve()
kept: ZipLayout | None = None


def layout() -> ZipLayout:
    """Return the current layout. The layout is kept while files do not change, as it caches their CRC-32s."""
    global kept
    now = ZipLayout(walk(ROOT))
    if kept is None or kept.etag != now.etag:
        kept = now
    return kept


def resolve(request: Request) -> Download | None:
    if request.path != "/":
        return None
    return Download(layout(), filename=f"{ROOT.name}.zip")


app = wsgi_app(resolve)
