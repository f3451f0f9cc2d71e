"""Upload an archive while it is made, with any client that reads a file object, such as http.client.

    python examples/object_upload.py some/directory http://127.0.0.1:8000/archive.zip

Works with every server that accepts a chunked PUT, such as WebDAV servers and artifact stores. `requests` takes the
archive in the same way, `httpx` as ``content=(chunk for chunk in archive)``. The length is not known in advance, and
no part of the archive is kept. If a file fails midway, the connection is closed before the last chunk, so the server
knows that the body is incomplete, and this program fails, too.
"""

import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from zipstream_adapter import ZipStream, stream_zip, walk

BLOCK = 1 << 16


def put(url: str, archive: ZipStream) -> None:
    """PUT `archive` to `url`. If the archive fails, closing the connection breaks the transfer."""
    target = urlsplit(url)
    kind = HTTPSConnection if target.scheme == "https" else HTTPConnection
    with archive, closing(kind(target.netloc, timeout=60, blocksize=BLOCK)) as connection:
        # An object with read() and an unknown length is sent with "Transfer-Encoding: chunked".
        connection.request("PUT", target.path, body=archive, headers={"Content-Type": "application/zip"})
        answer = connection.getresponse()
        if not 200 <= answer.status < 300:
            raise HTTPException(f"{url} answers {answer.status} {answer.reason}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/object_upload.py DIRECTORY URL")
    put(sys.argv[2], stream_zip(walk(sys.argv[1]), compression="deflate"))
