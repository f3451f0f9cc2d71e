"""Engines: what each writes is read by zlib, block by block, and none is named or imported that is not there."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import zlib
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.executors import DATE
from tests.strategies import noise, words
from zipstream_adapter import Entry, OptionError, StreamingZipFile, stream_zip
from zipstream_adapter.engines import WINDOW, Tuned, choose_engine, deflate_block
from zipstream_adapter.parallel import BLOCK, BlockDeflate, Workers

MODULES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}
INSTALLED = [name for name, module in MODULES.items() if importlib.util.find_spec(module.partition(".")[0])]
LEVELS = {"zlib": range(1, 10), "zlib-ng": range(1, 10), "isal": range(1, 4)}
SIZES = [0, 1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1]

# Repeats that reach over the ends of the blocks, and what no compressor makes smaller.
DATA = b"".join(words(number, 9_000) + noise(number % 3, 20_000) for number in range(20))[: 2 * BLOCK + 1]


def need(engine: str) -> None:
    if engine not in INSTALLED:
        pytest.skip(f"{engine} is not installed")


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
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


# What they write.


@pytest.mark.parametrize(("engine", "level"), [(engine, level) for engine in MODULES for level in LEVELS[engine]])
def test_all_sizes_are_read_back(engine: str, level: int) -> None:
    need(engine)
    for size in SIZES:
        data = memoryview(DATA)[:size]
        compressor = BlockDeflate(Tuned(engine, level), Workers(0))
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
    block = deflate_block(*choose_engine(engine, level), data, dictionary, last)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS, zdict=dictionary)
    assert inflate.decompress(block) == data
    assert inflate.eof == last
    assert block == deflate_block(*choose_engine(engine, level), memoryview(data), dictionary, last)


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
    assert deflate_block(*choose_engine(engine, 3), DATA[:BLOCK], b"", False) in other


# Which of them.


@pytest.mark.parametrize("level", [None, *range(1, 10)])
def test_an_engine_that_is_asked_for_is_the_one_at_the_level_as_its_own(level: int | None) -> None:
    own = level or 6
    assert choose_engine("zlib", level) == ("zlib", own)
    assert choose_engine("zlib-ng", level) == ("zlib-ng", own)
    assert choose_engine("isal", level) == ("isal", min(own, 3))


def test_isal_goes_no_higher_than_3() -> None:
    need("isal")
    third, ninth, first = (
        stream_zip([Entry("a", DATA, modified=DATE)], compression="deflate", level=level, engine="isal").read()
        for level in (3, 9, 1)
    )
    assert third == ninth != first


CHOICES = """
from zipstream_adapter.engines import choose_engine
print(json.dumps([choose_engine("auto", level)[:] for level in (None, *range(1, 10))]))
"""


@pytest.mark.parametrize("hidden", [(), ("zlib-ng",), ("isal",), ("zlib-ng", "isal")])
def test_auto_never_names_an_engine_that_is_not_there(hidden: tuple[str, ...]) -> None:
    there = set(INSTALLED) - set(hidden)
    chosen = [Tuned(*choice) for choice in run(CHOICES, *(MODULES[engine] for engine in hidden))]
    assert {tuned.engine for tuned in chosen} <= there
    assert all(tuned.level in LEVELS[tuned.engine] for tuned in chosen)
    if there == {"zlib"}:
        assert chosen == [("zlib", level) for level in (6, *range(1, 10))]
    else:
        assert {tuned.engine for tuned in chosen} & (there - {"zlib"})


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
assert not {"zlib_ng", "isal"} & {name for name, module in sys.modules.items() if module}
print(json.dumps(made))
"""


def test_without_the_extra_auto_is_zlib() -> None:
    made = run(HASHES, MODULES["zlib-ng"], MODULES["isal"])
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


@pytest.mark.parametrize("engine", ["zlib-ng", "isal"])
@pytest.mark.parametrize("whole", [True, False])
def test_an_engine_that_is_not_installed_is_refused_with_the_extra_to_install(engine: str, whole: bool) -> None:
    need(engine) if not whole else None
    # A package that is there, but whose part is not, is not installed either.
    code = f"sys.modules[{MODULES[engine]!r}] = None\n" + MISSING.format(engine=engine)
    said = run(code, *([MODULES[engine]] if whole else []))
    assert len(said) == 2
    for message in said:
        assert repr(engine) in message
        assert "extra 'fast' (pip install 'zipstream-adapter[fast]')" in message


@pytest.mark.parametrize("engine", ["gzip", "", "ZLIB", "zlib_ng", None, 3, b"zlib", True, [], ["zlib"]])
@pytest.mark.parametrize("make", [partial(stream_zip, []), StreamingZipFile])
def test_another_engine_is_refused_with_the_choices(make: Any, engine: Any) -> None:
    with pytest.raises(OptionError) as caught:
        make(engine=engine)
    assert str(caught.value) == f"engine={engine!r}: choose one of 'auto', 'zlib', 'zlib-ng', 'isal'"


def test_no_engine_is_imported_with_the_package() -> None:
    code = "import zipstream_adapter\nprint(json.dumps(sorted(sys.modules)))"
    assert not {name.partition(".")[0] for name in run(code)} & {"zlib_ng", "isal", "concurrent"}
