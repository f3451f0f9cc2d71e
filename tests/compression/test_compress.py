"""Compressors: what they make is read back by others, and does not show how the data was cut."""

from __future__ import annotations

import bz2
import itertools
import lzma
import random
import struct
import zlib
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import oracles
from zipstream_adapter import OptionError
from zipstream_adapter._compression.codec import StoredCodec
from zipstream_adapter._compression.codecs import CodecFactory
from zipstream_adapter._compression.methods import METHODS, ZIP_ZSTANDARD, check_level, make_compressor, method_number

DEFLATE_LEVELS = [None, *range(10)]
BZIP2_LEVELS = [None, 1, 2, 9]
# An encoder of level 9 asks for 670 MB: the tests stay with what any machine has.
LZMA_LEVELS = [None, 0, 3]
ZSTD_LEVELS = [None, -7, 1, 9]
ALL = [
    *((ZIP_DEFLATED, level) for level in DEFLATE_LEVELS),
    *((ZIP_BZIP2, level) for level in BZIP2_LEVELS),
    *((ZIP_LZMA, level) for level in LZMA_LEVELS),
    *((ZIP_ZSTANDARD, level) for level in ZSTD_LEVELS if oracles.has_zstd()),
]
BLOCK = 65535


def sample(size: int, seed: int = 0) -> bytes:
    """Words in no order: compressible as text is, with matches near and far."""
    chance = random.Random(seed)
    words = [bytes(chance.randrange(256) for _ in range(chance.randrange(2, 12))) for _ in range(200)]
    return b"".join(chance.choices(words, k=size // 2 + 1))[:size]


SAMPLE = sample(220_000)


def compressed(method: int, level: int | None, *pieces: Any) -> bytes:
    compressor = CodecFactory().compressor(method, level)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def read_back(method: int, data: bytes) -> bytes:
    """As the standard library reads a member: nothing may follow its end."""
    if method == ZIP_DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        found = inflate.decompress(data)
        assert inflate.eof
        assert inflate.unused_data == b""
        return found
    if method == ZIP_BZIP2:
        return bz2.decompress(data)
    if method == ZIP_ZSTANDARD:
        return oracles.unzstd(data)
    # APPNOTE 5.8.8: version, size of the properties, then lc/lp/pb in one byte and the dictionary's size.
    major, minor, size, packed, dictionary = struct.unpack_from("<BBHBL", data)
    assert (major, minor, size) == (9, 20, 5)
    packed, lc = divmod(packed, 9)
    pb, lp = divmod(packed, 5)
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    found = decoder.decompress(data[9:])
    # Bit 1 of a member's flags promises this marker.
    assert decoder.eof
    assert decoder.unused_data == b""
    return found


def cut_at(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


@pytest.mark.parametrize(("method", "level"), ALL)
@pytest.mark.parametrize("data", [b"", b"a", SAMPLE], ids=["empty", "a byte", "220 KB"])
def test_what_is_compressed_is_read_back(method: int, level: int | None, data: bytes) -> None:
    made = compressed(method, level, data)
    assert read_back(method, made) == data
    if len(data) > 1 and level != 0:
        assert len(made) < len(data) * 0.8


@pytest.mark.parametrize(("method", "level"), ALL)
def test_no_cutting_shows_in_the_bytes(method: int, level: int | None) -> None:
    whole = compressed(method, level, SAMPLE)

    @settings(max_examples=max(4, settings().max_examples // 5))
    @given(st.lists(st.integers(0, len(SAMPLE)), max_size=8), st.sampled_from([bytes, bytearray, memoryview]))
    def cut_anywhere(cuts: list[int], kind: type) -> None:
        assert compressed(method, level, *map(kind, cut_at(SAMPLE, cuts))) == whole

    cut_anywhere()
    # In very small steps, and with nothing at all in between.
    assert compressed(method, level, *cut_at(SAMPLE, list(range(0, len(SAMPLE), 997)))) == whole
    assert compressed(method, level, b"", SAMPLE, b"", b"") == whole


@given(st.binary(max_size=300), st.lists(st.integers(0, 1 << 16), max_size=5), st.sampled_from(ALL))
def test_no_cutting_shows_in_small_data(data: bytes, cuts: list[int], choice: tuple[int, int | None]) -> None:
    assert compressed(*choice, *cut_at(data, cuts)) == compressed(*choice, data)


@settings(max_examples=10)
@given(st.integers(0, 9), st.integers(0, 100_000), st.integers(0, 2**32), st.lists(st.integers(0, 1 << 17), max_size=6))
def test_no_cutting_shows_whatever_the_data(level: int, size: int, seed: int, cuts: list[int]) -> None:
    data = sample(size, seed)
    assert compressed(ZIP_DEFLATED, level, *cut_at(data, cuts)) == compressed(ZIP_DEFLATED, level, data)


# Deflate at level 0


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, 200_000])
@pytest.mark.parametrize("step", [0, 1000, BLOCK, 70_000])
def test_level_0_is_blocks_of_65535_with_5_bytes_each(size: int, step: int) -> None:
    data = SAMPLE[:size]
    made = compressed(ZIP_DEFLATED, 0, *(data[at : at + step] for at in range(0, size, step)) if step else [data])
    blocks = max(1, -(-size // BLOCK))
    assert len(made) == size + 5 * blocks
    # RFC 1951 3.2.4: last or not, the length, and its complement.
    at = 0
    for number in range(blocks):
        length = min(BLOCK, size - number * BLOCK)
        assert struct.unpack_from("<BHH", made, at) == (number == blocks - 1, length, length ^ 0xFFFF)
        assert made[at + 5 : at + 5 + length] == data[number * BLOCK : number * BLOCK + length]
        at += 5 + length


def test_level_0_holds_back_no_more_than_a_block() -> None:
    compressor = CodecFactory().compressor(ZIP_DEFLATED, 0)
    made = 0
    for given_so_far in range(50_000, 1_000_001, 50_000):
        made += len(compressor.compress(bytes(50_000)))
        assert made >= given_so_far - BLOCK


def test_level_0_keeps_no_hold_on_its_input() -> None:
    compressor = CodecFactory().compressor(ZIP_DEFLATED, 0)
    buffer = bytearray(b"first")
    made = compressor.compress(buffer)
    buffer[:] = b"overwritten"
    assert read_back(ZIP_DEFLATED, made + compressor.flush()) == b"first"


# Methods and levels


def test_stored_data_passes_as_it_is() -> None:
    for level in (None, 9):
        assert type(CodecFactory().compressor(ZIP_STORED, level)) is StoredCodec
        assert compressed(ZIP_STORED, level, b"data", memoryview(b", more")) == b"data, more"


def test_higher_levels_do_not_make_more_of_it() -> None:
    for method, low, high in ((ZIP_DEFLATED, 1, 9), (ZIP_BZIP2, 1, 9), (ZIP_LZMA, 0, 6)):
        assert len(compressed(method, high, SAMPLE)) < len(compressed(method, low, SAMPLE)), method


@pytest.mark.parametrize(("method", "level"), [(ZIP_DEFLATED, 6), (ZIP_BZIP2, 9), (ZIP_LZMA, 6)])
def test_the_default_level_is_the_librarys(method: int, level: int) -> None:
    assert compressed(method, None, SAMPLE) == compressed(method, level, SAMPLE)


@pytest.mark.parametrize(("level", "dictionary"), list(enumerate([18, 20, 21, 22, 22, 23, 23, 24, 25, 26])))
def test_lzma_states_the_dictionary_of_its_preset(level: int, dictionary: int) -> None:
    # As `xz` documents its presets. Nothing is compressed, so nothing large is touched.
    assert compressed(ZIP_LZMA, level)[5:9] == struct.pack("<L", 1 << dictionary)


@pytest.mark.parametrize(
    ("given_as", "number"),
    [
        *METHODS.items(), *((number, number) for number in METHODS.values()),
        ("DEFLATE", ZIP_DEFLATED), ("Deflated", ZIP_DEFLATED), ("store", ZIP_STORED),
        ("Zstandard", ZIP_ZSTANDARD), (93, ZIP_ZSTANDARD),
    ],
)  # fmt: skip
def test_methods_have_names_and_numbers(given_as: int | str, number: int) -> None:
    assert method_number(given_as) == number


@pytest.mark.parametrize("unknown", ["gzip", "xz", "", 1, 9, 95, 97, -1, True, False, 8.0, None, b"deflate", [8]])
def test_an_unknown_method_is_refused_with_the_known_ones(unknown: Any) -> None:
    with pytest.raises(OptionError) as caught:
        method_number(unknown)
    message = str(caught.value)
    assert message.startswith(f"compression={unknown!r} ")
    assert all(f"{name!r} ({number})" in message for name, number in METHODS.items() if number >= 0)
    assert "'none'" in message
    assert "'auto'" in message


METHOD_NAMES = {number: name for name, number in METHODS.items()}
RANGES = [(ZIP_DEFLATED, 0, 9), (ZIP_BZIP2, 1, 9), (ZIP_LZMA, 0, 9), (ZIP_ZSTANDARD, -131072, 22)]


@pytest.mark.parametrize(("method", "low", "high"), RANGES)
def test_a_level_outside_of_its_methods_range_is_refused_with_the_range(method: int, low: int, high: int) -> None:
    for good in (None, low, high):
        check_level(method, good)
    for bad in (low - 1, high + 1):
        for refuse in (check_level, make_compressor, CodecFactory().compressor):
            with pytest.raises(OptionError, match=rf"^level={bad} .* {METHOD_NAMES[method]}: use {low} to {high}\b"):
                refuse(method, bad)


@pytest.mark.parametrize("level", ["5", 5.0, True, b"5"])
@pytest.mark.parametrize("method", [None, *METHODS.values()])
def test_a_level_that_is_no_number_is_refused_for_every_method(method: int | None, level: Any) -> None:
    with pytest.raises(OptionError, match=rf"^level={level!r} is not a whole number"):
        check_level(method, level)


def test_a_level_has_no_effect_on_stored_data_and_a_range_while_the_method_is_unknown() -> None:
    check_level(ZIP_STORED, 99)
    for good in (None, 0, 9, 22, -131072):  # of some method
        check_level(None, good)
    for bad in (-131073, 23):
        with pytest.raises(
            OptionError, match=rf"^level={bad} is out of range: use 0 to 9 \(bzip2: 1 to 9; zstd: -131072 to 22\)"
        ):
            check_level(None, bad)
