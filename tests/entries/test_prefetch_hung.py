"""Sources that were fetched ahead and hang: nobody waits for them for good. And where there are no threads."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracles
from tests.support.executors import none_left
from tests.support.strategies import noise
from zipstream_adapter import Entry, StreamStateError, stream_zip

LONG = noise(1, 300_000)


class Hanging:
    """A source that makes one wait, until it `may_go`, where it is said: when it is opened, or read."""

    def __init__(self, where: str) -> None:
        self.is_waited_for, self.may_go, self.is_closed = threading.Event(), threading.Event(), threading.Event()
        self.closed = 0
        self.hangs = False
        self._where = where

    def __iter__(self) -> Iterator[bytes]:
        self._step("opened")
        return self

    def __next__(self) -> bytes:
        self._step("read")
        raise StopIteration

    def _step(self, where: str) -> None:
        if where == self._where:
            self.hangs = True
            self.is_waited_for.set()
            assert self.may_go.wait(60)
            self.hangs = False

    def close(self) -> None:
        self.closed += 1
        self.is_closed.set()


@pytest.mark.parametrize("where", ["opened", "read"])
@pytest.mark.parametrize("how", ["close", "drop", "with"])
def test_closing_does_not_wait_for_what_hangs(where: str, how: str) -> None:
    before = set(threading.enumerate())
    source = Hanging(where)
    stream: Any = stream_zip([("first", iter([LONG, LONG])), Entry("hangs", source)], prefetch=1)
    next(stream)
    assert source.is_waited_for.wait(60)
    with pytest.warns(RuntimeWarning, match="entry 'hangs': its source was still opened or read"):
        if how == "close":
            stream.close()
        elif how == "with":
            with stream:
                pass
        else:
            del stream
    assert source.hangs
    assert source.closed == 0  # nobody else may, while it is being read
    source.may_go.set()
    assert source.is_closed.wait(60)
    assert none_left(before)
    assert source.closed == 1


SIGNALLED = """
import signal, sys, threading
from zipstream_adapter import Entry, StreamStateError, stream_zip

def hangs():
    yield b"x"
    print("waiting", flush=True)
    threading.Event().wait()

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))
signal.signal(signal.SIGINT, signal.default_int_handler)
first = {"ahead": (b"x" * 1000 for _ in iter(int, 1)), "its turn": b""}[sys.argv[1]]
try:
    for chunk in stream_zip([("a", first), Entry("b", hangs())], prefetch=1, compression="deflate"):
        pass
except KeyboardInterrupt:
    sys.exit(2)
"""


@pytest.mark.parametrize("turn", ["ahead", "its turn"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 2), (signal.SIGTERM, 3)])
def test_a_signal_ends_a_process_whose_source_hangs(turn: str, number: int, status: int) -> None:
    command = [sys.executable, "-c", SIGNALLED, turn]
    checkout = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.send_signal(number)
        try:
            try:
                _, stderr = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                # Python drops what a signal handler raises within a weakref callback, such as imports have.
                process.send_signal(number)
                _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == status
    assert b"RuntimeWarning: entry 'b'" in stderr


@pytest.mark.parametrize("threads", [0, 1])
def test_without_threads_sources_are_opened_when_their_turn_has_come(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def refused(thread: threading.Thread) -> None:
        if len(started) == threads:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    def entries() -> list[Any]:
        return [Entry(str(number), iter([LONG, b"end"]), modified=1_000_000_000) for number in range(5)]

    monkeypatch.setattr(threading.Thread, "start", refused)
    archive = stream_zip(entries(), prefetch=3).read()
    assert oracles.members(archive) == {str(number): LONG + b"end" for number in range(5)}
    assert archive == stream_zip(entries()).read()
    assert none_left(before)


_AT_THE_END = """
import datetime, gc, os, sys
from zipstream_adapter import Entry, StreamStateError, stream_zip

class AtTheEnd:
    # It keeps all that it needs: the names of modules may be gone.
    def __init__(self):
        self.begun = sys.argv[1] == "begun"
        self.ends, self.write, self.leave = sys.is_finalizing, os.write, os._exit
        data = lambda: (b"x" * 600_000 for _ in range(3))
        date = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        entries = [Entry(str(each), data(), modified=date) for each in range(4)]
        # On Python 3.13, calculating with dates can crash at the end.
        self.stream = stream_zip(entries, prefetch=1, extended_timestamps=False)
        self.first = next(self.stream) if self.begun else b""

    def __del__(self):
        size = len(self.first + b"".join(self.stream))
        self.write(1, f"{self.ends()} {size}".encode())

left = AtTheEnd()
if left.begun:
    # Fetched ahead, and not being read when the interpreter stops the threads.
    fetched = left.stream._producer.held._prefetcher._coming
    while not all(each._is_over for each in fetched):
        pass
    del fetched
"""


@pytest.mark.parametrize("how", ["not begun", "begun"])
def test_a_stream_can_be_read_when_the_interpreter_ends(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AT_THE_END, how],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=200,
        check=True,
    )
    plain = stream_zip(
        [Entry(str(each), iter([b"x" * 600_000] * 3), modified=1_577_836_800) for each in range(4)],
        extended_timestamps=False,
    ).read()
    assert done.stdout.decode() == f"True {len(plain)}", done.stderr.decode()


def test_no_thread_is_started_then(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", started.append)
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    archive = stream_zip([(str(each), iter([LONG])) for each in range(3)], prefetch=2).read()
    assert oracles.members(archive) == {str(each): LONG for each in range(3)}
    assert started == []


@pytest.mark.parametrize("where", ["opened", "read"])
def test_what_a_thread_was_stopped_at_is_refused_then_and_closing_does_not_wait(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Hanging(where)
    stream = stream_zip([("first", iter([LONG, LONG])), ("second", source), ("third", iter([LONG]))], prefetch=1)
    next(stream)
    assert source.is_waited_for.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "is_finalizing", lambda: True)
        with pytest.raises(StreamStateError, match="'second' was being prefetched when the interpreter ended"):
            stream.read()
        stream.close()  # no warning, which is an error here
    source.may_go.set()
    assert source.is_closed.wait(60)
