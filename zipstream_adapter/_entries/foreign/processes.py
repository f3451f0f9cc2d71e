"""Processes as sources: the data is their standard output, and their exit status must be 0."""

from __future__ import annotations

import io
import os
import shlex
import signal
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from typing import Any

from ...errors import EntryTypeError, ProcessFailedError, StreamStateError

# Seconds to wait for a process whose output is not read any more.
PATIENCE = 0.5
_KINDS = {("subprocess", "Popen"), ("psutil", "Popen"), ("gevent.subprocess", "Popen")}
_ASYNC_KINDS = {("asyncio.subprocess", "Process")}


@lru_cache(maxsize=256)
def _names(kind: Hashable) -> frozenset[tuple[str, str]]:
    assert isinstance(kind, type)
    return frozenset((base.__module__, base.__name__) for base in kind.__mro__)


def is_process(source: Any) -> bool:
    """Whether `source` is a `subprocess.Popen`, or a similar class of another library."""
    return not _KINDS.isdisjoint(_names(type(source)))  # type: ignore[arg-type]


def is_async_process(source: Any) -> bool:
    """Whether `source` is an `asyncio.subprocess.Process`."""
    return not _ASYNC_KINDS.isdisjoint(_names(type(source)))  # type: ignore[arg-type]


def output_of(process: Any, name: str) -> Any:
    """Return the standard output of `process`, for the entry `name`. Raises if it cannot be read as bytes."""
    output = process.stdout
    if output is None:
        raise EntryTypeError(
            f"entry {name!r}: the standard output of the process is not a pipe: start it with stdout=subprocess.PIPE"
        )
    if isinstance(output, io.TextIOBase):
        raise EntryTypeError(
            f"entry {name!r}: the process gives text: start it without text=True, encoding, errors and "
            "universal_newlines"
        )
    if getattr(output, "closed", False):
        raise StreamStateError(f"entry {name!r}: the standard output of the process was read and closed before")
    return output


def chunks_of(process: Any, name: str, size: int) -> Iterator[bytes]:
    """Yield the standard output of `process`, in chunks of up to `size` bytes.

    Raises ProcessFailedError at the end if the exit status is not 0.
    """
    output = output_of(process, name)
    # read1 returns the bytes available, even if fewer: a process may take long for the next byte.
    read: Callable[[int], bytes] = getattr(output, "read1", output.read)
    while chunk := read(size):
        yield chunk
    check_status(process.args, process.wait(), name)


def close_process(process: Any) -> None:
    """Close the output of `process`, so that its next write ends it. Waits briefly for it, and does not kill it."""
    if process.stdout is not None:
        process.stdout.close()
    wait_for_process(process)


def wait_for_process(process: Any) -> None:
    """Wait for `process`, briefly; its output is closed."""
    if process.returncode is None:
        try:
            process.wait(timeout=PATIENCE)
        except Exception as exc:  # each library has a TimeoutExpired of its own
            if type(exc).__name__ != "TimeoutExpired":
                raise


def check_status(command: Any, status: int, name: str) -> None:
    """Raise ProcessFailedError for the entry `name` if the exit `status` of its process is not 0."""
    if not status:
        return
    program = _program(command)
    said = f"exit status {status}" if status > 0 else f"signal {_signal(-status)}"
    error = ProcessFailedError(
        f"entry {name!r}: the process {program or 'that gives its data'} ended with {said}: its output may be "
        "incomplete (its standard error says more)"
    )
    error.program, error.status = program, status
    raise error


def _program(command: Any) -> str | None:
    """The name of the program, without its arguments, which may contain secrets."""
    try:
        if isinstance(command, str | bytes):  # a shell command, which may begin with variable assignments
            command = [word for word in shlex.split(os.fsdecode(command)) if "=" not in word]
        elif isinstance(command, os.PathLike):
            command = [command]
        return os.path.basename(os.fsdecode(command[0])) or None
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
