"""One contender's turn at a remote archive: what it reads, in a process and an environment of its own.

    python remote_worker.py CONTENDER JOB URL SECONDS

Prints as JSON the seconds, and how many members and bytes were read, and stops at `SECONDS`.
"""

from __future__ import annotations

import importlib
import io
import json
import random
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

    endpoint, key = place(url)
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


def place(url: str) -> tuple[str, str]:
    """Endpoint and key."""
    endpoint, _, key = url.partition("/bucket/")
    return endpoint, key


def s3_client(endpoint: str) -> Any:
    boto3: Any = importlib.import_module("boto3")
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=endpoint, **keys)


@contextmanager
def smart_open(url: str) -> Opened:
    library: Any = importlib.import_module("smart_open")
    endpoint, key = place(url)
    parameters = {"client": s3_client(endpoint)}
    with (
        library.open(f"s3://bucket/{key}", "rb", transport_params=parameters) as file,
        zipfile.ZipFile(file) as archive,
    ):
        yield archive


@contextmanager
def boto3(url: str) -> Opened:
    endpoint, key = place(url)
    whole = s3_client(endpoint).get_object(Bucket="bucket", Key=key)["Body"].read()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        yield archive


CONTENDERS: dict[str, Callable[[str], Any]] = {
    "ours, window=4": lambda url: ours(url),
    "ours, window=1": lambda url: ours(url, window=1),
    "fsspec http": lambda url: fsspec_http(url),
    "fsspec http, no cache": lambda url: fsspec_http(url, cache_type="none"),
    "s3fs": s3fs,
    "remotezip": remotezip,
    "smart_open": smart_open,
    "boto3": boto3,
}


def members(archive: zipfile.ZipFile, job: str) -> list[str]:
    """Which members the job reads."""
    if job == "list":
        return archive.namelist()[:0]
    if job == "first":
        return ["1.bin"]
    if job == "random":
        return random.Random(2).sample(archive.namelist(), 1000)
    return [job] if job in archive.NameToInfo else archive.namelist()


def pieces(archive: zipfile.ZipFile, contender: str, job: str) -> Iterator[tuple[int, int]]:
    """Yield (members read, bytes) of what the job reads."""
    names = members(archive, job)
    if job == "random" and contender == "ours, window=4":
        from zipstream_adapter.remote import read_members

        yield from ((1, len(data)) for _, data in read_members(archive, names))
        return
    for name in names:
        with archive.open(name) as member:
            if job == "first":
                yield 1, len(member.read(1 << 16))
                return
            while data := member.read(PIECE):
                yield 0, len(data)
        yield 1, 0


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
        for number, length in pieces(archive, contender, job):
            read += number
            size += length
            if time.monotonic() - begun > float(seconds):
                break
        took = time.monotonic() - begun
    print(json.dumps({"seconds": took, "members": read, "bytes": size}), flush=True)


if __name__ == "__main__":
    main()
