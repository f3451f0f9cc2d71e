"""Large parts, which a worker sends while it makes them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.buckets import PART, Bucket, need_obstore, serving
from tests.support.peaks import PEAK, PEAK_OF_A_PART
from zipstream_adapter import Entry, ZipLayout
from zipstream_adapter.errors import SourceChangedError
from zipstream_adapter.remote import upload_parts
from zipstream_adapter.remote.uploading import s3_multipart
from zipstream_adapter.remote.uploading.upload_parts import make_and_put

need_obstore()
MIB = 1 << 20
DATA = [random.Random(number).randbytes(9 * MIB) for number in range(2)]
LAYOUT = ZipLayout([Entry(f"{number}.bin", data) for number, data in enumerate(DATA)])
PARTS = -(-LAYOUT.size // PART)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr("zipstream_adapter.remote.uploading.upload_parts.MOST_HELD", MIB)
    with serving() as made:
        yield made
    s3_multipart._without_md5.clear()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def with_md5(bucket: Bucket) -> list[bool]:
    """Of each part that was sent, whether its MD5 came with it."""
    return ["HTTP_CONTENT_MD5" in each for each in bucket.headers if "partNumber" in each["QUERY_STRING"]]


def test_a_part_is_sent_once(bucket: Bucket, pool: ThreadPoolExecutor) -> None:
    upload_parts(bucket.store(), "a.zip", LAYOUT, pool, part_size=PART)
    assert bucket.read("a.zip") == b"".join(LAYOUT.iter_range())
    assert sorted(bucket.parts_asked()) == list(range(1, PARTS + 1))
    assert with_md5(bucket) == [False] * (PARTS - 1) + [LAYOUT.size % PART <= MIB]


@pytest.mark.parametrize("status", [503, -503])
def test_a_part_is_made_anew_for_each_try(bucket: Bucket, pool: ThreadPoolExecutor, status: int) -> None:
    left = [status, status]
    bucket.rules.append(lambda method, path, query: left.pop() if left and "partNumber=2&" in query else None)
    upload_parts(bucket.store(), "a.zip", LAYOUT, pool, part_size=PART)
    assert bucket.read("a.zip") == b"".join(LAYOUT.iter_range())
    assert Counter(bucket.parts_asked())[2] == 3
    assert bucket.unfinished() == []


def test_an_error_of_a_source_is_none_of_the_connection(bucket: Bucket, pool: ThreadPoolExecutor) -> None:
    """botocore repeats requests after an OSError."""
    calls: list[int] = []

    def failing() -> Iterator[bytes]:
        calls.append(1)
        yield bytes(12 * MIB)
        raise ConnectionResetError("the source broke")

    layout = ZipLayout([Entry("a", failing, size=30 * MIB, crc32=1)])
    with pytest.raises(ConnectionResetError, match="the source broke") as caught:
        upload_parts(bucket.store(), "a.zip", layout, pool, part_size=2 * PART, max_concurrency=1)
    assert "entry 'a'" in caught.value.__notes__[0]
    assert len(calls) == 2  # the first part, and the second
    assert Counter(bucket.parts_asked())[2] <= 1
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


def test_a_store_whose_etags_are_no_md5_verifies_the_parts(bucket: Bucket, pool: ThreadPoolExecutor) -> None:
    bucket.hides_md5 = True
    upload_parts(bucket.store(), "a.zip", LAYOUT, pool, part_size=PART, max_concurrency=1)
    assert bucket.read("a.zip") == b"".join(LAYOUT.iter_range())
    assert with_md5(bucket) == [False] + [True] * PARTS
    assert bucket.parts_asked() == [1, *range(1, PARTS + 1)]


def test_data_that_differs_the_second_time_is_refused(bucket: Bucket) -> None:
    bucket.hides_md5 = True
    given = iter([b"a", b"b"])
    layout = ZipLayout([Entry("a", lambda: iter([next(given) * (4 * MIB)]), size=4 * MIB, crc32=1)])
    part = layout.parts(2 * MIB)[0]
    upload = s3_multipart.S3Multipart(bucket.store(), "a.zip")
    with pytest.raises(SourceChangedError, match="gave other data when it was made again"):
        make_and_put(part, upload.target(1))


def test_checksums_are_found_before_the_request(bucket: Bucket, pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    for number, data in enumerate(DATA):
        (tmp_path / str(number)).write_bytes(data)
    layout = ZipLayout([tmp_path / "0", tmp_path / "1"])
    upload_parts(bucket.store(), "a.zip", layout, pool, part_size=PART)
    assert bucket.read("a.zip") == b"".join(layout.iter_range())


_PROBE = (
    PEAK
    + """
from obstore.store import S3Store

url, mebibytes = sys.argv[1], int(sys.argv[2])
keys = {"access_key_id": "test", "secret_access_key": "secret", "region": "us-east-1"}
store = S3Store("bucket", endpoint=url, client_options={"allow_http": True, "timeout": "10min"}, **keys)
"""
    + PEAK_OF_A_PART
)


def test_a_worker_does_not_hold_a_large_part() -> None:
    pytest.importorskip("resource", reason="the peak is not told here")
    with serving() as made:
        command = [sys.executable, "-c", _PROBE, made.url, "100"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == 0, done.stderr
        assert made.objects()["a.zip"] > 100 * MIB
    assert int(done.stdout) < 24 * MIB
