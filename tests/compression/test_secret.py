"""Passwords: no repr, no `vars()`, no variable of a traceback and no message shows one."""

from __future__ import annotations

import asyncio
import copy
import gc
import io
import pickle
import traceback
import types
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import zipstream_adapter
from tests.support.loops import module
from zipstream_adapter import (
    AsyncZipStream,
    Entry,
    OptionError,
    StreamingZipFile,
    ZipStream,
    async_stream_zip,
    stream_zip,
    walk,
)
from zipstream_adapter._compression.secret import Secret, hidden
from zipstream_adapter.compat import stream_zip as compat_stream_zip

PASSWORD = "hunter2 ünter2"
MARKS = ("hunter2", "ünter2", r"\xc3\xbcnter2")
PACKAGE = str(Path(zipstream_adapter.__file__).parent)
DATA = bytes(300_000)

needs_crypto = pytest.mark.usefixtures("crypto")


@pytest.fixture
def crypto() -> None:
    module("Crypto")


def shows(text: str) -> bool:
    return any(mark in text for mark in MARKS)


def reachable(root: Any) -> Iterator[Any]:
    """`root` and all that belongs to it: attributes, items, arguments that are bound, variables of generators."""
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, types.ModuleType | type | types.FrameType | str | int | float):
            continue
        seen[id(thing)] = thing
        yield thing
        if isinstance(thing, types.GeneratorType | types.AsyncGeneratorType | types.CoroutineType):
            frame = getattr(thing, "gi_frame", None) or getattr(thing, "ag_frame", None)
            waiting += [] if frame is None else frame.f_locals.values()
        elif isinstance(thing, types.FunctionType):
            waiting += [cell.cell_contents for cell in thing.__closure__ or ()]
        else:
            waiting += gc.get_referents(thing)


def assert_hidden(root: Any) -> None:
    found = [thing for thing in reachable(root) if isinstance(thing, Secret)]
    assert found, "the password is there"
    for thing in reachable(root):
        assert not shows(repr(thing)), type(thing)
        assert not shows(repr(getattr(thing, "__dict__", None))), type(thing)


def of_stream(begun: bool) -> ZipStream:
    entries: Iterator[Any] = iter([("a", DATA), Entry("b", DATA, password=PASSWORD), ("c", DATA)])
    stream = stream_zip(entries, password=PASSWORD, lookahead=0)
    if begun:
        stream.read(400_000)
    return stream


def of_archive(begun: bool) -> StreamingZipFile:
    archive = StreamingZipFile(io.BytesIO(), password=PASSWORD)
    if begun:
        archive.writestr("a", DATA)
        archive.writestr("b", DATA)
    return archive


def of_entry(begun: bool) -> Entry:
    return Entry("a", b"", password=PASSWORD)


def of_raw_entry(begun: bool) -> Entry:
    return Entry.raw("a", b"", compression="stored", size=0, crc32=0, password=PASSWORD)


def of_compat(begun: bool) -> Iterator[bytes]:
    date = datetime(2024, 1, 1)
    chunks = compat_stream_zip.stream_zip(
        [("a", date, 0o600, compat_stream_zip.ZIP_32, [DATA])], password=PASSWORD, get_compressobj=_no_coder
    )
    if begun:
        next(chunks)
    return chunks


def _no_coder() -> Any:
    import zlib

    return zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS)


@needs_crypto
@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
@pytest.mark.parametrize("make", [of_stream, of_archive, of_entry, of_raw_entry, of_compat])
def test_nothing_that_belongs_to_an_object_shows_its_password(make: Callable[[bool], Any], begun: bool) -> None:
    made = make(begun)
    assert_hidden(made)
    close = getattr(made, "abort", None) or getattr(made, "close", None)
    if close is not None:
        close()


@needs_crypto
def test_neither_does_an_asynchronous_stream() -> None:
    async def main() -> None:
        stream = async_stream_zip([("a", DATA), Entry("b", DATA, password=PASSWORD)], password=PASSWORD, lookahead=0)
        assert_hidden(stream)
        await stream.read(350_000)
        assert_hidden(stream)
        await stream.aclose()

    asyncio.run(main())


def _failing() -> Iterator[bytes]:
    yield DATA
    raise LookupError("a source")


def _compat(**options: Any) -> Any:
    return list(compat_stream_zip.stream_zip([("a", 1, 0, compat_stream_zip.ZIP_32, [b""])], **options))  # type: ignore[list-item]


FAILING: dict[str, Callable[..., Any]] = {
    "stream_zip": partial(stream_zip, [], level=99),
    "ZipStream": partial(ZipStream, [], level=99),
    "async_stream_zip": partial(async_stream_zip, [], level=99),
    "AsyncZipStream": partial(AsyncZipStream, [], level=99),
    "StreamingZipFile": partial(StreamingZipFile, io.BytesIO(), lookahead=-1),
    "Entry": partial(Entry, "a", b"", size=-1),
    "Entry.replace": lambda **options: Entry("a", b"").replace(size=-1, **options),
    "Entry.from_path": partial(Entry.from_path, "a", size=-1),
    "Entry.directory": partial(Entry.directory, "a", size=-1),
    "Entry.symlink": partial(Entry.symlink, "a", "b", size=-1),
    "walk": partial(walk, ".", exclude="bad"),
    "Entry.raw": partial(Entry.raw, "a", b"", compression="stored", size=-1, crc32=0),
    "a source": lambda **options: stream_zip([("a", _failing())], **options).read(),
    "a mapping": lambda **options: stream_zip([{"name": "a", "source": b"", "size": -1, **options}]).read(),
    "compat.stream_zip": _compat,
}


@needs_crypto
@pytest.mark.parametrize("kind", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize("what", FAILING)
def test_no_variable_of_a_traceback_shows_a_password(what: str, kind: Callable[[str], Any]) -> None:
    with pytest.raises(Exception) as caught:
        FAILING[what](password=kind(PASSWORD))
    error: BaseException | None = caught.value
    frames = 0
    while error is not None:
        assert not shows(str(error))
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if not frame.f_code.co_filename.startswith(PACKAGE):
                continue
            frames += 1
            for name, value in frame.f_locals.items():
                # The mapping is the caller's own.
                assert what == "a mapping" or not shows(repr(value)), (frame.f_code.co_qualname, name)
        error = error.__context__
    assert frames


@needs_crypto
def test_a_password_that_is_refused_is_not_said() -> None:
    with pytest.raises(OptionError, match="password") as caught:
        stream_zip([], password="hunter2\udc80")
    assert not shows(str(caught.value))


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r:>3}".format, lambda it: f"{it}", lambda it: f"{[it]}"])
def test_a_secret_is_bytes_that_are_not_shown(show: Callable[[Any], str]) -> None:
    secret = hidden(PASSWORD)
    assert isinstance(secret, Secret)
    assert not shows(show(secret))
    assert secret == PASSWORD.encode() == hidden(PASSWORD.encode())
    assert hash(secret) == hash(PASSWORD.encode())
    assert secret.decode() == PASSWORD


@pytest.mark.parametrize("value", [None, False, 5, "\udc80", [1]], ids=str)
def test_what_can_be_no_password_is_left_as_it_is(value: Any) -> None:
    assert hidden(value) is value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_stays_one_through_pickle_and_copy(protocol: int) -> None:
    secret = hidden("hunter2")
    for again in (pickle.loads(pickle.dumps(secret, protocol)), copy.copy(secret), copy.deepcopy(secret)):
        assert type(again) is Secret
        assert again == b"hunter2"
