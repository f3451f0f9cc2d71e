"""Files for the tests of compat.zipfly64, and what is made of them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

from tests.support import oracles
from tests.support.loops import other_tasks, run
from zipstream_adapter.compat.zipfly64 import GenFile

TIME = 1_600_000_000


def plain(data: bytes, step: int = 100) -> Generator[bytes, None, None]:
    for at in range(0, len(data), step):
        yield data[at : at + step]


async def later(data: bytes, step: int = 100) -> AsyncGenerator[bytes, None]:
    for chunk in plain(data, step):
        await asyncio.sleep(0)
        yield chunk


def gen(name: str, data: bytes = b"data", on_loop: bool = False, **options: Any) -> GenFile:
    return GenFile(name, later(data) if on_loop else plain(data), modification_time=TIME, **options)


def known(name: str, data: bytes = b"data", on_loop: bool = False) -> GenFile:
    return gen(name, data, on_loop, size=len(data), crc=zlib.crc32(data))


def whole(chunks: AsyncGenerator[bytes, None]) -> bytes:
    async def gathered() -> bytes:
        found = b"".join([chunk async for chunk in chunks])
        assert not other_tasks()
        return found

    return run(gathered())


def judged(data: bytes, folder: Path) -> dict[str, bytes]:
    (folder / "judged.zip").write_bytes(data)
    for reads in oracles.BY_DIRECTORY.values():
        assert reads(folder / "judged.zip"), reads
    return oracles.members(data)
