"""Errors in the words of the command line: its options in place of Python's parameters."""

from __future__ import annotations

import re

# A quoted text that belongs to no parameter, such as a file's name, stays as it is. Else: a parameter and its values.
_PARAMETER = re.compile(
    r"(?<![=\w])(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|\b(?P<name>compression|duplicates|engine|grown|level|names|seekable|special|symlinks|workers|exclude|password)="
    r"(?P<value>'[\w-]*'|-?\d+|…)(?P<more>(?:,? or '[\w-]+')*)"
)
_FOR_PYTHON = (
    (", or None for the default", ""),
    (", or None for one per usable core", ""),
    ("; walk() gives its contents", ""),
    (", or give a store=; open a local file with zipfile.ZipFile(path)", ", or give the path of a file"),
)


def message(exc: BaseException) -> str:
    """Return the text of an error, with its notes, for the user of the command."""
    text = _text(exc)
    for old, new in _FOR_PYTHON:
        text = text.replace(old, new)
    return " ".join([in_options(text), *getattr(exc, "__notes__", ())])


def _text(exc: BaseException) -> str:
    if type(exc).__module__ == "builtins" and isinstance(exc, OSError) and exc.strerror and exc.filename is not None:
        return f"{exc.filename!r}: {exc.strerror}"
    return str(exc) or type(exc).__name__


def in_options(text: str) -> str:
    """Replace ``level=10`` by ``--level 10``, and so every parameter that is an option of the command."""
    return _PARAMETER.sub(_as_option, text)


def _as_option(found: re.Match[str]) -> str:
    name, value = found["name"], (found["value"] or "").strip("'")
    if name is None:
        return found[0]
    if name == "special":
        return "--skip-special"
    if name == "seekable":
        return "--seekable"
    more = found["more"].replace("'", "")
    return f"--{name} {value or repr('')}{more}" if value != "…" else f"--{name}"
