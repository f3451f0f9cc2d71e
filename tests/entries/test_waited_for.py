"""What is no regular file at a path is refused, and never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.entries.test_copy import archive_of
from tests.support.loops import module, run
from zipstream_adapter import (
    Entry,
    NotAFileError,
    SourceChangedError,
    ZipStreamError,
    async_stream_zip,
    stream_zip,
    walk,
)
from zipstream_adapter._entries.files.regular import open_regular
from zipstream_adapter.cli import main
from zipstream_adapter.remote import open_remote

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes"),
    pytest.mark.timeout(60),
]


def _bound(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(place.parent)  # the path of a socket is short
        try:
            listening.bind(place.name)
        finally:
            os.chdir(here)


def _linked(place: Path) -> None:
    pipe = place.with_name("the pipe itself")
    os.mkfifo(pipe)
    place.symlink_to(pipe)


KINDS: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a socket": _bound,
    "a character device": lambda place: place.symlink_to("/dev/zero"),
    "a directory": lambda place: place.mkdir(),
    "a link to a named pipe": _linked,
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.zip"


@EVERY_KIND
def test_entry_copy_refuses_it(path: Path, kind: str) -> None:
    KINDS[kind](path)
    with pytest.raises(NotAFileError, match=kind.removeprefix("a link to ")) as caught:
        Entry.copy(path, "a.txt")
    assert str(path) in str(caught.value)


@EVERY_KIND
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_copy_whose_archive_became_one_is_refused_at_its_turn(path: Path, kind: str, asynchronous: bool) -> None:
    path.write_bytes(archive_of())
    entry = Entry.copy(path, "a.txt")
    path.unlink()
    KINDS[kind](path)
    with pytest.raises(SourceChangedError, match="has changed since"):
        run(async_stream_zip([entry]).read()) if asynchronous else stream_zip([entry]).read()


@EVERY_KIND
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_member_of_it_is_refused(path: Path, kind: str, asynchronous: bool) -> None:
    KINDS[kind](path)
    with pytest.raises(NotAFileError):
        run(async_stream_zip([("a", path)]).read()) if asynchronous else stream_zip([("a", path)]).read()


@EVERY_KIND
def test_open_regular_refuses_it_and_leaves_nothing_open(path: Path, kind: str) -> None:
    KINDS[kind](path)
    with pytest.raises(NotAFileError, match=kind.removeprefix("a link to ")):
        open_regular(path)


@EVERY_KIND
@pytest.mark.parametrize("command", ["list", "cat", "archive"])
def test_the_command_refuses_it(path: Path, kind: str, command: str, capfd: pytest.CaptureFixture[str]) -> None:
    if (command, kind) == ("archive", "a directory"):
        pytest.skip("a directory is walked")
    KINDS[kind](path)
    output = path.with_name("out.zip")
    argv = [command, str(path), "a.txt"][: 2 if command == "list" else 3]
    assert main([str(path), "-o", str(output)] if command == "archive" else argv) == 1
    assert kind.removeprefix("a link to ") in capfd.readouterr().err
    assert not output.exists()


def test_a_walk_does_not_open_it(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ZipStreamError, match="special='skip'"):
        list(walk(path.parent))
    assert list(walk(path.parent, special="skip")) == []


def test_a_remote_archive_by_a_file_url_is_refused(path: Path) -> None:
    module("obstore")
    os.mkfifo(path)
    with pytest.raises(NotAFileError, match="a named pipe"):
        open_remote(path.as_uri())
