"""One archive written by many workers: threads, processes, and Dask's, into moto's S3."""

from __future__ import annotations

import pickle
import random
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import PART, Bucket, need_obstore, refuse, serving
from tests.support.executors import Recording
from tests.support.oracles import members
from tests.support.workers import dask, processes, threads
from zipstream_adapter import (
    Entry,
    LimitError,
    OptionError,
    RemoteError,
    SourceChangedError,
    ZipLayout,
    stream_zip,
    walk,
)
from zipstream_adapter.remote import compress_parts
from zipstream_adapter.remote.object_source import FromStore
from zipstream_adapter.remote.uploading.s3_multipart import S3Multipart
from zipstream_adapter.remote.uploading.upload_parts import make_and_put, upload_parts
from zipstream_adapter.remote.walk import walk_store

obstore = need_obstore()
MIB = 1 << 20


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """33 MiB in three files, and many small ones."""
    root = tmp_path_factory.mktemp("tree")
    for number in range(3):
        (root / f"{number}.bin").write_bytes(random.Random(number).randbytes(11 * MIB))
    for number in range(500):
        (root / f"note {number}.txt").write_bytes(b"some text\n" * number)
    return root


@pytest.mark.parametrize(
    "executor", [threads, processes, partial(dask, 2), partial(dask, 4)], ids=["threads", "processes", "dask2", "dask4"]
)
def test_workers_make_what_is_streamed(bucket: Bucket, tree: Path, executor: Callable[[], Any]) -> None:
    layout = ZipLayout(walk(tree))
    with executor() as workers:
        done = upload_parts(bucket.store(), "a.zip", layout, workers, part_size=PART)
    assert bucket.read("a.zip") == b"".join(stream_zip(walk(tree)))
    assert done.size == layout.size
    head = bucket.client().head_object(Bucket="bucket", Key="a.zip")
    assert (head["ETag"], head["ContentType"]) == (done.etag, "application/zip")
    assert sorted(bucket.parts_asked()) == list(range(1, 8))
    assert bucket.unfinished() == []


@pytest.mark.parametrize("executor", [processes, partial(dask, 2)], ids=["processes", "dask"])
def test_objects_become_one_object_by_workers_elsewhere(bucket: Bucket, executor: Callable[[], Any]) -> None:
    data = {f"from/{number}.bin": random.Random(number).randbytes(4 * MIB) for number in range(3)}
    for key, each in data.items():
        bucket.client().put_object(Bucket="bucket", Key=key, Body=each, ChecksumAlgorithm="CRC32")
    layout = ZipLayout(walk_store(bucket.store(), "from"))
    with executor() as workers:
        upload_parts(bucket.store(), "to.zip", layout, workers, part_size=PART)
    assert bucket.read("to.zip") == b"".join(stream_zip(walk_store(bucket.store(), "from")))
    assert members(bucket.read("to.zip")) == {key.removeprefix("from/"): each for key, each in data.items()}


def test_the_way_to_google(bucket: Bucket) -> None:
    """Its XML API takes S3's requests, but none that deletes many objects."""
    bucket.rules.append(refuse(501, "POST", "^delete"))
    store = bucket.store(region="auto", disable_bulk_delete=True)
    data = {f"from/{number}.bin": random.Random(number).randbytes(4 * MIB) for number in range(3)}
    for key, each in data.items():
        obstore.put(store, key, each)
    with threads() as workers, compress_parts(walk_store(store, "from"), workers, store, "temporary") as made:
        upload_parts(store, "to.zip", ZipLayout(made), workers, part_size=PART)
    assert members(bucket.read("to.zip")) == {key.removeprefix("from/"): each for key, each in data.items()}
    assert sorted(bucket.objects()) == [*sorted(data), "to.zip"]


def test_a_small_archive_is_one_part(bucket: Bucket) -> None:
    with threads() as workers:
        upload_parts(bucket.store(), "a.zip", ZipLayout([("a.txt", b"text")]), workers)
    assert bucket.parts_asked() == [1]


@pytest.mark.parametrize("executor", [threads, partial(dask, 2)], ids=["threads", "dask"])
def test_a_part_that_cannot_be_made_leaves_nothing(bucket: Bucket, tmp_path: Path, executor: Callable[[], Any]) -> None:
    bucket.client().put_object(Bucket="bucket", Key="a.zip", Body=b"what was there")
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(12 * MIB))
    layout = ZipLayout(walk(tmp_path))
    (tmp_path / "b").write_bytes(b"less")
    with executor() as workers, pytest.raises(SourceChangedError, match="entry 'b'"):
        upload_parts(bucket.store(), "a.zip", layout, workers, part_size=PART)
    assert bucket.unfinished() == []
    assert bucket.read("a.zip") == b"what was there"


@pytest.mark.parametrize("part", [1, 4, 7])
def test_a_part_that_is_refused_leaves_nothing(bucket: Bucket, tree: Path, part: int) -> None:
    bucket.rules.append(refuse(403, "PUT", f"partNumber={part}&"))
    with threads() as workers, pytest.raises(RemoteError, match="Injected"):
        upload_parts(bucket.store(), "a.zip", ZipLayout(walk(tree)), workers, part_size=PART)
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


def test_one_that_cannot_be_completed_leaves_nothing(bucket: Bucket, tree: Path) -> None:
    bucket.rules.append(refuse(403, "POST", "uploadId"))
    with threads() as workers, pytest.raises(RemoteError, match="Injected"):
        upload_parts(bucket.store(), "a.zip", ZipLayout(walk(tree)), workers, part_size=PART)
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


def test_parts_on_their_way_are_waited_for_before_the_abort(bucket: Bucket, tree: Path) -> None:
    bucket.rules.append(refuse(403, "PUT", "partNumber=1&"))
    bucket.delay = 0.3
    with threads() as workers, pytest.raises(RemoteError):
        upload_parts(bucket.store(), "a.zip", ZipLayout(walk(tree)), workers, part_size=PART)
    methods = [method for method, _, _ in bucket.asked]
    assert "PUT" not in methods[methods.index("DELETE") :]
    assert bucket.unfinished() == []


class Deaf(Executor):
    """The first call fails. The others never begin, and nobody hears of their end, as may happen with Dask."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if not self.futures:
            future.set_exception(ValueError("the worker failed"))
        self.futures.append(future)
        return future


def test_nobody_waits_for_what_was_cancelled(bucket: Bucket, tree: Path) -> None:
    layout = ZipLayout([*walk(tree), Entry("other", lambda: [b"data"], size=4)])
    for use in (
        lambda workers: upload_parts(bucket.store(), "a.zip", layout, workers, part_size=PART),
        lambda workers: compress_parts([*walk(tree)] * 3, workers),
        layout.find_checksums,
    ):
        workers = Deaf()
        with pytest.raises(ValueError, match="the worker failed"):
            use(workers)
        assert all(future.cancelled() for future in workers.futures[1:])
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


def test_a_part_that_comes_late_is_not_left(bucket: Bucket, tree: Path) -> None:
    """An executor may say that a part is cancelled which a worker goes on with."""
    upload = S3Multipart(bucket.store(), "a.zip")
    target = upload.target(1)
    aborted = iter([204])  # says so once without doing it
    bucket.rules.append(lambda method, path, query: next(aborted, None) if method == "DELETE" else None)
    upload.abort(Exception())
    assert [method for method, _, _ in bucket.asked].count("DELETE") == 2
    with pytest.raises(RemoteError):
        make_and_put(ZipLayout([("a", b"data")]).parts(PART)[0], target)
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


def test_what_cannot_be_aborted_is_told_of(bucket: Bucket, tree: Path) -> None:
    bucket.rules.append(refuse(403, "PUT", "partNumber=1&"))
    bucket.rules.append(refuse(403, "DELETE", ""))
    with threads() as workers, pytest.raises(RemoteError) as caught:
        upload_parts(bucket.store(), "a.zip", ZipLayout(walk(tree)), workers, part_size=PART)
    assert "could not be aborted and remains in the store" in caught.value.__notes__[-1]


def test_no_more_parts_are_handed_over_than_that(bucket: Bucket, tree: Path) -> None:
    with Recording(8, together=2) as workers:
        upload_parts(bucket.store(), "a.zip", ZipLayout(walk(tree)), workers, part_size=PART, max_concurrency=2)
    assert workers.most == 2


def test_an_interrupt_leaves_nothing(bucket: Bucket, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **more: object) -> Any:
        time.sleep(0.05)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("zipstream_adapter.remote.uploading.upload_parts.wait", interrupted)
    with threads() as workers, pytest.raises(KeyboardInterrupt):
        upload_parts(bucket.store(), "a.zip", ZipLayout(walk(tree)), workers, part_size=PART)
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


def test_only_metadata_goes_to_the_workers(bucket: Bucket, tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"some file {number}.bin").write_bytes(bytes(10_000))
    upload = S3Multipart(bucket.store(), "a.zip")
    parts = ZipLayout(walk(tmp_path)).parts(PART)
    sent = sum(len(pickle.dumps((part, upload.target(1)))) for part in parts)
    upload.abort(Exception())
    assert sent / 2000 < 100


@pytest.mark.parametrize("known", [True, False])
def test_a_directory_goes_to_its_worker_by_compressed_columns(bucket: Bucket, known: bool) -> None:
    when, store = datetime(2026, 1, 1, tzinfo=UTC), bucket.store()
    etags = [f'"{random.Random(number).randbytes(16).hex()}"' for number in range(20_000)]
    layout = ZipLayout(
        Entry(
            f"photos/image {number:07}.jpg",
            FromStore(store, f"photos/image {number:07}.jpg", 100_000 + number % 7000, etag, when),
            size=100_000 + number % 7000,
            modified=when + timedelta(seconds=number),
            crc32=zlib.crc32(etag.encode()) if known else None,
        )
        for number, etag in enumerate(etags)
    )
    last = layout.parts(layout.size // 2 + 1)[1]  # with the data of half of the members, and all headers
    sent = pickle.dumps(last)
    assert len(sent) / 20_000 < (60 if known else 110)
    if known:
        directory = layout.entries[-1].data_offset + layout.entries[-1].compressed_size
        made = pickle.loads(sent)._writer.chunks(directory, layout.size, 1 << 18)
        assert b"".join(made) == b"".join(layout.iter_range(directory))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": stream_zip([])}, "give a ZipLayout"),
        ({"executor": None}, "give a concurrent.futures.Executor"),
        ({"part_size": 1000}, "from 5 MiB to 5 GiB"),
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"path": ""}, "an object needs a path"),
    ],
)
def test_arguments_that_cannot_be_are_refused(bucket: Bucket, arguments: dict[str, Any], message: str) -> None:
    with threads() as workers, pytest.raises(OptionError, match=message):
        given: dict[str, Any] = {"path": "a.zip", "layout": ZipLayout([]), "executor": workers, **arguments}
        upload_parts(bucket.store(), given.pop("path"), given.pop("layout"), given.pop("executor"), **given)
    assert bucket.asked == []


def test_an_archive_that_does_not_fit_is_refused_at_once(bucket: Bucket) -> None:
    size = PART * 10_000
    layout = ZipLayout([Entry("a", lambda: iter(()), size=size, crc32=1)])
    with threads() as workers, pytest.raises(LimitError, match="Give a larger part_size"):
        upload_parts(bucket.store(), "a.zip", layout, workers, part_size=PART)
    assert bucket.asked == []
