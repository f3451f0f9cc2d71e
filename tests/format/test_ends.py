"""The signatures of end records: nothing that is chosen freely may carry one, as readers look for them from the end."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.format.test_names_ways import WAYS, Make, names_in, streamed
from zipstream_adapter import (
    BadArchiveError,
    Entry,
    EntryError,
    OptionError,
    StreamingZipFile,
    UnsafeNameError,
    ZipLayout,
    stream_zip,
)
from zipstream_adapter.compat import zipstream_ng

END = b"PK\5\6" + bytes(18)
ENDS = [END, b"the end " + END, b"PK\6\6" + bytes(52), b"PK\6\7" + bytes(16)]
ends = pytest.mark.parametrize("end", ENDS, ids=["end", "end behind text", "zip64 end", "locator"])
# Of so many bytes that the record's last field, and the first bytes of the comment, are a signature.
MEETING = b"\5\6" + bytes(20) + b"x" * (0x4B50 - 22)
HARMLESS = [b"PK", b"PK\1\2PK\3\4", b"PK\5", b"\5\6", b"PK \5\6", b"pk\5\6"]


@pytest.mark.parametrize("end", [*ENDS, MEETING], ids=["end", "end behind text", "zip64 end", "locator", "meeting"])
def test_an_archive_comment_that_reads_as_an_end_is_refused(end: bytes) -> None:
    for make in (stream_zip, ZipLayout):
        with pytest.raises(OptionError, match=r"the comment carries b'PK.*the end of the archive"):
            make([("a", b"x")], comment=end)
    target = io.BytesIO()
    with StreamingZipFile(target) as archive:
        archive.writestr("a", b"x")
        with pytest.raises(OptionError, match=r"the comment carries b'PK"):
            archive.comment = end
        assert archive.comment == b""
    assert zipfile.ZipFile(target).namelist() == ["a"]
    with pytest.raises(OptionError, match=r"the comment carries b'PK"):
        zipstream_ng.ZipStream().comment = end


@pytest.mark.parametrize("comment", [*HARMLESS, b"x" * 0x4B50])
def test_other_comments_pass(comment: bytes) -> None:
    assert names_in(streamed([Entry("a", b"x", comment=comment)], comment=comment)) == ["a"]
    target = io.BytesIO()
    with StreamingZipFile(target) as archive:
        archive.writestr("a", b"x")
        archive.comment = comment
    with zipfile.ZipFile(target) as read:
        assert (read.namelist(), read.comment) == (["a"], comment)


def test_a_comment_of_another_type_is_refused_as_by_zipfile() -> None:
    with StreamingZipFile(io.BytesIO()) as archive, pytest.raises(TypeError, match="expected bytes"):
        archive.comment = "text"  # type: ignore[assignment]


def test_a_comment_that_is_too_long_is_cut_as_by_zipfile() -> None:
    with StreamingZipFile(io.BytesIO()) as archive:
        with pytest.warns(UserWarning, match="Archive comment is too long"):
            archive.comment = b"x" * 65535 + END
        assert archive.comment == b"x" * 65535


@ends
def test_a_member_that_carries_an_end_is_refused(end: bytes) -> None:
    field = struct.pack("<2H", 0x4343, len(end)) + end
    for options in ({"comment": end}, {"extra": field}):
        with pytest.raises(EntryError, match=r"^entry 'a': the (comment|extra) carries b'PK.*leave it out"):
            Entry("a", b"x", **options)  # type: ignore[arg-type]
        with pytest.raises(EntryError, match=r"^entry 'a': the (comment|extra) carries b'PK"):
            Entry.raw("a", b"x", compression="stored", size=1, crc32=0x8CDC1683, **options)  # type: ignore[arg-type]


@ends
def test_a_copy_of_a_member_that_carries_an_end_is_refused(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a")
        info.comment = end
        archive.writestr(info, b"x")
    try:
        zipfile.ZipFile(path).close()
    except zipfile.BadZipFile:  # newer Pythons look for what a locator names
        with pytest.raises(BadArchiveError, match="cannot be read as a zip archive"):
            Entry.copy(path, "a")
        return
    with pytest.raises(EntryError, match=r"^entry 'a': the comment carries b'PK"):
        Entry.copy(path, "a")
    assert names_in(streamed([Entry.copy(path, "a", comment=b"")])) == ["a"]


@pytest.mark.parametrize("make", WAYS)
@pytest.mark.parametrize("names", ["strict", "repair", "allow"])
@pytest.mark.parametrize("name", ["aPK\5\6b", "PK\6\7" + "\1" * 16, "é/PK\6\6"])
def test_a_name_that_carries_an_end_is_refused(make: Make, names: str, name: str) -> None:
    for duplicates in ("error", "allow"):
        with pytest.raises(UnsafeNameError, match=r"the name contains b'PK"):
            make([(name, b"x")], names=names, duplicates=duplicates)


@pytest.mark.parametrize("make", WAYS)
@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("aPK", {"extra": b"\5\6\1\0x"}),
        ("aP", {"extra": b"K\5\6\0" + bytes(6)}),
        ("aPK\5", {"extra": b"\6\0\0\0"}),
        ("aPK", {"comment": b"\6\7"}),
        ("a", {"extra": b"xx\2\0PK", "comment": b"\5\6"}),
    ],
)
def test_an_end_where_two_fields_meet_is_refused(
    make: Make, timestamps: bool, name: str, options: dict[str, Any]
) -> None:
    entries = [Entry(name, b"x", modified=1_700_000_000, **options)]
    if timestamps and name != "a":  # which keeps them apart
        assert names_in(make(entries)) == [name]
        return
    with pytest.raises(
        EntryError, match=rf"^entry {name!r}: its name, extra and comment contain b'PK".replace("\\", "\\\\")
    ):
        make(entries, extended_timestamps=timestamps)


@ends
def test_a_zip_info_that_carries_an_end_is_refused(end: bytes) -> None:
    field = struct.pack("<2H", 0x4343, len(end)) + end
    for name, options in (("a", {"comment": end}), ("a", {"extra": field}), ("aPK", {"comment": b"\5\6"})):
        info = zipfile.ZipInfo(name)
        for option, value in options.items():
            setattr(info, option, value)
        target = io.BytesIO()
        with StreamingZipFile(target) as archive:
            archive.writestr("b", b"x")
            with pytest.raises(EntryError, match=r"contain b'PK"):
                archive.writestr(info, b"x")
            with pytest.raises(EntryError, match=r"contain b'PK"), archive.open(info, "w"):
                pass
        assert zipfile.ZipFile(target).namelist() == ["b"]


def test_a_zip_info_that_gets_a_comment_with_an_end_later_poisons_the_archive() -> None:
    target = io.BytesIO()
    archive = StreamingZipFile(target)
    archive.writestr("a", b"x")
    archive.infolist()[0].comment = END
    with pytest.raises(EntryError, match=r"^entry 'a': its name, extra and comment contain b'PK"):
        archive.close()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(target)
    with pytest.raises(ValueError, match="already closed"):
        archive.writestr("b", b"x")
