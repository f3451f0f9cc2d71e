"""What readers make of each form that a member or an archive's end can take: measured, and pinned.

The writer chooses between these forms. What it chooses has to be read by as many as possible, so a reader that changes
its mind, or a writer that does, is noticed here.
"""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import pytest

from tests.interop.readers import READERS, SEVEN_ZIPS, Refused, member, run
from tests.support import oracles
from zipstream_adapter import Entry, stream_zip

_DATA = random.Random(3).randbytes(200_000)  # past the lookahead, whatever the method
_AFTER = b"found behind it"  # a reader that misses the first one's end misses this


_LOCAL = struct.Struct("<4x5H3L2H")
_MAX = 0xFFFFFFFF


def unknown(**options: Any) -> Entry:
    """A member that the writer finds out about piece by piece."""
    return Entry("member", (_DATA[at : at + 9_999] for at in range(0, len(_DATA), 9_999)), **options)


class Form(NamedTuple):
    """A member's records: how wide its descriptor is (0: none), whether its local header is zip64, and who refuses it.

    refused: the readers that do not take it, with what they say.
    """

    entry: Callable[[], Entry]
    descriptor: int
    zip64: bool
    refused: dict[str, str]


_NO_STORED_DESCRIPTOR = {
    "java-pipe": "only DEFLATED entries can have EXT descriptor",
    "stream-unzip": "NotStreamUnzippable",
}
_NO_WIDE_DESCRIPTOR = {"java-pipe": "invalid entry size"}
_NOT_IN_JAVA = {"java-file": "invalid CEN header", "java-pipe": "compression method"}

FORMS = {
    "stored, complete": Form(lambda: unknown(size=len(_DATA), crc32=crc32(_DATA), compression="stored"), 0, False, {}),
    "deflate, complete": Form(lambda: Entry("member", _DATA[:50_000], compression="deflate"), 0, False, {}),
    "stored, complete, zip64": Form(lambda: unknown(size=len(_DATA), crc32=crc32(_DATA), zip64=True), 0, True, {}),
    "deflate, complete, zip64": Form(
        lambda: Entry("member", _DATA[:50_000], compression="deflate", zip64=True), 0, True, {}
    ),
    "deflate, descriptor": Form(lambda: unknown(compression="deflate"), 32, False, {}),
    "deflate, descriptor, zip64": Form(
        lambda: unknown(compression="deflate", zip64=True), 64, True, _NO_WIDE_DESCRIPTOR
    ),
    "none, complete": Form(lambda: unknown(size=len(_DATA), crc32=crc32(_DATA)), 0, False, {}),
    "none, descriptor": Form(lambda: unknown(), 32, False, {}),
    "none, descriptor, size known": Form(lambda: unknown(size=len(_DATA)), 32, False, {}),
    "stored, descriptor": Form(lambda: unknown(compression="stored"), 32, False, _NO_STORED_DESCRIPTOR),
    "stored, descriptor, size known": Form(
        lambda: unknown(size=len(_DATA), compression="stored"), 32, False, _NO_STORED_DESCRIPTOR
    ),
    "stored, descriptor, zip64": Form(
        lambda: unknown(compression="stored", zip64=True), 64, True, _NO_STORED_DESCRIPTOR
    ),
    "bzip2, descriptor": Form(
        lambda: unknown(compression="bzip2"),
        32,
        False,
        {"java-file": "invalid CEN header", "java-pipe": "only DEFLATED", "bsdtar-pipe": "Truncated bzip2 file body"},
    ),
    "bzip2, complete": Form(lambda: Entry("member", _DATA[:50_000], compression="bzip2"), 0, False, _NOT_IN_JAVA),
    "lzma, descriptor": Form(
        lambda: unknown(compression="lzma"),
        32,
        False,
        {
            "unzip": "exited with 81",
            "java-file": "invalid CEN header",
            "java-pipe": "only DEFLATED",
            "bsdtar-pipe": "Truncated lzma data",
            "stream-unzip": "UnsupportedCompressionTypeError",
        },
    ),
    "lzma, complete": Form(
        lambda: Entry("member", _DATA[:50_000], compression="lzma"),
        0,
        False,
        {**_NOT_IN_JAVA, "unzip": "exited with 81", "stream-unzip": "UnsupportedCompressionTypeError"},
    ),
}


def made(form: str) -> bytes:
    return b"".join(stream_zip([FORMS[form].entry(), ("after", _AFTER)]))


@pytest.mark.parametrize("form", FORMS)
def test_a_member_has_the_form_it_is_named_after(form: str) -> None:
    archive = made(form)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        info, after = opened.infolist()
    version, flags, *_, crc, compressed, size, name_size, extra_size = _LOCAL.unpack_from(archive)
    assert (crc, bool(flags & 8)) == ((0, True) if FORMS[form].descriptor else (info.CRC, False))
    # Zip64 in all places of the local header, or in none, and never in the central directory header.
    extra = archive[30 + name_size :][:extra_size]
    row = archive[archive.index(b"PK\1\2") :]
    row_size, row_compressed = struct.unpack_from("<2L", row, 20)
    assert [extra[-20:-16] == b"\1\0\x10\0", {compressed, size} == {_MAX}] == [FORMS[form].zip64] * 2
    assert (row_size, row_compressed) == (info.compress_size, info.file_size)
    assert (version >= 45) == (FORMS[form].zip64 or form.startswith(("bzip2", "lzma")))
    if not FORMS[form].zip64:
        assert (compressed, size) == ((0, 0) if flags & 8 else (info.compress_size, info.file_size))
    descriptor = archive[30 + name_size + extra_size + info.compress_size : after.header_offset]
    layout = {0: "", 32: "<4s3L", 64: "<4sL2Q"}[FORMS[form].descriptor]
    values = (b"PK\7\x08", info.CRC, info.compress_size, info.file_size) if layout else ()
    assert descriptor == struct.pack(layout, *values)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FORMS)
def test_what_readers_make_of_each_form(form: str, reader: str, tmp_path: Path) -> None:
    refusal = FORMS[form].refused.get(reader)
    try:
        found = READERS[reader](made(form), tmp_path)
    except Refused as exc:
        if refusal is None:
            raise
        if reader == "java-pipe" and not 17 <= java_version() <= 21:
            pytest.skip("earlier and later ones say it in other words")
        assert re.search(refusal, str(exc))
        return
    assert found == {"member": member(entry_data(form)), "after": member(_AFTER)}
    if refusal is not None:
        pytest.skip("this version reads it, and older ones do not: still a form to avoid")


def entry_data(form: str) -> bytes:
    source = FORMS[form].entry().source
    return source if isinstance(source, bytes) else b"".join(source)


@cache
def java_version() -> int:
    found = re.search(r'version "(\d+)', "".join(run([oracles.need("java"), "-version"])))
    assert found
    return int(found[1])


def numbered(count: int) -> bytes:
    return b"".join(stream_zip((f"{number:x}", b"") for number in range(count)))


def listed(reader: str, archive: bytes, place: Path) -> int:
    """How many members `reader` finds, and tests where it can, without writing each to a file."""
    path = place / "archive.zip"
    path.write_bytes(archive)
    if reader == "unzip":
        out, err = run([oracles.need("unzip"), "-t", path])
        assert not err and "No errors detected" in out and "arning" not in out
        return out.count(" OK\n")
    if reader == "7z":
        out = "".join(run([oracles.need(*SEVEN_ZIPS), "t", path]))
        assert "Everything is Ok" in out and "arning" not in out
        return int(re.findall(r"^Files: (\d+)", out, re.MULTILINE)[0])
    if reader.startswith("bsdtar"):
        in_pipe = reader == "bsdtar-pipe"
        out, err = run([oracles.need("bsdtar"), "-tf", "-" if in_pipe else path], archive if in_pipe else b"")
        assert not err
        return out.count("\n")
    return len(READERS[reader](archive, place))


# At 65,535 the count itself is the value that sends readers to the zip64 record: yauzl 2, jszip and unzipper refuse the
# archive where it is missing. Those that know nothing of zip64 find the directory all the same.
@pytest.mark.parametrize(
    ("count", "readers"),
    [
        (65_535, ["unzip", "7z", "bsdtar"]),
        *(pytest.param(count, list(READERS), marks=pytest.mark.large) for count in (65_534, 65_535, 65_536, 70_000)),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else f"{len(value)}-readers",
)
def test_the_count_of_members_is_read_around_the_limit_of_its_field(
    count: int, readers: list[str], tmp_path: Path
) -> None:
    archive = numbered(count)
    signature, *_, here, total, size, offset, comment = struct.unpack("<4s4H2LH", archive[-22:])
    assert (signature, here, total, comment) == (b"PK\5\6", min(count, 65_535), min(count, 65_535), 0)
    assert archive[offset : offset + 4] == b"PK\1\2"
    between = archive[offset + size : -22]
    if count < 65_535:
        assert between == b""
    else:
        assert struct.unpack("<4sQ2H2L4Q4sLQL", between) == (
            *(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset),
            *(b"PK\6\7", 0, offset + size, 1),
        )
    assert {reader: listed(reader, archive, tmp_path) for reader in readers} == dict.fromkeys(readers, count)
