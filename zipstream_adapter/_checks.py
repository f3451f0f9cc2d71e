"""Checks of values that callers pass: numbers and choices; short reprs of them."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from operator import index
from typing import Any, TypeVar

from .errors import OptionError


def whole(value: object) -> int | None:
    """Convert `value` to an int. Returns None if it is not a whole number.

    A whole number is any value that `operator.index` accepts, such as a numpy integer, except True and False.
    """
    if type(value) is int:
        return value
    if isinstance(value, bool):
        return None
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def count_of(value: object, least: int = 0) -> int | None:
    """Convert `value` to an int. Returns None if it is not a whole number, or less than `least`."""
    number = whole(value)
    return None if number is None or number < least else number


def check_count(option: str, value: object, least: int = 0, what: str = "a whole number") -> int:
    """Convert the value of an option to an int. Raises OptionError if it is not a whole number, or less than `least`.

    what: names the value in the error.
    """
    number = count_of(value, least)
    if number is None:
        raise OptionError(f"{option}={value!r}: give {what}, {least:,} or more")
    return number


def size_to_take(size: int | None) -> int:
    """Convert the `size` argument of a ``read`` to an int: -1 for None and negative numbers.

    Raises TypeError if `operator.index` does not accept it.
    """
    if size is None:
        return -1
    try:
        return max(-1, index(size))
    except TypeError:
        kind = type(size).__name__
        raise TypeError(f"read({size!r}): give a whole number of bytes, or None for all, not {kind}") from None


def check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise OptionError if `value` is not one of the `choices` of `option`."""
    if not isinstance(value, str) or value not in choices:
        raise OptionError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}")


class _ShortRepr(reprlib.Repr):
    """Truncated reprs. Of large data, only the part that is shown is converted."""

    def repr_bytes(self, data: bytes, level: int) -> str:
        return repr(data) if len(data) <= self.maxstring else repr(data[: self.maxstring // 2]) + "..."

    repr_bytearray = repr_bytes


_SHORT_REPR = _ShortRepr()


_SHORT_REPR.maxstring = _SHORT_REPR.maxother = 80  # characters


# Names that other libraries and zipfile use for options that have another name here.
_NAMES_ELSEWHERE = {
    "allowZip64": "zip64",
    "arcname": "name",
    "compress_level": "level",
    "compress_size": "compressed_size",
    "compress_type": "compression",
    "compresslevel": "level",
    "compression_level": "level",
    "CRC": "crc32",
    "data": "source",
    "date_time": "modified",
    "external_attr": "mode",
    "file_size": "size",
    "filename": "name",
    "iterable": "source",
    "level": "compresslevel",
    "modified_at": "modified",
    "mtime": "modified",
    "perms": "mode",
}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests one of the `known` names in place of `name`; "" if none is like it."""
    from difflib import get_close_matches

    kept = [*known]
    elsewhere = _NAMES_ELSEWHERE.get(name)
    close = [elsewhere] if elsewhere in kept else get_close_matches(name, kept, 1)
    return f". Did you mean {close[0]!r}?" if close else ""


def check_names(callee: str, options: Mapping[str, object], known: frozenset[str]) -> None:
    """Raise TypeError if `options`, given to the callable named `callee`, has a name that is not `known`."""
    if options.keys() <= known:
        return
    name = next(name for name in options if name not in known)
    raise TypeError(f"{callee}() got an unexpected keyword argument {name!r}{did_you_mean(name, known)}")


def short_repr(value: object) -> str:
    """Return the repr of `value` for an error message, truncated if it is long."""
    return _SHORT_REPR.repr(value)


def typed_repr(value: object) -> str:
    """Return the truncated repr of `value`, followed by its type."""
    return f"{short_repr(value)} ({type(value).__name__})"


K = TypeVar("K", bound=type[Any])


def shown_half_made(kind: K) -> K:
    """Class decorator: make `__repr__` and `__str__` work if attributes are missing, as after a failed `__init__`."""
    for name in ("__repr__", "__str__"):
        if name in vars(kind):
            setattr(kind, name, _tolerant(vars(kind)[name]))
    return kind


def _tolerant(method: Callable[[Any], str]) -> Callable[[Any], str]:
    @wraps(method)
    def shown(self: Any) -> str:
        try:
            return method(self)
        except AttributeError:
            return f"<{type(self).__name__}, which was not initialised>"

    return shown
