"""Members of remote archives on an event loop, over a function that fetches ranges."""

from __future__ import annotations

import asyncio
import threading
import zipfile
import zlib
from contextlib import aclosing
from typing import Any

import pytest

from tests.support.loops import until
from tests.support.oracles import need_zstd
from tests.support.remote_archives import MIB, Fetch, archive_of, members_of, noise
from zipstream_adapter import Entry, async_stream_zip, stream_zip
from zipstream_adapter._compression.decoders import STEP
from zipstream_adapter.errors import BadArchiveError, EntryTypeError
from zipstream_adapter.remote import member_stream, open_remote, open_remote_async

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


async def opened(data: bytes, **options: Any) -> tuple[zipfile.ZipFile, Fetch]:
    fetch = Fetch(data)
    return await open_remote_async(fetch, size=len(data), **options), fetch


async def read(archive: zipfile.ZipFile, member: Any) -> bytes:
    return b"".join([chunk async for chunk in member_stream(archive, member)])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("window", [1, 4])
async def test_members_come_as_zipfile_reads_them(method: int, window: int) -> None:
    data = archive_of((0, 1, 100, 300_000, 2 * MIB), method)
    archive, _ = await opened(data, window=window, part_size=1 << 16)
    for name, expected in members_of(data).items():
        assert await read(archive, name) == expected
        assert await read(archive, archive.getinfo(name)) == expected
        assert archive.read(name) == expected
    archive.close()


@pytest.mark.parametrize("window", [1, 4])
async def test_zstandard(window: int) -> None:
    library = need_zstd()
    contents = {f"{size}": noise(size, size) + bytes(size) for size in (0, 1, 1 << 16, 1 << 17, 1 << 18, 3 * MIB)}
    data = noise(700_000, 1)
    frames = library.compress(data[:300_000]) + b"\x50\x2a\x4d\x18\3\0\0\0abc" + library.compress(data[300_000:])
    entries: list[Any] = [Entry(name, content, compression="zstd") for name, content in contents.items()]
    entries.append(Entry.raw("frames", frames, compression=93, size=len(data), crc32=zlib.crc32(data)))
    made = stream_zip(entries).read()
    archive, _ = await opened(made, window=window, part_size=1 << 16)
    for name, expected in {**contents, "frames": data}.items():
        assert await read(archive, name) == expected
    archive.close()
    cut = bytearray(made)
    cut[len(made) // 2] ^= 0xFF
    archive, _ = await opened(bytes(cut))
    with pytest.raises(BadArchiveError):
        await read(archive, str(3 * MIB))
    archive.close()


async def test_many_at_a_time() -> None:
    archive, fetch = await opened(archive_of((3 * MIB,) * 6), part_size=MIB)
    got = await asyncio.gather(*(read(archive, name) for name in archive.namelist()))
    assert got == [noise(3 * MIB, number) for number in range(6)]
    assert fetch.bytes < 18 * MIB * 1.02
    archive.close()


async def test_a_directory_beyond_the_suffix() -> None:
    archive, fetch = await opened(archive_of((10,) * 4000), suffix_size=66_000)
    assert len(archive.namelist()) == 4000
    assert len(fetch.asked) == 2
    archive.close()


async def test_nothing_is_fetched_ahead_of_demand_but_the_window() -> None:
    archive, fetch = await opened(archive_of((20 * MIB,)), part_size=MIB, window=3)
    async with aclosing(member_stream(archive, "0.bin")) as chunks:
        await anext(chunks)
        await asyncio.sleep(0.2)
        first = len(fetch.asked)
        assert first <= 5
        for _ in range(3):
            await anext(chunks)
        await asyncio.sleep(0.2)
        assert len(fetch.asked) <= first + 4
    archive.close()


async def test_what_little_data_becomes_comes_in_steps() -> None:
    data = b"".join(stream_zip([Entry("zeros", bytes(200 * MIB), compression="deflate", level=9)], workers=0))
    archive, _ = await opened(data)
    total = 0
    async with aclosing(member_stream(archive, "zeros")) as chunks:
        async for chunk in chunks:
            assert len(chunk) <= STEP
            total += len(chunk)
    assert total == 200 * MIB
    archive.close()


@pytest.mark.parametrize("method", METHODS)
async def test_the_last_bytes_do_not_leave_before_the_checksum_is_right(method: int) -> None:
    data = archive_of((400_000,), method)
    crc = zlib.crc32(members_of(data)["0.bin"]).to_bytes(4, "little")
    assert data.count(crc) == 2
    broken = data.replace(crc, b"\1\2\3\4")
    archive, _ = await opened(broken)
    got = 0
    with pytest.raises(BadArchiveError, match="its CRC-32 is"):
        async for chunk in member_stream(archive, "0.bin"):
            got += len(chunk)
    assert got < archive.getinfo("0.bin").file_size
    archive.close()


async def test_a_cancelled_reader_leaves_no_task_and_no_thread() -> None:
    before, threads = asyncio.all_tasks(), set(threading.enumerate())
    fetch = Fetch(archive_of((20 * MIB,)))
    archive = await open_remote_async(fetch, size=len(fetch.data), part_size=MIB)
    for parts in (0, 4, 12):
        fetch.forget()
        fetch.go.clear()
        fetch.held_after = parts
        reading = asyncio.ensure_future(read(archive, "0.bin"))
        await until(lambda parts=parts: len(fetch.asked) > parts)  # type: ignore[misc]
        reading.cancel()
        asyncio.get_running_loop().call_later(0.05, fetch.go.set)
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert asyncio.all_tasks() == before
    archive.close()
    await until(lambda: set(threading.enumerate()) <= threads)
    assert len(fetch.asked) <= 12 + 5  # no more than were under way, of 20


async def test_a_failing_part_is_raised_after_what_came_before_it() -> None:
    data = archive_of((8 * MIB,))

    def fetch(start: int, stop: int) -> bytes:
        if start <= 5 * MIB < stop and stop < 8 * MIB:
            raise ConnectionResetError("it broke")
        return data[start:stop]

    archive = await open_remote_async(fetch, size=len(data), part_size=MIB)
    got = b""
    with pytest.raises(ConnectionResetError, match="it broke"):
        async for chunk in member_stream(archive, "0.bin"):
            got += chunk
    assert noise(8 * MIB).startswith(got)
    assert 3 * MIB < len(got) < 6 * MIB
    archive.close()


async def test_a_member_of_what_is_opened_for_it_alone() -> None:
    fetch = Fetch(archive_of((3 * MIB, 10)))
    chunks = member_stream(fetch, "1.bin", size=len(fetch.data))
    assert b"".join([chunk async for chunk in chunks]) == noise(10, 1)
    assert len(fetch.asked) == 2


async def test_a_selection_as_a_new_archive() -> None:
    data = archive_of((MIB, 3000, 2 * MIB), zipfile.ZIP_DEFLATED)
    archive, fetch = await opened(data)
    fetch.forget()
    entries = [Entry.copy(archive, name) for name in ("2.bin", "0.bin")]
    new = b"".join([chunk async for chunk in async_stream_zip(entries)])
    members = members_of(data)
    assert members_of(new) == {"2.bin": members["2.bin"], "0.bin": members["0.bin"]}
    assert len(fetch.asked) == 2
    archive.close()


async def test_what_is_no_remote_archive_or_no_member_is_refused(tmp_path: Any) -> None:
    (tmp_path / "a.zip").write_bytes(archive_of((10,)))
    with zipfile.ZipFile(tmp_path / "a.zip") as local, pytest.raises(EntryTypeError, match="open_remote"):
        await read(local, "0.bin")
    archive, _ = await opened(archive_of((10,)))
    with pytest.raises(EntryTypeError, match="member=5"):
        await read(archive, 5)
    with pytest.raises(EntryTypeError, match="the archive is open already"):
        await anext(member_stream(archive, "0.bin", window=2))
    archive.close()
    with pytest.raises(ValueError, match="closed"):
        await read(archive, "0.bin")


def test_both_ways_open_the_same() -> None:
    data = archive_of((10, 20))
    one = open_remote(Fetch(data), size=len(data))
    two = asyncio.run(open_remote_async(Fetch(data), size=len(data)))
    assert one.namelist() == two.namelist()
    assert type(one) is type(two)
    one.close()
    two.close()
