"""A command in a real terminal: a pty, which is its controlling terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 60.0
# A run in the background may have been told to ignore these signals.
_AS_TERMINAL = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); "
    "[signal.signal(each, signal.SIG_DFL) for each in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)]; "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A process whose standard error is a terminal; its standard input and output, too, unless they are given.

    Attributes:
        said: all that the terminal was told so far.
        process: the process.
    """

    def __init__(self, process: subprocess.Popen[bytes], ours: int) -> None:
        self.process = process
        self._ours = ours
        self.said = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the terminal was told something that matches `pattern`."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.said)):
            assert time.monotonic() < deadline, f"waited in vain for {pattern}: {self.said!r}"
            assert self._read() or re.search(pattern, self.said), f"it ended without {pattern}: {self.said!r}"
        return found

    def _read(self) -> bool:
        """Read what is there. Returns False at the end."""
        if not select.select([self._ours], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # all ends of the terminal are closed
            return False
        self.said += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def end(self) -> int:
        """Wait for the end of the process. Returns its exit status."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, f"it does not end: {self.said!r}"
        return self.process.wait(PATIENCE)


@contextmanager
def terminal(
    *command: str,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    columns: int = 80,
) -> Iterator[Terminal]:
    """Run `command` in a terminal of `columns` columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", _AS_TERMINAL, *command],
        cwd=cwd,
        env={**kept, "TERM": "xterm", **(environment or {})},
        stdin=theirs if stdin is None else stdin,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)


def shown(said: str) -> str:
    """The lines that stay on the screen: erased and overwritten ones are gone."""
    lines = []
    for line in said.split("\n"):
        last = line.split("\r")[-1] if "\r" in line.rstrip("\r") else line.rstrip("\r")
        lines.append(last.replace("\x1b[K", ""))
    return "\n".join(lines)
