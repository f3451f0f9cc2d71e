"""Processes as data: their standard output, if they end with the exit status 0."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import oracles
from zipstream_adapter import EntryTypeError, ProcessFailedError, StreamStateError, async_stream_zip, stream_zip

_WRITE = "import sys; sys.stdout.buffer.write(bytes(200_000)); sys.stdout.flush(); "
_FOREVER = "import sys, time\nwhile True: sys.stdout.buffer.write(bytes(65536))"
PROGRAM = sys.executable.rsplit("/", 1)[-1]


def popen(code: str, **options: Any) -> subprocess.Popen[Any]:
    return subprocess.Popen([sys.executable, "-c", code, "--secret"], **{"stdout": subprocess.PIPE, **options})


async def _async_archive(source: Any, **options: Any) -> bytes:
    async with async_stream_zip([("a", source)], **options) as stream:
        return await stream.read()


def _of_asyncio(code: str, **options: Any) -> bytes:
    async def started() -> Any:
        arguments = (sys.executable, "-c", code, "--secret")
        return await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    return asyncio.run(_async_archive(started, **options))


def _quiet(code: str) -> subprocess.Popen[Any]:
    return popen(code, stderr=subprocess.DEVNULL)


WAYS: dict[str, Callable[..., bytes]] = {
    "sync": lambda code, **options: b"".join(stream_zip([("a", _quiet(code))], **options)),
    "sync called": lambda code, **options: b"".join(stream_zip([("a", lambda: _quiet(code))], **options)),
    "async": lambda code, **options: asyncio.run(_async_archive(_quiet(code), **options)),
    "async called": lambda code, **options: asyncio.run(_async_archive(lambda: _quiet(code), **options)),
    "asyncio": _of_asyncio,
}
every_way = pytest.mark.parametrize("archive", WAYS.values(), ids=WAYS)


@every_way
@pytest.mark.parametrize("prefetch", [0, 1])
def test_its_output_is_the_data(archive: Callable[..., bytes], prefetch: int) -> None:
    assert oracles.members(archive(_WRITE, prefetch=prefetch)) == {"a": bytes(200_000)}
    assert oracles.members(archive("pass", prefetch=prefetch)) == {"a": b""}


@every_way
@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        ("sys.exit(3)", 3, "exit status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9, "signal SIGKILL"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_status_other_than_0_is_a_failure(archive: Callable[..., bytes], end: str, status: int, said: str) -> None:
    with pytest.raises(ProcessFailedError, match=f"entry 'a': the process {PROGRAM} ended with {said}") as caught:
        archive(_WRITE + end)
    assert (caught.value.program, caught.value.status) == (PROGRAM, status)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, ChildProcessError)


@every_way
def test_one_that_fails_with_little_output_can_be_skipped(archive: Callable[..., bytes]) -> None:
    skipped: list[Exception] = []
    whole = archive("print('half'); import sys; sys.exit(1)", on_error=lambda entry, exc: skipped.append(exc))
    assert oracles.members(whole) == {}
    assert [type(exc) for exc in skipped] == [ProcessFailedError]


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("PASSWORD='a b' exit-with 3 --token=x", "exit-with"),
        (b"/usr/bin/exit-with x", "exit-with"),
        (["/bin/exit-with", "x"], "exit-with"),
        ("unclosed 'quote", None),
        ("", None),
        ([], None),
    ],
)
def test_of_a_command_the_program_alone_is_named(command: Any, program: str | None) -> None:
    from zipstream_adapter._entries.foreign.processes import check_status

    check_status(command, 0, "a")
    with pytest.raises(ProcessFailedError, match="exit status 3") as caught:
        check_status(command, 3, "a")
    assert caught.value.program == program
    assert "token" not in str(caught.value)
    assert "a b" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"stdout": subprocess.DEVNULL}, EntryTypeError, "stdout=subprocess.PIPE"),
        ({"text": True}, EntryTypeError, "without text=True"),
        ({"encoding": "utf-8"}, EntryTypeError, "without text=True"),
    ],
)
@pytest.mark.parametrize("facade", ["sync", "async"])
def test_what_gives_no_bytes_is_refused(options: Any, error: type[Exception], said: str, facade: str) -> None:
    process = popen("pass", **options)
    with pytest.raises(error, match=said):
        if facade == "sync":
            b"".join(stream_zip([("a", process)]))
        else:
            asyncio.run(_async_archive(process))
    assert process.wait(60) == 0


def test_one_whose_output_was_read_before_is_no_empty_member() -> None:
    process = popen(_WRITE)
    process.communicate(timeout=60)
    with pytest.raises(StreamStateError, match="read and closed before"):
        b"".join(stream_zip([("a", process)]))


@pytest.mark.parametrize("facade", ["sync", "async"])
@pytest.mark.skipif(sys.platform == "win32", reason="a pipe that is closed ends no process there")
def test_one_that_is_abandoned_ends_when_it_writes(facade: str) -> None:
    process = popen(_FOREVER, stderr=subprocess.DEVNULL)
    if facade == "sync":
        with stream_zip([("a", process)]) as stream:
            next(stream)
    else:

        async def main() -> None:
            async with async_stream_zip([("a", process)]) as opened:
                await anext(opened)

        asyncio.run(main())
    assert process.stdout is not None
    assert process.stdout.closed
    assert process.wait(60) != 0


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe that is closed ends no process there")
def test_one_of_asyncio_that_is_abandoned_ends_when_it_writes() -> None:
    async def main() -> None:
        arguments = (sys.executable, "-c", _FOREVER)
        process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        async with async_stream_zip([("a", process)]) as stream:
            await anext(stream)
        assert await asyncio.wait_for(process.wait(), 60) != 0

    asyncio.run(main())


def test_one_that_does_not_end_is_not_killed_and_not_waited_for_long() -> None:
    code = "import os, time; os.write(1, bytes(100_000)); input()"
    process = popen(code, stdin=subprocess.PIPE)
    assert process.stdin is not None
    with stream_zip([("a", process)]) as stream:
        next(stream)
    assert process.poll() is None  # it would have been waited for in vain
    process.stdin.write(b"\n")
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize("prefetch", [0, 1])
@pytest.mark.parametrize("wrapped", [False, True])
def test_one_that_is_made_while_its_stream_is_cancelled_is_closed(wrapped: bool, prefetch: int) -> None:
    asked, go_on = threading.Event(), threading.Event()
    made: list[Any] = []

    def start() -> Any:
        asked.set()
        assert go_on.wait(60)
        made.append(popen("", stderr=subprocess.DEVNULL))
        return contextlib.closing(made[0].stdout) if wrapped else made[0]

    async def main() -> None:
        async with async_stream_zip([("a", start)], prefetch=prefetch) as stream:
            task = asyncio.ensure_future(stream.read())
            assert await asyncio.to_thread(asked.wait, 60)
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert made[0].stdout.closed
    assert made[0].wait(60) == 0


def test_what_is_there_is_not_kept_back_for_what_follows() -> None:
    process = popen("import os; os.write(1, bytes(70_000)); input()", stdin=subprocess.PIPE)
    assert process.stdin is not None
    stream = stream_zip([("a", process)], lookahead=0)
    first = next(stream)
    assert first
    process.stdin.close()
    with pytest.raises(ProcessFailedError):
        stream.read()
