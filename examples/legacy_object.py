"""Push an archive into a bucket with code that was written for `zipfile.ZipFile` and a local file.

    python examples/legacy_object.py some/directory s3://bucket/archive.zip

`export` does not know where the archive goes. Parts are sent while it writes, which takes no disk, and up to 128 MiB
of memory. The object appears once the archive is whole. If `export` fails, nothing is stored, and no unfinished upload
is left. Region, endpoint and credentials come from the environment (AWS_REGION, …), and AWS_ALLOW_HTTP=true for a local
server, too.
"""

import csv
import io
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from zipstream_adapter.remote import open_object


def export(archive: ZipFile, root: Path) -> None:
    """Export a directory to any ZipFile. Stands for existing code."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    with archive.open("contents.csv", "w") as member, io.TextIOWrapper(member, "utf-8", newline="") as text:
        csv.writer(text).writerows((path.relative_to(root).as_posix(), path.stat().st_size) for path in files)
    for path in files:
        archive.write(path, f"files/{path.relative_to(root).as_posix()}")


def main(root: str, url: str) -> None:
    with open_object(url) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:  # instead of ZipFile(path, "w")
        export(archive, Path(root))
    print(url, file.uploaded)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/legacy_object.py DIRECTORY URL")
    main(*sys.argv[1:])
