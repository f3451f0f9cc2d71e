"""Many members with few requests: all of them right, in order, within bounds."""

from __future__ import annotations

import gc
import io
import random
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.loops import module
from tests.support.raw_server import RawServer, Request, raw_server
from tests.support.remote_archives import MIB, Fetch, archive_of, members_of, noise
from tests.support.remote_servers import Objects, serving
from zipstream_adapter.errors import (
    BadArchiveError,
    EncryptedMemberError,
    EntryError,
    EntryTypeError,
    OptionError,
    RemoteTimeoutError,
    StreamClosedError,
)
from zipstream_adapter.remote import open_remote, open_remote_async, read_members, read_members_async

module("obstore")


def _many(count: int) -> bytes:
    made = io.BytesIO()
    numbers = random.Random(3)
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(count):
            method = zipfile.ZIP_DEFLATED if number % 3 else zipfile.ZIP_STORED
            archive.writestr(f"{number}.txt", noise(numbers.randrange(100, 6000), number % 50), method)
    return made.getvalue()


MANY = _many(2000)
ALL = members_of(MANY)


@pytest.fixture
def server() -> Iterator[Objects]:
    with serving(many=MANY) as objects:
        yield objects


def _names(count: int) -> list[str]:
    return random.Random(5).sample(sorted(ALL), count)


async def _read(url: Any, names: list[str], asynchronous: bool, more: dict[str, Any], **options: Any) -> list[Any]:
    if asynchronous:
        archive = await open_remote_async(url, **options)
        found = [each async for each in read_members_async(archive, names, **more)]
    else:
        archive = open_remote(url, **options)
        found = list(read_members(archive, names, **more))
    archive.close()
    return found


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("more", [{}, {"max_bytes": 30_000}, {"max_concurrency": 1}])
async def test_members_at_random(server: Objects, asynchronous: bool, in_order: bool, more: dict[str, Any]) -> None:
    names = _names(200)
    found = await _read(server.url + "many", names, asynchronous, {"in_order": in_order, **more})
    if in_order:
        assert found == [(name, ALL[name]) for name in names]
    assert sorted(found) == sorted((name, ALL[name]) for name in names)
    with zipfile.ZipFile(io.BytesIO(MANY)) as archive:
        wanted = sum(archive.getinfo(name).compress_size for name in names)
    assert server.sent - 131072 < 1.2 * wanted + 100_000  # the central directory
    assert server.most <= more.get("max_concurrency", 32)


def test_neighbours_share_requests(server: Objects) -> None:
    names = [f"{number}.txt" for number in range(400, 800)]
    with open_remote(server.url + "many") as archive:
        server.forget()
        assert list(read_members(archive, names)) == [(name, ALL[name]) for name in names]
    assert len(server.asked) <= 4


def test_no_more_is_fetched_than_may_be_held() -> None:
    fetch = Fetch(MANY)
    with open_remote(fetch, size=len(MANY)) as archive:
        fetch.forget()
        found = read_members(archive, _names(500), max_bytes=100_000)
        next(found)
        assert fetch.bytes < 100_000
        found.close()


def test_a_member_over_the_bound_and_repetitions() -> None:
    data = archive_of((3 * MIB, 10, 2 * MIB))
    with raw_server(data) as server, open_remote(server.url) as archive:
        infos = archive.infolist()
        names: list[Any] = ["0.bin", infos[2], "1.bin", "0.bin", infos[2]]
        found = list(read_members(archive, names, max_bytes=1000))
        assert [name for name, _ in found] == names
        assert [len(each) for _, each in found] == [3 * MIB, 2 * MIB, 10, 3 * MIB, 2 * MIB]
        assert list(read_members(archive, [])) == []


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_local_headers_longer_than_estimated(asynchronous: bool) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(3):
            info = zipfile.ZipInfo(f"{number}.txt", (2026, 1, 2, 3, 4, 6))
            info.extra = b"\xfe\xca" + (60_000).to_bytes(2, "little") + bytes(60_000)
            archive.writestr(info, noise(500, number))
            info.extra = b""
    data = made.getvalue()
    with raw_server(data) as server:
        found = await _read(server.url, ["2.txt", "0.txt"], asynchronous, {}, suffix_size=65_633)
    assert found == [("2.txt", noise(500, 2)), ("0.txt", noise(500, 0))]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_broken_member_is_told(asynchronous: bool) -> None:
    data = bytearray(archive_of((1000, 1000, 1000)))
    data[data.index(noise(1000, 1)) + 5] ^= 1
    with raw_server(bytes(data)) as server, pytest.raises(BadArchiveError, match=r"'1\.bin' is broken: its CRC-32"):
        await _read(server.url, ["0.bin", "1.bin", "2.bin"], asynchronous, {})


def test_a_generator_that_is_closed_ends_its_requests() -> None:
    data = archive_of((2 * MIB, 3 * MIB))

    def stall(server: RawServer, request: Request) -> None:
        if len(server.asked) == 1:
            server.give(request)
        else:
            server.stall()

    with (
        raw_server(data, stall) as server,
        open_remote(server.url, deadline=1) as archive,
        pytest.raises(RemoteTimeoutError),
    ):
        next(read_members(archive, ["0.bin", "1.bin"]))
    gc.collect()
    with raw_server(data, stall) as server, open_remote(server.url) as archive:
        threading.Timer(0.5, archive.close).start()
        with pytest.raises(StreamClosedError):
            next(read_members(archive, ["0.bin", "1.bin"]))


def test_arguments_that_cannot_be_are_refused(server: Objects) -> None:
    with open_remote(server.url + "many") as archive:
        server.forget()
        for error, arguments, more in (
            (EntryError, ["0.txt", "none"], {}),
            (EntryTypeError, [3], {}),
            (OptionError, "0.txt", {}),
            (OptionError, [], {"max_bytes": 0}),
            (OptionError, [], {"max_concurrency": 0}),
        ):
            with pytest.raises(error):
                read_members(archive, arguments, **more)  # type: ignore[arg-type]
        archive.getinfo("0.txt").flag_bits |= 1
        with pytest.raises(EncryptedMemberError):
            read_members(archive, ["0.txt"])
        assert server.asked == []
    with pytest.raises(ValueError, match="closed"):
        read_members(archive, [])
    with zipfile.ZipFile(io.BytesIO(MANY)) as local, pytest.raises(EntryTypeError, match="open_remote"):
        read_members(local, [])
