"""Engines: what each writes is read by zlib, block by block, and none is named or imported that is not there."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from zipfile import ZIP_DEFLATED

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.executors import DATE
from tests.support.loops import module
from tests.support.strategies import noise, words
from zipstream_adapter import Entry, OptionError, StreamingZipFile, async_stream_zip, stream_zip
from zipstream_adapter._compression.block_deflate import BLOCK, BlockDeflate
from zipstream_adapter._compression.codecs import CodecFactory
from zipstream_adapter._compression.engines import (
    LEAST_WHOLE,
    WHOLE,
    WINDOW,
    Engine,
    EngineLevel,
    Engines,
    choose_engines,
    deflate_block,
)
from zipstream_adapter._compression.methods import AUTO
from zipstream_adapter._concurrency.ordered import Workers

# Engines that compress blocks, and all of them.
MODULES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}
ALL = {**MODULES, "libdeflate": "deflate"}
INSTALLED = [name for name, module in ALL.items() if importlib.util.find_spec(module.partition(".")[0])]
LEVELS = {"zlib": range(1, 10), "zlib-ng": range(1, 10), "isal": range(1, 4), "libdeflate": range(1, 10)}
SIZES = [0, 1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1]

# Repeats that reach over the ends of the blocks, and what no compressor makes smaller.
DATA = b"".join(words(number, 9_000) + noise(number % 3, 20_000) for number in range(20))[: 2 * BLOCK + 1]


def need(engine: str) -> None:
    module(ALL[engine])


def inflated(deflated: bytes) -> bytes:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    found = inflate.decompress(deflated)
    assert inflate.eof
    assert inflate.unused_data == b""
    return found


def run(code: str, *blocked: str, options: tuple[str, ...] = ()) -> Any:
    """What `code` prints, as JSON, in a process where the modules `blocked` are not installed."""
    hidden = [part for module in blocked for part in (module, module.partition(".")[0])]
    prefix = f"import json, sys\nsys.modules.update(dict.fromkeys({hidden}))\n"
    command = [sys.executable, "-W", "error", *options, "-c", prefix + code]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


# What they write.


@pytest.mark.parametrize(("engine", "level"), [(engine, level) for engine in MODULES for level in LEVELS[engine]])
def test_all_sizes_are_read_back(engine: str, level: int) -> None:
    need(engine)
    for size in SIZES:
        data = memoryview(DATA)[:size]
        compressor = BlockDeflate(Engines(EngineLevel(engine, level), EngineLevel(engine, level)), Workers(0))
        made = compressor.compress(data) + compressor.flush()
        assert inflated(made) == data, size
        assert len(made) < max(100, size), size


@pytest.mark.parametrize(("engine", "level"), [(engine, level) for engine in MODULES for level in LEVELS[engine]])
def test_a_block_ends_at_a_byte_and_can_be_read_without_the_next(engine: str, level: int) -> None:
    need(engine)
    for size in (1, 1000, BLOCK):
        block = deflate_block(engine, level, DATA[:size], b"", False)
        assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(block) == DATA[:size]
        # An empty stored block (RFC 1951 3.2.4): its length, and the complement of it.
        assert block.endswith(b"\x00\x00\xff\xff")


@pytest.mark.parametrize("engine", MODULES)
@pytest.mark.parametrize("last", [False, True])
def test_a_block_looks_back_at_the_last_32_kib_and_no_further(engine: str, last: bool) -> None:
    need(engine)
    repeat = noise(9, 20_000)
    near, far = noise(8, WINDOW) + repeat, repeat + noise(8, WINDOW)
    found = len(deflate_block(engine, 3, repeat, near, last))
    missed = len(deflate_block(engine, 3, repeat, far, last))
    assert found < 2_000 < 20_000 <= missed
    assert deflate_block(engine, 3, repeat, near, last) == deflate_block(engine, 3, repeat, near[-WINDOW:], last)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, zdict=near[-WINDOW:])
    assert inflate.decompress(deflate_block(engine, 3, repeat, near, last)) == repeat


@pytest.mark.parametrize("engine", MODULES)
@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(1, 9), st.booleans())
def test_any_data_behind_any_dictionary_is_read_back(
    engine: str, data: bytes, dictionary: bytes, level: int, last: bool
) -> None:
    need(engine)
    block = deflate_block(*choose_engines(engine, level).blocks, data, dictionary, last)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, zdict=dictionary)
    assert inflate.decompress(block) == data
    assert inflate.eof == last
    assert block == deflate_block(*choose_engines(engine, level).blocks, memoryview(data), dictionary, last)


@pytest.mark.parametrize("engine", MODULES)
@pytest.mark.parametrize("size", [1000, 2 * BLOCK + 1])
def test_an_archive_is_deflated_by_the_engine_that_was_asked_for(engine: Any, size: int) -> None:
    need(engine)
    module = importlib.import_module(MODULES[engine])
    data = DATA[:size]
    archive = stream_zip([("a", data)], compression="deflate", level=2, engine=engine).read()
    assert oracles.members(archive) == {"a": data}
    first, *others = (data[at : at + BLOCK] for at in range(0, size, BLOCK))
    if not others:
        assert module.compress(first, 2, wbits=-zlib.MAX_WBITS) in archive
        return
    compressor = module.compressobj(2, zlib.DEFLATED, -zlib.MAX_WBITS)
    assert compressor.compress(first) + compressor.flush(zlib.Z_SYNC_FLUSH) in archive


@pytest.mark.parametrize("engine", MODULES)
def test_both_ways_in_give_the_same_data(engine: Any) -> None:
    need(engine)
    made = stream_zip([Entry("a", DATA, modified=DATE)], compression="deflate", level=3, engine=engine).read()
    with StreamingZipFile(compression="deflate", compresslevel=3, engine=engine) as archive:
        archive.writestr("a", DATA)
        archive.comment = b"of another make"
    other = archive.drain()
    assert oracles.members(made) == oracles.members(other) == {"a": DATA}
    assert deflate_block(*choose_engines(engine, 3).blocks, DATA[:BLOCK], b"", False) in other


# libdeflate, which compresses whole members.


def chunks(data: bytes) -> Iterator[bytes]:
    yield from (data[at : at + 70_001] for at in range(0, len(data), 70_001))


def members(engine: Engine, level: int, pieces: list[Any], workers: int = 0, **options: Any) -> bytes:
    entries: list[Any] = [(f"{number}", piece) for number, piece in enumerate(pieces)]
    options = {"compression": "deflate", "level": level, "engine": engine, "workers": workers, **options}
    return stream_zip([Entry(name, piece, modified=DATE) for name, piece in entries], **options).read()


LONG = (DATA * 3)[: 2 * WHOLE]
WHOLE_SIZES = [0, 1, 100, 4095, 4096, 50_000, BLOCK - 1, BLOCK, BLOCK + 1, WHOLE - 1, WHOLE, WHOLE + 1, 2 * WHOLE]


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize("engine", ["auto", "libdeflate"])
def test_whole_members_have_the_same_bytes_however_they_are_made(engine: Engine, level: int) -> None:
    need("libdeflate")
    deflate = importlib.import_module("deflate").deflate_compress
    pieces = [LONG[:size] for size in WHOLE_SIZES]
    made = members(engine, level, pieces)
    assert oracles.members(made) == {f"{number}": piece for number, piece in enumerate(pieces)}
    engines = choose_engines(engine, level)
    assert engines.whole
    for piece in pieces[3:]:  # engines may have the same output for shorter pieces
        fits = (engine == "libdeflate" or len(piece) >= LEAST_WHOLE) and len(piece) < WHOLE
        assert (deflate(piece, engines.whole.level) in made) is fits, len(piece)
    with ThreadPoolExecutor(3) as executor:
        assert members(engine, level, pieces, 2) == members(engine, level, pieces, 3, executor=executor) == made
    # Data that comes in chunks, whose size is not known beforehand.
    assert members(engine, level, [chunks(piece) for piece in pieces]) == made

    async def asynchronous() -> bytes:
        entries = [Entry(f"{number}", piece, modified=DATE) for number, piece in enumerate(pieces)]
        stream = async_stream_zip(entries, compression="deflate", level=level, engine=engine)
        return b"".join([chunk async for chunk in stream])

    assert asyncio.run(asynchronous()) == made


@pytest.mark.parametrize("engine", ["auto", "libdeflate"])
@pytest.mark.parametrize("cut", [70_001, 2 * WHOLE])
def test_a_codec_gives_whole_members_the_same_bytes(engine: Engine, cut: int) -> None:
    need("libdeflate")
    coding = CodecFactory(engine, workers=0)
    for method in (ZIP_DEFLATED, AUTO):
        small = coding.small(method, 6)
        assert small is not None
        for size in WHOLE_SIZES:
            if size >= coding.small_limit(method, 6):
                continue
            codec = coding.compressor(method, 6)
            made = b"".join(codec.compress(LONG[at : min(at + cut, size)]) for at in range(0, size, cut))
            made += codec.flush()
            assert [(codec.method, made)] == small([LONG[:size]])


def test_long_members_of_libdeflate_are_those_of_auto() -> None:
    need("libdeflate")
    assert members("libdeflate", 6, [LONG]) == members("auto", 6, [LONG])


def test_a_member_that_is_pushed_goes_on_in_blocks() -> None:
    need("libdeflate")
    codec = CodecFactory("libdeflate", workers=0).compressor(ZIP_DEFLATED, 6)
    assert codec.push() == b""
    made = codec.compress(DATA[:1000]) + codec.push()
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(made) == DATA[:1000]
    made += codec.compress(DATA[1000 : BLOCK + 5000]) + codec.push() + codec.flush()
    assert inflated(made) == DATA[: BLOCK + 5000]


# Which of them.


@pytest.mark.parametrize("level", [None, *range(1, 10)])
def test_an_engine_that_is_asked_for_is_the_one_at_the_level_as_its_own(level: int | None) -> None:
    own = level or 6
    assert choose_engines("zlib", level)[:3] == (("zlib", own), ("zlib", own), None)
    assert choose_engines("zlib-ng", level)[:3] == (("zlib-ng", own), ("zlib-ng", own), None)
    assert choose_engines("isal", level)[:3] == (("isal", min(own, 3)), ("isal", min(own, 3)), None)
    assert choose_engines("libdeflate", level)[1:3] == (("libdeflate", own), ("libdeflate", own))


def test_isal_goes_no_higher_than_3() -> None:
    need("isal")
    third, ninth, first = (
        stream_zip([Entry("a", DATA, modified=DATE)], compression="deflate", level=level, engine="isal").read()
        for level in (3, 9, 1)
    )
    assert third == ninth != first


CHOICES = """
from zipstream_adapter._compression.engines import choose_engines
print(json.dumps([choose_engines("auto", level)[:3] for level in (None, *range(1, 10))]))
"""


@pytest.mark.parametrize(
    "hidden", [(), ("zlib-ng",), ("isal",), ("libdeflate",), ("zlib-ng", "isal"), ("zlib-ng", "isal", "libdeflate")]
)
def test_auto_never_names_an_engine_that_is_not_there(hidden: tuple[str, ...]) -> None:
    there = set(INSTALLED) - set(hidden)
    found = run(CHOICES, *(ALL[engine] for engine in hidden))
    blocks = [EngineLevel(*choice) for choice, _, _ in found]
    short = [EngineLevel(*choice) for _, choice, _ in found]
    whole = [EngineLevel(*choice) for _, _, choice in found if choice]
    assert {each.engine for each in blocks + short} <= there - {"libdeflate"}
    assert all(each.level in LEVELS[each.engine] for each in blocks + short + whole)
    assert len(whole) == (len(found) if "libdeflate" in there else 0)
    assert {each.engine for each in whole} <= {"libdeflate"}
    if not there & {"zlib-ng", "isal"}:
        assert blocks == short == [("zlib", level) for level in (6, *range(1, 10))]
    else:
        assert {each.engine for each in blocks} & (there - {"zlib"})


HASHES = """
import hashlib
from zipstream_adapter import Entry, StreamingZipFile, stream_zip
with open(hashlib.__file__.replace("hashlib", "argparse"), "rb") as file:
    data = file.read() * 4
made = {engine: [] for engine in ("zlib", "auto")}
for engine, found in made.items():
    for level in (None, *range(10)):
        options = {"compression": "deflate", "level": level, "engine": engine}
        found.append(hashlib.sha256(stream_zip([Entry("a", data, modified=1e9)], **options).read()).hexdigest())
assert not {"zlib_ng", "isal", "deflate"} & {name for name, module in sys.modules.items() if module}
print(json.dumps(made))
"""


def test_without_the_extra_auto_is_zlib() -> None:
    made = run(HASHES, *(ALL[engine] for engine in ("zlib-ng", "isal", "libdeflate")))
    assert made["auto"] == made["zlib"]
    assert len(set(made["auto"])) == 10  # one for each level; the default is the sixth


MISSING = """
from zipstream_adapter import StreamingZipFile, stream_zip
said = []
for make in (lambda: stream_zip([], engine={engine!r}), lambda: StreamingZipFile(engine={engine!r})):
    try:
        make()
    except ImportError as exc:
        said.append(str(exc))
print(json.dumps(said))
"""


@pytest.mark.parametrize("engine", ["zlib-ng", "isal", "libdeflate"])
@pytest.mark.parametrize("whole", [True, False])
def test_an_engine_that_is_not_installed_is_refused_with_the_extra_to_install(engine: str, whole: bool) -> None:
    need(engine) if not whole else None
    # A package that is there, but whose part is not, is not installed either.
    code = f"sys.modules[{ALL[engine]!r}] = None\n" + MISSING.format(engine=engine)
    said = run(code, *([ALL[engine]] if whole else []))
    assert len(said) == 2
    for message in said:
        assert repr(engine) in message
        assert "extra 'fast' (pip install 'zipstream-adapter[fast]')" in message


@pytest.mark.parametrize("engine", ["gzip", "", "ZLIB", "zlib_ng", None, 3, b"zlib", True, [], ["zlib"]])
@pytest.mark.parametrize("make", [partial(stream_zip, []), StreamingZipFile])
def test_another_engine_is_refused_with_the_choices(make: Any, engine: Any) -> None:
    with pytest.raises(OptionError) as caught:
        make(engine=engine)
    assert str(caught.value) == f"engine={engine!r}: choose one of 'auto', 'zlib', 'zlib-ng', 'isal', 'libdeflate'"


def test_no_engine_is_imported_with_the_package() -> None:
    code = "import zipstream_adapter\nprint(json.dumps(sorted(sys.modules)))"
    assert not {name.partition(".")[0] for name in run(code)} & {"zlib_ng", "isal", "deflate", "concurrent"}
