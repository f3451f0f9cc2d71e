"""wsgi_app under gunicorn and asgi_app under uvicorn, asked by curl and wget: resumed, broken and left downloads."""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.async_servers import uvicorn
from tests.support.oracles import members, need, unzip
from tests.support.servers import AFTER_THE_GATE, BEFORE_THE_GATE, PATIENCE, Place, gunicorn, serve, wait_for
from tests.support.web_servers import BREAKS_AT, whole

SERVED = {
    "sync": gunicorn("tests.support.web_servers:wsgi()", "sync"),
    "gthread": gunicorn("tests.support.web_servers:wsgi()", "gthread"),
    "h11": uvicorn("tests.support.web_servers:asgi", "--factory", "--http", "h11"),
}


@pytest.fixture(scope="module", params=SERVED)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    (control := home / "control").mkdir()
    with serve(SERVED[request.param], home, {"CONTROL": str(control)}) as server:
        yield Place(server, control)
    said = server.log.read_text()
    assert not re.search(r"never retrieved|was destroyed|xception ignored|never awaited|already running", said)


@pytest.fixture
def place(running: Place) -> Iterator[Place]:
    for left in running.control.iterdir():
        left.unlink()
    yield running
    done = curl("-o", "/dev/null", "-w", "%{size_download}", running.url("layout.zip"))
    assert int(done.stdout) == len(whole())  # as good as new


def curl(*options: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [need("curl"), "-sS", "--max-time", "60", *options]
    return subprocess.run(command, capture_output=True, timeout=200, check=False, cwd=cwd)


def cut(path: Path, size: int) -> None:
    """As if the transfer had been killed there."""
    with path.open("r+b") as file:
        file.truncate(size)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


WHOLE = hashlib.sha256(whole()).hexdigest()


def kill_midway(place: Place, target: Path) -> int:
    """The size of what is left of a transfer of which curl was killed."""
    command: list[str | Path] = [need("curl"), "-sSN", "--limit-rate", "20M", "-o", target, place.url("layout.zip")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: target.exists() and target.stat().st_size, "the first bytes", pause=0.001)
        client.kill()
    size = target.stat().st_size
    assert 0 < size < len(whole())
    return size


def test_curl_resumes_what_was_killed(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "got.zip"
    size = kill_midway(place, target)
    done = curl("-C", "-", "-o", target, "-w", "%{http_code} %{size_download}", place.url("layout.zip"))
    assert (done.returncode, done.stdout.decode()) == (0, f"206 {len(whole()) - size}"), done.stderr
    assert digest(target) == WHOLE
    assert unzip(target)


def test_wget_resumes_what_was_killed(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "layout.zip"
    size = kill_midway(place, target)
    command: list[str | Path] = [need("wget"), "-c", "-T", "20", "-t", "1", "-P", tmp_path, place.url("layout.zip")]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "206 Partial Content" in said and f"{len(whole()) - size} (" in said
    assert digest(target) == WHOLE
    again = subprocess.run(command, capture_output=True, timeout=200, check=False)
    assert "416" in again.stderr.decode() and "nothing to do" in again.stderr.decode()
    assert digest(target) == WHOLE


def test_a_changed_archive_is_not_mixed(place: Place, tmp_path: Path) -> None:
    """With If-Range, the whole comes where the tag is another one."""
    target = tmp_path / "got.zip"
    url = place.url("layout.zip")
    tags = ("--etag-save", tmp_path / "tag")
    assert curl(*tags, "-r", "0-99", "-o", target, url).returncode == 0
    tag = (tmp_path / "tag").read_text().strip()
    assert tag == '"first"'
    kept = curl("-H", f"If-Range: {tag}", "-r", "100-", "-w", "%{http_code}", "-o", tmp_path / "rest", url)
    assert (kept.stdout, (tmp_path / "rest").stat().st_size) == (b"206", len(whole()) - 100)
    (place.control / "tag").write_text("second")
    other = curl("-H", f"If-Range: {tag}", "-r", "100-", "-w", "%{http_code}", "-o", tmp_path / "rest", url)
    assert (other.stdout, (tmp_path / "rest").stat().st_size) == (b"200", len(whole()))
    other = curl("-H", f"If-Match: {tag}", "-r", "100-", "-w", "%{http_code}", "-o", tmp_path / "rest", url)
    assert other.stdout == b"412"


def test_head_and_conditions_leave_the_connection_usable(place: Place) -> None:
    """Nothing is sent after the headers of a HEAD or a 304: another answer follows on the same connection."""
    connection = http.client.HTTPConnection("127.0.0.1", place.server.port, timeout=PATIENCE)
    told = []
    for method, fields in [
        ("HEAD", {}),
        ("GET", {"If-None-Match": '"first"'}),
        ("GET", {"Range": "bytes=0-3"}),
        ("GET", {"Range": "bytes=0-3,10-13"}),
        ("GET", {"Range": f"bytes={len(whole())}-"}),
        ("POST", {}),
        ("HEAD", {"Range": "bytes=0-3"}),
    ]:
        connection.request(method, "/layout.zip", headers=fields)
        answer = connection.getresponse()
        told.append((answer.status, answer.getheader("Content-Length"), len(answer.read())))
        assert answer.getheader("Date")
    connection.close()
    size = str(len(whole()))
    assert [status for status, _, _ in told] == [200, 304, 206, 206, 416, 405, 200]
    assert told[0] == told[6] == (200, size, 0)
    assert told[1][2] == 0
    assert told[2] == (206, "4", 4)
    assert told[3][1] == str(told[3][2])


def test_a_disk_that_breaks_midway_breaks_the_transfer(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "got.zip"
    done = curl("-o", target, place.url("broken.zip"))
    assert done.returncode in (18, 56), done.stderr
    assert 0 < target.stat().st_size <= BREAKS_AT
    assert not zipfile.is_zipfile(target)
    wait_for(lambda: "the disk broke" in place.server.log.read_text(), "a word of it in the log")
    parts = curl("-r", f"0-9,{BREAKS_AT - 99999}-{BREAKS_AT + 99999}", "-o", target, place.url("broken.zip"))
    assert parts.returncode in (18, 56), parts.stderr


@pytest.mark.parametrize("path", ["early.zip", "raises.zip"])
def test_what_fails_before_the_first_byte_is_a_500(place: Place, path: str) -> None:
    done = curl("-w", "%{http_code}", "-o", "/dev/null", place.url(path))
    assert done.stdout == b"500"


def test_nothing_found_is_a_404(place: Place) -> None:
    done = curl("-w", "%{http_code}", place.url("nothing.zip"))
    assert done.stdout == b"Not Found\n404"
    assert curl("-I", place.url("nothing.zip")).stdout.startswith(b"HTTP/1.1 404")


def test_a_stream_comes_in_chunks(place: Place, tmp_path: Path) -> None:
    (place.control / "report").write_text("gated")
    (place.control / "gate").write_text("open")
    target = tmp_path / "got.zip"
    done = curl("-D", tmp_path / "head", "-o", target, place.url("stream.zip"))
    assert done.returncode == 0, done.stderr
    head = (tmp_path / "head").read_text().lower()
    assert "\ntransfer-encoding: chunked" in head and "\naccept-ranges" not in head
    assert '\ncontent-disposition: attachment; filename="stream.zip"' in head
    expected = {"a note.txt": b"some text\n", "report.txt": BEFORE_THE_GATE + AFTER_THE_GATE}
    assert members(target.read_bytes()) == expected
    assert place.ends() == ["read to its end"]


def test_a_source_that_fails_midway_breaks_the_transfer(place: Place, tmp_path: Path) -> None:
    (place.control / "report").write_text("gated")
    part = tmp_path / "part.zip"
    client = subprocess.Popen(
        [need("curl"), "-sSN", "--max-time", "60", "-o", part, place.url("stream.zip")], stderr=subprocess.PIPE
    )
    wait_for(lambda: part.exists() and part.stat().st_size, "the first bytes")
    (place.control / "gate").write_text("fail")
    _, said = client.communicate(timeout=200)
    assert client.returncode in (18, 56), said
    assert place.ends() == ["failed"]
    assert not zipfile.is_zipfile(part)


def test_a_client_that_goes_away_closes_the_source(place: Place) -> None:
    (place.control / "report").write_text("long")
    with socket.create_connection(("127.0.0.1", place.server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /stream.zip HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = 0
        while got < 1 << 20:
            got += len(client.recv(1 << 16))
        assert place.ends() == []
    assert wait_for(place.ends, "the source's end") == ["closed"]


@pytest.mark.parametrize("running", ["h11"], indirect=True)
def test_a_client_that_goes_away_while_a_source_waits(place: Place) -> None:
    """Only the event loop hears of it before there is something to send."""
    (place.control / "report").write_text("gated")
    with socket.create_connection(("127.0.0.1", place.server.port), timeout=PATIENCE) as client:
        client.sendall(b"GET /stream.zip HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = 0
        while got < len(BEFORE_THE_GATE):
            got += len(client.recv(1 << 16))
        wait_for((place.control / "waits").exists, "the source to wait")
        assert place.ends() == []
    assert wait_for(place.ends, "the source's end") == ["closed"]


@pytest.mark.parametrize(
    ("filename", "saved"),
    [
        ("photos 2026.zip", "photos 2026.zip"),
        ("a;b, c=d.zip", "a;b, c=d.zip"),
        ("Grüße.zip", "Gru_e.zip"),
        ('say "cheese".zip', "say _cheese_.zip"),
        ("it's 100%25.zip", "it_s 100_25.zip"),
        ("🏖.zip", "_.zip"),
    ],
)
def test_curl_saves_it_under_its_name(place: Place, tmp_path: Path, filename: str, saved: str) -> None:
    """It knows no filename*, as others do: it gets the spelling in ASCII."""
    done = curl("-OJ", place.url("named?" + quote(filename)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [saved]


def test_wget_saves_it_under_its_name(place: Place, tmp_path: Path) -> None:
    url = place.url("named?" + quote("Grüße 世界.zip"))
    command: list[str | Path] = [
        need("wget"),
        "-q",
        "--content-disposition",
        "-T",
        "20",
        "-t",
        "1",
        "-P",
        tmp_path,
        url,
    ]
    done = subprocess.run(command, timeout=200, check=False, env={"LC_ALL": "C.UTF-8", "HOME": str(tmp_path)})
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["Grüße 世界.zip"]


@pytest.mark.parametrize("name", ["a%0D%0AX-Evil:%201.zip", "..%2Fa.zip"])
def test_a_name_that_cannot_be_sent_is_a_500(place: Place, name: str) -> None:
    done = curl("-i", place.url(f"named?{name}"))
    assert done.stdout.startswith(b"HTTP/1.1 500")
    assert b"X-Evil" not in done.stdout
