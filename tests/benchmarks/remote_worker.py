"""One contender's turn at a remote archive: what it reads, in a process and an environment of its own.

    python remote_worker.py CONTENDER JOB URL SECONDS

Prints as JSON the seconds, and how many members and bytes were read, and stops at `SECONDS`.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PIECE = 1 << 18
Opened = Iterator[zipfile.ZipFile]


@contextmanager
def ours(url: str, **options: Any) -> Opened:
    from zipstream_adapter.remote import open_remote

    with open_remote(url, **options) as archive:
        yield archive


@contextmanager
def fsspec_http(url: str, **options: Any) -> Opened:
    fsspec: Any = importlib.import_module("fsspec")

    with fsspec.open(url, **options) as file, zipfile.ZipFile(file) as archive:
        yield archive


@contextmanager
def s3fs(url: str) -> Opened:
    library: Any = importlib.import_module("s3fs")

    endpoint, _, key = url.partition("/bucket/")
    files = library.S3FileSystem(
        key="a", secret="b", client_kwargs={"endpoint_url": endpoint, "region_name": "us-east-1"}
    )
    with files.open(f"bucket/{key}") as file, zipfile.ZipFile(file) as archive:
        yield archive


@contextmanager
def remotezip(url: str) -> Opened:
    library: Any = importlib.import_module("remotezip")
    with library.RemoteZip(url) as archive:
        yield archive


CONTENDERS: dict[str, Callable[[str], Any]] = {
    "ours, window=4": lambda url: ours(url),
    "ours, window=1": lambda url: ours(url, window=1),
    "fsspec http": lambda url: fsspec_http(url),
    "fsspec http, no cache": lambda url: fsspec_http(url, cache_type="none"),
    "s3fs": s3fs,
    "remotezip": remotezip,
}


def members(archive: zipfile.ZipFile, job: str) -> list[str]:
    """Which members the job reads."""
    if job == "list":
        return archive.namelist()[:0]
    return [job] if job in archive.NameToInfo else archive.namelist()


def main() -> None:
    contender, job, url, seconds = sys.argv[1:]
    # What it takes to import everything, and to make a first connection, is not what is measured.
    with CONTENDERS[contender](url.rpartition("/")[0] + "/warm") as archive:
        archive.namelist()
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.monotonic()
    read = size = 0
    with CONTENDERS[contender](url) as archive:
        for name in members(archive, job):
            with archive.open(name) as member:
                while data := member.read(PIECE):
                    size += len(data)
            read += 1
            if time.monotonic() - begun > float(seconds):
                break
        took = time.monotonic() - begun
    print(json.dumps({"seconds": took, "members": read, "bytes": size}), flush=True)


if __name__ == "__main__":
    main()
