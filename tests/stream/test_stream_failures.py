"""How a stream fails, forgives, ends and is closed."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracles
from tests.support.strategies import Watched
from zipstream_adapter import (
    CRC32MismatchError,
    DuplicateNameError,
    Entry,
    EntryError,
    EntryTypeError,
    LimitError,
    OptionError,
    PoisonedError,
    SizeMismatchError,
    StreamClosedError,
    StreamStateError,
    UnsafeNameError,
    ZipStream,
    stream_zip,
)

_TEN = b"0123456789"


class BoomError(Exception):
    """What a user's own code raises."""


def explode(*_: Any) -> Any:
    raise BoomError("boom")


def assert_ended(stream: ZipStream, kind: type[Exception] = PoisonedError) -> None:
    """Not one more byte leaves a stream that failed or was closed, whoever asks and however often."""
    asks: list[Callable[[], object]] = [stream.__next__, stream.read, lambda: stream.read(1), lambda: iter(stream)]
    asks.append(lambda: stream.readinto(bytearray(1)))
    for ask in asks:
        with pytest.raises(kind):
            ask()
    stream.close()
    with pytest.raises(kind):
        next(stream)


# Promises.


@pytest.mark.parametrize("method", ["stored", "deflate"])
@pytest.mark.parametrize("lookahead", [0, 65536])
@pytest.mark.parametrize(
    ("options", "kind", "asked"),
    [
        ({"size": 15}, SizeMismatchError, 2),
        ({"size": 29}, SizeMismatchError, 3),
        ({"size": 0}, SizeMismatchError, 1),
        ({"size": 15, "crc32": 1}, SizeMismatchError, 2),
        ({"size": 31}, SizeMismatchError, 4),
        ({"size": 31, "crc32": zlib.crc32(_TEN * 3)}, SizeMismatchError, 4),
        ({"size": 30, "crc32": 1}, CRC32MismatchError, 3),
        ({"crc32": 1}, CRC32MismatchError, 4),
    ],
)
def test_broken_promise_ends_the_stream_as_soon_as_it_shows(
    options: dict[str, Any], kind: type[Exception], asked: int, lookahead: int, method: Any
) -> None:
    source = Watched([_TEN] * 3)
    left: list[bytes] = []
    stream = stream_zip(
        [("before", b"1"), Entry("liar", source, compression=method, **options)], lookahead=lookahead, chunk_size=0
    )
    with pytest.raises(kind, match="'liar'"):
        left.extend(stream)
    assert (source.asked, source.closed) == (asked, 1)
    assert_ended(stream)
    assert not oracles.python(b"".join(left))


@pytest.mark.parametrize("source", [b"123", bytearray(b"123"), lambda: b"123"])
def test_size_that_data_in_memory_does_not_have_is_refused_before_its_first_byte(source: Any) -> None:
    stream = stream_zip([Entry("liar", source, size=4)], on_error=lambda entry, error: None)
    assert oracles.members(stream.read()) == {}
    assert isinstance(stream.skipped[0].error, SizeMismatchError)


# Failures, and what is known of them.


@pytest.mark.parametrize("error", [BoomError("boom"), OSError(5, "no disk"), KeyError("k"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["call", "first", "late", "read", "close"])
def test_exceptions_of_the_users_pass_unchanged_with_a_note(error: BaseException, where: str) -> None:
    class File(Watched):
        def read(self, size: int) -> Any:
            return next(self)

    steps: dict[str, list[Any]] = {"late": [b"x" * 99, error], "close": [b"x"]}
    kind = File if where == "read" else Watched
    source = kind(steps.get(where, [error]), close_error=error if where == "close" else None)
    call = Watched([error])
    stream = stream_zip([("ok", b""), ("my-name", call.__next__ if where == "call" else source)], lookahead=10)
    with pytest.raises(type(error)) as caught:
        stream.read()
    assert caught.value is error
    # Ctrl-C is nobody's failure: it passes as it is.
    noted = any("'my-name'" in note for note in getattr(error, "__notes__", []))
    assert noted == isinstance(error, Exception)
    assert source.closed == (where != "call")
    assert_ended(stream)


def test_an_exception_of_the_entries_passes_unchanged() -> None:
    error = BoomError()
    entries = Watched([("a", b"1"), error])
    stream = stream_zip(entries)
    with pytest.raises(BoomError) as caught:
        stream.read()
    assert caught.value is error
    assert entries.closed == 1
    assert_ended(stream)


def test_a_stop_iteration_in_a_callable_does_not_pass_for_the_end() -> None:
    empty: Iterator[bytes] = iter(())
    stream = stream_zip([("a", lambda: next(empty)), ("b", b"")])
    with pytest.raises(RuntimeError):
        stream.read()
    assert_ended(stream)


def test_a_second_failure_on_closing_does_not_hide_the_first() -> None:
    source = Watched([b"1", BoomError("first")], close_error=OSError("second"))
    stream = stream_zip([("a", source)])
    with pytest.raises(BoomError, match="first") as caught:
        stream.read()
    assert any("second" in note for note in caught.value.__notes__)
    assert source.closed == 1


@pytest.mark.parametrize("item", [None, 5, b"bytes", ("a",), ("a", b"", 1), {"file": b"x"}, {"name": "a", "nome": 1}])
def test_items_that_are_no_entries_end_the_stream(item: Any) -> None:
    stream = stream_zip([("before", b"1"), item])
    with pytest.raises(EntryTypeError):
        stream.read()
    assert_ended(stream)


@pytest.mark.parametrize("source", ["text", ["text"], [5], 5, 1.5, None, object(), lambda: 5, io.StringIO("text")])
def test_sources_that_are_no_data_name_their_entry(source: Any) -> None:
    stream = stream_zip([("before", b"1"), ("odd", source)])
    with pytest.raises(EntryTypeError, match="'odd'"):
        stream.read()
    assert_ended(stream)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"compression": "xz"}, OptionError),
        ({"compression": 95}, OptionError),
        ({"level": 23}, OptionError),
        ({"compression": "deflate", "level": 10}, OptionError),
        ({"compression": "bzip2", "level": 0}, OptionError),
        ({"chunk_size": -1}, OptionError),
        ({"chunk_size": 1.5}, OptionError),
        ({"lookahead": -1}, OptionError),
        ({"lookahead": True}, OptionError),
        ({"comment": "text"}, EntryTypeError),
        ({"comment": b"x" * 65536}, LimitError),
        ({"names": "loose"}, OptionError),
        ({"duplicates": "skip"}, OptionError),
        ({"on_error": "skip"}, OptionError),
        ({"on_progress": 5}, OptionError),
        ({"chunksize": 5}, TypeError),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        stream_zip([], **options)


@pytest.mark.parametrize("entries", [5, None, "path", b"data", Path("x"), Entry("a", b""), {"name": "a"}])
def test_entries_are_checked_at_once(entries: Any) -> None:
    with pytest.raises(EntryTypeError, match="entries="):
        stream_zip(entries)


# on_error.


def test_on_error_leaves_an_entry_out_and_the_stream_says_so() -> None:
    seen: list[tuple[Any, Exception]] = []
    bad = Entry("missing", Path("no-such-file"))
    unsafe, boom = Entry("../up", b""), Entry("boom", explode)
    late = Watched([b"x" * 50, BoomError()])
    entries: list[Any] = [("a", b"1"), bad, unsafe, ("a", b"2"), boom, 5, ("late", late), ("z", b"9")]
    stream = stream_zip(entries, on_error=lambda entry, error: seen.append((entry, error)))
    archive = stream.read()
    assert oracles.members(archive) == {"a": b"1", "z": b"9"}
    assert [info.filename for info in stream.infolist()] == ["a", "z"]
    assert seen == stream.skipped
    assert [type(error) for _, error in seen] == [
        FileNotFoundError, UnsafeNameError, DuplicateNameError, BoomError, EntryTypeError, BoomError,
    ]  # fmt: skip
    assert [entry for entry, _ in seen[:3]] == [bad, unsafe, Entry("a", b"2")]
    assert seen[4][0] == 5
    assert late.closed == 1


@pytest.mark.parametrize("name", ["a", "other"])
@pytest.mark.parametrize("lookahead", [100, 65536])
def test_on_error_puts_another_entry_in_the_place(name: str, lookahead: int) -> None:
    source = Watched([b"1" * 60, BoomError()])
    stream = stream_zip(
        [("a", source), ("b", b"")],
        lookahead=lookahead,
        on_error=lambda entry, error: Entry(name, f"{entry.name}: {error!r}".encode()),
    )
    assert oracles.members(stream.read()) == {name: b"a: BoomError()", "b": b""}
    assert stream.skipped == []
    assert source.closed == 1


def test_on_error_that_raises_ends_the_stream() -> None:
    stream = stream_zip([("ok", b""), ("a", [5])], on_error=explode)  # type: ignore[list-item]
    with pytest.raises(BoomError) as caught:
        stream.read()
    assert isinstance(caught.value.__context__, EntryTypeError)
    assert_ended(stream)


@pytest.mark.parametrize("answer", [True, ("a", b""), "a", b""])
def test_on_error_may_return_an_entry_or_none_only(answer: Any) -> None:
    stream = stream_zip([("a", explode)], on_error=lambda entry, error: answer)
    with pytest.raises(EntryTypeError, match="on_error returned") as caught:
        stream.read()
    assert isinstance(caught.value.__cause__, BoomError)
    assert_ended(stream)


def test_replacements_that_fail_without_end_end_the_stream() -> None:
    asked: list[Any] = []

    def again(entry: Any, error: Exception) -> Entry:
        asked.append(entry)
        return Entry(f"again-{len(asked)}", explode)

    stream = stream_zip([("a", explode), ("b", b"")], on_error=again)
    with pytest.raises(BoomError) as caught:
        stream.read()
    assert 1 < len(asked) < 100
    assert any("in a row" in note for note in caught.value.__notes__)
    assert_ended(stream)


@pytest.mark.parametrize("error", [BoomError(), KeyboardInterrupt()])
def test_on_error_is_not_asked_where_nothing_can_be_mended(error: BaseException) -> None:
    def no_question(entry: Any, error: Exception) -> None:
        pytest.fail(f"asked about {entry}: {error!r}")

    first_byte_left = stream_zip(
        [("a", Watched([b"x" * 50, error]))], compression="stored", lookahead=20, on_error=no_question
    )
    entries_failed = stream_zip(Watched([("a", b""), error]), on_error=no_question)

    def callback(progress: Any) -> None:
        raise error

    callback_failed = stream_zip([("a", b"1")], on_progress=callback, on_error=no_question)
    for stream in (first_byte_left, entries_failed, callback_failed):
        with pytest.raises(type(error)):
            stream.read()
        assert_ended(stream)


def test_on_error_is_asked_up_to_the_first_byte_and_not_after() -> None:
    for reads in range(1, 6):
        source = Watched([*([_TEN] * reads), BoomError()])
        entries: list[Any] = [("a", source), ("b", b"")]
        stream = stream_zip(entries, compression="stored", lookahead=30, on_error=lambda entry, error: None)
        if reads <= 3:
            assert oracles.members(stream.read()) == {"b": b""}
        else:
            with pytest.raises(BoomError):
                stream.read()
            assert_ended(stream)


# The end, and before it.


def test_a_finished_stream_gives_nothing_more() -> None:
    stream = stream_zip([("a", b"1")])
    whole = b"".join(stream)
    assert oracles.members(whole) == {"a": b"1"}
    for _ in range(2):
        assert (stream.read(), stream.read(1), next(stream, None)) == (b"", b"", None)
        for ask in (lambda: list(stream), lambda: b"".join(stream), lambda: iter(stream)):
            with pytest.raises(StreamStateError, match="already read to its end"):
                ask()
        stream.close()
    assert [info.filename for info in stream.infolist()] == ["a"]


@pytest.mark.parametrize("entries", [[], [("a", b"1")], [("failing", explode)]])
def test_closed_is_whether_close_was_called(entries: list[Any]) -> None:
    stream = stream_zip(entries)
    with contextlib.suppress(BoomError):
        stream.read()
    assert not stream.closed
    stream.close()
    assert stream.closed


def test_infolist_grows_with_the_members_that_are_finished() -> None:
    entries = [("a", [b"1", b"2"]), ("b", [b"3" * 9, b"4"])]
    stream = stream_zip(entries, compression="stored", chunk_size=0, lookahead=0)
    finished = []
    for _ in stream:
        finished.append([info.filename for info in stream.infolist()])
        assert stream.member_count == len(finished[-1])
    assert finished[0] == []
    assert [names for names, _ in itertools.groupby(finished)] == [[], ["a"], ["a", "b"]]


_OPTIONS: dict[str, Any] = {"lookahead": 10, "chunk_size": 1, "extended_timestamps": False}
# Bytes that are read of the archive of _entries(), and sources that were opened by then.
POINTS = {
    "before the first byte": (0, 0),
    "inside a member": (60, 1),
    "between members": (30 + 1 + 100 + 10, 1),  # in the first one's descriptor
    "inside the directory": (2 * (30 + 1 + 100 + 16) + 5, 2),
    "at the last chunk": (2 * (30 + 1 + 100 + 16 + 46 + 1) + 22, 2),
    "after the end": (-1, 2),
}


def _entries() -> list[tuple[str, Watched]]:
    return [(name, Watched([b"x" * 50, b"y" * 50])) for name in "ab"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("how", ["close", "with", "with and an exception", "drop"])
def test_abandoning_closes_the_open_source_and_the_entries_once(how: str, point: str) -> None:
    made = _entries()
    entries = Watched(made)
    size, opened = POINTS[point]
    gc.disable()  # a source that waits for the cycle collector is not closed
    try:
        stream = stream_zip(entries, **_OPTIONS)
        assert len(stream.read(size)) >= size
        if how == "close":
            stream.close()
            stream.close()
        elif how == "with":
            with stream:
                pass
        elif how == "with and an exception":
            with pytest.raises(BoomError), stream:
                explode()
        del stream
        # Nothing was begun where a stream is dropped at once.
        assert entries.closed == (how != "drop" or size != 0)
        assert [source.closed for _, source in made] == [1] * opened + [0] * (2 - opened)
    finally:
        gc.enable()


@pytest.mark.parametrize("point", list(POINTS)[:4])
def test_a_closed_stream_says_so(point: str) -> None:
    stream = stream_zip(_entries(), **_OPTIONS)
    stream.read(POINTS[point][0])
    stream.close()
    assert stream.closed
    assert_ended(stream, StreamClosedError)


def test_bytes_that_read_left_over_do_not_outlive_close() -> None:
    stream = stream_zip([("a", b"x" * 100)])
    stream.read(10)
    stream.close()
    assert_ended(stream, StreamClosedError)


def test_streams_that_are_refused_or_never_begun_go_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    stream = stream_zip([("a", b"")])
    del stream
    with pytest.raises(EntryTypeError):
        stream_zip(5)  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        stream_zip([], names="loose")  # type: ignore[arg-type]
    gc.collect()
    assert [str(problem.exc_value) for problem in unraisable] == []


# Re-entrance.


@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize("where", ["on_progress", "on_error", "source", "entries"])
@pytest.mark.parametrize("ask", [next, ZipStream.read, ZipStream.close])
def test_a_stream_cannot_be_used_from_inside(ask: Callable[[ZipStream], object], where: str, swallowed: bool) -> None:
    def reenter(*_: Any) -> None:
        try:
            ask(stream)
        except StreamStateError:
            if not swallowed:
                raise

    def source() -> Iterator[bytes]:
        reenter()
        yield b"1"

    def entries() -> Iterator[Any]:
        yield ("a", source() if where == "source" else b"1")
        if where == "entries":
            reenter()
        if where == "on_error":
            yield ("b", explode)

    callback: dict[str, Any] = {where: reenter} if where.startswith("on_") else {}
    stream = stream_zip(entries(), **callback)
    if swallowed:
        assert oracles.members(stream.read()) == {"a": b"1"}
    else:
        with pytest.raises(StreamStateError, match="next chunk"):
            stream.read()
        assert_ended(stream)


def test_name_errors_are_entry_errors_that_name_the_entry() -> None:
    with pytest.raises(EntryError, match=r"'\.\./x'"):
        stream_zip([("../x", b"")]).read()
