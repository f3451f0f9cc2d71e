"""Several processes at work on one archive, that share nothing but the files."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracles
from zipstream_adapter import Entry, ZipLayout, stream_zip, walk
from zipstream_adapter._concurrency.patience import PATIENCE

_SERVER = """
import sys
from zipstream_adapter import Entry, ZipLayout, walk

def entries():
    yield from walk(sys.argv[1])
    yield Entry("caf\\u00e9.txt", b"made in memory" * 9000, modified=1_700_000_000)
    yield Entry("level 0", b"level 0" * 30_000, modified=(2024, 7, 1, 12, 30, 20), compression="deflate", level=0)

layout = ZipLayout(entries())
sys.stdout.buffer.write(f"{layout.etag} {layout.size} {layout.last_modified.timestamp()}\\n".encode())
sys.stdout.buffer.flush()
for line in sys.stdin:
    start, stop = map(int, line.split())
    for chunk in layout.iter_range(start, stop):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "empty").mkdir(parents=True)
    for number, size in enumerate((0, 10, 65_536, 65_537, 900_000)):
        path = top / f"{number}.bin"
        path.write_bytes(os.urandom(size))
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    return top


_SURROUNDINGS = [
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"},
]


def server_of(tree: Path, surroundings: dict[str, str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    environment = {**os.environ, **surroundings}
    return subprocess.Popen([sys.executable, "-c", _SERVER, tree], stdin=pipe, stdout=pipe, env=environment)


def test_segments_of_servers_in_other_zones_make_one_file(tree: Path, tmp_path: Path) -> None:
    servers = [server_of(tree, each) for each in _SURROUNDINGS]
    try:
        heads = []
        for server in servers:
            assert server.stdout is not None
            heads.append(server.stdout.readline())
        assert heads[0] == heads[1]
        size = int(heads[0].split()[1])
        made, step = b"", 77_777
        for turn, start in enumerate(range(0, size, step)):
            stop = min(size, start + step)
            server = servers[turn % 2]
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(b"%d %d\n" % (start, stop))
            server.stdin.flush()
            made += server.stdout.read(stop - start)
    finally:
        for server in servers:
            server.communicate(timeout=200)
    entries = [
        *walk(tree),
        Entry("café.txt", b"made in memory" * 9000, modified=1_700_000_000),
        Entry("level 0", b"level 0" * 30_000, modified=(2024, 7, 1, 12, 30, 20), compression="deflate", level=0),
    ]
    whole = b"".join(stream_zip(entries))
    assert hashlib.sha256(made).digest() == hashlib.sha256(whole).digest()
    target = tmp_path / "made.zip"
    target.write_bytes(made)
    for reader in ("unzip", "7z", "bsdtar"):
        verdict = oracles.BY_DIRECTORY[reader](target)
        assert verdict, verdict.said


def test_what_a_part_sends_for_each_member(tmp_path: Path) -> None:
    """It does not grow with the archive: 130 bytes and the path, for names of 20."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    layout = ZipLayout([Entry(f"folder/file-{n:08}.bin", path) for n in range(3000)])
    size = layout.entries[1000].offset
    sent = pickle.dumps(layout.parts(size)[1])
    assert len(sent) / 1000 < 150 + len(str(path))
    end = layout.parts(layout.entries[-1].offset + 2000)[1]
    assert len(pickle.dumps(end)) / 3000 < 150 + len(str(path))
    layout.find_checksums()
    assert len(pickle.dumps(layout.parts(layout.entries[-1].offset + 2000)[1])) / 3000 < 150


class Counted:
    """A source by its calls."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.calls = 0

    def __call__(self) -> list[bytes]:
        self.calls += 1
        return [b"x" * min(50_000, self.size - at) for at in range(0, self.size, 50_000)]


def test_sources_are_read_where_they_are_needed_and_once() -> None:
    sources = [Counted(1000), Counted(500_000), Counted(500_000), Counted(3_000_000), Counted(0)]
    level_0: list[dict[str, Any]] = [{}, {}, {"compression": "deflate", "level": 0}, {}, {}]

    def calls() -> list[int]:
        found = [source.calls for source in sources]
        for source in sources:
            source.calls = 0
        return found

    def layout_of() -> ZipLayout:
        layout = ZipLayout(
            [
                Entry(f"{number}", source, size=source.size, modified=1_700_000_000, **options)
                for number, (source, options) in enumerate(zip(sources, level_0, strict=True))
            ]
        )
        assert layout.etag is None
        return layout

    layout = layout_of()
    assert calls() == [0] * 5
    list(layout.iter_range())
    assert calls() == [1] * 5
    list(layout.iter_range(layout.size - 100))
    assert calls() == [0] * 5
    layout = layout_of()
    list(layout.iter_range(layout.size - 22))
    assert calls() == [0] * 5
    at = layout.entries[1].offset
    list(layout.iter_range(at, at + 300_000))  # a header that says nothing of the data, and some of it
    assert calls() == [0, 1, 0, 0, 0]
    list(layout.iter_range(0, 100))
    assert calls() == [1, 0, 0, 0, 0]
    list(layout.iter_range(layout.size - 300))
    assert calls() == [0, 1, 1, 1, 1]
    layout.find_checksums()
    assert calls() == [0] * 5


def test_files_that_do_not_begin_at_their_beginning() -> None:
    def again() -> io.BytesIO:
        file = io.BytesIO(b"head" + bytes(range(200)) * 1000)
        file.seek(4)
        return file

    layout = ZipLayout([Entry("a", again, size=200_000, modified=1_700_000_000)], compression="stored")
    begins = layout.entries[0].data_offset
    assert b"".join(layout.iter_range(begins + 150_001, begins + 150_009)) == bytes(range(1, 9))


def test_what_is_ready_does_not_wait_for_a_slow_source() -> None:
    read = []

    def slowly() -> Iterator[bytes]:
        for number in range(6):
            read.append(number)
            yield b"x"
            time.sleep(PATIENCE / 2)

    first = Entry("a", b"data", modified=1_700_000_000)
    layout = ZipLayout([first, Entry("b", slowly, size=6, modified=1_700_000_000)])
    chunks = layout.iter_range()
    assert next(chunks).endswith(b"data")
    assert len(read) < 6
    assert b"xxxxxx" in b"".join(chunks)


def test_payload_leaves_before_checksums_are_looked_for() -> None:
    source = Counted(500_000)
    layout = ZipLayout([Entry("a", source, size=500_000, modified=1_700_000_000)])
    chunks = layout.iter_range(layout.entries[0].data_offset + 100_000)
    assert next(chunks)[:10] == b"x" * 10
    assert source.calls == 1
    assert sum(map(len, chunks)) > 300_000
    assert source.calls == 2
