"""EPUB and ODF: the first member, ``mimetype``, says what an archive is, and has to be as those formats want it."""

from __future__ import annotations

import io
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.format.test_names_ways import WAYS, Make, laid_out, streamed
from tests.support.loops import module
from tests.support.oracles import java_command, need
from tests.support.sweeps import pairwise
from zipstream_adapter import Entry, StreamingZipFile, stream_zip
from zipstream_adapter.compat import zipstream_ng

EPUB = b"application/epub+zip"
ODT = b"application/vnd.oasis.opendocument.text"
DATE = 1_700_000_000
OTHER_EXTRA = struct.pack("<2H", 0x4343, 1) + b"x"
DATES = struct.pack("<2HBL", 0x5455, 5, 1, DATE) + struct.pack("<2H", 0x7875, 0) + struct.pack("<2H", 0x000A, 0)

CONTAINER = b"""<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PACKAGE = b"""<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:12345678-1234-4234-8234-123456789abc</dc:identifier>
<dc:title>A book</dc:title><dc:language>en</dc:language>
<meta property="dcterms:modified">2026-01-02T03:04:05Z</meta></metadata>
<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/></manifest>
<spine><itemref idref="nav"/></spine></package>"""
NAV = b"""<?xml version="1.0"?><!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en">
<head><title>A book</title></head><body>
<nav epub:type="toc"><ol><li><a href="nav.xhtml">All</a></li></ol></nav></body></html>"""
BOOK = [("META-INF/container.xml", CONTAINER), ("book.opf", PACKAGE), ("nav.xhtml", NAV)]


def book(mimetype: Entry, compression: Any) -> Iterator[Entry]:
    yield mimetype
    for name, data in BOOK:
        yield Entry(name, data, modified=DATE, compression=compression)


def header(archive: bytes) -> tuple[int, int, int, int]:
    """Of the first member: flags, method, and the sizes of its data and extra."""
    flags, method = struct.unpack_from("<2H", archive, 6)
    return flags, method, *struct.unpack_from("<L6xH", archive, 18)


@pairwise(
    make=WAYS,
    source=["bytes", "file", "declared", "chunks", "raw", "mapping"],
    compression=["stored", "deflate", "auto"],
    lookahead=[0, 65536],
)
def test_an_archive_begins_as_its_format_wants_it(
    make: Make, source: str, compression: str, lookahead: int, tmp_path: Path
) -> None:
    if make.__name__ == "laid_out":
        compression = "stored"
    file = tmp_path / "mimetype"
    file.write_bytes(EPUB)
    said: dict[str, Any] = {"modified": DATE, "compression": "stored"}
    found: Any = {
        "bytes": Entry("mimetype", EPUB, **said),
        "file": Entry("mimetype", file, compression="stored"),
        "declared": Entry("mimetype", [EPUB[:5], EPUB[5:]], size=20, crc32=zlib.crc32(EPUB), **said),
        "chunks": Entry("mimetype", [EPUB[:5], EPUB[5:]], size=20, **said),
        "raw": Entry.raw("mimetype", EPUB, size=20, crc32=zlib.crc32(EPUB), **said),
        "mapping": {"name": "mimetype", "source": EPUB, **said},
    }[source]
    archive = make([found, ("a", b"x")], compression=compression, lookahead=lookahead)
    assert header(archive) == (0, 0, 20, 0)
    assert archive[30:58] == b"mimetype" + EPUB
    with zipfile.ZipFile(io.BytesIO(archive)) as read:
        assert read.testzip() is None
        assert read.infolist()[0].extra == b""
        assert read.infolist()[1].extra[:2] == b"UT"


@pytest.mark.parametrize("make", WAYS)
def test_a_pair_is_stored_by_the_archive_s_own_method(make: Make) -> None:
    assert header(make([("mimetype", EPUB), ("a", b"x")])) == (0, 0, 20, 0)
    if make.__name__ != "laid_out":
        assert header(make([("mimetype", EPUB)], compression="auto")) == (0, 0, 20, 0)
        assert header(make([("mimetype", EPUB)], compression="deflate"))[1:] != (0, 20, 0)


@pytest.mark.parametrize("make", WAYS)
def test_other_members_keep_their_dates(make: Make) -> None:
    entries = [("a", b"x"), ("mimetype", EPUB), ("d/mimetype", EPUB)]
    read = zipfile.ZipFile(io.BytesIO(make(entries)))
    assert [info.extra[:2] for info in read.infolist()] == [b"UT"] * 3
    read = zipfile.ZipFile(io.BytesIO(make([("Mimetype", EPUB)])))
    assert read.infolist()[0].extra[:2] == b"UT"


@pytest.mark.parametrize("make", WAYS)
def test_what_a_caller_wants_besides_dates_stays(make: Make) -> None:
    said: dict[str, Any] = {"modified": DATE, "compression": "stored"}
    archive = make([Entry("mimetype", EPUB, extra=DATES + OTHER_EXTRA, **said)])
    assert zipfile.ZipFile(io.BytesIO(archive)).infolist()[0].extra == OTHER_EXTRA
    archive = make([Entry("mimetype", EPUB, extra=DATES, zip64=True, **said)])
    assert header(archive)[3] == 20


@pytest.mark.parametrize("make", WAYS)
def test_a_copy_is_as_the_format_wants_it(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "bad.epub"
    with zipfile.ZipFile(path, "w") as bad:
        info = zipfile.ZipInfo("mimetype")
        info.extra = DATES
        bad.writestr(info, EPUB)
    assert header(make([Entry.copy(path, "mimetype")])) == (0, 0, 20, 0)


def test_legacy_code_and_other_libraries_programs_make_it_so() -> None:
    target = io.BytesIO()
    with StreamingZipFile(target, lookahead=0) as archive:
        info = zipfile.ZipInfo("mimetype")
        info.extra = DATES
        archive.writestr(info, EPUB)
    assert header(target.getvalue()) == (0, 0, 20, 0)
    stream = zipstream_ng.ZipStream()
    stream.add(EPUB, "mimetype")
    made = b"".join(stream)
    assert made[30:58] == b"mimetype" + EPUB
    assert header(made)[3] == 0


def test_an_encrypted_one_is_none() -> None:
    module("cryptography")
    archive = b"".join(stream_zip([Entry("mimetype", EPUB, compression="stored", modified=DATE)], password="secret"))
    assert header(archive)[1] == 99


def test_the_size_is_known_beforehand() -> None:
    entries: list[Any] = [Entry("mimetype", EPUB, compression="stored"), ("a", b"x")]
    for lookahead in (0, 65536):
        stream = stream_zip(entries, lookahead=lookahead)
        assert stream.size == len(b"".join(stream))


@pytest.mark.parametrize(
    ("make", "compression"),
    [(streamed, "deflate"), pytest.param(laid_out, "stored", marks=pytest.mark.sweep)],
)
def test_epubcheck_takes_a_book(make: Make, compression: str, tmp_path: Path) -> None:
    checker = need("epubcheck")  # which is a jar
    mimetype = Entry("mimetype", EPUB, compression="stored", modified=DATE)
    path = tmp_path / "book.epub"
    path.write_bytes(make(list(book(mimetype, compression)), compression=compression))
    command = [*java_command(), "-jar", checker, str(path)]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"PKG-00" not in done.stdout + done.stderr


@pytest.mark.parametrize(("mimetype", "known_as"), [(EPUB, b"EPUB"), (ODT, b"OpenDocument Text")])
def test_file_knows_what_it_is(mimetype: bytes, known_as: bytes, tmp_path: Path) -> None:
    program = need("file")
    path = tmp_path / "document"
    path.write_bytes(streamed([("mimetype", mimetype), ("content.xml", b"<x/>")]))
    done = subprocess.run([program, "--brief", path], capture_output=True, timeout=200, check=True)
    assert known_as in done.stdout
