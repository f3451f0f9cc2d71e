"""An interrupt between any two bytecodes: the stream goes on right or says that it failed, and nothing is left open.

A sample of the places is tried; with ZIPSTREAM_INTERRUPTS=all in the environment, each of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.interrupts import Alarm, File, Interrupted, Ledger, Outcome, Program, Source, read
from tests.support.strategies import noise
from tests.support.sweeps import WHOLE
from zipstream_adapter import Entry, StreamingZipFile, ZipLayout, stream_zip
from zipstream_adapter._concurrency.closing import Closing
from zipstream_adapter._entries.source import OpenSource

# The interrupts are raised by a trace function. On CPython 3.12 that can leave frames on which the collector crashes.
pytestmark = pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="CPython 3.12 can crash if a trace function raises"
)

DATE = 1_000_000_000
_ALL = os.environ.get("ZIPSTREAM_INTERRUPTS") == "all"
_SAMPLE = 25 if WHOLE else 10
LONG = noise(3, 200_000)
SMALL = noise(4, 900)


class Streaming(Program):
    """A stream, pulled chunk by chunk."""

    options: dict[str, Any] = {}  # noqa: RUF012
    how = "next"
    stops_after = -1

    def entries(self) -> Any:
        raise NotImplementedError

    def run(self) -> None:
        self.stream = stream_zip(self.entries(), chunk_size=20_000, **self.options)
        if self.how == "with":
            with self.stream as stream:
                self._pull(stream)
        elif self.how == "drop":
            stream, self.stream = self.stream, None
            self._pull(stream)
            del stream
        else:
            self._pull(self.stream)
            if self.how == "close":
                self.stream.close()
        self.ended = self.stops_after < 0

    def _pull(self, stream: Any) -> None:
        left = self.stops_after
        while left:
            left -= 1
            chunk = stream.read(7777) if self.how == "read" else next(stream, b"")
            if not chunk:
                return
            self.out.append(chunk)

    def go_on(self) -> None:
        if self.stream is not None and not self.stream.closed:
            self._pull(self.stream)
            self.ended = self.stops_after < 0

    def let_go(self) -> None:
        if self.stream is not None:
            self.stream.close()


class Pairs(Streaming):
    def entries(self) -> Any:
        return [("a", SMALL), ("b", LONG), ("c", SMALL), Entry("d", LONG, modified=DATE), ("e/", b"")]


class Sources(Streaming):
    def entries(self) -> Iterator[Any]:
        ledger = self.ledger
        yield "iterator", Source(ledger, [SMALL])
        yield "file", File(ledger, [SMALL, SMALL])
        yield "long", Source(ledger, [LONG, SMALL])
        yield "made", lambda: Source(ledger, [SMALL])
        yield "made file", lambda: File(ledger, [LONG])
        yield "generator", (chunk for chunk in [SMALL, SMALL])
        yield Entry("declared", Source(ledger, [SMALL]), size=len(SMALL), modified=DATE)


class Fetched(Sources):
    options = {"prefetch": 2}  # noqa: RUF012


class Deflated(Sources):
    options = {"compression": "deflate", "level": 1, "workers": 2}  # noqa: RUF012

    def entries(self) -> Iterator[Any]:
        yield "blocks", Source(self.ledger, [LONG] * 4)
        for number in range(6):
            yield f"small{number}", LONG[:90_000]


class Skipping(Streaming):
    def __init__(self) -> None:
        super().__init__()
        self.options = {"on_error": self.on_error}

    def on_error(self, entry: Any, error: Exception) -> None:
        if isinstance(error, Alarm) and error.args:
            raise error

    def entries(self) -> Iterator[Any]:
        for number in range(2):
            yield f"fails{number}", Source(self.ledger, [SMALL], fails=True)
            yield Entry(f"good{number}", File(self.ledger, [SMALL]), modified=DATE)
            yield f"failing file{number}", File(self.ledger, [SMALL], fails=True)
            yield f"pair{number}", SMALL


class SkippingFetched(Skipping):
    def __init__(self) -> None:
        super().__init__()
        self.options["prefetch"] = 2


class Files(Streaming):
    folder = Path()

    def entries(self) -> Any:
        small, large = self.folder / "small", self.folder / "large"
        return [small, large, ("again", small), Entry.from_path(large, name="and again")]


class Written(Program):
    """An archive that is written to, as with zipfile."""

    def run(self) -> None:
        self.stream = archive = StreamingZipFile(chunk_size=1000, lookahead=100)
        with archive:
            archive.writestr("a", SMALL)
            self.out.append(archive.drain())
            with archive.open("b", "w") as member:
                member.write(LONG)
                member.write(SMALL)
            self.out.append(archive.drain())
            archive.mkdir("c")
            archive.writestr("d", SMALL)
        self.out.append(archive.drain())
        self.ended = True

    def go_on(self) -> None:
        if self.stream is None:
            return
        self.stream.writestr("a", SMALL)
        self.stream.close()
        self.out.append(self.stream.drain())

    def let_go(self) -> None:
        with suppress(ValueError, OSError, AttributeError):
            self.stream.close()


class Retried(Written):
    """One whose user writes a member again that was interrupted."""

    def run(self) -> None:
        self.left = ["a", "b", "c"]
        self.stream = archive = StreamingZipFile(chunk_size=1000, lookahead=100)
        self._write(archive)

    def _write(self, archive: StreamingZipFile) -> None:
        while self.left:
            archive.writestr(self.left[0], SMALL)
            self.left.pop(0)
            self.out.append(archive.drain())
        archive.close()
        self.out.append(archive.drain())
        self.ended = True

    def go_on(self) -> None:
        if self.stream is None:
            return
        if self.left and self.left[0] in self.stream.namelist():
            self.left.pop(0)
        self._write(self.stream)


class Ranges(Program):
    def run(self) -> None:
        layout = self._layout()
        self.stream = layout.iter_range()
        self._pull()

    def _pull(self) -> None:
        while chunk := next(self.stream, b""):
            self.out.append(chunk)
        self.ended = True

    def go_on(self) -> None:
        if self.stream is not None:
            self._pull()

    def _layout(self) -> ZipLayout:
        made = Entry("made", lambda: Source(self.ledger, [LONG]), size=len(LONG), modified=DATE)
        return ZipLayout([Entry("a", SMALL, modified=DATE), made, Entry("b", LONG, modified=DATE)], chunk_size=20_000)

    def let_go(self) -> None:
        if self.stream is not None:
            self.stream.close()


class LayoutFile(Ranges):
    def run(self) -> None:
        self.stream = self._layout().open()
        self._read()

    def _read(self) -> None:
        while chunk := self.stream.read(30_000):
            self.out.append(chunk)
        self.ended = True

    def go_on(self) -> None:
        if self.stream is not None:
            self._read()


class Sought(LayoutFile):
    """The file of a layout, in which somebody seeks; an interrupted step is done again."""

    def _read(self) -> None:
        size = self._layout().size
        while (at := sum(map(len, self.out))) < size:
            self.stream.seek(max(0, at - 50_000))
            self.stream.seek(at)
            self.out.append(self.stream.read(30_000))
        self.ended = True


def variant(base: type[Streaming], how: str, stops_after: int = -1) -> type[Streaming]:
    name = f"{base.__name__}-{how}" + (f"-{stops_after}" if stops_after >= 0 else "")
    return type(name, (base,), {"how": how, "stops_after": stops_after})


KINDS: list[type[Program]] = [Pairs, Files, Sources, Fetched, Deflated, Skipping, SkippingFetched, Written, Retried]
KINDS += [Ranges, LayoutFile, Sought, variant(Pairs, "read"), variant(Sources, "with")]
KINDS += [variant(base, "close", count) for base in (Sources, Fetched, Deflated) for count in (0, 3)]
KINDS += [variant(base, "drop", 3) for base in (Sources, Fetched, Deflated)]


@pytest.mark.timeout(0 if _ALL else 300)
@pytest.mark.parametrize("error", [KeyboardInterrupt, Alarm])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:Duplicate name")
def test_an_interrupt_loses_nothing_and_leaves_nothing_open(
    kind: type[Program], error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest's own hook keeps what was raised, and so the frames that hold what is to be collected.
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    if kind is Files:
        (tmp_path / "small").write_bytes(SMALL)
        (tmp_path / "large").write_bytes(LONG)
        Files.folder = tmp_path
    tally, faults = sweep(kind, error)
    print(f"{kind.__name__}, {error.__name__}: {sum(tally.values())} places: {dict(tally)}")  # noqa: T201
    assert not faults, "\n".join(faults)


class Entered(Source):
    """A context manager, which is opened once it was entered."""

    close = None  # type: ignore[assignment]

    def __enter__(self) -> Iterator[bytes]:
        self.opened = 1
        return iter(self._chunks)

    def __exit__(self, *args: object) -> None:
        self.closed += 1


class EnteredFile(Entered):
    """One that gives itself, which is read."""

    __iter__ = None  # type: ignore[assignment]

    def __enter__(self) -> Any:
        self.opened = 1
        return self

    def read(self, size: int = -1) -> bytes:
        return next(self._chunks, b"")


class Process(subprocess.Popen[bytes]):
    """A process that is over, and whose output is a source."""

    def __init__(self, ledger: Ledger, chunks: list[bytes]) -> None:
        self.stdout: Any = File(ledger, chunks)
        self.args, self.returncode, self._child_created = ["program"], 0, False

    def wait(self, timeout: float | None = None) -> int:
        return 0


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("kind", [Source, File, Entered, EnteredFile, Process])
def test_an_interrupt_leaves_no_source_open(
    kind: Callable[[Ledger, list[bytes]], Any], called: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each bytecode from its opening to its closing; in a plain run at every seventh."""
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    at, is_over = 0, False
    while not is_over:
        at += 1 if WHOLE else 7
        ledger, closing = Ledger(), Closing()
        source = kind(ledger, [SMALL, SMALL])
        entry = Entry("a", (lambda made=source: made) if called else source)
        interrupted = Interrupted(at)
        with suppress(KeyboardInterrupt), interrupted:
            opened = OpenSource(entry, closing=closing)
            assert len(list(opened)) == 2
            opened.close()
        closing.close()
        is_over = interrupted.count < at
        assert not ledger.faults(), (at, interrupted.where, ledger.faults())
        del source, entry
    assert at > 100


def sweep(make: Callable[[], Program], error: type[BaseException]) -> tuple[Counter[str], list[str]]:
    """How the runs ended, and what was wrong, for each place, or a sample of them."""
    expected = whole(make)
    plain = Outcome(make, -1, error, expected)
    assert not plain.faults, plain.faults
    tally: Counter[str] = Counter()
    faults: list[str] = []
    step = 1 if _ALL else max(1, plain.count // _SAMPLE)
    for at in range(1 + plain.count % step, plain.count + 1, step):
        outcome = Outcome(make, at, error, expected)
        tally[outcome.how] += 1
        faults += [f"{at} {outcome.where}: {outcome.how}: {fault}" for fault in outcome.faults]
    return tally, faults


def whole(make: Callable[[], Program]) -> dict[str, bytes]:
    """Name -> data of all that the program puts into its archive, if nothing interrupts it."""
    program = make()
    if isinstance(program, Streaming):
        program.stops_after = -1
    program.run()
    members = read(b"".join(program.out))
    program.let_go()
    assert members
    return members
