"""An archive uploaded while it is made, by a client that reads a file object: here http.client.

    python examples/object_upload.py some/directory http://127.0.0.1:8000/archive.zip

Works with every server that takes a PUT in chunks, such as WebDAV and artifact stores; `requests` takes the archive in
the same way, and `httpx` as ``content=(chunk for chunk in archive)``. Its length is not known beforehand, and nothing
of it is kept. If a file fails midway, the connection is dropped before the last chunk, which tells the server that the
body is incomplete; and this fails, too.
"""

import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from zipstream_adapter import ZipStream, stream_zip, walk

BLOCK = 1 << 16


def put(url: str, archive: ZipStream) -> None:
    """PUT `archive` to `url`. Closing the connection on the way out is what breaks a transfer that failed."""
    target = urlsplit(url)
    kind = HTTPSConnection if target.scheme == "https" else HTTPConnection
    with archive, closing(kind(target.netloc, timeout=60, blocksize=BLOCK)) as connection:
        # What has a read() and no known length is sent in chunks ("Transfer-Encoding: chunked").
        connection.request("PUT", target.path, body=archive, headers={"Content-Type": "application/zip"})
        answer = connection.getresponse()
        if not 200 <= answer.status < 300:
            raise HTTPException(f"{url} answers {answer.status} {answer.reason}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/object_upload.py DIRECTORY URL")
    put(sys.argv[2], stream_zip(walk(sys.argv[1]), compression="deflate"))
