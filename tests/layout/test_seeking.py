"""Files that can be seeked: layouts, remote archives and their members behave as files do, for bad calls, too."""

from __future__ import annotations

import array
import errno
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.remote_archives import Fetch, archive_of
from tests.support.seeks import PAIRS, Pair, differences, layout_of
from zipstream_adapter import ZipLayout
from zipstream_adapter.remote import open_remote
from zipstream_adapter.remote.object_source import FromStore
from zipstream_adapter.remote.reading.directory import ArchiveFile
from zipstream_adapter.remote.reading.stored_member import StoredFile


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("opened", PAIRS, ids=lambda it: it.__name__)
def test_a_file_answers_any_call_as_another_file_does(
    opened: Callable[[Path], Pair], seed: int, tmp_path: Path
) -> None:
    pair = opened(tmp_path)
    with pair.right, pair.ours:
        assert differences(pair, seed, 100) == []


@pytest.mark.parametrize("entries", [[], [("a", b"data")]], ids=["empty", "one"])
def test_zipfile_reads_a_layout_that_has_no_room_for_what_it_looks_for(entries: list[Any]) -> None:
    """For the locator of zip64, which would be before the beginning, it expects OSError."""
    with ZipLayout(entries).open() as file, zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [name for name, _ in entries]
        assert archive.testzip() is None


def _archive_file() -> ArchiveFile:
    return ArchiveFile(0, bytes(100), "name")


def _stored_file() -> io.RawIOBase:
    data = archive_of((1 << 18,))
    file = open_remote(Fetch(data), size=len(data), part_size=1 << 16).open("0.bin")
    assert isinstance(file, io.BufferedReader)
    raw = file.detach()
    assert isinstance(raw, StoredFile)
    return raw


def _raw_layout() -> io.RawIOBase:
    return layout_of(50_000).open().detach()


def _object() -> io.RawIOBase:
    from datetime import UTC, datetime

    return FromStore(None, "path", 100, None, datetime.now(UTC))()  # asks for nothing before it is read


FILES = pytest.mark.parametrize("make", [_raw_layout, _stored_file, _archive_file, _object])
AS_A_FILE = pytest.mark.parametrize("make", [_raw_layout, _archive_file, _object])


@AS_A_FILE
@pytest.mark.parametrize(("offset", "whence"), [(-1, 0), (-1, 1), (-(1 << 40), 2), (1 << 63, 0)])
def test_a_place_that_no_file_has_is_an_oserror(make: Callable[[], Any], offset: int, whence: int) -> None:
    with make() as file:
        with pytest.raises(OSError, match="is outside 0 to 2") as caught:
            file.seek(offset, whence)
        assert caught.value.errno == errno.EINVAL
        assert file.tell() == 0
        assert file.seek(1 << 40) == 1 << 40


def test_a_place_outside_of_a_member_is_its_beginning_or_its_end() -> None:
    with _stored_file() as file:
        assert (file.seek(-5), file.seek(1 << 40), file.seek(-(1 << 40), 1)) == (0, 1 << 18, 0)


@FILES
def test_what_is_no_place_is_refused(make: Callable[[], Any]) -> None:
    with make() as file:
        for whence in (-1, 3, 99):
            with pytest.raises(ValueError, match=f"whence={whence}"):
                file.seek(0, whence)
        for wrong in (1.5, "1", None):
            with pytest.raises(TypeError):
                file.seek(wrong)
            with pytest.raises(TypeError):
                file.seek(0, wrong)
        assert file.tell() == 0


@FILES
def test_a_closed_file_does_nothing(make: Callable[[], Any]) -> None:
    file = make()
    file.close()
    file.close()
    calls: list[Callable[[], Any]] = [
        file.tell,
        file.read,
        lambda: file.seek(0),
        lambda: file.read(1),
        lambda: file.readinto(bytearray(5)),
    ]
    for call in calls[: -1 if isinstance(file, ArchiveFile) else None]:
        with pytest.raises(ValueError, match="closed"):
            call()


@pytest.mark.parametrize("make", [_raw_layout, _stored_file])
def test_what_cannot_be_written_is_refused_before_anything_is_read(make: Callable[[], Any]) -> None:
    with make() as file, make() as other:
        start = other.read(40)
        for buffer in (bytes(50), memoryview(bytes(50)), array.array("i", range(10)).tobytes()):
            with pytest.raises(TypeError, match="needs a writable buffer"):
                file.readinto(buffer)
        with pytest.raises(TypeError):
            file.readinto(memoryview(bytearray(50))[::2])
        assert file.readinto(array.array("i")) == 0
        assert file.tell() == 0
        assert file.read(40)[:20] == start[:20]


def test_an_interrupt_leaves_no_hole_in_a_remote_member() -> None:
    data = archive_of((1 << 20,))
    fetch = Fetch(data)
    calls = iter(range(99))

    def interrupted(start: int, stop: int) -> bytes:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return fetch(start, stop)

    with open_remote(interrupted, size=len(data), part_size=1 << 16) as archive, archive.open("0.bin") as file:
        whole = data[30 + len("0.bin") :][: 1 << 20]
        got = b""
        for _ in range(40):
            try:
                got += file.read(1 << 16)
            except KeyboardInterrupt:
                file.seek(len(got))
        assert got == whole


@pytest.mark.parametrize("make", [_raw_layout, _stored_file, _archive_file])
def test_an_interrupt_before_the_position_moves_loses_no_bytes(make: Callable[[], Any]) -> None:
    with make() as file, make() as other:
        expected = other.read(40)
        assert bytes(file._read(20)) == bytes(file._read(20)) == expected[:20]
        assert file.read(20) + file.read(20) == expected


def test_places_are_within_what_a_file_can_number() -> None:
    with layout_of(10).open() as file:
        with pytest.raises((OSError, ValueError, OverflowError)):
            file.seek(1 << 63)
        assert file.seek((1 << 63) - 1, os.SEEK_SET) == (1 << 63) - 1
        assert file.read() == b""
