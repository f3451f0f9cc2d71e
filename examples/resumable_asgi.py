"""Plain ASGI, no framework: a resumable download of a directory as one archive.

    ARCHIVED=some/directory uvicorn --app-dir examples resumable_asgi:app
    curl -C - -o archive.zip http://127.0.0.1:8000/

The archive and the answers to clients are the same as in resumable_wsgi.py. `resolve` reads the file system, so it is a
plain function: it is called on a thread, and the event loop only moves bytes.
"""

from resumable_wsgi import resolve

from zipstream_adapter.web import asgi_app

app = asgi_app(resolve)
