"""compat.zipfly64: programs written for zipFly64."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compat.zipfly import TIME, gen, judged, known, plain, whole
from tests.support import oracles
from tests.support.loops import run
from zipstream_adapter import IntegrityError, ZipStreamError
from zipstream_adapter.compat import zipfly64
from zipstream_adapter.compat.zipfly64 import BaseFile, EmptyFolder, GenFile, LocalFile, ZipFly, consts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "input.bin").write_bytes(bytes(range(256)) * 1000)
    return tmp_path / "input.bin"


# As it is documented.


def test_local_files(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = judged(
        b"".join(
            ZipFly(
                [
                    LocalFile(file_path="input.bin", compression_method=consts.NO_COMPRESSION),
                    LocalFile(file_path=str(path), name="files/b.bin", compression_method=consts.COMPRESSION_DEFLATE),
                    LocalFile(path),
                    EmptyFolder("empty"),
                ]
            ).stream()
        ),
        tmp_path,
    )
    assert found == {"empty/": b""} | dict.fromkeys(["input.bin", "files/b.bin", str(path)[1:]], path.read_bytes())


@pytest.mark.parametrize("way", ["stream", "async_stream", "async_stream_parallel"])
def test_generated_files(way: str, path: Path, tmp_path: Path) -> None:
    on_loop = way != "stream"
    fly = ZipFly(
        [
            gen("a", b"a" * 1000, on_loop, compression_method=consts.COMPRESSION_DEFLATE),
            gen("b", b"b" * 1000, on_loop, size=1000),
            known("Grüße", b"c" * 200_000, on_loop),
            LocalFile(path, "d"),
            EmptyFolder("e/", modification_time=TIME),
        ]
    )
    assert not fly.was_used()
    data = b"".join(fly.stream()) if way == "stream" else whole(getattr(fly, way)())
    assert fly.was_used()
    assert judged(data, tmp_path) == {
        "a": b"a" * 1000,
        "b": b"b" * 1000,
        "Grüße": b"c" * 200_000,
        "d": path.read_bytes(),
        "e/": b"",
    }
    with zipfile.ZipFile(io.BytesIO(data)) as read:
        assert read.getinfo("a").date_time == (2020, 9, 13, 12, 26, 40)
        assert [info.compress_type for info in read.infolist()] == [8, 0, 0, 0, 0]


def test_plain_generators_on_a_loop() -> None:
    assert oracles.members(whole(ZipFly([gen("a")]).async_stream())) == {"a": b"data"}


def test_lazy_files() -> None:
    made: list[str] = []

    def files() -> Iterator[BaseFile]:
        for name in "abc":
            made.append(name)
            yield gen(name, b"x" * 200_000)

    fly = ZipFly(files())
    with pytest.raises(RuntimeError, match="for lazy files"):
        fly.calculate_archive_size()
    chunks = fly.stream()
    assert made == []
    next(chunks)
    assert made == ["a"]
    assert list(oracles.members(b"".join(ZipFly(files()).stream()))) == ["a", "b", "c"]


# Sizes.


@given(
    st.lists(st.tuples(st.text("abc/.\\", min_size=1, max_size=4), st.binary(max_size=200), st.booleans()), max_size=5)
)
def test_the_size_is_the_length(found: list[tuple[str, bytes, bool]]) -> None:
    def files() -> list[BaseFile]:
        return [
            EmptyFolder(name) if name.endswith("/") else (known if both else sized)(name, data)
            for name, data, both in found
        ]

    def sized(name: str, data: bytes) -> GenFile:
        return gen(name, data, size=len(data))

    fly = ZipFly(files())
    try:
        size = fly.calculate_archive_size()
    except (RuntimeError, ZipStreamError):  # names that cannot be stored together
        with pytest.raises(ZipStreamError):
            list(ZipFly(files()).stream())
        return
    assert size == len(b"".join(fly.stream())) == fly.calculate_archive_size()


def test_sizes_of_files_that_are_elsewhere(path: Path) -> None:
    fly = ZipFly([LocalFile(path, "a"), gen("b", size=5 << 30), EmptyFolder("c")])
    assert (5 << 30) + 256_000 < fly.calculate_archive_size() < (5 << 30) + 257_000


def test_sizes_that_nobody_knows(path: Path) -> None:
    for file in (gen("a"), LocalFile(path, compression_method=consts.COMPRESSION_DEFLATE)):
        with pytest.raises(RuntimeError, match="Cannot calculate"):
            ZipFly([file]).calculate_archive_size()


# Promises, uses, failures.


@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("on_loop", [False, True])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 5}, r"Size\(5\) != streamed size\(4\)"),
        ({"size": 3}, r"Size\(3\) != streamed size\(4\)"),
        ({"crc": 1}, rf"Crc\(1\) != streamed crc\({zlib.crc32(b'data')}\)"),
        ({"size": 4, "crc": 1, "validate_crc": False}, r"Crc\(1\) != streamed crc"),
        ({"size": 5, "crc": 1}, r"Size\(5\) != streamed size\(4\)"),
    ],
)
def test_promises_that_are_broken(options: dict[str, Any], said: str, on_loop: bool, offset: int) -> None:
    fly = ZipFly([gen("a", b"data", on_loop, **options)], byte_offset=offset)
    with pytest.raises(RuntimeError, match=said) as caught:
        whole(fly.async_stream()) if on_loop else list(fly.stream())
    assert isinstance(caught.value, IntegrityError)


def test_one_use() -> None:
    file = gen("a")
    fly = ZipFly([file])
    list(fly.stream())
    with pytest.raises(RuntimeError, match="Do not re-use zipFly instances"):
        list(fly.stream())
    with pytest.raises(RuntimeError, match="Do not re-use zipFly instances"):
        whole(fly.async_stream_parallel())
    with pytest.raises(RuntimeError, match="Do not re-use file instances"):
        list(ZipFly([file]).stream())


def test_a_source_that_is_read_in_advance_and_fails() -> None:
    async def failing() -> AsyncGenerator[bytes, None]:
        yield b"data"
        raise OSError("gone")

    left: list[bytes] = []

    async def gathered() -> None:
        chunks = ZipFly([gen("a", on_loop=True), GenFile("b", failing())]).async_stream_parallel()
        while True:
            left.append(await anext(chunks))

    with pytest.raises(OSError, match="gone"):
        run(gathered())
    assert not oracles.python(b"".join(left))


def test_what_is_known_of_a_finished_file() -> None:
    file = gen("b", b"x" * 1000, compression_method=consts.COMPRESSION_DEFLATE)
    fly = ZipFly([gen("a"), file])
    for ask in ("size", "compressed_size", "crc", "offset"):
        with pytest.raises(RuntimeError, match="before file data finished streaming"):
            getattr(file, ask)
    with zipfile.ZipFile(io.BytesIO(b"".join(fly.stream()))) as read:
        info = read.getinfo("b")
    assert (file.size, file.compressed_size, file.crc, file.offset) == (
        1000,
        info.compress_size,
        info.CRC,
        info.header_offset,
    )
    last = known("c")
    list(ZipFly([last], byte_offset=50).stream())
    assert (last.size, last.crc, last.offset) == (4, zlib.crc32(b"data"), 0)


# Files.


def test_names_that_are_taken_are_numbered() -> None:
    names = ["a.txt", "a.txt", "a1.txt", "a (1).txt", "d.x/a", "d.x/a", "e/", "e/", "a.txt"]
    files = [EmptyFolder(name) if name.endswith("/") else gen(name) for name in names]
    found = list(oracles.members(b"".join(ZipFly(files).stream())))
    assert found == [
        "a.txt", "a (1).txt", "a1.txt", "a (1) (1).txt", "d.x/a", "d.x/a (1)", "e/", "e (1)/", "a (2).txt",
    ]  # fmt: skip
    assert [file.name for file in files] == found


def test_names_are_safe() -> None:
    found = oracles.members(b"".join(ZipFly([gen("../a"), gen("/b/./c"), gen("C:\\d")]).stream()))
    assert list(found) == ["a", "b/c", "d"]


def test_many_files_of_one_name() -> None:
    fly = ZipFly([EmptyFolder("a") for _ in range(5000)])
    assert len(zipfile.ZipFile(io.BytesIO(b"".join(fly.stream()))).namelist()) == 5000


def test_a_custom_payload(path: Path, tmp_path: Path) -> None:
    fly = ZipFly([LocalFile(path, "a", custom_payload=b"payload"), gen("b", custom_payload=b"", size=4)])
    data = b"".join(fly.stream())
    assert len(data) == fly.calculate_archive_size()
    judged(data, tmp_path)
    name, extra = struct.unpack_from("<2H", data, 26)
    field = consts.CUSTOM_EXTRA_FIELD_SIGNATURE + struct.pack("<H", 7) + b"payload"
    assert field in data[30 + name : 30 + name + extra]
    with pytest.raises(ValueError, match="payload too large"):
        gen("a", custom_payload=bytes(65_536))


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a correct file path"):
        LocalFile(tmp_path)
    with pytest.raises(ValueError, match="cannot be blank"):
        gen("")
    with pytest.raises(ValueError, match="File size is allowed only with NO_COMPRESSION"):
        gen("a", compression_method=consts.COMPRESSION_DEFLATE, size=5)
    with pytest.raises(ValueError, match="File crc is allowed only with NO_COMPRESSION"):
        gen("a", compression_method=consts.COMPRESSION_DEFLATE, crc=5)
    with pytest.raises(ValueError, match="must be of type Generator"):
        list(ZipFly([gen("a", on_loop=True)]).stream())
    with pytest.raises(ValueError, match="must be of type AsyncGenerator"):
        whole(ZipFly([GenFile("a", [b"data"])]).async_stream())
    with pytest.raises(KeyError, match="Unknown compression method"):
        list(ZipFly([gen("a", compression_method=12)]).stream())
    with pytest.raises(TypeError, match="'a' is not a file"):
        list(ZipFly(["a"]).stream())  # type: ignore[list-item]


def test_files_of_ones_own() -> None:
    class Own(BaseFile):
        modification_time = TIME
        predicted_size = 4
        predicted_crc = None

        def _generate_file_data(self) -> Generator[bytes, None, None]:
            yield b"data"

        async def _async_generate_file_data(self) -> AsyncGenerator[bytes, None]:
            yield b"data"

    fly = ZipFly([Own("a", consts.NO_COMPRESSION)])
    data = b"".join(fly.stream())
    assert oracles.members(data) == {"a": b"data"}
    assert fly.calculate_archive_size() == len(data)
    assert whole(ZipFly([Own("a")]).async_stream()) == data
    assert (str(Own("a")), repr(Own("a"))) == ("Own[name=a]", "Own(a)")


def test_local_files_of_ones_own(path: Path) -> None:
    class Reversed(LocalFile):
        def _generate_file_data(self) -> Generator[bytes, None, None]:
            yield path.read_bytes()[::-1]

        async def _async_generate_file_data(self) -> AsyncGenerator[bytes, None]:
            for chunk in self._generate_file_data():
                yield chunk

        predicted_crc = zlib.crc32(path.read_bytes()[::-1])

    data = b"".join(ZipFly([Reversed(path, "a")]).stream())
    assert oracles.members(data) == {"a": path.read_bytes()[::-1]}
    assert ZipFly([Reversed(path, "a")]).calculate_archive_size() == len(data)
    assert whole(ZipFly([Reversed(path, "a")], byte_offset=100).async_stream())[-1000:] == data[-1000:]


def test_generators_that_are_made_late() -> None:
    class Late(GenFile):
        def _get_generator(self) -> Generator[bytes, None, None]:
            return plain(b"data")

    assert oracles.members(b"".join(ZipFly([Late("a", None)]).stream())) == {"a": b"data"}


def test_a_local_file_says_what_it_is(path: Path) -> None:
    file = LocalFile(path)
    assert (file.predicted_size, file.predicted_crc) == (256_000, zlib.crc32(path.read_bytes()))
    assert file.modification_time == os.path.getmtime(path)
    assert file.file_path_bytes == str(path).encode()
    assert set(zipfly64.__all__) == {"BaseFile", "EmptyFolder", "GenFile", "LocalFile", "ZipFly", "consts"}
