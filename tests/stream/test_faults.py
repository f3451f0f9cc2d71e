"""Every failure that can be made to happen in a small archive: afterwards nothing leaves, and nothing looks whole.

Each kind of archive is made over and over, and fails another way each time: at every read of a source, every step of
the entries, every opening and closing, every progress report, and wherever the consumer can stop. What had left by
then is judged by the standard library, and a spread of it by unzip and bsdtar.
"""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

import pytest

from tests.support import oracles
from tests.support.faults import BoomError, Ledger, Outputs, kept_ledger, reads
from tests.support.strategies import noise
from tests.support.sweeps import pairs
from zipstream_adapter import Entry, PoisonedError, StreamClosedError, ZipStream, stream_zip

CHUNK_SIZES = (0, 1, 100, 65536)


@pytest.fixture(scope="module")
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    yield from kept_ledger(request)


OnError = Callable[[Any, Exception], Entry | None]


class Kind(NamedTuple):
    """A kind of small archive."""

    method: int
    long: bool  # whether its first member passes the lookahead
    promised: bool  # whether its size and checksum are declared
    dressed: bool  # whether it has a directory and a comment

    def __str__(self) -> str:
        facts = ["long" if self.long else "short", "promised" * self.promised, "dressed" * self.dressed]
        return "-".join([f"method{self.method}", *filter(None, facts)])

    def is_read_by(self, who: str) -> bool:
        """Whether `who` reads such an archive when it is whole."""
        return reads(who, self.method, self.long)


KINDS = [
    Kind(*facts)
    for facts in pairs((ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA), (False, True), (False, True), (False, True))
]


class Run:
    """One archive of `kind` in which the step `index` of those called `what` raises `error`; it counts all steps."""

    def __init__(self, kind: Kind, what: str = "", index: int = -1, error: BaseException | None = None) -> None:
        self.kind = kind
        self.steps: Counter[str] = Counter()
        self._fault = (what, index, error)
        self.opened = self.closed = 0

    def step(self, what: str) -> None:
        fault, index, error = self._fault
        self.steps[what] += 1
        if what == fault and self.steps[what] == index + 1:
            assert error is not None
            raise error

    def stream(self, chunk_size: int, on_error: OnError | None = None) -> ZipStream:
        return stream_zip(
            Steps(self, "entry step", "entries close", self._entries()),
            chunk_size=chunk_size,
            # 16 times as many bytes of data may wait for a compressor that has put nothing out yet.
            lookahead=1 if self.kind.long else 100,
            extended_timestamps=False,
            comment=b"bye" if self.kind.dressed else b"",
            on_progress=lambda progress: self.step("progress"),
            on_error=on_error,
        )

    def _entries(self) -> list[Entry]:
        options: dict[str, Any] = {"modified": 1_000_000_000, "compression": self.kind.method}
        # A low level, so that making the compressor is not what takes the time.
        options["level"] = {ZIP_STORED: None, ZIP_DEFLATED: 6}.get(self.kind.method, 1)
        data = noise(1, 4 * 8 if self.kind.long else 4)
        promises: dict[str, Any] = {"size": len(data), "crc32": zlib.crc32(data)} if self.kind.promised else {}
        chunks = [data[at : at + len(data) // 4] for at in range(0, len(data), len(data) // 4)]
        entries = [
            Entry("a", lambda: self._open(chunks), **options, **promises),
            Entry("b", lambda: self._open([b"b"])),
        ]
        return [Entry.directory("c", modified=1_000_000_000), *entries] if self.kind.dressed else entries

    def _open(self, chunks: list[bytes]) -> Steps:
        self.step("open")
        return Steps(self, "read", "source close", chunks)


class Steps:
    """An iterator whose steps and close are steps of `run`."""

    def __init__(self, run: Run, step: str, close: str, items: list[Any]) -> None:
        self._run, self._step, self._close = run, step, close
        self._items = iter(items)
        self._asked = self._closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._asked:
            self._asked = True
            self._run.opened += 1
        self._run.step(self._step)
        return next(self._items)

    def close(self) -> None:
        assert not self._closed, "closed twice"
        self._closed = True
        self._run.closed += self._asked
        self._run.step(self._close)


def assert_dead(stream: ZipStream, kind: type[Exception]) -> None:
    """Nothing more leaves, whoever asks: asserted by hand, since pytest.raises is slow, and this is done often."""
    asks: list[Callable[[], object]] = [stream.__next__, stream.read, lambda: list(stream)]
    for ask in (*asks, stream.close, *asks):
        try:
            more = ask()
        except kind:
            continue
        assert more is None, f"more left: {more!r}"
        assert ask == stream.close


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_after_any_failure_nothing_leaves_and_nothing_looks_whole(kind: Kind, ledger: Ledger, tmp_path: Path) -> None:
    plain = Run(kind)
    outputs = Outputs(ledger, plain.stream(0).read(), kind.is_read_by)
    assert plain.steps["read"] == 7
    assert plain.opened == plain.closed == 3
    for chunk_size, what in itertools.product(CHUNK_SIZES, plain.steps):
        for index, error in itertools.product(range(plain.steps[what]), (BoomError("boom"), KeyboardInterrupt())):
            run = Run(kind, what, index, error)
            left: list[bytes] = []
            stream = None
            try:
                stream = run.stream(chunk_size)
                left.extend(stream)
                pytest.fail(f"{what} {index} did not fail the stream")
            except (BoomError, KeyboardInterrupt) as exc:
                assert exc is error
            if stream is not None:
                assert_dead(stream, PoisonedError)
            assert run.opened == run.closed
            outputs.add(b"".join(left), what, f"{index}, chunk_size {chunk_size}")
    outputs.judge(tmp_path)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_wherever_the_consumer_stops_nothing_looks_whole(kind: Kind, ledger: Ledger, tmp_path: Path) -> None:
    outputs = Outputs(ledger, Run(kind).stream(0).read(), kind.is_read_by)
    for chunk_size in CHUNK_SIZES:
        # After the last chunk it is no stop: the archive is whole then.
        for count in range(len(list(Run(kind).stream(chunk_size)))):
            for how in ("close", "drop") if count else ("close",):
                run = Run(kind)
                stream = run.stream(chunk_size)
                left = b"".join(itertools.islice(stream, count))
                if how == "close":
                    stream.close()
                    assert_dead(stream, StreamClosedError)
                del stream
                assert run.opened == run.closed
                outputs.add(left, how, f"after chunk {count}, chunk_size {chunk_size}")
    outputs.judge(tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.dressed], ids=str)
def test_entries_that_fail_before_their_first_byte_can_be_left_out_and_others_cannot(kind: Kind) -> None:
    plain = Run(kind)
    plain.stream(0).read()
    outcomes: Counter[str] = Counter()
    faults = [(what, at) for what in ("open", "read", "source close") for at in range(plain.steps[what])]
    for fault in faults:
        run = Run(kind, *fault, BoomError())
        stream = run.stream(0, on_error=lambda entry, error: None)
        left: list[bytes] = []
        with suppress(BoomError):
            left.extend(stream)
        assert run.opened == run.closed
        skipped = [entry.name for entry, _ in stream.skipped]
        if skipped:
            # What is left is an archive of its own, as whole as if the entry had never been there.
            assert set(oracles.members(b"".join(left))) == {"a", "b", "c/"} - {*skipped}
            assert len(skipped) == 1
        else:
            assert_dead(stream, PoisonedError)
            assert not oracles.python(b"".join(left))
        outcomes["skipped" if skipped else "failed"] += 1
    assert len(faults) == 11
    assert (outcomes["failed"] > 0) == kind.long


def test_a_source_that_fails_on_closing_does_not_let_a_stopped_stream_go_on() -> None:
    for kind, count in itertools.product([Kind(ZIP_STORED, True, False, dressed) for dressed in (False, True)], (1, 3)):
        run = Run(kind, "source close", 0, BoomError())
        stream = run.stream(1)
        while not run.steps["read"]:
            next(stream)
        list(itertools.islice(stream, count))
        with pytest.raises(BoomError):
            stream.close()
        assert_dead(stream, StreamClosedError)
        assert run.opened == run.closed
