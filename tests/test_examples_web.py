"""The examples of resumable downloads under their servers, asked by curl, wget and aria2c."""

from __future__ import annotations

import ast
import hashlib
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.async_servers import uvicorn
from tests.support.oracles import members, need, seven_zip, unzip
from tests.support.servers import EXAMPLES, Server, gunicorn, serve, wait_for

BIG = random.Random(5).randbytes(24 << 20)
FILES = {"a note.txt": b"some text\n" * 100, "empty.bin": b"", "large.bin": BIG, "sub/Grüße.txt": "Grüße\n".encode()}
SERVED = {
    "sync": gunicorn("resumable_wsgi:app", "sync"),
    "gthread": gunicorn("resumable_wsgi:app", "gthread"),
    "uvicorn": uvicorn("resumable_asgi:app"),
}


def make_tree(root: Path) -> Path:
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def environment(tree: Path, **more: str) -> dict[str, str]:
    return {"ARCHIVED": str(tree), "PYTHONPATH": str(EXAMPLES), **more}


class Place(NamedTuple):
    server: Server
    whole: bytes


def curl(*options: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [need("curl"), "-sS", "--max-time", "60", *options]
    return subprocess.run(command, capture_output=True, timeout=200, check=False, cwd=cwd)


def download(server: Server, target: Path) -> bytes:
    done = curl("-o", target, server.url)
    assert done.returncode == 0, done.stderr
    return target.read_bytes()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("home") / "my photos")


@pytest.fixture(scope="module", params=SERVED)
def place(request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    with serve(SERVED[request.param], home, environment(tree)) as server:
        yield Place(server, download(server, home / "whole.zip"))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kill_midway(server: Server, target: Path) -> int:
    command: list[str | Path] = [need("curl"), "-sSN", "--limit-rate", "20M", "-o", target, server.url]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: target.exists() and target.stat().st_size, "the first bytes", pause=0.001)
        client.kill()
    return target.stat().st_size


def test_the_whole_is_an_archive_of_known_length(place: Place, tmp_path: Path) -> None:
    (archive := tmp_path / "a.zip").write_bytes(place.whole)
    assert unzip(archive) and seven_zip(archive)
    assert members(place.whole) == FILES
    head = curl("-I", place.server.url).stdout.decode().lower()
    assert f"content-length: {len(place.whole)}\r\n" in head
    assert "accept-ranges: bytes\r\n" in head and "etag: " in head


def test_curl_saves_it_under_its_name(place: Place, tmp_path: Path) -> None:
    assert curl("-OJ", place.server.url, cwd=tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["my photos.zip"]


@pytest.mark.parametrize("client", ["curl", "wget"])
def test_a_killed_download_is_resumed(place: Place, tmp_path: Path, client: str) -> None:
    target = tmp_path / "index.html"  # as wget calls it
    had = kill_midway(place.server, target)
    assert 0 < had < len(place.whole)
    if client == "curl":
        done = curl("-C", "-", "-o", target, "-w", "%{http_code} %{size_download}", place.server.url)
        assert done.stdout.decode() == f"206 {len(place.whole) - had}", done.stderr
    else:
        command: list[str | Path] = [need("wget"), "-c", "-T", "20", "-t", "1", "-P", tmp_path, place.server.url]
        done = subprocess.run(command, capture_output=True, timeout=200, check=False)
        assert done.returncode == 0 and b"206 Partial Content" in done.stderr, done.stderr
    assert digest(target.read_bytes()) == digest(place.whole)


def test_aria2c_fetches_segments_from_servers_that_share_nothing(tree: Path, tmp_path: Path) -> None:
    """One runs gunicorn in Tokyo, the other uvicorn in New York."""
    aria2c = need("aria2c")
    with ExitStack() as stack:
        servers = []
        for kind, zone in (("sync", "Asia/Tokyo"), ("uvicorn", "America/New_York")):
            (home := tmp_path / kind).mkdir()
            servers.append(stack.enter_context(serve(SERVED[kind], home, environment(tree, TZ=zone))))
        wholes = {download(server, tmp_path / "whole.zip") for server in servers}
        assert len(wholes) == 1
        options = ["-x4", "-s8", "-k1M", "--file-allocation=none", "--timeout=60", "--max-tries=2", "--no-conf"]
        command: list[str | Path] = [aria2c, *options, "-d", tmp_path, "-o", "got.zip", *(each.url for each in servers)]
        done = subprocess.run(command, capture_output=True, timeout=200, check=False)
        assert done.returncode == 0, done.stdout
        for server in servers:
            assert server.log.read_text().count("206") >= 1 or "uvicorn" not in server.log.read_text()
    assert digest((tmp_path / "got.zip").read_bytes()) == digest(wholes.pop())


def test_a_file_that_was_changed_gives_another_archive(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "tree")
    (home := tmp_path / "home").mkdir()
    with serve(SERVED["uvicorn"], home, environment(root)) as server:
        assert curl("--etag-save", tmp_path / "tag", "-r", "0-999", "-o", tmp_path / "part", server.url).returncode == 0
        tag = (tmp_path / "tag").read_text().strip()
        (root / "a note.txt").write_bytes(b"other text\n" * 91)  # about as long
        how = ("-H", f"If-Range: {tag}", "-r", "1000-", "-w", "%{http_code}", "-o", tmp_path / "got.zip")
        assert curl(*how, server.url).stdout == b"200"
    assert members((tmp_path / "got.zip").read_bytes())["a note.txt"] == b"other text\n" * 91


def documented(example: str) -> list[str]:
    """The command in the example's docstring that starts its server."""
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{example}.py").read_text("utf-8"))) or ""
    (line,) = [line for line in text.splitlines() if "ARCHIVED=" in line]
    return shlex.split(line)[1:]


@pytest.mark.parametrize(
    ("example", "port"), [("resumable_wsgi", "--bind=127.0.0.1:0"), ("resumable_asgi", "--port=0")]
)
def test_the_documented_command_serves_the_example(example: str, port: str, tree: Path, tmp_path: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with serve([*documented(example), port], tmp_path, {"ARCHIVED": str(tree), "PATH": path}) as server:
        assert members(download(server, tmp_path / "got.zip")) == FILES
