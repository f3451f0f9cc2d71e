"""Flask: a directory and a CSV file made on the fly, downloaded as one archive.

    DOWNLOAD_ROOT=some/directory flask --app examples/flask_download run
    curl -OJ http://127.0.0.1:5000/

The response is the stream itself: nothing is written to disk, nothing is collected in memory, and the first bytes
are on their way while the files are still to be read. Once they are, a failure (a file that shrinks, a query that
breaks) ends the transfer without its last chunk, so that the client reports an incomplete download.
"""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from flask import Flask, Response

from zipstream_adapter import Entry, stream_zip, walk

ROOT = Path(os.environ["DOWNLOAD_ROOT"])
app = Flask(__name__)


class Line:
    """What csv.writer needs of a file; writerow() then returns the line instead of storing it."""

    def write(self, text: str) -> str:
        return text


def rows() -> Iterator[Iterable[object]]:
    """Stands for a database cursor: rows that come one by one."""
    yield "number", "square"
    for number in range(1000):
        yield number, number**2


def report() -> Iterator[bytes]:
    """The CSV's lines, each made when there is room for it. Closing the stream early closes this generator, too."""
    writer = csv.writer(Line())
    for row in rows():
        yield writer.writerow(row).encode()


def entries() -> Iterator[Entry]:
    yield from walk(ROOT, prefix="files")
    # The function, not its result: it is called when the report's turn comes.
    yield Entry("report.csv", report)


def note_in_its_place(entry: Entry, error: Exception) -> Entry:
    """A file that cannot be opened becomes a note that says so; everything else is a failure."""
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
