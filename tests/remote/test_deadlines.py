"""Deadlines of listings, entries and uploads: servers that do not answer, workers that do not end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest

from tests.support.buckets import PART, Bucket, need_obstore, serving
from tests.support.executors import interrupted
from zipstream_adapter import Entry, ZipLayout, stream_zip
from zipstream_adapter.errors import OptionError, RemoteTimeoutError
from zipstream_adapter.remote import upload_parts, upload_zip, upload_zip_async, walk_store
from zipstream_adapter.remote.uploading import upload_async
from zipstream_adapter.remote.waiting import raise_late

need_obstore()
DATA = bytes(12 << 20)
LAYOUT = ZipLayout([Entry("a", DATA)])


class Stalls:
    """A rule: requests for which `holds` is true are answered only after the test. Others are answered."""

    def __init__(self, holds: Callable[[str, str, str], bool]) -> None:
        self.holds = holds
        self.over = threading.Event()
        self.begun = threading.Event()

    def __call__(self, method: str, path: str, query: str) -> None:
        if self.holds(method, path, query):
            self.begun.set()
            self.over.wait(60)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        made.client().put_object(Bucket="bucket", Key="from/a", Body=b"data")
        yield made
        for rule in made.rules:
            if isinstance(rule, Stalls):
                rule.over.set()


def stall(bucket: Bucket, holds: Callable[[str, str, str], bool]) -> Stalls:
    rule = Stalls(holds)
    bucket.rules.append(rule)
    return rule


def is_listing(method: str, path: str, query: str) -> bool:
    return method == "GET" and "list-type" in query


def test_a_listing_ends_at_its_deadline(bucket: Bucket) -> None:
    stall(bucket, is_listing)
    with pytest.raises(RemoteTimeoutError, match=r"the objects under 'from/' in S3Store.*deadline \(0.5 s\)"):
        next(walk_store(bucket.store(), "from", deadline=0.5))


@pytest.mark.parametrize("number", [0, 1])
def test_an_entry_ends_at_its_deadline(bucket: Bucket, number: int) -> None:
    """The first request is for the size, the second for the checksum."""
    seen: list[str] = []

    def holds(method: str, path: str, query: str) -> bool:
        seen.append(method)
        return len(seen) > number

    stall(bucket, holds)
    with pytest.raises(RemoteTimeoutError, match=r"'from/a' in S3Store.*deadline \(0.5 s\)"):
        Entry.from_store(bucket.store(), "from/a", deadline=0.5)


@pytest.mark.parametrize("walked", [False, True])
def test_a_read_of_an_entry_ends_at_its_deadline(bucket: Bucket, walked: bool) -> None:
    store = bucket.store()
    entry = next(walk_store(store, "from", deadline=5)) if walked else Entry.from_store(store, "from/a", deadline=5)
    assert b"".join(stream_zip([entry]))
    stall(bucket, lambda method, path, query: method == "GET")
    with pytest.raises(RemoteTimeoutError, match=r"deadline \(5 s\)"):
        b"".join(stream_zip([entry]))


def test_checksums_of_a_walk_end_at_their_deadline(bucket: Bucket) -> None:
    stall(bucket, lambda method, path, query: method == "HEAD")
    with pytest.raises(RemoteTimeoutError, match="in S3Store"):
        list(walk_store(bucket.store(), "from", deadline=0.5))


def test_an_interrupt_ends_a_listing_at_once(bucket: Bucket) -> None:
    rule = stall(bucket, is_listing)
    with interrupted(rule.begun.is_set):
        next(walk_store(bucket.store(), "from"))
    assert not rule.over.is_set()


@pytest.mark.parametrize(("method", "query"), [("POST", "uploads"), ("PUT", "partNumber=2&"), ("POST", "uploadId")])
@pytest.mark.parametrize("kept", [False, True])
def test_an_upload_by_workers_ends_at_its_deadline(
    bucket: Bucket, method: str, query: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = stall(bucket, lambda asked, path, given: asked == method and query in given)

    def late(where: str) -> NoReturn:
        rule.over.set()  # running parts are waited for
        raise_late(where)

    monkeypatch.setattr("zipstream_adapter.remote.uploading.upload_parts.raise_late", late)
    said = pytest.raises(RemoteTimeoutError, match=r"'a.zip' in S3Store.*deadline \(2 s\)")
    with ThreadPoolExecutor(2) as pool, said as caught:
        upload_parts(bucket.store(), "a.zip", LAYOUT, pool, part_size=PART, deadline=2, keep=kept)
    token = getattr(caught.value, "token", None)
    if rule.begun.is_set():  # the requests before it were answered in time
        assert (token is not None) == (kept and query != "uploads")
    rule.over.set()
    bucket.rules.clear()
    if token is not None and method == "PUT":
        with ThreadPoolExecutor(2) as pool:
            upload_parts(bucket.store(), "a.zip", LAYOUT, pool, resume=token)
        assert bucket.read("a.zip") == b"".join(LAYOUT.iter_range())
        assert bucket.unfinished() == []
    elif not kept and method == "PUT":
        assert (bucket.unfinished(), list(bucket.objects())) == ([], ["from/a"])


def test_an_upload_that_is_begun_too_late_is_aborted(bucket: Bucket) -> None:
    rule = stall(bucket, lambda method, path, query: method == "POST" and "uploads" in query)
    with ThreadPoolExecutor(2) as pool, pytest.raises(RemoteTimeoutError):
        upload_parts(bucket.store(), "a.zip", LAYOUT, pool, part_size=PART, deadline=1)
    rule.over.set()
    for thread in threading.enumerate():
        if thread.name == "zipstream-adapter-deadline":
            thread.join(30)
    assert [method for method, _, _ in bucket.asked].count("DELETE") == 1
    assert bucket.unfinished() == []


@pytest.mark.parametrize("size", [100, 12 << 20])
async def test_an_upload_on_an_event_loop_ends_at_its_deadline(
    bucket: Bucket, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = stall(bucket, lambda method, path, query: method == "PUT")
    stop = upload_async._AsyncPartStream.stop

    def stop_it(parts: Any) -> None:
        rule.over.set()  # parts on their way are waited for
        stop(parts)

    monkeypatch.setattr(upload_async._AsyncPartStream, "stop", stop_it)
    with pytest.raises(RemoteTimeoutError, match=r"'a.zip' in S3Store.*deadline \(2 s\)"):
        await upload_zip_async(bucket.store(), "a.zip", [("a", DATA[:size])], part_size=PART, deadline=2)
    if size > PART:
        assert (bucket.unfinished(), list(bucket.objects())) == ([], ["from/a"])


async def test_time_that_suffices_changes_nothing(bucket: Bucket) -> None:
    store: Any = bucket.store()
    with ThreadPoolExecutor(2) as pool:
        upload_parts(store, "a.zip", LAYOUT, pool, part_size=PART, deadline=300)
    uploaded = await upload_zip_async(store, "b.zip", LAYOUT, part_size=PART, deadline=300)
    assert bucket.read("a.zip") == bucket.read("b.zip") == b"".join(LAYOUT.iter_range())
    assert uploaded.size == LAYOUT.size
    assert upload_zip(store, "c.zip", LAYOUT, deadline=300).size == LAYOUT.size


@pytest.mark.parametrize("deadline", [0, -1, "1", True])
async def test_deadlines_that_are_none_are_refused(bucket: Bucket, deadline: Any) -> None:
    store = bucket.store()
    with pytest.raises(OptionError, match="deadline="):
        Entry.from_store(store, "from/a", deadline=deadline)
    with pytest.raises(OptionError, match="deadline="):
        walk_store(store, deadline=deadline)
    with pytest.raises(OptionError, match="deadline="):
        await upload_zip_async(store, "a.zip", [], deadline=deadline)
    with ThreadPoolExecutor(1) as pool, pytest.raises(OptionError, match="deadline="):
        upload_parts(store, "a.zip", LAYOUT, pool, deadline=deadline)
    assert bucket.asked == []
