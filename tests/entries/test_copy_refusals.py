"""Entry.copy of what cannot be copied: it is refused, or fails, and gives no archive that looks whole."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.entries.test_copy import archive_of, rows
from tests.support import oracles
from tests.support.strategies import noise
from zipstream_adapter import (
    BadArchiveError,
    Entry,
    EntryError,
    EntryTypeError,
    SourceChangedError,
    StreamingZipFile,
    ZipStreamError,
    stream_zip,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "a.zip"
    place.write_bytes(archive_of())
    return place


def flipped(archive: bytes, at: int, data: bytes) -> bytes:
    return archive[:at] + data + archive[at + len(data) :]


def _from_path(archive: bytes, place: Path, name: str) -> Entry:
    (place / "broken.zip").write_bytes(archive)
    return Entry.copy(place / "broken.zip", name)


def _from_file(archive: bytes, place: Path, name: str) -> Entry:
    return Entry.copy(zipfile.ZipFile(io.BytesIO(archive)), name)


WAYS: dict[str, Callable[[bytes, Path, str], Entry]] = {"path": _from_path, "file": _from_file}
BROKEN = [(0, b"PK\7\7"), (30, b"b.txt"), (30, b"\xff"), (6, b"\0\x08" + b"\0" * 20 + b"\x01")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("at", "data"), BROKEN)
def test_a_local_header_that_is_not_the_member_s_fails(way: str, at: int, data: bytes, tmp_path: Path) -> None:
    entry = WAYS[way](flipped(archive_of(), at, data), tmp_path, "a.txt")
    with pytest.raises(BadArchiveError, match=r"member 'a\.txt' of .* cannot be read: ") as caught:
        stream_zip([entry]).read()
    assert isinstance(caught.value, zipfile.BadZipFile)


def test_from_a_path_the_method_is_compared_as_well(tmp_path: Path) -> None:
    entry = _from_path(flipped(archive_of(), 8, b"\x0c"), tmp_path, "a.txt")
    with pytest.raises(BadArchiveError, match=r"its local file header is for 'a\.txt', by method 12 and not 8"):
        stream_zip([entry]).read()


@pytest.mark.parametrize("way", WAYS)
def test_data_that_is_cut_fails(way: str, tmp_path: Path) -> None:
    archive = archive_of({"a.txt": noise(1, 1000), "b.txt": noise(2, 1000)})
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        size, offset = opened.getinfo("b.txt").compress_size, opened.start_dir
    # The directory says more than there is before the end of the file.
    row = archive.index(b"PK\1\2", offset + 4)
    longer = flipped(archive, row + 20, struct.pack("<L", size + 5000))
    entry = WAYS[way](longer, tmp_path, "b.txt")
    with pytest.raises(BadArchiveError, match=r"member 'b\.txt' of .* cannot be read"):
        stream_zip([entry]).read()


def test_an_archive_that_changes_before_its_turn_fails(path: Path) -> None:
    entry = Entry.copy(path, "a.txt")
    path.write_bytes(archive_of({"a.txt": b"other"}))
    with pytest.raises(SourceChangedError, match="has changed since"):
        stream_zip([entry]).read()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        stream_zip([entry]).read()


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"secret")
    program = oracles.need("7zz", "7z", "7za")
    for number, method in enumerate(["ZipCrypto", "AES256"]):
        place = f"{number}.zip"
        command = [program, "a", "-ppassword", f"-mem={method}", place, "a"]
        subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        with pytest.raises(EntryError, match="member 'a' is encrypted"):
            Entry.copy(tmp_path / place, "a")


@pytest.mark.parametrize("bit", [0x20, 0x40, 0x2000])
def test_data_that_is_not_whole_by_itself_is_refused(bit: int) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of())) as opened:
        opened.getinfo("a.txt").flag_bits |= bit
        with pytest.raises(EntryError, match=r"member 'a\.txt' "):
            Entry.copy(opened, "a.txt")


def test_what_is_no_archive_or_no_member_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no archive")
    with pytest.raises(BadArchiveError, match="text' cannot be read as a zip archive"):
        Entry.copy(tmp_path / "text", "a")
    with pytest.raises(FileNotFoundError):
        Entry.copy(tmp_path / "missing", "a")
    with pytest.raises(EntryError, match=r"there is no member 'b' in .*a\.zip"):
        Entry.copy(path, "b")
    with pytest.raises(EntryTypeError, match=r"zip_file=<_io\.BytesIO"):
        Entry.copy(io.BytesIO(), "b")  # type: ignore[arg-type]
    with zipfile.ZipFile(path) as opened, StreamingZipFile() as written:
        with pytest.raises(EntryError, match="no member 'b'"):
            Entry.copy(opened, "b")
        with pytest.raises(EntryTypeError, match="member=5"):
            Entry.copy(opened, 5)  # type: ignore[arg-type]
        with pytest.raises(EntryError, match="does not come from an archive"):
            Entry.copy(opened, zipfile.ZipInfo("a.txt"))
        with pytest.raises(EntryError, match="is being written"):
            Entry.copy(written, "a.txt")
        for option in ("size", "crc32", "compression", "level", "flag_bits", "colour"):
            with pytest.raises(EntryTypeError, match=f"no option '{option}'"):
                Entry.copy(opened, "a.txt", **{option: 5})  # type: ignore[arg-type]
        info = opened.getinfo("a.txt")
        info.extra = b"\1\2\3"
        with pytest.raises(EntryError, match=r"member 'a\.txt': the extra is malformed.*extra=b''"):
            Entry.copy(opened, info)
        with pytest.raises(TypeError, match=r"cannot be pickled: give Entry\.copy the archive's path"):
            pickle.dumps(Entry.copy(opened, "empty"))


def test_a_directory_with_data_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("d?")
        archive.writestr(info, b"data")
    broken = file.getvalue().replace(b"d?", b"d/")
    with (
        zipfile.ZipFile(io.BytesIO(broken)) as opened,
        pytest.raises(EntryError, match="'d/' is a directory with 4 by"),
    ):
        Entry.copy(opened, "d/")


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_gives_errors_of_this_package_and_no_others(damage: list[tuple[int, int]]) -> None:
    archive = archive_of({"a.txt": b"data" * 20, "ü": b"other" * 20})
    for at, value in damage:
        archive = flipped(archive, at % len(archive), bytes([value]))
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile says what it thinks of some of it
        path = Path(place, "damaged.zip")
        path.write_bytes(archive)
        for name in ("a.txt", "ü"):
            with suppress(ZipStreamError):
                stream_zip([Entry.copy(path, name)]).read()
        with suppress(zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError):
            opened = zipfile.ZipFile(io.BytesIO(archive))
            for info in opened.infolist():
                with suppress(ZipStreamError):
                    stream_zip([Entry.copy(opened, info)]).read()


@given(st.integers(0, 86), st.integers(0, 255))
def test_no_damage_before_the_directory_makes_it_another_member(at: int, value: int) -> None:
    archive = archive_of({"a.txt": b"data" * 20, "b.txt": b"other" * 20})
    assert archive.index(b"PK\1\2") > 86
    with zipfile.ZipFile(io.BytesIO(flipped(archive, at, bytes([value])))) as opened:
        try:
            twin = stream_zip([Entry.copy(opened, name) for name in opened.namelist()]).read()
        except BadArchiveError:
            return
    assert rows(twin) == rows(archive)
