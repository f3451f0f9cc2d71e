"""Passwords: asked for at the terminal, or read from a file."""

from __future__ import annotations

import argparse
import sys
import warnings

from .._compression.secret import hidden
from ..errors import OptionError


def password_of(arguments: argparse.Namespace, *, twice: bool) -> bytes | None:
    """Return the password that the options ask for; None if they do not. twice: ask for it twice at a terminal."""
    path: str | None = arguments.password_file
    if getattr(arguments, "password", False):
        if path is not None:
            raise OptionError("--password and --password-file: give one of them")
        return _asked(twice)
    if path is None:
        return None
    if path == "-" and sys.stdin is None:
        raise OSError("--password-file -: standard input is closed: redirect it from a file or a pipe")
    with open(sys.stdin.fileno() if path == "-" else path, "rb", closefd=path != "-") as file:
        password = hidden(file.readline().rstrip(b"\r\n"))
    if not password:
        raise OptionError(f"--password-file: the first line of {path!r} is empty")
    return password


def _typed(prompt: str) -> bytes:
    import getpass

    # The terminal's bytes, which may not be UTF-8.
    return hidden(getpass.getpass(prompt).encode("utf-8", "surrogateescape"))


def _asked(twice: bool) -> bytes:
    import getpass

    with warnings.catch_warnings():
        # Without a terminal, getpass would read standard input, and show what is typed.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            password = _typed("Password: ")
            if password and twice and _typed("Again: ") != password:
                raise OptionError("--password: the two passwords differ")
        except (getpass.GetPassWarning, EOFError):
            raise OptionError("--password: there is no terminal to ask at: give --password-file") from None
    if not password:
        raise OptionError("--password: an empty password protects nothing")
    return password
