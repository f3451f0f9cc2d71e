"""Archives of one deflated member with a SOZip index, made by hand, so that the index can be wrong."""

from __future__ import annotations

import random
import struct
import zlib
from functools import cache
from typing import Any

CHUNK = 1 << 15
NAME = "a/table.csv"
INDEX = "a/.table.csv.sozip.idx"


@cache
def table(size: int, seed: int = 0) -> bytes:
    """Lines of numbers, which deflate makes less than half as long."""
    numbers = random.Random(seed)
    lines = b"".join(b"%d,%d\n" % (number, numbers.randrange(10**9)) for number in range(size // 12 + 1))
    return lines[:size]


def chunks_of(data: bytes, chunk: int = CHUNK) -> list[bytes]:
    """The chunks by zlib alone, as the specification has them."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    made = []
    for at in range(0, len(data), chunk):
        coded = deflate.compress(data[at : at + chunk])
        if at + chunk < len(data):
            coded += deflate.flush(zlib.Z_SYNC_FLUSH) + deflate.flush(zlib.Z_FULL_FLUSH)
        made.append(coded)
    made[-1] += deflate.flush()
    return made


def offsets_of(chunks: list[bytes]) -> list[int]:
    places = [0]
    for chunk in chunks:
        places.append(places[-1] + len(chunk))
    return places[1:-1]


def indexed(
    data: bytes,
    *,
    chunk: int = CHUNK,
    width: int = 8,
    descriptor: str = "",
    local_extra: bytes = b"",
    offsets: list[int] | None = None,
    index_name: str = INDEX,
    skipped: bytes = b"",
    crc: int | None = None,
    tail: bytes = b"",
    **fields: Any,
) -> bytes:
    """An archive of `data` under NAME, with an index.

    descriptor: layout of a data descriptor, as of struct, without its signature. fields: of the index, in place of the
    right ones. tail: put behind the index.
    """
    chunks = chunks_of(data, chunk)
    coded, name = b"".join(chunks), NAME.encode()
    right = {"version": 1, "skip": len(skipped), "chunk": chunk, "width": width, "size": len(data), "coded": len(coded)}
    index = struct.pack("<4I2Q", *{**right, **fields}.values()) + skipped
    index += b"".join(each.to_bytes(width, "little") for each in (offsets_of(chunks) if offsets is None else offsets))
    flags, known = (8, (0, 0, 0)) if descriptor else (0, (zlib.crc32(data), len(coded), len(data)))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, 8, 0, 33, *known, len(name), len(local_extra))
    body = local + name + local_extra + coded
    if descriptor:
        body += b"PK\7\x08" + struct.pack(descriptor, zlib.crc32(data), len(coded), len(data))
    crc = zlib.crc32(index) if crc is None else crc
    body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, crc, len(index), len(index), len(index_name), 0)
    body += index_name.encode() + index + tail
    sizes = zlib.crc32(data), len(coded), len(data)
    central = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, flags, 8, 0, 33, *sizes, len(name), 0, 0, 0, 0, 0, 0) + name
    return body + central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central), len(body), 0)
