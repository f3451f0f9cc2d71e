"""Use code that was written for `zipfile.ZipFile` with an archive in a bucket or behind a URL.

    python examples/remote_component.py s3://bucket/archive.zip
    python examples/remote_component.py https://host/archive.zip reports/2026.csv > 2026.csv

`listing` and `component` do not depend on where the archive is. Even from a very large archive, only the central
directory and the requested member are fetched. Region, endpoint and credentials come from the environment (AWS_REGION,
…).
"""

import shutil
import sys
from collections.abc import Iterator
from typing import BinaryIO
from zipfile import ZipFile

from zipstream_adapter.remote import open_remote


def listing(archive: ZipFile) -> Iterator[str]:
    """List any ZipFile. Stands for existing code."""
    for info in archive.infolist():
        yield f"{info.file_size:>12,} {info.filename}"


def component(archive: ZipFile, name: str, out: BinaryIO) -> None:
    """Copy one member of any ZipFile to `out`. Stands for existing code."""
    with archive.open(name) as member:
        shutil.copyfileobj(member, out)


def main(url: str, name: str | None = None) -> None:
    with open_remote(url) as archive:  # instead of ZipFile(path)
        if name is None:
            print(*listing(archive), sep="\n")
        else:
            component(archive, name, sys.stdout.buffer)


if __name__ == "__main__":
    main(*sys.argv[1:])
