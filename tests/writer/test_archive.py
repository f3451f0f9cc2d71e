"""StreamingZipFile as code uses it that was written for zipfile."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipInfo

import pytest

from tests.support import oracles
from tests.support.strategies import noise, words
from zipstream_adapter import EntryError, FieldRangeError, LimitError, StreamingZipFile, Zip64RequiredError
from zipstream_adapter._format.records import end_zip64_field

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def legacy(archive: zipfile.ZipFile, folder: Path) -> None:
    """What code does with a ZipFile, of either kind."""
    archive.writestr("text", "täxt")
    archive.writestr("bytes", noise(1, 100_000), compress_type=zipfile.ZIP_DEFLATED, compresslevel=1)
    archive.writestr("view", memoryview(b"view"))
    archive.writestr("empty-directory/", b"")
    archive.mkdir("made", 0o700)
    with archive.open("opened", "w") as handle:
        handle.writelines([b"12", bytearray(b"345")])
        assert handle.write(words(1, 200_000)) == 200_000
    with archive.open("forced", "w", force_zip64=True) as handle:
        handle.write(b"1")
    with io.TextIOWrapper(archive.open("wrapped", "w"), "utf-8") as text:
        text.write("täxt\n" * 9)
    info = zipfile.ZipInfo("infö", (1999, 12, 31, 23, 59, 58))
    info.comment, info.create_system, info.external_attr = b"of a member", 3, 0o640 << 16
    archive.writestr(info, b"by info")
    archive.write(folder / "file", "from/file")
    archive.write(folder / "folder", "from/folder")
    archive.comment = b"of the archive"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"from a file")
    os.chmod(tmp_path / "file", 0o604)
    os.utime(tmp_path / "file", (1_000_000_000, 1_000_000_000))
    return tmp_path


def facts(data: bytes) -> list[tuple[Any, ...]]:
    """What a reader learns of each member, but for the dates that are now, and the method of what has no data."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return [
            (
                *(info.filename, archive.read(info), info.comment, info.external_attr, info.create_system),
                None if info.is_dir() else info.compress_type,
                info.date_time if info.filename in ("infö", "from/file") else None,
            )
            for info in archive.infolist()
        ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lookahead", [0, 65536])
def test_legacy_code_gets_the_members_that_zipfile_makes(folder: Path, method: int, lookahead: int) -> None:
    plain, streamed = io.BytesIO(), StreamingZipFile(compression=method, lookahead=lookahead)
    with zipfile.ZipFile(plain, "w", method) as archive:
        legacy(archive, folder)
    with streamed:
        legacy(streamed, folder)
    data = streamed.drain()
    assert facts(data) == facts(plain.getvalue())
    assert zipfile.ZipFile(io.BytesIO(data)).comment == b"of the archive"
    (folder / "streamed.zip").write_bytes(data)
    assert oracles.seven_zip(folder / "streamed.zip")


def test_the_callers_zipinfo_is_kept_and_completed() -> None:
    info = zipfile.ZipInfo("a", (2001, 2, 3, 4, 5, 6))
    info.extra, info.comment, info.external_attr = b"\x34\x12\x02\x00ab", b"comment", 0o751 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with StreamingZipFile() as archive:
        archive.writestr(info, b"1" * 100)
        assert archive.infolist() == [info] and archive.getinfo("a") is info
        assert (info.file_size, info.CRC) == (100, zipfile.crc32(b"1" * 100))  # type: ignore[attr-defined]
        other = zipfile.ZipInfo("b")
        with archive.open(other, "w") as handle:
            handle.write(b"2")
        assert archive.getinfo("b") is other
    (read, _) = zipfile.ZipFile(io.BytesIO(archive.drain())).infolist()
    for name in (
        "date_time",
        "extra",
        "comment",
        "external_attr",
        "compress_type",
        "compress_size",
        "CRC",
        "file_size",
    ):
        assert getattr(read, name) == getattr(info, name), name


def test_zipinfo_of_another_archive_brings_no_stale_zip64() -> None:
    source = io.BytesIO()
    with zipfile.ZipFile(source, "w") as archive:
        with archive.open("a", "w", force_zip64=True) as handle:
            handle.write(b"12345")
        archive.writestr("b", b"6", zipfile.ZIP_LZMA)
    reader = zipfile.ZipFile(source)
    # Such as a file of over 4 GiB would have left, between fields of others.
    reader.getinfo("a").extra = (
        b"\x34\x12\x00\x00" + struct.pack("<2H2Q", 1, 16, 5 << 32, 5 << 32) + b"\x35\x12\x00\x00"
    )
    with StreamingZipFile(lookahead=0) as archive:
        for info in reader.infolist():
            data = reader.read(info)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    copied = archive.drain()
    assert oracles.members(copied) == {"a": b"12345", "b": b"6"}
    infos = zipfile.ZipFile(io.BytesIO(copied)).infolist()
    assert infos[0].extra == b"\x34\x12\x00\x00\x35\x12\x00\x00"
    assert copied.count(struct.pack("<2H", 1, 16)) == 0
    assert [info.flag_bits for info in infos] == [8, 8], "the lzma flag of the copied member is gone with its method"


@pytest.mark.parametrize(("hint", "version"), [(0xFFFFFFFE, 20), (0xFFFFFFFF, 45)])
def test_a_zipinfo_that_says_its_size_gets_the_header_for_it(hint: int, version: int) -> None:
    file = io.BytesIO()
    with StreamingZipFile(file, lookahead=0) as archive:
        info = zipfile.ZipInfo("a")
        info.file_size = hint
        with archive.open(info, "w") as member:
            member.write(b"data")
    assert struct.unpack_from("<H", file.getvalue(), 4) == (version,)
    assert oracles.members(file.getvalue()) == {"a": b"data"}


def test_levels_reach_the_compressor() -> None:
    data = words(1, 100_000)
    with StreamingZipFile(compression=zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive's", data)
        archive.writestr("own", data, compresslevel=9)
        archive.writestr("none", data, compress_type=zipfile.ZIP_STORED, compresslevel=9)
        archive.writestr("bzip2", data, compress_type=zipfile.ZIP_BZIP2, compresslevel=1)
    sizes = [info.compress_size for info in archive.infolist()]
    assert sizes[1] < sizes[0] < sizes[2] == len(data)
    with StreamingZipFile() as archive, pytest.raises(ValueError, match="level"):
        archive.writestr("a", b"", zipfile.ZIP_DEFLATED, compresslevel=10)
    archive.abort()


def test_duplicate_names_warn_as_in_zipfile() -> None:
    with StreamingZipFile() as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate name: 'a'"):
            archive.writestr("a", b"2")
    assert len(archive.namelist()) == 2


@pytest.mark.parametrize("seconds", [0, 5_000_000_000])
def test_strict_timestamps_false_moves_dates_that_do_not_fit(tmp_path: Path, seconds: int) -> None:
    path = tmp_path / "dated"
    path.write_bytes(b"1")
    os.utime(path, (seconds, seconds))
    with StreamingZipFile(strict_timestamps=False) as archive:
        archive.write(path, "a")
    year = archive.getinfo("a").date_time[0]
    assert year == (1980 if seconds == 0 else 2107)
    with StreamingZipFile() as strict, pytest.raises(ValueError, match=r"1980|2107"):
        strict.write(path, "a")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda info: setattr(info, "date_time", (2108, 1, 1, 0, 0, 0)),
        lambda info: setattr(info, "comment", b"x" * 65536),
        lambda info: setattr(info, "extra", b"x" * 65536),
        lambda info: setattr(info, "filename", "x" * 65536),
        lambda info: setattr(info, "filename", "\udc80"),
        lambda info: setattr(info, "filename", ""),
    ],
)
def test_what_the_records_cannot_say_is_refused_before_any_byte(spoil: Callable[[zipfile.ZipInfo], None]) -> None:
    info = zipfile.ZipInfo("a")
    spoil(info)
    with StreamingZipFile() as archive:
        with pytest.raises((ValueError, LimitError)):
            archive.writestr(info, b"1")
        assert archive.drain() == b""
        archive.writestr("fine", b"")
    assert archive.namelist() == ["fine"]


@pytest.mark.parametrize("error", [struct.error, FieldRangeError, EntryError, ValueError])
def test_a_date_after_2107_is_refused_as_zipfile_does_and_as_we_do(error: type[Exception]) -> None:
    info = zipfile.ZipInfo("a", (2108, 1, 1, 0, 0, 0))
    if error is struct.error:
        with zipfile.ZipFile(io.BytesIO(), "w") as plain, pytest.raises(error):
            plain.writestr(info, b"")
    with StreamingZipFile() as archive, pytest.raises(error):
        archive.writestr(info, b"")


def test_mkdir_takes_what_zipfile_takes() -> None:
    with StreamingZipFile(compression=zipfile.ZIP_DEFLATED, lookahead=0) as archive:
        archive.mkdir("a")
        archive.mkdir("b/", 0o700)
        archive.mkdir(zipfile.ZipInfo("c/"))
        with pytest.raises(ValueError, match="directory"):
            archive.mkdir(zipfile.ZipInfo("d"))
        with pytest.raises(TypeError):
            archive.mkdir(5)  # type: ignore[arg-type]
    infos = zipfile.ZipFile(io.BytesIO(archive.drain())).infolist()
    assert [(info.filename, info.external_attr >> 16 & 0o7777) for info in infos[:2]] == [("a/", 0o777), ("b/", 0o700)]
    assert all(info.external_attr & 0x10 and not info.flag_bits & 8 for info in infos)


def test_data_in_a_directory_is_refused() -> None:
    with (
        pytest.raises(TypeError, match="cannot have data"),
        StreamingZipFile() as archive,
        archive.open("d/", "w") as handle,
    ):
        handle.write(b"data")


def test_limits_are_kept_where_zip64_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="allowZip64"), StreamingZipFile(allowZip64=False) as archive:
        archive.open("a", "w", force_zip64=True)
    # Stands in for 4 GiB.
    monkeypatch.setattr("zipstream_adapter._writer.member.LIMIT32", 1000)
    archive = StreamingZipFile(allowZip64=False)
    archive.writestr("a", noise(1, 900))
    with pytest.raises(Zip64RequiredError, match="'b'"):
        archive.writestr("b", noise(1, 1000))
    archive.abort()
    archive = StreamingZipFile(allowZip64=False)
    archive.writestr("a", b"")
    archive.filelist *= 65535
    with pytest.raises(zipfile.LargeZipFile):
        archive.writestr("b", b"")
    with pytest.raises(Zip64RequiredError) as caught:
        archive.begin(ZipInfo("b"))
    assert caught.value.field == "members"
    with pytest.raises(Zip64RequiredError, match="65535 members") as refused:
        archive.close()
    assert refused.value.field == "members"


@pytest.mark.parametrize(
    ("field", "fill"),
    [("size", lambda archive: archive.writestr("a", bytes(1000))),
     ("size", lambda archive: archive.begin(ZipInfo("a"), size=1000)),
     ("size", lambda archive: archive.begin(ZipInfo("a"), raw_size=1000, crc32=1, size=1)),
     ("compressed_size", lambda archive: archive.begin(ZipInfo("a"), raw_size=1, crc32=1, size=1000)),
     ("compressed_size", lambda archive: archive.begin(ZipInfo("a"), raw_size=1, crc32=1).write(bytes(1000))),
     ("compressed_size", lambda archive: archive.writestr("a", noise(1, 999), zipfile.ZIP_DEFLATED)),
     ("offset", lambda archive: (archive.writestr("a", bytes(990)), archive.writestr("b", b"")))],
)  # fmt: skip
def test_a_refused_zip64_says_which_field_needed_it(
    monkeypatch: pytest.MonkeyPatch, field: str, fill: Callable[[StreamingZipFile], object]
) -> None:
    monkeypatch.setattr("zipstream_adapter._writer.member.LIMIT32", 1000)  # stands in for 4 GiB
    archive = StreamingZipFile(allowZip64=False)
    with pytest.raises(Zip64RequiredError) as caught:
        fill(archive)
    assert caught.value.field == field
    archive.abort()


@pytest.mark.parametrize(
    ("field", "count", "size", "start"),
    [(None, 0xFFFE, 0xFFFFFFFE, 0xFFFFFFFE), ("members", 0xFFFF, 1, 1), ("directory_size", 1, 0xFFFFFFFF, 1),
     ("directory_offset", 1, 1, 0xFFFFFFFF)],
)  # fmt: skip
def test_which_field_of_the_end_needs_zip64(field: str | None, count: int, size: int, start: int) -> None:
    assert end_zip64_field(count, size, start) == field


@pytest.mark.parametrize(
    "read",
    [
        lambda archive: archive.read("a"),
        lambda archive: archive.open("a"),
        lambda archive: archive.testzip(),
        lambda archive: archive.extractall("there"),
    ],
)
def test_an_archive_is_not_read_back_while_it_is_written(
    read: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open(tmp_path / "a.zip", "wb") as file, StreamingZipFile(file) as archive:
        archive.writestr("a", b"data")
        with pytest.raises(io.UnsupportedOperation, match="cannot be seeked, or read back while it is written"):
            read(archive)
        archive.writestr("b", b"more")
    assert oracles.members((tmp_path / "a.zip").read_bytes()) == {"a": b"data", "b": b"more"}
