"""The CRC-32 of the whole is computed from the CRC-32s of its pieces."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from zipstream_adapter._compression.crc32 import joined_crc32


@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_two_pieces(first: bytes, second: bytes) -> None:
    joined = joined_crc32(zlib.crc32(first), zlib.crc32(second), len(second))
    assert joined == zlib.crc32(first + second)


def test_long_pieces() -> None:
    first, second = b"first" * 100_000, bytes(1 << 20) + b"second" * 100_001
    assert joined_crc32(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)
