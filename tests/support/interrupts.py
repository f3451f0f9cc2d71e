"""Interrupts between two bytecodes: a program is run again and again, and is interrupted at another place each time.

A place is a bytecode of the package that is about to be executed in the main thread. There, a trace function raises
what a signal handler would.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dis import get_instructions, opname
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import zipstream_adapter
from tests.support.executors import none_left
from zipstream_adapter import PoisonedError, StreamStateError
from zipstream_adapter._concurrency import ordered

PACKAGE = str(Path(zipstream_adapter.__file__).parent)
HANDLING = {"PUSH_EXC_INFO", "POP_EXCEPT", "RERAISE", "COPY", "WITH_EXCEPT_START", "CLEANUP_THROW"}
RETURNS = ("RETURN_VALUE", "RETURN_CONST", "RETURN_GENERATOR")


class Alarm(Exception):
    """What a signal handler raises to keep to a time limit: no more than any other exception."""


class Source:
    """A source that counts. It can be iterated over, or read where it `reads`."""

    def __init__(self, ledger: Ledger, chunks: list[bytes], *, fails: bool = False) -> None:
        ledger.sources.append(self)
        self.opened = self.closed = 0
        self._chunks = iter(chunks)
        self._fails = fails

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.opened = 1
        chunk = next(self._chunks, None)
        if chunk is None and self._fails:
            raise OSError("the source failed")
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self.closed += 1


class File(Source):
    """One that is read."""

    __iter__ = None  # type: ignore[assignment]

    def read(self, size: int = -1) -> bytes:
        return next(self, b"")


class Ledger:
    """All sources of one run."""

    def __init__(self) -> None:
        self.sources: list[Source] = []

    def faults(self) -> list[str]:
        counts = Counter((each.opened, each.closed) for each in self.sources)
        return [f"opened {o}, closed {c}: {n}" for (o, c), n in counts.items() if c > 1 or (o and not c)]


class Interrupted:
    """Raises `error` at the place number `at` of those that its `with` block comes by; counts them all.

    The end of an outermost function of the package is none: a value that is returned is the caller's, and the
    interpreter looks for signals before that. Nor is the way from the end of a ``with`` block to its ``__exit__``: it
    looks for none there, or locks would stay locked. Nor are the steps by which it begins and ends the handling of an
    exception: one would be handled for good.
    """

    current: Interrupted

    def __init__(self, at: int = -1, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.count = 0
        self.where = ""
        self._at = at
        self._error = error
        self._last: dict[FrameType, str] = {}

    def __enter__(self) -> Interrupted:
        Interrupted.current = self
        sys.settrace(_called)
        return self

    def __exit__(self, *args: object) -> None:
        sys.settrace(None)
        self._last.clear()

    def step(self, frame: FrameType) -> None:
        name = opname[frame.f_code.co_code[frame.f_lasti]]
        before, self._last[frame] = self._last.get(frame, ""), name
        caller = frame.f_back
        if name in RETURNS and (caller is None or not caller.f_code.co_filename.startswith(PACKAGE)):
            return
        if name in HANDLING or frame.f_lasti in with_exits(frame.f_code):
            return
        self.count += 1
        if self.count == self._at:
            path = os.path.relpath(frame.f_code.co_filename, PACKAGE)
            self.where = f"{path}:{frame.f_lineno} {frame.f_code.co_name} {before} > {name}"
            raise self._error


@cache
def with_exits(code: CodeType) -> frozenset[int]:
    """The instructions that call the ``__exit__`` of a ``with`` block that ends: a call of three times None."""
    found: set[int] = set()
    steps = [each for each in get_instructions(code) if each.opname not in ("CACHE", "PRECALL", "NOP")]
    for at in range(1, len(steps) - 3):
        nones, call = steps[at : at + 3], steps[at + 3]
        is_exit = call.opname == "CALL" and call.arg == 2
        if is_exit and all("LOAD_CONST" in each.opname and each.argval is None for each in nones):
            first = steps[at - 1] if steps[at - 1].opname == "SWAP" else nones[0]  # a value that is returned
            found.update(range(first.offset, call.offset + 1))
    return frozenset(found)


# Functions that live on: the interpreter may call one once more while it is being replaced.
def _called(frame: FrameType, event: str, arg: Any) -> Any:
    if not frame.f_code.co_filename.startswith(PACKAGE):
        return None
    frame.f_trace_opcodes = True
    frame.f_trace_lines = False
    return _stepped


def _stepped(frame: FrameType, event: str, arg: Any) -> Any:
    if event == "opcode":
        Interrupted.current.step(frame)
    return _stepped


class Program:
    """What is interrupted. `run` puts what leaves into `out`."""

    skipped: Any = ()

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.out: list[bytes] = []
        self.stream: Any = None
        self.ended = False  # whether it says that all has left

    def run(self) -> None:
        raise NotImplementedError

    def go_on(self) -> None:
        """Do what somebody does who has caught the interrupt and tries again."""

    def let_go(self) -> None:
        """Close what there is."""


class Outcome:
    """What came of one run of a program that was interrupted."""

    def __init__(self, make: Callable[[], Program], at: int, error: type[BaseException], expected: dict[str, bytes]):
        self.faults: list[str] = []
        before = set(threading.enumerate())
        files = open_files()
        program = make()
        self.how = "unharmed"
        interrupted = Interrupted(at, error)
        caught: Any = None
        try:
            with interrupted:
                program.run()
        except (KeyboardInterrupt, Alarm) as exc:
            caught = type(exc)
        except (PoisonedError, StreamStateError, OSError, zipfile.BadZipFile):
            self.how = "poisoned"
        self.count, self.where = interrupted.count, interrupted.where
        self.reached = 0 < at <= self.count
        if caught:
            self.how = "raised"
            try:
                program.go_on()
            except (PoisonedError, StreamStateError, ValueError):
                self.how = "poisoned"
        program.skipped = getattr(program.stream, "skipped", ())
        self._judge(program, expected)
        program.let_go()
        names = names_of(program.skipped)
        program.stream = None
        gc.collect() if program.ledger.faults() else None
        self.faults += program.ledger.faults()
        if len(names) != len(set(names)):
            self.faults.append(f"skipped twice: {names}")
        if threading.active_count() > len(before) and not none_left(before):
            self.faults.append("a thread is left")
        if ordered._pool._holders:
            self.faults.append("the pool is left")
            ordered._pool._holders.clear()
        if not repr(ordered._pool._lock).startswith("<unlocked"):
            self.faults.append("the pool is locked")
        if sys.exception() is not None:
            self.faults.append(f"an exception is handled for good: {sys.exception()!r}")
        if open_files() > files:
            gc.collect()
            until = time.monotonic() + 30  # other threads of this process may have one open for a moment
            while open_files() > files and time.monotonic() < until:
                time.sleep(0.01)
            if open_files() > files:
                self.faults.append("a file is left open")

    def _judge(self, program: Program, expected: dict[str, bytes]) -> None:
        data = b"".join(program.out)
        members = read(data)
        skipped = names_of(program.skipped)
        if members is None:
            if program.ended:
                self.faults.append("ended with less than an archive")
            return
        self.how += ", whole"
        wanted = {name: content for name, content in expected.items() if name not in skipped}
        if members != wanted:
            self.faults.append(f"looks whole: {sorted(members)}, skipped {skipped}")


def names_of(skipped: Any) -> list[str]:
    """The names of what was left out: entries, or what was to become some."""
    return [entry[0] if isinstance(entry, tuple) else entry.name for entry, _ in skipped]


def read(data: bytes) -> dict[str, bytes] | None:
    """The members of an archive; None for what is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:
        return None


def open_files() -> int:
    """The descriptors of this process, where the system tells."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
