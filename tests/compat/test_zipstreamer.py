"""compat.zipstreamer: programs written for zipstreamer."""

from __future__ import annotations

import io
import time
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.strategies import comments
from zipstream_adapter import EntryTypeError, OptionError, SizeMismatchError, UnsafeNameError
from zipstream_adapter import ZipStreamError as Root
from zipstream_adapter.compat import zipstreamer
from zipstream_adapter.compat.zipstreamer import (
    FileNameTooLong,
    ZipFile,
    ZipFileBytesRequired,
    ZipFileInProgress,
    ZipFileSizeRequired,
    ZipFileSkip,
    ZipStream,
    ZipStreamError,
)

DATE = datetime(2008, 11, 10, 17, 53, 58)


class Opened:
    """Files that count how often they are opened and closed."""

    def __init__(self, data: bytes = b"data") -> None:
        self.data = data
        self.opened = self.closed = 0

    def __call__(self) -> Opened:
        self.opened += 1
        self._file = io.BytesIO(self.data)
        return self

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self.closed += 1


def file(name: str | bytes, data: bytes = b"data", size: int | None = None) -> ZipFile:
    return ZipFile(name, len(data) if size is None else size, lambda: io.BytesIO(data), DATE, None)


def test_a_program_as_it_is_documented(tmp_path: Path) -> None:
    stream = ZipStream(
        files=[
            ZipFile("file.txt", 4, lambda: io.BytesIO(b"test"), None, None),
            ZipFile("emptydir/", None, None, None, None),
            ZipFile("dir/Grüße.txt", 3, lambda: io.BytesIO(b"abc"), DATE, b"a comment"),
        ],
        comment=b"of the archive",
    )
    size = stream.size()
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"".join(stream.generate()))
    assert archive.stat().st_size == size
    for reads in oracles.BY_DIRECTORY.values():
        assert reads(archive), reads
    with zipfile.ZipFile(archive) as read:
        assert read.comment == b"of the archive"
        assert [(info.filename, info.file_size) for info in read.infolist()] == [
            ("file.txt", 4),
            ("emptydir/", 0),
            ("dir/Grüße.txt", 3),
        ]
        last = read.infolist()[2]
        assert (last.comment, last.date_time) == (b"a comment", (2008, 11, 10, 17, 53, 58))
        assert {info.flag_bits & 8 for info in read.infolist()} == {8}
        assert {info.extra[:5] for info in read.infolist()} == {b"UT\5\0\1"}
        assert abs(int.from_bytes(read.infolist()[0].extra[5:], "little") - time.time()) < 60


members = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\6/"), min_size=1, max_size=9),
        st.binary(max_size=300) | st.just(b"x" * 200_000),
        st.none() | comments(9),
    ),
    max_size=6,
)


@given(members)
def test_the_size_is_the_length(found: list[tuple[str, bytes, bytes | None]]) -> None:
    files = [ZipFile(name, len(data), Opened(data), DATE, comment) for name, data, comment in found]
    stream = ZipStream(files)
    whole = b"".join(stream.generate())
    assert stream.size() == len(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as read:
        assert [(info.orig_filename, read.read(info)) for info in read.infolist()] == [each[:2] for each in found]


def test_it_can_be_generated_again() -> None:
    opened = Opened()
    stream = ZipStream([ZipFile("a", 4, opened, DATE, None)])
    assert b"".join(stream.generate()) == b"".join(stream.generate())
    assert (opened.opened, opened.closed) == (2, 2)


def test_a_generator_of_files_outlives_the_question_for_its_size() -> None:
    stream = ZipStream(file(name) for name in "ab")
    size = stream.size()
    whole = b"".join(stream.generate())
    assert (len(whole), set(oracles.members(whole))) == (size, {"a", "b"})
    assert oracles.members(b"".join(ZipStream(file(name) for name in "ab").generate())) == {"a": b"data", "b": b"data"}


def test_files_are_opened_one_at_a_time_when_their_turn_comes() -> None:
    first, second = Opened(b"x" * 200_000), Opened()
    chunks = ZipStream([ZipFile("a", None, first, None, None), ZipFile("b", 4, second, None, None)]).generate()
    assert (first.opened, second.opened) == (0, 0)
    next(chunks)
    assert (first.opened, first.closed, second.opened) == (1, 0, 0)
    chunks.close()  # type: ignore[attr-defined]
    assert (first.closed, second.opened) == (1, 0)


def test_one_at_a_time() -> None:
    stream = ZipStream([file("a", b"x" * 200_000)])
    chunks = stream.generate()
    next(chunks)
    with pytest.raises(ZipFileInProgress):
        stream.size()
    with pytest.raises(ZipFileInProgress):
        next(stream.generate())
    assert len(b"".join(chunks)) > 100_000
    assert stream.size() > 200_000


def test_what_create_fp_skips_is_left_out() -> None:
    def skip() -> Any:
        raise ZipFileSkip

    stream = ZipStream([file("a"), ZipFile("b", 4, skip, None, None), file("c")])
    assert list(oracles.members(b"".join(stream.generate()))) == ["a", "c"]


def test_text_is_refused() -> None:
    with pytest.raises(ZipFileBytesRequired):
        ZipStream([], comment="text")  # type: ignore[arg-type]
    for bad in (
        ZipFile("a", 4, lambda: io.StringIO("text"), None, None),
        ZipFile("a", 4, lambda: type("File", (), {"read": lambda self, size: "text"})(), None, None),
        ZipFile("a", 4, Opened(), None, "text"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ZipFileBytesRequired, match="'a'"):
            list(ZipStream([bad]).generate())


def test_sizes_are_required_for_a_size_only() -> None:
    stream = ZipStream([ZipFile("a", None, Opened(), None, None)])
    with pytest.raises(ZipFileSizeRequired, match="'a'"):
        stream.size()
    assert oracles.members(b"".join(stream.generate())) == {"a": b"data"}


def test_what_has_no_file_has_no_data_whatever_its_size() -> None:
    stream = ZipStream([ZipFile("d/", 4096, None, None, None), ZipFile("a", None, lambda: None, None, None)])
    whole = b"".join(stream.generate())
    assert oracles.members(whole) == {"d/": b"", "a": b""}
    assert ZipStream(stream.files[:1]).size() == len(b"".join(ZipStream(stream.files[:1]).generate()))  # type: ignore[index]


@pytest.mark.parametrize("size", [0, 3, 5])
def test_data_of_another_size_than_declared(size: int) -> None:
    opened = Opened()
    chunks = ZipStream([file("b"), ZipFile("a", size, opened, None, None)]).generate()
    with pytest.raises(SizeMismatchError, match="'a'"):
        list(chunks)
    assert opened.closed == 1


def failing() -> Any:
    def read(self: Any, size: int) -> bytes:
        raise OSError("gone")

    return type("File", (), {"read": read})()


def test_after_a_failing_file_the_next_attempt_is_one_of_its_own() -> None:
    stream = ZipStream([file("a"), ZipFile("b", 4, failing, None, None), file("c")])
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            list(stream.generate())


def test_read_that_gives_none_does_not_cut_the_member() -> None:
    bad = type("File", (), {"read": lambda self, size: None})
    with pytest.raises(BlockingIOError):
        list(ZipStream([ZipFile("a", None, bad, None, None)]).generate())


def test_names() -> None:
    stream = ZipStream([file(b"ascii"), file("Grüße".encode()), file(b"\x81"), file("/a/../b"), file("ascii")])
    with zipfile.ZipFile(io.BytesIO(b"".join(stream.generate()))) as read:
        assert read.namelist() == ["ascii", "Grüße", "ü", "/a/../b", "ascii"]
    with pytest.raises(FileNameTooLong):
        ZipStream([file("ä" * 32768)]).size()
    with pytest.raises(FileNameTooLong):
        list(ZipStream([file("a" * 65536)]).generate())
    with pytest.raises(UnsafeNameError):
        list(ZipStream([file("")]).generate())
    with pytest.raises(EntryTypeError):
        list(ZipStream([file("d/")]).generate())


def dates(date: Any) -> tuple[tuple[int, ...], int]:
    """(what the header says, UTC seconds) of a member of that date."""
    with zipfile.ZipFile(io.BytesIO(b"".join(ZipStream([file("a")._replace(datetime=date)]).generate()))) as read:
        info = read.infolist()[0]
        return info.date_time, int.from_bytes(info.extra[5:], "little")


def test_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = int(DATE.replace(tzinfo=UTC).timestamp())
    for date in (DATE, DATE.timetuple(), DATE.replace(tzinfo=UTC)):
        assert dates(date) == ((2008, 11, 10, 17, 53, 58), seconds)
    elsewhere = DATE.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5)))
    assert dates(elsewhere) == ((2008, 11, 10, 22, 53, 58), seconds)  # what its own clock shows, and the instant
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(seconds))
    assert dates(None) == ((2008, 11, 10, 17, 53, 58), seconds)
    with pytest.raises(OptionError):
        dates(datetime(1979, 1, 1))


def test_sizes_past_the_limits_are_known_without_any_data() -> None:
    """Of 5 GiB, behind 5 GiB: theirs has the offset of the second cut to 32 bits."""
    large = 5 << 30
    stream = ZipStream([ZipFile(name, large, Opened(), DATE, None) for name in "ab"])
    assert 2 * large < stream.size() < 2 * large + 500


@pytest.mark.sweep
def test_the_size_of_65536_members_is_known() -> None:
    many = ZipStream([ZipFile(str(number), 0, None, DATE, None) for number in range(65_536)])
    whole = b"".join(many.generate())
    assert many.size() == len(whole)
    assert len(zipfile.ZipFile(io.BytesIO(whole)).filelist) == 65_536


def test_errors_have_one_root_which_is_ours() -> None:
    assert ZipStreamError is Root
    for error in (FileNameTooLong, ZipFileSizeRequired, ZipFileInProgress, ZipFileBytesRequired):
        assert issubclass(error, ZipStreamError)
    assert not issubclass(ZipFileSkip, ZipStreamError)
    assert str(ZipFileSkip()) == "Skip the file"
    assert ZipFile._fields == ("filename", "size", "create_fp", "datetime", "comment")
    assert zipstreamer.__all__ == sorted(zipstreamer.__all__)


@pytest.mark.large
def test_members_past_4_gib(tmp_path: Path) -> None:
    class Zeros:
        left = (4 << 30) + 5

        def read(self, size: int) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    stream = ZipStream([ZipFile("a", Zeros.left, Zeros, DATE, None), file("b")])
    with (tmp_path / "a.zip").open("wb") as out:
        for chunk in stream.generate():
            out.write(chunk)
    assert (tmp_path / "a.zip").stat().st_size == stream.size()
    with zipfile.ZipFile(tmp_path / "a.zip") as read:
        assert read.read("b") == b"data"
    assert oracles.unzip(tmp_path / "a.zip")
