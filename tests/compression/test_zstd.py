"""Zstandard: the same bytes however they come about, every way to ask for it, and no surprise where the library is
missing. Who reads it is in interop/test_zstd_readers.py."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.strategies import SOURCES, cut, generated, noise, words
from zipstream_adapter import Entry, EntryError, OptionError, StreamingZipFile, ZipLayout, async_stream_zip, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK
from zipstream_adapter._compression.zstd import ZstdFrame, zstd_whole
from zipstream_adapter.cli import main

KIB = 1024
WINDOW = 128 * KIB  # the library's block, and libarchive's buffer
DATE = 1_700_000_000


@pytest.fixture(autouse=True)
def _library(request: pytest.FixtureRequest) -> None:
    if "without" not in request.function.__name__:
        oracles.need_zstd()


@cache
def mixed(size: int) -> bytes:
    """Text with matches near and far, and noise in between."""
    parts = (words(number % 5, 70_000) + noise(number % 3, 9_000) for number in range(size // 79_000 + 1))
    return b"".join(parts)[:size]


def coded(level: int | None, *pieces: Any, block: int = BLOCK) -> bytes:
    compressor = ZstdFrame(level, block)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def archive_of(*entries: Any, **options: Any) -> bytes:
    return stream_zip(entries, **{"compression": "zstd", **options}).read()


def read(archive: bytes) -> dict[str, bytes]:
    with oracles.zstd_zipfile().ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


# The same input gives the same bytes.

AROUND = [near + off for near in (WINDOW, BLOCK, 2 * BLOCK, 5 * WINDOW) for off in (-1, 0, 1)]
SIZES = [0, 1, 100, 5000, *AROUND]


@pytest.mark.parametrize(("level", "most"), [(-50, 3 << 20), (None, 5 << 20), (9, 3 << 20), (19, BLOCK + WINDOW + 1)])
def test_no_cutting_shows_in_the_bytes(level: int | None, most: int) -> None:
    sizes = [size for size in (*SIZES, 4 * BLOCK, (5 << 20) - 7) if size <= most]
    wholes = {size: coded(level, mixed(size)) for size in sizes}

    @settings(max_examples=max(5, settings().max_examples // (8 if level == 19 else 2)))
    @given(
        st.sampled_from(sizes),
        st.lists(st.integers(0, most) | st.sampled_from(SIZES), max_size=8),
        st.sampled_from([bytes, bytearray, memoryview]),
    )
    @example(sizes[-1], list(range(0, most, WINDOW)), bytes)
    @example(sizes[-1], list(range(0, most, BLOCK)), memoryview)
    @example(sizes[-1], list(range(0, most, 4999)), bytearray)
    def cut_anywhere(size: int, cuts: list[int], kind: type) -> None:
        data = mixed(size)
        places = [0, *sorted(at for at in cuts if at <= size), size]
        assert coded(level, *(kind(data[start:end]) for start, end in pairwise(places))) == wholes[size]

    cut_anywhere()
    for size, whole in wholes.items():
        assert oracles.unzstd(whole) == mixed(size)


@given(
    st.integers(0, 3), st.integers(0, 5000), st.sampled_from([-131072, -7, 0, 1, 3, 12, 22]), st.integers(1, 900),
    st.lists(st.integers(0, 700), max_size=6),
)  # fmt: skip
def test_no_cutting_shows_whatever_the_block(seed: int, size: int, level: int, block: int, sizes: list[int]) -> None:
    if level == 22:
        block = BLOCK  # beyond it, the library takes hundreds of MiB
    data = words(seed, size) + noise(seed, size % 700)
    made = coded(level, *cut(data, sizes), block=block)
    assert made == coded(level, data, block=block)
    assert oracles.unzstd(made) == data


@settings(max_examples=20)
@given(
    st.sampled_from(sorted(SOURCES)),
    st.lists(st.sampled_from([1, 1000, WINDOW, BLOCK, 100_000]), min_size=1, max_size=3),
    st.sampled_from([0, 1, 3]),
    st.booleans(),
    st.sampled_from([0, 65536]),
)
def test_neither_source_nor_workers_nor_the_way_in_show(
    source: str, sizes: list[int], workers: int, at_a_time: bool, lookahead: int
) -> None:
    sizes = [max(size, 1000) for size in sizes]
    members = {str(size): mixed(size) for size in (0, 5, 3000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK)}

    def entries(source: str, sizes: list[int]) -> Iterator[Entry]:
        for name, data in members.items():
            yield Entry(name, SOURCES[source](cut(data, sizes)), modified=DATE)

    options = {"level": 1, "lookahead": lookahead}
    plain = archive_of(*entries("bytes", [BLOCK]), workers=0, **options)
    heard = (lambda progress: None) if at_a_time else None
    assert archive_of(*entries(source, sizes), workers=workers, on_progress=heard, **options) == plain
    assert read(plain) == members


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.patient
def test_an_executor_does_not_show(kind: str) -> None:
    items = [Entry(str(size), mixed(size), modified=DATE) for size in (*range(0, BLOCK, 9_000), BLOCK + 1)]
    made: Executor = ThreadPoolExecutor(2) if kind == "threads" else ProcessPoolExecutor(1, get_context("spawn"))
    with made as executor:
        executor.submit(int).result()
        assert archive_of(*items, executor=executor, workers=2) == archive_of(*items, workers=0)


@pytest.mark.patient
async def test_the_event_loop_does_not_show() -> None:
    members = {str(size): mixed(size) for size in (0, 3000, BLOCK, 3 * BLOCK)}

    async def late(data: bytes) -> Any:
        for piece in cut(data, [50_000]):
            await asyncio.sleep(0)
            yield piece

    stream = async_stream_zip(
        [Entry(name, late(data), modified=DATE) for name, data in members.items()], compression="zstd", level=5
    )
    made = await stream.read()
    assert made == archive_of(*(Entry(name, data, modified=DATE) for name, data in members.items()), level=5)
    assert read(made) == members


def test_without_workers_there_is_no_thread() -> None:
    oracles.need_zstd()
    before = threading.active_count(), _tasks()
    stream = stream_zip([("a", generated(cut(mixed(3 << 20), [WINDOW]))), ("b", b"x")], compression="zstd", workers=0)
    for _ in stream:
        assert (threading.active_count(), _tasks()) == before


def _tasks() -> int:
    """Threads of the process, those of libraries among them."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 0


# What is made.


@pytest.mark.parametrize("size", SIZES)
def test_a_member_up_to_a_block_states_its_size_and_others_do_not(size: int) -> None:
    made = coded(3, *cut(mixed(size), [10_000]))
    assert oracles.need_zstd().get_frame_info(made[:18]).decompressed_size == (size if size <= BLOCK else None)
    assert oracles.unzstd(made) == mixed(size)
    assert made.endswith(oracles.SKIPPED) == (size > 0 and size % WINDOW == 0)
    assert not coded(3, noise(1, size)).endswith(oracles.SKIPPED)
    if size <= BLOCK:
        assert made == zstd_whole(3, mixed(size))


def test_the_default_level_is_3_and_0_stands_for_it() -> None:
    for size in (5000, BLOCK + 1):
        by_level = {level: coded(level, mixed(size)) for level in (None, 0, 3, 1)}
        assert by_level[None] == by_level[0] == by_level[3] != by_level[1]


def test_higher_levels_make_less_of_it() -> None:
    for size in (BLOCK, 2 * BLOCK):
        by_level = [len(coded(level, mixed(size))) for level in (-100, -5, 3, 19)]
        assert by_level == sorted(by_level, reverse=True)
        assert len(set(by_level)) == 4


@pytest.mark.parametrize("source", [lambda data: data, lambda data: generated(cut(data, [999]))], ids=["quick", "slow"])
def test_what_the_records_say(source: Callable[[bytes], Any]) -> None:
    archive = archive_of(("a", source(words(1, 5000))), Entry("b", source(words(1, 5000)), compression="deflate"))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        first, second = opened.infolist()
    # Version needed (APPNOTE 4.4.3.2), flags, method.
    assert struct.unpack_from("<3H", archive, 4) == (63, 0, 93)
    assert (first.compress_type, first.extract_version, first.create_version, first.flag_bits) == (93, 63, 63, 0)
    assert (second.compress_type, second.extract_version) == (8, 20)
    assert first.compress_size < 2000


def test_a_finished_member_that_somebody_keeps_holds_no_tables() -> None:
    with StreamingZipFile(compression=93) as archive:
        member = archive.open("a", "w")
        member.write(mixed(3 * BLOCK))
        compressor: Any = member._codec  # type: ignore[attr-defined]
        assert compressor._frame is not None
        member.close()
        assert compressor._frame is None
    archive.drain()


# All ways to ask for it.

WAYS: dict[str, Callable[[bytes], bytes]] = {
    "name": lambda data: archive_of(("a", data), level=7),
    "other name": lambda data: archive_of(("a", data), compression="Zstandard", level=7),
    "number": lambda data: archive_of(("a", data), compression=93, level=7),
    "entry": lambda data: archive_of(Entry("a", data, compression="zstd", level=7), compression="stored"),
    "mapping": lambda data: archive_of(
        {"name": "a", "stream": [data], "compression": "zstd", "level": 7}, compression="deflate", level=1
    ),
    "entry's level": lambda data: archive_of(Entry("a", data, level=7)),
    "level alone": lambda data: archive_of(Entry("a", data, compression=93), compression="deflate", level=7),
}


@pytest.mark.parametrize("size", [5000, BLOCK + 1])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_ask_for_it(way: str, size: int) -> None:
    archive = WAYS[way](mixed(size))
    assert read(archive) == {"a": mixed(size)}
    assert coded(7, mixed(size)) in archive


@pytest.mark.parametrize("number", [93, "zstd"])
def test_a_streaming_zip_file_has_it_on_every_python(number: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(mixed(BLOCK + 5))
    with StreamingZipFile(compression=number, compresslevel=-3) as archive:
        archive.writestr("a", mixed(5000))
        archive.write(tmp_path / "file", "b")
        archive.writestr("c", b"stored", zipfile.ZIP_STORED)
        archive.writestr("d", mixed(5000), compresslevel=-1)
        archive.mkdir("e") if hasattr(zipfile.ZipFile, "mkdir") else archive.writestr("e/", b"")
    made = archive.drain()
    assert read(made) == {"a": mixed(5000), "b": mixed(BLOCK + 5), "c": b"stored", "d": mixed(5000), "e/": b""}
    assert coded(-3, mixed(5000)) in made
    assert coded(-1, mixed(5000)) in made
    with StreamingZipFile() as archive:
        archive.writestr("a", mixed(5000), compress_type=93, compresslevel=19)
    assert coded(19, mixed(5000)) in archive.drain()


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(mixed(5000))
    arguments = [str(tmp_path / "file"), "-o", str(tmp_path / "out.zip"), "--compression", "zstd"]
    for level in (["--level", "19"], ["--level=-4"], ["--level", "-4"], []):
        assert main(arguments + level) == 0
        assert (
            coded(int(level[-1].removeprefix("--level=")) if level else 3, mixed(5000))
            in (tmp_path / "out.zip").read_bytes()
        )
    assert main([*arguments, "--level", "23"]) == 1


def test_a_level_of_another_method_fails_the_entry_that_cannot_have_it() -> None:
    with pytest.raises(OptionError, match=r"level=19 is out of range for deflate: use 0 to 9") as caught:
        archive_of(("a", b"x"), Entry("b", b"x", compression="deflate"), level=19)
    assert "'b'" in str(caught.value) + "".join(caught.value.__notes__)


@pytest.mark.parametrize("size", [3, BLOCK + 1])
def test_a_layout_refuses_it(size: int) -> None:
    message = "entry 'a': its compressed size with compression='zstd'"
    with pytest.raises(EntryError, match=message):
        ZipLayout([Entry("a", bytes(size), compression="zstd")])
    with pytest.raises(EntryError, match=message):
        ZipLayout([("a", bytes(size))], compression="zstd")


# Where there is no library.

_WITHOUT = """
import json, sys
sys.modules.update(dict.fromkeys(["backports.zstd", "compression.zstd"]))
from zipstream_adapter import Entry, StreamingZipFile, ZipLayout, async_stream_zip, stream_zip
from zipstream_adapter.cli import main
from zipstream_adapter.compat.zipstream_ng import ZIP_ZSTANDARD, ZipStream

def opened():
    with StreamingZipFile() as archive:
        archive.writestr("a", b"data", compress_type=93)

said = {}
for name, make in {
    "stream": lambda: stream_zip([], compression="zstd"),
    "async": lambda: async_stream_zip([], compression=93),
    "file": lambda: StreamingZipFile(compression=93),
    "layout": lambda: ZipLayout([Entry("a", b"", compression="zstd")]),
    "entry": lambda: Entry("a", b"", compression="zstandard"),
    "mapping": lambda: stream_zip([{"name": "a", "stream": [], "compression": 93}]).read(),
    "member": opened,
    "ng": lambda: ZipStream(compress_type=ZIP_ZSTANDARD),
    "ng, member": lambda: ZipStream().add(b"", "a", compress_type=93, compress_level=3),
}.items():
    try:
        make()
    except ImportError as exc:
        said[name] = [str(exc), isinstance(exc, RuntimeError)]
raw = Entry.raw("a", b"\\x28\\xb5\\x2f\\xfd\\x00\\x00\\x01\\0\\0", compression="zstd", size=0, crc32=0)
archive = stream_zip([raw, ("b", b"x")]).read()
status = main(["-", "-o", "out.zip", "--compression", "zstd"])
print(json.dumps([said, len(archive) > 100, status]))
"""


def test_without_the_library_it_is_refused_at_once_with_the_extra_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", _WITHOUT]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    said, raw, status = json.loads(done.stdout)
    remedy = "extra 'zstd' (pip install 'zipstream-adapter[zstd]')"
    if sys.version_info >= (3, 14):
        remedy = "built without compression.zstd"
    assert set(said) == {"stream", "async", "file", "layout", "entry", "mapping", "member", "ng", "ng, member"}
    assert all("compression='zstd'" in message and remedy in message for message, _ in said.values())
    # As zipstream-ng has it.
    assert {name for name, (_, is_runtime_error) in said.items() if is_runtime_error} == {"ng", "ng, member"}
    assert raw  # of data that is compressed already, any method can be told
    assert status == 1
    assert remedy in done.stderr.decode()
    assert not list(tmp_path.iterdir())


def test_no_extra_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, zipstream_adapter\nzipstream_adapter.stream_zip([('a', b'x')], compression='deflate').read()\n"
    code += "assert not [name for name in sys.modules if name.startswith('backports')]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
