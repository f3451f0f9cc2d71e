"""The asynchronous examples, each under its real server, downloaded by curl and judged by unzip; crowds that leave."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.async_servers import aiohttp, uvicorn
from tests.oracles import members, need, unzip
from tests.servers import (
    AFTER_THE_GATE,
    BEFORE_THE_GATE,
    BLOCK,
    EXAMPLES,
    PATIENCE,
    Server,
    gunicorn,
    serve,
    wait_for,
)
from tests.test_examples import FILES, SERVED, Case, curl, documented, ends, get, make_tree
from zipstream_adapter.parallel import usable_cores

UNDER_ASGI = ["fastapi_download", "falcon_asgi_download", "django_download"]
SERVED_ASYNC = [
    *((example, "uvicorn") for example in UNDER_ASGI),
    ("aiohttp_download", "aiohttp"),
    ("django_download", "sync"),
    ("django_download", "gthread"),
]
# What Python says of coroutines, tasks, generators and files that nobody has taken care of.
NEGLECT = re.compile(
    r"RuntimeWarning|unclosed (archive|file <_io)|never retrieved|Task was destroyed|xception ignored|already running"
)
MIB = 1 << 20
CROWD = 200


def environment(example: str, tree: Path, control: Path) -> dict[str, str]:
    warnings = "default::RuntimeWarning,default::ResourceWarning"  # some of the latter are the servers' own
    return {"DOWNLOAD_ROOT": str(tree), "CONTROL": str(control), "EXAMPLE": example, "PYTHONWARNINGS": warnings}


def command(example: str, kind: str) -> list[str]:
    if kind == "uvicorn":
        return uvicorn("tests.async_servers:asgi", "--factory")
    return aiohttp(example) if kind == "aiohttp" else gunicorn("tests.async_servers:wsgi()", kind)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module", params=SERVED_ASYNC, ids="-".join)
def running(request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    example, kind = request.param
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


def counts(server: Server, *, collect: bool = False) -> dict[str, Any]:
    """What is open in the server's process. collect: after its garbage collector has run, which does not by itself."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/counts" + "?collect" * collect, headers={"Connection": "close"})
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def test_curl_downloads_the_whole_archive(case: Case, tmp_path: Path) -> None:
    head = tmp_path / "head"
    done = subprocess.run(
        [need("curl"), "-sS", "--max-time", "30", "-D", head, "-o", tmp_path / "got.zip", case.server.url],
        timeout=40,
        check=False,
    )
    assert done.returncode == 0
    case.check(tmp_path / "got.zip")
    lines = head.read_text().lower().splitlines()
    assert lines[0].startswith("http/1.1 200")
    assert "content-type: application/zip" in lines
    assert 'content-disposition: attachment; filename="download.zip"' in lines
    # Nobody can know the length; HTTP/1.1 says so in chunks, which have an end that can be missed.
    assert "transfer-encoding: chunked" in lines
    assert not any(line.startswith("content-length") for line in lines)


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
    assert members((tmp_path / "got.zip").read_bytes())["report.txt"] == BEFORE_THE_GATE + AFTER_THE_GATE
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


def test_a_client_that_goes_away_is_noticed_while_a_source_waits(case: Case) -> None:
    if case.kind in ("sync", "gthread"):
        pytest.skip("a WSGI server learns of it when it sends the next chunk")
    (case.control / "report").write_text("gated")
    leave_when(case, lambda got: (case.control / "waits").exists())
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
    # An incomplete transfer; a broken connection; a broken stream of HTTP/2.
    assert client.returncode in (18, 56, 92), said
    assert ends(case.control) == ["failed"]
    assert not unzip(part)
    assert not zipfile.is_zipfile(part)
    wait_for(lambda: "the source broke midway" in case.server.log.read_text(), "a word of it in the log")


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
    async with asyncio.timeout(2 * PATIENCE), asyncio.TaskGroup() as crowd:
        for number in range(CROWD):
            crowd.create_task(visit(server.port, all_here, abruptly=number % 2 == 0))
        await all_here.wait()
        meanwhile = await asyncio.to_thread(counts, server)
        await all_here.wait()
    return meanwhile


@pytest.mark.parametrize("example", UNDER_ASGI)
def test_nothing_is_left_of_a_crowd_that_leaves_midway(example: str, tree: Path, tmp_path: Path) -> None:
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
    assert not neglect(server)


@pytest.mark.parametrize(("example", "command"), documented("uvicorn"))
def test_the_documented_command_serves_the_example(
    example: str, command: list[str], tree: Path, tmp_path: Path
) -> None:
    (home := tmp_path / "home").mkdir()
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with serve([*command, "--port", "0"], home, {"DOWNLOAD_ROOT": str(tree), "PATH": path}) as server:
        done = subprocess.run(
            [need("curl"), "-sSOJ", "--max-time", "30", server.url], cwd=tmp_path, timeout=40, check=False
        )
        assert done.returncode == 0
        Case(example, "uvicorn", server, home).check(tmp_path / "download.zip")


def test_every_web_example_has_a_documented_command() -> None:
    programs = ("flask", "gunicorn", "python", "uvicorn")
    started = {example for program in programs for example, _ in documented(program)}
    assert started == {example for example, _ in (*SERVED, *SERVED_ASYNC)}


def save(root: Path, target: Path) -> subprocess.CompletedProcess[bytes]:
    example: list[str | Path] = [EXAMPLES / "aiofiles_both_ends.py", root, target]
    return subprocess.run([sys.executable, "-W", "error", *example], capture_output=True, timeout=40, check=False)


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
    assert b"would become a part of itself" in done.stderr
    assert not list((tmp_path / "root").glob("got.zip*"))
