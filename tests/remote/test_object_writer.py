"""Objects written as files: by programs that know no streams, and left alone after every kind of failure."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import BUCKET, KEYS, PART, Bucket, need_obstore, refuse, serving
from tests.support.executors import interrupted
from tests.support.loops import until
from tests.support.remote_archives import MIB, noise
from zipstream_adapter import StreamingZipFile
from zipstream_adapter.errors import (
    BadArchiveError,
    OptionError,
    PoisonedError,
    RemoteError,
    RemoteNotFoundError,
    RemoteTimeoutError,
    StreamClosedError,
)
from zipstream_adapter.remote import ObjectWriter, open_object, open_object_async, upload_zip, upload_zip_async

need_obstore()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


def options(bucket: Bucket) -> dict[str, Any]:
    return {"endpoint": bucket.url, "region": "us-east-1", "allow_http": True, **KEYS}


def small(bucket: Bucket, **more: Any) -> ObjectWriter:
    return open_object(bucket.store(), "a.zip", part_size=PART, max_concurrency=1, **more)


@pytest.mark.parametrize("kind", [zipfile.ZipFile, StreamingZipFile])
@pytest.mark.parametrize("size", [100, 3 * PART + 7])
def test_an_archive_by_a_program_that_knows_files(bucket: Bucket, kind: Any, size: int) -> None:
    with small(bucket) as file, kind(file, "w") as archive:
        archive.writestr("large", noise(size))
        archive.writestr("small", b"data")
    data = bucket.read("a.zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert (archive.read("large"), archive.read("small")) == (noise(size), b"data")
        assert archive.testzip() is None
    assert file.uploaded is not None
    assert (file.uploaded.size, file.uploaded.path) == (len(data), "a.zip")
    assert bucket.unfinished() == []
    assert ("POST", f"/{BUCKET}/a.zip", "uploads=") in bucket.asked or size == 100


def test_any_data_in_pieces_of_any_size(bucket: Bucket) -> None:
    data = noise(2 * PART + 5)
    with small(bucket) as file:
        for start, stop in ((0, 1), (1, 1), (1, PART - 1), (PART - 1, 2 * PART + 1), (2 * PART + 1, len(data))):
            assert file.write(memoryview(data)[start:stop]) == stop - start
            assert file.tell() == stop
        file.flush()
        assert (file.writable(), file.readable(), file.seekable()) == (True, False, False)
    assert bucket.read("a.zip") == data
    with pytest.raises(StreamClosedError):
        file.write(b"more")
    file.close()


def test_an_empty_object(bucket: Bucket) -> None:
    open_object(bucket.store(), "empty").close()
    assert bucket.objects() == {"empty": 0}


def test_buffers_of_other_kinds_on_top(bucket: Bucket) -> None:
    with small(bucket) as file, io.TextIOWrapper(io.BufferedWriter(file), "utf-8") as text:
        text.write("line\n" * 1000)
    assert bucket.read("a.zip") == b"line\n" * 1000


# Failures.


def _raise(file: ObjectWriter) -> None:
    with file, zipfile.ZipFile(file, "w") as archive:  # which completes the archive
        archive.writestr("a", noise(3 * PART))
        raise KeyError("of the program")


def _drop(file: ObjectWriter) -> None:
    file.write(noise(3 * PART))


def _drop_archive(file: ObjectWriter) -> None:
    with file:
        archive = StreamingZipFile(file)
        archive.writestr("a", noise(3 * PART))
        del archive
        gc.collect()


def _poison(file: ObjectWriter) -> None:
    def source() -> Iterator[bytes]:
        yield noise(3 * PART)
        raise OSError("of the source")

    with file, suppress(OSError, PoisonedError), StreamingZipFile(file) as archive, archive.open("a", "w") as member:
        for chunk in source():
            member.write(chunk)


def _nested(file: ObjectWriter) -> None:
    """Cut behind a stored member that is an archive itself."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("b", b"data")
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("a", noise(3 * PART))
        archive.writestr("inner.zip", inner.getvalue())
        end = outer.tell()
    with file:
        file.write(outer.getvalue()[:end])


def _abort(file: ObjectWriter) -> None:
    file.write(noise(3 * PART))
    file.abort()
    file.close()


WAYS: dict[str, tuple[Callable[[ObjectWriter], None], type[Exception] | None]] = {
    "exception in the block": (_raise, KeyError),
    "dropped": (_drop, None),
    "archive dropped": (_drop_archive, BadArchiveError),
    "archive poisoned": (_poison, BadArchiveError),
    "cut behind an archive": (_nested, BadArchiveError),
    "aborted": (_abort, None),
}


@pytest.mark.filterwarnings("ignore:unclosed archive:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("has_old", [False, True])
def test_a_failure_leaves_nothing(bucket: Bucket, way: str, has_old: bool) -> None:
    if has_old:
        bucket.client().put_object(Bucket=BUCKET, Key="a.zip", Body=b"old")
    run, error = WAYS[way]
    files = [small(bucket)]
    if error is None:
        run(files.pop())
    else:
        with pytest.raises(error):
            run(files.pop())
    gc.collect()
    assert bucket.objects() == ({"a.zip": 3} if has_old else {})
    assert bucket.unfinished() == []


@pytest.mark.parametrize("part", [1, 2, 3])
def test_a_store_that_refuses_leaves_nothing(bucket: Bucket, part: int) -> None:
    bucket.rules.append(refuse(403, "PUT", f"partNumber={part}&"))
    file = small(bucket)
    with pytest.raises(RemoteError, match=r"a\.zip' in S3Store: access denied: 403"), file:
        for _ in range(5):
            file.write(noise(PART))
    with pytest.raises(StreamClosedError):
        file.write(b"")
    assert bucket.objects() == {}
    assert bucket.unfinished() == []


def test_a_failed_write_is_not_forgotten(bucket: Bucket) -> None:
    bucket.rules.append(refuse(403, "PUT", "partNumber=1&"))
    file = small(bucket)
    with suppress(RemoteError):
        for _ in range(5):
            file.write(noise(PART))
    with pytest.raises(PoisonedError, match="a write failed before"):
        file.write(b"more")
    with pytest.raises(PoisonedError, match="nothing is stored"):
        file.close()
    assert bucket.objects() == {}
    assert bucket.unfinished() == []


def test_an_interrupt_leaves_nothing(bucket: Bucket) -> None:
    """While the program waits for parts that take long."""
    bucket.delay = 0.5
    with interrupted(bucket.parts_asked), small(bucket) as file:
        while True:
            file.write(noise(PART))
    assert bucket.objects() == {}
    assert bucket.unfinished() == []


def test_a_program_waits_for_parts_that_were_not_sent(bucket: Bucket) -> None:
    """Back-pressure: as many bytes are written as were sent, and two batches."""
    ahead: list[int] = []
    with small(bucket) as file:
        for number in range(6):
            file.write(noise(PART))
            sent = sum("partNumber" in query for _, _, query in bucket.answered)
            ahead.append(number + 1 - sent)
    assert max(ahead) <= 3
    assert len(bucket.read("a.zip")) == 6 * PART


# URLs.


def test_a_url_of_a_server_over_plain_http(bucket: Bucket) -> None:
    with open_object("s3://bucket/sub/a.zip", **options(bucket)) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"data")
    upload_zip("s3://bucket/b.zip", [("a", b"data")], compression="deflate", patience=10, **options(bucket))
    assert sorted(bucket.objects()) == ["b.zip", "sub/a.zip"]


async def test_a_url_on_an_event_loop(bucket: Bucket) -> None:
    done = await upload_zip_async("s3://bucket/b.zip", [("a", b"data")], **options(bucket))
    assert bucket.objects() == {"b.zip": done.size}


def test_a_file_by_its_url(tmp_path: Path) -> None:
    url = (tmp_path / "a.zip").as_uri()
    with open_object(url) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", noise(20 * MIB))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
    with suppress(KeyError), open_object((tmp_path / "b.zip").as_uri()) as file:
        file.write(noise(70 * MIB))
        raise KeyError
    assert os.listdir(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (("http://127.0.0.1/a.zip",), {}, "cannot write to this URL"),
        (("s3://bucket/a.zip", "a.zip"), {}, "leave the path out"),
        (("s3://bucket",), {}, "names a bucket but no object"),
        ((None,), {}, "path=None"),
        ((None, "a.zip"), {"region": "here"}, "region=: the store has its own"),
        ((None, "a.zip"), {"patience": 3}, "patience=: the store has its own"),
        ((None, "a.zip"), {"part_size": 5}, "part_size=5"),
    ],
)
def test_arguments_that_cannot_be_are_refused(
    bucket: Bucket, arguments: tuple[Any, ...], more: dict[str, Any], message: str
) -> None:
    given = (bucket.store(), *arguments[1:]) if arguments[0] is None else arguments
    with pytest.raises(OptionError, match=message):
        open_object(*given, **more)


def test_a_bucket_that_does_not_exist(bucket: Bucket) -> None:
    with pytest.raises(RemoteNotFoundError), open_object("s3://none/a.zip", **options(bucket)) as file:
        file.write(b"data")


# On an event loop.


async def test_an_object_on_an_event_loop(bucket: Bucket) -> None:
    data = noise(2 * PART + 5)
    async with await open_object_async(bucket.store(), "a", part_size=PART, max_concurrency=1) as file:
        for at in range(0, len(data), MIB):
            await file.write(data[at : at + MIB])
        assert file.tell() == len(data)
    assert file.uploaded is not None
    assert bucket.read("a") == data


async def test_a_failure_on_an_event_loop_leaves_nothing(bucket: Bucket) -> None:
    with pytest.raises(KeyError):
        async with await open_object_async(bucket.store(), "a", part_size=PART, max_concurrency=1) as file:
            await file.write(noise(3 * PART))
            raise KeyError
    assert bucket.objects() == {}
    assert bucket.unfinished() == []


async def test_a_cancellation_leaves_nothing(bucket: Bucket) -> None:
    bucket.delay = 0.3

    async def write() -> None:
        async with await open_object_async(bucket.store(), "a", part_size=PART, max_concurrency=1) as file:
            while True:
                await file.write(noise(PART))

    writing = asyncio.ensure_future(write())
    await until(bucket.parts_asked)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert bucket.objects() == {}
    assert bucket.unfinished() == []


_AT_THE_END = """
import sys, threading, time
from zipstream_adapter.remote import open_object, open_remote
options = {options!r}
if sys.argv[1] == "dropped":
    file = open_object("s3://bucket/b.zip", part_size={part}, max_concurrency=1, **options)
    file.write(bytes(3 * {part}))
else:
    archive = open_remote("s3://bucket/a.zip", **options)
    threading.Thread(target=archive.read, args=("a",), daemon=True).start()
    time.sleep(0.01)
"""


@pytest.mark.parametrize("how", ["dropped", "reading"])
def test_an_interpreter_that_ends(bucket: Bucket, how: str) -> None:
    """It ends what is under way: an upload is aborted, and a thread that reads is not in the way."""
    upload_zip(bucket.store(), "a.zip", [("a", noise(8 * MIB))])
    code = _AT_THE_END.format(options=options(bucket), part=PART)
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code, how], capture_output=True, text=True, timeout=200, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert bucket.unfinished() == []
    assert list(bucket.objects()) == ["a.zip"]


def test_a_deadline_ends_an_upload(bucket: Bucket) -> None:
    bucket.delay = 3
    with pytest.raises(RemoteTimeoutError, match=r"its deadline \(2 s\)"):
        upload_zip(bucket.store(), "a.zip", [("a", noise(2 * PART))], part_size=PART, deadline=2)
    with pytest.raises(RemoteTimeoutError), small(bucket, deadline=2) as file:
        while True:
            file.write(noise(PART))
    assert bucket.objects() == {}
    assert bucket.unfinished() == []
