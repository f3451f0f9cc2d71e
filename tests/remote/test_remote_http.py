"""Archives behind a real HTTP server: requests and bytes, and all that a server and a network can do to them."""

from __future__ import annotations

import asyncio
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.support.loops import module
from tests.support.remote_archives import MIB, archive_of, members_of, noise
from tests.support.remote_servers import DATE, Objects, serving
from zipstream_adapter import Entry, async_stream_zip, stream_zip
from zipstream_adapter.errors import (
    BadArchiveError,
    RangesUnsupportedError,
    RemoteConnectionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SourceChangedError,
)
from zipstream_adapter.remote import member_stream, open_remote, open_remote_async

module("obstore")

SIZES = (11 * MIB, 40 * MIB, 12 * MIB)
# A user, a password and a signature, of which none may be in an error.
SECRET = "secret"
QUICK = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {"init_backoff": timedelta(milliseconds=1)},
}


@pytest.fixture
def server() -> Iterator[Objects]:
    with serving(archive=archive_of(SIZES), small=archive_of((300_000, 100))) as objects:
        yield objects


def _wait_for_the_end(server: Objects) -> None:
    """Until the server has noticed that nobody wants its answers any more."""
    deadline = time.monotonic() + 20
    while server.open and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.open == 0


def secret_url(server: Objects, name: str) -> str:
    return f"{server.url}{name}?X-Amz-Signature={SECRET}".replace("://", f"://user:{SECRET}@")


@pytest.mark.parametrize(("window", "requests"), [(1, 2), (4, 6)])
def test_a_member_of_a_large_archive(server: Objects, window: int, requests: int) -> None:
    with open_remote(server.url + "archive", window=window) as archive:
        assert server.ranges_asked == ["bytes=-131072"]
        assert archive.namelist() == ["0.bin", "1.bin", "2.bin"]
        assert archive.read("1.bin") == noise(SIZES[1], 1)
        assert archive.filename == server.url + "archive"
    assert len(server.asked) == requests
    assert server.sent < SIZES[1] * 1.01
    assert server.most <= window
    assert {it.condition for it in server.asked[1:]} == {server.etag}


@pytest.mark.parametrize(("window", "requests"), [(1, 2), (4, 6)])
async def test_a_member_on_an_event_loop(server: Objects, window: int, requests: int) -> None:
    archive = await open_remote_async(server.url + "archive", window=window)
    data = b"".join([chunk async for chunk in member_stream(archive, "1.bin")])
    assert data == noise(SIZES[1], 1)
    archive.close()
    assert len(server.asked) == requests
    assert server.sent < SIZES[1] * 1.01


def test_user_password_and_query_are_sent_and_the_fragment_is_not(server: Objects) -> None:
    with open_remote(secret_url(server, "small") + "#page") as archive:
        archive.read("1.bin")
        assert archive.filename == server.url + "small"
    assert {it.path for it in server.asked} == {f"/small?X-Amz-Signature={SECRET}"}
    assert server.asked[1].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="


@pytest.mark.parametrize("window", [1, 4])
def test_connections_that_are_dropped_are_resumed(server: Objects, window: int) -> None:
    with open_remote(server.url + "archive", window=window) as archive:
        server.forget()
        server.drops = 10
        assert archive.read("1.bin") == noise(SIZES[1], 1)
    assert server.drops == 0
    assert server.sent < SIZES[1] * 1.01
    assert len(server.asked) == (11 if window == 1 else 15)


async def test_connections_that_are_dropped_are_resumed_on_an_event_loop(server: Objects) -> None:
    archive = await open_remote_async(server.url + "archive", window=1)
    server.drops = 10
    data = b"".join([chunk async for chunk in member_stream(archive, "1.bin")])
    assert data == noise(SIZES[1], 1)
    assert server.drops == 0
    archive.close()


def test_connections_that_bring_nothing_end_within_a_bound(server: Objects) -> None:
    with open_remote(server.url + "archive", window=1, retry_config=QUICK) as archive:
        server.forget()
        server.drops, server.drop_after = 1000, 0
        with pytest.raises(RemoteConnectionError, match="the connection broke"):
            archive.read("1.bin")
    assert len(server.asked) < 40


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_is_busy_is_asked_again(server: Objects, status: int) -> None:
    server.failures = [status] * 2
    with open_remote(server.url + "small", retry_config=QUICK) as archive:
        server.failures = [status] * 2
        assert archive.read("0.bin") == noise(300_000)


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, RemotePermissionError, "access denied: 401"),
        (403, RemotePermissionError, "access denied: 403 Forbidden: AccessDenied: Access Denied"),
        (404, RemoteNotFoundError, "does not exist: 404"),
        (500, RemoteError, "500"),
        (503, RemoteError, "503"),
    ],
)
def test_what_the_server_says_is_said_without_what_is_secret(
    server: Objects, status: int, error: type[Exception], said: str
) -> None:
    server.status = status
    server.body = (
        b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message><StringToSign>secret</StringToSign></Error>"
    )
    with pytest.raises(error) as caught:
        open_remote(secret_url(server, "small"), retry_config=QUICK)
    assert type(caught.value) is error
    _check_secrets(caught.value, server.url + "small", said)
    assert len(server.asked) == (3 if status >= 500 else 1)


def _check_secrets(error: BaseException, url: str, said: str) -> None:
    assert repr(url) in str(error)
    assert said in str(error)
    assert SECRET not in str(error)
    assert error.__cause__ is None  # a traceback would show it
    assert error.__suppress_context__


def test_built_in_errors_catch_them(server: Objects) -> None:
    with pytest.raises(FileNotFoundError):
        open_remote(server.url + "nothing")
    server.status = 403
    with pytest.raises(PermissionError):
        open_remote(server.url + "small")


def test_no_network() -> None:
    with pytest.raises(RemoteConnectionError) as caught:
        open_remote(f"http://user:{SECRET}@127.0.0.1:9/a.zip?{SECRET}", retry_config=QUICK)
    _check_secrets(caught.value, "http://127.0.0.1:9/a.zip", "could not be reached (tried 3 times): Connection refused")
    assert isinstance(caught.value, ConnectionError)


def test_a_server_that_ignores_ranges_is_refused_and_not_downloaded_from() -> None:
    size = 1 << 30
    with serving(big=(size, lambda start, stop: bytes(stop - start))) as server:
        server.ranges = False
        with pytest.raises(RangesUnsupportedError, match="ignores Range"):
            open_remote(server.url + "big")
        _wait_for_the_end(server)
        assert server.sent < 32 * MIB  # what the sockets' buffers took before the connection was closed
        assert [it.method for it in server.asked] == ["GET", "GET"]  # the first answer states the size


def test_a_server_without_suffix_ranges_is_asked_for_the_size(server: Objects) -> None:
    server.suffixes = False
    with open_remote(server.url + "archive") as archive:
        assert archive.read("2.bin") == noise(SIZES[2], 2)
    assert [it.method for it in server.asked] == ["GET", "GET", "GET", "GET"]


def test_an_empty_object() -> None:
    with serving(empty=b"") as server, pytest.raises(BadArchiveError, match="is empty") as caught:
        open_remote(server.url + "empty")
    assert server.url in str(caught.value)


def test_a_url_of_something_else(server: Objects) -> None:
    server.data["/page"] = b"<html>" * 100_000
    with pytest.raises(
        BadArchiveError, match=r"/page' is not a zip archive: it has no end of central directory record"
    ):
        open_remote(server.url + "page")


@pytest.mark.parametrize("conditions", [True, False])
@pytest.mark.parametrize("window", [1, 4])
def test_an_object_that_is_replaced_is_noticed(server: Objects, conditions: bool, window: int) -> None:
    """Also where the server does not mind conditions."""
    server.conditions = conditions
    with open_remote(server.url + "archive", window=window) as archive:
        _replace(server)
        with pytest.raises(SourceChangedError, match="has changed since it was opened"):
            archive.read("1.bin")


def _replace(server: Objects) -> None:
    server.data["/archive"] = archive_of(tuple(reversed(SIZES)))
    server.etag = '"second"'


@pytest.mark.parametrize("conditions", [True, False])
def test_an_object_that_is_replaced_while_a_member_is_read(server: Objects, conditions: bool) -> None:
    server.conditions = conditions
    server.drop_after = 2 * MIB
    server.drops = 1
    with open_remote(server.url + "archive", window=1) as archive, archive.open("1.bin") as member:
        assert member.read(MIB) == noise(SIZES[1], 1)[:MIB]
        _replace(server)
        with pytest.raises(SourceChangedError):
            while member.read(MIB):
                pass


@pytest.mark.parametrize("conditions", [True, False])
def test_an_object_that_has_become_shorter(server: Objects, conditions: bool) -> None:
    server.conditions = conditions
    with open_remote(server.url + "archive") as archive:
        server.data["/archive"], server.etag = b"short", '"second"'
        with pytest.raises(SourceChangedError):
            archive.read("1.bin")


@pytest.mark.parametrize(
    ("etag", "dated", "condition"), [('W/"weak"', True, DATE), (None, True, DATE), (None, False, "")]
)
def test_what_pins_an_object_without_a_strong_etag(
    server: Objects, etag: str | None, dated: bool, condition: str
) -> None:
    server.etag, server.dated = etag, dated
    with open_remote(server.url + "archive") as archive:
        assert archive.read("2.bin") == noise(SIZES[2], 2)
        assert {it.condition for it in server.asked[1:]} == {condition}
        server.data["/archive"] = archive_of((MIB,))  # another size
        with pytest.raises(SourceChangedError):
            archive.read("1.bin")


def test_what_is_skipped_or_given_up_is_not_fetched(server: Objects) -> None:
    with open_remote(server.url + "archive", window=4) as archive:
        for _ in range(3):
            with archive.open("1.bin") as member:
                member.read(10)
    _wait_for_the_end(server)
    assert len(server.asked) == 4  # one each: no parts ahead of what is not read


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_parts_that_are_under_way_end_with_the_member(asynchronous: bool) -> None:
    size = 100 * MIB
    with serving(big=_large(size)) as server:
        server.rate = 4e6
        if asynchronous:
            archive = await open_remote_async(server.url + "big")
            chunks = member_stream(archive, "large")
            got = 0
            while got < MIB:
                got += len(await anext(chunks))
            assert server.open == 4
            await chunks.aclose()
        else:
            archive = open_remote(server.url + "big")
            with archive.open("large") as member:
                member.read(MIB)
                assert server.open == 4
        archive.close()
        await asyncio.to_thread(_wait_for_the_end, server)
        assert server.sent < 20 * MIB  # and not the four parts, of 8 MiB each


async def test_giving_up_on_an_event_loop_ends_the_requests() -> None:
    size = 200 * MIB
    with serving(big=_large(size)) as server:
        archive = await open_remote_async(server.url + "big", part_size=MIB)
        chunks = member_stream(archive, "large")
        got = 0
        while got < MIB:
            got += len(await anext(chunks))
        await chunks.aclose()
        archive.close()
        await asyncio.to_thread(_wait_for_the_end, server)
        assert server.sent < 16 * MIB


def _large(size: int) -> tuple[int, Any]:
    from tests.remote.test_remote_fetch import Pattern
    from zipstream_adapter import ZipLayout

    layout = ZipLayout([Entry("large", lambda: Pattern(size), size=size, crc32=0)])
    return layout.size, lambda start, stop: b"".join(layout.iter_range(start, stop))


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_members_are_picked_out_of_an_archive_into_a_new_one(server: Objects, asynchronous: bool) -> None:
    server.data["/texts"] = archive_of((3 * MIB, 20_000, 4 * MIB, 500), zipfile.ZIP_DEFLATED)
    members = members_of(archive_of((3 * MIB, 20_000, 4 * MIB, 500), zipfile.ZIP_DEFLATED))
    with open_remote(server.url + "texts") as archive:
        server.forget()
        entries = [Entry.copy(archive, name) for name in ("3.bin", "0.bin", "2.bin")]
        if asynchronous:
            new = b"".join([chunk async for chunk in async_stream_zip(entries)])
        else:
            new = b"".join(stream_zip(entries))
    assert members_of(new) == {name: members[name] for name in ("3.bin", "0.bin", "2.bin")}
    assert len(server.asked) == 3


def test_threads_each_with_their_own_members(server: Objects) -> None:
    wrong: list[str] = []
    with open_remote(server.url + "archive", part_size=2 * MIB) as archive:

        def read(number: int) -> None:
            if archive.read(f"{number}.bin") != noise(SIZES[number], number):
                wrong.append(f"{number}.bin")

        threads = [threading.Thread(target=read, args=(number % 3,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


async def test_a_loop_is_free_while_a_server_takes_its_time(server: Objects) -> None:
    import asyncio

    turns = 0
    asked: list[int] = []

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    def answers_after_turns(_: object) -> None:
        enough = turns + 10
        until = time.monotonic() + 60
        while turns < enough and time.monotonic() < until:
            time.sleep(0.001)
        asked.append(enough)

    server.before = answers_after_turns
    turning = asyncio.ensure_future(turn())
    archive = await open_remote_async(server.url + "small")
    data = b"".join([chunk async for chunk in member_stream(archive, "0.bin")])
    turning.cancel()
    archive.close()
    assert data == noise(300_000)
    assert asked and turns >= max(asked)


async def test_a_cancelled_opening_leaves_nothing(server: Objects) -> None:
    import asyncio

    server.latency = 5
    before = asyncio.all_tasks()
    opening = asyncio.ensure_future(open_remote_async(server.url + "small"))
    await asyncio.sleep(0.2)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert asyncio.all_tasks() == before
