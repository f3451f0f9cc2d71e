"""async_stream_zip as its users see it: the bytes of stream_zip, made where nobody else has to wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zipstream_adapter
from tests.support import oracles
from tests.support.async_sources import AsyncIter, Ledger, SyncIterator
from tests.support.faults import BoomError
from tests.support.loops import LOOPS, run, turns, until
from tests.support.strategies import Recipe, cut, cuttings, noise, recipes, words
from zipstream_adapter import Entry, PoisonedError, StreamClosedError, StreamStateError, async_stream_zip, stream_zip
from zipstream_adapter._stream.asynchronous import AsyncZipStream

Factory = Callable[[], asyncio.AbstractEventLoop]
DATE = 1_000_000_000
OPTIONS = st.fixed_dictionaries(
    {
        "chunk_size": st.sampled_from([0, 1, 100, 1000, 65536]),
        "lookahead": st.sampled_from([0, 50, 500, 65536]),
        "workers": st.sampled_from([0, 2]),
        "comment": st.sampled_from([b"", b"bye"]),
        "compression": st.sampled_from(["stored", "deflate", "auto"]),
    }
)


@pytest.fixture(params=LOOPS)
def factory(request: pytest.FixtureRequest) -> Factory:
    return LOOPS[request.param]


async def _generated(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        if len(chunk) % 3 == 0:
            await asyncio.sleep(0)
        yield chunk


async def _overwritten(chunks: list[bytes]) -> AsyncIterator[bytearray]:
    buffer = bytearray()
    async for chunk in _generated(chunks):
        buffer[:] = chunk
        yield buffer


def _function(chunks: list[bytes]) -> Callable[[], Any]:
    async def function() -> Any:
        return _generated(chunks)

    return function


WRAPPED: dict[str, Callable[[list[bytes]], Any]] = {
    "as it is": iter,
    "async generator": _generated,
    "async generator of one buffer": _overwritten,
    "async iterator": lambda chunks: AsyncIter(Ledger(), chunks),
    "coroutine function": _function,
    "callable": lambda chunks: lambda: _generated(chunks),
}


async def _given(entries: list[Any]) -> AsyncIterator[Any]:
    for entry in entries:
        await asyncio.sleep(0)
        yield entry


def facts(stream: Any) -> list[tuple[Any, ...]]:
    names = ("filename", "date_time", "compress_type", "CRC", "compress_size", "file_size", "header_offset", "extra")
    return [tuple(getattr(info, name) for name in names) for info in stream.infolist()]


@given(recipes(), OPTIONS, st.sampled_from([0, 1, 4]), st.booleans(), st.data())
def test_the_bytes_are_those_of_stream_zip(
    made: list[Recipe], options: dict[str, Any], prefetch: int, asynchronous: bool, choose: st.DataObject
) -> None:
    plain, entries = [], []
    for recipe in made:
        wrapped = choose.draw(st.sampled_from(sorted(WRAPPED)))
        if wrapped == "as it is" or recipe.is_dir:
            plain.append(recipe.entry())
            entries.append(recipe.entry())
        else:
            chunks = cut(recipe.data, choose.draw(cuttings))
            plain.append(recipe.entry("generator"))
            entries.append(Entry(recipe.name, WRAPPED[wrapped](chunks), **recipe.options))
    sync = stream_zip(plain, **options)

    async def main() -> tuple[bytes, Any]:
        stream = async_stream_zip(_given(entries) if asynchronous else entries, prefetch=prefetch, **options)
        chunks = [chunk async for chunk in stream]
        assert all(type(chunk) is bytes and chunk for chunk in chunks)
        with pytest.raises(StreamStateError, match="already read to its end"):
            aiter(stream)
        assert await stream.read() == b""
        assert await anext(stream, None) is None
        assert stream.tell() == sum(map(len, chunks))
        return b"".join(chunks), facts(stream)

    assert run(main()) == (sync.read(), facts(sync))


def _raising(chunks: list[bytes]) -> Iterator[bytes]:
    yield from chunks
    raise BoomError("boom")


ITEMS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: Entry("bytes", b"data", modified=DATE),
    "long": lambda: Entry("long", iter([noise(1, 3000)] * 3), modified=DATE),
    "deflated": lambda: Entry("deflated", [words(1, 3000)], compression="deflate", modified=DATE),
    "fails": lambda: Entry("fails", lambda: _raising([]), modified=DATE),
    "fails late": lambda: Entry("fails late", lambda: _raising([noise(2, 5000)]), modified=DATE),
    "same": lambda: Entry("same", b"1", modified=DATE),
    "unsafe": lambda: Entry("../up", b"1"),
    "str": lambda: ("text", "text"),
    "no entry": lambda: 5,
    "unknown key": lambda: {"name": "x", "data": b"", "what": 1},
    "too short": lambda: Entry("too short", iter([b"123"]), size=4),
    "too long": lambda: Entry("too long", iter([b"12345"]), size=4),
    "wrong": lambda: Entry("wrong", iter([b"123"]), crc32=1),
    "missing": lambda: Entry("missing", Path("/nowhere/to/be/found")),
    "directory": lambda: Entry.directory("directory", modified=DATE),
}
ANSWERS: dict[str, Callable[[], Any]] = {
    "leave out": lambda: None,
    "replace": lambda: Entry("replaced", b"instead", modified=DATE),
    "replace badly": lambda: Entry("replaced", lambda: _raising([]), modified=DATE),
    "nonsense": lambda: 5,
}


class Told:
    """What the callbacks were told, and where."""

    def __init__(self, answer: str | None, asynchronous: bool, progress: bool) -> None:
        self.said: list[Any] = []
        self.threads: set[int] = set()
        self._answer = answer
        self.options: dict[str, Any] = {}
        if answer is not None:
            self.options["on_error"] = self._error_later if asynchronous else self._error
        if progress:
            self.options["on_progress"] = self._progress_later if asynchronous else self._progress

    def _error(self, entry: Any, exc: Exception) -> Any:
        self.threads.add(threading.get_ident())
        named = entry.name if isinstance(entry, Entry) else entry
        self.said.append((named, type(exc), str(exc), getattr(exc, "__notes__", []).copy()))
        if self._answer == "raise":
            raise ZeroDivisionError
        return ANSWERS[self._answer or ""]()

    async def _error_later(self, entry: Any, exc: Exception) -> Any:
        await asyncio.sleep(0)
        return self._error(entry, exc)

    def _progress(self, progress: Any) -> None:
        self.threads.add(threading.get_ident())
        self.said.append(progress._replace(entry=progress.entry.name))

    async def _progress_later(self, progress: Any) -> None:
        await asyncio.sleep(0)
        self._progress(progress)


def outcome(stream: Any, exc: BaseException | None, archive: bytes, told: Told) -> tuple[Any, ...]:
    """All there is to see of a run. Only a whole archive is compared: what has left of others is a matter of chance."""
    assert told.threads <= {threading.get_ident()}
    skipped = [(getattr(entry, "name", entry), type(error), str(error)) for entry, error in stream.skipped]
    failure = exc and (type(exc), str(exc), getattr(exc, "__notes__", []))
    return archive if exc is None else b"", failure, told.said, skipped, facts(stream)


@given(
    st.lists(st.sampled_from(sorted(ITEMS)), max_size=6),
    st.sampled_from([None, "raise", *ANSWERS]),
    st.booleans(),
    OPTIONS,
    st.sampled_from(["error", "rename"]),
    st.sampled_from([0, 2]),
    st.booleans(),
)
def test_what_fails_and_what_is_told_are_those_of_stream_zip(
    items: list[str],
    answer: str | None,
    progress: bool,
    options: dict[str, Any],
    duplicates: str,
    prefetch: int,
    asynchronous: bool,
) -> None:
    options = options | {"duplicates": duplicates}
    told = Told(answer, False, progress)
    sync = stream_zip([ITEMS[item]() for item in items], **options, **told.options)
    archive, failure = b"", None
    try:
        archive = sync.read()
    except Exception as exc:
        failure = exc
    expected = outcome(sync, failure, archive, told)

    async def main() -> tuple[Any, ...]:
        told = Told(answer, asynchronous, progress)
        made = [ITEMS[item]() for item in items]
        # How many there are in all is known of a sequence only.
        entries = _given(made) if asynchronous and not progress else made
        stream = async_stream_zip(entries, prefetch=prefetch, **options, **told.options)
        try:
            return outcome(stream, None, await stream.read(), told)
        except Exception as exc:
            return outcome(stream, exc, b"", told)

    assert run(main()) == expected


@given(recipes(most=3), st.sampled_from([0, 7, 1000]), st.lists(st.integers(0, 700) | st.none(), max_size=30))
@pytest.mark.patient
def test_reading_and_iterating_give_the_same_bytes(
    made: list[Recipe], chunk_size: int, sizes: list[int | None]
) -> None:
    async def main() -> bytes:
        stream = async_stream_zip([recipe.entry() for recipe in made], chunk_size=chunk_size)
        parts = []
        for size in sizes:
            part = await anext(stream, b"") if size is None else await stream.read(size)
            assert size is None or len(part) <= size
            parts.append(part)
        parts.append(await stream.read(None))
        assert await stream.read() == await stream.read(5) == b""
        return b"".join(parts)

    assert run(main()) == b"".join(stream_zip([recipe.entry() for recipe in made]))


def test_it_is_found_at_the_door_and_is_no_sync_iterator() -> None:
    assert zipstream_adapter.async_stream_zip is async_stream_zip
    stream: Any = async_stream_zip([("a", b"1")])
    assert not hasattr(stream, "__iter__")
    assert not hasattr(stream, "__next__")
    with pytest.raises(TypeError):
        list(stream)
    assert stream.__class__ is AsyncZipStream
    for entries in ("name", b"", Entry("a", b""), {"name": "a"}, 5, asyncio.sleep):
        with pytest.raises(zipstream_adapter.EntryTypeError):
            async_stream_zip(entries)  # type: ignore[arg-type]


class Gate(AsyncIter):
    """Waits, on the loop, until it is opened."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, [noise(1, 200_000)])
        self.go = asyncio.Event()

    async def __anext__(self) -> Any:
        self.touched = True
        await self.go.wait()
        return await super().__anext__()


def test_two_tasks_at_a_time_are_refused_and_the_first_one_goes_on(factory: Factory) -> None:
    async def main() -> None:
        gate = Gate(Ledger())
        stream = async_stream_zip([("a", gate)])
        first = asyncio.create_task(stream.read())
        await until(lambda: gate.touched)
        for ask in (stream.__anext__, stream.read, stream.aclose, lambda: stream.read(1)):
            with pytest.raises(StreamStateError):
                await asyncio.create_task(ask())
        gate.go.set()
        assert oracles.members(await first) == {"a": noise(1, 200_000)}

    run(main(), factory)


def test_a_callback_that_uses_the_stream_is_told(factory: Factory) -> None:
    async def main() -> None:
        async def on_progress(progress: Any) -> None:
            await stream.aclose()

        stream = async_stream_zip([("a", b"1")], on_progress=on_progress)
        with pytest.raises(StreamStateError):
            await stream.read()
        with pytest.raises(PoisonedError):
            await anext(stream)

    run(main(), factory)


@pytest.mark.parametrize("kind", [SyncIterator, AsyncIter])
def test_a_stream_that_was_never_begun_closes_its_entries(factory: Factory, kind: type[Any]) -> None:
    async def main() -> None:
        ledger = Ledger()
        entries = kind(ledger, [("a", b"1")])
        async with async_stream_zip(entries) as stream:
            assert not stream.closed
        assert stream.closed
        await stream.aclose()
        assert (entries.asked, entries.closings, ledger.wrong) == (0, 1, [])
        with pytest.raises(StreamClosedError):
            await anext(stream)

    run(main(), factory)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("compression", ["stored", "deflate"])
def test_who_does_not_read_on_stops_the_sources(factory: Factory, compression: Any, prefetch: int) -> None:
    async def main() -> None:
        ledger = Ledger()
        sources = [AsyncIter(ledger, [noise(each, 1 << 16) for each in range(200)]) for _ in range(4)]
        entries = SyncIterator(ledger, [(str(number), source) for number, source in enumerate(sources)])
        level = None if compression == "stored" else 1
        stream = async_stream_zip(entries, compression=compression, level=level, workers=2, prefetch=prefetch)
        for _ in range(8):
            await anext(stream)
        await asyncio.sleep(0.02)
        await turns(50)
        asked = [source.asked for source in sources]
        # What has left; workers + 4 blocks; what was fetched.
        assert asked[0] <= 8 + 4 * 6 + (6 if prefetch else 0)
        assert all(count <= 6 for count in asked[1 : 1 + prefetch])
        assert asked[1 + prefetch :] == [0] * (3 - prefetch)
        assert entries.asked <= 1 + prefetch
        await stream.aclose()
        assert ledger.open == []

    run(main(), factory)


def test_a_stream_that_ended_with_its_event_loop_is_not_whole() -> None:
    """asyncio.run() closes the generators of its loop. The stream must not end like a whole one in the next loop."""
    stream = async_stream_zip([("a", (bytes(1000) for _ in range(200)))], chunk_size=1000)

    async def first() -> bytes:
        return await anext(stream)

    async def rest() -> bytes:
        return b"".join([chunk async for chunk in stream])

    assert asyncio.run(first())
    with pytest.raises(PoisonedError, match="ended with the event loop that it was read in"):
        asyncio.run(rest())
    with pytest.raises(PoisonedError):
        asyncio.run(rest())
