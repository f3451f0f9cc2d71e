"""Objects of a store as entries: what the store says of them, and their data, if they still are what they were."""

from __future__ import annotations

import io
import os
import pickle
import random
import threading
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.support.buckets import BUCKET, Bucket, need_obstore, refuse, serving
from tests.support.raw_server import RawServer, Request, raw_server
from zipstream_adapter import (
    Entry,
    OptionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SizeMismatchError,
    SourceChangedError,
    UnsafeNameError,
    ZipLayout,
    async_stream_zip,
    stream_zip,
)
from zipstream_adapter.remote.object_source import source_and_options
from zipstream_adapter.remote.walk import walk_store

obstore = need_obstore()
MIB = 1 << 20
DATA = random.Random(11).randbytes(3 * MIB)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


def put(bucket: Bucket, key: str, data: bytes = DATA, **options: Any) -> datetime:
    """An object, by boto3; returns its date."""
    client = bucket.client()
    client.put_object(Bucket=BUCKET, Key=key, Body=data, **options)
    when = client.head_object(Bucket=BUCKET, Key=key)["LastModified"]
    assert isinstance(when, datetime)
    return when.astimezone(UTC)


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def test_an_entry_knows_what_the_store_says(bucket: Bucket) -> None:
    when = put(bucket, "some dir/ä.bin", ChecksumAlgorithm="CRC32")
    entry = Entry.from_store(bucket.store(), "some dir/ä.bin")
    assert (entry.name, entry.size, entry.crc32, entry.modified) == ("ä.bin", len(DATA), zlib.crc32(DATA), when)
    assert [method for method, _, _ in bucket.asked] == ["HEAD", "HEAD"]
    assert members(b"".join(stream_zip([entry]))) == {"ä.bin": DATA}


def test_options_go_before_what_the_store_says(bucket: Bucket) -> None:
    put(bucket, "a", ChecksumAlgorithm="CRC32")
    entry = Entry.from_store(bucket.store(), "a", "b/c.bin", mode=0o600, modified=(2020, 1, 2, 3, 4, 6), crc32=None)
    assert (entry.name, entry.mode, entry.crc32) == ("b/c.bin", 0o600, None)
    assert entry.modified == datetime(2020, 1, 2, 3, 4, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "options",
    [{"ChecksumAlgorithm": "SHA256"}, {"ChecksumCRC32C": "yZRlqg=="}, {"ChecksumCRC64NVME": "AAAAAAAAAAA="}],
    ids=["SHA256", "CRC32C", "CRC64NVME"],
)
def test_other_checksums_are_not_taken_for_a_crc32(bucket: Bucket, options: dict[str, Any]) -> None:
    put(bucket, "a", **options)
    assert Entry.from_store(bucket.store(), "a").crc32 is None


@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT", None])
def test_a_checksum_of_checksums_is_not_taken_for_one_of_the_data(bucket: Bucket, kind: str | None) -> None:
    """Where nothing is said of that, it may be one: moto, and stores of former times, say nothing."""
    client = bucket.client()
    told = {"ChecksumType": kind} if kind else {}
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="a", ChecksumAlgorithm="CRC32", **told)["UploadId"]
    parts = []
    for number, data in enumerate((bytes(5 * MIB), b"rest"), 1):
        done = client.upload_part(
            Bucket=BUCKET, Key="a", UploadId=upload, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32"
        )
        parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumCRC32": done["ChecksumCRC32"]})
    client.complete_multipart_upload(Bucket=BUCKET, Key="a", UploadId=upload, MultipartUpload={"Parts": parts})
    whole = bytes(5 * MIB) + b"rest"
    entry = Entry.from_store(bucket.store(), "a")
    assert entry.crc32 == (zlib.crc32(whole) if kind == "FULL_OBJECT" else None)
    assert members(b"".join(stream_zip([entry])))["a"] == whole


def test_no_request_for_the_checksum_where_it_is_not_wanted(bucket: Bucket) -> None:
    put(bucket, "a", ChecksumAlgorithm="CRC32")
    assert Entry.from_store(bucket.store(), "a", checksum=False).crc32 is None
    assert len(bucket.asked) == 1


def test_a_checksum_that_may_not_be_asked_for_is_not_known(bucket: Bucket) -> None:
    put(bucket, "a", ChecksumAlgorithm="CRC32")
    answers = iter([None, 403])
    bucket.rules.append(lambda method, path, query: next(answers) if method == "HEAD" else None)
    assert Entry.from_store(bucket.store(), "a").crc32 is None
    assert bucket.headers[-1]["HTTP_X_AMZ_CHECKSUM_MODE"] == "ENABLED"


def test_what_is_public_is_asked_for_without_credentials(bucket: Bucket) -> None:
    put(bucket, "a", ChecksumAlgorithm="CRC32")
    store = bucket.store(skip_signature=True)
    assert [(entry.name, entry.crc32) for entry in walk_store(store)] == [("a", None)]
    assert not any("Signature" in query for _, _, query in bucket.asked)
    assert not any("HTTP_AUTHORIZATION" in headers for headers in bucket.headers)


def test_nothing_is_opened_before_its_turn(bucket: Bucket) -> None:
    put(bucket, "a")
    put(bucket, "b")
    stream = stream_zip(walk_store(bucket.store(), checksums=False), chunk_size=1 << 16)
    next(stream)
    assert [path for method, path, query in bucket.asked if method == "GET" and not query] == ["/bucket/a"]
    stream.close()


def test_prefetch_opens_those_to_come(bucket: Bucket) -> None:
    for name in "abcd":
        put(bucket, name, name.encode() * 1000)
    stream = stream_zip(walk_store(bucket.store()), prefetch=4)
    assert members(b"".join(stream)) == {name: name.encode() * 1000 for name in "abcd"}


def test_the_size_is_known_and_any_range_can_be_made(bucket: Bucket) -> None:
    put(bucket, "a.bin", ChecksumAlgorithm="CRC32")
    put(bucket, "b.bin")
    store = bucket.store()
    whole = b"".join(stream_zip(walk_store(store)))
    assert stream_zip(list(walk_store(store))).size == len(whole)
    layout = ZipLayout(walk_store(store))
    assert b"".join(layout.iter_range()) == whole
    chance = random.Random(5)
    for _ in range(12):
        start, stop = sorted(chance.randrange(len(whole) + 1) for _ in range(2))
        assert b"".join(layout.iter_range(start, stop)) == whole[start:stop]


def test_a_range_asks_for_no_more_than_it_needs(bucket: Bucket) -> None:
    """From its place on; and for nothing of what has passed, where the store has told the checksum."""
    put(bucket, "a.bin", ChecksumAlgorithm="CRC32")
    put(bucket, "b.bin", ChecksumAlgorithm="CRC32")
    layout = ZipLayout(walk_store(bucket.store()))
    whole = b"".join(layout.iter_range())
    bucket.asked.clear()
    start = layout.entries[1].data_offset + MIB
    assert b"".join(layout.iter_range(start)) == whole[start:]
    assert [path for method, path, _ in bucket.asked if method == "GET"] == ["/bucket/b.bin"]
    assert bucket.ranges[-1] == f"bytes={MIB}-{len(DATA) - 1}"


def test_layouts_have_a_tag_that_changes_with_the_objects(bucket: Bucket) -> None:
    put(bucket, "a.bin")
    date = (2026, 1, 1, 0, 0, 0)

    def tag() -> str | None:
        return ZipLayout(walk_store(bucket.store(), modified=date)).etag

    first = tag()
    assert first is not None and tag() == first
    put(bucket, "a.bin", bytes(len(DATA)))
    assert tag() not in (None, first)


@pytest.mark.parametrize("data", [bytes(len(DATA)), b"less"])
def test_an_object_that_is_replaced_is_refused(bucket: Bucket, data: bytes) -> None:
    put(bucket, "a.bin")
    entry = Entry.from_store(bucket.store(), "a.bin")
    layout = ZipLayout([entry])
    put(bucket, "a.bin", data)
    for make in (lambda: stream_zip([entry]), layout.iter_range, lambda: layout.iter_range(MIB)):
        with pytest.raises(
            SourceChangedError, match=r"'a.bin' in S3Store has changed since its entry was made"
        ) as seen:
            b"".join(make())
        assert "Signature" not in str(seen.value)


def test_an_object_that_is_replaced_while_it_is_read_is_refused(bucket: Bucket) -> None:
    """Where the connection broke, so that it has to be asked for again."""
    put(bucket, "a.bin")
    bucket.cuts = [MIB]
    stream = stream_zip([Entry.from_store(bucket.store(), "a.bin")], chunk_size=1 << 16)
    next(stream)
    put(bucket, "a.bin", bytes(len(DATA)))
    with pytest.raises(SourceChangedError, match="the object was replaced"):
        b"".join(stream)


def test_a_body_that_breaks_off_is_resumed(bucket: Bucket) -> None:
    put(bucket, "a.bin")
    entry = Entry.from_store(bucket.store(), "a.bin")
    bucket.cuts = [MIB, 100_000, MIB, 1, 200_000]
    assert members(b"".join(stream_zip([entry]))) == {"a.bin": DATA}
    assert bucket.cuts == []


def test_a_size_that_is_declared_otherwise_is_refused(bucket: Bucket) -> None:
    put(bucket, "a.bin")
    with pytest.raises(SizeMismatchError):
        b"".join(stream_zip([Entry.from_store(bucket.store(), "a.bin", size=5)]))


def test_an_object_that_is_gone_is_missing(bucket: Bucket) -> None:
    put(bucket, "a.bin")
    entry = Entry.from_store(bucket.store(), "a.bin")
    bucket.client().delete_object(Bucket=BUCKET, Key="a.bin")
    with pytest.raises(RemoteNotFoundError, match=r"'a.bin' in S3Store does not exist"):
        b"".join(stream_zip([entry]))
    with pytest.raises(RemoteNotFoundError):
        Entry.from_store(bucket.store(), "a.bin")


def test_what_may_not_be_read_is_refused(bucket: Bucket) -> None:
    put(bucket, "a.bin")
    entry = Entry.from_store(bucket.store(), "a.bin")
    bucket.rules.append(refuse(403, "GET", ""))
    with pytest.raises(RemotePermissionError):
        b"".join(stream_zip([entry]))
    with pytest.raises(RemoteError, match="the objects under '' in S3Store: 403 Forbidden"):
        list(walk_store(bucket.store()))


async def test_on_an_event_loop_it_is_read_on_threads(bucket: Bucket) -> None:
    put(bucket, "a.bin")
    put(bucket, "b.bin", b"small")
    seen = set()

    def noting(environ_method: str, path: str, query: str) -> None:
        seen.add(threading.get_ident())

    bucket.rules.append(noting)
    whole = b"".join([chunk async for chunk in async_stream_zip(walk_store(bucket.store()), prefetch=2)])
    assert members(whole) == {"a.bin": DATA, "b.bin": b"small"}
    assert threading.get_ident() not in seen
    layout = ZipLayout(walk_store(bucket.store()))
    assert b"".join([chunk async for chunk in layout.aiter_range()]) == whole


def test_entries_can_be_sent_away(bucket: Bucket) -> None:
    put(bucket, "a.bin")
    entry = Entry.from_store(bucket.store(), "a.bin")
    there = pickle.loads(pickle.dumps(entry))
    assert there == entry and hash(there) == hash(entry)
    assert members(b"".join(stream_zip([there]))) == {"a.bin": DATA}
    part = pickle.loads(pickle.dumps(ZipLayout([entry]).parts(MIB)[1]))
    assert part.read() == b"".join(ZipLayout([entry]).iter_range(MIB, 2 * MIB))


def test_walk_gives_what_is_under_a_prefix(bucket: Bucket) -> None:
    for key in ("photos/b.jpg", "photos/a/c.jpg", "photos2/d.jpg", "e.jpg", "photos/f.txt"):
        put(bucket, key, key.encode())
    store = bucket.store()
    names = [entry.name for entry in walk_store(store)]
    assert names == ["e.jpg", "photos/a/c.jpg", "photos/b.jpg", "photos/f.txt", "photos2/d.jpg"]
    for prefix in ("photos", "photos/", "/photos"):
        assert [entry.name for entry in walk_store(store, prefix)] == ["a/c.jpg", "b.jpg", "f.txt"]
    assert next(walk_store(store, "photos", into="my photos")).name == "my photos/a/c.jpg"
    assert [entry.name for entry in walk_store(store, "photos", exclude=["*.txt", "a/*"])] == ["b.jpg"]
    only = walk_store(
        store, "photos", exclude=lambda path, name: (path, name) != (PurePosixPath("photos/a/c.jpg"), "a/c.jpg")
    )
    assert [entry.name for entry in only] == ["a/c.jpg"]
    assert members(b"".join(stream_zip(walk_store(store, "photos"))))["b.jpg"] == b"photos/b.jpg"
    assert list(walk_store(store, "nothing")) == []


def test_walk_finds_all_checksums_in_order(bucket: Bucket) -> None:
    data = {f"{number:03}.bin": bytes([number]) * 1000 for number in range(50)}
    for key, each in data.items():
        put(bucket, key, each, ChecksumAlgorithm="CRC32")
    entries = list(walk_store(bucket.store()))
    assert [(entry.name, entry.crc32) for entry in entries] == [(key, zlib.crc32(it)) for key, it in data.items()]
    assert all(entry.crc32 is None for entry in walk_store(bucket.store(), checksums=False))


def test_what_stands_for_a_directory_becomes_one(bucket: Bucket) -> None:
    put(bucket, "dir/", b"")
    put(bucket, "dir/a.txt", b"a")
    put(bucket, "empty/", b"")
    put(bucket, "empty.txt", b"")
    for checksums in (True, False):
        entries = list(walk_store(bucket.store(), checksums=checksums, mode=0o600))
        assert [entry.name for entry in entries] == ["dir/", "dir/a.txt", "empty.txt", "empty/"]
    assert members(b"".join(stream_zip(entries))) == {"dir/": b"", "dir/a.txt": b"a", "empty.txt": b"", "empty/": b""}


@pytest.mark.parametrize("prefix", ["photos", "photos/", "/photos/", "a/photos"])
@pytest.mark.parametrize("into", ["", "kept"])
def test_what_stands_for_the_prefix_itself_has_no_entry(bucket: Bucket, prefix: str, into: str) -> None:
    key = prefix.strip("/")
    for name in ("/", "/a.jpg", "/sub/", "/sub/b.jpg", "/empty/"):
        put(bucket, key + name, b"" if name.endswith("/") else b"x")
    put(bucket, "photos2/", b"")
    seen: list[str] = []

    def note(path: PurePosixPath, name: str) -> bool:
        seen.append(name)
        return False

    into += "/" if into else ""
    expected = ["a.jpg", "empty/", "sub/", "sub/b.jpg"]
    for checksums in (True, False):
        found = walk_store(bucket.store(), prefix, into=into, checksums=checksums, exclude=note)
        assert sorted(entry.name for entry in found) == [into + name for name in expected]
    assert sorted(seen) == sorted(2 * ["a.jpg", "empty", "sub", "sub/b.jpg"])
    twice = [
        *walk_store(bucket.store(), prefix),
        *walk_store(bucket.store(), f"{key}/sub"),
        *walk_store(bucket.store(), prefix),
    ]
    assert [entry.name for entry in twice if entry.name == "sub/"] == ["sub/", "sub/"]
    once = [entry for entry in twice if entry.is_dir]
    assert sorted(members(b"".join(stream_zip(once)))) == ["empty/", "sub/"]


def test_keys_that_cannot_be_or_are_unsafe(bucket: Bucket) -> None:
    put(bucket, "a\\b.txt", b"")
    with pytest.raises((OptionError, UnsafeNameError)):
        b"".join(stream_zip(walk_store(bucket.store())))
    put(bucket, "c//d.txt", b"")
    with pytest.raises(OptionError, match="obstore does not accept a key"):
        list(walk_store(bucket.store()))


@pytest.mark.parametrize("kind", ["LocalStore", "MemoryStore"])
def test_other_stores(kind: str, tmp_path: Path) -> None:
    store = obstore.store.LocalStore(tmp_path) if kind == "LocalStore" else obstore.store.MemoryStore()
    for name in ("b/c.bin", "a.bin", "empty"):
        obstore.put(store, name, b"" if name == "empty" else DATA)
    assert members(b"".join(stream_zip(walk_store(store)))) == {"a.bin": DATA, "b/c.bin": DATA, "empty": b""}
    entry = Entry.from_store(store, "b/c.bin")
    assert (entry.name, entry.size, entry.crc32) == ("c.bin", len(DATA), None)
    layout = ZipLayout(walk_store(store))
    assert b"".join(layout.iter_range(5 * MIB)) == b"".join(layout.iter_range())[5 * MIB :]
    obstore.put(store, "b/c.bin", bytes(len(DATA)))
    with pytest.raises(SourceChangedError):
        b"".join(stream_zip([entry]))


@pytest.mark.parametrize(
    ("seconds", "date"),
    [
        (0, datetime(1980, 1, 1, tzinfo=UTC)),
        (1, datetime(1980, 1, 1, tzinfo=UTC)),
        (-(10**9), datetime(1980, 1, 1, tzinfo=UTC)),
        (1_700_000_000.5, datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)),
        (5_000_000_000, datetime(2107, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_date_beyond_the_format_is_moved(tmp_path: Path, seconds: float, date: datetime) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"data")
    os.utime(path, (seconds, seconds))
    if path.stat().st_mtime != seconds:
        pytest.skip("the file system has no such date")
    store = obstore.store.LocalStore(tmp_path)
    entry = Entry.from_store(store, "a")
    (walked,) = walk_store(store)
    assert entry.modified == walked.modified == date
    for made in (b"".join(stream_zip([entry])), b"".join(ZipLayout([walked]).iter_range())):
        assert members(made) == {"a": b"data"}
    assert Entry.from_store(store, "a", modified=10**9).modified == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "year"),
    [
        ("", None),
        ("Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Last-Modified: Tue, 01 Jan 1901 00:00:00 GMT", 1980),
        ("Last-Modified: Fri, 31 Dec 9999 23:59:59 GMT", 2107),
    ],
)
def test_an_object_without_a_date_has_that_of_data_without_one(
    monkeypatch: pytest.MonkeyPatch, field: str, year: int | None
) -> None:
    def answer(server: RawServer, request: Request) -> None:
        head = ["HTTP/1.1 200 OK", f"Content-Length: {len(server.data)}", 'ETag: "one"', *([field] if field else [])]
        request.connection.sendall("\r\n".join([*head, "", ""]).encode())
        if request.method != "HEAD":
            request.connection.sendall(server.data)

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    with raw_server(b"data", answer) as server:
        store = obstore.store.HTTPStore(server.url.removesuffix("/a.zip"), client_options={"allow_http": True})
        entry = Entry.from_store(store, "a.zip")
        with zipfile.ZipFile(io.BytesIO(b"".join(stream_zip([entry])))) as archive:
            (info,) = archive.infolist()
            assert archive.read(info) == b"data"
    assert (entry.modified and entry.modified.year) == year
    assert info.date_time[0] == (year or 2001)


@pytest.mark.parametrize(
    ("date", "moved"), [(datetime(1970, 1, 1, tzinfo=UTC), None), (datetime(1960, 1, 1, tzinfo=UTC), 1980)]
)
def test_a_directory_of_any_date(monkeypatch: pytest.MonkeyPatch, date: datetime, moved: int | None) -> None:
    store = obstore.store.MemoryStore()
    meta = {"path": "d", "size": 0, "e_tag": '"0"', "last_modified": date}
    monkeypatch.setattr("zipstream_adapter.remote.walk._list_objects", lambda *_: iter([meta]))
    (entry,) = walk_store(store)
    assert (entry.name, entry.modified and entry.modified.year) == ("d/", moved)


def test_a_date_that_python_cannot_hold_is_an_error_of_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(server: RawServer, request: Request) -> None:
        head = ["HTTP/1.1 200 OK", "Content-Length: 4", "Last-Modified: Sat, 01 Jan 10000 00:00:00 GMT", "", ""]
        request.connection.sendall("\r\n".join(head).encode())

    with raw_server(b"data", answer) as server:
        store = obstore.store.HTTPStore(server.url.removesuffix("/a.zip"), client_options={"allow_http": True})
        with pytest.raises(RemoteError, match=r"'a\.zip' in HTTPStore: it has a date that Python cannot represent"):
            Entry.from_store(store, "a.zip")


@pytest.mark.parametrize("field", ["Last-Modified: soon", "Last-Modified: Sat, 01 Jan 10000 00:00:00 GMT"])
def test_an_invalid_answer_about_a_checksum_names_the_object(field: str) -> None:
    def answer(server: RawServer, request: Request) -> None:
        request.connection.sendall("\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 4", field, "", ""]).encode())

    with raw_server(b"data", answer) as server:
        odd = Bucket(None)
        odd.url = server.url.removesuffix("/a.zip")
        meta = {"path": "a", "size": 4, "e_tag": '"1"', "last_modified": datetime(2026, 1, 2, tzinfo=UTC)}
        with pytest.raises(RemoteError, match="'a' in S3Store: the store sent an invalid answer"):
            source_and_options(odd.store(), meta, {})


def test_azure_lists_etags_without_quotes() -> None:
    store = obstore.store.AzureStore("container", account_name="account", account_key="AAAA")
    meta = {"path": "a", "size": 1, "last_modified": datetime(2026, 1, 2, tzinfo=UTC)}
    for etag in ("0x8D", '"0x8D"'):
        source, _ = source_and_options(store, {**meta, "e_tag": etag}, {})
        assert source.etag == '"0x8D"'
    assert source_and_options(store, {**meta, "e_tag": None}, {})[0].etag is None
    local = obstore.store.MemoryStore()
    assert source_and_options(local, {**meta, "e_tag": "0"}, {})[0].etag == "0"


def test_what_is_no_store_or_no_key_is_refused() -> None:
    for wrong in (None, "s3://bucket"):
        with pytest.raises(OptionError, match="give an obstore store"):
            Entry.from_store(wrong, "a")
        with pytest.raises(OptionError, match="give an obstore store"):
            walk_store(wrong)
    with pytest.raises(OptionError, match="obstore does not accept this key"):
        Entry.from_store(obstore.store.MemoryStore(), "a//b")
    with pytest.raises(OptionError, match="give directories"):
        walk_store(obstore.store.MemoryStore(), None)  # type: ignore[arg-type]


def test_a_url_in_place_of_a_store_is_refused_with_its_options() -> None:
    """`open_remote` and `upload_zip` take a URL: the message says that these do not."""
    said = r"^store='s3://bucket/photos': give an obstore store, .* only open_remote, upload_zip and open_object take"
    with pytest.raises(OptionError, match=said):
        walk_store("s3://user:secret@bucket/photos", endpoint="http://localhost:9000")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match=said):
        Entry.from_store("s3://bucket/photos", "a.jpg")
