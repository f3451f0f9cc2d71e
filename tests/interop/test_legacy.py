"""Code that was written for zipfile works with a StreamingZipFile over a file that can only write."""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.interop.readers import READERS, Found, as_found_by, member
from tests.interop.stdlib_cases import StreamingPyZipFile
from tests.support import oracles
from tests.support.loops import module
from zipstream_adapter import StreamingZipFile

_XML_MEMBERS = {"[Content_Types].xml", "_rels/.rels", "xl/workbook.xml", "xl/worksheets/sheet1.xml"}


class WriteOnly:
    """A target that has write() and nothing else, as a framework's response may be."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    @property
    def written(self) -> bytes:
        return b"".join(self._parts)


def judged(archive: bytes, place: Path, *readers: str) -> Found:
    """What every one of `readers` (all, but for those that read from a pipe) makes of the archive: the same."""
    members = READERS["zipfile"](archive, place)
    for reader in readers or ("unzip", "7z", "bsdtar", "java-file"):
        (place / reader).mkdir()
        assert READERS[reader](archive, place / reader) == as_found_by(reader, members)
    return members


# Office documents.


def workbook() -> Any:
    """Every kind of cell, formulas, styles, a second sheet, a chart, a comment; more rows than a lookahead holds."""
    chart_kinds = module("openpyxl.chart")
    book = module("openpyxl").Workbook()
    sheet = book.active
    sheet.title = "Zahlen ñ"
    sheet.append(["name", "count", "when", "half", "yes"])
    for row in range(800):
        sheet.append([f"row {row}: 日本", row, datetime(2024, 1, 1 + row % 28, row % 24), row / 2, row % 2 == 0])
    sheet["G1"] = "=SUM(B2:B801)"
    sheet["A1"].font = module("openpyxl.styles").Font(bold=True)
    sheet["A1"].comment = module("openpyxl.comments").Comment("of the cell", "author")
    second = book.create_sheet("second")
    second["B2"] = datetime(2024, 2, 29)
    chart = chart_kinds.BarChart()
    chart.add_data(chart_kinds.Reference(sheet, min_col=2, min_row=1, max_row=20), titles_from_data=True)
    second.add_chart(chart, "D4")
    return book


def save(book: Any, archive: zipfile.ZipFile) -> None:
    module("openpyxl.writer.excel").ExcelWriter(book, archive).save()


def opened(archive: bytes) -> Any:
    return module("openpyxl").load_workbook(io.BytesIO(archive))


def cells(book: Any) -> dict[str, list[tuple[object, ...]]]:
    return {sheet.title: [tuple(cell.value for cell in row) for row in sheet.iter_rows()] for sheet in book}


@pytest.mark.parametrize("lookahead", [65536, 0])
@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_openpyxl_saves_a_workbook_that_opens_again(compression: int, lookahead: int, tmp_path: Path) -> None:
    book, target = workbook(), WriteOnly()
    save(book, StreamingZipFile(target, "w", compression, allowZip64=True, lookahead=lookahead))
    assert target.written.endswith(b"\0\0")  # save() has closed it: the end record is there, without a comment
    members = judged(target.written, tmp_path)
    assert set(members) >= _XML_MEMBERS
    again = opened(target.written)
    assert cells(again) == cells(book)
    assert again.worksheets[0]["A1"].font.bold and again.worksheets[0]["A1"].comment.text == "of the cell"
    assert len(again.worksheets[1]._charts) == 1


def test_openpyxl_writes_a_sheet_row_by_row() -> None:
    """Its write-only mode streams each sheet into the archive with ZipFile.write, from a temporary file."""
    book, target = module("openpyxl").Workbook(write_only=True), WriteOnly()
    sheet = book.create_sheet("rows")
    for number in range(2_000):
        sheet.append([number, str(number) * 5])
    save(book, StreamingZipFile(target, compression=zipfile.ZIP_DEFLATED))
    assert list(opened(target.written)["rows"].values) == [(number, str(number) * 5) for number in range(2_000)]


def test_a_mimetype_member_comes_first_stored_and_bare(tmp_path: Path) -> None:
    """EPUB and OpenDocument: the type stands at byte 38, with no extra field before it and no descriptor behind."""
    mimetype = b"application/vnd.oasis.opendocument.text"
    target = WriteOnly()
    with StreamingZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", mimetype, compress_type=zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr("content.xml", "<office:text>ünï</office:text>" * 5_000)
        archive.writestr(zipfile.ZipInfo("Configurations2/"), b"")
    written = target.written
    assert written[30:38] == b"mimetype" and written[38 : 38 + len(mimetype)] == mimetype
    assert written[38 + len(mimetype) :].startswith(b"PK\3\4")
    judged(written, tmp_path, "unzip", "7z", "bsdtar", "bsdtar-pipe", "java-file", "java-pipe", "stream-unzip")


# Data.


def array_header(shape: tuple[int, ...]) -> bytes:
    """The .npy header, version 1.0, of little-endian doubles."""
    text = repr({"descr": "<f8", "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_are_saved_as_numpy_does(compression: int, tmp_path: Path) -> None:
    """savez: open(…, "w", force_zip64=True), a header, then the array's buffer, in pieces if it is large."""
    small, large = [1.5, 2.5], [float(number) for number in range(30_000)]
    target = WriteOnly()
    with StreamingZipFile(target, mode="w", compression=compression, allowZip64=True) as archive:
        for name, values in (("small", small), ("large", large), ("empty", [])):
            data = memoryview(struct.pack(f"<{len(values)}d", *values)).cast("d") if values else memoryview(b"")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as handle:
                handle.write(array_header((len(values),)))
                for at in range(0, len(data), 10_000):
                    handle.write(data[at : at + 10_000])
    judged(target.written, tmp_path)
    found = oracles.members(target.written)
    head = len(array_header((2,)))
    assert struct.unpack("<2d", found["small.npy"][head:]) == tuple(small)
    assert list(struct.iter_unpack("<d", found["large.npy"][len(array_header((30_000,))) :])) == [(v,) for v in large]


def test_text_goes_through_a_wrapper_around_the_handle(tmp_path: Path) -> None:
    rows = [["id", "name"], *([str(number), f'"q", ñ {number}'] for number in range(5_000))]
    target = WriteOnly()
    with StreamingZipFile(target, compression="deflate") as archive:
        with (
            archive.open("table.csv", "w") as handle,
            io.TextIOWrapper(handle, "utf-8", newline="", write_through=True) as text,
        ):
            csv.writer(text).writerows(rows)
        with archive.open("buffered.txt", "w") as handle, io.BufferedWriter(handle) as buffered:
            buffered.writelines(b"%d\n" % number for number in range(50_000))
    judged(target.written, tmp_path, "unzip", "java-pipe", "stream-unzip")
    found = oracles.members(target.written)
    assert list(csv.reader(io.StringIO(found["table.csv"].decode(), newline=""))) == rows
    assert found["buffered.txt"] == b"".join(b"%d\n" % number for number in range(50_000))


def test_copyfileobj_fills_a_member(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2_000
    target = WriteOnly()
    with StreamingZipFile(target) as archive:
        with archive.open(zipfile.ZipInfo("copied", (2024, 2, 29, 1, 2, 4)), "w") as handle:
            shutil.copyfileobj(io.BytesIO(data), handle, 10_000)
            assert (handle.writable(), handle.readable(), handle.seekable()) == (True, False, False)
        handle.close()  # again, as code does that has closed it in a `with` before
        with pytest.raises(ValueError):
            handle.write(b"")
    assert judged(target.written, tmp_path) == {"copied": member(data)}


# Packages.


def wheel(archive: zipfile.ZipFile) -> None:
    """As build backends write one: ZipInfo with a fixed date and a mode, RECORD with every hash at the end."""
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")

    def put(name: str, data: bytes, mode: int = 0o644) -> None:
        info = zipfile.ZipInfo(name, (2020, 2, 2, 0, 0, 0))
        info.external_attr = (stat.S_IFREG | mode) << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow([name, f"sha256={digest}", len(data)])

    put("demo/__init__.py", b"VALUE = 42\n")
    put("demo/data.bin", bytes(range(256)) * 1_000)
    put("demo/many/__init__.py", b"")
    for number in range(100):
        put(f"demo/many/m{number:03}.py", b"x = %d\n" % number)
    put("demo-1.0.data/scripts/run", b"#!python\n", 0o755)
    put("demo-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    put("demo-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    put("demo-1.0.dist-info/entry_points.txt", b"[console_scripts]\nrun = demo:main\n")
    rows.writerow(["demo-1.0.dist-info/RECORD", "", ""])
    info = zipfile.ZipInfo("demo-1.0.dist-info/RECORD", (2020, 2, 2, 0, 0, 0))
    info.external_attr = (stat.S_IFREG | 0o664) << 16
    archive.writestr(info, record.getvalue())


def test_a_wheel_is_as_its_record_says_and_can_be_imported(tmp_path: Path) -> None:
    target = WriteOnly()
    with StreamingZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        wheel(archive)
    judged(target.written, tmp_path)
    found = oracles.members(target.written)
    *recorded, own = csv.reader(found["demo-1.0.dist-info/RECORD"].decode().splitlines())
    assert own == [list(found)[-1], "", ""] and {row[0] for row in recorded} == set(found) - {own[0]}
    for name, digest, size in recorded:
        assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(found[name]).digest()).decode().rstrip("=")
        assert int(size) == len(found[name])
    points = configparser.ConfigParser()
    points.read_string(found["demo-1.0.dist-info/entry_points.txt"].decode())
    assert points["console_scripts"]["run"] == "demo:main"
    with zipfile.ZipFile(io.BytesIO(target.written)) as again:
        assert stat.filemode(again.getinfo("demo-1.0.data/scripts/run").external_attr >> 16) == "-rwxr-xr-x"
        assert {info.date_time for info in again.infolist()} == {(2020, 2, 2, 0, 0, 0)}
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(target.written)
    code = "import demo, demo.many.m042 as m; print(demo.VALUE, m.x)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(path)}, capture_output=True, check=True)
    assert done.stdout.split() == [b"42", b"42"]


def test_the_bytes_are_those_of_zipfile_itself_where_it_can_seek() -> None:
    """Small members of known dates: late headers make the very archive that seeking back makes."""
    seeking, streaming = io.BytesIO(), WriteOnly()
    with zipfile.ZipFile(seeking, "w", zipfile.ZIP_DEFLATED) as archive:
        wheel(archive)
    with StreamingZipFile(streaming, "w", zipfile.ZIP_DEFLATED, lookahead=1 << 20, engine="zlib") as archive:
        wheel(archive)
    assert streaming.written == seeking.getvalue()


def test_modules_are_added_as_py_zip_file_does(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("VALUE = 7\n")
    (package / "inner.py").write_text("from . import VALUE\n")
    target = WriteOnly()
    with StreamingPyZipFile(target) as archive:
        archive.writepy(str(package))
    assert sorted(oracles.members(target.written)) == ["pack/__init__.pyc", "pack/inner.pyc"]


# Habits.


def test_what_is_set_after_a_member_was_written_reaches_the_directory(tmp_path: Path) -> None:
    """As code does that learns a mode or a comment late: the directory is written last."""
    target = WriteOnly()
    with StreamingZipFile(target) as archive:
        archive.writestr("script", b"#!/bin/sh\n")
        archive.comment = b"late"
        archive.writestr("other", b"data")
        archive.getinfo("script").external_attr = (stat.S_IFREG | 0o755) << 16
        archive.getinfo("script").comment = b"of the member"
        archive.comment = b"later"
    path = tmp_path / "archive.zip"
    path.write_bytes(target.written)
    assert READERS["unzip"](target.written, tmp_path)["script"] == member(b"#!/bin/sh\n")
    assert stat.S_IMODE((tmp_path / "out" / "script").stat().st_mode) == 0o755
    with zipfile.ZipFile(path) as again:
        assert (again.comment, again.getinfo("script").comment) == (b"later", b"of the member")


def test_duplicates_are_warned_of_and_stored_as_by_zipfile() -> None:
    target = WriteOnly()
    with StreamingZipFile(target) as archive:
        archive.writestr("twice", b"first")
        with pytest.warns(UserWarning, match="Duplicate name: 'twice'"):
            archive.writestr("twice", b"second")
    assert oracles.members(target.written) == {"twice": b"second"}


def test_files_and_directories_are_written_from_disk(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"data")
    (tmp_path / "d" / "file").chmod(0o640)
    target = WriteOnly()
    with StreamingZipFile(target, compression=zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "d").rglob("*")):
            archive.write(path, path.relative_to(tmp_path))
        archive.write(tmp_path / "d", "d")
        archive.mkdir("made", 0o750)
    judge = tmp_path / "judge"
    judge.mkdir()
    found = judged(target.written, judge, "unzip", "7z", "bsdtar", "java-pipe", "stream-unzip")
    assert list(found) == ["d/file", "d/", "made/"]
    assert stat.S_IMODE((judge / "unzip" / "out" / "made").stat().st_mode) == 0o750


def fail_in_handle(archive: zipfile.ZipFile) -> None:
    with archive.open("written", "w") as handle:
        handle.write(b"half of it")
        raise RuntimeError("of the user's own")


def fail_in_path(archive: zipfile.ZipFile) -> None:
    with (zipfile.Path(archive) / "written").open("wb") as handle:
        handle.write(b"half of it")
        raise RuntimeError("of the user's own")


@pytest.mark.parametrize("fail", [fail_in_handle, fail_in_path])
def test_a_cut_member_never_looks_whole(fail: Callable[[zipfile.ZipFile], None]) -> None:
    """Not even by zipfile.Path, which changes the class of an archive that it is given."""
    target = WriteOnly()
    archive = StreamingZipFile(target)
    archive.writestr("whole", b"data")
    with pytest.raises((RuntimeError, TypeError)):  # to refuse to be wrapped would do as well
        fail(archive)
    archive.close()
    with pytest.raises(zipfile.BadZipFile):
        oracles.members(target.written)
