"""The body of an answer, for WSGI and for ASGI: it is closed, once, and is as long as was said, or breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.layouts import BytesLayout, archive
from tests.support.loops import run
from zipstream_adapter import (
    EntryTypeError,
    SizeMismatchError,
    StreamClosedError,
    StreamStateError,
    ZipStream,
    async_stream_zip,
    stream_zip,
)
from zipstream_adapter.web import Answer, AsyncBody, respond

DATA = archive()


async def drained(body: AsyncBody) -> bytes:
    try:
        return b"".join([chunk async for chunk in body])
    finally:
        await body.aclose()


def take(answer: Answer, how: str) -> bytes:
    """The body, by WSGI's way or by ASGI's."""
    if how == "async":
        return run(drained(answer.abody()))
    body = answer.body()
    try:
        return b"".join(body)
    finally:
        body.close()


BOTH = pytest.mark.parametrize("how", ["sync", "async"])


class Entries:
    """Entries that say whether they were begun, and closed."""

    def __init__(self) -> None:
        self.begun = self.closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.begun = True
        raise StopIteration

    def close(self) -> None:
        self.closed = True


@BOTH
@pytest.mark.parametrize("asked", [None, "bytes=0-", "bytes=1000-2000", "bytes=0-9,20-29,-5", "bytes=99999-"])
def test_both_ways_give_the_same(how: str, asked: str | None) -> None:
    layout = BytesLayout(DATA)
    answer = respond(layout, "GET", {"Range": asked} if asked else {}, filename="a.zip")
    body = take(answer, how)
    assert len(body) == int(answer.headers["Content-Length"]) == answer.size
    if asked in (None, "bytes=0-"):
        assert body == DATA
    assert layout.closed == len(layout.opened)


@BOTH
def test_a_stream_comes_as_it_is(how: str) -> None:
    make = async_stream_zip if how == "async" else stream_zip
    entries = [("a.txt", b"a" * 1000), ("b.txt", b"b" * 1000)]
    answer = respond(make(entries), "GET", filename="a.zip")
    body = take(answer, how)
    assert body.startswith(b"PK\3\4")
    assert answer.headers["Content-Length"] == str(len(body))
    answer = respond(make(iter(entries)), "GET", filename="a.zip")
    assert "Content-Length" not in answer.headers
    assert len(take(answer, how)) == len(body)


@BOTH
@pytest.mark.parametrize(
    ("method", "fields"), [("HEAD", {}), ("POST", {}), ("GET", {"If-None-Match": "*"}), ("GET", {"If-Match": '"a"'})]
)
def test_a_stream_that_is_not_sent_is_closed_unread(how: str, method: str, fields: dict[str, str]) -> None:
    entries = Entries()
    stream = async_stream_zip(entries) if how == "async" else stream_zip(entries)
    answer = respond(stream, method, fields, filename="a.zip")
    assert len(take(answer, how)) == answer.size
    assert (entries.begun, entries.closed) == (False, True)
    assert stream.closed


@BOTH
def test_a_body_that_is_left_midway_closes_its_source(how: str) -> None:
    layout = BytesLayout(DATA, chunk=10)
    answer = respond(layout, "GET", {"Range": "bytes=0-99,200-299"}, filename="a.zip")

    async def some() -> None:
        body = answer.abody()
        for _ in range(5):
            await anext(body)
        assert (len(layout.opened), layout.closed) == (1, 0)
        await body.aclose()

    if how == "async":
        run(some())
    else:
        body = answer.body()
        for _ in range(5):
            next(body)
        assert (len(layout.opened), layout.closed) == (1, 0)
        body.close()
    assert (len(layout.opened), layout.closed) == (1, 1)


def test_a_cancelled_body_closes_its_source() -> None:
    layout = BytesLayout(DATA, chunk=10)
    answer = respond(layout, "GET", filename="a.zip")

    async def main() -> None:
        waits = asyncio.Event()

        async def send() -> None:
            body = answer.abody()
            try:
                await anext(body)
                waits.set()
                await asyncio.sleep(100)
            finally:
                await body.aclose()

        task = asyncio.ensure_future(send())
        await waits.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main())
    assert (len(layout.opened), layout.closed) == (1, 1)


@BOTH
def test_a_failure_midway_comes_out(how: str) -> None:
    layout = BytesLayout(DATA, fails_at=1500)
    answer = respond(layout, "GET", {"Range": "bytes=1000-2500"}, filename="a.zip")
    with pytest.raises(OSError, match="the disk broke"):
        take(answer, how)
    assert layout.closed == 1


@BOTH
@pytest.mark.parametrize(("off", "why"), [(1, "ended 1 bytes short"), (-1, "has more bytes than the")])
def test_a_body_of_another_length_breaks(how: str, off: int, why: str) -> None:
    layout = BytesLayout(DATA, promised=len(DATA) + off)
    if off < 0:  # a layout that does not keep to the range it is asked for
        layout.promised, layout.data = len(DATA), DATA
        answer = Answer(200, {}, layout, respond(layout, "GET", filename="a.zip").pieces, len(DATA) + off)
    else:
        answer = respond(layout, "GET", filename="a.zip")
    with pytest.raises(SizeMismatchError, match=why):
        take(answer, how)


def test_a_stream_shorter_than_it_said_breaks() -> None:
    class Sized(type(stream_zip([]))):  # type: ignore[misc]
        size = 1000

    answer = respond(Sized([("a", b"a")]), "GET", filename="a.zip")
    assert answer.headers["Content-Length"] == "1000"
    with pytest.raises(SizeMismatchError, match="of its Content-Length"):
        take(answer, "sync")


def test_a_closed_body_is_not_taken_for_its_end() -> None:
    body = respond(stream_zip([("a", b"a" * 1000)], chunk_size=10), "GET", filename="a.zip").body()
    next(body)
    body.close()
    with pytest.raises(StreamClosedError):
        next(body)
    body = respond(BytesLayout(DATA), "GET", filename="a.zip").body()
    next(body)
    body.close()
    with pytest.raises(SizeMismatchError):
        next(body)


@pytest.mark.parametrize("use", [ZipStream.read, next, ZipStream.close])
def test_a_stream_that_was_begun_is_no_body(use: Callable[[ZipStream], object]) -> None:
    """What has left of it would be missing; of one that is used up, everything."""
    stream = stream_zip(iter([("a", b"1")]))
    use(stream)
    with pytest.raises(StreamStateError, match="make another"):
        respond(stream, "GET", filename="a.zip").body()

    async def main() -> None:
        stream = async_stream_zip(iter([("a", b"1")]))
        await stream.read()
        with pytest.raises(StreamStateError, match="make another"):
            respond(stream, "GET", filename="a.zip").abody()

    run(main())


def test_streams_are_for_the_side_they_were_made_for() -> None:
    with pytest.raises(EntryTypeError, match="async_stream_zip"):
        respond(stream_zip([]), "GET", filename="a.zip").abody()
    with pytest.raises(EntryTypeError, match="stream_zip"):
        respond(async_stream_zip([]), "GET", filename="a.zip").body()


@pytest.mark.parametrize("archive", [None, b"data", [("a", b"a")], open])
def test_only_an_archive_is_answered_with(archive: Any) -> None:
    with pytest.raises(EntryTypeError, match="is not an archive"):
        respond(archive, "GET", filename="a.zip")


def test_a_body_is_not_of_both_kinds() -> None:
    """Django drains into memory whatever can be iterated over without the loop."""
    answer = respond(BytesLayout(DATA), "GET", filename="a.zip")
    assert not hasattr(answer.abody(), "__iter__")
    assert not hasattr(answer.body(), "__aiter__")


def test_the_status_line() -> None:
    assert respond(BytesLayout(DATA), "GET", filename="a.zip").status_line == "200 OK"
    assert respond(BytesLayout(DATA), "PUT", filename="a.zip").status_line == "405 Method Not Allowed"
