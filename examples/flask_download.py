"""Flask: download a directory and a generated CSV file as one archive.

    DOWNLOAD_ROOT=some/directory flask --app examples/flask_download run
    curl -OJ http://127.0.0.1:5000/
    curl -OJ http://127.0.0.1:5000/files

The stream is the response body. Nothing is written to disk or collected in memory, and the first bytes are sent before
all files are read. After the first bytes, a failure (a file shrinks, a query breaks) ends the transfer without its last
chunk, so that the client reports an incomplete download.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from flask import Flask, Response, request

from zipstream_adapter import Entry, stream_zip, walk
from zipstream_adapter.web.flask import ZipResponse

ROOT = Path(os.environ["DOWNLOAD_ROOT"])
app = Flask(__name__)


class Line:
    """A file for csv.writer: write() returns its argument, so writerow() returns the line."""

    def write(self, text: str) -> str:
        return text


def rows() -> Iterator[Iterable[object]]:
    """Yield rows one by one. Stands for a database cursor."""
    yield "number", "square"
    for number in range(1000):
        yield number, number**2


def report() -> Iterator[bytes]:
    """Generate the CSV line by line while it is sent. Closing the stream early closes this generator, too."""
    writer = csv.writer(Line())
    for row in rows():
        yield writer.writerow(row).encode()


def entries() -> Iterator[Entry]:
    yield from walk(ROOT, prefix="files")
    # Pass the function, not its result: it is called when its member is written.
    yield Entry("report.csv", report)


def note_in_its_place(entry: Entry, error: Exception) -> Entry:
    """Replace a file that cannot be opened by a note; raise all other errors."""
    if not isinstance(error, FileNotFoundError | PermissionError):
        raise error
    app.logger.warning("%s is not in the download: %s", entry.name, error)
    return Entry(entry.name + ".MISSING.txt", f"This file could not be read: {error.strerror}\n".encode())


@app.get("/")
def download() -> Response:
    response = Response(
        stream_zip(entries(), compression="deflate", on_error=note_in_its_place), mimetype="application/zip"
    )
    response.headers.set("Content-Disposition", "attachment", filename="download.zip")
    return response


@app.get("/files")
def files() -> ZipResponse:
    """Download the directory alone, with its length; a download that breaks off can be resumed."""
    return ZipResponse(request, walk(ROOT, prefix="files"), filename="files.zip", ranges=True)
