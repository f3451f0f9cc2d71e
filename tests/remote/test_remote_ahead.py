"""Small members of a remote archive: how many come in one request, and what is never fetched."""

from __future__ import annotations

import random
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.remote_archives import MIB, Fetch, archive_of, members_of
from zipstream_adapter import Entry, async_stream_zip, stream_zip
from zipstream_adapter.remote import open_remote


def opened(data: bytes, window: int, part_size: int = MIB) -> tuple[zipfile.ZipFile, Fetch]:
    fetch = Fetch(data)
    archive = open_remote(fetch, size=len(data), window=window, part_size=part_size)
    fetch.forget()
    return archive, fetch


@pytest.mark.parametrize("window", [1, 4])
def test_members_in_order_come_many_to_a_request(window: int) -> None:
    data = archive_of((300,) * 20_000)
    archive, fetch = opened(data, window)
    for name in archive.namelist():
        assert len(archive.read(name)) == 300
    assert len(fetch.asked) < 60
    assert fetch.bytes < len(data) * 1.01
    archive.close()


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("size", [300, 100_000, 2 * MIB])
def test_one_member_is_fetched_by_itself(window: int, size: int) -> None:
    archive, fetch = opened(archive_of((size,) * 12), window)
    archive.read("5.bin")
    assert len(fetch.asked) <= 2
    assert fetch.bytes <= max(size * 1.01, size + 400)
    archive.close()


@pytest.mark.parametrize("window", [1, 4])
def test_members_out_of_order_are_fetched_each_by_itself(window: int) -> None:
    data = archive_of((300,) * 500)
    archive, fetch = opened(data, window)
    names = archive.namelist()[::7]
    random.Random(1).shuffle(names)
    for name in names:
        archive.read(name)
    assert len(fetch.asked) == len(names)
    assert fetch.bytes < len(names) * 700
    archive.close()


def test_what_comes_ahead_is_no_more_than_twice_what_has_been_read() -> None:
    archive, fetch = opened(archive_of((1000,) * 5000), 4)
    for count, name in enumerate(archive.namelist()[:600], 1):
        archive.read(name)
        assert fetch.bytes <= 3 * count * 1200 + 270_000
    archive.close()


def test_members_that_are_opened_and_not_read_bring_nothing_with_them() -> None:
    """As where a program looks at the first bytes of each."""
    archive, fetch = opened(archive_of((200_000,) * 40), 4)
    for name in archive.namelist():
        with archive.open(name) as member:
            member.read(16)
    assert len(fetch.asked) == 40
    archive.close()


def test_directories_between_them_do_not_break_the_order() -> None:
    entries = [
        entry for number in range(400) for entry in (Entry.directory(f"{number}/"), Entry(f"{number}/file", b"x" * 200))
    ]
    data = b"".join(stream_zip(entries))
    archive, fetch = opened(data, 4)
    for name in archive.namelist():
        if not name.endswith("/"):
            archive.read(name)
    assert len(fetch.asked) < 25
    archive.close()


def test_threads_in_order_share_what_comes() -> None:
    data = archive_of((3000,) * 4000)
    archive, fetch = opened(data, 4)
    with ThreadPoolExecutor(8) as pool:
        got = dict(zip(archive.namelist(), pool.map(archive.read, archive.namelist()), strict=True))
    assert got == members_of(data)
    assert len(fetch.asked) < 400
    archive.close()


def test_a_failure_ahead_is_raised_where_its_member_is_read_and_can_be_tried_again() -> None:
    data = archive_of((1000,) * 3000)
    broken = threading.Event()

    def fetch(start: int, stop: int) -> bytes:
        if broken.is_set() and stop > 1_000_000:
            raise ConnectionResetError("it broke")
        return data[start:stop]

    archive = open_remote(fetch, size=len(data), part_size=1 << 16)
    names = archive.namelist()
    broken.set()
    read: list[bytes] = []
    with pytest.raises(ConnectionResetError):
        read.extend(map(archive.read, names))
    assert 800 < len(read) < 1000
    broken.clear()
    members = members_of(data)
    for name in names[len(read) :]:
        assert archive.read(name) == members[name]
    archive.close()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_selection_is_sent_as_a_new_archive_in_few_requests(asynchronous: bool) -> None:
    data = archive_of((2000,) * 3000, zipfile.ZIP_DEFLATED)
    archive, fetch = opened(data, 4)
    entries = [Entry.copy(archive, info) for info in archive.infolist()[500:2500]]
    if asynchronous:
        new = b"".join([chunk async for chunk in async_stream_zip(entries)])
    else:
        new = b"".join(stream_zip(entries))
    members = members_of(data)
    assert members_of(new) == {f"{number}.bin": members[f"{number}.bin"] for number in range(500, 2500)}
    assert len(fetch.asked) < 40
    archive.close()
