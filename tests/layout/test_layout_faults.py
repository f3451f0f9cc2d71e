"""What a layout refuses, and what ends a range: sources that are not, or no longer, what they were."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import descriptors
from tests.support.sweeps import pairwise
from zipstream_adapter import (
    CRC32MismatchError,
    DuplicateNameError,
    Entry,
    EntryError,
    EntryTypeError,
    IntegrityError,
    LimitError,
    NotAFileError,
    OptionError,
    SizeMismatchError,
    SourceChangedError,
    UnsafeNameError,
    Zip64RequiredError,
    ZipLayout,
    stream_zip,
)

DATE = 1_700_000_000
METHODS = [{"compression": "stored"}, {"compression": "deflate", "level": 0}]


async def coroutine() -> bytes:
    return b"x"


def every(chunks: Iterator[bytes]) -> tuple[bytes, BaseException | None]:
    """What came, and what ended it."""
    came: list[bytes] = []
    try:
        while chunk := next(chunks, b""):
            came.append(chunk)
    except Exception as exc:
        return b"".join(came), exc
    return b"".join(came), None


# At once.


@pytest.mark.parametrize(
    ("entry", "error", "says"),
    [
        (Entry("a", iter([b"x"]), size=1), EntryTypeError, "read only once.*callable"),
        (Entry("a", (b"x" for _ in range(1)), size=1), EntryTypeError, "read only once"),
        (Entry("a", io.BytesIO(b"x"), size=1), EntryTypeError, "read only once"),
        (Entry("a", lambda: [b"x"]), EntryError, "'a'.*size of its data is not known.*size="),
        (Entry("a", "text"), EntryTypeError, "'a'.*could be a path or text"),  # type: ignore[arg-type]
        (Entry("a", None, size=3), EntryTypeError, "'a' has no source"),
        (Entry("a", 3, size=3), EntryTypeError, "'a'.*which is not data"),  # type: ignore[arg-type]
        (Entry("a", {b"x"}, size=1), EntryTypeError, "its order has no meaning"),
        (Entry("a", coroutine, size=1), EntryTypeError, "'a'.*coroutine"),
        (Entry("a", ["text"]), EntryTypeError, "encode text to bytes"),  # type: ignore[list-item]
        (Entry("a", b"xy", size=1), SizeMismatchError, "'a'.*2 bytes, not the declared 1"),
        (Entry("a", [b"x", b"y"], size=1), SizeMismatchError, "'a'.*2 bytes, not the declared 1"),
        (Entry("a", b"", crc32=5), CRC32MismatchError, "'a'.*0x00000005"),
        (Entry("a/", b"data"), EntryTypeError, "'a/'.*directory"),
        (Entry("a/", lambda: b"", size=0), EntryTypeError, "'a/'.*directory"),
        (Entry("a", b"data", compression="deflate"), EntryError, "'a'.*'deflate'.*level=0"),
        (Entry("a", b"data", compression="deflate", level=6), EntryError, "'a'.*level=6"),
        (Entry("a", b"data", compression="bzip2"), EntryError, "'a'.*'bzip2'"),
        (Entry("a", b"", compression="lzma"), EntryError, "'a'.*'lzma'"),
        (Entry("../a", b""), UnsafeNameError, r"'\.\./a'"),
        (Entry("a", lambda: b"", size=1 << 32, zip64=False), Zip64RequiredError, "'a'"),
    ],
)
def test_entries_that_no_layout_can_have(entry: Entry, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ZipLayout([entry])


def test_auto_and_taken_names_are_refused() -> None:
    with pytest.raises(EntryError, match=r"'a'.*'auto'"):
        ZipLayout([("a", b"")], compression="auto")
    with pytest.raises(DuplicateNameError):
        ZipLayout([("a", b""), ("a", b"")])


@pytest.mark.parametrize("entries", [Path("a"), "a", {"name": "a"}, b"a", Entry("a", b""), 3])
def test_a_single_thing_is_no_list_of_entries(entries: Any) -> None:
    with pytest.raises(EntryTypeError, match="entries="):
        ZipLayout(entries)


def test_what_fails_closes_the_entries_and_names_the_item() -> None:
    closed = []

    def entries() -> Iterator[Any]:
        try:
            yield "name", b"data"
            yield 3
        finally:
            closed.append(True)

    with pytest.raises(EntryTypeError) as caught:
        ZipLayout(entries())
    assert caught.value.__notes__ == ["(item 1 of entries, counted from 0)"]
    assert closed == [True]


def test_options_are_checked() -> None:
    for options in ({"chunk_size": -1}, {"lookahead": "x"}, {"level": 99}, {"names": "?"}, {"compression": "zip"}):
        with pytest.raises(OptionError):
            ZipLayout([], **options)


@pytest.mark.parametrize("place", [(-1, None), (0, 10**9), (5, 4), (10**30, None), (1.0, None), (0, True), ("1", 2)])
def test_ranges_outside_of_the_archive(place: tuple[Any, Any]) -> None:
    layout = ZipLayout([("a", b"data")])
    with pytest.raises(OptionError):
        layout.iter_range(*place)
    with pytest.raises(OptionError):
        layout.aiter_range(*place)
    assert list(layout.iter_range(3, 3)) == list(layout.iter_range(layout.size)) == []


def test_special_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(NotAFileError, match="'a'"):
            ZipLayout([Entry("a", path)])
    with pytest.raises(FileNotFoundError) as caught:
        ZipLayout([Entry("a", tmp_path / "missing")])
    assert caught.value.__notes__ == ["(while adding entry 'a')"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no such files here")
def test_files_that_are_made_as_they_are_read_have_no_size() -> None:
    with pytest.raises(EntryError, match=r"'a'.*size of its data is not known"):
        ZipLayout([Entry("a", Path("/proc/self/status"))])
    assert stream_zip([Entry("a", Path("/proc/self/status"))]).size is None


def test_archives_past_64_bits() -> None:
    huge = [Entry(f"{number}", lambda: b"", size=(1 << 63) - 1, crc32=0, modified=DATE) for number in range(3)]
    layout = ZipLayout(huge[:1])
    assert layout.size > 1 << 63
    with pytest.raises(OverflowError):
        len(layout)
    with pytest.raises(LimitError):
        layout.open()
    assert b"".join(layout.iter_range(layout.size - 22)).startswith(b"PK\5\6")
    with pytest.raises(LimitError, match=r"'1'.*2\*\*64"):
        ZipLayout(huge)


# In a range.


def change_size(path: Path) -> None:
    facts = path.stat()
    path.write_bytes(path.read_bytes() + b"!")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def change_date(path: Path) -> None:
    path.write_bytes(b"X" * path.stat().st_size)
    os.utime(path, (DATE, DATE))


def replace(path: Path) -> None:
    facts = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"X" * facts.st_size)
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.replace(path)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: list[Callable[[Path], None]] = [change_size, change_date, replace, make_pipe]


@pairwise(options=METHODS, size=[0, 100, 70_000, 3_000_000], change=CHANGES)
def test_a_file_that_has_changed_gives_no_byte(
    tmp_path: Path, change: Callable[[Path], None], size: int, options: dict[str, Any]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(250)) * (size // 250) + b"\0" * (size % 250))
    layout = ZipLayout([Entry("a", path, **options)])
    whole = b"".join(layout.iter_range())
    change(path)
    came, failure = every(layout.iter_range())
    assert isinstance(failure, SourceChangedError)
    assert "'a'" in str(failure)
    assert whole.startswith(came)
    assert len(came) <= layout.entries[0].data_offset
    if size > 200:
        begins = layout.entries[0].data_offset + 50
        with pytest.raises(SourceChangedError):
            next(layout.iter_range(begins, begins + 100))
    # What needs none of it is as it was.
    assert b"".join(layout.iter_range(layout.size - 22)) == whole[-22:]


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 3_000_000)
    layout = ZipLayout([Entry("a", path)])
    chunks = layout.iter_range()
    came = next(chunks) + next(chunks)
    with path.open("r+b") as file:
        file.write(b"b" * 3_000_000)
    rest, failure = every(chunks)
    assert isinstance(failure, SourceChangedError)
    # A header's date may hold any one byte.
    assert b"bbbb" not in came + rest


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 3_000_000)
    chunks = ZipLayout([Entry("a", path)]).iter_range()
    next(chunks)
    os.truncate(path, 700_000)
    assert isinstance(every(chunks)[1], SourceChangedError)


def test_a_file_that_is_gone_names_its_entry(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a")
    layout = ZipLayout([Entry("a", path)])
    path.unlink()
    failure = every(layout.iter_range())[1]
    assert isinstance(failure, FileNotFoundError)
    assert failure.__notes__ == ["(while reading entry 'a')"]


@pairwise(
    options=METHODS,
    declared=[False, True],
    size=[0, 1, 999, 100_000],
    by=[-1, 1, 50_000],
    make=[bytes, lambda data: [data], lambda data: [data[:1], data[1:]], io.BytesIO],
)
def test_callables_that_give_another_size(
    make: Callable[[bytes], Any], by: int, size: int, declared: bool, options: dict[str, Any]
) -> None:
    by = by if size else abs(by)
    crc = zlib.crc32(b"x" * size) if declared else None
    layout = ZipLayout([Entry("a", lambda: make(b"x" * (size + by)), size=size, crc32=crc, **options)])
    came, failure = every(layout.iter_range())
    assert isinstance(failure, SizeMismatchError)
    assert "'a'" in str(failure)
    entry = layout.entries[0]
    assert len(came) < entry.data_offset + max(1, entry.compressed_size)


@pytest.mark.parametrize("options", METHODS)
def test_too_much_is_noticed_before_the_last_of_the_data(options: dict[str, Any]) -> None:
    for made in ([b"x" * 100_000, b"!"], b"x" * 100_001):
        layout = ZipLayout([Entry("a", lambda made=made: made, size=100_000, crc32=0, **options)])
        came, failure = every(layout.iter_range())
        assert isinstance(failure, SizeMismatchError)
        assert b"xxxx" not in came


@pytest.mark.parametrize("options", METHODS)
@pytest.mark.parametrize("source", [b"x" * 100_000, lambda: [b"x"] * 100_000])
def test_a_declared_checksum_is_checked_before_the_last_of_the_data(source: Any, options: dict[str, Any]) -> None:
    layout = ZipLayout([Entry("a", source, size=100_000, crc32=1, **options)])
    came, failure = every(layout.iter_range())
    assert isinstance(failure, CRC32MismatchError)
    assert "'a'" in str(failure)
    entry = layout.entries[0]
    assert len(came) < entry.data_offset + entry.compressed_size


def test_a_source_that_gives_other_data_than_before() -> None:
    given = [b"1" * 100_000, b"2" * 100_000]
    layout = ZipLayout([Entry("a", lambda: given.pop(0), size=100_000)])
    assert every(layout.iter_range())[1] is None
    failure = every(layout.iter_range())[1]
    assert isinstance(failure, IntegrityError)
    assert "as before" in str(failure)


class Source:
    """Gives `chunks`, one of which may be an exception, and counts how often it is closed."""

    def __init__(self, chunks: list[Any], on_close: Exception | None = None) -> None:
        self._chunks = iter(chunks)
        self._on_close = on_close
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        self.closed += 1
        if self._on_close:
            raise self._on_close


@pytest.mark.parametrize("options", METHODS)
def test_what_a_source_raises_passes_with_a_note_and_closes_it(options: dict[str, Any]) -> None:
    boom = ZeroDivisionError("boom")
    source = Source([b"x" * 70_000, boom], ZeroDivisionError("closing"))
    layout = ZipLayout([Entry("a", lambda: source, size=100_000, crc32=0, **options)])
    failure = every(layout.iter_range())[1]
    assert failure is boom
    assert boom.__notes__ == [
        "(and closing its source raised ZeroDivisionError('closing'))",
        "(while reading entry 'a')",
    ]
    assert source.closed == 1


def test_what_calling_and_closing_raise_passes_with_a_note() -> None:
    layout = ZipLayout([Entry("a", lambda: 1 // 0, size=10, modified=DATE)])  # type: ignore[arg-type]
    failure = every(layout.iter_range())[1]
    assert isinstance(failure, ZeroDivisionError)
    assert failure.__notes__ == ["(while reading entry 'a')"]
    closing = ZeroDivisionError("closing")
    layout = ZipLayout([Entry("a", lambda: Source([b"x" * 10], closing), size=10, modified=DATE)])
    assert every(layout.iter_range())[1] is closing
    assert closing.__notes__ == ["(while reading entry 'a')"]


@pytest.mark.parametrize("options", METHODS)
def test_a_range_that_is_given_up_closes_the_source(options: dict[str, Any]) -> None:
    sources: list[Source] = []

    def again() -> Source:
        sources.append(Source([b"x" * 70_000] * 10))
        return sources[-1]

    layout = ZipLayout([Entry("a", again, size=700_000, crc32=0, **options)])
    chunks = layout.iter_range()
    next(chunks), next(chunks)
    chunks.close()
    assert [source.closed for source in sources] == [1]
    failing = Source([b"x" * 70_000] * 10, ZeroDivisionError())
    layout = ZipLayout([Entry("a", lambda: failing, size=700_000, crc32=0, **options)])
    chunks = layout.iter_range()
    next(chunks), next(chunks)
    with pytest.raises(ZeroDivisionError):
        chunks.close()


@pytest.mark.parametrize(
    ("given", "says"),
    [("text", "a str"), (3, "its callable returned"), (Path(__file__), "a path"), (["text"], "encode text"),
     (io.StringIO("text"), "gives text"), (lambda: b"", "its callable returned")],
)  # fmt: skip
def test_callables_that_return_no_data(given: Any, says: str) -> None:
    size = os.path.getsize(__file__)
    failure = every(ZipLayout([Entry("a", lambda: given, size=size)]).iter_range())[1]
    assert isinstance(failure, EntryTypeError)
    assert "'a'" in str(failure)
    assert says in str(failure)


def test_descriptors_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    layout = ZipLayout([Entry("a", path), Entry("b", path, compression="deflate", level=0)])
    before = descriptors()
    for _ in range(5):
        for start in range(0, layout.size, 700_000):
            next(layout.iter_range(start))
    assert descriptors() <= before
