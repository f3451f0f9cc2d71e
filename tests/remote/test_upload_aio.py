"""Archives uploaded on an event loop: whole, or nothing at all, however it ends."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.buckets import PART, Bucket, need_obstore, refuse, serving
from tests.support.servers import wait_for
from zipstream_adapter import (
    AsyncZipStream,
    Entry,
    EntryTypeError,
    LimitError,
    OptionError,
    RemoteError,
    StreamStateError,
    ZipLayout,
    stream_zip,
)
from zipstream_adapter.remote.uploading.limits import S3_LIMITS
from zipstream_adapter.remote.uploading.upload_async import upload_zip_async

obstore = need_obstore()
MIB = 1 << 20
DATA = random.Random(7).randbytes(MIB)
DATE = (2026, 1, 2, 3, 4, 6)
HALVES: dict[str, Any] = {"part_size": PART, "max_concurrency": 2}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


class Oops(Exception):
    pass


class Source:
    """`count` MiB on the loop, and what became of them. After `fails_after` MiB it fails, or waits for ever."""

    def __init__(self, count: int = 17, *, fails_after: int = -1, stays_after: int = -1) -> None:
        self.count, self.fails_after, self.stays_after = count, fails_after, stays_after
        self.waits = asyncio.Event()
        self.closed = 0

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            for number in range(self.count):
                if number == self.fails_after:
                    raise Oops(f"after {number} MiB")
                if number == self.stays_after:
                    self.waits.set()
                    await asyncio.sleep(3600)
                await asyncio.sleep(0)
                yield DATA
        finally:
            self.closed += 1

    def entry(self) -> Entry:
        return Entry("big.bin", self.__call__, modified=DATE)


def expected(count: int = 17) -> bytes:
    return b"".join(stream_zip([Entry("big.bin", [DATA] * count, modified=DATE)]))


async def test_what_is_uploaded_is_what_is_streamed(bucket: Bucket) -> None:
    source = Source()
    done = await upload_zip_async(bucket.store(), "a.zip", [source.entry()], part_size=PART)
    assert bucket.read("a.zip") == expected()
    assert done.size == len(expected())
    assert sorted(bucket.parts_asked()) == [1, 2, 3, 4]
    assert source.closed == 1


async def test_entries_streams_and_layouts(bucket: Bucket) -> None:
    async def entries() -> AsyncIterator[Entry]:
        yield Source(1).entry()

    store = bucket.store()
    await upload_zip_async(store, "entries.zip", entries())
    await upload_zip_async(store, "stream.zip", AsyncZipStream([Source(1).entry()]))
    assert bucket.read("entries.zip") == bucket.read("stream.zip") == expected(1)
    layout = ZipLayout([Entry(f"{number}", DATA, modified=DATE) for number in range(7)])
    await upload_zip_async(store, "layout.zip", layout, part_size=PART)
    assert bucket.read("layout.zip") == b"".join(layout.iter_range())


async def test_what_cannot_be_is_refused(bucket: Bucket) -> None:
    store = bucket.store()
    begun = AsyncZipStream([("a", b"")])
    await anext(begun)
    with pytest.raises(StreamStateError, match="was begun before"):
        await upload_zip_async(store, "a.zip", begun)
    await begun.aclose()
    with pytest.raises(OptionError, match="already has its options"):
        await upload_zip_async(store, "a.zip", ZipLayout([]), level=1)
    with pytest.raises(EntryTypeError, match="a ZipStream is read on a thread"):
        await upload_zip_async(store, "a.zip", stream_zip([]))  # type: ignore[arg-type]
    assert bucket.objects() == {}


@pytest.mark.parametrize("after", [0, 1, 4, 5, 6, 9, 10, 11, 15, 16])
async def test_a_source_that_fails_leaves_nothing(bucket: Bucket, after: int) -> None:
    source = Source(fails_after=after)
    with pytest.raises(Oops) as caught:
        await upload_zip_async(bucket.store(), "a.zip", [source.entry()], **HALVES)
    assert "entry 'big.bin'" in caught.value.__notes__[0]
    assert (bucket.unfinished(), bucket.objects(), source.closed) == ([], {}, 1)


@pytest.mark.parametrize("after", [0, 1, 4, 5, 6, 9, 10, 11, 15, 16])
async def test_a_cancelled_upload_leaves_nothing(bucket: Bucket, after: int) -> None:
    bucket.client().put_object(Bucket="bucket", Key="a.zip", Body=b"what was there")
    source = Source(stays_after=after)
    task = asyncio.ensure_future(upload_zip_async(bucket.store(), "a.zip", [source.entry()], **HALVES))
    await source.waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bucket.unfinished() == []
    assert bucket.read("a.zip") == b"what was there"
    assert source.closed == 1
    assert not [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]


async def test_one_that_is_cancelled_while_parts_are_on_their_way_leaves_nothing(bucket: Bucket) -> None:
    """With none of its source's steps under way: obstore waits for parts, and is not asked to stop by itself."""
    bucket.delay = 0.3
    source = Source(60)
    task = asyncio.ensure_future(
        upload_zip_async(bucket.store(), "a.zip", [source.entry()], part_size=PART, max_concurrency=1)
    )
    await asyncio.to_thread(wait_for, lambda: len(bucket.parts_asked()) >= 2, "two parts")
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # again: it is waited for nevertheless
    with pytest.raises(asyncio.CancelledError):
        await task
    bucket.delay = 0
    assert (bucket.unfinished(), bucket.objects(), source.closed) == ([], {}, 1)


async def test_one_that_is_cancelled_too_late_is_whole(bucket: Bucket) -> None:
    """While the parts are being made one object: that is waited for, and the cancellation is raised after it."""
    completing = threading.Event()

    def slowly(method: str, path: str, query: str) -> None:
        if method == "POST" and "uploadId" in query:
            completing.set()
            time.sleep(0.3)

    bucket.rules.append(slowly)
    task = asyncio.ensure_future(upload_zip_async(bucket.store(), "a.zip", [Source().entry()], **HALVES))
    await asyncio.to_thread(completing.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bucket.unfinished() == []
    assert bucket.read("a.zip") == expected()


async def test_an_abort_that_fails_is_noted(bucket: Bucket) -> None:
    bucket.rules.append(refuse(403, "DELETE", "uploadId"))
    source = Source(stays_after=12)
    task = asyncio.ensure_future(upload_zip_async(bucket.store(), "a.zip", [source.entry()], **HALVES))
    await source.waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert "could not be aborted and remains in the store" in caught.value.__notes__[0]
    with pytest.raises(Oops) as failed:
        await upload_zip_async(bucket.store(), "a.zip", [Source(fails_after=12).entry()], **HALVES)
    assert any("could not be aborted and remains in the store" in note for note in failed.value.__notes__)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
@pytest.mark.parametrize("count", [4, 5, 9, 10, 21])
async def test_parts_by_the_batch(bucket: Bucket, count: int, concurrency: int) -> None:
    entries = [Entry(f"{n}", DATA[n:] + DATA[:n], modified=DATE) for n in range(count)]
    await upload_zip_async(bucket.store(), "a.zip", entries, part_size=PART, max_concurrency=concurrency)
    assert bucket.read("a.zip") == b"".join(stream_zip(entries))


@pytest.mark.parametrize("part", [1, 2, 4])
async def test_a_part_that_fails_leaves_nothing(bucket: Bucket, part: int) -> None:
    bucket.rules.append(refuse(403, "PUT", rf"partNumber={part}\b"))
    source = Source()
    with pytest.raises(RemoteError, match="Injected"):
        await upload_zip_async(bucket.store(), "a.zip", [source.entry()], part_size=PART)
    assert (bucket.unfinished(), bucket.objects(), source.closed) == ([], {}, 1)


async def test_the_loop_goes_on_meanwhile(bucket: Bucket) -> None:
    """While parts wait for the server, and while sources block."""
    asked_on = set()

    def blocking() -> Iterator[bytes]:
        for _ in range(12):
            asked_on.add(threading.get_ident())
            yield DATA

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    def answers_after_turns(method: str, path: str, query: str) -> None:
        if "partNumber" in query:
            enough = turns + 10
            wait_for(lambda: turns >= enough, "the loop")

    bucket.rules.append(answers_after_turns)
    counter = asyncio.ensure_future(count())
    await upload_zip_async(bucket.store(), "a.zip", [("big", blocking)], part_size=PART, max_concurrency=1)
    counter.cancel()
    assert sorted(bucket.parts_asked()) == [1, 2, 3]
    assert threading.get_ident() not in asked_on
    assert turns >= 20


async def test_too_many_parts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipstream_adapter.remote.uploading.limits.S3_LIMITS", S3_LIMITS._replace(parts=2))
    with pytest.raises(LimitError, match="Give a larger part_size"):
        await upload_zip_async(bucket.store(), "a.zip", [Source().entry()], part_size=PART)
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


@pytest.mark.parametrize("size", [10, 17 * MIB])
async def test_other_stores(size: int) -> None:
    store: Any = obstore.store.MemoryStore()
    await upload_zip_async(store, "a.zip", [("a", bytes(size))], part_size=PART)
    assert len(bytes(obstore.get(store, "a.zip").bytes())) > size
