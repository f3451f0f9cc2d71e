"""compat.push: programs that carry ZipStreamer or StreamFile."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon
import falcon.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compat.zipfly import judged
from tests.support import oracles
from tests.support.loops import module
from zipstream_adapter import OptionError, PoisonedError, StreamStateError
from zipstream_adapter.compat.push import StreamFile, ZipStreamer

DATE = (2020, 1, 2, 3, 4, 6)


def stream_generator(paths: list[Path]) -> Iterator[bytes]:
    """As it is used."""
    streamer = ZipStreamer()
    for path in paths:
        streamer.put_file(path.name)
        streamer.write(path.read_bytes())
        streamer.flush()
        yield streamer.read()
    streamer.close()
    yield streamer.read()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("a.txt", "Grüße.txt", "large.bin")]
    for path, data in zip(found, (b"", b"short", bytes(range(256)) * 2000), strict=True):
        path.write_bytes(data)
    return found


def test_the_generator(paths: list[Path], tmp_path: Path) -> None:
    chunks = list(stream_generator(paths))
    assert len(chunks) == 4 and all(chunks)
    assert judged(b"".join(chunks), tmp_path) == {path.name: path.read_bytes() for path in paths}


def test_in_falcon(paths: list[Path], tmp_path: Path) -> None:
    class Download:
        def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
            response.content_type = "application/zip"
            response.stream = stream_generator(paths)

    app = falcon.App()
    app.add_route("/", Download())
    got = falcon.testing.TestClient(app).simulate_get("/")
    assert set(judged(got.content, tmp_path)) == {path.name for path in paths}


@given(st.lists(st.lists(st.binary(max_size=50_000), max_size=4), max_size=4))
def test_whenever_it_is_read(found: list[list[bytes]]) -> None:
    streamer, parts = ZipStreamer(), []
    for number, chunks in enumerate(found):
        streamer.put_file(str(number))
        for chunk in chunks:
            streamer.write(chunk)
            parts.append(streamer.read())
            assert streamer.read() == b""
        streamer.flush()
        parts.append(streamer.read())
    streamer.close()
    parts.append(streamer.read())
    assert streamer.read() == b""
    assert oracles.members(b"".join(parts)) == {str(number): b"".join(chunks) for number, chunks in enumerate(found)}


def test_read_once_at_the_end(tmp_path: Path) -> None:
    streamer = ZipStreamer()
    for name in "ab":
        streamer.put_file(name, date_time=DATE)
        streamer.write(name.encode() * 100_000)
        streamer.flush()
    streamer.zipfile.comment = b"comment"
    streamer.close()
    data = streamer.read()
    assert judged(data, tmp_path) == {"a": b"a" * 100_000, "b": b"b" * 100_000}
    with zipfile.ZipFile(io.BytesIO(data)) as read:
        assert read.comment == b"comment"
        for info in read.infolist():
            assert (info.date_time, info.extra, info.compress_type) == (DATE, b"", zipfile.ZIP_STORED)
            assert (info.external_attr >> 16 & 0o777, info.flag_bits) == (0o600, 8)
            # By which Apple's tools know it.
            assert struct.pack("<4s3L", b"PK\7\x08", info.CRC, 100_000, 100_000) in data


def test_current_file() -> None:
    streamer = ZipStreamer()
    assert streamer.current_file is None
    streamer.put_file("a")
    assert streamer.current_file is not None and streamer.current_file.filename == "a"
    streamer.flush()
    assert streamer.current_file is None


def test_out_of_turn() -> None:
    streamer = ZipStreamer()
    with pytest.raises(StreamStateError, match="call put_file"):
        streamer.write(b"x")
    with pytest.raises(StreamStateError, match="call put_file"):
        streamer.flush()
    streamer.put_file("a")
    streamer.write(b"data")
    with pytest.raises(ValueError, match="'a' is open for writing"):
        streamer.put_file("b")
    with pytest.raises(StreamStateError, match=r"'a' has not been ended: call flush\(\)"):
        streamer.close()
    streamer.flush()
    streamer.close()
    assert oracles.members(streamer.read()) == {"a": b"data"}


@pytest.mark.parametrize("date", [(2020, 13, 1, 0, 0, 0), (2020,), "yesterday"])
def test_dates_that_are_none(date: Any) -> None:
    with pytest.raises(OptionError, match="date_time="):
        ZipStreamer().put_file("a", date)


# StreamFile, under a plain ZipFile.


class Target:
    """What a framework's response can do."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


def test_under_a_plain_zipfile(tmp_path: Path) -> None:
    target = Target()
    out = StreamFile(target)
    archive = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED)
    for number in range(5):
        archive.writestr(f"hello{number}.txt", f"this is hello{number} contents\n" * 3)
        assert out.tell() == out.pos == len(target.data)
    archive.close()
    assert judged(target.data, tmp_path)["hello4.txt"] == b"this is hello4 contents\n" * 3


def test_standard_output_as_text() -> None:
    code = (
        "import sys, zipfile; from zipstream_adapter.compat.push import StreamFile\n"
        "with zipfile.ZipFile(StreamFile(sys.stdout), 'w') as archive: archive.writestr('a', 'data')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=200)
    assert oracles.members(done.stdout) == {"a": b"data"}
    with pytest.raises(OptionError, match="takes text"):
        StreamFile(io.StringIO())


def test_in_a_django_response() -> None:
    http, settings = module("django.http"), module("django.conf").settings
    if not settings.configured:
        settings.configure()
    response = http.HttpResponse(content_type="application/zip")
    with zipfile.ZipFile(StreamFile(response), "w") as archive:
        archive.writestr("a", "data")
    assert oracles.members(response.content) == {"a": b"data"}


def test_a_target_that_takes_less_than_it_is_given() -> None:
    class Slow(Target):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            super().write(bytes(data[:7]))
            return min(len(data), 7)

    target = Slow()
    with zipfile.ZipFile(StreamFile(target), "w") as archive:
        archive.writestr("a", "data" * 100)
    assert oracles.members(target.data) == {"a": b"data" * 100}


def test_an_exception_that_leaves_the_archive() -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        target = Target()
        with pytest.raises(OSError, match="gone"), zipfile.ZipFile(StreamFile(target), "w", method) as archive:
            archive.writestr("a", "data")
            raise OSError("gone")
        assert target.data and not oracles.python(target.data)


def test_an_exception_that_leaves_a_member() -> None:
    target = Target()
    archive = zipfile.ZipFile(StreamFile(target), "w")
    with pytest.raises(OSError, match="gone"), archive.open("a", "w") as member:
        member.write(b"data")
        raise OSError("gone")
    length = len(target.data)
    with pytest.raises(PoisonedError):
        archive.writestr("b", "data")
    with pytest.raises(PoisonedError):
        archive.close()
    assert len(target.data) == length and not oracles.python(target.data)


def test_what_is_written_while_an_exception_is_handled() -> None:
    target = Target()
    with zipfile.ZipFile(StreamFile(target), "w") as archive:
        try:
            raise OSError("gone")
        except OSError as exc:
            archive.writestr("missing.txt", str(exc))
        archive.writestr("a", "data")
    assert oracles.members(target.data) == {"missing.txt": b"gone", "a": b"data"}
    try:
        raise OSError("before it began")
    except OSError:
        with zipfile.ZipFile(StreamFile(target := Target()), "w") as archive:
            archive.writestr("a", "data")
    assert oracles.members(target.data) == {"a": b"data"}


def test_a_target_that_fails() -> None:
    class Broken(Target):
        def write(self, data: bytes) -> None:
            if len(self.data) > 10:
                raise BrokenPipeError
            super().write(data)

    target = Broken()
    with pytest.raises(BrokenPipeError), zipfile.ZipFile(StreamFile(target), "w") as archive:
        archive.writestr("a", "data")
        archive.writestr("b", "data")
    assert target.data.count(b"PK") == 1
