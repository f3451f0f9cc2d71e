"""What archive.py relies on in the standard library's zipfile without its being documented.

All of it is asked of plain `zipfile`, so a Python that changes it fails here, by name, before anything else does.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections import Counter
from pathlib import Path
from typing import IO, Any

import pytest

from zipstream_adapter import StreamingZipFile
from zipstream_adapter._writer.sink import StreamSink


class Spy(zipfile.ZipFile):
    """A ZipFile that counts the calls of the methods that archive.py overrides or calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.calls: Counter[str] = Counter()
        super().__init__(*args, **kwargs)

    def _open_to_write(self, zinfo: zipfile.ZipInfo, force_zip64: bool = False) -> IO[bytes]:
        self.calls["_open_to_write"] += 1
        self.force_zip64 = force_zip64
        handle: IO[bytes] = super()._open_to_write(zinfo, force_zip64=force_zip64)  # type: ignore[misc]
        return handle

    def _writecheck(self, zinfo: zipfile.ZipInfo) -> None:
        self.calls["_writecheck"] += 1
        super()._writecheck(zinfo)  # type: ignore[misc]

    def _write_end_record(self) -> None:
        self.calls["_write_end_record"] += 1
        super()._write_end_record()  # type: ignore[misc]

    def mkdir(self, *args: Any, **kwargs: Any) -> None:
        self.calls["mkdir"] += 1
        super().mkdir(*args, **kwargs)


@pytest.fixture
def spy() -> Spy:
    return Spy(io.BytesIO(), "w")


@pytest.mark.parametrize("force_zip64", [False, True])
def test_open_for_writing_goes_through_the_seam(spy: Spy, force_zip64: bool) -> None:
    with spy, spy.open("a", "w", force_zip64=force_zip64) as handle:
        handle.write(b"1")
    assert spy.calls["_open_to_write"] == spy.calls["_writecheck"] == 1
    assert spy.force_zip64 == force_zip64


@pytest.mark.parametrize("name", ["a", "a/", zipfile.ZipInfo("b")])
def test_writestr_goes_through_the_seam(spy: Spy, name: str | zipfile.ZipInfo) -> None:
    with spy:
        spy.writestr(name, b"")
    assert spy.calls["_open_to_write"] == spy.calls["_writecheck"] == 1


def test_write_of_a_file_goes_through_the_seam_and_of_a_directory_through_mkdir(spy: Spy, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    with spy:
        spy.write(tmp_path / "file")
        assert (spy.calls["_open_to_write"], spy.calls["mkdir"]) == (1, 0)
        spy.write(tmp_path)
        assert (spy.calls["_open_to_write"], spy.calls["mkdir"]) == (1, 1)


def test_writecheck_refuses_a_closed_archive_and_unknown_methods_and_warns_of_duplicates(spy: Spy) -> None:
    info = zipfile.ZipInfo("a")
    spy.writestr("a", b"")
    with pytest.warns(UserWarning, match="Duplicate name"):
        spy._writecheck(info)
    info.compress_type = 93_000
    info.filename = "b"
    with pytest.raises(NotImplementedError):
        spy._writecheck(info)
    spy.close()
    with pytest.raises(ValueError, match="closed"):
        spy._writecheck(zipfile.ZipInfo("c"))


def test_close_calls_write_end_record_once_where_something_was_modified(spy: Spy) -> None:
    assert spy._didModify is True, "an archive opened with 'w' is to be finished, even if nothing is added"  # type: ignore[attr-defined]
    spy.close()
    spy.close()
    assert spy.calls["_write_end_record"] == 1
    assert spy.fp is None


def test_close_writes_nothing_where_nothing_was_modified(spy: Spy) -> None:
    spy._didModify = False  # type: ignore[attr-defined]
    target = spy.fp
    spy.close()
    assert spy.calls["_write_end_record"] == 0
    assert isinstance(target, io.BytesIO)
    assert target.getvalue() == b""
    assert spy.fp is None


def test_setting_the_comment_is_a_modification_that_is_kept_as_bytes(spy: Spy) -> None:
    spy._didModify = False  # type: ignore[attr-defined]
    spy.comment = b"comment"
    assert spy._comment == b"comment"  # type: ignore[attr-defined]
    assert spy._didModify is True  # type: ignore[attr-defined]
    spy.close()


def test_an_open_member_is_marked_by_writing(spy: Spy) -> None:
    assert spy._writing is False  # type: ignore[attr-defined]
    handle = spy.open("a", "w")
    assert spy._writing is True  # type: ignore[attr-defined]
    for use in (lambda: spy.writestr("b", b""), lambda: spy.open("b", "w"), spy.close):
        with pytest.raises(ValueError, match="open"):
            use()
    handle.close()
    assert spy._writing is False
    spy.close()


def test_a_finished_member_is_listed_and_found_and_moves_the_directory(spy: Spy) -> None:
    assert (spy.filelist, spy.NameToInfo, spy.start_dir) == ([], {}, 0)
    spy.writestr("a", b"1")
    (info,) = spy.filelist
    assert spy.NameToInfo == {"a": info}
    assert spy.infolist() == [info] and spy.namelist() == ["a"] and spy.getinfo("a") is info
    assert spy.fp is not None
    assert spy.start_dir == spy.fp.tell() == 30 + 1 + 1
    spy.close()


def test_the_lock_can_be_taken_again_by_its_holder(spy: Spy) -> None:
    assert isinstance(spy._lock, type(threading.RLock()))  # type: ignore[attr-defined]
    spy.close()


def test_levels_are_readable_under_their_older_name(spy: Spy) -> None:
    info = zipfile.ZipInfo("a")
    assert info._compresslevel is None  # type: ignore[attr-defined]
    archive = Spy(io.BytesIO(), "w", zipfile.ZIP_DEFLATED, compresslevel=7)
    archive.writestr("b", b"")
    archive.writestr(info, b"", zipfile.ZIP_DEFLATED, compresslevel=3)
    levels = [info._compresslevel for info in archive.infolist()]  # type: ignore[attr-defined]
    assert levels == [7, 3]
    archive.close()
    spy.close()


class NoSeek(io.BytesIO):
    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")


def test_a_file_that_raises_on_seek_is_taken_for_a_stream() -> None:
    archive = zipfile.ZipFile(NoSeek(), "w")
    assert archive._seekable is False  # type: ignore[attr-defined]
    with archive:
        archive.writestr("a", b"1")
    seekable = zipfile.ZipFile(io.BytesIO(), "w")
    assert seekable._seekable is True  # type: ignore[attr-defined]
    seekable.close()
    with zipfile.ZipFile(StreamSink(), "w") as archive:  # type: ignore[call-overload]
        assert archive._seekable is False
    with StreamingZipFile() as streaming:
        assert streaming._seekable is False  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["_open_to_write", "_write_end_record", "mkdir", "close", "__exit__", "__del__"])
def test_what_is_overridden_exists_in_zipfile(name: str) -> None:
    assert callable(getattr(zipfile.ZipFile, name))
    assert name in vars(StreamingZipFile)
