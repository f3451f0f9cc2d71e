"""Servers that give no suffix ranges, or others than asked for. (Stores: see test_stores_by_operation.py.)"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.loops import module
from tests.support.nginx import nginx
from tests.support.raw_server import RawServer, Request, raw_server
from tests.support.remote_archives import MIB, archive_of, members_of
from zipstream_adapter.errors import RangesUnsupportedError, RemoteError
from zipstream_adapter.remote import member_stream, open_remote, open_remote_async, read_members

obstore = module("obstore")
DATA = archive_of((3 * MIB, 300, 70_000))
MEMBERS = members_of(DATA)


def _whole(server: RawServer, request: Request) -> None:
    if request.is_suffix:
        server.send(request, 200, server.data)
    else:
        server.give(request)


def _status(status: int, *fields: str) -> Callable[[RawServer, Request], None]:
    def answer(server: RawServer, request: Request) -> None:
        if request.is_suffix:
            server.send(request, status, b"no", *fields)
        else:
            server.give(request)

    return answer


def _from_the_beginning(server: RawServer, request: Request) -> None:
    if request.is_suffix:
        count = request.stop - request.start
        server.send(request, 206, server.data[:count], f"Content-Range: bytes 0-{count - 1}/{len(server.data)}")
    else:
        server.give(request)


def _unknown_total(server: RawServer, request: Request) -> None:
    piece = server.data[request.start : request.stop]
    if request.has_range:
        server.send(request, 206, piece, f"Content-Range: bytes {request.start}-{request.stop - 1}/*")
    else:
        server.give(request)


def _without_head(server: RawServer, request: Request) -> None:
    if request.is_suffix or request.method == "HEAD":
        server.send(request, 405, b"")
    else:
        server.give(request)


ODD = {
    "ignores": _whole,
    "400": _status(400),
    "405": _status(405),
    "416": _status(416),
    "416 with the size": _status(416, f"Content-Range: bytes */{len(DATA)}"),
    "501": _status(501),
    "misreads": _from_the_beginning,
    "states no size": _unknown_total,
    "has no HEAD": _without_head,
}


@pytest.mark.parametrize("oddity", ODD)
async def test_a_server_with_odd_suffix_ranges(oddity: str) -> None:
    with raw_server(DATA, ODD[oddity]) as server:
        with open_remote(server.url) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS
            assert sum(request.is_suffix for request in server.asked) == 1
            assert len(server.asked) <= 3 + 1 + 3
        opened = await open_remote_async(server.url)
        assert b"".join([chunk async for chunk in member_stream(opened, "2.bin")]) == MEMBERS["2.bin"]
        opened.close()


def test_a_compressed_range_is_named() -> None:
    import gzip

    def compress(server: RawServer, request: Request) -> None:
        body = gzip.compress(server.data[request.start : request.stop])
        fields = f"Content-Range: bytes {request.start}-{request.stop - 1}/{len(server.data)}"
        server.send(request, 206, body, fields, "Content-Encoding: gzip")

    with raw_server(DATA, compress) as server, pytest.raises(RangesUnsupportedError, match="Content-Encoding: gzip"):
        open_remote(server.url)
    assert server.asked[0].fields["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("field", "named"),
    [("identity, gzip", "gzip"), ("GZIP", "gzip"), ("br,", "br"), ("identity", ""), ("aws-chunked", ""), ("", "")],
)
@pytest.mark.parametrize("by", ["url", "store"])
def test_every_compression_that_a_server_states_is_named(field: str, named: str, by: str) -> None:
    def answer(server: RawServer, request: Request) -> None:
        fields = f"Content-Range: bytes {request.start}-{request.stop - 1}/{len(server.data)}"
        server.send(request, 206, server.data[request.start : request.stop], fields, f"Content-Encoding: {field}")

    with raw_server(DATA, answer) as server:
        base, _, path = server.url.rpartition("/")
        where: Any = (server.url, {}) if by == "url" else (path, {"store": _http_store(base)})
        if named:
            with pytest.raises(RangesUnsupportedError, match=rf"\(Content-Encoding: {named}\)"):
                open_remote(where[0], **where[1])
        else:
            with open_remote(where[0], **where[1]) as archive:
                assert archive.read("2.bin") == MEMBERS["2.bin"]


def _http_store(base: str) -> Any:
    return obstore.store.HTTPStore(base, client_options={"allow_http": True})


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
        "Mon, 01 Jan 2020 00:00:00 +99999999999999999",
        "Fri, 31 Dec 9999 23:59:59 -0001",
        "soon",
        "",
    ],
)
def test_an_invalid_date_is_as_none(date: str) -> None:
    def answer(server: RawServer, request: Request) -> None:
        _headed(server, request, f"Last-Modified: {date}")

    with raw_server(DATA, answer) as server:
        with open_remote(server.url) as archive:
            assert archive.read("2.bin") == MEMBERS["2.bin"]
        assert not any("if-unmodified-since" in request.fields for request in server.asked)


@pytest.mark.parametrize(
    ("date", "sent"),
    [
        ("Fri, 02 Jan 2026 03:04:05 +0200", "Fri, 02 Jan 2026 01:04:05 GMT"),
        ("Fri, 01 Jan 0100 00:00:00 GMT", "Fri, 01 Jan 0100 00:00:00 GMT"),
    ],
)
def test_a_date_is_sent_as_http_has_it(date: str, sent: str) -> None:
    def answer(server: RawServer, request: Request) -> None:
        _headed(server, request, f"Last-Modified: {date}")

    with raw_server(DATA, answer) as server:
        with open_remote(server.url, window=1) as archive:
            assert archive.read("0.bin") == MEMBERS["0.bin"]
        assert {request.fields.get("if-unmodified-since") for request in server.asked[1:]} == {sent}


def _headed(server: RawServer, request: Request, *fields: str, length: str = "") -> None:
    """Answer with a range, without the ETag and the date that `RawServer.send` adds."""
    piece = server.data[request.start : request.stop]
    place = f"Content-Range: bytes {request.start}-{request.stop - 1}/{len(server.data)}"
    head = [f"HTTP/1.1 206 Partial Content\r\nContent-Length: {length or len(piece)}", place, *fields]
    request.connection.sendall("\r\n".join([*head, "", ""]).encode())
    request.connection.sendall(piece)


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 21])
@pytest.mark.parametrize("field", ["Content-Range: bytes 0-1/{}", "Content-Range: bytes {}-1/2", "Content-Length: {}"])
def test_a_number_that_is_none_states_no_size(field: str, digits: str) -> None:
    def answer(server: RawServer, request: Request) -> None:
        status = 206 if "Range" in field else 200
        head = [f"HTTP/1.1 {status} Odd", "Connection: close", field.format(digits), "", ""]
        request.connection.sendall("\r\n".join(head).encode())
        raise OSError  # the connection ends

    with raw_server(DATA, answer) as server, pytest.raises(RangesUnsupportedError, match="does not state its size"):
        open_remote(server.url, patience=5)


def test_lengths_that_contradict_each_other_are_not_asked_for_again() -> None:
    def answer(server: RawServer, request: Request) -> None:
        _headed(server, request, length="5, 6")

    with raw_server(DATA, answer) as server:
        with pytest.raises(RemoteError, match=r"the server sent an invalid header field: Content-Length .*\(5, 6\)"):
            open_remote(server.url)
        assert len(server.asked) == 1


def test_a_refusal_of_everything_is_the_first_one() -> None:
    def refuse(server: RawServer, request: Request) -> None:
        server.send(request, 400, b"<Error><Code>Odd</Code><Message>no such thing</Message></Error>")

    with raw_server(DATA, refuse) as server, pytest.raises(RemoteError, match="400 Bad Request: Odd: no such thing"):
        open_remote(server.url)


@pytest.fixture(scope="module")
def nginx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("nginx")
    (home / "a.zip").write_bytes(DATA)
    with nginx(home) as url:
        yield url


async def test_an_archive_behind_nginx(nginx_url: str) -> None:
    with open_remote(f"{nginx_url}/a.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS
    with pytest.raises(RangesUnsupportedError, match="ignores Range"):
        open_remote(f"{nginx_url}/whole/a.zip")


async def test_requests_that_nginx_refuses_for_now(nginx_url: str) -> None:
    """4 requests a second are allowed, without a reserve."""
    with open_remote(f"{nginx_url}/limited/a.zip", window=1) as archive:
        assert list(read_members(archive, list(MEMBERS), max_concurrency=4)) == list(MEMBERS.items())
    opened = await open_remote_async(f"{nginx_url}/limited/a.zip")
    assert b"".join([chunk async for chunk in member_stream(opened, "0.bin")]) == MEMBERS["0.bin"]
    opened.close()
