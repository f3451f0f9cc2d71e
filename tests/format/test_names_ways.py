"""Names in archives: the same judgement by streams of both kinds, layouts, and the command line."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zipstream_adapter import (
    DuplicateNameError,
    Entry,
    UnsafeNameError,
    ZipLayout,
    ZipStreamError,
    async_stream_zip,
    stream_zip,
    walk,
)

Make = Callable[..., bytes]
DATE = 1_700_000_000


def streamed(entries: Any, **options: Any) -> bytes:
    return b"".join(stream_zip(entries, **options))


def the_long_way(entries: Any, **options: Any) -> bytes:
    return b"".join(stream_zip(entries, on_progress=lambda progress: None, **options))


def fetched_ahead(entries: Any, **options: Any) -> bytes:
    return b"".join(stream_zip(entries, prefetch=2, **options))


def asynchronous(entries: Any, **options: Any) -> bytes:
    async def collected() -> bytes:
        return b"".join([chunk async for chunk in async_stream_zip(entries, **options)])

    return asyncio.run(collected())


def laid_out(entries: Any, **options: Any) -> bytes:
    return b"".join(ZipLayout(entries, **options).iter_range())


WAYS = [streamed, the_long_way, fetched_ahead, asynchronous, laid_out]
ways = pytest.mark.parametrize("make", WAYS)


def names_in(archive: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(archive)).namelist()


@ways
@pytest.mark.parametrize("names", ["strict", "repair", "portable", "repair-portable"])
@pytest.mark.parametrize("duplicates", ["error", "rename", "allow"])
def test_no_member_leads_through_a_link_of_the_archive(make: Make, names: str, duplicates: str) -> None:
    link, below = Entry.symlink("l", "/outside", modified=DATE), Entry("l/evil", b"x", modified=DATE)
    beside = Entry("d/a", b"x", modified=DATE)
    policies = {"names": names, "duplicates": duplicates}
    with pytest.raises(UnsafeNameError, match="entry 'l/evil': its path leads through 'l', a symbolic link"):
        make([beside, link, below], **policies)
    with pytest.raises(UnsafeNameError, match="entry 'l/a/': its path leads through 'l'"):
        make([link, Entry.directory("l/a")], **policies)
    if duplicates == "rename":
        assert names_in(make([below, link, beside], **policies)) == ["l/evil", "l (2)", "d/a"]
    else:
        with pytest.raises((UnsafeNameError, DuplicateNameError), match=r"^entry 'l': "):
            make([below, link], **policies)
    assert names_in(make([beside, link, Entry("ll", b"y")], **policies)) == ["d/a", "l", "ll"]


@ways
def test_allow_stores_members_below_links(make: Make) -> None:
    entries = [Entry.symlink("l", "/outside"), Entry("l/evil", b"x")]
    assert names_in(make(entries, names="allow", duplicates="allow")) == ["l", "l/evil"]


@ways
def test_a_copied_link_counts_as_one(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "hostile.zip"
    hostile = [Entry.symlink("l", "/outside"), Entry("l/evil", b"x")]
    path.write_bytes(streamed(hostile, names="allow", duplicates="allow"))
    with pytest.raises(UnsafeNameError, match="leads through 'l'"):
        make([Entry.copy(path, name) for name in ("l", "l/evil")], duplicates="allow")


@ways
@pytest.mark.parametrize("duplicates", ["error", "rename"])
def test_the_same_directory_of_two_trees_is_stored_once(make: Make, tmp_path: Path, duplicates: str) -> None:
    trees = [tmp_path / "1", tmp_path / "2"]
    for number, tree in enumerate(trees):
        (tree / "logs" / "empty").mkdir(parents=True)
        (tree / "logs" / f"{number}.txt").write_text("x")
        (tree / "logs" / "empty").chmod(0o700 + 0o55 * number)
    archive = make([entry for tree in trees for entry in walk(tree)], duplicates=duplicates)
    assert names_in(archive) == ["logs/0.txt", "logs/empty/", "logs/1.txt"]
    info = zipfile.ZipFile(io.BytesIO(archive)).getinfo("logs/empty/")
    assert stat.S_IMODE(info.external_attr >> 16) == 0o700  # the first one's
    everything = [entry for tree in trees for entry in walk(tree, directories="all")]
    assert names_in(make(everything, duplicates=duplicates)) == ["logs/", "logs/0.txt", "logs/empty/", "logs/1.txt"]


def test_a_directory_that_is_there_already_is_not_among_what_was_skipped() -> None:
    stream = stream_zip([Entry.directory("d"), Entry.directory("d")])
    assert names_in(b"".join(stream)) == ["d/"]
    assert stream.skipped == []


@ways
def test_portable_names_differ_by_more_than_case(make: Make) -> None:
    pairs = [
        ("Report.pdf", b"1"),
        ("report.PDF", b"2"),
        ("café.txt", b"3"),
        ("cafe\u0301.txt", b"4"),
        ("d/A", b""),
        ("D/a", b""),
    ]
    for names in ("portable", "repair-portable"):
        with pytest.raises(DuplicateNameError, match=r"^entry 'report\.PDF'.*case or Unicode normalization"):
            make(pairs, names=names)
        assert names_in(make(pairs, names=names, duplicates="rename")) == [
            "Report.pdf", "report (2).PDF", "café.txt", "cafe\u0301 (2).txt", "d/A", "D/a (2)"
        ]  # fmt: skip
    assert names_in(make(pairs)) == [name for name, _ in pairs]


@ways
def test_names_are_refused_or_repaired_for_every_system(make: Make) -> None:
    pairs = [("aux.txt", b"1"), ("a/what?.txt", b"2"), ("x\udce9.", b"3"), ("ok.txt", b"4"), ("..\u200b/d ", b"5")]
    mended = ["aux_.txt", "a/what_.txt", "x%E9", "ok.txt", "d"]
    assert names_in(make(pairs, names="repair-portable")) == mended
    for pair in pairs:
        if pair[0] != "ok.txt":
            with pytest.raises(ZipStreamError, match=r"^entry '"):
                make([("ok.txt", b""), pair], names="portable")


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "zipstream_adapter", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=200, **options)


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A tree with a name in Latin-1, where such can be."""
    try:
        (tmp_path / "tree" / os.fsdecode(b"d\xe9")).mkdir(parents=True)
        (tmp_path / "tree" / os.fsdecode(b"d\xe9") / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (tmp_path / "tree" / "aux.txt").write_text("x")
    return tmp_path / "tree"


@pytest.mark.parametrize("names", ["strict", "repair", "allow"])
def test_the_command_repairs_names_that_are_not_utf_8_and_says_so(latin: Path, names: str) -> None:
    done = run(latin, "--names", names)
    assert done.returncode == 0
    assert names_in(done.stdout) == ["tree/aux.txt", "tree/d%E9/caf%E9.txt"]
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("zipstream-adapter: warning: entry 'tree/d\\udce9/caf\\udce9.txt': the name is not UTF-8")
    assert line.endswith("it is stored as 'tree/d%E9/caf%E9.txt'")
    assert names_in(streamed(walk(latin), names="repair")) == ["aux.txt", "d%E9/caf%E9.txt"]


def test_the_command_makes_names_portable(latin: Path) -> None:
    refused = run(latin, "--names", "portable")
    assert refused.returncode == 1
    assert b"entry 'tree/aux.txt'" in refused.stderr
    repaired = run(latin, "--names=repair-portable")
    assert names_in(repaired.stdout) == ["tree/aux_.txt", "tree/d%E9/caf%E9.txt"]


def test_the_command_merges_trees(tmp_path: Path) -> None:
    trees = [tmp_path / "1" / "logs", tmp_path / "2" / "logs"]
    for tree in trees:
        (tree / "empty").mkdir(parents=True)
    assert names_in(run(*trees).stdout) == ["logs/empty/"]
    for tree in trees:
        (tree / "a.txt").write_text("x")
    refused = run(*trees)
    assert refused.returncode == 1
    assert b"entry 'logs/a.txt'" in refused.stderr
    assert names_in(run(*trees, "--duplicates=rename").stdout) == ["logs/a.txt", "logs/empty/", "logs/a (2).txt"]
