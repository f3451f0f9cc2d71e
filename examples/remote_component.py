"""Code that was written for `zipfile.ZipFile`, its archive in a bucket or behind a URL.

    python examples/remote_component.py s3://bucket/archive.zip
    python examples/remote_component.py https://host/archive.zip reports/2026.csv > 2026.csv

`listing` and `component` know nothing of where the archive lies. Of one of many gigabytes, its directory is fetched,
and the member that is read. Region, endpoint and credentials come from the environment (AWS_REGION, …).
"""

import shutil
import sys
from collections.abc import Iterator
from typing import BinaryIO
from zipfile import ZipFile

from zipstream_adapter.remote import open_remote


def listing(archive: ZipFile) -> Iterator[str]:
    """The old code: any ZipFile will do for it."""
    for info in archive.infolist():
        yield f"{info.file_size:>12,} {info.filename}"


def component(archive: ZipFile, name: str, out: BinaryIO) -> None:
    """Likewise."""
    with archive.open(name) as member:
        shutil.copyfileobj(member, out)


def main(url: str, name: str | None = None) -> None:
    with open_remote(url) as archive:  # was: ZipFile(path)
        if name is None:
            print(*listing(archive), sep="\n")
        else:
            component(archive, name, sys.stdout.buffer)


if __name__ == "__main__":
    main(*sys.argv[1:])
