"""Entry.copy: members of other archives, passed on as they are compressed there."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import random
import stat
import struct
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given

from tests.interop import readers
from tests.support import oracles
from tests.support.loops import descriptors
from tests.support.strategies import Recipe, noise, recipes, words
from zipstream_adapter import Entry, async_stream_zip, stream_zip

MEMBERS = {"a.txt": words(1, 200_000), "sub/b.bin": noise(1, 100_000), "ü.txt": words(2, 5000), "empty": b""}
METHODS = {"stored": 0, "deflate": 8, "bzip2": 12, "lzma": 14}


def archive_of(members: dict[str, bytes] = MEMBERS, method: int = 8, prefix: bytes = b"") -> bytes:
    """An archive by the standard library."""
    file = io.BytesIO(prefix)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a" if prefix else "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6))
            info.compress_type, info.external_attr = method, 0o100640 << 16
            archive.writestr(info, data)
    return file.getvalue()


def raw_bytes(archive: bytes) -> dict[str, bytes]:
    """Name -> the member's data as it is compressed, cut out by hand."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for info in opened.infolist():
            lengths = struct.unpack_from("<2H", archive, info.header_offset + 26)
            start = info.header_offset + 30 + sum(lengths)
            found[info.filename] = archive[start : start + info.compress_size]
    return found


def rows(archive: bytes) -> dict[str, tuple[Any, ...]]:
    """Name -> what the directory says of the member, but for what is the writer's."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {
            info.filename: (
                info.compress_type, info.CRC, info.file_size, info.compress_size, info.date_time,
                info.external_attr >> 16, info.comment, info.flag_bits & 6, info.extra,
            )
            for info in opened.infolist()
        }  # fmt: skip


def copied(archive: bytes, **options: Any) -> bytes:
    """All members of `archive`, copied to another one."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return stream_zip([Entry.copy(opened, info) for info in opened.infolist()], **options).read()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "a.zip"
    place.write_bytes(archive_of())
    return place


# The bytes.


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n" * 500], ids=["plain", "prepended"])
def test_compressed_bytes_and_rows_are_the_same(method: int, prefix: bytes) -> None:
    archive = archive_of(method=method, prefix=prefix)
    twin = copied(archive)
    assert raw_bytes(twin) == raw_bytes(archive)
    assert rows(twin) == rows(archive)
    assert oracles.members(twin) == MEMBERS
    assert copied(twin) == twin


@pytest.mark.parametrize("method", ["stored", "deflate"])
@pytest.mark.parametrize("reader", readers.READERS)
def test_copies_are_read_by_everybody(reader: str, method: str, tmp_path: Path) -> None:
    twin = copied(archive_of(method=METHODS[method]))
    found = readers.READERS[reader](twin, tmp_path)
    assert found == {name: readers.member(data) for name, data in MEMBERS.items()}


@pytest.mark.parametrize("coder", ["Deflate", "Deflate64", "BZip2", "LZMA", "PPMd", "Copy"])
def test_members_by_7_zip_are_copied_and_read_by_it(coder: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / name).write_bytes(MEMBERS["a.txt"])
    program = oracles.need("7zz", "7z", "7za")
    subprocess.run([program, "a", f"-mm={coder}", "in.zip", "in"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    archive = (tmp_path / "in.zip").read_bytes()
    twin = copied(archive)
    assert raw_bytes(twin) == raw_bytes(archive)
    (tmp_path / "out").mkdir()
    found = readers.seven_zip(twin, tmp_path / "out")
    assert found == {name: readers.member(MEMBERS["a.txt"]) for name in ("in/a", "in/b")}


def test_members_by_bsdtar_keep_descriptors_out_and_dates_and_links_in(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(MEMBERS["a.txt"])
    (tmp_path / "link").symlink_to("a")
    os.utime(tmp_path / "a", (1e9, 1e9))
    command = [oracles.need("bsdtar"), "--format", "zip", "-cf", "-", "a", "link"]
    archive = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
    twin = copied(archive)
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(io.BytesIO(twin)) as after:
        assert before.getinfo("a").flag_bits & 8
        assert not after.getinfo("a").flag_bits & 8
    assert raw_bytes(twin) == raw_bytes(archive)
    assert rows(twin) == rows(archive)
    assert oracles.bsdtar_pipe(twin)
    (tmp_path / "out").mkdir()
    readers.unzip(twin, tmp_path / "out")
    assert os.stat(tmp_path / "out" / "out" / "a").st_mtime == 1e9
    assert os.readlink(tmp_path / "out" / "out" / "link") == "a"


class Padded(zipfile.ZipInfo):
    """A member whose local header has more extra fields than its row."""

    def FileHeader(self, zip64: bool | None = None) -> bytes:
        kept, self.extra = self.extra, field(0xD935, bytes(3000))
        header = super().FileHeader(zip64)
        self.extra = kept
        return header


def test_the_local_header_has_lengths_of_its_own(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(Padded("a"), MEMBERS["a.txt"], 8)
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        for entry in (Entry.copy(opened, "a"), Entry.copy(tmp_path / "a.zip", "a")):
            twin = stream_zip([entry]).read()
            assert oracles.members(twin) == {"a": MEMBERS["a.txt"]}
            assert len(twin) < (tmp_path / "a.zip").stat().st_size - 2900


def test_the_sources_of_copies_are_compared_with_what_compares_itself(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive_of())
    one, twin, other = (Entry.copy(tmp_path / "a.zip", name).source for name in ("a.txt", "a.txt", "empty"))
    assert one == twin
    assert hash(one) == hash(twin)
    assert one not in (other, None)
    assert one == ANY


@given(recipes())
def test_whatever_this_package_has_written_can_be_copied(made: list[Recipe]) -> None:
    archive = stream_zip([recipe.entry() for recipe in made], lookahead=100).read()
    twin = copied(archive)
    assert oracles.members(twin) == {recipe.name: recipe.data for recipe in made}
    assert raw_bytes(twin) == raw_bytes(archive)
    if not any(recipe.options["zip64"] for recipe in made):
        assert rows(twin) == rows(archive)


# Where it is copied from.


@pytest.mark.parametrize("by_info", [True, False])
@pytest.mark.parametrize("as_type", [str, Path])
def test_from_a_path_it_is_opened_at_its_turn_and_closed(as_type: Any, by_info: bool, path: Path) -> None:
    before = descriptors()
    with zipfile.ZipFile(path) as opened:
        infos: list[Any] = opened.infolist() if by_info else opened.namelist()
    entries = [Entry.copy(as_type(path), info) for info in infos]
    assert descriptors() <= before
    twins = pickle.loads(pickle.dumps(entries))
    assert twins == entries
    open_at = []

    def items() -> Iterator[Entry]:
        for entry in twins:
            open_at.append(descriptors() - before)
            yield entry

    archive = stream_zip(items()).read()
    assert archive == copied(path.read_bytes())
    assert open_at == [set()] * len(MEMBERS)
    assert descriptors() <= before


@pytest.mark.parametrize("prefix", [b"#!/bin/sh\n" * 500, b"PK\3\4" * 9])
def test_from_a_path_with_something_before_the_archive(prefix: bytes, path: Path) -> None:
    plain = path.read_bytes()
    path.write_bytes(prefix + plain)  # offsets are those of the plain one
    assert stream_zip([Entry.copy(path, name) for name in MEMBERS]).read() == copied(plain)


def test_names_in_the_encoding_of_their_archive(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xx.txt", b"data")
    other = file.getvalue().replace(b"xx.txt", "ß.txt".encode("cp1252") + b"x")
    with zipfile.ZipFile(io.BytesIO(other), metadata_encoding="cp1252") as opened:
        assert oracles.members(stream_zip([Entry.copy(opened, "ß.txtx")]).read()) == {"ß.txtx": b"data"}
    (tmp_path / "other.zip").write_bytes(other)
    with zipfile.ZipFile(tmp_path / "other.zip") as opened:
        [name] = opened.namelist()
        archives: list[Any] = [opened, tmp_path / "other.zip"]
        for place in archives:
            assert oracles.members(stream_zip([Entry.copy(place, name)]).read()) == {name: b"data"}


def test_a_relative_path_is_the_one_that_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    entry = Entry.copy(path.name, "a.txt")
    monkeypatch.chdir("/")
    assert oracles.members(stream_zip([entry]).read()) == {"a.txt": MEMBERS["a.txt"]}


def test_other_readers_of_the_same_file_are_not_disturbed() -> None:
    names = list(MEMBERS)
    with zipfile.ZipFile(io.BytesIO(archive_of())) as opened:
        handle = opened.open("sub/b.bin")
        parts = [handle.read(1000)]
        streams = [stream_zip([Entry.copy(opened, name) for name in order]) for order in (names, names[::-1], names)]
        taken: list[list[bytes]] = [[], [], []]
        random.seed(1)
        going = [0, 1, 2]
        while going:
            number = random.choice(going)
            chunk = streams[number].read(random.choice([10, 1000, 70_000]))
            taken[number].append(chunk)
            parts.append(handle.read(500))
            if not chunk:
                going.remove(number)
        parts.append(handle.read())
    assert b"".join(parts) == MEMBERS["sub/b.bin"]
    for archive in taken:
        assert oracles.members(b"".join(archive)) == MEMBERS


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("from_path", [True, False])
@pytest.mark.patient
def test_the_asynchronous_stream_gives_the_same_bytes(prefetch: int, from_path: bool, path: Path) -> None:
    with zipfile.ZipFile(path) as opened:
        entries = [Entry.copy(path if from_path else opened, name) for name in opened.namelist() * 2]

        async def collect() -> bytes:
            return await async_stream_zip(entries, prefetch=prefetch, duplicates="rename").read()

        expected = stream_zip(entries, prefetch=prefetch, duplicates="rename").read()
        assert asyncio.run(collect()) == expected
        assert set(oracles.members(expected).values()) == set(MEMBERS.values())


def test_the_archive_may_be_closed_as_soon_as_the_member_is_open() -> None:
    opened = zipfile.ZipFile(io.BytesIO(archive_of()))
    stream = stream_zip([Entry.copy(opened, "sub/b.bin"), Entry.copy(opened, "a.txt")], chunk_size=0)
    first = next(stream)
    opened.close()
    with pytest.raises(ValueError, match="closed") as caught:
        for chunk in stream:
            first += chunk
    assert first.count(raw_bytes(archive_of())["sub/b.bin"]) == 1
    assert "(while adding entry 'a.txt')" in caught.value.__notes__


# What it keeps.


def test_another_name_and_other_options() -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of())) as opened:
        entry = Entry.copy(opened, "a.txt", "other.txt", modified=1e9, mode=0o600, comment=b"c", zip64=True)
        assert (entry.name, entry.is_raw, entry.mode, entry.comment) == ("other.txt", True, 0o600, b"c")
        stream = stream_zip([entry])
        assert oracles.members(stream.read()) == {"other.txt": MEMBERS["a.txt"]}
    [info] = stream.infolist()
    assert info.date_time == (2001, 9, 9, 1, 46, 40)
    assert info.extra.endswith(struct.pack("<2HBl", 0x5455, 5, 1, 10**9))


def field(kind: int, data: bytes) -> bytes:
    return struct.pack("<2H", kind, len(data)) + data


UTC_TIME = field(0x5455, struct.pack("<Bl", 1, 10**9))
OWNER = field(0x7875, b"\1\4\0\0\0\0\4\0\0\0\0")
EXTRAS: list[tuple[str, bytes, dict[str, Any], bytes | None]] = [
    ("no date is invented", b"", {}, b""),
    ("others are kept", OWNER + field(0xBEEF, b"12"), {}, OWNER + field(0xBEEF, b"12")),
    ("the archived date", OWNER + UTC_TIME, {}, OWNER + UTC_TIME),
    ("flags of the local header", field(0x5455, struct.pack("<Bl", 7, 10**9)), {}, UTC_TIME),
    ("all three times", field(0x5455, bytes([7]) + b"123456789012"), {}, field(0x5455, bytes([7]) + b"123456789012")),
    ("without a time", field(0x5455, b"\2") + OWNER, {}, OWNER),
    ("a name in Unicode", field(0x7075, b"\1\0\0\0\0a") + OWNER, {}, OWNER),
    ("zip64", field(1, bytes(8)) + OWNER, {}, OWNER),
    ("another date", field(0x000A, bytes(32)) + OWNER + UTC_TIME, {"modified": 5e8}, None),
    ("another extra", b"broken", {"extra": OWNER}, OWNER),
]


@pytest.mark.parametrize(
    ("extra", "options", "expected"), [case[1:] for case in EXTRAS], ids=[case[0] for case in EXTRAS]
)
def test_extra_fields_that_are_true_of_the_copy_are_kept(
    extra: bytes, options: dict[str, Any], expected: bytes | None
) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of())) as opened:
        info = opened.getinfo("a.txt")
        info.extra = extra
        stream = stream_zip([Entry.copy(opened, info, **options)])
        stream.read()
    date = field(0x5455, struct.pack("<Bl", 1, 500_000_000))
    assert stream.infolist()[0].extra == (date + OWNER if expected is None else expected)


@pytest.mark.parametrize("date", [(1980, 0, 0, 0, 0, 0), (1999, 13, 1, 0, 0, 0), (2000, 1, 1, 0, 0, 60)])
def test_a_date_that_is_none_is_the_first_there_is(date: tuple[int, ...]) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of())) as opened:
        info = opened.getinfo("a.txt")
        info.date_time = date  # type: ignore[assignment]
        stream = stream_zip([Entry.copy(opened, info)])
        stream.read()
    assert stream.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_a_directory_and_one_without_permissions() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", 8) as archive:
        archive.writestr(zipfile.ZipInfo("sub/", (1999, 1, 2, 3, 4, 6)), b"")
        archive.writestr(zipfile.ZipInfo("plain", (1999, 1, 2, 3, 4, 6)), b"1")
    with zipfile.ZipFile(file) as opened:
        for info in opened.infolist():
            info.external_attr &= 0xFFFF
        entries = [Entry.copy(opened, info) for info in opened.infolist()] + [Entry.copy(opened, "sub/", "other")]
        assert [entry.is_raw for entry in entries] == [False, True, False]
        stream = stream_zip(entries, compression="deflate")
        stream.read()
    assert [(info.filename, info.external_attr >> 16, info.flag_bits, info.extra) for info in stream.infolist()] == [
        ("sub/", stat.S_IFDIR | 0o755, 0, b""),
        ("plain", stat.S_IFREG | 0o644, 0, b""),
        ("other/", stat.S_IFDIR | 0o755, 0, b""),
    ]
    assert {info.date_time for info in stream.infolist()} == {(1999, 1, 2, 3, 4, 6)}
