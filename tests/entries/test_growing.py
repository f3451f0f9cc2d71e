"""Files that grow or shrink while they are read, and files that are made as they are read."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import run
from tests.support.oracles import members
from tests.support.strategies import noise
from tests.support.sweeps import pairwise
from zipstream_adapter import (
    ChecksumCache,
    Entry,
    EntryTypeError,
    Grown,
    OptionError,
    SourceChangedError,
    ZipLayout,
    async_stream_zip,
    stream_zip,
    walk,
)
from zipstream_adapter._entries.files.virtual import stated_size
from zipstream_adapter._writer.sink import FileSink
from zipstream_adapter.cli import main

SIZES = [100_000, 3_000_000]
DATA = noise(1, max(SIZES))
WAYS = ["sync", "async"]
Made = tuple[bytes, list[Grown]]


class Changing:
    """A path that is changed by `change` when it has been opened: at the first chunk that leaves."""

    def __init__(self, path: Path, change: Callable[[Path], object]) -> None:
        self.path = path
        self.change = change
        self.is_changed = False

    def once(self) -> None:
        if not self.is_changed:
            self.is_changed = True
            self.change(self.path)


def made(way: str, entries: list[Any], changing: Changing | None = None, **options: Any) -> Made:
    """The archive, of which what is `changing` changes at the first byte of data; and what has grown."""

    def on_progress(progress: Any) -> None:
        if changing is not None and progress.entry_read:
            changing.once()

    if way == "sync":
        stream = stream_zip(entries, on_progress=on_progress, **options)
        return stream.read(), stream.grown

    async def drive() -> Made:
        stream = async_stream_zip(entries, on_progress=on_progress, **options)
        return await stream.read(), stream.grown

    return run(drive())


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more" * 1000)


def shrink(path: Path) -> None:
    os.truncate(path, 50)


SOURCES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "callable": lambda path: lambda: path,
}


async def _awaited(path: Path) -> Path:
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_bytes(DATA)
    return path


@pairwise(
    way=WAYS,
    prefetch=[0, 2],
    source=[*SOURCES, "coroutine"],
    compression=["stored", "deflate"],
    said=["archive", "entry"],
)
def test_what_a_file_had_when_it_was_opened_is_taken(
    log: Path, way: str, prefetch: int, source: str, compression: str, said: str
) -> None:
    way = "async" if source == "coroutine" else way
    given = (lambda: _awaited(log)) if source == "coroutine" else SOURCES[source](log)
    entry = Entry("app.log", given, grown="cut" if said == "entry" else None)
    options: dict[str, Any] = {"grown": "cut"} if said == "archive" else {}
    archive, grown = made(
        way, [entry, ("b", b"b")], Changing(log, grow), prefetch=prefetch, compression=compression, **options
    )
    assert members(archive) == {"app.log": DATA, "b": b"b"}
    assert grown == [Grown(entry, len(DATA))]
    assert log.stat().st_size == len(DATA) + 4000


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{}, {"grown": "error"}], ids=["default", "error"])
def test_without_it_a_file_that_grows_fails_and_says_what_helps(log: Path, way: str, options: Any) -> None:
    with pytest.raises(SourceChangedError, match=r"app\.log.*grew while it was read.*grown='cut'"):
        made(way, [log], Changing(log, grow), **options)


def test_an_entry_that_says_error_fails_in_an_archive_that_cuts(log: Path) -> None:
    with pytest.raises(SourceChangedError, match="grew"):
        made("sync", [Entry("a", log, grown="error")], Changing(log, grow), grown="cut")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("grown", ["error", "cut"])
def test_a_file_that_shrinks_fails(log: Path, way: str, grown: Any) -> None:
    with pytest.raises(SourceChangedError, match="shrank while it was read"):
        made(way, [log], Changing(log, shrink), grown=grown)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [0, 10, *SIZES])
def test_a_file_that_stays_is_whole_and_not_listed(tmp_path: Path, way: str, size: int) -> None:
    (tmp_path / "a").write_bytes(DATA[:size])
    archive, grown = made(way, [tmp_path / "a"], grown="cut")
    assert members(archive) == {"a": DATA[:size]}
    assert grown == []


@pytest.mark.parametrize("way", WAYS)
def test_the_bytes_are_those_of_a_file_that_did_not_grow(log: Path, way: str) -> None:
    still = log.with_name("still.log")
    still.write_bytes(DATA)
    os.utime(still, ns=(0, log.stat().st_mtime_ns))
    cut, _ = made(way, [Entry("a", log)], Changing(log, grow), grown="cut")
    assert cut == made(way, [Entry("a", still)])[0]


def test_a_declared_size_is_what_is_taken_and_the_stream_knows_its_own(log: Path) -> None:
    entry = Entry("a", log, size=len(DATA), grown="cut")
    stream = stream_zip([entry])
    size = stream.size
    grow(log)
    archive = stream.read()
    assert len(archive) == size
    assert members(archive) == {"a": DATA}
    assert stream.grown == [Grown(entry, len(DATA))]
    assert stream_zip([entry]).size == size
    assert stream_zip([entry.replace(size=None)]).size is None


def test_a_walk_and_a_mapping_take_the_choice(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "d").mkdir()
    assert [entry.grown for entry in walk(tmp_path, grown="cut")] == ["cut", None]
    assert members(stream_zip([{"name": "a", "file": str(tmp_path / "a"), "grown": "cut"}]).read()) == {"a": b"a"}
    entry = Entry("a", b"", grown="cut")
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert entry != Entry("a", b"")
    assert "grown='cut'" in repr(entry)


@pytest.mark.parametrize("value", ["Cut", 1, True, b"cut", []], ids=repr)
def test_what_is_no_choice_is_refused(value: Any) -> None:
    for make in (stream_zip, async_stream_zip):
        with pytest.raises(OptionError, match="grown="):
            make([], grown=value)
    with pytest.raises(OptionError, match="grown="):
        Entry("a", b"", grown=value)
    with pytest.raises((EntryTypeError, TypeError)):
        Entry.raw("a", b"", compression="deflate", size=1, crc32=0, grown="cut")  # type: ignore[call-arg]


def test_a_remembered_checksum_is_not_that_of_a_part(log: Path, tmp_path: Path) -> None:
    with ChecksumCache(tmp_path / "cache") as cache:
        made("sync", [log], Changing(log, grow), grown="cut", checksums=cache)
        archive, grown = made("sync", [log], grown="cut", checksums=cache)
    assert members(archive) == {"app.log": log.read_bytes()}
    assert grown == []


def test_a_layout_refuses_a_file_that_has_grown(log: Path) -> None:
    layout = ZipLayout([Entry("a", log, grown="cut")])
    grow(log)
    with pytest.raises(SourceChangedError):
        b"".join(layout.iter_range())


@pytest.mark.parametrize("grown", ["error", "cut"])
def test_the_command_takes_it_and_warns(
    tmp_path: Path, grown: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    log = tree / "app.log"
    log.write_bytes(DATA)
    changing, taken = Changing(log, grow), FileSink.write

    def written(sink: FileSink, data: Any, **options: Any) -> int:
        changing.once()
        return taken(sink, data, **options)

    monkeypatch.setattr(FileSink, "write", written)
    output = tmp_path / "out.zip"
    status = main([str(tree), "-o", str(output), f"--grown={grown}", "--compression=stored"])
    said = capfd.readouterr().err
    assert status == (grown == "error")
    assert output.exists() is (grown == "cut")
    assert "grew while it was read" in said
    if grown == "cut":
        assert members(output.read_bytes()) == {"tree/app.log": DATA}
        assert f"warning: 'tree/app.log' grew while it was read: the archive has its first {len(DATA)} bytes" in said
    else:
        assert "--grown cut" in said


# Asked about it.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prefetch", [0, 1])
def test_on_error_can_keep_what_a_file_had(log: Path, way: str, prefetch: int) -> None:
    asked: list[Any] = []

    def on_error(entry: Entry, exc: Exception) -> None:
        asked.append((entry.name, type(exc)))

    archive, grown = made(way, [log, ("b", b"b")], Changing(log, grow), prefetch=prefetch, on_error=on_error)
    assert members(archive) == {"app.log": DATA, "b": b"b"}
    assert [(entry.name, size) for entry, size in grown] == [("app.log", len(DATA))]
    assert asked == [("app.log", SourceChangedError)]


@pytest.mark.parametrize("way", WAYS)
def test_on_error_leaves_out_a_file_of_which_nothing_has_left(tmp_path: Path, way: str) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(DATA[:100_000])
    archive, grown = made(
        way, [log, ("b", b"b")], Changing(log, grow), on_error=lambda entry, exc: None, lookahead=10**6
    )
    assert members(archive) == {"b": b"b"}
    assert grown == []


@pytest.mark.parametrize("way", WAYS)
def test_on_error_can_refuse_it(log: Path, way: str) -> None:
    def raises(entry: Entry, exc: Exception) -> None:
        raise exc

    for on_error in (raises, lambda entry, exc: Entry("other", b"")):
        log.write_bytes(DATA)
        with pytest.raises(SourceChangedError, match="grew"):
            made(way, [log, ("b", b"b")], Changing(log, grow), on_error=on_error)
    log.write_bytes(DATA)
    with pytest.raises(SourceChangedError, match="grew"):
        made(way, [Entry("a", log, grown="error")], Changing(log, grow), on_error=lambda entry, exc: None)


# What is made as it is read.


MADE = [
    path
    for path in map(Path, ("/proc/version", "/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"))
    if path.exists()
] + [path for path in [Path("/sys/class/net/lo/mtu")] if path.exists()]


@pytest.mark.skipif(not MADE, reason="no Linux")
@pairwise(path=MADE, way=WAYS, prefetch=[0, 1], grown=["error", "cut"])
def test_a_file_that_is_made_as_it_is_read_is_whole(path: Path, way: str, prefetch: int, grown: Any) -> None:
    archive, listed = made(way, [Entry("a", path), ("b", b"b")], prefetch=prefetch, grown=grown)
    got = members(archive)
    assert got["a"]
    if path.name != "status":
        assert got["a"] == path.read_bytes()
    assert listed == []
    assert stream_zip([Entry("a", path)]).size is None


def test_a_file_without_blocks_on_another_file_system_is_held_to_its_size(tmp_path: Path) -> None:
    hole = tmp_path / "hole"
    hole.touch()
    os.truncate(hole, 4096)
    assert stated_size(hole.stat()) == 4096
    archive, _ = made("sync", [hole])
    assert members(archive) == {"hole": bytes(4096)}
    os.truncate(hole, 10**6)
    with pytest.raises(SourceChangedError, match="shrank"):
        made("sync", [hole], Changing(hole, shrink))
