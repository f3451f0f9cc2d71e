"""The examples, each under the servers it is made for, downloaded by real clients and judged by unzip; crowds."""

from __future__ import annotations

import ast
import asyncio
import csv
import http.client
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import wsgi_servers
from tests.support.async_servers import aiohttp, uvicorn
from tests.support.loops import module
from tests.support.oracles import members, need, unzip
from tests.support.servers import (
    AFTER_THE_GATE,
    BEFORE_THE_GATE,
    BLOCK,
    EXAMPLES,
    PATIENCE,
    ROOT,
    Server,
    gunicorn,
    need_packages,
    serve,
    wait_for,
    werkzeug,
    wsgiref,
)
from tests.support.sweeps import WHOLE
from zipstream_adapter._concurrency.pools import usable_cores

FILES = {
    "a note.txt": b"some text\n" * 100,
    "empty.bin": b"",
    "large.bin": BLOCK * 5,
    "sub/Grüße, 世界.txt": "Grüße\n".encode(),
    "sub/deeper/data.bin": bytes(range(256)),
}
SQUARES = b"".join(b"%d squared is %d\n" % (number, number**2) for number in range(1000))
UNDER_ASGI = ["fastapi_download", "falcon_asgi_download", "django_download"]
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
    *((example, "uvicorn") for example in UNDER_ASGI),
    ("aiohttp_download", "aiohttp"),
    ("django_download", "sync"),
    ("django_download", "gthread"),
]
ASYNCHRONOUS = {*UNDER_ASGI, "aiohttp_download"}
# A plain run takes one server for an example, and each kind of server once.
PLAIN = [
    ("flask_download", "sync"),
    ("falcon_download", "gthread"),
    ("wsgi_download", "waitress"),
    ("wsgi_download", "gevent"),
    ("legacy_zipfile", "wsgiref"),
    *((example, "uvicorn") for example in UNDER_ASGI),
    ("aiohttp_download", "aiohttp"),
]
RUNNING = [pytest.param(row, marks=[pytest.mark.sweep] * (row not in PLAIN), id="-".join(row)) for row in SERVED]
# What Python says of coroutines, tasks, generators and files that nobody has taken care of. gunicorn's workers end
# without closing the file, opened by its descriptor, by which they show that they are alive.
NEGLECT = re.compile(
    r"RuntimeWarning|unclosed (archive|file <_io(?!\.FileIO name=\d+ mode='rb\+'))|never retrieved|Task was destroyed"
    r"|xception ignored|already running"
)
MIB = 1 << 20
CROWD = 200 if WHOLE else 50


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


def command(example: str, kind: str) -> list[str]:
    app = f"tests.support.servers:probed('{example}')"
    if kind == "uvicorn":
        return uvicorn("tests.support.async_servers:asgi", "--factory")
    if kind == "aiohttp":
        return aiohttp(example)
    if kind in ("waitress", "gevent"):
        return wsgi_servers.command(kind, example)
    if kind in ("werkzeug", "wsgiref"):
        return werkzeug(app) if kind == "werkzeug" else wsgiref(example)
    return gunicorn("tests.support.async_servers:wsgi()" if example in ASYNCHRONOUS else app, kind)


def environment(example: str, tree: Path, control: Path) -> dict[str, str]:
    found = {"DOWNLOAD_ROOT": str(tree), "CONTROL": str(control)}
    if example in ASYNCHRONOUS:
        # Some of the latter are the servers' own.
        found |= {"EXAMPLE": example, "PYTHONWARNINGS": "default::RuntimeWarning,default::ResourceWarning"}
    return found


@pytest.fixture(scope="module", params=RUNNING)
def running(request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    example, kind = request.param
    need_packages(example)
    if kind in ("waitress", "gevent"):
        module(kind)
    home = tmp_path_factory.mktemp("home")
    (control := home / "control").mkdir()
    with serve(command(example, kind), home, environment(example, tree, control)) as server:
        yield Case(example, kind, server, control)
    assert not neglect(server)


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
    assert not neglect(running.server)


def neglect(server: Server) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if NEGLECT.search(line)]


def curl(url: str, target: Path) -> None:
    done = subprocess.run(
        [need("curl"), "-sS", "--max-time", "60", "-o", target, url], capture_output=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr


def get(server: Server, path: str = "/") -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", path)
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
    if case.example in ASYNCHRONOUS:
        assert answer.getheader("Content-Disposition") == 'attachment; filename="download.zip"'
    case.check(tmp_path / "got.zip")


def test_a_directory_alone_is_downloaded_with_its_length(case: Case, tmp_path: Path) -> None:
    if case.example == "legacy_zipfile":
        pytest.skip("its members are written as it goes")
    connection, answer = get(case.server, "/files")
    data = answer.read()
    connection.close()
    assert answer.status == 200
    assert answer.getheader("Content-Length") == str(len(data))
    (tmp_path / "got.zip").write_bytes(data)
    assert unzip(tmp_path / "got.zip")
    assert members(data) == expected(case.example)


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


def leave_when(case: Case, enough: Callable[[int], bool]) -> None:
    """Read for as long as `enough`(bytes so far) is not true; then go away."""
    with socket.create_connection(("127.0.0.1", case.server.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.settimeout(0.05)
        got = 0

        def read() -> bool:
            nonlocal got
            with suppress(TimeoutError):
                part = client.recv(1 << 16)
                assert part, "the server went away"
                got += len(part)
            return enough(got)

        wait_for(read, "enough to be sent", pause=0)
        assert ends(case.control) == []


def test_a_client_that_goes_away_closes_the_source_once(case: Case) -> None:
    (case.control / "report").write_text("long")
    leave_when(case, lambda got: got >= MIB)
    assert wait_for(lambda: ends(case.control), "the source's end") == ["closed"]


@pytest.mark.parametrize(
    "running", [row for row in SERVED if row[1] in ("uvicorn", "aiohttp")], ids="-".join, indirect=True
)
def test_a_client_that_goes_away_is_noticed_while_a_source_waits(case: Case) -> None:
    """A WSGI server learns of it when it sends the next chunk."""
    (case.control / "report").write_text("gated")
    leave_when(case, lambda got: (case.control / "waits").exists())
    assert wait_for(lambda: ends(case.control), "the source's end") == ["closed"]


def test_a_source_that_fails_midway_breaks_the_transfer(case: Case, tmp_path: Path) -> None:
    (case.control / "report").write_text("gated")
    part = tmp_path / "part.zip"
    client = subprocess.Popen(
        [need("curl"), "-sSN", "--max-time", "60", "-o", part, case.server.url], stderr=subprocess.PIPE
    )
    wait_for(lambda: part.exists() and part.stat().st_size, "the first bytes")
    (case.control / "gate").write_text("fail")
    _, said = client.communicate(timeout=200)
    # 18: an incomplete transfer; 56: a broken connection; 92: a broken stream of HTTP/2. HTTP/1.0, which wsgiref
    # speaks, has no way to say any.
    assert client.returncode in ((0,) if case.kind == "wsgiref" else (18, 56, 92)), said
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
        *((example, [*command, "--port", "0"]) for example, command in documented("uvicorn")),
        *documented("python"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_the_documented_command_serves_the_example(
    example: str, command: list[str], tree: Path, tmp_path: Path
) -> None:
    need_packages(example)
    (home := tmp_path / "home").mkdir()
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with serve(command, home, {"DOWNLOAD_ROOT": str(tree), "PORT": "0", "PATH": path}) as server:
        done = subprocess.run(
            [need("curl"), "-sSOJ", "--max-time", "60", server.url], cwd=tmp_path, timeout=200, check=False
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
            timeout=200,
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
            example("stdout_pipe", root), stdout=output, stderr=subprocess.PIPE, timeout=200, check=False
        )
    assert done.returncode != 0
    assert b"FileNotFoundError" in done.stderr
    assert part.stat().st_size > 0
    assert not unzip(part)


@pytest.fixture(params=["sync", "gthread"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server that takes a PUT, and where it puts what it has received."""
    (control := tmp_path / "control").mkdir()
    command = gunicorn("tests.support.servers:receive", request.param)
    with serve(command, control, {"CONTROL": str(control)}) as server:
        yield server, control


def upload(root: Path, url: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(example("object_upload", root, url), capture_output=True, timeout=200, check=False)


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


def counts(server: Server, *, collect: bool = False) -> dict[str, Any]:
    """What is open in the server's process. collect: after its garbage collector has run, which does not by itself."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/counts" + "?collect" * collect, headers={"Connection": "close"})
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


async def visit(port: int, all_here: asyncio.Barrier, abruptly: bool) -> None:
    """Download some, wait for everybody else to have got as far, and leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readexactly(MIB)
    await all_here.wait()  # now they are still there
    await all_here.wait()  # now they are not wanted any more
    if abruptly:
        writer.transport.abort()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def come_and_leave(server: Server) -> dict[str, Any]:
    """A crowd of clients; what the server has open while all of them are there."""
    all_here = asyncio.Barrier(CROWD + 1)
    async with asyncio.timeout(6 * PATIENCE), asyncio.TaskGroup() as crowd:
        for number in range(CROWD):
            crowd.create_task(visit(server.port, all_here, abruptly=number % 2 == 0))
        await all_here.wait()
        meanwhile = await asyncio.to_thread(counts, server)
        await all_here.wait()
    return meanwhile


@pytest.mark.parametrize(
    "example", [UNDER_ASGI[0], *(pytest.param(each, marks=pytest.mark.sweep) for each in UNDER_ASGI[1:])]
)
def test_nothing_is_left_of_a_crowd_that_leaves_midway(example: str, tree: Path, tmp_path: Path) -> None:
    need_packages(example)
    (control := tmp_path / "control").mkdir()
    with serve(command(example, "uvicorn"), tmp_path, environment(example, tree, control)) as server:
        curl(server.url, tmp_path / "warm.zip")
        before = counts(server, collect=True)
        (control / "report").write_text("long")
        meanwhile = asyncio.run(come_and_leave(server))
        assert (meanwhile["opened"], meanwhile["open"]) == (CROWD, CROWD)
        # Django has a thread for each of them. We have not.
        ours = [name for name in meanwhile["threads"] if name.startswith("zipstream-adapter")]
        assert 0 < len(ours) <= min(32, usable_cores() + 4) + usable_cores()
        wait_for(lambda: counts(server)["open"] == 0, "all sources to be closed")
        assert ends(control) == ["closed"] * CROWD
        wait_for(lambda: counts(server)["tasks"] <= before["tasks"], "all tasks to end")
        after = counts(server)
        assert not [name for name in after["threads"] if name.startswith("zipstream-adapter")]
        assert after["files"] == []
        assert counts(server, collect=True)["memory"] - before["memory"] < 64 * MIB
        (control / "report").unlink()
        curl(server.url, tmp_path / "again.zip")
        Case(example, "uvicorn", server, control).check(tmp_path / "again.zip")
    # On a busy machine, some of a crowd take longer than the second that a closing gets: they end, as was seen above.
    assert not [line for line in neglect(server) if "after a second cancellation" not in line]


def test_every_web_example_has_a_documented_command() -> None:
    programs = ("flask", "gunicorn", "python", "uvicorn")
    started = {example for program in programs for example, _ in documented(program)}
    assert started == {example for example, _ in SERVED}


def save(root: Path, target: Path) -> subprocess.CompletedProcess[bytes]:
    command: list[str | Path] = [sys.executable, "-W", "error", EXAMPLES / "aiofiles_both_ends.py", root, target]
    return subprocess.run(command, capture_output=True, timeout=200, check=False)


def test_aiofiles_at_both_ends(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "got.zip"
    done = save(tree, target)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert unzip(target)
    found = members(target.read_bytes())
    report = found.pop("report.txt").decode().splitlines()
    assert report == [f"{len(FILES[name]):12} {name}" for name in sorted(FILES)]
    assert found == {f"files/{name}": data for name, data in FILES.items()}
    assert list(tmp_path.iterdir()) == [target]


def test_aiofiles_at_both_ends_leaves_nothing_where_it_fails(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "root")
    (root / "zz\\name").write_bytes(b"no archive can have this under its name")
    target = tmp_path / "got.zip"
    target.write_bytes(b"the one before")
    done = save(root, target)
    assert done.returncode != 0
    assert b"UnsafeNameError" in done.stderr
    assert target.read_bytes() == b"the one before"
    assert sorted(tmp_path.iterdir()) == [target, root]


def test_aiofiles_at_both_ends_does_not_swallow_itself(tmp_path: Path) -> None:
    done = save(make_tree(tmp_path / "root"), tmp_path / "root" / "got.zip")
    assert done.returncode != 0
    assert b"so the archive would contain itself" in done.stderr
    assert not list((tmp_path / "root").glob("got.zip*"))
