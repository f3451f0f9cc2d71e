"""Programs written for aiozipstream: what they pass, what they get, and what is better than it was."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import oracles
from tests.compat.test_zipstream import infos, judged, local_flags
from tests.faults import BoomError
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
    assert local_flags(data) == {"a.txt": 8, "copies/é.txt": 0x808, "b": 8, "s": 8}
    assert [info.compress_type for info in infos(data).values()] == [0, 8, 0, 8]
    assert b"".join(zs.stream()) == data
    assert "name" not in files[0]


async def test_files_and_async_streams(tmp_path: Path) -> None:
    files = [*grow(tmp_path), {"stream": ticks(b"1", b"2"), "name": "s"}, {"stream": iter([b"plain"]), "name": "p"}]
    data = await gathered(AioZipStream(files, chunksize=32768).stream())
    assert judged(data, tmp_path) == {**FILES, "s": b"12", "p": b"plain"}
    assert set(local_flags(data).values()) == {8, 0x808}


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


async def test_without_files_the_archive_is_empty() -> None:
    assert b"".join(ZipStream().stream()) == await gathered(AioZipStream().stream()) == b"PK\5\6" + bytes(18)


def test_nothing_is_read_before_iteration(tmp_path: Path) -> None:
    def files() -> Iterator[dict[str, Any]]:
        (tmp_path / "made").write_bytes(b"late")
        yield {"file": tmp_path / "made"}

    stream = ZipStream(files()).stream()
    assert not (tmp_path / "made").exists()
    assert judged(b"".join(stream), tmp_path) == {"made": b"late"}


@pytest.mark.parametrize("chunksize", [1, 1024, 100_000])
async def test_small_pieces_are_joined(chunksize: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
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


def test_the_descriptor_has_the_formats_signature() -> None:
    data = b"".join(ZipStream([{"stream": [b"data"], "name": "a"}]).stream())
    assert data[data.index(b"data") + 4 :].startswith(b"PK\7\x08")
    assert b"\x08\x07KP" not in data


def test_more_members_than_a_plain_archive_holds(tmp_path: Path) -> None:
    files = ({"stream": [b"x"], "name": f"{number}"} for number in range(65_600))
    archive = tmp_path / "many.zip"
    archive.write_bytes(b"".join(ZipStream(files).stream()))
    for judge in (oracles.unzip, oracles.bsdtar):
        assert judge(archive)
    assert len(infos(archive.read_bytes())) == 65_600


def failing(chunk: bytes) -> Iterator[bytes]:
    yield chunk
    raise BoomError("the source failed")


async def test_a_failing_source_leaves_no_archive(tmp_path: Path) -> None:
    def files() -> Iterable[dict[str, Any]]:
        return [{"stream": failing(b"B" * 100_000), "name": "bad"}, {"stream": [b"C"], "name": "c"}]

    parts: list[bytes] = []
    stream = ZipStream(files()).stream()
    with pytest.raises(BoomError):
        parts.extend(stream)
    assert list(stream) == []
    assert not oracles.python(b"".join(parts))
    with pytest.raises(BoomError):
        await gathered(AioZipStream(files()).stream())
    with pytest.raises(FileNotFoundError):
        await gathered(AioZipStream([{"file": tmp_path / "gone"}]).stream())


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


async def test_given_up_it_closes_what_is_open() -> None:
    ended: list[str] = []

    async def source() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            ended.append("source")

    async def files() -> AsyncIterator[dict[str, Any]]:
        try:
            yield {"stream": source(), "name": "endless"}
        finally:
            ended.append("files")

    stream = AioZipStream(files()).stream()
    assert await anext(stream)
    await stream.aclose()
    assert ended == ["source", "files"]
    assert [chunk async for chunk in stream] == []


async def test_a_slow_list_of_files_does_not_block_the_loop() -> None:
    here, where = threading.get_ident(), []

    def files() -> Iterator[dict[str, Any]]:
        where.append(threading.get_ident())
        time.sleep(0.01)
        yield {"stream": ticks(b"x"), "name": "a"}

    assert oracles.members(await gathered(AioZipStream(files()).stream())) == {"a": b"x"}
    assert here not in where


def test_a_callers_file_stays_open() -> None:
    kept = io.BytesIO(b"1\n2\n")
    assert oracles.members(b"".join(ZipStream([{"stream": kept, "name": "a"}]).stream())) == {"a": b"1\n2\n"}
    assert kept.getvalue()


def test_dates_modes_and_names(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"F")
    path.chmod(0o750)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    found = infos(b"".join(ZipStream([{"file": path, "name": "../../f"}]).stream()))["f"]
    assert found.external_attr >> 16 & 0o777 == 0o750
    assert found.date_time == time.localtime(1_700_000_000)[:6]
