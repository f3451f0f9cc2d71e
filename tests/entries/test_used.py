"""What was used before is refused: generators of entries, and files that stand at their end."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiofiles
import aiofiles.tempfile
import pytest

from tests.support import oracles
from zipstream_adapter import (
    AsyncZipStream,
    Entry,
    StreamStateError,
    ZipLayout,
    ZipStream,
    async_save,
    async_stream_zip,
    save,
    stream_zip,
)
from zipstream_adapter.web import asgi_app, wsgi_app

USED = "entries: this generator was read or closed before, so it has no entries left: make another, or give a list"
DATA = b"0123456789" * 10_000


def entries() -> Iterator[Any]:
    yield "a", b"data"


async def async_entries() -> AsyncIterator[Any]:
    yield "a", b"data"


def read_to_its_end() -> Iterator[Any]:
    used = entries()
    assert list(used) == [("a", b"data")]
    return used


def closed() -> Iterator[Any]:
    used = entries()
    next(used)
    used.close()  # type: ignore[attr-defined]
    return used


def failed() -> Iterator[Any]:
    used = (1 // number for number in (0, 1))
    with pytest.raises(ZeroDivisionError):
        next(used)
    return used


def used_async() -> AsyncIterator[Any]:
    used = async_entries()

    async def read() -> None:
        assert [item async for item in used] == [("a", b"data")]

    asyncio.run(read())
    return used


FACADES: dict[str, Callable[[Any], Any]] = {
    "stream_zip": stream_zip,
    "ZipStream": ZipStream,
    "async_stream_zip": async_stream_zip,
    "AsyncZipStream": AsyncZipStream,
    "ZipLayout": ZipLayout,
    "save": partial(save, "made.zip"),
    "async_save": lambda given: asyncio.run(async_save("made.zip", given)),
}


@pytest.mark.parametrize("facade", FACADES)
@pytest.mark.parametrize("make", [read_to_its_end, closed, failed])
def test_a_used_generator_of_entries_is_no_empty_archive(
    make: Callable[[], Any], facade: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StreamStateError) as caught:
        FACADES[facade](make())
    assert str(caught.value) == USED
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("facade", ["async_stream_zip", "AsyncZipStream", "async_save"])
def test_a_used_asynchronous_generator_of_entries_is_no_empty_archive(
    facade: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StreamStateError) as caught:
        FACADES[facade](used_async())
    assert str(caught.value) == USED
    assert os.listdir(tmp_path) == []


def test_a_second_save_of_a_generator_leaves_the_first_file(tmp_path: Path) -> None:
    path, given = tmp_path / "z.zip", entries()
    save(path, given)
    with pytest.raises(StreamStateError, match="has no entries left"):
        save(path, given)
    assert oracles.members(path.read_bytes()) == {"a": b"data"}


def test_of_two_streams_of_a_generator_one_is_whole_and_the_other_fails() -> None:
    given = entries()
    streams = [stream_zip(given), stream_zip(given), stream_zip(given, prefetch=1)]
    assert oracles.members(b"".join(streams[0])) == {"a": b"data"}
    for stream in streams[1:]:
        with pytest.raises(StreamStateError) as caught:
            next(stream)
        assert str(caught.value) == USED


@pytest.mark.parametrize("make", [entries, async_entries])
def test_of_two_asynchronous_streams_of_a_generator_one_is_whole_and_the_other_fails(make: Callable[[], Any]) -> None:
    async def main() -> None:
        given = make()
        streams = [async_stream_zip(given, prefetch=count) for count in (0, 0, 1)]
        assert oracles.members(await streams[0].read()) == {"a": b"data"}
        for stream in streams[1:]:
            with pytest.raises(StreamStateError) as caught:
                await anext(stream)
            assert str(caught.value) == USED

    asyncio.run(main())


def test_a_generator_that_was_not_begun_may_be_empty() -> None:
    none_at_all: list[Any] = []
    nothing: Iterator[Any] = (item for item in none_at_all)
    assert oracles.members(b"".join(stream_zip(nothing))) == {}
    begun = iter([("a", b"data")])
    assert oracles.members(b"".join(stream_zip(item for item in begun))) == {"a": b"data"}

    async def none() -> AsyncIterator[Any]:
        for item in none_at_all:
            yield item

    async def read() -> bytes:
        async with async_stream_zip(none()) as stream:
            return await stream.read()

    assert oracles.members(asyncio.run(read())) == {}


def test_a_generator_of_a_module_is_refused_at_the_second_request() -> None:
    given = entries()
    app: Any = wsgi_app(lambda request: given)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()}
    status: list[str] = []
    body: Any = app(environ, lambda line, headers, *rest: status.append(line))
    assert oracles.members(b"".join(body)) == {"a": b"data"}
    body.close()
    with pytest.raises(StreamStateError, match="has no entries left"):
        app(environ, lambda line, headers, *rest: status.append(line))
    assert status == ["200 OK"]


def test_a_generator_of_a_module_is_refused_at_the_second_request_of_asgi() -> None:
    given = async_entries()
    app: Any = asgi_app(lambda request: given)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await app(scope, receive, send)
        assert oracles.members(b"".join(each.get("body", b"") for each in sent)) == {"a": b"data"}
        sent.clear()
        with pytest.raises(StreamStateError, match="has no entries left"):
            await app(scope, receive, send)

    asyncio.run(main())
    assert not any(each.get("body") for each in sent)


# Files that stand at their end.


def in_memory(path: Path) -> Any:
    file = io.BytesIO()
    file.write(DATA)
    return file


def temporary(path: Path) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(DATA)
    return file


def named_temporary(path: Path) -> Any:
    file = tempfile.NamedTemporaryFile(dir=path.parent)  # noqa: SIM115
    file.write(DATA)
    return file


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=1 << 20)  # noqa: SIM115
    file.write(DATA)
    return file


def buffered(path: Path) -> Any:
    file = path.open("rb")
    assert file.read() == DATA
    return file


def unbuffered(path: Path) -> Any:
    file = path.open("rb", buffering=0)
    assert file.read() == DATA
    return file


def updating(path: Path) -> Any:
    file = path.open("w+b")
    file.write(DATA)
    return file


def in_an_archive(path: Path) -> Any:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a", DATA)
    file = zipfile.ZipFile(held).open("a")  # noqa: SIM115
    assert file.read() == DATA
    return file


class Seekable:
    """A file of a class of its own, whose `read` is not known to be plain."""

    def __init__(self, path: Path) -> None:
        self._file = in_memory(path)
        self.read, self.seekable, self.tell, self.seek = (
            self._file.read, self._file.seekable, self._file.tell, self._file.seek,
        )  # fmt: skip
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


PLAIN = [in_memory, temporary, named_temporary, spooled, buffered, unbuffered, updating, in_an_archive, Seekable]


def sync_archive(source: Any, **options: Any) -> bytes:
    return b"".join(stream_zip([Entry("report.csv", source)], **options))


async def _async_archive(source: Any, **options: Any) -> bytes:
    async with async_stream_zip([Entry("report.csv", source)], **options) as stream:
        return await stream.read()


def async_archive(source: Any, **options: Any) -> bytes:
    return asyncio.run(_async_archive(source, **options))


WAYS = [sync_archive, async_archive]
OPTIONS: list[dict[str, Any]] = [{}, {"lookahead": 0}, {"prefetch": 1}, {"compression": "deflate", "prefetch": 2}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.write_bytes(DATA)
    return made


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", PLAIN)
def test_a_file_at_its_end_is_no_empty_member(
    make: Any, way: Any, options: dict[str, Any], called: bool, path: Path
) -> None:
    file = make(path)
    source = (lambda: file) if called else file
    said = rf"entry 'report.csv': its file object stands at its end \(byte {len(DATA)}\), .* call seek\(0\) first"
    with pytest.raises(StreamStateError, match=said):
        way(source, **options)
    assert file.closed == 1  # once; True for the others


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", PLAIN)
def test_a_file_at_its_end_can_be_left_out_or_be_empty_or_rewound(make: Any, way: Any, path: Path) -> None:
    assert oracles.members(way(make(path), on_error=lambda entry, exc: None)) == {}
    path.write_bytes(DATA)
    empty = Entry("report.csv", make(path), size=0)
    assert oracles.members(b"".join(stream_zip([empty]))) == {"report.csv": b""}
    path.write_bytes(DATA)
    file = make(path)
    file.seek(0)
    assert oracles.members(way(file)) == {"report.csv": DATA}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", PLAIN)
def test_a_file_in_the_middle_gives_the_rest_and_an_empty_one_nothing(
    make: Any, way: Any, options: dict[str, Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make(path)
    file.seek(30_000)
    assert oracles.members(way(file, **options)) == {"report.csv": DATA[30_000:]}
    path.write_bytes(b"")
    monkeypatch.setitem(globals(), "DATA", b"")
    assert oracles.members(way(make(path), **options)) == {"report.csv": b""}


def test_a_pipe_has_no_position() -> None:
    for way in WAYS:
        reading, writing = os.pipe()
        os.close(writing)
        pipe = open(reading, "rb")  # noqa: SIM115
        assert oracles.members(way(pipe)) == {"report.csv": b""}


class Awaited:
    """A file of an asynchronous library, whose class shows that it is one."""

    def __init__(self) -> None:
        self._file = in_memory(Path())
        self.closed = 0

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)  # type: ignore[no-any-return]

    async def tell(self) -> int:
        return self._file.tell()  # type: ignore[no-any-return]

    async def seek(self, place: int) -> None:
        self._file.seek(place)

    def seekable(self) -> bool:
        return True

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["aiofiles", "aiofiles temporary", "other"])
def test_an_asynchronous_file_at_its_end_is_no_empty_member(kind: str, options: dict[str, Any], path: Path) -> None:
    async def opened() -> Any:
        if kind == "other":
            return Awaited()
        if kind == "aiofiles":
            file: Any = await aiofiles.open(path, "rb")
        else:
            file = await aiofiles.tempfile.TemporaryFile("w+b")
            await file.write(DATA)
            await file.seek(0)
        assert await file.read() == DATA
        return file

    async def main() -> None:
        file = await opened()
        with pytest.raises(StreamStateError, match=r"'report.csv': .* \(byte 100000\), .* call seek\(0\) first"):
            await _async_archive(file, **options)
        assert file.closed == 1
        assert oracles.members(await _async_archive(await opened(), on_error=lambda entry, exc: None)) == {}
        empty = async_stream_zip([Entry("report.csv", await opened(), size=0)], **options)
        assert oracles.members(await empty.read()) == {"report.csv": b""}
        for place in (0, 30_000):
            file = await opened()
            await file.seek(place)
            assert oracles.members(await _async_archive(file, **options)) == {"report.csv": DATA[place:]}

    asyncio.run(main())


def test_an_uploaded_file_that_was_read_is_no_empty_member() -> None:
    uploads = pytest.importorskip("starlette.datastructures", reason="Starlette is not installed")

    async def main() -> None:
        uploaded = uploads.UploadFile(io.BytesIO(DATA))
        assert await uploaded.read() == DATA
        with pytest.raises(StreamStateError, match=r"'report.csv': .* \(byte 100000\), .* call seek\(0\) first"):
            await _async_archive(uploaded)
        uploaded = uploads.UploadFile(io.BytesIO(DATA))
        assert oracles.members(await _async_archive(uploaded)) == {"report.csv": DATA}

    asyncio.run(main())


def test_a_range_of_a_layout_may_begin_where_a_file_ends(path: Path) -> None:
    layout = ZipLayout([Entry(name, lambda: path.open("rb"), size=len(DATA), modified=10**9) for name in "ab"])
    whole = b"".join(layout.iter_range())
    for start in (0, 50, len(DATA), len(DATA) + 40, len(whole) - 200, len(whole)):
        assert b"".join(layout.iter_range(start)) == whole[start:]
