"""Programs written for aiozipstream: what they pass, what they get, and what is better than it was."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.test_zipstream import infos, judged
from tests.support import oracles
from zipstream_adapter import EntryTypeError, StreamStateError
from zipstream_adapter.compat import aiozipstream
from zipstream_adapter.compat.aiozipstream import AioZipStream, ZipStream


async def gathered(stream: Any) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def ticks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


def grow(place: Path) -> list[dict[str, Any]]:
    (place / "a.txt").write_bytes(b"on disk\n" * 10_000)
    return [
        {"file": str(place / "a.txt")},
        {"file": place / "a.txt", "name": "copies/é.txt", "compression": "deflate"},
        {"file": os.fsencode(place / "a.txt"), "name": "b", "compression": None},
    ]


FILES = {"a.txt": b"on disk\n" * 10_000, "copies/é.txt": b"on disk\n" * 10_000, "b": b"on disk\n" * 10_000}


# As documented


def test_files_and_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    files = [*grow(tmp_path), {"stream": [b"1", b"", b"2"], "name": "s", "compression": "deflate"}]
    zs = ZipStream(files, chunksize=32768)
    data = b"".join(zs.stream())
    assert judged(data, tmp_path) == {**FILES, "s": b"12"}
    assert [info.flag_bits for info in infos(data).values()] == [8, 0x808, 8, 8]
    assert [info.compress_type for info in infos(data).values()] == [0, 8, 0, 8]
    assert b"".join(zs.stream()) == data
    assert "name" not in files[0]


async def test_files_and_async_streams(tmp_path: Path) -> None:
    files = [*grow(tmp_path), {"stream": ticks(b"1", b"2"), "name": "s"}, {"stream": iter([b"plain"]), "name": "p"}]
    data = await gathered(AioZipStream(files, chunksize=32768).stream())
    assert judged(data, tmp_path) == {**FILES, "s": b"12", "p": b"plain"}
    assert {info.flag_bits for info in infos(data).values()} == {8, 0x808}


async def test_an_async_list_of_files(tmp_path: Path) -> None:
    ended = []

    async def files() -> AsyncIterator[dict[str, Any]]:
        try:
            for item in grow(tmp_path):
                await asyncio.sleep(0)
                yield item
            yield {"stream": ticks(b"S"), "name": "s"}
        finally:
            ended.append(1)

    assert judged(await gathered(AioZipStream(files()).stream()), tmp_path) == {**FILES, "s": b"S"}
    assert ended == [1]


async def test_a_generator_of_files(tmp_path: Path) -> None:
    assert judged(b"".join(ZipStream(iter(grow(tmp_path))).stream()), tmp_path) == FILES
    assert judged(await gathered(AioZipStream(iter(grow(tmp_path))).stream()), tmp_path) == FILES


@pytest.mark.parametrize("chunksize", [1, 1024, 100_000])
async def test_small_pieces_are_joined(chunksize: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    # A machine that stalls must not pass for a slow source.
    monkeypatch.setattr("zipstream_adapter._stream.producer.PATIENCE", 1e9)
    files = [{"stream": [b"x" * 100] * 10_000, "name": "a"}]
    chunks = list(ZipStream(files, chunksize).stream())
    assert all(chunks) and len(chunks) < 20
    assert b"".join(chunks) == await gathered(AioZipStream(files, chunksize=chunksize).stream())


def test_what_is_no_file_is_refused() -> None:
    for item in ({}, {"stream": [b""]}, {"name": "a"}, "a", {"stream": [], "name": "a", "compression": "lzma"}):
        with pytest.raises(EntryTypeError):
            list(ZipStream([item]).stream())


def test_constants_are_those_of_the_format() -> None:
    data = b"".join(ZipStream([{"stream": [b"x"], "name": "a"}]).stream())
    found = aiozipstream.consts
    for magic in (found.LF_MAGIC, found.DD_MAGIC, found.CDFH_MAGIC, found.CD_END_MAGIC):
        assert data.count(magic) == 1
    assert data[-found.CD_END_STRUCT.size :].startswith(found.CD_END_MAGIC)


# What is better than it was


async def test_what_was_read_before_is_refused() -> None:
    zs = ZipStream({"stream": [b"x"], "name": name} for name in "ab")
    assert list(oracles.members(b"".join(zs.stream()))) == ["a", "b"]
    with pytest.raises(StreamStateError, match="earlier"):
        list(zs.stream())
    zs = ZipStream([{"stream": (chunk for chunk in [b"x"]), "name": "a"}])
    list(zs.stream())
    with pytest.raises(StreamStateError, match="read before"):
        list(zs.stream())
    aio = AioZipStream([{"stream": ticks(b"x"), "name": "a"}])
    await gathered(aio.stream())
    with pytest.raises(StreamStateError, match="read before"):
        await gathered(aio.stream())


async def test_a_slow_list_of_files_does_not_block_the_loop() -> None:
    here, where = threading.get_ident(), []

    def files() -> Iterator[dict[str, Any]]:
        where.append(threading.get_ident())
        time.sleep(0.01)
        yield {"stream": ticks(b"x"), "name": "a"}

    assert oracles.members(await gathered(AioZipStream(files()).stream())) == {"a": b"x"}
    assert here not in where


def test_dates_modes_and_names(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"F")
    path.chmod(0o750)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    found = infos(b"".join(ZipStream([{"file": path, "name": "../../f"}]).stream()))["f"]
    assert found.external_attr >> 16 & 0o777 == 0o750
    assert found.date_time == time.localtime(1_700_000_000)[:6]
