"""What no zip writer can be faster than: the data through checksum, compressor and headers, and no more."""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from tests.benchmarks.workloads import Member, Source, Work

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_FLAGS, _TIME, _DATE = 0, 0, 0x21


def large(work: Work, sources: list[Source]) -> Iterator[bytes]:
    """Read, and checksum; or deflate; or list a tree, and read its files."""
    if work.shape == "tree":
        yield from limit_tree(str(sources[0].path))
        return
    for source in sources:
        if work.level is None:
            yield from limit_stored(source.chunks())
        else:
            yield from limit_deflate(source.chunks(), work.level, work.options["workers"])


def small(work: Work, members: Iterator[Member]) -> Iterator[bytes]:
    return limit_members(members)


def limit_stored(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks, through the fastest CRC-32 there is."""
    from zipstream_adapter._compression.crc32 import fastest_crc32

    crc32 = fastest_crc32()
    crc = 0
    for chunk in chunks:
        crc = crc32(chunk, crc)
        yield chunk


def limit_deflate(chunks: Iterable[bytes], level: int, workers: int) -> Iterator[bytes]:
    """The chunks, checksummed, cut and deflated by so many threads; without zip.

    At level 1 by ISA-L 1, the fastest there is; else by the engine that the package takes.
    """
    from zipstream_adapter._compression.block_deflate import BLOCK
    from zipstream_adapter._compression.crc32 import fastest_crc32
    from zipstream_adapter._compression.engines import WINDOW, choose_engines, deflate_block

    engine, engine_level = ("isal", 1) if level == 1 else choose_engines("auto", level).blocks
    crc32, crc = fastest_crc32(), 0
    flying: deque[Future[bytes]] = deque()
    dictionary = b""
    with ThreadPoolExecutor(workers) as pool:
        for chunk in chunks:
            crc = crc32(chunk, crc)
            for at in range(0, len(chunk), BLOCK):
                block = chunk[at : at + BLOCK]
                flying.append(pool.submit(deflate_block, engine, engine_level, block, dictionary, False))
                dictionary = block[-WINDOW:]
                while len(flying) > 2 * workers:
                    yield flying.popleft().result()
        flying.append(pool.submit(deflate_block, engine, engine_level, b"", dictionary, True))
        while flying:
            yield flying.popleft().result()


def limit_tree(place: str) -> Iterator[bytes]:
    """The data of all files below the directory `place`: scandir, and open, read and close for each."""
    with os.scandir(place) as items:
        found = list(items)
    for item in found:
        if item.is_dir():
            yield from limit_tree(item.path)
        else:
            descriptor = os.open(item.path, os.O_RDONLY)
            yield os.read(descriptor, 1 << 16)
            os.close(descriptor)


def limit_members(members: Iterable[Member], chunk_size: int = 65536) -> Iterator[bytes]:
    """An archive with nothing looked at: two records packed for each member, joined to chunks."""
    parts: list[bytes] = []
    directory: list[bytes] = []
    waiting = offset = 0
    for name, data in members:
        raw, size, crc = name.encode("ascii"), len(data), zlib.crc32(data)
        local = _LOCAL.pack(b"PK\3\4", 20, _FLAGS, 0, _TIME, _DATE, crc, size, size, len(raw), 0)
        directory += (
            _CENTRAL.pack(
                *(b"PK\1\2", 20, 20, _FLAGS, 0, _TIME, _DATE, crc, size, size, len(raw), 0, 0, 0, 0, 0, offset)
            ),
            raw,
        )
        parts += local, raw, data
        waiting += 30 + len(raw) + size
        offset += 30 + len(raw) + size
        if waiting >= chunk_size:
            yield b"".join(parts)
            parts.clear()
            waiting = 0
    count = min(len(directory) // 2, 0xFFFF)
    yield b"".join(parts)
    for at in range(0, len(directory), 1000):
        yield b"".join(directory[at : at + 1000])
    yield _END.pack(b"PK\5\6", 0, 0, count, count, sum(map(len, directory)), offset, 0)
