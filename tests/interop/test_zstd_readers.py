"""Readers of method 93: members of every size, also those at which libarchive's buffer is full."""

from __future__ import annotations

import io
import subprocess
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from tests.interop import readers
from tests.support import oracles
from tests.support.strategies import cut, generated, noise, words
from zipstream_adapter import Entry, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK

WINDOW = 1 << 17  # the library's block, and libarchive's buffer
AROUND = [near + off for near in (WINDOW, BLOCK, 2 * BLOCK, 5 * WINDOW) for off in (-1, 0, 1)]


@pytest.fixture(autouse=True)
def _library() -> None:
    oracles.need_zstd()


def archive_of(*entries: Any, **options: Any) -> bytes:
    return stream_zip(entries, **{"compression": "zstd", **options}).read()


def read(archive: bytes) -> dict[str, bytes]:
    with oracles.zstd_zipfile().ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


MEMBERS = {"empty": b"", "one": b"x", "d/small": words(1, 5000), "small noise": noise(1, 900)}
MEMBERS |= {f"{kind.__name__} {size}": kind(2, size) for kind in (words, noise) for size in AROUND}
MEMBERS |= {f"zeros {size}": bytes(size) for size in (WINDOW, BLOCK, 8 * BLOCK, 8 * BLOCK + 1)}


def entries_of(members: dict[str, bytes], **options: Any) -> list[Entry]:
    """Of unknown size, with others in between that are stored or deflated."""
    found = [Entry(name, generated(cut(data, [70_000])), **options) for name, data in members.items()]
    return [
        *found,
        Entry("stored", b"stored", compression="stored"),
        Entry("deflated", WORDS, compression="deflate", level=1),
    ]


WORDS = words(9, 9000)
OTHERS = {"stored": b"stored", "deflated": WORDS}


@pytest.mark.parametrize("level", [-5, 3, 12])
@pytest.mark.parametrize("reader", ["7z", "bsdtar"])
def test_those_that_know_the_method_read_all_sizes(reader: str, level: int, tmp_path: Path) -> None:
    archive = archive_of(*entries_of(MEMBERS), level=level)
    expected = {name: readers.member(data) for name, data in (MEMBERS | OTHERS).items()}
    assert readers.READERS[reader](archive, tmp_path) == expected


@pytest.mark.parametrize("level", [-5, 3, 12])
def test_the_zipfile_of_python_314_reads_all_sizes(level: int) -> None:
    archive = archive_of(*entries_of(MEMBERS), level=level)
    assert read(archive) == MEMBERS | OTHERS
    with oracles.zstd_zipfile().ZipFile(io.BytesIO(archive)) as opened:
        for name in (f"words {BLOCK}", f"noise {2 * BLOCK}", "zeros 2097152"):
            with opened.open(name) as member:  # in pieces, it meets the end of the frame at other places
                assert b"".join(iter(partial(member.read, 777), b"")) == MEMBERS[name]


def test_a_pipe_is_read_where_headers_are_complete(tmp_path: Path) -> None:
    """libarchive 3.6 reads no member of method 93 with a data descriptor from a pipe, nor any of bzip2 and lzma."""
    members = {name: data for name, data in MEMBERS.items() if not name.startswith("noise")}
    archive = archive_of(*entries_of(members), lookahead=1 << 20)
    expected = {name: readers.member(data) for name, data in (members | OTHERS).items()}
    (tmp_path / "in").mkdir()
    assert readers.READERS["bsdtar-pipe"](archive, tmp_path / "in") == expected
    data = noise(1, 70_000)
    try:
        found = readers.READERS["bsdtar-pipe"](archive_of(("a", generated([data])), lookahead=0), tmp_path)
    except readers.Refused as exc:
        assert "Truncated zstd file body" in str(exc)
    else:  # libarchive 3.8
        assert found["a"] == readers.member(data)


@pytest.mark.parametrize(("reader", "said"), [("unzip", "exited with 81"), ("java-file", "invalid CEN header")])
def test_others_say_that_they_do_not_know_the_method(reader: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(readers.Refused, match=said):
        readers.READERS[reader](archive_of(("a", b"data" * 100)), tmp_path)


@pytest.mark.large
@pytest.mark.timeout(1800)
def test_a_member_past_4_gib(tmp_path: Path) -> None:
    """Of a size that fills libarchive's buffer, too."""
    count = (1 << 12) + 1
    archive = stream_zip([("large", repeat(words(5, 1 << 20), count)), ("behind", b"x")], compression="zstd", level=1)
    path = tmp_path / "large.zip"
    with open(path, "wb") as file:
        file.writelines(archive)
    with oracles.zstd_zipfile().ZipFile(path) as opened:
        assert [info.file_size for info in opened.infolist()] == [count << 20, 1]
        assert opened.testzip() is None
    for verdict in (oracles.seven_zip(path), bsdtar_counted(path, (count << 20) + 1)):
        assert verdict, verdict.said


def bsdtar_counted(path: Path, expected: int) -> oracles.Verdict:
    """libarchive, whose output is too long to be held."""
    with subprocess.Popen([oracles.need("bsdtar"), "-xOf", str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        size = sum(map(len, iter(partial(process.stdout.read, 1 << 20), b"")))
    return oracles.Verdict((process.returncode, size) == (0, expected), f"{size} bytes, status {process.returncode}")
