"""Servers that throttle, refuse, stall or drip: what is waited for, what is given up, and who can end a wait."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import Bucket
from tests.support.buckets import serving as bucket_serving
from tests.support.executors import interrupted
from tests.support.loops import module
from tests.support.oracles import need
from tests.support.raw_server import Answer, RawServer, Request, raw_server
from tests.support.remote_archives import MIB, archive_of, members_of
from tests.support.servers import wait_for
from zipstream_adapter import Entry, ZipLayout
from zipstream_adapter.errors import (
    BadArchiveError,
    ForkedError,
    OptionError,
    RemoteConnectionError,
    RemoteError,
    RemoteTimeoutError,
    StreamClosedError,
)
from zipstream_adapter.remote import http_client, member_stream, open_remote, open_remote_async, upload_parts, waiting
from zipstream_adapter.remote.background import background
from zipstream_adapter.remote.waiting import date_in, retry_after_of, seconds_of

obstore = module("obstore")
DATA = archive_of((3 * MIB, 300))
MEMBERS = members_of(DATA)
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with bucket_serving() as made:
        made.client().put_object(Bucket="bucket", Key="a.zip", Body=DATA)
        yield made


def _bucket_options(bucket: Bucket) -> dict[str, Any]:
    return {"endpoint": bucket.url, "region": "us-east-1", "allow_http": True, "access_key_id": "test",
            "secret_access_key": "secret"}  # fmt: skip


class Fails:
    """Answers with a status `times` times, from the second request on."""

    def __init__(self, times: int, status: int, *fields: str) -> None:
        self.left, self.status, self.fields = times, status, fields

    def __call__(self, server: RawServer, request: Request) -> None:
        if len(server.asked) > 1 and self.left > 0:
            self.left -= 1
            server.send(request, self.status, b"", *self.fields)
        else:
            server.give(request)


# Throttling.


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_retry_after_is_obeyed(status: int, asynchronous: bool) -> None:
    with raw_server(DATA, Fails(2, status, "Retry-After: 1")) as server:
        assert await _read(server.url, asynchronous) == MEMBERS["0.bin"]
        failed = server.asked[1:4]
    assert all(later.at - sooner.at >= 1 for sooner, later in pairwise(failed))


async def _read(url: str, asynchronous: bool, **options: Any) -> bytes:
    if not asynchronous:
        with open_remote(url, window=1, **options) as archive:
            return archive.read("0.bin")
    opened = await open_remote_async(url, window=1, **options)
    try:
        return b"".join([chunk async for chunk in member_stream(opened, "0.bin")])
    finally:
        opened.close()


def test_more_than_the_patience_is_not_waited_for() -> None:
    with raw_server(DATA, Fails(9, 503, "Retry-After: 1000")) as server, open_remote(server.url) as archive:
        with pytest.raises(RemoteError, match=r"503 Service Unavailable \(it asks to be left alone for 1000 s\)"):
            archive.read("0.bin")
        assert len(server.asked) == 2


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_patience_ends(asynchronous: bool) -> None:
    with raw_server(DATA, Fails(10**6, 503)) as server:
        with pytest.raises(RemoteError, match=r"503 Service Unavailable \(tried \d+ times\)"):
            await _read(server.url, asynchronous, patience=2)
        assert 2 < len(server.asked) < 20


def test_requests_refused_by_a_bucket_are_waited_out(bucket: Bucket) -> None:
    left = [503] * 9  # obstore's own retries would end before
    bucket.rules.append(lambda method, path, query: left.pop() if left and method == "GET" and not query else None)
    options = {**_bucket_options(bucket), "retry_config": {"backoff": {"max_backoff": timedelta(milliseconds=50)}}}
    try:
        with open_remote("s3://bucket/a.zip", **options) as archive:
            assert archive.read("1.bin") == MEMBERS["1.bin"]
    finally:
        bucket.rules.clear()
    assert not left


def test_refused_connections_are_waited_out() -> None:
    server = RawServer(DATA, None, None, listens=False)
    later = threading.Timer(0.7, server.listen)
    later.start()
    with open_remote(server.url) as archive:
        assert archive.read("1.bin") == MEMBERS["1.bin"]
    later.join()
    server.close()


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_server_that_is_not_there_is_named_while_it_is_waited_for(
    scheme: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting, "_QUIET_S", 0)
    server = RawServer(DATA, None, None, listens=False)
    store = {
        "endpoint": server.url.rpartition("/")[0],
        "allow_http": True,
        "region": "us-east-1",
        "skip_signature": True,
    }
    url, options = (server.url, {}) if scheme == "http" else ("s3://bucket/a.zip", store)
    with pytest.raises(RemoteConnectionError, match="could not be reached"):
        open_remote(url, patience=1, **options)  # type: ignore[arg-type]
    server.close()
    (record,) = caplog.records  # one, however often it was tried
    assert record.name == "zipstream_adapter.remote.waiting"
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{url!r}: the server could not be reached")
    assert record.getMessage().endswith("trying again for up to 1 s (patience)")


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_host_that_does_not_exist_is_not_waited_for(scheme: str) -> None:
    try:
        socket.getaddrinfo("host.invalid", 80)
    except socket.gaierror as exc:
        if exc.errno != socket.EAI_NONAME:
            pytest.skip("the resolver here is out of order")
    with pytest.raises(RemoteConnectionError, match=r"could not be reached: .*not known") as caught:
        if scheme == "http":
            open_remote("http://host.invalid/a.zip")
        else:
            open_remote("s3://bucket/a.zip", endpoint="http://host.invalid", allow_http=True, skip_signature=True)
    assert "(tried" not in str(caught.value)


def test_a_server_without_tls_is_named() -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/a.zip"
        with pytest.raises(RemoteConnectionError, match="does not speak TLS: give an http:// URL"):
            open_remote(url)
        thread.join()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("0", 0),
        (None, None),
        ("soon", None),
        ("-1", None),
        ("Fri, 02 Jan 2026 03:04:05 GMT", 0),
        ("Mon, 99999999999999999999 Jan 2020 00:00:00 GMT", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999999", None),
        ("Fri, 01 Jan 0100 00:00:00 +0000", 0),
    ],
)
def test_what_retry_after_means(value: str | None, seconds: float | None) -> None:
    assert retry_after_of(value) == seconds


@pytest.mark.parametrize(
    ("value", "date"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("Fri, 02 Jan 2026 03:04:05 GMT", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("Fri, 02 Jan 2026 03:04:05 +0200", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("Fri, 02 Jan 2026 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("Mon, 99999999999999999999 Jan 2020 00:00:00 GMT", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 -0001", None),  # beyond what Python can represent
    ],
)
def test_dates_in_fields_are_in_utc_or_none(value: str | None, date: datetime | None) -> None:
    found = date_in(value)
    assert found == date
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize("status", [429, 503])
def test_an_invalid_retry_after_is_as_none(status: int) -> None:
    refused = iter([status])

    def answer(server: RawServer, request: Request) -> None:
        if next(refused, None):
            server.send(request, status, b"", "Retry-After: Mon, 01 Jan 2020 00:00:00 +99999999999999999")
        else:
            server.give(request)

    with raw_server(DATA, answer) as server, open_remote(server.url) as archive:
        assert archive.read("1.bin") == MEMBERS["1.bin"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90s", 90), ("1min 30s", 90), ("7days", 604800), ("250ms", 0.25), (timedelta(hours=1), 3600)],
)
def test_durations_are_those_of_obstore(value: Any, seconds: float) -> None:
    assert seconds_of("timeout", value) == seconds


@pytest.mark.parametrize("value", ["", "soon", "3 parsecs", "s"])
def test_what_is_no_duration_is_refused(value: str) -> None:
    with pytest.raises(OptionError, match="timeout="):
        seconds_of("timeout", value)


@pytest.mark.parametrize("options", [{"patience": -1}, {"patience": None}, {"deadline": 0}, {"deadline": True}])
def test_limits_that_are_none_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        open_remote("http://127.0.0.1:9/a.zip", **options)


# Deadlines.


def _drip(server: RawServer, request: Request) -> None:
    if len(server.asked) == 1:
        server.give(request)
        return
    server.send(request, 206, b"", f"Content-Range: bytes {request.start}-{request.stop - 1}/{len(DATA)}",
                length=request.stop - request.start)  # fmt: skip
    for at in range(request.start, request.stop):
        request.connection.sendall(server.data[at : at + 1])
        if server.ended.wait(0.1):
            return


def _stall(server: RawServer, request: Request) -> None:
    if len(server.asked) == 1:
        server.give(request)
    else:
        server.stall()


SLOW: dict[str, Answer] = {"drips": _drip, "stalls": _stall, "throttles": Fails(10**6, 503)}


@pytest.mark.parametrize("how", SLOW)
@pytest.mark.parametrize("window", [1, 4])
def test_a_deadline_ends_a_read(how: str, window: int) -> None:
    with raw_server(DATA, SLOW[how]) as server, open_remote(server.url, deadline=2, window=window) as archive:
        with pytest.raises(RemoteTimeoutError, match=r"within its deadline \(2 s\)") as caught:
            archive.read("0.bin")
        assert isinstance(caught.value, TimeoutError)
        with pytest.raises(RemoteTimeoutError), archive.open("0.bin") as member:
            member.read()


@pytest.mark.parametrize("how", ["drips", "stalls", "throttles"])
async def test_a_deadline_ends_a_step_on_an_event_loop(how: str) -> None:
    with raw_server(DATA, SLOW[how]) as server:
        opened = await open_remote_async(server.url, deadline=2)
        with pytest.raises(RemoteTimeoutError):
            async for _ in member_stream(opened, "0.bin"):
                pass
        opened.close()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_deadline_ends_an_opening(asynchronous: bool) -> None:
    with raw_server(DATA, lambda server, request: server.stall()) as server, pytest.raises(RemoteTimeoutError):
        await _read(server.url, asynchronous, deadline=0.5)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_deadline_ends_a_request_to_a_bucket(bucket: Bucket, asynchronous: bool) -> None:
    bucket.rules.append(lambda *_: time.sleep(3))
    try:
        with pytest.raises(RemoteTimeoutError):
            await _read("s3://bucket/a.zip", asynchronous, deadline=0.5, **_bucket_options(bucket))
    finally:
        bucket.rules.clear()


def test_a_body_that_drips_counts_as_broken() -> None:
    options: dict[str, Any] = {"client_options": {"read_timeout": "500ms"}}
    retries: dict[str, Any] = {"max_retries": 1, "backoff": {"init_backoff": timedelta(milliseconds=1)}}
    with (
        raw_server(DATA, _drip) as server,
        open_remote(server.url, retry_config=retries, **options) as archive,
        pytest.raises(RemoteConnectionError, match="less than 1024 bytes a second"),
    ):
        archive.read("0.bin")


# Interrupts, and closing from elsewhere.


@pytest.mark.parametrize("how", SLOW)
def test_an_interrupt_ends_a_read_at_once(how: str) -> None:
    with (
        raw_server(DATA, SLOW[how]) as server,
        open_remote(server.url) as archive,
        interrupted(lambda: len(server.asked) > 1),
    ):
        archive.read("0.bin")  # which would take minutes


def test_an_interrupt_ends_a_request_to_a_bucket(bucket: Bucket) -> None:
    gone = threading.Event()
    asked = len(bucket.asked)
    bucket.rules.append(lambda *_: gone.wait(60) and None)
    try:
        with interrupted(lambda: len(bucket.asked) > asked):
            open_remote("s3://bucket/a.zip", **_bucket_options(bucket))
    finally:
        gone.set()
        bucket.rules.clear()


@pytest.mark.parametrize("how", SLOW)
@pytest.mark.parametrize("closed", ["archive", "member"])
@pytest.mark.parametrize("window", [1, 4])
def test_closing_elsewhere_ends_a_read_at_once(how: str, closed: str, window: int) -> None:
    with raw_server(DATA, SLOW[how]) as server, open_remote(server.url, window=window) as archive:
        failures: list[BaseException] = []
        opened: list[Any] = []

        def read() -> None:
            try:
                if closed == "archive":
                    archive.read("0.bin")
                else:
                    opened.append(archive.open("0.bin"))
                    opened[0].read()
            except BaseException as exc:
                failures.append(exc)

        thread = threading.Thread(target=read)
        thread.start()
        wait_for(lambda: len(server.asked) > 1, "a request")
        time.sleep(0.1)
        if closed == "archive" or not opened:  # a small first part is fetched in opening it
            archive.close()
        else:
            opened[0].close()
        thread.join(60)
        assert not thread.is_alive()
        assert isinstance(failures[0], StreamClosedError)


def test_closing_elsewhere_ends_a_read_from_a_bucket(bucket: Bucket) -> None:
    gone = threading.Event()
    failures: list[BaseException] = []
    with open_remote("s3://bucket/a.zip", **_bucket_options(bucket)) as archive:
        asked = len(bucket.asked)
        bucket.rules.append(lambda *_: gone.wait(60) and None)

        def read() -> None:
            try:
                archive.read("0.bin")
            except BaseException as exc:
                failures.append(exc)

        thread = threading.Thread(target=read)
        thread.start()
        wait_for(lambda: len(bucket.asked) > asked, "a request")
        archive.close()
        thread.join(60)
        gone.set()
        bucket.rules.clear()
        assert not thread.is_alive()
    assert isinstance(failures[0], StreamClosedError)


# Certificates.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("tls")
    paths = home / "certificate", home / "key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True, timeout=200)
    return paths


def test_an_untrusted_certificate_is_named(certificate: tuple[Path, Path], bucket: Bucket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with raw_server(DATA, None, context) as server:
        with pytest.raises(RemoteConnectionError, match="certificate is not trusted: self"):
            open_remote(server.url)
        store = {**_bucket_options(bucket), "endpoint": server.url.removesuffix("/a.zip")}
        with pytest.raises(RemoteConnectionError, match="certificate is not trusted"):
            open_remote("s3://bucket/a.zip", **store)
        root = certificate[0].read_text()
        with open_remote(server.url, client_options={"root_certificate": root}) as archive:
            assert archive.read("0.bin") == MEMBERS["0.bin"]
        with open_remote(server.url, allow_invalid_certificates=True) as archive:
            assert archive.read("1.bin") == MEMBERS["1.bin"]


# Redirects.


def test_credentials_do_not_follow_a_redirect_to_another_server() -> None:
    with raw_server(DATA) as end:

        def redirect(server: RawServer, request: Request) -> None:
            server.send(request, 302, b"", f"Location: {end.url}")

        with raw_server(b"", redirect) as start:
            with open_remote(start.url.replace("://", "://user:secret@")) as archive:
                assert archive.read("1.bin") == MEMBERS["1.bin"]
            assert all("authorization" in request.fields for request in start.asked)
        assert not any("authorization" in request.fields for request in end.asked)
        assert end.asked[0].is_suffix


def test_a_redirect_in_a_circle_ends() -> None:
    with (
        raw_server(DATA, lambda server, request: server.send(request, 302, b"", "Location: /a.zip")) as server,
        pytest.raises(RemoteError, match="redirects more than 10 times"),
    ):
        open_remote(server.url)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("http://[bad/x.zip", "http://[bad/x.zip"),
        ("//[::", "//[::"),
        ("http://127.0.0.1:99999/x?sig=secret", "http://127.0.0.1:99999/x"),
        ("http://127.0.0.1:-1/", "http://127.0.0.1:-1/"),
        ("http://user:secret@a b/#secret", "http://a b/"),
        (f"http://{'a' * 70}.com/", f"http://{'a' * 70}.com/"),
    ],
)
def test_a_redirect_to_what_is_no_url_is_the_servers_fault(target: str, shown: str) -> None:
    def redirect(server: RawServer, request: Request) -> None:
        server.send(request, 302, b"", f"Location: {target}")

    with raw_server(b"", redirect) as server:
        with pytest.raises(RemoteError) as caught:
            open_remote(server.url)
        assert len(server.asked) == 1
    assert str(caught.value) == (
        f"{server.url!r}: the server redirects to {shown!r}, which is not a URL that can be requested"
    )
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_url_of_the_callers_that_cannot_be_requested_is_a_wrong_option() -> None:
    with pytest.raises(OptionError, match="is not a URL that can be requested"):
        open_remote(f"http://{'a' * 70}.com/a.zip")


# What is shared.


def test_archives_share_connections_which_close_with_the_last() -> None:
    own: Any = {"user_agent": "of this test"}  # other tests' archives have another client

    def clients() -> int:
        return sum("of this test" in dict(settings.headers).values() for settings in http_client._clients)

    with raw_server(DATA) as server:
        first = open_remote(server.url, **own)
        for _ in range(20):
            with open_remote(server.url, **own) as archive:
                archive.read("1.bin")
        assert server.connections == 1
        assert clients() == 1
        first.close()
        assert clients() == 0


def test_the_garbage_collector_may_close_an_archive_while_its_thread_makes_a_client() -> None:
    own: Any = {"user_agent": "of a dropped archive"}
    with raw_server(DATA) as server:
        archive = open_remote(server.url, **own)
        lease = archive.remote.source._lease  # type: ignore[attr-defined]
        settings = lease._settings
        with http_client._lock:
            lease.close()  # does not wait for the lock
            assert settings in http_client._clients
        with open_remote(server.url):  # whoever uses the lock next
            assert settings not in http_client._clients
        archive.close()


def test_archives_in_a_bucket_share_a_store(bucket: Bucket) -> None:
    archives = [open_remote("s3://bucket/a.zip", **_bucket_options(bucket)) for _ in range(5)]
    stores = {id(archive.remote.source._store) for archive in archives}  # type: ignore[attr-defined]
    assert len(stores) == 1
    assert background._holders == 0  # nothing is under way
    for archive in archives:
        archive.close()


# Broken archives.


def test_a_header_that_points_behind_the_directory_hides_no_other_member() -> None:
    data = bytearray(archive_of((100, 200, 300)))
    at = data.index(b"PK\1\2")
    for offset in (1 << 30, len(data) - 1, 0xFFFFFFFE):
        data[at + 42 : at + 46] = struct.pack("<L", offset)
        with raw_server(bytes(data)) as server, open_remote(server.url) as archive:
            assert [len(archive.read(name)) for name in ("1.bin", "2.bin")] == [200, 300]
            with pytest.raises(BadArchiveError, match=r"'0\.bin' is said to begin at byte"):
                archive.read("0.bin")


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("less", [1, -1])
def test_a_stored_member_gives_no_more_than_its_size(size: int, less: int) -> None:
    data = bytearray(archive_of((size, size)))
    at = data.index(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<L", size - less)
    with raw_server(bytes(data)) as server, open_remote(server.url) as archive:
        with pytest.raises(BadArchiveError):
            archive.read("0.bin")
        with archive.open("0.bin") as member:
            got = b""
            with pytest.raises(BadArchiveError):
                while chunk := member.read(10):
                    got += chunk
        assert len(got) <= size - less


# Forks.


def _in_fork(function: Callable[[], object]) -> int:
    """The status of a child: 0 if `function` ends, 1 for ForkedError, 2 for others, -1 if it hangs."""
    pid = os.fork()
    if not pid:
        status = 2
        try:
            function()
            status = 0
        except ForkedError:
            status = 1
        finally:
            os._exit(status)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


def _on_thread(function: Callable[[], object]) -> object:
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(function()))
    thread.start()
    thread.join()
    return got[0]


@FORKS
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("on", [lambda function: function(), _on_thread], ids=["main thread", "another thread"])
def test_a_forked_child_reads_urls(on: Callable[[Callable[[], object]], object]) -> None:
    def check(archive: zipfile.ZipFile, url: str) -> None:
        assert archive.read("0.bin") == MEMBERS["0.bin"]  # the archive of the parent, on connections of the child
        with open_remote(url) as own:
            assert own.read("1.bin") == MEMBERS["1.bin"]

    with raw_server(DATA) as server, open_remote(server.url) as archive, archive.open("0.bin") as member:
        begun = member.read(1000)
        assert [on(lambda: _in_fork(lambda: check(archive, server.url))) for _ in range(5)] == [0] * 5
        assert on(lambda: _in_fork(member.read)) == 0
        assert begun + member.read() == MEMBERS["0.bin"]


@FORKS
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("on", [lambda function: function(), _on_thread], ids=["main thread", "another thread"])
def test_a_forked_child_is_told_of_obstore(bucket: Bucket, on: Callable[[Callable[[], object]], object]) -> None:
    options = _bucket_options(bucket)
    with open_remote("s3://bucket/a.zip", **options) as archive:
        assert [on(lambda: _in_fork(lambda: archive.read("0.bin"))) for _ in range(5)] == [1] * 5
        assert on(lambda: _in_fork(lambda: open_remote("s3://bucket/a.zip", **options))) == 1
        assert on(lambda: _in_fork(lambda: open_remote("a", store=obstore.store.MemoryStore()))) == 1
        assert archive.read("0.bin") == MEMBERS["0.bin"]


@FORKS
def test_a_child_of_a_parent_that_has_not_used_obstore_begins_anew(bucket: Bucket) -> None:
    options = _bucket_options(bucket)
    code = (
        "import os, zipstream_adapter.remote as remote, obstore\n"
        "pid = os.fork()\n"
        f"remote.open_remote('s3://bucket/a.zip', **{options!r}).close()\n"
        "if pid: assert os.waitpid(pid, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.parametrize("on", [lambda function: function(), _on_thread], ids=["main thread", "another thread"])
def test_parts_are_not_made_by_forked_processes(bucket: Bucket, on: Callable[[Callable[[], object]], object]) -> None:
    asked = len(bucket.asked)

    def upload() -> str:
        with (
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
            pytest.raises(OptionError, match=r"made by fork.*get_context\('spawn'\)"),
        ):
            upload_parts(bucket.store(), "new.zip", ZipLayout([Entry("a", b"data")]), pool)
        return "refused"

    assert on(upload) == "refused"
    assert len(bucket.asked) == asked


def test_an_exit_while_a_read_waits() -> None:
    """The interpreter ends, although threads wait for a server."""
    with raw_server(DATA, _stall) as server:
        code = (
            "import threading, time, zipstream_adapter.remote as remote\n"
            f"archive = remote.open_remote({server.url!r})\n"
            "threading.Thread(target=archive.read, args=('0.bin',), daemon=True).start()\n"
            "time.sleep(0.3)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


async def test_a_cancelled_read_ends_its_request() -> None:
    with raw_server(DATA, _stall) as server:
        opened = await open_remote_async(server.url)
        reading = asyncio.ensure_future(anext(member_stream(opened, "0.bin")))
        await asyncio.sleep(0.3)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        opened.close()


def test_pauses_differ() -> None:
    from zipstream_adapter.remote.waiting import Tries, Waiting

    random.seed(1)
    tries = Tries(Waiting(), "object")
    pauses = [tries.pause(lambda often: ValueError(often)) for _ in range(12)]
    assert all(0.05 * 2**n <= pause <= 0.1 * 2**n for n, pause in enumerate(pauses[:7]))
    assert all(pause <= 15 for pause in pauses)
    assert len(set(pauses)) == len(pauses)
