"""The example that serves a bucket, under gunicorn before moto's S3, asked by curl."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.buckets import BUCKET, KEYS, Bucket, need_obstore, serving
from tests.support.loops import module
from tests.support.oracles import members, seven_zip, unzip
from tests.support.servers import EXAMPLES, Server, gunicorn, serve
from tests.test_examples_web import curl, download, kill_midway

need_obstore()
module("werkzeug")
BIG = random.Random(9).randbytes(24 << 20)
OBJECTS = {"photos/a note.txt": b"some text\n" * 100, "photos/sub/Grüße.txt": "Grüße\n".encode(), "photos/z.bin": BIG}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        for key, data in {**OBJECTS, "other.txt": b"not for you"}.items():
            told = {"ChecksumAlgorithm": "CRC32"} if key != "photos/sub/Grüße.txt" else {}
            made.client().put_object(Bucket=BUCKET, Key=key, Body=data, **told)
        yield made


def credentials(bucket: Bucket) -> dict[str, str]:
    known = {"AWS_ENDPOINT_URL": bucket.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    return {**known, **{f"AWS_{name.upper()}": value for name, value in KEYS.items()}}


@pytest.fixture
def server(bucket: Bucket, tmp_path: Path) -> Iterator[Server]:
    environment = {"BUCKET": BUCKET, "PREFIX": "photos", "PYTHONPATH": str(EXAMPLES), **credentials(bucket)}
    with serve(gunicorn("bucket_download:app", "gthread"), tmp_path, environment) as served:
        yield served


def test_the_objects_are_one_archive(server: Server, tmp_path: Path) -> None:
    whole = download(server, tmp_path / "a.zip")
    assert unzip(tmp_path / "a.zip") and seven_zip(tmp_path / "a.zip")
    assert members(whole) == {key.removeprefix("photos/"): data for key, data in OBJECTS.items()}
    head = curl("--head", server.url).stdout.decode().lower()
    assert f"content-length: {len(whole)}\r\n" in head
    assert 'filename="photos.zip"' in head or "filename=photos.zip" in head


def test_a_killed_download_is_resumed(server: Server, bucket: Bucket, tmp_path: Path) -> None:
    whole = download(server, tmp_path / "whole.zip")
    target = tmp_path / "a.zip"
    had = kill_midway(server, target)
    assert 0 < had < len(whole)
    bucket.asked.clear()
    bucket.ranges.clear()
    done = curl("-C", "-", "-o", target, "-w", "%{http_code} %{size_download}", server.url)
    assert done.stdout.decode() == f"206 {len(whole) - had}", done.stderr
    assert target.read_bytes() == whole
    # Of the objects, the one that was under way is asked for, and from its place on.
    assert len(bucket.ranges) == 1 and bucket.ranges[0].startswith("bytes=")


def test_objects_that_were_replaced_are_another_archive(server: Server, bucket: Bucket, tmp_path: Path) -> None:
    first = curl("--head", server.url).stdout.decode().lower()
    bucket.client().put_object(Bucket=BUCKET, Key="photos/z.bin", Body=bytes(len(BIG)))
    second = curl("--head", server.url).stdout.decode().lower()
    tags = [next(line for line in head.splitlines() if line.startswith("etag:")) for head in (first, second)]
    assert tags[0] != tags[1]
    assert members(download(server, tmp_path / "a.zip"))["z.bin"] == bytes(len(BIG))


def test_legacy_code_pushes_an_archive(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "big").write_bytes(BIG)
    (tmp_path / "sub" / "note.txt").write_bytes(b"text")
    command = [sys.executable, str(EXAMPLES / "legacy_object.py"), str(tmp_path), f"s3://{BUCKET}/a.zip"]
    environment = {**os.environ, **credentials(bucket)}
    subprocess.run(command, env=environment, capture_output=True, timeout=100, check=True)
    whole = bucket.read("a.zip")
    assert members(whole) == {
        "contents.csv": f"big,{len(BIG)}\r\nsub/note.txt,4\r\n".encode(),
        "files/big": BIG,
        "files/sub/note.txt": b"text",
    }
    (tmp_path / "a.zip").write_bytes(whole)
    assert unzip(tmp_path / "a.zip") and seven_zip(tmp_path / "a.zip")
    assert bucket.unfinished() == []
    os.utime(tmp_path / "sub" / "note.txt", (0, 0))  # zipfile refuses dates before 1980
    failed = subprocess.run(command, env=environment, capture_output=True, timeout=100, check=False)
    assert failed.returncode and b"1980" in failed.stderr
    assert bucket.read("a.zip") == whole
    assert bucket.unfinished() == []
