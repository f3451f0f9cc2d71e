"""A directory as one archive whose download can be resumed: plain WSGI, no framework.

    ARCHIVED=some/directory gunicorn --pythonpath examples resumable_wsgi:app
    curl -C - -o archive.zip http://127.0.0.1:8000/

Run curl again after it was killed, and it goes on where it was; `wget -c` does so, too, and `aria2c -x4` fetches with
four connections. They may come to several servers that know nothing of each other, as long as all have the same files,
dates included: then they have the same archive, byte for byte, and say so by its tag.

Nothing is stored. A request looks at the files' sizes and dates, and reads those that its range needs. A file that is
changed while it is sent breaks the transfer; one that was changed before has given the archive another tag, at which
clients that ask with If-Range (browsers, for one) begin anew. curl and wget ask without.
"""

import os
from pathlib import Path

from zipstream_adapter import ZipLayout, walk
from zipstream_adapter.web import Download, Request, wsgi_app

ROOT = Path(os.environ["ARCHIVED"]).resolve()
kept: ZipLayout | None = None


def layout() -> ZipLayout:
    """What the archive is now. While it stays the same, one is kept, which knows the checksums that it has found."""
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
