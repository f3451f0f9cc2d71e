"""Stored blocks: no cutting of the data shows in them, and blocks that end inside signatures hide these."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.strategies import cut, noise
from zipstream_adapter._compression.stored_blocks import BLOCK_DATA, StoredBlocks, StoreOrFrame, framed_size

SIGNATURES = [b"PK" + end for end in (b"\1\2", b"\3\4", b"\5\6", b"\6\6", b"\6\7", b"\7\x08")]
# Around whole blocks; and sizes in whose complement there is a "P" or a "PK", which begins a signature with "K\3\4".
_GAPS = [0, 1, 2, 3, 0x50AF, 0xAEFE, 0xAF00, 0xAFFF, 0xB4AF, *range(BLOCK_DATA - 4, BLOCK_DATA + 5)]
_CUTTINGS = st.lists(st.sampled_from([0, 1, 2, 3, 1_000, 65_534, 65_535, 65_536, 150_000]), max_size=4)
_PARTS = st.lists(
    st.sampled_from([*SIGNATURES, b"P", b"K", b"PK", b"\3\4"])
    | st.builds(noise, st.integers(0, 3), st.sampled_from(_GAPS) | st.integers(0, 140_000)),
    max_size=6,
)


def framed(data: bytes, sizes: list[int], *, splits: bool) -> bytes:
    blocks = StoredBlocks(splits=splits)
    return b"".join([*map(blocks.compress, cut(data, sizes)), blocks.flush()])


def sizes_of(made: bytes) -> Iterator[int]:
    """The sizes of the blocks (RFC 1951, section 3.2.4)."""
    at = last = 0
    while not last:
        last, size, complement = struct.unpack_from("<BHH", made, at)
        assert complement == size ^ 0xFFFF
        yield size
        at += 5 + size
    assert at == len(made)


@given(_PARTS, _CUTTINGS, st.booleans())
def test_no_cutting_shows(parts: list[bytes], sizes: list[int], splits: bool) -> None:
    data = b"".join(parts)
    made = framed(data, sizes, splits=splits)
    assert made == framed(data, [], splits=splits)
    assert zlib.decompress(made, wbits=-zlib.MAX_WBITS) == data
    assert sum(sizes_of(made)) == len(data)
    if not splits:
        assert len(made) == framed_size(len(data))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(SIGNATURES), st.sampled_from(_GAPS) | st.integers(0, 70_000)), max_size=5))
def test_blocks_that_end_inside_signatures_hide_them(parts: list[tuple[bytes, int]]) -> None:
    data = b"PK\3\4" + b"".join(signature + b"\0" * gap for signature, gap in parts)
    made = framed(data, [], splits=True)
    assert zlib.decompress(made, wbits=-zlib.MAX_WBITS) == data
    assert not [signature for signature in SIGNATURES if signature in made]
    assert len(list(sizes_of(made))) <= len(parts) + 2 + len(data) // BLOCK_DATA


@pytest.mark.parametrize("signature", SIGNATURES)
def test_no_block_header_completes_a_signature(signature: bytes) -> None:
    """The header of a block of 0xAF00 to 0xAFFF bytes ends in "P"."""
    for gap in range(0xAF00 - 8, 0xB000 + 8):
        made = framed(b"PK\3\4" + signature + bytes(gap) + signature + bytes(9), [], splits=True)
        assert not [signature for signature in SIGNATURES if signature in made], gap


@given(st.integers(0, 200_000), st.sampled_from([0, 1, 3, 4, 50, 65_536]), _CUTTINGS, st.booleans())
def test_data_of_unknown_size_is_stored_within_the_lookahead_and_framed_beyond_it(
    size: int, lookahead: int, sizes: list[int], nested: bool
) -> None:
    data = (b"PK\3\4" * nested + noise(1, size))[:size]
    found = []
    for chunks in (cut(data, sizes), cut(data, [])):
        codec = StoreOrFrame(lookahead)
        parts = [codec.successor().compress(chunk) for chunk in chunks]
        parts.append(codec.successor().flush())
        found.append((codec.method, b"".join(parts)))
    assert found[0] == found[1]
    method, made = found[0]
    if size <= lookahead:
        assert (method, made) == (0, data)
    else:
        assert method == 8
        assert made == framed(data, [], splits=nested and size >= 4)
