"""compat.stream_zip: programs written for stream-zip, run as they are, their archives judged by outsiders."""

from __future__ import annotations

import inspect
import io
import os
import stat
import threading
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_unzip import stream_unzip

import zipstream_adapter
from tests.support import oracles
from tests.support.strategies import noise
from zipstream_adapter.compat import stream_zip as compat
from zipstream_adapter.compat.stream_zip import (
    NO_COMPRESSION_32,
    NO_COMPRESSION_64,
    ZIP_32,
    ZIP_64,
    ZIP_AUTO,
    Method,
    async_stream_zip,
    stream_zip,
)

NOW = datetime(2021, 1, 1, 21, 1, 12)
MODE = stat.S_IFREG | 0o600
METHODS = {
    "32": ZIP_32,
    "64": ZIP_64,
    "auto": ZIP_AUTO(20_000),
    "none 32": NO_COMPRESSION_32,
    "none 64": NO_COMPRESSION_64,
    "none 32 known": NO_COMPRESSION_32(20_000, zlib.crc32(b"a" * 10_000 + b"b" * 10_000)),
    "none 64 known": NO_COMPRESSION_64(20_000, zlib.crc32(b"a" * 10_000 + b"b" * 10_000)),
}
CHUNKS = (b"a" * 10_000, b"b" * 10_000)


def member(name: str = "file", method: Method = ZIP_32, chunks: Any = CHUNKS) -> Any:
    return name, NOW, MODE, method, chunks


def made(*members: Any, **options: Any) -> bytes:
    return b"".join(stream_zip(members, **options))


def infos(data: bytes) -> list[zipfile.ZipInfo]:
    return zipfile.ZipFile(io.BytesIO(data)).infolist()


async def later(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def gathered(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def test_a_program_as_its_documentation_shows_it(tmp_path: Path) -> None:
    def data(number: int) -> Iterator[bytes]:
        yield b"Some bytes "
        yield str(number).encode()

    def files() -> Iterator[Any]:
        for number, method in enumerate((ZIP_32, ZIP_64, ZIP_AUTO(12), NO_COMPRESSION_32, NO_COMPRESSION_64)):
            yield f"ünder/my-file-{number}.txt", datetime.now(), MODE, method, data(number)
        yield "my-dir/", datetime.now(), stat.S_IFDIR | 0o700, ZIP_32, ()
        yield "my-link", datetime.now(), stat.S_IFLNK | 0o600, ZIP_32, (b"my-dir",)

    path = tmp_path / "my.zip"
    with open(path, "wb") as file:
        for chunk in stream_zip(files()):
            file.write(chunk)
    # bsdtar 3.8 prints no link whose target is deflated from a file, nor one that zipfile wrote.
    for verdict in (oracles.unzip(path), oracles.seven_zip(path), oracles.bsdtar_pipe(path.read_bytes())):
        assert verdict, verdict.said
    found = oracles.members(path.read_bytes())
    assert found["ünder/my-file-4.txt"] == b"Some bytes 4"
    assert len(found) == 7


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
async def test_every_method_is_read_back_and_the_same_asynchronously(method: Method) -> None:
    data = made(member("one", method), member("two", method))
    assert [(name, b"".join(chunks)) for name, _, chunks in stream_unzip([data])] == [
        (b"one", b"".join(CHUNKS)),
        (b"two", b"".join(CHUNKS)),
    ]
    files = later([member("one", method, later(CHUNKS)), member("two", method, CHUNKS)])
    assert await gathered(async_stream_zip(files)) == data


def test_what_stands_in_the_records(tmp_path: Path) -> None:
    data = made(*(member(name, method) for name, method in METHODS.items()))
    found = {info.filename: info for info in infos(data)}
    for name in ("32", "64", "auto"):
        assert found[name].flag_bits & 8
        assert found[name].compress_type == ZIP_DEFLATED
    for name in ("none 32", "none 64", "none 32 known", "none 64 known"):
        assert not found[name].flag_bits & 8
        assert found[name].compress_type == ZIP_STORED
    assert {name for name, info in found.items() if info.extract_version >= 45} == {"64", "none 64", "none 64 known"}
    assert bytes(found["32"].extra[:4]) == b"UT\5\0"


def test_signatures_are_theirs() -> None:
    for function in (stream_zip, async_stream_zip):
        assert list(inspect.signature(function).parameters) == [
            "files", "chunk_size", "get_compressobj", "extended_timestamps", "password", "get_crypto_random",
        ]  # fmt: skip
    assert set(compat.__all__) <= set(dir(compat))


def test_the_tree_of_errors() -> None:
    tree = {
        compat.ZipValueError: (compat.ZipError, ValueError),
        compat.ZipIntegrityError: (compat.ZipValueError,),
        compat.CRC32IntegrityError: (compat.ZipIntegrityError,),
        compat.UncompressedSizeIntegrityError: (compat.ZipIntegrityError,),
        compat.ZipOverflowError: (compat.ZipValueError, OverflowError),
        compat.OffsetOverflowError: (compat.ZipOverflowError,),
        compat.NameLengthOverflowError: (compat.ZipOverflowError,),
        compat.CompressedSizeOverflowError: (compat.ZipOverflowError,),
        compat.UncompressedSizeOverflowError: (compat.ZipOverflowError,),
        compat.CentralDirectorySizeOverflowError: (compat.ZipOverflowError,),
        compat.CentralDirectoryNumberOfEntriesOverflowError: (compat.ZipOverflowError,),
    }
    for kind, parents in tree.items():
        assert issubclass(kind, parents[0]) and issubclass(kind, parents[-1])
        assert issubclass(kind, zipstream_adapter.ZipStreamError)


@pytest.mark.parametrize("call", [NO_COMPRESSION_32, NO_COMPRESSION_64])
@pytest.mark.parametrize(
    ("size", "crc32", "error"),
    [
        (2, 1, compat.CRC32IntegrityError),
        (1, 0x9E83486D, compat.UncompressedSizeIntegrityError),
        (3, 0x9E83486D, compat.UncompressedSizeIntegrityError),
    ],
)
async def test_a_promise_that_is_not_kept(call: Any, size: int, crc32: int, error: type[Exception]) -> None:
    def files(data: Any) -> Any:
        return [member("good"), member("bad", call(size, crc32), data)]

    with pytest.raises(error, match="bad"):
        made(*files([b"ab"]))
    with pytest.raises(error, match="bad"):
        await gathered(async_stream_zip(later([member("bad", call(size, crc32), later([b"ab"]))])))


@pytest.mark.parametrize("call", [NO_COMPRESSION_32, NO_COMPRESSION_64])
def test_a_promise_of_a_directory_that_is_not_kept(call: Any) -> None:
    with pytest.raises(compat.UncompressedSizeIntegrityError, match="bad/"):
        made(member("bad/", call(1, 0), []))
    with pytest.raises(compat.CRC32IntegrityError, match="bad/"):
        made(member("bad/", call(0, 1), []))
    made(member("good/", call(0, 0), []))


def zeros(size: int) -> Iterator[bytes]:
    block = bytes(1 << 20)
    for _ in range(size >> 20):
        yield block


@pytest.mark.large
def test_what_needs_zip64_is_refused_where_it_is_refused() -> None:
    large = 5 << 30
    cases: list[tuple[type[Exception], list[Any]]] = [
        (compat.UncompressedSizeOverflowError, [member("a", ZIP_32, zeros(large))]),
        (compat.OffsetOverflowError, [member("a", ZIP_AUTO(large, level=0), zeros(large)), member("b", ZIP_32)]),
    ]
    for error, files in cases:
        with pytest.raises(error):
            sum(map(len, stream_zip(files)))


@pytest.mark.parametrize(
    ("error", "members"),
    [(compat.UncompressedSizeOverflowError, [(ZIP_32, 1000)]),
     (compat.CompressedSizeOverflowError, [(ZIP_32, 999)]),
     (compat.OffsetOverflowError, [(NO_COMPRESSION_64, 999), (ZIP_32, 1)])],
)  # fmt: skip
def test_which_value_it_was_that_needed_zip64(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], members: list[tuple[Method, int]]
) -> None:
    monkeypatch.setattr("zipstream_adapter._writer.member.LIMIT32", 1000)  # stands in for 4 GiB
    monkeypatch.setattr("zipstream_adapter._writer.stream_archive._NEAR_LIMIT32", -1)
    files = [member(str(number), method, (noise(1, size),)) for number, (method, size) in enumerate(members)]
    with pytest.raises(error, match=f"'{len(members) - 1}'"):
        made(*files)


def test_what_no_member_allows_is_refused_between_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipstream_adapter.compat.stream_zip._members.LIMIT32", 1000)  # stands in for 4 GiB
    monkeypatch.setattr("zipstream_adapter._writer.stream_archive._NEAR_LIMIT32", -1)
    with pytest.raises(compat.OffsetOverflowError, match="1 members"):
        made(member("a", NO_COMPRESSION_32, (bytes(2000),)))
    with pytest.raises(compat.CentralDirectorySizeOverflowError, match="1 members"):
        made(member("a" * 950, NO_COMPRESSION_32, ()))
    made(member("a" * 936, NO_COMPRESSION_32, ()))


def test_a_declared_size_past_4_gib_without_zip64_is_refused_before_the_data() -> None:
    with pytest.raises(compat.UncompressedSizeOverflowError, match="zip64"):
        made(member("a", NO_COMPRESSION_32(5 << 30, 1), iter([])))


def test_too_many_members_and_too_long_names() -> None:
    def many(method: Method) -> Iterator[bytes]:
        return stream_zip(member(str(number), method, ()) for number in range(0x10000))

    with pytest.raises(compat.CentralDirectoryNumberOfEntriesOverflowError, match="65536"):
        list(many(ZIP_32))
    with pytest.raises(compat.NameLengthOverflowError):
        made(member("é" * 0x8000))


@pytest.mark.sweep
def test_65536_members() -> None:
    files = (member(str(number), ZIP_AUTO(0), ()) for number in range(0x10000))
    assert len(infos(b"".join(stream_zip(files)))) == 0x10000


@pytest.mark.parametrize("zone", [None, *(timezone(timedelta(hours=hours)) for hours in (0, 1, -1))])
@pytest.mark.parametrize("method", [ZIP_32, ZIP_64, NO_COMPRESSION_32, NO_COMPRESSION_64])
def test_dates_are_the_clocks_and_the_instant(zone: Any, method: Method) -> None:
    date = datetime(2011, 1, 1, 1, 2, 3, 123, tzinfo=zone)
    (info,) = infos(made(("file", date, MODE, method, ())))
    assert info.date_time == (2011, 1, 1, 1, 2, 2)
    at = info.extra.index(b"UT\5\0")
    assert int.from_bytes(info.extra[at + 5 : at + 9], "little") == int(date.timestamp())
    (info,) = infos(made(("file", date, MODE, method, ()), extended_timestamps=False))
    assert b"UT" not in info.extra


def test_dates_past_2038_and_outside_of_the_format() -> None:
    (info,) = infos(made(("file", datetime(2040, 1, 1, tzinfo=UTC), MODE, ZIP_32, ())))
    assert (info.date_time[0], info.extra) == (2040, b"")
    with pytest.raises(ValueError, match="1980"):
        made(("file", datetime(1979, 1, 1), MODE, ZIP_32, ()))


@pytest.mark.parametrize(
    ("name", "mode", "stored"),
    [
        ("dir/", stat.S_IFDIR | 0o700, stat.S_IFDIR | 0o700),
        ("dir/", stat.S_IFREG | 0o700, stat.S_IFREG | 0o700),
        ("dir", stat.S_IFDIR | 0o700, stat.S_IFDIR | 0o700),
        ("file", 0o600, stat.S_IFREG | 0o600),
    ],
)
def test_modes_are_stored_as_they_are_given(name: str, mode: int, stored: int) -> None:
    (info,) = infos(made((name, NOW, mode, ZIP_64, ())))
    assert info.external_attr == stored << 16 | (0x10 if name.endswith("/") else 0)


def test_what_is_refused() -> None:
    for bad in (
        member("dir/", ZIP_32, (b"data",)),
        member("file", ZIP_AUTO),  # type: ignore[arg-type]
        ("file", NOW, -1, ZIP_32, ()),
    ):
        with pytest.raises(ValueError, match=r"dir/|file"):
            made(bad)
    with pytest.raises(TypeError):
        made(member("file", NO_COMPRESSION_32, ["text"]))
    with pytest.raises(ValueError, match="level"):
        made(member("file", ZIP_AUTO(1, level=10)))
    assert infos(made(member("file", ZIP_AUTO(1, level=-1))))


def test_own_compressors_are_used_for_32_and_64_only() -> None:
    asked = []

    def get() -> Any:
        asked.append(True)
        return zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS)

    data = made(
        member("32", ZIP_32),
        member("64", ZIP_64),
        member("auto", ZIP_AUTO(20_000)),
        member("none", NO_COMPRESSION_32),
        get_compressobj=get,
    )
    assert len(asked) == 2
    sizes = {info.filename: info.compress_size for info in infos(data)}
    assert min(sizes["32"], sizes["64"]) > 20_000 > sizes["auto"]
    assert len(set(oracles.members(data).values())) == 1


async def test_own_compressors_asynchronously() -> None:
    asked: list[int] = []

    def get() -> Any:
        asked.append(threading.get_ident())
        return zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)

    files = [member("a", ZIP_32, later([os.urandom(70_000)] * 3))]
    data = await gathered(async_stream_zip(later(files), get_compressobj=get))
    assert oracles.python(data)
    assert len(asked) == 1


@given(st.lists(st.binary(max_size=5000), max_size=5), st.sampled_from([*METHODS][:5]), st.integers(1, 3000))
def test_whatever_the_chunks_the_data_is_the_same(chunks: list[bytes], method: str, chunk_size: int) -> None:
    out = list(stream_zip([member("a", METHODS[method], chunks)], chunk_size=chunk_size))
    assert all(0 < len(chunk) <= chunk_size for chunk in out)
    assert oracles.members(b"".join(out)) == {"a": b"".join(chunks)}


def test_chunks_that_are_overwritten_are_kept() -> None:
    buffer = bytearray(b"first")

    def data() -> Iterator[bytearray]:
        yield buffer
        buffer[:] = b"later"
        yield buffer

    assert oracles.members(made(member("a", NO_COMPRESSION_32, data()))) == {"a": b"firstlater"}


class Watched:
    """Data that fails or goes on, and says when it was closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closed = 0
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield os.urandom(200_000)
        while self._error is None:
            yield os.urandom(200_000)
        raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("method", [NO_COMPRESSION_64, NO_COMPRESSION_32(400_000, 0)])
def test_nothing_follows_a_source_that_failed(method: Method) -> None:
    source = Watched(OSError("it broke"))
    chunks = stream_zip([member("good"), member("bad", method, source), member("more")])
    out = b""
    with pytest.raises(OSError, match="it broke"):
        for chunk in chunks:
            out += chunk
    assert list(chunks) == []
    assert not oracles.python(out)
    assert source.closed == 1


async def test_a_source_that_is_read_in_advance_and_fails() -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"x"
        raise OSError("it broke")

    with pytest.raises(OSError, match="it broke"):
        await gathered(async_stream_zip(later([member("bad", NO_COMPRESSION_64, data())])))
