"""Members that are written whole: errors are those of members that are streamed."""

from __future__ import annotations

import io
import os
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.support.both_ways import DATE, LONG_WAY, Odd, assert_same, outcome
from zipstream_adapter import Entry, OptionError, SourceChangedError
from zipstream_adapter._stream.sync import stream_with


class Text(str):
    """A str that is none to be sure of."""

    __slots__ = ()


def at(*parts: str) -> Callable[[Path], Any]:
    return lambda folder: ("m", folder.joinpath(*parts))


# Items that cannot be written whole, most of which cannot be written at all; of a folder as `odd_folder` makes it.
ODD: dict[str, Callable[[Path], Any]] = {
    "missing": at("missing"),
    "folder": at(""),
    "pipe": at("pipe"),
    "socket": at("socket"),
    "loop": at("loop"),
    "link": at("link"),
    "long name": at("n" * 300),
    "under a file": at("file", "x"),
    "NUL": at("a\0b"),
    "unreadable": at("locked", "file"),
    "device": lambda folder: ("m", Path(os.devnull)),
    "made when read": lambda folder: ("m", Path("/proc/version")),
    "says 4096": lambda folder: ("m", Path("/sys/kernel/mm/transparent_hugepage/enabled")),
    "raises": lambda folder: ("m", Odd(RuntimeError("no path today"))),
    "raises, in an Entry": lambda folder: Entry("m", Odd(ValueError("no path today"))),
    "is no path": lambda folder: ("m", Odd(7)),
    "path of bytes": lambda folder: ("m", Odd(os.fsencode(folder / "file"))),
    "text": lambda folder: ("m", "text"),
    "nothing": lambda folder: ("m", None),
    "one": lambda folder: ("m",),
    "three": lambda folder: ("m", b"", b""),
    "a number": lambda folder: 7,
    "no name": lambda folder: (None, b""),
    "number for a name": lambda folder: (7, b""),
    "bytes for a name": lambda folder: (b"m", folder / "file"),
    "text of a kind": lambda folder: (Text("m"), b"data"),
    "taken": lambda folder: ("first", b""),
    "path alone": lambda folder: folder / "file",
    "path alone, of a link": lambda folder: str(folder / "link"),
    "path alone, of a folder": lambda folder: folder,
    "path alone, of a pipe": lambda folder: folder / "pipe",
    "path alone, missing": lambda folder: str(folder / "missing"),
    "path alone, NUL": lambda folder: "a\0b",
    "path alone, unreadable": lambda folder: folder / "locked" / "file",
    "path alone, here": lambda folder: Path(),
    "path alone, above": lambda folder: "..",
    "path alone, none": lambda folder: "",
}


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # a socket's path is short
        bound.bind("socket")
    (folder / "loop").symlink_to("loop")
    (folder / "link").symlink_to("file")
    (folder / "file").write_bytes(b"of a file")
    os.utime(folder / "file", (DATE, DATE))
    (folder / "locked").mkdir(0o000)
    return folder


@contextmanager
def as_nobody() -> Iterator[None]:
    """The superuser may read all."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("forgive", [False, True])
@pytest.mark.parametrize("compression", ["stored", "deflate"])
@pytest.mark.parametrize("name", list(ODD))
def test_what_fails_says_the_same(odd_folder: Path, name: str, compression: str, forgive: bool) -> None:
    items = [("first", b"1"), ODD[name](odd_folder), ("last", b"2")]
    with as_nobody() if "unreadable" in name else nullcontext():
        assert_same(lambda: items, compression=compression, forgive=forgive)


@pytest.mark.parametrize("size", [10, 30], ids=["grows", "shrinks"])
@pytest.mark.parametrize("times", [1, 99], ids=["once", "always"])
def test_a_file_that_changes_between_looking_and_reading(tmp_path: Path, size: int, times: int) -> None:
    """It is read again and streamed, as it is then, or refused because it has changed."""
    path, real = tmp_path / "file", os.fstat

    def make() -> list[Any]:
        """The file is `size` bytes long while it is looked at, and 20 when it is read."""
        looked = 0

        def fstat(descriptor: int) -> os.stat_result:
            nonlocal looked
            if not os.path.samestat(real(descriptor), os.stat(path)):
                return real(descriptor)
            looked += 1
            if looked <= times:
                path.write_bytes(b"x" * size)
            info = real(descriptor)
            path.write_bytes(b"y" * 20)
            return info

        patch.setattr(os, "fstat", fstat)
        return [("before", b"1"), ("file", path)]

    path.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        short = outcome(make(), compression="deflate")
        if times == 1:
            assert short.error is None
            assert zipfile.ZipFile(io.BytesIO(short.archive)).read("file") == b"y" * 20
        else:
            assert short.error == outcome(make(), compression="deflate", **LONG_WAY).error
            assert short.error is not None
            assert short.error[1] is SourceChangedError


@pytest.mark.parametrize("way", [{}, LONG_WAY], ids=["short", "long"])
def test_a_bad_source_date_epoch_fails_what_needs_a_date(monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert b"".join(stream_with([Entry("a", b"1", modified=DATE)], **way))
    stream = stream_with([("a", b"1")], **way)
    with pytest.raises(OptionError, match="SOURCE_DATE_EPOCH='yesterday'") as caught:
        next(stream)
    assert caught.value.__notes__ == ["(while adding entry 'a')"]
    forgiving = stream_with([("a", b"1")], on_error=lambda entry, exc: None, **way)
    assert zipfile.ZipFile(io.BytesIO(forgiving.read())).namelist() == []
