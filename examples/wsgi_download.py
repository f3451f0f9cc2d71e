"""Plain WSGI, no framework: the archive is the iterable that the application returns.

    DOWNLOAD_ROOT=some/directory python examples/wsgi_download.py
    curl -OJ http://127.0.0.1:8000/

    DOWNLOAD_ROOT=some/directory gunicorn --worker-class gthread --threads 4 --pythonpath examples wsgi_download:app

The server takes the next chunk after it has sent the last one, and calls close() at the end or when the client
disconnects. A failure midway breaks the transfer under gunicorn and every other server that sends HTTP/1.1 chunks. The
standard library's wsgiref uses HTTP/1.0, which ends every body by closing the connection. There, a failure shows only
in the archive, which is incomplete and refused by every reader.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from zipstream_adapter import Entry, stream_zip, walk

ROOT = Path(os.environ["DOWNLOAD_ROOT"])


def report() -> Iterator[bytes]:
    """Generate a member while it is sent."""
    for number in range(1000):
        yield f"{number} squared is {number**2}\n".encode()


def entries() -> Iterator[Entry]:
    yield from walk(ROOT, prefix="files")
    yield Entry("report.txt", report)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] != "GET":
        start_response("405 Method Not Allowed", [("Allow", "GET"), ("Content-Type", "text/plain")])
        return [b"Only GET is supported.\n"]
    headers = [("Content-Type", "application/zip"), ("Content-Disposition", 'attachment; filename="download.zip"')]
    if environ["PATH_INFO"] == "/files":  # the directory alone: all sizes are known, so clients show how much is left
        archive = stream_zip(list(walk(ROOT, prefix="files")))
        if archive.size is not None:
            headers.append(("Content-Length", str(archive.size)))
    else:
        archive = stream_zip(entries(), compression="deflate")
    start_response("200 OK", headers)
    return archive


if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), app) as server:
        print(f"Serving {ROOT} on http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()
