"""Passwords as bytes that do not appear in reprs, messages or tracebacks."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")

_SHOWN = "…"


class Secret(bytes):
    """A password whose ``repr``, ``str`` and ``format`` are "…", so that tracebacks and ``vars()`` do not show it.

    Pickling keeps the real bytes.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return _SHOWN

    def __str__(self) -> str:
        return _SHOWN

    def __format__(self, spec: str) -> str:
        return _SHOWN


def hidden(password: T) -> T | Secret:
    """`password` as a Secret if it is a str (encoded as UTF-8) or bytes; any other value is returned unchanged."""
    if isinstance(password, bytes):
        return Secret(password)
    if isinstance(password, str):
        try:
            return Secret(password.encode())
        except UnicodeEncodeError:
            return password
    return password


def hide_in(options: Any) -> None:
    """Replace the password in the dict `options`, if present, by a Secret."""
    if "password" in options:
        options["password"] = hidden(options["password"])
