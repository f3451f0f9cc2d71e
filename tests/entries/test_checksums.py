"""ChecksumCache: what it remembers, what it must not, and by whom it is shared."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.cached_files import CRC, DATA
from zipstream_adapter import ChecksumCache, NotAFileError, SourceChangedError
from zipstream_adapter._entries import crc_cache as checksums
from zipstream_adapter._entries.crc_cache import checksum_of

# What it remembers.


@pytest.mark.usefixtures("settled")
def test_a_file_is_read_once_and_then_remembered(file: Path, tmp_path: Path) -> None:
    info = os.stat(file)
    with ChecksumCache(tmp_path / "cache") as cache:
        assert cache.get(file, info) is None
        assert checksum_of(file, cache) == (CRC, info)
        assert cache.get(file, info) == CRC
    with ChecksumCache(str(tmp_path / "cache")) as cache:
        assert cache.get(str(file), info) == CRC
        assert checksum_of(file, cache)[0] == CRC
        cache.forget(file)
        assert cache.get(file, info) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "data.bin"]


@pytest.mark.usefixtures("settled")
def test_a_relative_path_is_the_same_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ChecksumCache("cache") as cache:
        cache.put(file.name, os.stat(file), CRC, opened=1 << 62)
        assert cache.get(file, os.stat(file)) == CRC
        monkeypatch.chdir("/")
        cache.forget(os.path.relpath(file))
        assert cache.get(file, os.stat(file)) is None
        assert Path(cache.path) == tmp_path / "cache"


def rewritten(file: Path) -> None:
    file.write_bytes(DATA)


def touched(file: Path) -> None:
    os.utime(file, (1e9, 1e9))


def replaced(file: Path) -> None:
    info = os.stat(file)
    other = file.with_suffix(".new")
    other.write_bytes(DATA[::-1])
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.replace(file)


def in_place_under_its_old_date(file: Path) -> None:
    info = os.stat(file)
    file.write_bytes(DATA[::-1])
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))


def grown(file: Path) -> None:
    with open(file, "ab") as opened:
        opened.write(b"more")


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [rewritten, touched, replaced, in_place_under_its_old_date, grown])
def test_a_file_that_is_not_exactly_what_it_was_is_read_again(
    change: Callable[[Path], None], file: Path, tmp_path: Path
) -> None:
    with ChecksumCache(tmp_path / "cache") as cache:
        checksum_of(file, cache)
        time.sleep(0.02)  # a tick of the file system's clock
        change(file)
        assert cache.get(file, os.stat(file)) is None
        assert checksum_of(file, cache)[0] == zlib.crc32(file.read_bytes())
        assert cache.get(file, os.stat(file)) == zlib.crc32(file.read_bytes())


def test_what_was_modified_just_now_is_not_remembered(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChecksumCache(tmp_path / "cache") as cache, monkeypatch.context() as patch:
        patch.setattr(checksums, "_SETTLED_NS", 300 * 10**9)  # a machine that stalls for two seconds must not show
        os.utime(file, (1e9, 1e9))  # its date of change stays
        assert checksum_of(file, cache)[0] == CRC
        assert cache.get(file, os.stat(file)) is None
        future = file.with_name("future")
        future.write_bytes(DATA)
        os.utime(future, (4e9, 4e9))
        patch.undo()
        time.sleep(2.1)
        assert checksum_of(file, cache)[0] == checksum_of(future, cache)[0] == CRC
        assert cache.get(file, os.stat(file)) == CRC
        assert cache.get(future, os.stat(future)) is None


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_while_it_is_read_is_refused(file: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def and_changes(data: bytes, crc: int) -> int:
        touched(file)
        return zlib.crc32(data, crc)

    monkeypatch.setattr(checksums, "fastest_crc32", lambda: and_changes)
    with ChecksumCache(tmp_path / "cache") as cache:
        with pytest.raises(SourceChangedError, match=r"data\.bin' changed while"):
            checksum_of(file, cache)
        assert cache.get(file, os.stat(file)) is None


@pytest.mark.parametrize("path", ["/", ".", "sub/", "sub"])
def test_a_directory_has_no_checksum(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotAFileError, match="is a directory, not a file"):
        checksum_of(path)


def test_no_cache_is_needed(file: Path) -> None:
    assert checksum_of(str(file)) == (CRC, os.stat(file))


# Threads and processes.


def _put_many(cache: ChecksumCache, start: int) -> int:
    info = os.stat(__file__)
    for number in range(start, start + 50):
        cache.put(f"/files/{number}", info, number, opened=1 << 62)
    cache.close()
    return start


def _all_there(path: Path) -> bool:
    info = os.stat(__file__)
    with ChecksumCache(path) as cache:
        return [cache.get(f"/files/{number}", info) for number in range(400)] == list(range(400))


def test_processes_share_it(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    cache = ChecksumCache(path, timeout=30)
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert sum(pool.map(_put_many, [cache] * 8, range(0, 400, 50))) == sum(range(0, 400, 50))
    cache.close()
    assert _all_there(path)


def test_threads_share_one(tmp_path: Path) -> None:
    info = os.stat(__file__)
    with ChecksumCache(tmp_path / "cache") as cache, ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda number: cache.put(f"/files/{number}", info, number, opened=1 << 62), range(400)):
            pass
    assert _all_there(tmp_path / "cache")


_FORKS = """
import os, sys, warnings
from zipstream_adapter import ChecksumCache

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads
info = os.stat(sys.executable)
with ChecksumCache(sys.argv[1]) as cache:
    cache.put("/files/0", info, 5, opened=1 << 62)
    with cache._lock:  # as another thread may hold it
        child = os.fork()
        if child == 0:
            cache.put("/files/1", info, 6, opened=1 << 62)
            crc = cache.get("/files/0", info)
            cache.close()
            os._exit(crc)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    assert cache.get("/files/1", info) == 6
"""


def test_those_who_make_it_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    info, together = os.stat(__file__), threading.Barrier(6)

    def make(path: Path, number: int) -> None:
        together.wait(60)
        with ChecksumCache(path, timeout=30) as cache:
            cache.put(f"/files/{number}", info, number, opened=1 << 62)

    with ThreadPoolExecutor(6) as pool:
        for attempt in range(20):
            path = tmp_path / str(attempt)
            list(pool.map(make, [path] * 6, range(6)))
            with ChecksumCache(path) as cache:
                assert [cache.get(f"/files/{number}", info) for number in range(6)] == list(range(6))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _FORKS, tmp_path / "cache"], check=True, timeout=200)


def test_it_pickles(tmp_path: Path) -> None:
    with ChecksumCache(tmp_path / "cache", timeout=7) as cache:
        twin = pickle.loads(pickle.dumps(cache))
        assert (twin.path, twin._timeout, repr(twin)) == (cache.path, 7, repr(cache))
        twin.close()


def test_sqlite_comes_with_the_first_cache_only() -> None:
    use = "z.stream_zip([('a', b'1')]).read(); z.ChecksumCache; print('sqlite3' in sys.modules)"
    code = f"import sys, zipstream_adapter as z; {use}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout.strip() == "False"
