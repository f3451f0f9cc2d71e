"""compat.zipfly64: archives that are resumed at an offset."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compat.zipfly import TIME, gen, known, later, plain, whole
from zipstream_adapter import OptionError
from zipstream_adapter.compat.zipfly64 import BaseFile, EmptyFolder, GenFile, LocalFile, ZipFly, consts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "input.bin").write_bytes(bytes(range(256)) * 1000)
    return tmp_path / "input.bin"


@given(st.lists(st.binary(max_size=300) | st.just(b"x" * 70_000), min_size=1, max_size=4), st.booleans(), st.data())
def test_the_rest_from_any_offset(datas: list[bytes], on_loop: bool, draw: st.DataObject) -> None:
    def files() -> list[BaseFile]:
        return [known(str(number), data, on_loop) for number, data in enumerate(datas)]

    def stream(offset: int) -> bytes:
        fly = ZipFly(files(), byte_offset=offset)
        return whole(fly.async_stream()) if on_loop else b"".join(fly.stream())

    complete = stream(0)
    offset = draw.draw(st.integers(0, len(complete)))
    assert stream(offset) == complete[offset:]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("way", ["stream", "async_stream", "async_stream_parallel"])
def test_the_rest_of_any_files(way: str, lazy: bool, path: Path) -> None:
    on_loop = way != "stream"

    def kinds(number: int) -> list[BaseFile]:
        local, folder, tail = LocalFile(path, "local"), EmptyFolder("folder", TIME), known("z", b"z" * 300, on_loop)
        own: list[BaseFile] = [
            gen("unknown", b"u" * 300, on_loop),
            gen("sized", b"s" * 300, on_loop, size=300),
            gen("deflated", b"d" * 300, on_loop, compression_method=consts.COMPRESSION_DEFLATE),
            known("known", b"k" * 300, on_loop),
        ]
        return [local, folder, own[number], tail]

    def stream(number: int, offset: int) -> bytes:
        files = kinds(number)
        fly = ZipFly(iter(files) if lazy else files, offset)
        return b"".join(fly.stream()) if way == "stream" else whole(getattr(fly, way)())

    for number in range(4):
        complete = stream(number, 0)
        for offset in (1, 100, 256_000, 256_100, 256_300 if number != 2 else 256_120):
            assert stream(number, offset) == complete[offset:]


@pytest.mark.parametrize("on_loop", [False, True])
def test_declared_data_before_the_offset_is_not_asked_for(on_loop: bool) -> None:
    class Untouched(GenFile):
        def _generate_file_data(self) -> Generator[bytes, None, None]:
            raise AssertionError

        def _async_generate_file_data(self) -> AsyncGenerator[bytes, None]:
            raise AssertionError

    data = b"x" * 70_000
    file = Untouched("a", later(data) if on_loop else plain(data), 0, TIME, len(data), zlib.crc32(data))
    fly = ZipFly([file, known("b", data, on_loop)], byte_offset=70_500)
    rest = whole(fly.async_stream()) if on_loop else b"".join(fly.stream())
    assert rest == b"".join(ZipFly([known("a", data), known("b", data)]).stream())[70_500:]


@pytest.mark.parametrize("on_loop", [False, True])
def test_offsets_that_are_refused(on_loop: bool) -> None:
    def rest(files: list[BaseFile], offset: int) -> bytes:
        fly = ZipFly(files, byte_offset=offset)
        return whole(fly.async_stream()) if on_loop else b"".join(fly.stream())

    size = ZipFly([known("a")]).calculate_archive_size()
    assert rest([known("a", on_loop=on_loop)], size) == b""
    for files in ([known("a", on_loop=on_loop)], [gen("a", on_loop=on_loop)]):
        with pytest.raises(ValueError, match="Byte offset > total archive size"):
            rest([*files], 10_000)
    with pytest.raises(ValueError, match="only for non compressed"):
        rest([gen("a", b"", on_loop, compression_method=consts.COMPRESSION_DEFLATE), gen("b", on_loop=on_loop)], 60)
    with pytest.raises(OptionError, match="byte_offset=-1"):
        ZipFly([], byte_offset=-1)
