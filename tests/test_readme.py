"""The README's code runs, and its tables name what the functions take."""

from __future__ import annotations

import inspect
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.buckets import BUCKET, KEYS, Bucket, need_obstore, serving
from tests.oracles import seven_zip_with
from zipstream_adapter import Entry, async_stream_zip, stream_zip

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "sea").mkdir(parents=True)
    (tmp_path / "photos" / "sea" / "1.jpg").write_bytes(b"\xff\xd8" * 50_000)
    (tmp_path / "report.txt").write_text("a report\n" * 1000)
    return tmp_path


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    need_obstore()
    with serving() as made:
        yield made


def run(code: str, place: Path, **variables: str) -> bytes:
    command = [sys.executable, "-W", "error", "-c", code]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=place, capture_output=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_the_iterator(place: Path) -> None:
    run(blocks("python")[0], place)
    with zipfile.ZipFile(place / "holiday.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["holiday/sea/1.jpg", "notes.txt", "table.csv", "report.txt"]
        assert archive.read("table.csv").startswith(b"0,0\n1,1\n2,4\n")


def test_flask(place: Path) -> None:
    client = "\nimport sys; sys.stdout.buffer.write(app.test_client().get('/photos.zip').data)"
    (place / "out.zip").write_bytes(run(blocks("python")[1] + client, place))
    assert zipfile.ZipFile(place / "out.zip").testzip() is None


def test_in_asyncio(place: Path) -> None:
    client = (
        "\nimport asyncio, sys"
        "\nasync def get():"
        "\n    return b''.join([chunk async for chunk in (await photos()).body_iterator])"
        "\nsys.stdout.buffer.write(asyncio.run(get()))"
    )
    (place / "out.zip").write_bytes(run(blocks("python")[2] + client, place))
    assert zipfile.ZipFile(place / "out.zip").testzip() is None


def test_falcon(place: Path) -> None:
    client = (
        "\nimport sys, falcon.testing"
        "\nsys.stdout.buffer.write(falcon.testing.TestClient(app).simulate_get('/photos.zip').content)"
    )
    (place / "out.zip").write_bytes(run(blocks("python")[3] + client, place))
    assert zipfile.ZipFile(place / "out.zip").testzip() is None


def test_code_that_wants_a_zipfile(place: Path) -> None:
    (place / "out.zip").write_bytes(run(blocks("python")[4], place))
    with zipfile.ZipFile(place / "out.zip") as archive:
        assert archive.read("numbers.txt").split() == [b"%d" % number for number in range(1000)]


def test_a_whole_application(place: Path) -> None:
    client = (
        "\nimport sys"
        "\nfrom werkzeug.test import Client"
        "\nanswer = Client(app).get(sys.argv[1], buffered=True)"
        "\nsys.stdout.buffer.write(answer.headers['Content-Disposition'].encode() + b'\\n' + answer.data)"
    )
    told = {}
    for path in ("/photos.zip", "/holiday"):
        code = f"import sys; sys.argv[1:] = [{path!r}]\n" + blocks("python")[5] + client
        told[path], _, data = run(code, place).partition(b"\n")
        (place / "out.zip").write_bytes(data)
        assert zipfile.ZipFile(place / "out.zip").testzip() is None
    assert told["/photos.zip"] == b'attachment; filename="photos.zip"'
    assert told["/holiday"].endswith(b"filename*=UTF-8''holiday%20%F0%9F%8F%96.zip")


def test_data_that_is_compressed_already(place: Path) -> None:
    with zipfile.ZipFile(place / "released.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(place / "report.txt", "report.txt")
    run(blocks("python")[6], place)
    with zipfile.ZipFile(place / "bundle.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["report.txt", "notes.txt"]
        assert archive.getinfo("report.txt").compress_type == zipfile.ZIP_DEFLATED


def test_checksums_that_are_remembered(place: Path) -> None:
    for _ in range(2):
        run(blocks("python")[7], place)
        assert zipfile.ZipFile(place / "photos.zip").testzip() is None
    assert (place / "checksums.sqlite").stat().st_size > 0


def test_encryption(place: Path) -> None:
    pytest.importorskip("Crypto.Cipher.AES", reason="the extra 'crypto' is not installed")
    run(blocks("python")[8], place)
    verdict = seven_zip_with("correct horse battery staple", place / "private.zip")
    assert verdict, verdict.said
    assert not seven_zip_with("another", place / "private.zip")
    assert zipfile.ZipFile(place / "private.zip").read("READ ME.txt") == b"Ask Ann for the password."


def test_layouts(place: Path) -> None:
    said = run(blocks("python")[9], place).split()
    assert int(said[0]) == (place / "photos.zip").stat().st_size
    assert zipfile.ZipFile(place / "photos.zip").testzip() is None


def variables_of(bucket: Bucket) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": bucket.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEYS["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": KEYS["secret_access_key"],
    }


def test_read_by_ranges(place: Path, bucket: Bucket) -> None:
    archive = stream_zip([place / "report.txt", ("large", bytes(1 << 20))]).read()
    bucket.client().put_object(Bucket=BUCKET, Key="released.zip", Body=archive)
    said = run(blocks("python")[10], place, **variables_of(bucket)).decode().splitlines()
    assert said == ["['report.txt', 'large']", r"b'a report\n'"]


def test_into_a_bucket_and_out_of_one(place: Path, bucket: Bucket) -> None:
    for name in ("photos/1.jpg", "photos/sea/2.jpg"):
        bucket.client().put_object(Bucket=BUCKET, Key=name, Body=name.encode() * 1000)
    run(blocks("python")[11], place, **variables_of(bucket))
    backup = zipfile.ZipFile(io.BytesIO(bucket.read("backup.zip")))
    assert backup.testzip() is None
    assert backup.namelist() == ["sea/1.jpg"]
    for archive in (zipfile.ZipFile(place / "photos.zip"), zipfile.ZipFile(io.BytesIO(bucket.read("all.zip")))):
        assert archive.namelist() == ["1.jpg", "sea/2.jpg"]
        assert archive.read("1.jpg") == b"photos/1.jpg" * 1000
    assert bucket.unfinished() == []


def test_no_python_block_is_left_out() -> None:
    assert len(blocks("python")) == 12


def test_quick_start_is_two_lines_and_the_second_runs_the_tests() -> None:
    lines = blocks("sh")[0].splitlines()
    assert len(lines) == 2
    assert "zipstream-adapter" in lines[0]
    assert lines[1].endswith("-m pytest --quiet")


def table_rows(head: str) -> set[str]:
    table = README.partition(f"| `{head}")[2].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_tables_name_every_option() -> None:
    assert table_rows("stream_zip(") == set(inspect.signature(stream_zip).parameters) - {"entries"}
    assert table_rows("stream_zip(") == set(inspect.signature(async_stream_zip).parameters) - {"entries"}
    assert table_rows("Entry(") == set(inspect.signature(Entry).parameters) - {"name", "source"}
