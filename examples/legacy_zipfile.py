"""Stream the archive of code that was written for `zipfile.ZipFile`, while that code runs.

    DOWNLOAD_ROOT=some/directory python examples/legacy_zipfile.py
    curl -OJ http://127.0.0.1:8000/

    DOWNLOAD_ROOT=some/directory gunicorn --worker-class gthread --threads 4 --pythonpath examples legacy_zipfile:app

The only change to `export` is that it yields where bytes may be sent. Between two yields, output is kept in memory, so
it writes large members in blocks. After a failure in `export`, no more bytes are sent. gunicorn then breaks the
transfer; for wsgiref see wsgi_download.py.
"""

import csv
import io
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIEnvironment
from zipfile import ZIP_DEFLATED, ZipFile

from zipstream_adapter import StreamingZipFile

ROOT = Path(os.environ["DOWNLOAD_ROOT"])
BLOCK = 1 << 16


def report() -> Iterator[bytes]:
    for number in range(1000):
        yield f"{number} squared is {number**2}\n".encode()


def export(archive: ZipFile) -> Generator[None, None, None]:
    """Export to any ZipFile. Stands for the existing code."""
    files = sorted(path for path in ROOT.iterdir() if path.is_file())
    archive.comment = b"made by export()"
    archive.writestr("README.txt", "What is in this archive: see contents.csv.\n")
    with archive.open("contents.csv", "w") as member, io.TextIOWrapper(member, "utf-8", newline="") as text:
        csv.writer(text).writerows((path.name, path.stat().st_size) for path in files)
    for path in files:
        with path.open("rb") as source, archive.open(f"files/{path.name}", "w") as member:
            while block := source.read(BLOCK):
                member.write(block)
                yield
    with archive.open("report.txt", "w") as member:
        for line in report():
            member.write(line)
            yield


def chunks() -> Iterator[bytes]:
    """Yield the archive's bytes, drained after each step of `export`."""
    with StreamingZipFile(compression=ZIP_DEFLATED) as archive, closing(export(archive)) as steps:
        for _ in steps:
            if ready := archive.drain():
                yield ready
    yield archive.drain()  # the central directory, written when the archive was closed


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    headers = [("Content-Type", "application/zip"), ("Content-Disposition", 'attachment; filename="export.zip"')]
    start_response("200 OK", headers)
    return chunks()


if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), app) as server:
        print(f"Serving {ROOT} on http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()
