"""Where a StreamingZipFile's bytes go, and in which state it takes more."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracles
from tests.support.strategies import noise
from zipstream_adapter import OptionError, PoisonedError, SizeMismatchError, StreamingZipFile, StreamStateError
from zipstream_adapter.compat.push import StreamFile


class TakesAll:
    """A framework's response: write() says nothing, and there is nothing else."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, data: bytes) -> None:
        self.taken += data


class ShortWrites(io.RawIOBase):
    """An unbuffered file that takes a few bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        part = bytes(data[:7])
        self.taken += part
        return len(part)


class Unflushed(TakesAll):
    """A target that can only be closed: Google Cloud Storage's writer is one."""

    refusal: BaseException = io.UnsupportedOperation("cannot flush without finalizing the upload")

    def flush(self) -> None:
        raise self.refusal


@pytest.mark.parametrize("refusal", [io.UnsupportedOperation("cannot flush"), NotImplementedError()])
@pytest.mark.parametrize("make", [StreamingZipFile, lambda target: zipfile.ZipFile(StreamFile(target), "w")])
def test_a_target_that_cannot_flush_gets_a_whole_archive(make: Callable[[Any], Any], refusal: Exception) -> None:
    target = Unflushed()
    target.refusal = refusal
    with make(target) as archive:
        archive.writestr("a", b"data")
    assert oracles.members(target.taken) == {"a": b"data"}


@pytest.mark.parametrize("failure", [OSError(28, "no space left"), ValueError("closed"), KeyboardInterrupt()])
def test_a_target_that_fails_to_flush_fails(failure: BaseException) -> None:
    target = Unflushed()
    target.refusal = failure
    with pytest.raises(type(failure)) as caught, StreamingZipFile(target) as archive:
        archive.writestr("a", b"data")
    assert caught.value is failure


@pytest.mark.parametrize("error", [OSError("no place"), NotImplementedError()])
def test_a_target_that_cannot_tell_its_place_begins_at_0(error: Exception) -> None:
    class Untold(TakesAll):
        def tell(self) -> int:
            raise error

    target = Untold()
    with StreamingZipFile(target) as archive:
        archive.writestr("a", b"data")
    assert oracles.members(target.taken) == {"a": b"data"}


@pytest.mark.parametrize("make", [TakesAll, ShortWrites, io.BytesIO])
def test_any_object_that_can_write_gets_the_bytes_at_once(make: Callable[[], Any]) -> None:
    target = make()

    def taken() -> bytes:
        return bytes(target.getvalue() if isinstance(target, io.BytesIO) else target.taken)

    archive = StreamingZipFile(target, lookahead=0)
    with archive.open("a", "w") as handle:
        handle.write(b"12345")
        assert taken().endswith(b"12345")
    assert taken()[-16:-12] == b"PK\7\x08"
    archive.writestr("b", b"6")
    archive.close()
    assert oracles.members(taken()) == {"a": b"12345", "b": b"6"}
    assert not getattr(target, "closed", False), "a file that was handed in stays open"
    with pytest.raises(StreamStateError, match="drain"):
        archive.drain()


def test_a_pipe_is_fed_while_the_archive_is_made() -> None:
    reading, writing = os.pipe()
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reading, 65536), b"")))
    reader.start()
    with open(writing, "wb") as pipe, StreamingZipFile(pipe, compression="deflate") as archive:
        archive.writestr("a", noise(1, 300_000))
    reader.join(60)
    os.close(reading)
    assert oracles.members(b"".join(received)) == {"a": noise(1, 300_000)}


def test_a_path_is_opened_and_closed_and_mode_x_refuses_one_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "new.zip"
    with StreamingZipFile(path, "x") as archive:
        archive.writestr("a", b"1")
        assert archive.filename == str(path)
    assert oracles.members(path.read_bytes()) == {"a": b"1"}
    with pytest.raises(FileExistsError):
        StreamingZipFile(str(path), "x")
    with StreamingZipFile(str(path), "w"):
        pass
    assert oracles.members(path.read_bytes()) == {}


def test_offsets_count_from_where_the_file_tells(tmp_path: Path) -> None:
    path = tmp_path / "behind.zip"
    with open(path, "wb") as file:
        file.write(b"#!/bin/sh\n")
        with StreamingZipFile(file) as archive:
            archive.writestr("a", b"1")
            assert archive.getinfo("a").header_offset == 10
    assert oracles.members(path.read_bytes()) == {"a": b"1"}
    assert oracles.unzip(path)


def test_a_full_unbuffered_file_ends_the_archive() -> None:
    class Full(ShortWrites):
        def write(self, data: Any, /) -> Any:
            return None

    archive = StreamingZipFile(Full())
    with pytest.raises(BlockingIOError):
        archive.writestr("a", b"1")
    archive.close()


@pytest.mark.parametrize("claim", [0, -1, 10_000])
def test_a_write_that_claims_the_impossible_ends_the_archive(claim: int) -> None:
    class Liar(TakesAll):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            return claim

    archive = StreamingZipFile(Liar())
    with pytest.raises(OSError, match="which is not a possible count"):
        archive.writestr("a", b"1")
    archive.close()


def test_drain_gives_each_byte_once_as_soon_as_it_is_ready() -> None:
    archive = StreamingZipFile(lookahead=10, chunk_size=1000)
    assert archive.drain() == b""
    archive.writestr("a", b"1")
    parts = [archive.drain()]
    assert parts[0].endswith(b"1")
    with archive.open("b", "w") as handle:
        handle.write(b"0123456789")
        assert archive.drain() == b"", "what the lookahead holds back is not ready"
        handle.write(b"x")
        parts.append(archive.drain())
        assert parts[1].endswith(b"0123456789x")
    archive.close()
    parts.append(archive.drain())
    assert archive.drain() == b""
    assert oracles.members(b"".join(parts)) == {"a": b"1", "b": b"0123456789x"}


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"mode": "r"}, OptionError),
        ({"mode": "a"}, OptionError),
        ({"file": 5}, OptionError),
        ({"file": io.BytesIO}, TypeError),
        ({"compression": "xz"}, OptionError),
        ({"compression": 93_000}, NotImplementedError),
        ({"lookahead": -1}, OptionError),
        ({"chunk_size": 1.5}, OptionError),
    ],
)
def test_arguments_are_checked_at_once(arguments: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        StreamingZipFile(**arguments)


# State.


def test_one_member_at_a_time() -> None:
    archive = StreamingZipFile()
    handle = archive.open("a", "w")
    uses: list[Callable[[], object]] = [
        lambda: archive.open("b", "w"), lambda: archive.writestr("b", b""), lambda: archive.mkdir("b"), archive.close,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(ValueError, match="open"):
            use()
    assert handle.write(b"1") == 1
    handle.close()
    with pytest.raises(ValueError, match=r"ended|closed"):
        handle.write(b"2")
    handle.close()
    archive.close()
    archive.close()
    with pytest.raises(ValueError, match="closed"):
        archive.writestr("b", b"")
    assert oracles.members(archive.drain()) == {"a": b"1"}


def test_an_archive_cannot_be_read_or_read_from() -> None:
    with StreamingZipFile() as archive:
        archive.writestr("a", b"1")
        for read in (lambda: archive.read("a"), archive.testzip):
            with pytest.raises((io.UnsupportedOperation, ValueError)):
                read()


def test_a_handle_is_a_writable_file_that_cannot_seek() -> None:
    with StreamingZipFile() as archive, archive.open("a", "w") as handle:
        assert (handle.writable(), handle.readable(), handle.seekable(), handle.closed) == (True, False, False, False)
        handle.flush()
        with pytest.raises(io.UnsupportedOperation):
            handle.seek(0)
    assert handle.closed


def test_abort_ends_it_quietly() -> None:
    with StreamingZipFile() as archive:
        archive.writestr("a", b"1")
        archive.abort()
    for use in (archive.drain, lambda: archive.writestr("b", b"")):
        with pytest.raises((PoisonedError, ValueError)):
            use()
    archive.close()


def test_a_failure_that_was_swallowed_comes_up_at_the_end_of_the_block() -> None:
    archive = StreamingZipFile()
    with pytest.raises(PoisonedError), archive:
        with pytest.raises(KeyError), archive.open("a", "w") as handle:
            handle.write(b"1")
            raise KeyError
        with pytest.raises(PoisonedError):
            archive.drain()
    archive.close()


def test_a_handle_outlives_the_handling_of_the_exception_it_was_opened_in() -> None:
    with StreamingZipFile() as archive:
        try:
            raise KeyError
        except KeyError:
            handle = archive.open("fallback", "w")
        handle.write(b"1")
        handle.close()
    assert oracles.members(archive.drain()) == {"fallback": b"1"}


def test_an_exception_that_a_generators_consumer_handles_is_none_of_the_generators() -> None:
    def made() -> Iterator[bytes]:
        with StreamingZipFile(lookahead=0) as archive, archive.open("a", "w") as handle:
            handle.write(b"1")
            yield archive.drain()
            handle.write(b"2")
        yield archive.drain()

    chunks = made()
    received = [next(chunks)]
    try:
        raise KeyError
    except KeyError:
        received += chunks
    assert oracles.members(b"".join(received)) == {"a": b"12"}


def test_an_archive_that_is_closed_unfinished_says_so_where_nothing_has_before() -> None:
    target = TakesAll()
    archive = StreamingZipFile(target)
    handle = archive.open("log", "w")
    try:
        raise KeyError
    except KeyError as exc:
        handle.write(repr(exc).encode())
        handle.close()
    # Whether or not such a close() passes for the member's end: the one is an archive, and the other is an error.
    try:
        archive.close()
    except PoisonedError:
        assert not oracles.python(target.taken)
    else:
        assert oracles.members(target.taken) == {"log": b"KeyError()"}


@pytest.mark.parametrize("handle_open", [False, True])
def test_a_dropped_archive_warns_and_is_not_finished(tmp_path: Path, handle_open: bool) -> None:
    path = tmp_path / "dropped.zip"
    archive = StreamingZipFile(path, lookahead=0)
    archive.writestr("a", b"1")
    handle = archive.open("b", "w") if handle_open else None
    with pytest.warns(ResourceWarning, match="not finished"):
        del archive, handle
        gc.collect()
    assert not oracles.python(path.read_bytes())
    assert path.read_bytes().startswith(b"PK\3\4")


_LEFT = """
import asyncio, sys, zipfile
from zipstream_adapter import StreamingZipFile, async_stream_zip, stream_zip

def data():
    while True:
        yield b"x" * 100_000

kind = sys.argv[1]
if kind == "archive":
    left = StreamingZipFile()
    left.writestr("a", b"1")
elif kind == "async":
    left = async_stream_zip([("a", data()), ("b", data())], prefetch=1)
    asyncio.run(anext(left))
else:
    options = {"plain": {}, "prefetch": {"prefetch": 2}, "workers": {"compression": "deflate", "workers": 2}}[kind]
    left = stream_zip([("a", data()), ("b", data())], **options)
    next(left)
"""


@pytest.mark.parametrize("kind", ["archive", "plain", "prefetch", "workers", "async"])
def test_what_is_left_in_a_global_warns_at_the_end_only_if_it_is_to_be_closed(kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", _LEFT, kind],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=200,
        check=True,
    )
    warned = [line for line in done.stderr.decode().splitlines() if "unclosed archive" in line]
    assert len(warned) == (kind == "archive")
    assert kind == "archive" or not done.stderr


def test_archives_that_were_refused_or_closed_are_dropped_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with pytest.raises(OptionError):
        StreamingZipFile(lookahead=-1)
    with pytest.raises(NotImplementedError):
        StreamingZipFile(compression=93_000)
    StreamingZipFile().close()
    StreamingZipFile().abort()
    gc.collect()
    assert [problem.exc_value for problem in unraisable] == []


def test_dates_of_writestr_are_now_as_in_zipfile() -> None:
    before = time.localtime()[:5]
    with StreamingZipFile() as archive:
        archive.writestr("a", b"")
    assert before <= archive.getinfo("a").date_time[:5] <= time.localtime()[:5]


def test_a_member_that_failed_before_its_header_left_cannot_be_completed() -> None:
    archive = StreamingZipFile()
    handle = archive.begin(zipfile.ZipInfo("a"), size=3)
    handle.write(b"123")
    with pytest.raises(SizeMismatchError):
        handle.write(b"4")
    with pytest.raises(PoisonedError, match="'a' failed before"):
        handle.close()
    with pytest.raises(PoisonedError):
        archive.drain()
