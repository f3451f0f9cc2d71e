"""CRC-32 by the fastest library that is installed: zlib-ng or ISA-L (extra ``fast``), else the standard zlib.

All return the same values; the fast ones are about ten times as fast as zlib. None is imported before data flows.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

Crc32 = Callable[["Buffer", int], int]

_FAST = ("zlib_ng.zlib_ng", "isal.isal_zlib")


@cache
def fastest_crc32() -> Crc32:
    """The function ``crc32(data, previous)``: `previous` is the CRC-32 of the data before, 0 at the start."""
    for module in _FAST:
        with suppress(ImportError):
            crc32: Crc32 = importlib.import_module(module).crc32
            return crc32
    return zlib.crc32


# The polynomial of CRC-32 (APPNOTE 4.4.7), its highest power in the lowest bit. So 1 is 2**31, and x**8 is 2**23.
_POLYNOMIAL = 0xEDB88320
_ONE, _BYTE = 1 << 31, 1 << 23


def joined_crc32(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of two pieces of data together, of which the second has `size` bytes.

    zlib's crc32_combine, which Python does not expose: `first` is multiplied by x**(8 * size).
    """
    power = _BYTE
    while size:
        if size & 1:
            first = _product(first, power)
        power = _product(power, power)
        size >>= 1
    return first ^ second


def _product(left: int, right: int) -> int:
    """Multiply two polynomials modulo that of CRC-32."""
    product, bit = 0, _ONE
    while bit:
        if left & bit:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
        bit >>= 1
    return product
