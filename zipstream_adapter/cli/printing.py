"""Write a text to standard output, without importing anything large."""

import os
import sys


def print_text(text: str) -> int:
    """Write `text` to standard output. Returns the exit status: 1 if it is closed or full, 141 if nobody reads it."""
    if sys.stdout is None:
        return _failed("standard output is closed: redirect it to a file or a pipe")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as exc:
        # Otherwise Python would write the buffered text again at exit, and fail again.
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return 141 if isinstance(exc, BrokenPipeError) else _failed(f"standard output: {exc.strerror}")
    return 0


def _failed(text: str) -> int:
    if sys.stderr is not None:
        sys.stderr.write(f"zipstream-adapter: {text}\n")
    return 1
