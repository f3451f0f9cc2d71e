"""Every failure that legacy code can meet with a StreamingZipFile: nothing leaves after it, nothing looks whole."""

from __future__ import annotations

import io
import itertools
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

import pytest

from tests.support.faults import BoomError, Ledger, Outputs, kept_ledger, reads
from tests.support.strategies import noise
from zipstream_adapter import PoisonedError, StreamingZipFile

METHODS = (ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA)
LOOKAHEADS = (0, 100)


@pytest.fixture(scope="module")
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    yield from kept_ledger(request)


class Target:
    """A file that can only write. Write number `fails_at` takes `taken` of its bytes (of 2) and raises."""

    def __init__(self, fails_at: int = -1, taken: int = 0) -> None:
        self.left = b""
        self.writes = 0
        self._fails_at, self._taken = fails_at, taken

    def write(self, data: bytes) -> int:
        self.writes += 1
        if self.writes == self._fails_at + 1:
            self.left += data[: len(data) * self._taken // 2]
            raise BoomError("boom")
        self.left += data
        return len(data)


def steps(archive: StreamingZipFile, prefix: str = "") -> Iterator[Callable[[], object]]:
    """What legacy code does, a step at a time."""
    yield lambda: archive.writestr(prefix + "first", b"1234")
    yield lambda: archive.mkdir(prefix + "directory")
    handle: list[Any] = []
    yield lambda: handle.append(archive.open(prefix + "second", "w"))
    for _ in range(3):
        yield lambda: handle[0].write(noise(1, 60))
    yield lambda: handle[0].close()
    yield lambda: archive.writestr(prefix + "third", b"5")


def _readers(whole: bytes) -> Callable[[str], bool]:
    """Who reads the archive when it is whole."""
    infos = zipfile.ZipFile(io.BytesIO(whole)).infolist()
    return lambda who: all(reads(who, info.compress_type, bool(info.flag_bits & 8)) for info in infos)


def write_all(archive: StreamingZipFile) -> None:
    for step in steps(archive):
        step()


def in_with(archive: StreamingZipFile) -> None:
    with archive:
        write_all(archive)


def in_with_and_an_inner_with(archive: StreamingZipFile) -> None:
    with archive:
        archive.writestr("first", b"1234")
        with archive.open("second", "w") as handle:
            for _ in range(3):
                handle.write(noise(1, 60))


def close_finally(archive: StreamingZipFile) -> None:
    try:
        in_with_and_an_inner_with(archive)
    finally:
        archive.close()


def swallow_and_go_on(archive: StreamingZipFile) -> None:
    with archive:
        for step in steps(archive):
            with suppress(Exception):
                step()


def swallow_everything(archive: StreamingZipFile) -> None:
    for step in steps(archive):
        with suppress(Exception):
            step()
    archive.close()


STYLES = [in_with, in_with_and_an_inner_with, close_finally, swallow_and_go_on, swallow_everything]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("method", METHODS)
def test_a_write_that_fails_is_the_last_one(
    style: Callable[[StreamingZipFile], None], method: int, ledger: Ledger, tmp_path: Path
) -> None:
    for lookahead in LOOKAHEADS:
        (folder := tmp_path / str(lookahead)).mkdir()
        plain = Target()
        style(StreamingZipFile(plain, compression=method, lookahead=lookahead))
        outputs = Outputs(ledger, plain.left, _readers(plain.left))
        for fails_at, taken in itertools.product(range(plain.writes), (0, 1)):
            target = Target(fails_at, taken)
            archive = StreamingZipFile(target, compression=method, lookahead=lookahead)
            # Where all is swallowed, only the close() that meets the failure itself tells of it.
            swallowing = style is swallow_everything
            with suppress(BoomError) if swallowing else pytest.raises((BoomError, PoisonedError)):
                style(archive)
            _assert_dead(archive, target)
            del archive
            assert target.writes == fails_at + 1
            outputs.add(target.left, style.__name__, f"write {fails_at}, {taken} of 2 taken")
        outputs.judge(folder, cut_in_writes=True)


def _assert_dead(archive: StreamingZipFile, target: Target) -> None:
    left, writes = target.left, target.writes
    for step in (*steps(archive, "again-"), archive.close, archive.close):
        with suppress(ValueError, IndexError):
            step()
    assert (target.left, target.writes) == (left, writes)


# Exceptions inside, instead of in the target. Each shape takes what raises after some writes.


def propagates(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive, archive.open("second", "w") as handle:
        fail(handle)


def swallowed_inside(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive:
        with suppress(BoomError), archive.open("second", "w") as handle:
            fail(handle)
        archive.writestr("third", b"goes on as if nothing had been")


def swallowed_at_the_end(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive, suppress(BoomError), archive.open("second", "w") as handle:
        fail(handle)


def beside_a_member(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive:
        archive.writestr("second", b"whole")
        fail(io.BytesIO())


def closed_in_finally(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    try:
        with archive.open("second", "w") as handle:
            fail(handle)
    finally:
        archive.close()


def handle_left_open(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive:
        handle = archive.open("second", "w")
        fail(handle)


def handle_dropped(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive, suppress(BoomError):
        fail(archive.open("second", "w"))


def text_wrapper_propagates(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive, io.TextIOWrapper(archive.open("second", "w"), write_through=True) as text:
        fail(text.buffer)


def text_wrapper_in_an_open_handle(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive, suppress(BoomError), archive.open("second", "w") as handle:
        fail(io.TextIOWrapper(handle, write_through=True).buffer)


def text_wrapper_dropped(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    def write() -> None:
        text = io.TextIOWrapper(archive.open("second", "w"), write_through=True)
        fail(text.buffer)

    with archive, suppress(BoomError):
        write()


def text_wrapper_swallowed(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive:
        with suppress(BoomError), io.TextIOWrapper(archive.open("second", "w"), write_through=True) as text:
            fail(text.buffer)
        archive.writestr("third", b"goes on as if nothing had been")


def handle_closed_in_finally(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    with archive, suppress(BoomError):
        handle = archive.open("second", "w")
        try:
            fail(handle)
        finally:
            handle.close()


def generator_abandoned(archive: StreamingZipFile, fail: Callable[[Any], None]) -> None:
    def written() -> Iterator[None]:
        with archive, archive.open("second", "w") as handle:
            with suppress(BoomError):
                fail(handle)
            yield
            handle.write(b"the rest")

    going = written()
    next(going)
    del going


SHAPES = [
    propagates, swallowed_inside, swallowed_at_the_end, beside_a_member, closed_in_finally, handle_left_open,
    handle_dropped, text_wrapper_propagates, text_wrapper_in_an_open_handle, text_wrapper_dropped,
    text_wrapper_swallowed, handle_closed_in_finally, generator_abandoned,
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_an_exception_inside_poisons_the_archive(
    shape: Callable[[StreamingZipFile, Callable[[Any], None]], None],
    method: int,
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A wrapper that is collected after its handle may complain there, where nobody hears it.
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: None)
    plain = Target()
    in_with(StreamingZipFile(plain, compression=method, lookahead=0))
    outputs = Outputs(ledger, plain.left, _readers(plain.left))
    for lookahead, writes, error in itertools.product(LOOKAHEADS, range(4), (BoomError, KeyboardInterrupt)):

        def fail(handle: Any, writes: int = writes, error: type[BaseException] = error) -> None:
            for _ in range(writes):
                handle.write(noise(1, 60))
            raise error

        target = Target()
        archive = StreamingZipFile(target, compression=method, lookahead=lookahead)
        archive.writestr("first", b"1234")
        if shape is generator_abandoned:
            with suppress(KeyboardInterrupt):
                shape(archive, fail)
        else:
            # What the code swallowed comes up at the latest at the end of the archive's block.
            with pytest.raises((error, PoisonedError, ValueError)):
                shape(archive, fail)
                archive.abort()  # so that the drop of what is left open does not fail another test
        left = target.left
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            with suppress(ValueError):
                archive.close()
            del archive
        assert target.left == left
        outputs.add(left, shape.__name__, f"{error.__name__} after {writes} writes, lookahead {lookahead}")
    outputs.judge(tmp_path)
