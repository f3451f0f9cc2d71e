"""The file whose CRC-32 the tests of `ChecksumCache` keep; `tests/entries/conftest.py` makes it."""

from __future__ import annotations

import zlib

from tests.support.strategies import noise

DATA = noise(1, 300_000)
CRC = zlib.crc32(DATA)
