"""A directory as one archive whose download can be resumed: plain ASGI, no framework.

    ARCHIVED=some/directory uvicorn --app-dir examples resumable_asgi:app
    curl -C - -o archive.zip http://127.0.0.1:8000/

What the archive is, and what clients see of it, is as in resumable_wsgi.py. `resolve` looks at the disk, so it is not
asynchronous: it is called on a thread, and the event loop only moves bytes.
"""

from resumable_wsgi import resolve

from zipstream_adapter.web import asgi_app

app = asgi_app(resolve)
