"""The examples, each under the servers it is made for, downloaded by real clients and judged by unzip."""

from __future__ import annotations

import ast
import csv
import http.client
import io
import os
import shlex
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import wsgi_servers
from tests.loops import module
from tests.oracles import members, need, unzip
from tests.servers import (
    AFTER_THE_GATE,
    BEFORE_THE_GATE,
    BLOCK,
    EXAMPLES,
    PATIENCE,
    ROOT,
    Server,
    gunicorn,
    serve,
    wait_for,
    werkzeug,
    wsgiref,
)

FILES = {
    "a note.txt": b"some text\n" * 100,
    "empty.bin": b"",
    "large.bin": BLOCK * 5,
    "sub/Grüße, 世界.txt": "Grüße\n".encode(),
    "sub/deeper/data.bin": bytes(range(256)),
}
SQUARES = b"".join(b"%d squared is %d\n" % (number, number**2) for number in range(1000))
SERVED = [
    ("flask_download", "werkzeug"),
    ("flask_download", "sync"),
    ("flask_download", "gthread"),
    ("falcon_download", "sync"),
    ("falcon_download", "gthread"),
    ("wsgi_download", "wsgiref"),
    ("wsgi_download", "sync"),
    ("wsgi_download", "gthread"),
    ("wsgi_download", "waitress"),
    ("wsgi_download", "gevent"),
    ("legacy_zipfile", "wsgiref"),
    ("legacy_zipfile", "gthread"),
]


def make_tree(root: Path) -> Path:
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "sub/nothing").mkdir()
    return root


class Case(NamedTuple):
    example: str
    kind: str
    server: Server
    control: Path

    @property
    def report_name(self) -> str:
        return "report.csv" if self.example == "flask_download" else "report.txt"

    def check_own_report(self, report: bytes) -> None:
        """What the example itself puts there."""
        if self.example == "flask_download":
            rows = list(csv.reader(io.StringIO(report.decode(), newline="")))
            assert rows == [["number", "square"], *([str(n), str(n**2)] for n in range(1000))]
        elif self.example == "falcon_download":
            lines = report.decode().splitlines()
            assert lines[0].startswith("Downloaded on 20")
            assert lines[1:] == [f"{len(FILES[name]):12} {name}" for name in sorted(FILES)]
        else:
            assert report == SQUARES

    def check(self, archive: Path) -> None:
        """The whole download, member by member."""
        verdict = unzip(archive)
        assert verdict, verdict.said
        found = members(archive.read_bytes())
        self.check_own_report(found.pop(self.report_name))
        assert found == expected(self.example)


def expected(example: str) -> dict[str, bytes]:
    """All members but the report."""
    if example != "legacy_zipfile":
        return {f"files/{name}": data for name, data in FILES.items()} | {"files/sub/nothing/": b""}
    top = {name: data for name, data in FILES.items() if "/" not in name}
    listing = "".join(f"{name},{len(data)}\r\n" for name, data in top.items()).encode()
    readme = b"What is in this archive: see contents.csv.\n"
    return {f"files/{name}": data for name, data in top.items()} | {"README.txt": readme, "contents.csv": listing}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module", params=SERVED, ids="-".join)
def running(request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    example, kind = request.param
    home = tmp_path_factory.mktemp("home")
    (control := home / "control").mkdir()
    app = f"tests.servers:probed('{example}')"
    commands = {"werkzeug": lambda: werkzeug(app), "wsgiref": lambda: wsgiref(example)}
    if kind in ("waitress", "gevent"):
        module(kind)  # or skipped
        commands[kind] = lambda: wsgi_servers.command(kind, example)
    command = commands.get(kind, lambda: gunicorn(app, kind))()
    with serve(command, home, {"DOWNLOAD_ROOT": str(tree), "CONTROL": str(control)}) as server:
        yield Case(example, kind, server, control)


@pytest.fixture
def case(running: Case) -> Iterator[Case]:
    """A running server, which is still as good as new when the test is over."""
    yield running
    for left in running.control.iterdir():
        left.unlink()
    archive = running.control / "again.zip"
    curl(running.server.url, archive)
    running.check(archive)
    archive.unlink()


def curl(url: str, target: Path) -> None:
    done = subprocess.run(
        [need("curl"), "-sS", "--max-time", "30", "-o", target, url], capture_output=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr


def get(server: Server) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/")
    return connection, connection.getresponse()


def ends(control: Path) -> list[str]:
    """How the controlled source ended, a line for each time it was opened."""
    place = control / "ends"
    return place.read_text().splitlines() if place.exists() else []


def test_python_downloads_the_whole_archive(case: Case, tmp_path: Path) -> None:
    connection, answer = get(case.server)
    (tmp_path / "got.zip").write_bytes(answer.read())
    connection.close()
    assert answer.status == 200
    assert answer.getheader("Content-Type") == "application/zip"
    # Nobody can know the length; HTTP/1.1 says so in chunks, which have an end that can be missed.
    assert answer.getheader("Content-Length") is None
    assert answer.chunked == (case.kind != "wsgiref")
    case.check(tmp_path / "got.zip")


def test_first_bytes_arrive_while_a_source_still_waits(case: Case, tmp_path: Path) -> None:
    (case.control / "report").write_text("gated")
    connection, answer = get(case.server)
    first = answer.read(len(BLOCK) * 7)  # all files, and a part of what stands before the gate
    assert first
    assert ends(case.control) == []
    (case.control / "gate").write_text("open")
    (tmp_path / "got.zip").write_bytes(first + answer.read())
    connection.close()
    assert unzip(tmp_path / "got.zip")
    assert members((tmp_path / "got.zip").read_bytes())[case.report_name] == BEFORE_THE_GATE + AFTER_THE_GATE
    assert ends(case.control) == ["read to its end"]


def test_a_client_that_goes_away_closes_the_source(case: Case) -> None:
    (case.control / "report").write_text("long")
    with socket.create_connection(("127.0.0.1", case.server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = 0
        while got < 1 << 20:
            got += len(client.recv(1 << 16))
        assert ends(case.control) == []
    assert wait_for(lambda: ends(case.control), "the source's end") == ["closed"]


def test_a_source_that_fails_midway_breaks_the_transfer(case: Case, tmp_path: Path) -> None:
    (case.control / "report").write_text("gated")
    part = tmp_path / "part.zip"
    client = subprocess.Popen(
        [need("curl"), "-sSN", "--max-time", "30", "-o", part, case.server.url], stderr=subprocess.PIPE
    )
    wait_for(lambda: part.exists() and part.stat().st_size, "the first bytes")
    (case.control / "gate").write_text("fail")
    _, said = client.communicate(timeout=40)
    # 18: an incomplete transfer; 56: a broken connection. HTTP/1.0, which wsgiref speaks, has no way to say either.
    assert client.returncode in ((0,) if case.kind == "wsgiref" else (18, 56)), said
    assert ends(case.control) == ["failed"]
    assert not unzip(part)
    assert not zipfile.is_zipfile(part)
    wait_for(lambda: "the source broke midway" in case.server.log.read_text(), "a word of it in the log")


def documented(program: str) -> list[tuple[str, list[str]]]:
    """(example, command) for each command in an example's docstring that starts a server with `program`."""
    found = []
    for path in sorted(EXAMPLES.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        for line in text.splitlines():
            words = shlex.split(line) if "DOWNLOAD_ROOT=" in line else []
            if words[1:2] == [program]:
                found.append((path.stem, words[1:]))
    return found


@pytest.mark.parametrize(
    ("example", "command"),
    [
        *((example, [*command, "--port", "0"]) for example, command in documented("flask")),
        *((example, [*command, "--bind", "127.0.0.1:0"]) for example, command in documented("gunicorn")),
        *documented("python"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_the_documented_command_serves_the_example(
    example: str, command: list[str], tree: Path, tmp_path: Path
) -> None:
    (home := tmp_path / "home").mkdir()
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with serve(command, home, {"DOWNLOAD_ROOT": str(tree), "PORT": "0", "PATH": path}) as server:
        done = subprocess.run(
            [need("curl"), "-sSOJ", "--max-time", "30", server.url], cwd=tmp_path, timeout=40, check=False
        )
        assert done.returncode == 0
        (archive,) = tmp_path.glob("*.zip")
        assert archive.name == ("export.zip" if example == "legacy_zipfile" else "download.zip")
        Case(example, "", server, home).check(archive)


def test_flask_puts_a_note_where_a_file_cannot_be_opened(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    (root / "gone.txt").symlink_to(root / "nowhere")
    (home := tmp_path / "home").mkdir()
    with serve(werkzeug("examples/flask_download"), home, {"DOWNLOAD_ROOT": str(root)}) as server:
        curl(server.url, tmp_path / "got.zip")
    assert unzip(tmp_path / "got.zip")
    found = members((tmp_path / "got.zip").read_bytes())
    assert found.pop("report.csv")
    note = found.pop("files/gone.txt.MISSING.txt")
    assert note == b"This file could not be read: No such file or directory\n"
    assert found == expected("flask_download")
    assert "files/gone.txt is not in the download" in server.log.read_text()


def example(name: str, *arguments: str | Path) -> list[str | Path]:
    return [sys.executable, EXAMPLES / f"{name}.py", *arguments]


def test_stdout_pipe_feeds_bsdtar(tree: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        example("stdout_pipe", tree), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as writer:
        assert writer.stdout is not None and writer.stderr is not None
        extractor = subprocess.run(
            [need("bsdtar"), "-xf", "-", "-C", tmp_path],
            stdin=writer.stdout,
            capture_output=True,
            timeout=40,
            check=False,
        )
        writer.stdout.close()
        told = writer.stderr.read().decode()
    assert (extractor.returncode, writer.returncode) == (0, 0), extractor.stderr
    extracted = {
        path.relative_to(tmp_path / tree.name).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert extracted == FILES
    assert (tmp_path / tree.name / "sub/nothing").is_dir()
    for name, data in FILES.items():
        assert f"{len(data):12} {tree.name}/{name}\n" in told


def test_stdout_pipe_fails_where_a_file_does(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    (root / "zz gone").symlink_to("nowhere")  # the last one, so that there is something to cut
    part = tmp_path / "part.zip"
    with part.open("wb") as output:
        done = subprocess.run(
            example("stdout_pipe", root), stdout=output, stderr=subprocess.PIPE, timeout=40, check=False
        )
    assert done.returncode != 0
    assert b"FileNotFoundError" in done.stderr
    assert part.stat().st_size > 0
    assert not unzip(part)


@pytest.fixture(params=["sync", "gthread"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server that takes a PUT, and where it puts what it has received."""
    (control := tmp_path / "control").mkdir()
    command = gunicorn("tests.servers:receive", request.param)
    with serve(command, control, {"CONTROL": str(control)}) as server:
        yield server, control


def upload(root: Path, url: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(example("object_upload", root, url), capture_output=True, timeout=40, check=False)


def test_object_upload_puts_the_archive_or_fails(store: tuple[Server, Path], tmp_path: Path) -> None:
    server, control = store
    root = make_tree(tmp_path / "root")
    done = upload(root, server.url + "whole.zip")
    assert done.returncode == 0, done.stderr
    assert unzip(control / "whole.zip")
    assert members((control / "whole.zip").read_bytes()) == FILES | {"sub/nothing/": b""}

    refused = upload(root, server.url + "full")
    assert refused.returncode != 0
    assert b"507 Insufficient Storage" in refused.stderr

    (root / "zz gone").symlink_to("nowhere")
    broken = upload(root, server.url + "broken.zip")
    assert broken.returncode != 0
    assert b"FileNotFoundError" in broken.stderr
    wait_for((control / "broken").exists, "the server to notice")
    assert not (control / "broken.zip").exists()
