"""Memory does not grow with what is uploaded: measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.buckets import PART, need_obstore, serving
from tests.support.peaks import PEAK

need_obstore()
pytest.importorskip("resource", reason="the peak is not told here")
MIB = 1 << 20

_PROBE = (
    PEAK
    + """
import asyncio
from obstore.store import S3Store
from zipstream_adapter.remote.uploading.upload import upload_zip
from zipstream_adapter.remote.uploading.upload_async import upload_zip_async

url, way, blocks, part_size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
keys = {"access_key_id": "test", "secret_access_key": "secret", "region": "us-east-1"}
store = S3Store("bucket", endpoint=url, client_options={"allow_http": True, "timeout": "10min"}, **keys)

def chunks(count):
    for number in range(count):
        yield number.to_bytes(8, "big") * 131072  # a fresh MiB each time

def upload(count):
    options = {"part_size": part_size, "max_concurrency": 4}
    entries = iter([("a", chunks(count))])
    if way == "async":
        return asyncio.run(upload_zip_async(store, "a.zip", entries, **options))
    return upload_zip(store, "a.zip", entries, **options)

upload(1)
before = peak()
upload(blocks)
sys.stdout.write(str(peak() - before))
"""
)


def growth(way: str, mebibytes: int, part_size: int) -> int:
    """Bytes by which the peak grows while an archive of that size is uploaded."""
    with serving() as bucket:
        command = [sys.executable, "-c", _PROBE, bucket.url, way, str(mebibytes), str(part_size)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        assert bucket.objects()["a.zip"] > mebibytes * MIB
    return int(done.stdout)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_no_more_is_held_than_the_parts_on_their_way(way: str) -> None:
    assert growth(way, 160, PART) < PART * 2 * 4 + 24 * MIB


@pytest.mark.large
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_gibibyte_takes_no_more_than_that(way: str) -> None:
    assert growth(way, 1024, 8 * MIB) < 8 * MIB * 2 * 4 + 24 * MIB
