"""The command with -o s3://…: the archive goes into the object, or nothing is left of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.support.buckets import KEYS, Bucket, need_obstore, refuse, serving
from tests.support.oracles import members
from tests.support.servers import wait_for
from zipstream_adapter.cli import main

need_obstore()
MIB = 1 << 20
# A test run in the background may have been told to ignore SIGINT, and children inherit that.
WITH_SIGINT = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from zipstream_adapter.cli import main; sys.exit(main())"
)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """With all that it takes in the environment."""
    with serving() as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        for name, value in KEYS.items():
            monkeypatch.setenv(f"AWS_{name.upper()}", value)
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a.txt").write_bytes(b"some text\n" * 1000)
    return tmp_path


def start(*arguments: str, cwd: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WITH_SIGINT, *arguments]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*arguments: str, cwd: Path) -> tuple[int, str]:
    with start(*arguments, cwd=cwd) as process:
        out, said = process.communicate(timeout=200)
    assert out == b""
    return process.returncode, said.decode()


@pytest.mark.parametrize("size", [0, 70 * MIB])
def test_the_archive_goes_into_the_object(bucket: Bucket, place: Path, size: int) -> None:
    with (place / "tree/large.bin").open("wb") as sparse:
        sparse.truncate(size)
    assert run("tree", "-o", "s3://bucket/some dir/ä.zip", "--compression=stored", cwd=place) == (0, "")
    found = members(bucket.read("some dir/ä.zip"))
    assert found == {"tree/a.txt": b"some text\n" * 1000, "tree/large.bin": bytes(size)}
    assert bucket.unfinished() == []
    assert {path.name for path in place.iterdir()} == {"tree"}


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "zipstream-adapter: interrupted\n"), (signal.SIGTERM, 143, "")],
)
@pytest.mark.parametrize("delay", [0, 0.5])
def test_a_signal_leaves_nothing(
    bucket: Bucket, place: Path, number: int, status: int, said: str, delay: float
) -> None:
    bucket.client().put_object(Bucket="bucket", Key="a.zip", Body=b"an older archive")
    bucket.delay = delay
    with (place / "tree/large.bin").open("wb") as sparse:
        sparse.truncate(1 << 34)
    with start("tree", "-o", "s3://bucket/a.zip", "--compression=stored", cwd=place) as process:
        wait_for(lambda: bucket.parts_asked(), "a part")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=200)
    assert (process.returncode, stderr.decode()) == (status, said)
    assert bucket.unfinished() == []
    assert bucket.read("a.zip") == b"an older archive"


def test_parts_are_as_large_as_all_that_is_there_needs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known beforehand, as files say how large they are."""
    told: list[int] = []
    monkeypatch.setattr("zipstream_adapter.cli.run.unwound_by_signals", nullcontext)  # in this process
    monkeypatch.setattr(
        "zipstream_adapter.remote.uploading.upload.upload_zip", lambda *_, part_size: told.append(part_size)
    )
    for size in (0, 1 << 37):
        with (place / "tree/large.bin").open("wb") as sparse:
            sparse.truncate(size)
        assert main([str(place / "tree"), "-o", "s3://bucket/a.zip"]) == 0
    assert told == [8 * MIB, 14 * MIB]


def test_a_file_that_is_missing_leaves_nothing(bucket: Bucket, place: Path) -> None:
    with (place / "tree/a.bin").open("wb") as sparse:
        sparse.truncate(40 * MIB)
    (place / "tree/z.txt").symlink_to("nowhere")
    status, said = run("tree", "-o", "s3://bucket/a.zip", "--compression=stored", cwd=place)
    assert status == 1 and "z.txt" in said
    assert (bucket.unfinished(), bucket.objects()) == ([], {})


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("s3://elsewhere/a.zip", "no such bucket"),
        ("s3://bucket", "names a bucket but no object: add the key"),
        ("https://user:password@127.0.0.1/a.zip?token=x", "-o 'https://127.0.0.1/a.zip': cannot write to this URL"),
        ("file:///tmp/a.zip", "give a file, or an s3://, gs:// or az:// URL"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(bucket: Bucket, place: Path, output: str, words: str) -> None:
    status, said = run("tree", "-o", output, cwd=place)
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith("zipstream-adapter: ") and words in said
    assert "password" not in said


def test_what_is_refused_is_said_without_the_signature(bucket: Bucket, place: Path) -> None:
    bucket.rules.append(refuse(403, "PUT", ""))
    status, said = run("tree", "-o", "s3://bucket/a.zip", cwd=place)
    bucket.rules.clear()
    assert (status, said.count("\n")) == (1, 1)
    assert "access denied: 403 Forbidden: Injected" in said and "Signature" not in said
    assert bucket.objects() == {}
