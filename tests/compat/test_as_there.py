"""What programs, and the originals' own tests, have come to see of the others, one by one."""

from __future__ import annotations

import asyncio
import contextvars
import zipfile
from collections.abc import AsyncGenerator, Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.compat.test_zipstream import infos
from zipstream_adapter.compat import aiozipstream, zipstream, zipstream_ng
from zipstream_adapter.compat.stream_zip import (
    NO_COMPRESSION_32,
    ZIP_64,
    CentralDirectorySizeOverflowError,
    async_stream_zip,
    stream_zip,
)
from zipstream_adapter.errors import EntryTypeError

DATE = datetime(2021, 1, 1, 21, 1, 12)
DESCRIPTOR = 0x08


# zipstream-ng


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_ng_empty_members_have_a_descriptor_too(method: int) -> None:
    stream = zipstream_ng.ZipStream(compress_type=method)
    stream.add(b"", "empty")
    stream.add(iter(()), "nothing")
    stream.mkdir("directory")
    assert {name: info.flag_bits for name, info in infos(bytes(stream)).items()} == {
        "empty": DESCRIPTOR,
        "nothing": DESCRIPTOR,
        "directory/": 0,
    }


def test_ng_lengths_are_theirs() -> None:
    stream = zipstream_ng.ZipStream(sized=True)
    lengths = [len(stream)]
    for name, data in (("empty", b""), ("byte", b"x"), ("kbyte", b"x" * 1024)):
        stream.add(data, name)
        lengths.append(len(stream))
    assert lengths == [22, 124, 225, 1351]
    assert len(bytes(stream)) == 1351


def test_ng_keys_of_the_list_are_in_their_order() -> None:
    stream = zipstream_ng.ZipStream()
    stream.add(b"a", "a")
    list(stream.file())
    stream.add(b"b", "b")
    listed = [" ".join(member) for member in stream.info_list()]
    assert listed == ["name size compressed_size datetime is_dir CRC compress_type compress_level streamed"] * 2
    list(stream)


# zipstream


def test_pointer_io_counts_and_hands_back() -> None:
    pointer = zipstream.PointerIO()
    assert (pointer.write(b"tea"), pointer.write("ü"), pointer.tell(), pointer.mode) == (b"tea", "ü".encode(), 5, "wb")
    pointer.flush()
    nothing: Any
    for nothing in (None, [], 1, bytearray(b"a")):
        with pytest.raises(TypeError):
            pointer.write(nothing)
    with pytest.raises(RuntimeError):
        zipstream.PointerIO("w")
    pointer.close()
    assert pointer.closed
    with pytest.raises(ValueError, match="closed"):
        pointer.write(b"more")


def test_over_pointer_io_iterating_gives_the_bytes() -> None:
    archive = zipstream.ZipFile(zipstream.PointerIO())
    archive.writestr("a", b"A")
    assert infos(b"".join(archive)).keys() == {"a"}


def test_modes_of_what_is_no_file_have_no_type() -> None:
    archive = zipstream.ZipFile()
    archive.writestr("a", b"A")
    assert infos(b"".join(archive))["a"].external_attr == 0o600 << 16


# stream-zip


def test_what_files_sets_in_its_context_stays_there() -> None:
    variable = contextvars.ContextVar("variable", default="outside")
    seen: list[Any] = []

    async def data() -> AsyncGenerator[bytes, None]:
        seen.append(variable.get())
        variable.set("of the data")
        yield b"-"

    async def files() -> AsyncGenerator[Any, None]:
        seen.append(variable.get())
        token = variable.set("of the files")
        try:
            for name in "ab":
                await asyncio.sleep(0)
                yield name, DATE, 0o600, ZIP_64, data()
                seen.append(variable.get())
        finally:
            variable.reset(token)  # which is refused in any other context

    async def consume(limit: int | None = None) -> str:
        chunks = async_stream_zip(files())
        async for _ in chunks:
            if limit:
                break
        await chunks.aclose()
        return variable.get()

    assert asyncio.run(consume()) == "outside"
    assert seen == ["outside", "outside", "of the files", "outside", "of the files"]
    assert asyncio.run(consume(limit=1)) == "outside"


async def test_files_that_wait_are_cancelled_where_they_wait() -> None:
    waits, said = asyncio.Event(), []

    async def files() -> AsyncGenerator[Any, None]:
        try:
            waits.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.append("cancelled")
            raise
        finally:
            said.append("closed")
        yield  # never reached

    async def consume() -> None:
        async for _ in async_stream_zip(files()):
            pass

    task = asyncio.create_task(consume())
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert said == ["cancelled", "closed"]


def test_names_that_alone_make_the_directory_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without zip64, where its rows pass 4 GiB before the members do: here, at a limit that is not so far away."""
    monkeypatch.setattr("zipstream_adapter.compat.stream_zip._members.LIMIT32", 10_000)

    def files() -> Iterator[Any]:
        for number in range(1000):
            yield f"{number:0100}", DATE, 0o600, NO_COMPRESSION_32, ()

    with pytest.raises(CentralDirectorySizeOverflowError):
        list(stream_zip(files()))


# aiozipstream


def test_aio_a_stream_of_nothing_may_be_a_directory() -> None:
    for stream in ((), [b""], iter(())):
        data = b"".join(aiozipstream.ZipStream([{"stream": stream, "name": "d/"}]).stream())
        assert infos(data)["d/"].is_dir()
    with pytest.raises(EntryTypeError, match="directory"):
        list(aiozipstream.ZipStream([{"stream": [b"", b"data"], "name": "d/"}]).stream())
