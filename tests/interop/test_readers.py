"""Archives of every kind, judged by programs that read them: every name, size and checksum, and not one warning."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import pytest

from tests.interop.readers import BY_DIRECTORY, READERS, SEVEN_ZIPS, Refused, as_found_by, member, run
from tests.support import oracles
from zipstream_adapter import Entry, StreamingZipFile, stream_zip

_DATE = datetime(2024, 2, 29, 13, 14, 16, tzinfo=UTC)


def pieces(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """`data` as a generator gives it: in pieces of any size, empty ones among them."""
    while data:
        count = rng.choice([0, 1, 7, 100, 4096])
        yield data[:count]
        data = data[count:]


def small_members(count: int) -> dict[str, bytes]:
    """Names of many kinds and data from nothing up; directories end in a slash."""
    rng = random.Random(count)
    stems = [
        "plain",
        "with space",
        "ünïcödé",
        "日本語",
        "emoji-🗜",
        "Δοκιμή",
        "-dash",
        "dot.d/inner",
        "a'quote",
        "perc%20",
    ]
    members = {}
    for number in range(count):
        name = f"{number // 50:02}/{stems[number % len(stems)]}-{number:04}"
        size = (0, 1, 20, 300, 5_000)[number % 5]
        text = b"the same words again and again " * (size // 30 + 1)
        members[name] = rng.randbytes(size) if number % 3 else text[:size]
        if number % 9 == 0:
            members[f"{name}-directory/"] = b""
    return members


def as_entries(members: dict[str, bytes]) -> Iterator[Entry]:
    """`members` as entries of all sorts: stored and deflated, from bytes, generators and callables, with extras."""
    rng = random.Random(7)
    for number, (name, data) in enumerate(members.items()):
        if name.endswith("/"):
            yield Entry.directory(name)
            continue
        source: Any = [data, pieces(data, rng), partial(pieces, data, rng), bytearray(data)][number % 4]
        yield Entry(
            name,
            source,
            compression="deflate" if number % 7 < 4 else None,
            size=len(data) if number % 11 == 0 else None,
            comment="ein Kömmentar: 注".encode() if number % 13 == 0 else b"",
            extra=struct.pack("<2H4s", 0xCAFE, 4, b"data") if number % 17 == 0 else b"",
            modified=(1980 + number % 128, 1 + number % 12, 28, 12, 0, 0) if number % 5 == 0 else None,
        )


@pytest.mark.parametrize("reader", READERS)
def test_a_thousand_small_members_are_complete_for_every_reader(reader: str, tmp_path: Path) -> None:
    members = small_members(900)
    assert len(members) == 1000
    archive = b"".join(stream_zip(as_entries(members), comment=b"all of them"))
    expected = {name: member(data) for name, data in members.items()}
    assert READERS[reader](archive, tmp_path) == as_found_by(reader, expected)


_BIG = {"noise": random.Random(1).randbytes(300_000), "text": b"0123456789 all work and no play\n" * 50_000}
_MIXED = {"before": b"x", **_BIG, "between": b"", "d/": b"", "after": b"y" * 100}


def in_chunks(data: bytes, size: int = 10_000) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def streamed(compression: Any) -> list[Entry]:
    """Members of unknown size on both sides of the lookahead."""
    return [
        Entry(name) if name.endswith("/") else Entry(name, in_chunks(data), compression=compression)
        for name, data in _MIXED.items()
    ]


def promised() -> list[Entry]:
    """Stored members with size and checksum known beforehand."""
    return [
        Entry(name) if name.endswith("/") else Entry(name, in_chunks(data), size=len(data), crc32=crc32(data))
        for name, data in _MIXED.items()
    ]


def linked() -> list[Entry]:
    return [Entry("d/file", b"data"), Entry.symlink("d/link", "file"), Entry.symlink("dir-link", "d")]


_LINKED = {"d/file": b"data", "d/link": b"file", "dir-link": b"d"}
_JAVA = frozenset({"java-file", "java-pipe"})


class Kind(NamedTuple):
    """An archive's entries, what is in them, and the few readers that do not take it."""

    entries: Callable[[], list[Entry]]
    members: dict[str, bytes]
    not_for: frozenset[str] = frozenset()


_KINDS = {
    "deflate": Kind(lambda: streamed("deflate"), _MIXED),
    "stored": Kind(lambda: streamed("stored"), _MIXED, frozenset({"java-pipe", "stream-unzip"})),
    "bzip2": Kind(lambda: streamed("bzip2"), _MIXED, _JAVA | {"bsdtar-pipe"}),
    "lzma": Kind(lambda: streamed("lzma"), _MIXED, _JAVA | {"bsdtar-pipe", "stream-unzip", "unzip"}),
    "promised": Kind(promised, _MIXED),
    # Before the directory, nothing says that a member is a link.
    "links": Kind(linked, _LINKED, frozenset({"bsdtar-pipe"})),
}


@pytest.mark.parametrize(
    ("kind", "reader"),
    [(name, reader) for name, kind in _KINDS.items() for reader in READERS if reader not in kind.not_for],
)
def test_members_of_every_kind_are_complete(kind: str, reader: str, tmp_path: Path) -> None:
    archive = b"".join(stream_zip(_KINDS[kind].entries()))
    expected = {name: member(data) for name, data in _KINDS[kind].members.items()}
    assert READERS[reader](archive, tmp_path) == as_found_by(reader, expected)


# 7-Zip warns of each such archive that it is open with an offset.
@pytest.mark.parametrize("reader", [reader for reader in BY_DIRECTORY if reader != "7z"])
def test_an_archive_behind_other_data_is_whole(reader: str, tmp_path: Path) -> None:
    """As in a self-extracting archive: offsets count from where the target's position was."""
    target = io.BytesIO()
    target.write(b"#!/bin/sh\nexit 0\n")
    with StreamingZipFile(target) as archive:
        archive.writestr("first", b"data")
        archive.writestr("second", b"more" * 50_000, zipfile.ZIP_DEFLATED)
    expected = {"first": member(b"data"), "second": member(b"more" * 50_000)}
    assert READERS[reader](target.getvalue(), tmp_path) == expected


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("comment", [b"", b"nothing in it"])
def test_an_archive_of_nothing_is_read_as_that(reader: str, comment: bytes, tmp_path: Path) -> None:
    archive = b"".join(stream_zip([], comment=comment))
    if reader == "unzip":
        with pytest.raises(Refused, match=r"exited with 1\n.*zipfile is empty"):
            READERS[reader](archive, tmp_path)
    else:
        assert READERS[reader](archive, tmp_path) == {}


def dated() -> list[Entry]:
    return [
        Entry("read-only", b"data", modified=_DATE, mode=0o440),
        Entry("script", iter([b"#!/bin/sh\n" * 20_000]), modified=_DATE, mode=0o755, compression="deflate"),
        Entry.directory("private", modified=_DATE, mode=0o700),
        Entry.symlink("link", "script", modified=_DATE),
    ]


@pytest.mark.parametrize("zone", ["UTC", "XXX-9", "XXX5YYY"])
@pytest.mark.parametrize("program", ["unzip", "7z", "bsdtar"])
def test_dates_and_modes_come_back_in_every_time_zone(program: str, zone: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    archive.write_bytes(b"".join(stream_zip(dated())))
    out = tmp_path / "out"
    out.mkdir()
    programs, options = {"unzip": (("unzip",), "-qq"), "7z": (SEVEN_ZIPS, "x"), "bsdtar": (("bsdtar",), "-xpf")}[
        program
    ]
    run([oracles.need(*programs), options, archive], place=out, TZ=zone)
    info = {name: os.lstat(out / name) for name in ("read-only", "script", "private", "link")}
    assert {name: oct(info[name].st_mode) for name in info if name != "link"} == {
        "read-only": "0o100440",
        "script": "0o100755",
        "private": "0o40700",
    }
    assert os.readlink(out / "link") == "script"
    assert {name: datetime.fromtimestamp(info[name].st_mtime, UTC) for name in info if name != "link"} == {
        "read-only": _DATE,
        "script": _DATE,
        "private": _DATE,
    }


@pytest.mark.parametrize("zone", ["UTC", "XXX-9"])
def test_without_the_extra_the_clock_on_the_wall_is_kept(zone: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    archive.write_bytes(b"".join(stream_zip(dated()[:1], extended_timestamps=False)))
    listing, _ = run([oracles.need("unzip"), "-Z", "-T", archive], TZ=zone)
    assert "20240229.131416 read-only" in listing


def test_bsdtar_lists_modes_dates_and_links(tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    archive.write_bytes(b"".join(stream_zip(dated())))
    listing, complaints = run([oracles.need("bsdtar"), "-tvf", archive], TZ="UTC")
    assert not complaints
    rows = [line.split() for line in listing.splitlines()]
    assert [(row[0], row[4], row[8]) for row in rows] == [
        ("-r--r-----", "4", "read-only"),
        ("-rwxr-xr-x", "200000", "script"),
        ("drwx------", "0", "private/"),
        ("lrwxrwxrwx", rows[3][4], "link"),  # its size is none of the archive's business
    ]
    assert rows[3][9:] == ["->", "script"]
    assert {tuple(row[5:8]) for row in rows} == {("Feb", "29", "2024")}


def test_zipinfo_finds_nothing_odd(tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    extra = struct.pack("<2H4s", 0xCAFE, 4, b"data")
    entries = [
        Entry("small", b"data", modified=_DATE, comment=b"of the member", extra=extra),
        Entry("große", in_chunks(_BIG["noise"]), modified=_DATE, compression="deflate"),
    ]
    archive.write_bytes(b"".join(stream_zip(entries, comment=b"of the archive")))
    said, complaints = run([oracles.need("unzip"), "-Z", "-v", archive], TZ="XXX-9")
    assert not complaints
    facts = [" ".join(line.split()) for line in said.splitlines()]
    small, large = ("\n".join(facts).split("Central directory entry #")[index] for index in (1, 2))
    for part in (small, large):
        assert "file last modified on (UT extra field modtime): 2024 Feb 29 13:14:16 UTC" in part or (
            "file last modified on (UT extra field modtime): 2024 Feb 29 22:14:16 local" in part
        )
        assert "file system or operating system of origin: Unix" in part
        assert "minimum software version required to extract: 2.0" in part
        assert "Unix file attributes (100644 octal): -rw-r--r--" in part
    assert "extended local header: no" in small
    assert "extended local header: yes" in large
    assert "of the member" in small
    assert "of the archive" in said
    assert "extra bytes" not in said.replace("bytes of extra", "")
