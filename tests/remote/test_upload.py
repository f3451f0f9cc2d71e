"""Archives uploaded while they are made: into moto's S3, and into obstore's own stores; whole, or nothing at all."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import PART, Bucket, need_obstore, refuse, serving
from tests.support.oracles import seven_zip, unzip
from zipstream_adapter import (
    AsyncZipStream,
    Entry,
    EntryTypeError,
    LimitError,
    OptionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    StreamStateError,
    ZipLayout,
    stream_zip,
)
from zipstream_adapter.remote.uploading.limits import S3_LIMITS
from zipstream_adapter.remote.uploading.upload import Uploaded, part_size_for, upload_zip

obstore = need_obstore()
MIB = 1 << 20
DATA = random.Random(7).randbytes(MIB)
DATE = (2026, 1, 2, 3, 4, 6)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


def large(count: int = 17) -> list[Entry]:
    """`count` MiB of data, of which each is a member."""
    return [Entry(f"{number}.bin", DATA[number:] + DATA[:number], modified=DATE) for number in range(count)]


class Oops(Exception):
    pass


def failing(after: int, data: bytes = DATA) -> Iterator[bytes]:
    """`after` MiB, and then it fails."""
    for _ in range(after):
        yield data
    raise Oops(f"after {after} MiB")


def test_what_is_uploaded_is_what_is_streamed(bucket: Bucket, tmp_path: Path) -> None:
    done = upload_zip(bucket.store(), "some/där.zip", large(), part_size=PART)
    whole = b"".join(stream_zip(large()))
    assert bucket.read("some/där.zip") == whole
    assert done == Uploaded("some/där.zip", len(whole), done.etag, done.version)
    head = bucket.client().head_object(Bucket="bucket", Key="some/där.zip")
    assert (head["ETag"], head["ContentType"]) == (done.etag, "application/zip")
    assert sorted(bucket.parts_asked()) == [1, 2, 3, 4]
    (tmp_path / "a.zip").write_bytes(bucket.read("some/där.zip"))
    assert unzip(tmp_path / "a.zip") and seven_zip(tmp_path / "a.zip")
    assert bucket.unfinished() == []


def test_an_archive_that_fits_a_part_is_one_request(bucket: Bucket) -> None:
    upload_zip(bucket.store(), "a.zip", large(7))
    assert [method for method, _, _ in bucket.asked] == ["PUT"]
    bucket.asked.clear()
    done = upload_zip(bucket.store(), "small.zip", [("a.txt", b"text")], compression="deflate")
    assert [method for method, _, _ in bucket.asked] == ["PUT"]
    assert zipfile.ZipFile(io.BytesIO(bucket.read("small.zip"))).read("a.txt") == b"text"
    assert done.size == bucket.objects()["small.zip"]
    assert bucket.client().head_object(Bucket="bucket", Key="small.zip")["ContentType"] == "application/zip"


@pytest.mark.parametrize("concurrency", [1, 2, 3, 4, 9])
def test_parts_by_the_batch(bucket: Bucket, concurrency: int) -> None:
    for count in (4, 5, 9, 10, 21):
        bucket.asked.clear()
        upload_zip(bucket.store(), "a.zip", large(count), part_size=PART, max_concurrency=concurrency)
        assert bucket.read("a.zip") == b"".join(stream_zip(large(count)))
        assert sorted(bucket.parts_asked()) == ([] if count < 5 else list(range(1, count // 5 + 2)))


def test_all_that_was_sent_is_waited_for_before_the_abort(bucket: Bucket) -> None:
    """What arrives at the store after it would be left there."""
    bucket.delay = 0.3
    with pytest.raises(Oops):
        upload_zip(bucket.store(), "a.zip", [("big", lambda: failing(12))], part_size=PART, max_concurrency=2)
    answered = [method for method, _, query in bucket.answered if "upload" in query]
    assert answered[:4] == ["POST", "PUT", "PUT", "DELETE"]


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART])
def test_archives_at_the_border_of_a_part(bucket: Bucket, size: int) -> None:
    empty = stream_zip([("x", b"")]).size
    assert empty is not None
    entry = Entry("x", bytes(size - empty), size=size - empty, crc32=zlib.crc32(bytes(size - empty)))
    done = upload_zip(bucket.store(), "x.zip", [entry], part_size=PART)
    assert done.size == size == bucket.objects()["x.zip"]
    assert len(bucket.parts_asked()) == (0 if size <= PART else 2)


def test_streams_and_layouts_are_taken_as_they_are(bucket: Bucket) -> None:
    store, whole = bucket.store(), b"".join(stream_zip(large(7)))
    upload_zip(store, "stream.zip", stream_zip(large(7)), part_size=PART)
    upload_zip(store, "layout.zip", ZipLayout(large(7)), part_size=PART)
    assert bucket.read("stream.zip") == bucket.read("layout.zip") == whole


def test_what_is_no_longer_whole_is_refused(bucket: Bucket) -> None:
    stream = stream_zip(large(1))
    next(stream)
    with pytest.raises(StreamStateError, match="was begun before"):
        upload_zip(bucket.store(), "a.zip", stream)
    with pytest.raises(OptionError, match="level=…: the ZipStream already has its options"):
        upload_zip(bucket.store(), "a.zip", stream_zip([]), level=3)
    with pytest.raises(EntryTypeError, match="upload_zip_async"):
        upload_zip(bucket.store(), "a.zip", AsyncZipStream([]))  # type: ignore[arg-type]
    assert bucket.objects() == {}


@pytest.mark.parametrize("after", [0, 1, 4, 5, 6, 9, 10, 11, 16, 24])
def test_a_source_that_fails_leaves_nothing(bucket: Bucket, after: int) -> None:
    bucket.client().put_object(Bucket="bucket", Key="a.zip", Body=b"what was there")
    with pytest.raises(Oops) as caught:
        upload_zip(bucket.store(), "a.zip", [("big", lambda: failing(after))], part_size=PART, max_concurrency=2)
    assert "entry 'big'" in caught.value.__notes__[0]
    assert bucket.unfinished() == []
    assert bucket.read("a.zip") == b"what was there"


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_it_leaves_nothing(bucket: Bucket, exception: type[BaseException]) -> None:
    def source() -> Iterator[bytes]:
        yield from [DATA] * 12
        raise exception

    with pytest.raises(exception):
        upload_zip(bucket.store(), "a.zip", [("big", source)], part_size=PART, max_concurrency=2)
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


@pytest.mark.parametrize("concurrency", [1, 2, 4])
@pytest.mark.parametrize("part", [1, 2, 4])
@pytest.mark.parametrize("status", [403, 500])
def test_a_part_that_fails_leaves_nothing(bucket: Bucket, part: int, status: int, concurrency: int) -> None:
    """The last one, too, for which nothing but the end is waited."""
    bucket.rules.append(refuse(status, "PUT", rf"partNumber={part}\b"))
    closed: list[bool] = []

    def source() -> Iterator[bytes]:
        try:
            yield from [DATA] * 17
        finally:
            closed.append(True)

    with pytest.raises(RemoteError, match="Injected: a fault of the test") as caught:
        upload_zip(bucket.store(), "a.zip", [("big", source)], part_size=PART, max_concurrency=concurrency)
    assert type(caught.value) is (RemotePermissionError if status == 403 else RemoteError)
    assert "secret" not in str(caught.value) and "uploadId" not in str(caught.value)
    assert closed == [True]
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


def test_what_fails_once_is_sent_again(bucket: Bucket) -> None:
    failures = iter([503, 500])
    bucket.rules.append(lambda method, path, query: next(failures, None) if "partNumber=2" in query else None)
    upload_zip(bucket.store(), "a.zip", large(), part_size=PART)
    assert bucket.read("a.zip") == b"".join(stream_zip(large()))
    assert bucket.parts_asked().count(2) == 3


@pytest.mark.parametrize(("method", "query"), [("POST", "uploads"), ("POST", "uploadId")])
def test_an_upload_that_cannot_be_begun_or_completed_leaves_nothing(bucket: Bucket, method: str, query: str) -> None:
    bucket.rules.append(refuse(403, method, query))
    with pytest.raises(RemotePermissionError):
        upload_zip(bucket.store(), "a.zip", large(), part_size=PART)
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


def test_an_upload_that_cannot_be_aborted_is_told_of(bucket: Bucket) -> None:
    bucket.rules.append(refuse(403, "DELETE", "uploadId"))
    with pytest.raises(Oops) as caught:
        upload_zip(bucket.store(), "a.zip", [("big", lambda: failing(12))], part_size=PART, max_concurrency=2)
    assert any("could not be aborted and remains in the store" in note for note in caught.value.__notes__)
    assert bucket.objects() == {}


def test_a_bucket_that_is_missing_is_named(bucket: Bucket) -> None:
    store = obstore.store.S3Store("elsewhere", endpoint=bucket.url, client_options={"allow_http": True},
                                  access_key_id="a", secret_access_key="b", region="us-east-1")  # fmt: skip
    with pytest.raises(RemoteNotFoundError, match="no such bucket"):
        upload_zip(store, "a.zip", large(), part_size=PART)


@pytest.mark.parametrize("kind", ["LocalStore", "MemoryStore"])
def test_other_stores_get_it_whole_or_not_at_all(kind: str, tmp_path: Path) -> None:
    store = obstore.store.LocalStore(tmp_path) if kind == "LocalStore" else obstore.store.MemoryStore()
    for count in (1, 17):
        done = upload_zip(store, "sub/a.zip", large(count), part_size=PART)
        assert bytes(obstore.get(store, "sub/a.zip").bytes()) == b"".join(stream_zip(large(count)))
        assert done.etag == obstore.head(store, "sub/a.zip")["e_tag"]
    for after in (1, 12):
        with pytest.raises(Oops):
            upload_zip(store, "sub/a.zip", [("big", failing(after))], part_size=PART, max_concurrency=2)
    assert len(bytes(obstore.get(store, "sub/a.zip").bytes())) == done.size
    assert [each["path"] for each in obstore.list(store).collect()] == ["sub/a.zip"]
    assert [path.name for path in tmp_path.rglob("*.zip*")] == (["a.zip"] if kind == "LocalStore" else [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part_size": PART - 1}, "part_size=5242879: give bytes from 5 MiB to 5 GiB"),
        ({"part_size": (5 << 30) + 1}, "from 5 MiB to 5 GiB"),
        ({"part_size": 6e6}, "from 5 MiB to 5 GiB"),
        ({"max_concurrency": 0}, "max_concurrency=0: give a whole number, 1 or more"),
        ({"path": "a//b.zip"}, "obstore does not accept this key"),
        ({"path": ""}, "an object needs a path"),
        ({"store": "s3://bucket"}, "leave the path out"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    def entries() -> Iterator[Any]:
        raise AssertionError("nothing is to be asked for")
        yield

    given: dict[str, Any] = {"store": obstore.store.MemoryStore(), "path": "a.zip", **options}
    with pytest.raises(OptionError, match=message):
        upload_zip(given.pop("store"), given.pop("path"), entries(), **given)


def test_plain_http_is_refused() -> None:
    store = obstore.store.HTTPStore("https://127.0.0.1/")
    with pytest.raises(OptionError, match="HTTP has no multipart uploads"):
        upload_zip(store, "a.zip", [])


@pytest.mark.parametrize(
    ("given", "known", "bound", "part_size"),
    [
        (None, 0, None, 8 * MIB),
        (None, 80_000 * MIB, None, 8 * MIB),
        (None, 80_000 * MIB + 1, None, 9 * MIB),
        (None, 5 << 40, None, 525 * MIB),
        (None, None, None, 16 * MIB),
        (None, None, 100_000 * MIB, 10 * MIB),
        (PART, PART * 10_000, None, PART),
        (PART, None, 1 << 50, PART),  # which is more than there will be, perhaps
    ],
)
def test_ten_thousand_parts_are_enough(given: int | None, known: int | None, bound: int | None, part_size: int) -> None:
    assert part_size_for(given, known, bound, "a.zip") == part_size


def test_an_archive_that_does_not_fit_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LimitError, match=r"10000 parts of 5242880 bytes, 52428800000 in all: it has 52428800001 bytes"):
        part_size_for(PART, PART * 10_000 + 1, None, "a.zip")
    monkeypatch.setattr("zipstream_adapter.remote.uploading.limits.S3_LIMITS", S3_LIMITS._replace(parts=3))
    with pytest.raises(LimitError, match="Give a larger part_size"):
        upload_zip(bucket.store(), "a.zip", iter(large()), part_size=PART)
    assert (bucket.unfinished(), bucket.objects()) == ([], {})
