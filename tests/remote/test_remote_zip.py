"""open_remote over a function that fetches ranges: what ZipFile does, and how many requests it takes."""

from __future__ import annotations

import io
import random
import shutil
import struct
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.executors import none_left
from tests.support.remote_archives import MIB, Fetch, archive_of, members_of, noise
from zipstream_adapter import Entry, stream_zip
from zipstream_adapter._format.end_records import SUFFIX
from zipstream_adapter.errors import OptionError, StreamClosedError
from zipstream_adapter.remote import open_remote
from zipstream_adapter.remote.reading.zip_file import RemoteZipFile

LARGE = (11 * MIB, 40 * MIB, 12 * MIB)


def opened(data: bytes, **options: Any) -> tuple[zipfile.ZipFile, Fetch]:
    fetch = Fetch(data)
    return open_remote(fetch, size=len(data), **options), fetch


def test_opening_takes_one_request_of_the_suffix() -> None:
    data = archive_of((MIB,) * 3)
    archive, fetch = opened(data)
    assert archive.namelist() == ["0.bin", "1.bin", "2.bin"]
    assert fetch.asked == [(len(data) - SUFFIX, len(data))]
    archive.close()


@pytest.mark.parametrize("comment", [b"", b"c" * 65535])
def test_a_directory_beyond_the_suffix_takes_one_more_request_for_what_is_missing(comment: bytes) -> None:
    data = archive_of((10,) * 4000, comment=comment)
    archive, fetch = opened(data, suffix_size=66_000)
    assert len(archive.namelist()) == 4000
    assert archive.comment == comment
    assert len(fetch.asked) == 2
    (first, end), (start, stop) = fetch.asked
    assert (end, stop) == (len(data), first)
    assert data[start : start + 4] == b"PK\1\2"
    archive.close()


@pytest.mark.parametrize("window", [1, 4])
def test_a_large_member_takes_its_own_bytes_and_no_more_than_a_hundredth_beyond(window: int) -> None:
    data = archive_of(LARGE)
    archive, fetch = opened(data, window=window)
    fetch.forget()
    with archive.open("1.bin") as member:
        assert member.read() == noise(LARGE[1], 1)
    assert len(fetch.asked) == 5
    assert LARGE[1] < fetch.bytes < LARGE[1] * 1.01
    archive.close()


def test_parts_are_fetched_at_a_time_and_only_once_the_member_is_read() -> None:
    fetch = Fetch(archive_of(LARGE))
    archive = open_remote(fetch, size=len(fetch.data), window=3, part_size=MIB)
    fetch.forget()
    with archive.open("1.bin") as member:
        member.read(1000)
        time.sleep(0.1)
        assert len(fetch.asked) == 1  # who looks at the beginning gets no more than a part
        fetch.meet(3)
        data = noise(1000, 1)[:0] + member.read()
    assert data == noise(LARGE[1], 1)[1000:]
    assert fetch.most_at_once == 3
    archive.close()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_it_is_a_zipfile_in_all_that_reads(method: int, tmp_path: Path) -> None:
    data = archive_of((0, 1, 70_000, 300_000), method)
    archive, _ = opened(data)
    assert isinstance(archive, zipfile.ZipFile)
    assert archive.testzip() is None
    with zipfile.ZipFile(io.BytesIO(data)) as beside:
        assert [(it.filename, it.CRC, it.date_time) for it in archive.infolist()] == [
            (it.filename, it.CRC, it.date_time) for it in beside.infolist()
        ]
    assert {name: archive.read(name) for name in archive.namelist()} == members_of(data)
    archive.extractall(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == members_of(data)
    assert zipfile.Path(archive, "1.bin").read_bytes() == members_of(data)["1.bin"]
    archive.close()


def test_members_are_read_interleaved_each_by_one_request() -> None:
    sizes = (3 * MIB, 5 * MIB, 2 * MIB)
    archive, fetch = opened(archive_of(sizes))
    fetch.forget()
    members = [archive.open(name) for name in archive.namelist()]
    got: list[list[bytes]] = [[] for _ in sizes]
    while any(parts := [member.read(70_001) for member in members]):
        for each, part in zip(got, parts, strict=True):
            each.append(part)
    assert [b"".join(each) for each in got] == [noise(size, number) for number, size in enumerate(sizes)]
    assert len(fetch.asked) == 3
    archive.close()


def test_two_handles_on_one_member_do_not_mix() -> None:
    archive, _ = opened(archive_of((3 * MIB,)))
    with archive.open("0.bin") as one, archive.open("0.bin") as two:
        assert one.read(2 * MIB) == noise(3 * MIB)[: 2 * MIB]
        assert two.read(MIB) == noise(3 * MIB)[:MIB]
        assert one.read() == noise(3 * MIB)[2 * MIB :]
    archive.close()


def test_threads_read_at_the_same_time() -> None:
    fetch = Fetch(archive_of((2 * MIB,) * 8))
    archive = open_remote(fetch, size=len(fetch.data), window=1)
    fetch.meet(8)  # nobody waits for another's request
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(archive.read, archive.namelist()))
    assert got == [noise(2 * MIB, number) for number in range(8)]
    assert fetch.most_at_once == 8
    archive.close()


def test_a_seek_in_a_stored_member_fetches_what_is_read_behind_it() -> None:
    archive, fetch = opened(archive_of((40 * MIB,)))
    data = noise(40 * MIB)
    fetch.forget()
    with archive.open("0.bin") as member:
        member.seek(30 * MIB)
        assert member.read(100) == data[30 * MIB : 30 * MIB + 100]
        member.seek(10, io.SEEK_CUR)
        assert member.read(100) == data[30 * MIB + 110 : 30 * MIB + 210]
        member.seek(20)
        assert member.read(50) == data[20:70]
    # The header and the member's first bytes are of one request, which ends with the handle.
    assert [(stop - start) for start, stop in fetch.asked[1:]][:1] == [1 << 16]
    archive.close()


def test_an_archive_in_an_archive_is_read_in_place() -> None:
    inner = archive_of((100_000, 200_000), zipfile.ZIP_DEFLATED)
    outer = b"".join(stream_zip([Entry("inner.zip", inner), Entry("pad", noise(3 * MIB))]))
    archive, _ = opened(outer)
    with archive.open("inner.zip") as file, zipfile.ZipFile(file) as within:
        assert within.read("1.bin") == members_of(inner)["1.bin"]
    archive.close()


def test_closing_closes_the_members_that_are_open() -> None:
    before = set(threading.enumerate())
    archive, fetch = opened(archive_of((40 * MIB,)), part_size=MIB)
    member = archive.open("0.bin")
    member.read(3 * MIB)
    archive.close()
    asked = len(fetch.asked)
    with pytest.raises(StreamClosedError):
        member.read(8 * MIB)
    with pytest.raises(ValueError, match="closed"):
        archive.open("0.bin")
    with pytest.raises(ValueError, match="closed"):
        archive.read("0.bin")
    archive.close()
    assert len(fetch.asked) == asked
    _wait_for_threads(before)


def test_what_is_dropped_ends_its_threads_and_a_member_outlives_its_archive() -> None:
    before = set(threading.enumerate())
    archive, _ = opened(archive_of((5 * MIB,)), part_size=MIB)
    member = archive.open("0.bin")
    member.read(2 * MIB)
    del archive
    assert member.read() == noise(5 * MIB)[2 * MIB :]
    del member
    _wait_for_threads(before)


def _wait_for_threads(before: set[threading.Thread]) -> None:
    assert none_left(before)


def test_a_longer_extra_in_the_local_header_than_in_the_directory_is_read_past() -> None:
    """As those of aligned archives are: where the data ends is known only from there."""
    plain = archive_of((200,))
    size = struct.unpack_from("<H", plain, 26)[0]
    padding = struct.pack("<2H", 0xD935, 5000) + bytes(5000)
    head, rest = bytearray(plain[: 30 + size]), plain[30 + size :]
    struct.pack_into("<H", head, 28, len(padding))
    data = bytearray(bytes(head) + padding + rest)
    struct.pack_into("<L", data, len(data) - 6, struct.unpack_from("<L", data, len(data) - 6)[0] + len(padding))
    archive, _ = opened(bytes(data))
    assert archive.read("0.bin") == noise(200)
    archive.close()


def test_bytes_in_front_of_the_archive_shift_it() -> None:
    data = b"#!/bin/sh\nexit\n" * 9000 + archive_of((70_000, 10))
    archive, _ = opened(data)
    assert archive.testzip() is None
    archive.close()


def test_a_copy_goes_into_a_new_archive_as_it_is_compressed() -> None:
    data = archive_of((MIB, 50_000, 2 * MIB), zipfile.ZIP_DEFLATED)
    archive, fetch = opened(data)
    fetch.forget()
    new = b"".join(stream_zip([Entry.copy(archive, "2.bin"), Entry.copy(archive, "0.bin", "other")]))
    assert len(fetch.asked) == 2
    members = members_of(data)
    assert members_of(new) == {"2.bin": members["2.bin"], "other": members["0.bin"]}
    with zipfile.ZipFile(io.BytesIO(new)) as copy:
        assert copy.getinfo("2.bin").compress_size == archive.getinfo("2.bin").compress_size
    archive.close()


def test_it_cannot_be_written_to() -> None:
    archive, _ = opened(archive_of((10,)))
    with pytest.raises(OptionError, match="reading only"):
        archive.open("new", "w")
    with pytest.raises(ValueError, match="reading only"):
        archive.writestr("new", b"")
    archive.close()


def test_the_seam_to_zipfile() -> None:
    """What RemoteZipFile.open takes for granted: a ZipFile's attributes, and who closes the file of a member."""
    closed = []

    class File(io.BytesIO):
        def close(self) -> None:
            closed.append(self)
            super().close()

    data = archive_of((100,))
    whole = zipfile.ZipFile(io.BytesIO(data))
    assert {"fp", "_lock", "_fileRefCnt", "_filePassed"} <= set(vars(whole))
    view = zipfile.ZipFile.__new__(zipfile.ZipFile)
    vars(view).update(vars(whole), fp=File(data), _lock=threading.RLock(), _fileRefCnt=0, _filePassed=0)
    handle = zipfile.ZipFile.open(view, whole.getinfo("0.bin"))
    view.fp = None
    del view
    assert handle.read() == noise(100)
    assert not closed
    handle.close()
    assert len(closed) == 1
    whole.close()


def test_copying_by_shutil_reads_each_byte_once() -> None:
    archive, fetch = opened(archive_of(LARGE), window=1)
    fetch.forget()
    out = io.BytesIO()
    with archive.open("1.bin") as member:
        shutil.copyfileobj(member, out, 12_345)
    assert out.getvalue() == noise(LARGE[1], 1)
    assert len(fetch.asked) == 5
    assert fetch.bytes < LARGE[1] * 1.01
    archive.close()


def test_it_has_the_type_that_is_promised_and_says_what_it_is() -> None:
    archive, _ = opened(archive_of((10,)))
    assert type(archive) is RemoteZipFile
    assert "Fetch" in repr(archive)
    archive.close()
    del archive


def test_members_at_random_places() -> None:
    data = archive_of(tuple(random.Random(5).randrange(1, 200_000) for _ in range(60)))
    archive, _ = opened(data, part_size=1 << 17)
    names = archive.namelist() * 2
    random.Random(6).shuffle(names)
    with ThreadPoolExecutor(4) as pool:
        got = dict(pool.map(lambda name: (name, archive.read(name)), names))
    assert got == members_of(data)
    archive.close()


def test_zipfile_path_which_gives_the_archive_another_class() -> None:
    data = archive_of((70_000,) * 30, zipfile.ZIP_DEFLATED)
    before = set(threading.enumerate())
    archive, fetch = opened(data, window=1)
    root = zipfile.Path(archive)
    assert {path.name: path.read_bytes() for path in root.iterdir()} == members_of(data)
    assert len(fetch.asked) < 30
    with root.joinpath("3.bin").open("rb") as one, root.joinpath("4.bin").open("rb") as two:
        assert (one.read(100), two.read(100), one.read(100)) == (
            members_of(data)["3.bin"][:100],
            members_of(data)["4.bin"][:100],
            members_of(data)["3.bin"][100:200],
        )
    archive.close()
    with pytest.raises(ValueError, match="closed"):
        archive.read("0.bin")
    _wait_for_threads(before)


def test_a_broken_stored_member_is_noticed_where_it_is_read_whole() -> None:
    data = bytearray(archive_of((300_000, 10)))
    data[200_000] ^= 1
    archive, _ = opened(bytes(data))
    assert archive.testzip() == "0.bin"
    with pytest.raises(zipfile.BadZipFile, match="is broken: its CRC-32 is"):
        archive.read("0.bin")
    with archive.open("0.bin") as member:
        member.seek(250_000)
        assert member.read() == noise(300_000)[250_000:]
    archive.close()
