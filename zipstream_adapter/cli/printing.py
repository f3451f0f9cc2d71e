"""Write a text to standard output, without importing anything large."""

import os
import sys
from typing import TextIO


def print_text(text: str) -> int:
    """Write `text` to standard output. Returns the exit status: 1 if it is closed or full, 141 if nobody reads it."""
    if sys.stdout is None:
        return _failed("standard output is closed: redirect it to a file or a pipe")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as exc:
        to_nowhere(sys.stdout)
        return 141 if isinstance(exc, BrokenPipeError) else _failed(f"standard output: {exc.strerror}")
    return 0


def to_nowhere(file: TextIO) -> None:
    """Drop what `file` has and gets: otherwise Python would write its buffer again at exit, and fail again."""
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), file.fileno())


def _failed(text: str) -> int:
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"zipstream-adapter: {text}\n")
        except OSError:
            to_nowhere(sys.stderr)
    return 1
