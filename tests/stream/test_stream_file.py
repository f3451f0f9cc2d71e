"""A stream as a file that cannot be seeked, and its one pass."""

from __future__ import annotations

import array
import collections.abc
import io
import itertools
import shutil
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.support.loops import run
from tests.support.oracles import members
from tests.support.strategies import noise
from zipstream_adapter import (
    AsyncZipStream,
    Entry,
    PoisonedError,
    StreamClosedError,
    StreamStateError,
    ZipStream,
    async_stream_zip,
    stream_zip,
)

DATA = noise(1, 300_000)


def known() -> ZipStream:
    return stream_zip([Entry("a", DATA, modified=1_700_000_000)])


def unknown() -> ZipStream:
    chunks = [DATA[:9], DATA[9:]]
    return stream_zip(iter([Entry("a", chunks, modified=1_700_000_000)]))


KINDS = pytest.mark.parametrize("make", [known, unknown])


# A file.


@KINDS
def test_it_says_that_it_can_be_read_and_not_seeked(make: Callable[[], ZipStream]) -> None:
    with make() as stream:
        for _ in range(2):
            assert (stream.readable(), stream.writable(), stream.seekable(), stream.closed) == (
                True,
                False,
                False,
                False,
            )
            for where in ((0,), (0, 1), (0, 2), (stream.tell(),)):
                with pytest.raises(io.UnsupportedOperation, match="rewound"):
                    stream.seek(*where)
            with pytest.raises(io.UnsupportedOperation):
                stream.fileno()
            stream.flush()
            stream.read(100)
    assert stream.closed


def test_nothing_of_it_is_asked_for_by_that() -> None:
    asked: list[int] = []

    def entries() -> Iterator[Any]:
        asked.append(1)
        yield "a", b""

    stream = stream_zip(entries())
    with pytest.raises(io.UnsupportedOperation):
        stream.seek(0)
    assert (stream.tell(), stream.size, hasattr(stream, "len"), asked) == (0, None, False, [])


@KINDS
def test_tell_counts_what_was_handed_over(make: Callable[[], ZipStream]) -> None:
    stream, whole = make(), make().read()
    takes: list[Callable[[], bytes]] = [
        lambda: stream.read(0),
        lambda: stream.read(7),
        lambda: next(stream),
        lambda: stream.read(100_001),
        lambda: next(iter(stream)),
        stream.read,
        stream.read,
    ]
    got = b""
    for take in takes:
        got += take()
        assert stream.tell() == len(got)
        assert whole.startswith(got)
    assert got == whole


@KINDS
@pytest.mark.parametrize("size", [1, 10, 65536, 1_000_000])
def test_readinto_fills_its_buffer(make: Callable[[], ZipStream], size: int) -> None:
    stream, whole = make(), make().read()
    buffer, got = bytearray(size), b""
    while count := stream.readinto(buffer):
        got += buffer[:count]
        assert count == size or len(got) == len(whole)
        if size < 10 and len(got) > 1000:
            got += stream.read()
    assert got == whole
    assert stream.readinto(buffer) == 0


def test_readinto_takes_any_buffer_that_can_be_written() -> None:
    words = array.array("I", [0] * 5)
    stream = unknown()
    assert stream.readinto(words) == 20
    assert words.tobytes() == unknown().read(20)
    for refused in (b"only to be read", "text"):
        with pytest.raises(TypeError):
            stream.readinto(refused)  # type: ignore[arg-type]
    assert stream.tell() == 20
    assert stream.readinto(bytearray()) == 0
    assert members(words.tobytes() + stream.read()) == {"a": DATA}


NO_SIZES = [1.5, 2.0, "1", b"1", [], 1j, object]


@KINDS
@pytest.mark.parametrize("size", NO_SIZES, ids=repr)
def test_a_size_that_is_no_whole_number_is_refused_and_the_stream_goes_on(
    make: Callable[[], ZipStream], size: Any
) -> None:
    whole = make().read()
    stream = make()
    for taken in (0, 50):
        stream.read(taken)
        with pytest.raises(TypeError, match="whole number"):
            stream.read(size)
    assert stream.tell() == 50
    assert stream.read() == whole[50:]


@pytest.mark.parametrize("size", NO_SIZES, ids=repr)
def test_an_asynchronous_stream_refuses_a_bad_read_size(size: Any) -> None:
    async def main() -> None:
        stream = async_stream_zip([("a", DATA)])
        begun = await stream.read(50)
        with pytest.raises(TypeError, match="whole number"):
            await stream.read(size)
        assert len(begun) == stream.tell() == 50
        assert members(begun + await stream.read()) == {"a": DATA}

    run(main())


class Index:
    def __index__(self) -> int:
        return 7


def test_what_says_that_it_is_a_whole_number_is_one() -> None:
    stream = known()
    assert len(stream.read(Index())) == 7  # type: ignore[arg-type]
    assert len(stream.read(True)) == 1
    assert len(stream.read(-(10**30))) == len(known().read()) - 8


@pytest.mark.parametrize(
    "buffer", [5, "text", memoryview(bytearray(10))[::2], bytes(4), None], ids=lambda it: type(it).__name__
)
def test_readinto_refuses_what_is_no_buffer_and_the_stream_goes_on(buffer: Any) -> None:
    stream = known()
    stream.read(50)
    with pytest.raises(TypeError):
        stream.readinto(buffer)
    assert stream.read() == known().read()[50:]


def test_a_readinto_that_fails_is_the_end() -> None:
    def source() -> Iterator[bytes]:
        yield DATA
        raise OSError("the disk broke")

    stream = stream_zip([("a", source())])
    with pytest.raises(OSError, match="the disk broke"):
        stream.readinto(bytearray(1_000_000))
    with pytest.raises(PoisonedError):
        stream.readinto(bytearray(1))


@KINDS
def test_what_the_standard_library_reads(make: Callable[[], ZipStream]) -> None:
    whole = make().read()
    target = io.BytesIO()
    shutil.copyfileobj(make(), target)
    assert target.getvalue() == whole

    stream = make()
    with io.BufferedReader(stream) as buffered:  # type: ignore[type-var]
        assert buffered.peek(4)[:4] == b"PK\3\4"
        assert not buffered.seekable()
        assert (buffered.read(5) + buffered.read1(3) + buffered.read(), buffered.tell()) == (whole, len(whole))
    assert stream.closed

    inside = io.BytesIO()
    with tarfile.open(fileobj=inside, mode="w") as tar:
        info = tarfile.TarInfo("a.zip")
        info.size = len(whole)
        tar.addfile(info, make())
    inside.seek(0)
    with tarfile.open(fileobj=inside) as tar:
        file = tar.extractfile("a.zip")
        assert file is not None and file.read() == whole


# No collection of chunks.


@KINDS
def test_it_has_no_length(make: Callable[[], ZipStream]) -> None:
    stream = make()
    for each in (stream, iter(stream), async_stream_zip([])):
        assert not hasattr(each, "__len__")
        assert not isinstance(each, collections.abc.Sized)
    assert bool(stream)
    with pytest.raises(TypeError):
        len(stream)  # type: ignore[arg-type]


# One pass.


@KINDS
def test_an_iteration_goes_on_where_another_one_ended(make: Callable[[], ZipStream]) -> None:
    stream = make()
    got = [next(stream)]
    for chunk in stream:
        got.append(chunk)
        break
    got += stream
    assert b"".join(got) == make().read()
    assert iter(known()).read() == known().read()


def test_who_looks_at_the_first_chunk_gets_the_others() -> None:
    """Servers and frameworks do; the first chunk of a small archive is all of it."""
    for entries in ([], [("a", b"1")], [("a", DATA)]):
        stream = stream_zip(entries)
        assert members(b"".join(itertools.chain([next(stream)], stream))) == dict(entries)


def read_and_close(stream: ZipStream) -> None:
    stream.read()
    stream.close()


def leave(stream: ZipStream) -> None:
    stream.read(1000)
    stream.close()


ENDS: dict[str, tuple[Callable[[ZipStream], object], type[Exception]]] = {
    "by a loop": (list, StreamStateError),
    "by read": (ZipStream.read, StreamStateError),
    "by pieces": (lambda stream: list(iter(lambda: stream.read(1000), b"")), StreamStateError),
    "by read and close": (read_and_close, StreamStateError),
    "by close": (leave, StreamClosedError),
    "unused": (ZipStream.close, StreamClosedError),
}


@KINDS
@pytest.mark.parametrize("how", ENDS)
def test_what_has_ended_is_never_an_empty_body(make: Callable[[], ZipStream], how: str) -> None:
    end, error = ENDS[how]
    stream = make()
    end(stream)
    for use in (iter, list, b"".join, io.BytesIO().writelines, lambda stream: [*stream]):
        with pytest.raises(error) as caught:
            use(stream)
        assert type(caught.value) is error
        assert isinstance(caught.value, ValueError)


def test_what_has_failed_says_so_again() -> None:
    stream = stream_zip([("a", iter([DATA, 3]))])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        list(stream)
    with pytest.raises(PoisonedError) as caught:
        iter(stream)
    assert isinstance(caught.value.__cause__, TypeError)


def test_asynchronous_streams() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield DATA

    async def main() -> None:
        stream: AsyncZipStream = async_stream_zip([("a", chunks())])
        assert stream.tell() == 0
        first = await anext(stream)
        assert stream.tell() == len(first)
        part = await stream.read(1000)
        assert stream.tell() == len(first) + 1000
        rest = [chunk async for chunk in stream]
        assert members(first + part + b"".join(rest)) == {"a": DATA}
        assert stream.tell() == len(first) + 1000 + sum(map(len, rest))
        for _ in range(2):
            with pytest.raises(StreamStateError, match="already read to its end"):
                aiter(stream)
            assert (await stream.read(), await anext(stream, None)) == (b"", None)
            await stream.aclose()
        closed = async_stream_zip([("a", DATA)])
        await closed.aclose()
        with pytest.raises(StreamClosedError):
            aiter(closed)

    run(main())
