"""The command `serve`: pages, files and archives of a directory, and nothing outside of it by any spelling."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import io
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.support.loops import module
from tests.support.oracles import members, need
from tests.support.servers import is_settled, wait_for
from zipstream_adapter import ChecksumCache
from zipstream_adapter.cli.serve import command, tries
from zipstream_adapter.cli.serve.shelf import Shelf

module("uvicorn")
from zipstream_adapter.cli.serve.app import Library, Page, make_app  # noqa: E402
from zipstream_adapter.web import Download  # noqa: E402

SECRET = b"not to be told"
MEMBERS = {
    "a.txt": b"some text\n" * 100,
    "large.bin": bytes(range(256)) * (1 << 14),
    "sub/b.txt": b"b",
    "sub/deep/c & d.txt": b"c",
    "Grüße, 世界.txt": b"unicode",
    "<script>alert(1)<": b"script",
    "javascript:alert(1)": b"",
    'quotes" onmouseover="alert(1)\'.txt': b"quotes",
    "100%41.txt": b"percent",
    "new\nline \u202etxt.exe": b"controls",
}


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Served:
    def __init__(self, port: int, said: str) -> None:
        self.port = port
        self.said = said
        self.url = f"http://127.0.0.1:{port}/"

    def get(self, path: str | bytes, method: str = "GET", **headers: str) -> Reply:
        """Ask for a path exactly as it is spelled."""
        target = path if isinstance(path, bytes) else path.encode()
        fields = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **headers}
        lines = [method.encode() + b" " + target + b" HTTP/1.1"]
        lines += [f"{name.replace('_', '-')}: {value}".encode() for name, value in fields.items()]
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(b"\r\n".join([*lines, b"", b""]))
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


class Cutting(threading.Thread):
    """Passes connections on to `port`, and ends the first long answer after `after` bytes.

    Attributes:
        port: where it listens.
        requests: the heads of all requests.
    """

    def __init__(self, port: int, after: int) -> None:
        super().__init__(daemon=True)
        self._to, self._after = port, after
        self._cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(60)
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []

    def run(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._pass_on, args=self._listener.accept()[:1], daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._to)) as server:
            client.settimeout(60)
            while request := client.recv(1 << 16):
                self.requests.append(request)
                # One request for each connection, so that the end of the answer is the end of what is read.
                server.sendall(request.replace(b"Connection: keep-alive", b"Connection: close"))
                sent = 0
                while data := server.recv(1 << 16):
                    client.sendall(data)
                    sent += len(data)
                    if sent > self._after and not self._cut:
                        self._cut = True
                        return
                return

    def close(self) -> None:
        self._listener.close()


@contextmanager
def serving(
    *arguments: str | Path,
    cwd: Path,
    end: signal.Signals = signal.SIGINT,
    status: int = 0,
    before: Sequence[str] = (),
) -> Iterator[Served]:
    """before: a program that starts the command."""
    command = [*before, sys.executable, "-m", "zipstream_adapter", "serve", *map(str, arguments)]
    log = cwd / "serve.log"
    # A test run in the background may have been told to ignore SIGINT and SIGHUP, and children inherit that.
    with_sigint = (
        "import os, signal, sys; signal.signal(2, signal.SIG_DFL); signal.signal(1, signal.SIG_DFL); "
        "signal.alarm(600); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", with_sigint, *command],
            cwd=cwd,
            env={**os.environ, "TMPDIR": str(cwd)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        found = wait_for(lambda: re.search(r"at http://.*:(\d+)/ ", log.read_text()) or process.poll(), "the address")
        assert isinstance(found, re.Match), log.read_text()
        yield Served(int(found[1]), log.read_text())
        process.send_signal(end)
        assert process.wait(60) == status, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tree` is served; beside it, and hidden in it, is what must not be seen."""
    place = tmp_path_factory.mktemp("serve")
    for name, data in MEMBERS.items():
        path = place / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name in "secret.txt", "tree/.hidden", "tree/.dir/secret.txt", "tree/sub/.hidden", "treeside/secret.txt":
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(SECRET)
    (place / "tree/empty").mkdir()
    (place / "tree/out").symlink_to("..")
    (place / "tree/outfile").symlink_to("../secret.txt")
    (place / "tree/toside").symlink_to("../treeside")
    (place / "tree/tohidden").symlink_to(".dir")
    (place / "tree/sub/loop").symlink_to("..")
    (place / "tree/within").symlink_to("sub/b.txt")
    os.mkfifo(place / "tree/pipe")
    return place


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    with serving("tree", cwd=place) as server:
        yield server


class Links(HTMLParser):
    """What a page has: links, values of check boxes, and all tags."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.links: list[str] = []
        self.values: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        if tag == "a":
            self.links.append(found["href"] or "")
        if tag == "input":
            self.values.append(found["value"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def archive(reply: Reply) -> dict[str, bytes]:
    assert reply.status == 200 and int(reply.headers["content-length"]) == len(reply.body)
    return members(reply.body)


SEEN = {name.partition("/")[0] for name in MEMBERS} | {"empty", "within"}


def test_a_page_lists_what_may_be_seen(served: Served) -> None:
    reply = served.get("/")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = Links(reply.body)
    assert {os.fsdecode(quote_back(value)) for value in page.values} == SEEN
    assert "2 folders, 9 files (4.0 MiB)" in page.text
    assert served.get("/sub/").status == 200 and "c & d" not in Links(served.get("/sub/").body).text
    assert "This folder is empty" in Links(served.get("/empty/").body).text


def quote_back(value: str) -> bytes:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(value)


def test_no_name_is_more_than_a_name(served: Served) -> None:
    reply = served.get("/")
    page = Links(reply.body)
    assert "script" not in page.tags and "onmouseover" not in page.attributes
    assert all(link.startswith("./") for link in page.links)
    assert "<script>alert(1)<" in page.text and "javascript:alert(1)" in page.text
    assert r"new\nline \u202etxt.exe" in page.text
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    style = re.search(rb"<style>(.*?)</style>", reply.body, re.DOTALL)
    assert style is not None
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style[1]).digest()).decode()}'" in policy
    for link in page.links:
        if not link.endswith("?zip=all"):
            assert served.get(link[1:]).status == 200


@pytest.mark.parametrize("name", [*MEMBERS, "within"])
def test_a_file_is_itself_in_ranges(served: Served, name: str) -> None:
    data = MEMBERS.get(name, b"b")
    path = "/" + quote(name)
    whole = served.get(path)
    assert (whole.status, whole.body) == (200, data)
    assert whole.headers["content-disposition"].startswith("attachment; ")
    assert whole.headers["x-content-type-options"] == "nosniff"
    head = served.get(path, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(data)))
    if len(data) > 10:
        part = served.get(path, Range="bytes=5-9", If_Range=whole.headers["etag"])
        assert (part.status, part.body) == (206, data[5:10])
        assert part.headers["content-range"] == f"bytes 5-9/{len(data)}"
        assert served.get(path, If_None_Match=whole.headers["etag"]).status == 304
        assert served.get(path, Range="bytes=5-9", If_Range='"other"').status == 200


def test_all_chosen_ones_and_a_folder_come_as_one_archive(served: Served) -> None:
    everything = {**MEMBERS, "within": b"b", "empty/": b""}
    repaired = {"new\nline \u202etxt.exe": None, "javascript:alert(1)": None}
    found = archive(served.get("/?zip=all"))
    assert {name: data for name, data in everything.items() if name not in repaired}.items() <= found.items()
    assert len(found) == len(everything) and SECRET not in found.values()
    chosen = served.get("/?name=a.txt&name=sub&zip=chosen&name=" + quote(quote("Grüße, 世界.txt")))
    assert archive(chosen) == {
        name: MEMBERS[name] for name in ("a.txt", "sub/b.txt", "sub/deep/c & d.txt", "Grüße, 世界.txt")
    }
    folder = served.get("/sub/?zip=all")
    assert archive(folder) == {"b.txt": b"b", "deep/c & d.txt": b"c"}
    assert folder.headers["content-disposition"] == 'attachment; filename="sub.zip"'
    none = served.get("/?zip=chosen")
    assert none.status == 400 and "Choose at least one" in Links(none.body).text


def test_an_archive_is_resumed(served: Served) -> None:
    path = "/?zip=all"
    whole = served.get(path)
    half = len(whole.body) // 2
    again = served.get(path)
    assert (again.headers["etag"], again.body) == (whole.headers["etag"], whole.body)  # checksums are known now
    rest = served.get(path, Range=f"bytes={half}-", If_Range=whole.headers["etag"])
    assert (rest.status, rest.body) == (206, whole.body[half:])
    assert zipfile.ZipFile(io.BytesIO(whole.body[:half] + rest.body)).testzip() is None


def test_a_killed_download_is_resumed_by_curl(served: Served, tmp_path: Path) -> None:
    command = [need("curl"), "-sS", "--fail", "-o", "out.zip", f"{served.url}?zip=all"]
    killed = subprocess.Popen([*command, "-N", "--limit-rate", "30k"], cwd=tmp_path)
    wait_for(lambda: (tmp_path / "out.zip").exists() and (tmp_path / "out.zip").stat().st_size > 1 << 14, "some of it")
    killed.kill()
    killed.wait()
    cut = (tmp_path / "out.zip").stat().st_size
    subprocess.run([*command, "--continue-at", "-"], cwd=tmp_path, check=True, timeout=200)
    data = (tmp_path / "out.zip").read_bytes()
    assert cut < len(data) and data == served.get("/?zip=all").body


SPELLINGS_OF_UP = [
    "..", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "..%00", "..%20", "%20..", "..;", "..%3b", "...", "....", "..%2f..",
    "..%5c..", "..\\..", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "%uff0e%uff0e", "%ef%bc%8e%ef%bc%8e", "%e2%80%a5", "out",
    "out/tree/..", "./out", "sub/..", "sub/../..", "sub/loop/..", "toside/..", "%2f..", "..%ff", "..%0a", "..%09",
]  # fmt: skip
TARGETS = ["secret.txt", "treeside/secret.txt", "etc/passwd", "%73ecret.txt", "secret.txt%00.zip", "?zip=all"]
SPELLINGS = [f"/{up}/{target}" for up, target in itertools.product(SPELLINGS_OF_UP, TARGETS)] + [
    "/../../../../../../etc/passwd", "//etc/passwd", "///etc/passwd", "/%2fetc/passwd", "/%2f%2fetc%2fpasswd",
    "/sub/../../secret.txt", "/sub/%2e%2e/%2e%2e/secret.txt", "/outfile", "/outfile/", "/outfile?zip=all", "/out/",
    "/out/secret.txt", "/toside/", "/toside/secret.txt", "/tohidden/", "/tohidden/secret.txt", "/.hidden",
    "/%2ehidden", "/.dir/", "/.dir/secret.txt", "/sub/.hidden", "/sub/loop/.hidden", "/sub/loop/out/secret.txt",
    "/./secret.txt", "/.//../secret.txt", "/pipe", "/secret.txt", "/?zip=chosen&name=..",
    "/?zip=chosen&name=../secret.txt",
    "/?zip=chosen&name=out", "/?zip=chosen&name=outfile", "/?zip=chosen&name=.hidden", "/?zip=chosen&name=%252ehidden",
    "/?zip=chosen&name=..%2fsecret.txt", "/?zip=chosen&name=sub/..", "/?zip=chosen&name=/etc/passwd",
    "/?zip=chosen&name=a.txt&name=pipe", "/tree/../secret.txt", "/A.TXT", "/a.txt/", "/a.txt/.", "/a.txt.", "/a.txt%20",
    "/a.txt::$DATA", "/a.txt%00", "/SUB/b.txt", "/~root/", "/file:///etc/passwd", "/C:/secret.txt", "/\\secret.txt",
]  # fmt: skip


def test_nothing_outside_is_seen_by_any_spelling(served: Served) -> None:
    assert len(SPELLINGS) >= 200
    wrong = []
    for spelling in SPELLINGS:
        reply = served.get(spelling.encode())
        if reply.status not in (400, 404) or SECRET in reply.body or b"root:" in reply.body:
            wrong.append((spelling, reply.status))
    # A link to a directory above, but within what is served, is what it leads to.
    assert wrong == []
    for target in (f"http://127.0.0.1:{served.port}/../secret.txt", "*", "secret.txt", "../secret.txt"):
        reply = served.get(target.encode())
        assert reply.status in (400, 404) and SECRET not in reply.body
    for path in "/?zip=all", "/sub/?zip=all", "/?zip=chosen&name=sub":
        assert SECRET not in archive(served.get(path)).values()


def test_nothing_is_written(served: Served) -> None:
    for method in "POST", "PUT", "DELETE", "PATCH", "MKCOL", "OPTIONS":
        reply = served.get("/new.txt", method, Content_Length="0")
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_a_name_of_another_host_is_refused(served: Served) -> None:
    """A page elsewhere could otherwise let its name lead here, and read."""
    assert served.get("/", Host="evil.example").status == 421
    assert served.get("/", Host=f"localhost:{served.port}").status == 200


def test_a_directory_without_its_slash_is_sent_on(served: Served) -> None:
    reply = served.get("/sub?zip=all")
    assert (reply.status, reply.headers["location"]) == (301, "./sub/?zip=all")
    assert served.get("//evil.example/..").status == 404
    assert served.get("//sub").status == 404


def test_a_password_is_asked_for(place: Path) -> None:
    (place / "password").write_text("geheim: süß\n")

    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    with serving("tree", "--password-file", "password", cwd=place) as server:
        for path in "/", "/a.txt", "/?zip=all", "/missing":
            reply = server.get(path)
            assert (reply.status, reply.headers["www-authenticate"].split()[0]) == (401, "Basic")
            assert b"a.txt" not in reply.body
        for wrong in "Basic", "Basic !", "Bearer geheim: süß", basic("user"), basic("user:geheim"), basic(":"):
            assert server.get("/a.txt", Authorization=wrong).status == 401
        for user in "", "user":
            assert server.get("/a.txt", Authorization=basic(f"{user}:geheim: süß")).body == MEMBERS["a.txt"]


def test_an_address_that_tries_passwords_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    guard = tries.Tries(b"right")
    client, other = {"client": ("192.0.2.1", 1)}, {"client": ("192.0.2.2", 1)}
    for _ in range(tries.MOST_WRONG):
        assert guard.wait(client) == 0
        assert not guard.is_right(client, b"")  # the first request of a browser has none
        assert not guard.is_right(client, b"wrong")
    assert guard.wait(client) == tries.PAUSE_S
    assert guard.wait(other) == 0
    now += tries.PAUSE_S
    assert guard.wait(client) == 0
    assert guard.is_right(client, b"right")
    for _ in range(tries.MOST_WRONG - 1):
        assert not guard.is_right(client, b"wrong")
    assert guard.wait(client) == 0
    for last in range(tries.MOST_WRONG):
        guard.is_right({"client": (f"2001:db8::{last}", 1)}, b"wrong")
    assert guard.wait({"client": ("2001:db8::ffff", 1)}) == tries.PAUSE_S
    assert guard.wait({"client": ("2001:db8:0:1::1", 1)}) == guard.wait({}) == 0
    for number in range(20_000):
        guard.is_right({"client": (f"10.0.{number >> 8}.{number & 255}", 1)}, b"wrong")
    assert len(guard._wrong) == 10_000


def test_many_wrong_passwords_are_answered_with_429(place: Path) -> None:
    (place / "password").write_text("right")

    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    with serving("tree", "--password-file", "password", cwd=place) as server:
        for _ in range(tries.MOST_WRONG):
            assert server.get("/a.txt", Authorization=basic("user:wrong")).status == 401
        reply = server.get("/a.txt", Authorization=basic("user:right"))
        assert reply.status == 429
        assert 0 < int(reply.headers["retry-after"]) <= tries.PAUSE_S


def test_several_paths_hidden_files_and_single_files(place: Path) -> None:
    with serving("tree/sub", "tree/a.txt", "--hidden", cwd=place) as server:
        page = Links(server.get("/").body)
        assert page.values == ["sub", "a.txt"]
        assert server.get("/a.txt").body == MEMBERS["a.txt"]
        assert server.get("/sub/.hidden").body == SECRET  # it was asked for
        assert server.get("/sub/loop/.hidden").status == 404
        assert archive(server.get("/?zip=all")) == {
            "sub/.hidden": SECRET, "sub/b.txt": b"b", "sub/deep/c & d.txt": b"c", "a.txt": MEMBERS["a.txt"],
        }  # fmt: skip
    with serving("tree/a.txt", "-q", cwd=place) as server:
        assert Links(server.get("/").body).values == ["a.txt"]
        assert server.get("/sub/b.txt").status == 404


def test_what_cannot_be_read_is_refused_with_a_page_and_a_line(tmp_path: Path) -> None:
    before = []
    if os.geteuid() == 0:
        capabilities = "=-dac_override,-dac_read_search"
        before = [need("setpriv"), f"--bounding-set{capabilities}", f"--inh-caps{capabilities}"]
    tree = tmp_path / "tree"
    for name in "closed", "listed":
        (tree / name / "deep").mkdir(parents=True)
        (tree / name / "deep/file").write_bytes(SECRET)
    (tree / "a.txt").write_bytes(b"a")
    (tree / "closed.txt").write_bytes(SECRET)
    (tree / "closed.txt").chmod(0)
    (tree / "closed").chmod(0)
    (tree / "listed").chmod(0o444)  # its names can be read, and nothing else
    expected = {
        "/": 200, "/closed/": 403, "/closed/?zip=all": 403, "/closed/deep": 403, "/closed/deep/": 403,
        "/closed/deep/?zip=all": 403, "/closed/missing": 403, "/closed.txt": 403, "/listed/": 200,
        "/listed/deep/": 404, "/listed/deep/file": 404,
    }  # fmt: skip
    try:
        with serving("tree", cwd=tmp_path, before=before) as server:
            found = {path: server.get(path) for path in expected}
            assert {path: reply.status for path, reply in found.items()} == expected
            assert archive(server.get("/?zip=all")) == {"a.txt": b"a", "listed/": b""}
            lines = (tmp_path / "serve.log").read_text().splitlines()[1:-1]
        assert lines == [f"{status} GET {path.partition('?')[0]}" for path, status in expected.items()]
        assert all("h1" in Links(reply.body).tags and SECRET not in reply.body for reply in found.values())
    finally:
        for name in "closed", "listed":
            (tree / name).chmod(0o755)


def test_a_date_that_no_archive_can_have_is_shown_as_the_nearest_one(tmp_path: Path) -> None:
    in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a disk's file system may have no such dates
    with tempfile.TemporaryDirectory(dir=in_memory) as tree:
        for name, date in {"late": 10**12, "early": -(10**9)}.items():
            path = Path(tree, name)
            path.write_bytes(b"data")
            os.utime(path, (date, date))
        if Path(tree, "late").stat().st_mtime < 10**12:
            pytest.skip("the file system has no such dates")
        with serving(tree, cwd=tmp_path) as server:
            page = server.get("/")
            assert page.status == 200
            dates = re.findall(rb'<time datetime="([^"]*)">', page.body)
            assert dates == [b"1980-01-01T00:00:00Z", b"2107-12-31T23:59:59Z"]
            assert server.get("/late").body == server.get("/early").body == b"data"


def test_too_many_chosen_names_are_refused(tmp_path: Path) -> None:
    shelf = Shelf([str(tmp_path)], hidden=False)
    with ChecksumCache(tmp_path / "checksums") as checksums:
        page = Library(shelf, checksums).answer([], "&".join(["name=a"] * 100_001), True)
    assert isinstance(page, Page) and page.status == 400


@pytest.mark.parametrize("when", ["looking", "preparing", "sending"])
def test_an_unexpected_error_is_answered_with_a_page_and_said(when: str) -> None:
    class Failing:
        size, etag, last_modified = 10, None, None

        def answer(self, *_: object) -> Download:
            if when == "looking":
                raise OverflowError("a\nnumber")
            return Download(self, "file")  # type: ignore[arg-type]

        async def aiter_range(self, *_: object) -> AsyncIterator[bytes]:
            if when == "sending":
                yield b"12345"
            raise OverflowError("a\nnumber")

        iter_range = aiter_range

    said: list[tuple[str, str, int, str]] = []
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        never = asyncio.Event()

        async def receive() -> Any:
            await never.wait()

        library: Any = Failing()
        app = make_app(library, password=None, only_local=False, log=lambda *line: said.append(line))
        await app({"type": "http", "method": "GET", "path": "/a", "headers": []}, receive, send)

    if when == "sending":
        with pytest.raises(OverflowError):
            asyncio.run(ask())
        broken = "the transfer was broken: OverflowError: a\nnumber"
        assert said == [("GET", "/a", 200, ""), ("GET", "/a", 200, broken)]
    else:
        asyncio.run(ask())
        assert said == [("GET", "/a", 500, "OverflowError: a\nnumber")]
        start, body = sent
        assert start["status"] == 500 and dict(start["headers"])[b"content-type"] == b"text/html; charset=utf-8"
        assert "Something went wrong" in Links(body["body"]).text and b"OverflowError" not in body["body"]


@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_said_of_it_is_one_line(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    log = command._log(quiet)
    log("GET", "/a", 200, "")
    log("GET", "/b", 500, "OverflowError: a\nnumber")
    assert capsys.readouterr().out == ("" if quiet else "200 GET /a\n") + "500 GET /b: OverflowError: a\\nnumber\n"


def test_what_cannot_be_served_is_said(place: Path) -> None:
    for arguments, words in {
        ("missing",): "'missing': No such file",
        ("",): "PATH '': give a path, or '.'",
        ("tree", "tree"): "another PATH has the name 'tree'",
        ("tree", "--port", "70000"): "--port 70000: give a number",
        ("tree", "--bind", "192.0.2.1"): "--bind 192.0.2.1 --port 0: ",
        ("tree", "--password-file", "missing"): "No such file",
    }.items():
        done = subprocess.run(
            [sys.executable, "-m", "zipstream_adapter", "serve", *arguments],
            cwd=place,
            capture_output=True,
            timeout=200,
        )
        assert (done.returncode, done.stdout) == (1, b"")
        assert words in done.stderr.decode() and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_also_while_it_sends(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree/large.bin").open("wb") as sparse:
        sparse.truncate(1 << 34)
    expected = 0 if number == signal.SIGINT else 128 + number
    with serving("tree", cwd=tmp_path, end=number, status=expected) as server:
        client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        client.sendall(f"GET /?zip=all HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
    client.close()
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "serve.log"}


def test_an_open_door_is_said(place: Path) -> None:
    with serving("tree", "--bind", "0.0.0.0", cwd=place) as server:
        assert "warning: everyone who can reach 0.0.0.0 can read the files" in server.said
        assert server.get("/", Host="some.name").status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 at hand")
def test_any_address_of_this_machine_may_be_asked(place: Path) -> None:
    with serving("tree", "--bind", "127.0.0.2", cwd=place) as served, socket.socket() as connection:
        connection.settimeout(30)
        connection.connect(("127.0.0.2", served.port))
        connection.sendall(f"HEAD / HTTP/1.1\r\nHost: 127.0.0.2:{served.port}\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def serve_unread(place: Path) -> tuple[subprocess.Popen[bytes], int]:
    command = [sys.executable, "-m", "zipstream_adapter", "serve", "tree", "--port", "0"]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    found = re.search(rb"at http://.*:(\d+)/ ", process.stdout.readline())
    assert found
    process.stdout.close()
    return process, int(found[1])


def serve_on_a_free_port(place: Path) -> tuple[subprocess.Popen[bytes], int]:
    while True:  # until nobody else takes the port in between
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "zipstream_adapter", "serve", "tree", "--port", str(port)]
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        process = subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE)
        wait_for(partial(is_settled, process, port), "the port")
        if process.poll() is None:
            return process, port
        _, said = process.communicate()
        assert b"in use" in said, said


@pytest.mark.parametrize("closed", [False, True])
def test_it_serves_on_if_nobody_reads_what_it_says(place: Path, closed: bool) -> None:
    # It says the port where a reader is; without one, the port has to be known.
    process, port = (serve_on_a_free_port if closed else serve_unread)(place)
    try:

        def answers() -> bool:
            with suppress(ConnectionRefusedError):
                return Served(port, "").get("/").status == 200
            return False

        wait_for(answers, "the page")
        assert answers()
        assert answers()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
        assert b"Traceback" not in said and b"Exception" not in said, said
    finally:
        process.kill()
        process.wait()


def test_a_browser_chooses_and_downloads(served: Served, tmp_path: Path) -> None:
    """Without JavaScript, in the light, in the dark, and on a phone."""
    api: Any = module("playwright.sync_api")
    options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=need("chromium", "chromium-browser", "google-chrome"), args=options
        )
        for width, scheme in (1200, "light"), (1200, "dark"), (375, "light"):
            context = browser.new_context(
                viewport={"width": width, "height": 700}, color_scheme=scheme, java_script_enabled=False
            )
            page = context.new_page()
            messages: list[str] = []
            page.on("console", lambda message, said=messages: said.append(message.text))
            page.goto(served.url)
            for name in "a.txt", "sub", "<script>alert(1)<":
                page.get_by_role("checkbox", name=f"Choose {name}", exact=True).check()
            with page.expect_download() as waiting:
                page.get_by_role("button", name="Download chosen").click()
            download = waiting.value
            download.save_as(tmp_path / "chosen.zip")
            assert download.suggested_filename == "tree.zip"
            assert members((tmp_path / "chosen.zip").read_bytes()) == {
                name: data for name, data in MEMBERS.items() if name in ("a.txt", "<script>alert(1)<") or "sub/" in name
            }
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            with page.expect_download() as waiting:
                page.get_by_role("link", name="Download the folder sub as zip").click()
            assert waiting.value.suggested_filename == "sub.zip"
            page.get_by_role("link", name="sub", exact=True).click()
            assert page.get_by_role("heading", level=1).inner_text() == "sub"
            page.get_by_role("navigation").get_by_role("link", name="tree").click()
            assert page.url == served.url
            with page.expect_download() as waiting:
                page.get_by_role("link", name="a.txt", exact=True).click()
            waiting.value.save_as(tmp_path / "a.txt")
            assert (tmp_path / "a.txt").read_bytes() == MEMBERS["a.txt"]
            assert messages == []  # nothing that the policy had to block
            context.close()
        browser.close()


def test_a_browser_resumes_what_was_cut(tmp_path: Path) -> None:
    api: Any = module("playwright.sync_api")
    (tmp_path / "large").mkdir()
    for number in range(4):
        (tmp_path / f"large/{number}.bin").write_bytes(bytes(range(256)) * (1 << 15))
    with serving("large", cwd=tmp_path) as server, api.sync_playwright() as playwright:
        relay = Cutting(server.port, after=10 << 20)
        relay.start()
        browser = playwright.chromium.launch(
            executable_path=need("chromium", "chromium-browser", "google-chrome"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{relay.port}/")
        with page.expect_download() as waiting:
            page.get_by_role("link", name="Download all").click()
        waiting.value.save_as(tmp_path / "all.zip")
        browser.close()
        relay.close()
        resumed = [request for request in relay.requests if b"Range: bytes=" in request]
        assert resumed and b"If-Range: " in resumed[0]
        assert (tmp_path / "all.zip").read_bytes() == server.get("/?zip=all").body
