"""What the responses for frameworks say to arguments that are not right, and to a framework that is not installed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracles
from tests.support.layouts import BytesLayout, archive
from tests.support.loops import run
from zipstream_adapter import Entry, async_stream_zip, stream_zip, walk
from zipstream_adapter.errors import EntryTypeError, OptionError, StreamStateError, ZipStreamError
from zipstream_adapter.web.views import Plan, unless_left

DATA = archive()
FRAMEWORKS = ["aiohttp", "django", "falcon", "flask", "quart", "starlette"]


class Request:
    method, headers = "GET", dict[str, str]()


def plan(archive: Any, *, asynchronous: bool = False, filename: Any = "a.zip", **more: Any) -> Plan:
    ranges, headers = more.pop("ranges", False), more.pop("headers", None)
    return Plan(Request(), archive, filename, ranges, headers, more, asynchronous=asynchronous)


@pytest.mark.parametrize("given", ["photos", b"photos", {"name": "a"}, Entry("a", b""), None, 3])
def test_something_that_is_no_archive_is_refused(given: Any) -> None:
    with pytest.raises(EntryTypeError, match=r"is not an archive: give an iterable of entries .*walk of a directory"):
        plan(given)


def test_options_of_an_archive_that_is_made_are_refused() -> None:
    for made in (BytesLayout(DATA), stream_zip([])):
        with pytest.raises(OptionError, match=r"^compression: the archive is already made"):
            plan(made, compression="deflate")


def test_a_stream_has_no_ranges() -> None:
    with pytest.raises(OptionError, match=r"ranges=True: .*give entries or a ZipLayout"):
        plan(stream_zip([]), ranges=True)
    assert plan(BytesLayout(DATA), ranges=True).answer().status == 200


def test_asynchronous_entries_have_no_ranges() -> None:
    async def entries() -> AsyncIterator[Any]:
        yield "a", b"data"

    said = r"^ranges=True: .* is asynchronous, and ranges need a list: collect it first"
    with pytest.raises(EntryTypeError, match=said + ", or leave out ranges=True$"):
        plan(entries(), ranges=True, asynchronous=True)
    with pytest.raises(EntryTypeError, match=said + "$"):
        plan(entries(), ranges=True)
    assert plan([("a", b"data")], ranges=True, asynchronous=True).answer().status == 200


def test_a_generator_that_was_used_is_refused_at_the_second_request() -> None:
    for ranges in (False, True):
        entries = (each for each in [("a", b"data")])
        answer, body = plan(entries, ranges=ranges).begin()
        assert answer.status == 200 and oracles.members(b"".join(body)) == {"a": b"data"}
        with pytest.raises(StreamStateError, match="entries: this generator was read or closed before"):
            plan(entries, ranges=ranges).begin()


def test_options_are_checked_before_anything_is_made() -> None:
    with pytest.raises(TypeError, match="comppression"):
        plan([], comppression="deflate")
    with pytest.raises(TypeError, match="workers"):
        plan([], ranges=True, workers=2)
    with pytest.raises(OptionError, match="compression"):
        plan([], ranges=True, compression="gzip")


@pytest.mark.parametrize(
    "wrong", [{"filename": "a/b.zip"}, {"headers": {"Content-Length": "1"}}, {"headers": {"X": "a\r\nb"}}]
)
def test_fields_are_checked_at_once(wrong: Any) -> None:
    with pytest.raises(OptionError):
        plan([], **wrong)


def test_a_stream_of_the_other_kind_is_refused() -> None:
    with pytest.raises(EntryTypeError, match=r"is asynchronous: give a stream_zip \(or use Answer.abody\)$"):
        plan(async_stream_zip([])).begin()

    async def main() -> None:
        with pytest.raises(EntryTypeError, match=r"is not asynchronous: give async_stream_zip \(or use Answer.body\)$"):
            await plan(stream_zip([]), asynchronous=True).begin_async()

    run(main())


def test_a_body_that_is_empty_closes_its_archive() -> None:
    class Head(Request):
        method = "HEAD"

    made = stream_zip([("a", b"data")])
    answer, body = Plan(Head(), made, "a.zip", False, None, {}, asynchronous=False).begin()
    assert (answer.status, list(body)) == (200, [])
    with pytest.raises(ValueError, match="closed"):
        made.read()


def test_a_chunk_is_waited_for_until_the_client_leaves() -> None:
    ends: list[str] = []

    async def hangs() -> bytes | None:
        try:
            await asyncio.sleep(1000)
        finally:
            ends.append("closed")
        return b""

    async def main() -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        assert await unless_left(asyncio.sleep(0, b"data"), gone) == b"data"
        waits = asyncio.ensure_future(unless_left(hangs(), gone))
        await asyncio.sleep(0.01)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert not gone.done()
        waits = asyncio.ensure_future(unless_left(hangs(), gone))
        await asyncio.sleep(0.01)
        gone.set_result(None)
        assert await waits is None
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        broken.set_exception(ConnectionError("the connection broke"))
        with pytest.raises(ConnectionError, match="the connection broke"):
            await unless_left(hangs(), broken)

    run(main())
    assert len(ends) >= 2  # of the last one, nothing has to have begun


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_that_is_not_installed_is_named(framework: str) -> None:
    code = f"import sys; sys.modules[{framework!r}] = None; import zipstream_adapter.web.{framework}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: zipstream_adapter.web.{framework} needs ")
    assert last.endswith(f"pip install {framework} 'zipstream-adapter[web]'")


def test_the_web_package_imports_no_framework() -> None:
    code = "import sys, zipstream_adapter.web; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(FRAMEWORKS)


def test_an_option_that_ranges_exclude_is_named_with_them() -> None:
    with pytest.raises(TypeError, match=r"'on_progress', which is an option of streams: use stream_zip; in a web view"):
        plan([], ranges=True, on_progress=print)
    with pytest.raises(ZipStreamError) as caught:
        plan([("a", b"data")], ranges=True, compression="deflate").begin()
    assert caught.value.__notes__ == [
        "(ranges=True makes a ZipLayout of the entries; without it, they are sent as a stream)"
    ]


def test_a_missing_file_is_named_by_the_failure_of_its_archive() -> None:
    for entries in walk("no such directory"), [("a", Path("no such file"))]:
        with pytest.raises(ZipStreamError, match=r"^the archive failed: FileNotFoundError: .*: 'no such "):
            plan(entries).begin()
