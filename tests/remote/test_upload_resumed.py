"""Uploads by parts that are interrupted, and go on."""

from __future__ import annotations

import json
import pickle
import random
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.buckets import PART, Bucket, need_obstore, refuse, serving
from tests.support.part_uploads import StopError, interrupted
from zipstream_adapter import Entry, ZipLayout
from zipstream_adapter.errors import (
    LimitError,
    OptionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SourceChangedError,
)
from zipstream_adapter.remote import PartsProgress, UploadToken, abort_upload, upload_parts

need_obstore()
DATA = [random.Random(number).randbytes(9 << 20) for number in range(3)]
LAYOUT = ZipLayout([Entry(f"{number}.bin", data) for number, data in enumerate(DATA)])
PARTS = -(-LAYOUT.size // PART)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def _accepted(bucket: Bucket) -> Counter[int]:
    """How often the store has taken each part."""
    numbers = (re.search(r"partNumber=(\d+)", query) for method, _, query in bucket.answered if method == "PUT")
    return Counter(int(found[1]) for found in numbers if found)


@pytest.mark.parametrize("stop", range(PARTS + 1))
def test_an_upload_goes_on_after_each_part(bucket: Bucket, pool: ThreadPoolExecutor, stop: int) -> None:
    token = interrupted(bucket.store(), "a.zip", LAYOUT, pool, PART, stop)
    assert bucket.objects() == {}
    assert bucket.unfinished() == ["a.zip"]
    # Parts that were on their way have ended, and count.
    done: list[PartsProgress] = []
    again = [pickle.loads(pickle.dumps(token)), UploadToken(*json.loads(json.dumps(token)))][stop % 2]
    uploaded = upload_parts(bucket.store(), "a.zip", LAYOUT, pool, resume=again, on_progress=done.append)
    assert bucket.read("a.zip") == b"".join(LAYOUT.iter_range())
    assert uploaded.size == LAYOUT.size
    assert _accepted(bucket) == dict.fromkeys(range(1, PARTS + 1), 1)
    assert done[0].parts >= stop
    assert done[-1][:4] == (PARTS, LAYOUT.size, PARTS, LAYOUT.size)
    assert bucket.unfinished() == []


def test_a_failure_aborts_unless_it_is_to_be_kept(bucket: Bucket, pool: ThreadPoolExecutor) -> None:
    def interrupt(state: PartsProgress) -> None:
        if state.parts == 2:
            raise StopError

    with pytest.raises(StopError):
        upload_parts(bucket.store(), "a.zip", LAYOUT, pool, part_size=PART, on_progress=interrupt)
    assert bucket.unfinished() == []


def test_an_upload_that_was_kept_is_given_up(bucket: Bucket, pool: ThreadPoolExecutor) -> None:
    bucket.rules.append(refuse(403, "PUT", "partNumber=3&"))
    with pytest.raises(RemotePermissionError, match="403") as caught:
        upload_parts(bucket.store(), "a.zip", LAYOUT, pool, part_size=PART, keep=True)
    token: UploadToken = caught.value.token  # type: ignore[attr-defined]
    assert token.upload_id in caught.value.__notes__[0]
    assert bucket.unfinished() == ["a.zip"]
    abort_upload(bucket.store(), token)
    assert bucket.unfinished() == []
    abort_upload(bucket.store(), token)
    with pytest.raises(RemoteNotFoundError, match="there is no upload"):
        upload_parts(bucket.store(), "a.zip", LAYOUT, pool, resume=token)


@pytest.mark.parametrize(("failures", "fails"), [(2, False), (3, True)])
def test_a_part_is_handed_to_a_worker_again(
    bucket: Bucket, pool: ThreadPoolExecutor, failures: int, fails: bool
) -> None:
    left = [503] * failures

    def rule(method: str, path: str, query: str) -> int | None:
        return left.pop() if left and method == "PUT" and "partNumber=2&" in query else None

    bucket.rules.append(rule)
    store = bucket.store(retry_config={"max_retries": 0})
    if fails:
        with pytest.raises(RemoteError, match="503"):
            upload_parts(store, "a.zip", LAYOUT, pool, part_size=PART)
        assert bucket.objects() == {}
    else:
        upload_parts(store, "a.zip", LAYOUT, pool, part_size=PART)
        assert bucket.read("a.zip") == b"".join(LAYOUT.iter_range())
    assert bucket.unfinished() == []


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"path": "b.zip"}, OptionError, "give the same path"),
        ({"part_size": 2 * PART}, OptionError, "leave part_size out"),
        ({"size": 7}, SourceChangedError, "another archive"),
        ({"etag": "x"}, SourceChangedError, "another archive"),
    ],
)
def test_a_token_of_something_else_is_refused(
    bucket: Bucket, pool: ThreadPoolExecutor, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    token = UploadToken("a.zip", "id", PART, LAYOUT.size, LAYOUT.etag)._replace(**changes)
    with pytest.raises(error, match=said):
        upload_parts(bucket.store(), "a.zip", LAYOUT, pool, part_size=PART, resume=token)
    with pytest.raises(OptionError, match="resume="):
        upload_parts(bucket.store(), "a.zip", LAYOUT, pool, resume="id")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="tries=0"):
        upload_parts(bucket.store(), "a.zip", LAYOUT, pool, tries=0)
    assert bucket.asked == []


def test_an_archive_over_the_limits_is_refused_at_once(bucket: Bucket, pool: ThreadPoolExecutor) -> None:
    for size, part, said in (((5 << 40), 5 << 30, "at most 5497558138880"), (60_000 << 20, PART, "10000 parts")):
        layout = ZipLayout([Entry("a", lambda: iter(()), size=size, crc32=0)])
        with pytest.raises(LimitError, match=said):
            upload_parts(bucket.store(), "a.zip", layout, pool, part_size=part)
    assert bucket.asked == []
