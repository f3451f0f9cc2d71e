"""Servers that give no suffix ranges, or others than asked for. (Stores: see test_stores_by_operation.py.)"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.loops import module
from tests.support.nginx import nginx
from tests.support.raw_server import RawServer, Request, raw_server
from tests.support.remote_archives import MIB, archive_of, members_of
from zipstream_adapter.errors import RangesUnsupportedError, RemoteError
from zipstream_adapter.remote import member_stream, open_remote, open_remote_async, read_members

module("obstore")
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
