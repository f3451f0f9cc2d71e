"""The responses for frameworks, each under a server it is made for: whole, resumed, failed and left downloads."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.async_servers import uvicorn
from tests.support.loops import module
from tests.support.oracles import members, need
from tests.support.servers import AFTER_THE_GATE, BEFORE_THE_GATE, PATIENCE, Place, gunicorn, serve, wait_for

APPS = "tests.support.framework_apps"
BIG = random.Random(11).randbytes(6 << 20)
FILES = {"a note.txt": b"some text\n" * 100, "empty.bin": b"", "large.bin": BIG, "sub/Grüße.txt": "Grüße\n".encode()}


def under_uvicorn(app: str) -> list[str]:
    return uvicorn(f"{APPS}:{app}", "--factory", "--http", "h11")


def under_hypercorn(app: str) -> list[str]:
    return [sys.executable, "-m", "hypercorn", "--bind", "127.0.0.1:0", "--graceful-timeout", "1", f"{APPS}:{app}()"]


def under_waitress(app: str) -> list[str]:
    return [sys.executable, "-m", "waitress", "--listen=127.0.0.1:0", "--call", f"{APPS}:{app}"]


# (application, its packages, its server, the server's command).
SERVED: list[tuple[str, tuple[str, ...], str, list[str]]] = [
    ("flask", ("flask", "flask_compress"), "gthread", gunicorn(f"{APPS}:flask()", "gthread")),
    ("flask", ("flask", "flask_compress"), "sync", gunicorn(f"{APPS}:flask()", "sync")),
    ("flask", ("flask", "flask_compress"), "waitress", under_waitress("flask")),
    ("django", ("django",), "gthread", gunicorn(f"{APPS}:django()", "gthread")),
    ("django_asgi", ("django",), "uvicorn", under_uvicorn("django_asgi")),
    ("django_asgi_plain", ("django",), "uvicorn", under_uvicorn("django_asgi_plain")),
    ("starlette", ("starlette",), "uvicorn", under_uvicorn("starlette")),
    ("starlette", ("starlette", "hypercorn"), "hypercorn", under_hypercorn("starlette")),
    ("fastapi", ("fastapi",), "uvicorn", under_uvicorn("fastapi")),
    ("litestar", ("litestar", "starlette"), "uvicorn", under_uvicorn("litestar")),
    ("falcon", ("falcon",), "gthread", gunicorn(f"{APPS}:falcon()", "gthread")),
    ("falcon_asgi", ("falcon",), "uvicorn", under_uvicorn("falcon_asgi")),
    ("quart", ("quart", "hypercorn"), "hypercorn", under_hypercorn("quart")),
    ("quart", ("quart",), "uvicorn", under_uvicorn("quart")),
    ("aiohttp", ("aiohttp",), "own", [sys.executable, "-m", APPS]),
]
# A plain run takes each kind of module once.
SWEPT = {
    ("flask", "sync"),
    ("flask", "waitress"),
    ("django_asgi_plain", "uvicorn"),
    ("starlette", "hypercorn"),
    ("fastapi", "uvicorn"),
    ("quart", "uvicorn"),
}
ROWS = [
    pytest.param(row, id=f"{row[0]}-{row[2]}", marks=[pytest.mark.sweep] * ((row[0], row[2]) in SWEPT))
    for row in SERVED
]


@dataclass(frozen=True)
class FrameworkPlace(Place):
    app: str
    kind: str


@pytest.fixture(scope="module", params=ROWS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrameworkPlace]:
    app, packages, kind, command = request.param
    for package in packages:
        module(package)
    home = tmp_path_factory.mktemp("home")
    (control := home / "control").mkdir()
    tree = home / "photos"
    for name, data in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    with serve(command, home, {"CONTROL": str(control), "DOWNLOAD_ROOT": str(tree)}) as server:
        yield FrameworkPlace(server, control, app, kind)
    said = server.log.read_text()
    assert not re.search(r"never retrieved|was destroyed|xception ignored|never awaited|already running", said), said


@pytest.fixture
def place(running: FrameworkPlace) -> Place:
    for left in ("ends", "gate", "waits", "report"):
        (running.control / left).unlink(missing_ok=True)
    return running


class Got(NamedTuple):
    status: int
    headers: dict[str, str]
    data: bytes
    code: int


def get(place: FrameworkPlace, path: str, *options: str, method: str = "GET") -> Got:
    """What curl gets, which offers to decompress and does not do so."""
    head = place.control.parent / "head"
    how = ["-I"] if method == "HEAD" else ["-D", str(head)]
    command = [need("curl"), "-sS", "--max-time", "60", *how, "-H", "Accept-Encoding: gzip, br", *options]
    done = subprocess.run([*command, place.url(path)], capture_output=True, timeout=200, check=False)
    text = done.stdout if method == "HEAD" else head.read_bytes()
    first, *lines = text.decode("latin-1").strip().splitlines()
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Got(int(first.split()[1]), fields, b"" if method == "HEAD" else done.stdout, done.returncode)


def check_fields(got: Got, name: str) -> None:
    assert got.headers["content-type"] == "application/zip"
    assert got.headers["content-disposition"].endswith(f"filename*=UTF-8''Gr%C3%BC%C3%9Fe%20{name}")
    assert got.headers["content-encoding"] == "identity"
    assert "no-transform" in got.headers["cache-control"]
    assert got.headers["x-from"] == "the view"


def test_the_whole_has_its_length_and_is_not_compressed(place: FrameworkPlace) -> None:
    got = get(place, "files.zip")
    assert (got.status, got.code) == (200, 0)
    check_fields(got, "files.zip")
    assert got.headers["content-length"] == str(len(got.data))
    assert members(got.data) == FILES


def test_head_is_answered_like_get_without_the_body(place: FrameworkPlace) -> None:
    for path in ("files.zip", "ranges.zip"):
        got, head = get(place, path), get(place, path, method="HEAD")
        assert head.status == 200
        check_fields(head, path)
        for name in ("content-length", "etag", "last-modified", "accept-ranges"):
            assert head.headers.get(name) == got.headers.get(name)


def test_a_layout_is_resumed_and_answers_conditions(place: FrameworkPlace) -> None:
    whole = get(place, "ranges.zip")
    assert (whole.status, whole.headers["accept-ranges"], members(whole.data)) == (200, "bytes", FILES)
    assert whole.headers["content-length"] == str(len(whole.data))
    tag, size = whole.headers["etag"], len(whole.data)
    rest = get(place, "ranges.zip", "-H", f"If-Range: {tag}", "-r", "1000000-")
    assert (rest.status, rest.headers["content-range"]) == (206, f"bytes 1000000-{size - 1}/{size}")
    assert (rest.headers["content-length"], rest.headers["etag"]) == (str(size - 1000000), tag)
    check_fields(rest, "ranges.zip")
    assert hashlib.sha256(whole.data[:1000000] + rest.data).digest() == hashlib.sha256(whole.data).digest()
    assert get(place, "ranges.zip", "-H", 'If-Range: "other"', "-r", "1000000-").status == 200
    parts = get(place, "ranges.zip", "-r", "0-9,100-199")
    assert (parts.status, whole.data[100:200] in parts.data) == (206, True)
    not_modified = get(place, "ranges.zip", "-H", f"If-None-Match: {tag}")
    assert (not_modified.status, not_modified.data, not_modified.headers["etag"]) == (304, b"", tag)
    beyond = get(place, "ranges.zip", "-r", f"{size}-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert get(place, "ranges.zip", "-H", 'If-Match: "other"').status == 412


def test_a_killed_download_is_continued_by_curl(place: FrameworkPlace, tmp_path: Path) -> None:
    target = tmp_path / "got.zip"
    command = [need("curl"), "-sSN", "--limit-rate", "1M", "-o", str(target), place.url("ranges.zip")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: target.exists() and target.stat().st_size, "the first bytes", pause=0.001)
        client.kill()
    had = target.stat().st_size
    assert had < len(BIG)
    again = [need("curl"), "-sS", "-C", "-", "-o", str(target), "-w", "%{http_code}", place.url("ranges.zip")]
    assert subprocess.run(again, capture_output=True, timeout=200, check=False).stdout == b"206"
    assert members(target.read_bytes()) == FILES


def test_a_stream_of_unknown_size_comes_in_chunks(place: FrameworkPlace) -> None:
    (place.control / "report").write_text("gated")
    (place.control / "gate").write_text("open")
    got = get(place, "stream.zip")
    assert (got.status, got.code) == (200, 0)
    assert got.headers["transfer-encoding"] == "chunked"
    assert "accept-ranges" not in got.headers
    check_fields(got, "stream.zip")
    assert members(got.data) == {"a note.txt": b"some text\n", "report.txt": BEFORE_THE_GATE + AFTER_THE_GATE}
    assert place.ends() == ["read to its end"]


def test_a_source_that_fails_midway_breaks_the_transfer(place: FrameworkPlace, tmp_path: Path) -> None:
    (place.control / "report").write_text("gated")
    part = tmp_path / "part.zip"
    command = [need("curl"), "-sSN", "--max-time", "60", "-o", str(part), place.url("stream.zip")]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as client:
        wait_for(lambda: part.exists() and part.stat().st_size, "the first bytes")
        (place.control / "gate").write_text("fail")
        _, said = client.communicate(timeout=200)
    assert client.returncode in (18, 56), said
    assert wait_for(place.ends, "the source's end") == ["failed"]
    assert not zipfile.is_zipfile(part)
    wait_for(lambda: "the source broke midway" in place.server.log.read_text(), "a word of it in the log")


def leave(place: FrameworkPlace, after: int) -> None:
    with socket.create_connection(("127.0.0.1", place.server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /stream.zip HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = 0
        while got < after:
            got += len(client.recv(1 << 16))
        if (place.control / "report").read_text() == "gated":
            wait_for((place.control / "waits").exists, "the source to wait")
        assert place.ends() == []


def test_a_client_that_leaves_closes_the_source(place: FrameworkPlace) -> None:
    (place.control / "report").write_text("long")
    leave(place, after=1 << 20)
    assert wait_for(place.ends, "the source's end") == ["closed"]


def test_a_client_that_leaves_while_a_source_waits(place: FrameworkPlace) -> None:
    if place.kind in ("sync", "gthread", "waitress"):
        pytest.skip("a thread hears of it only where there is something to send")
    (place.control / "report").write_text("gated")
    leave(place, after=len(BEFORE_THE_GATE))
    assert wait_for(place.ends, "the source's end") == ["closed"]


def test_an_early_failure_is_a_500(place: FrameworkPlace) -> None:
    got = get(place, "early.zip")
    if place.app == "django_asgi_plain":  # Django has sent the header fields before it asks for the first chunk
        assert got.code in (18, 52, 56)
    else:
        assert (got.status, got.code) == (500, 0)
    assert not got.data.startswith(b"PK")
    assert get(place, "files.zip").status == 200
