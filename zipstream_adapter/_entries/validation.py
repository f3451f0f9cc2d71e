"""Checks of the fields of an Entry: each returns the value to keep, or raises. Checks of the names of options."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast
from zipfile import ZIP_DEFLATED, ZIP_LZMA

from .._checks import check_names, whole
from .._compression.encryption import check_installed
from .._compression.methods import AUTO, method_name
from .._compression.secret import Secret, hidden, hide_in
from .._format.extra_fields import extra_fields
from .._format.records import AES_EXTRA_ID, LIMIT16, LZMA_EOS_FLAG, METHOD_FLAGS, ZIP64_EXTRA_ROOM, end_signature_in
from .._format.sozip import CHUNK, MOST_CHUNK
from .._format.timestamps import EXTENDED_TIMESTAMP_SIZE
from ..errors import EntryError, EntryTypeError, LimitError, OptionError
from .files.growing import GROWN_POLICIES, GrownPolicy

F = TypeVar("F", bound=Callable[..., Any])

MAX_SIZE = (1 << 64) - 1
# The zip64 field and our timestamp field must still fit after the user's extra fields.
MAX_EXTRA = LIMIT16 - ZIP64_EXTRA_ROOM - EXTENDED_TIMESTAMP_SIZE
_NO_END = "which readers could mistake for the end of the archive: leave it out"


def suggesting(function: F) -> F:
    """Function decorator: let the TypeError about an unknown keyword argument suggest a known one."""
    code = function.__code__
    known = frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    name = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        hide_in(options)
        check_names(name, options, known)
        return function(*args, **options)

    return cast("F", checked)


def check_comment(comment: bytes) -> bytes:
    """Refuse a member comment that is not bytes, is too long (APPNOTE 4.4.12), or contains an end signature."""
    _check_bytes(comment)
    if found := end_signature_in(comment):
        raise EntryError(f"the comment carries {found!r}, {_NO_END}")
    return comment


def check_archive_comment(comment: bytes) -> bytes:
    """Refuse an archive comment that is not bytes, is too long, or contains an end signature."""
    _check_bytes(comment)
    # The size field before the comment (APPNOTE 4.3.16) can be the first half of a signature.
    if found := end_signature_in(struct.pack("<H", len(comment)) + comment):
        raise OptionError(f"the comment carries {found!r}, {_NO_END}")
    return comment


def _check_bytes(comment: bytes) -> None:
    if not isinstance(comment, bytes):
        raise EntryTypeError(f"comment={comment!r}: give bytes, as in 'text'.encode()")
    if len(comment) > LIMIT16:
        raise LimitError(f"the comment has {len(comment)} bytes: give at most {LIMIT16}")


def check_whole(what: str, value: int | None, most: int) -> int | None:
    """Refuse a value that is not a whole number from 0 to `most`, or None."""
    if value is None:
        return None
    number = whole(value)
    if number is None:
        raise EntryTypeError(f"{what}={value!r}: give a whole number, or None if it is not known")
    if not 0 <= number <= most:
        raise OptionError(f"{what}={value!r} is out of range: 0 to {most}")
    return number


def check_mode(name: str, mode: int) -> int:
    """Refuse a value that is not a Unix mode, or whose file type contradicts the name."""
    number = whole(mode)
    if number is None or not 0 <= number <= 0xFFFF:
        raise OptionError(f"mode={mode!r}: give Unix permissions, as in 0o644")
    kind = stat.S_IFMT(number)
    is_dir = name.endswith("/")
    if kind and (kind == stat.S_IFDIR) != is_dir:
        other = (
            "a directory, but its name does not end in '/'"
            if not is_dir
            else "not a directory, but its name ends in '/'"
        )
        raise EntryError(f"mode={number:#o} says that this is {other}: change the mode or the name")
    return number


def check_extra(extra: bytes) -> bytes:
    """Refuse extra fields that are malformed, too long, or written by this package itself."""
    if not isinstance(extra, bytes):
        raise EntryTypeError(f"extra={extra!r}: give bytes: extra fields in the format of APPNOTE 4.5")
    if len(extra) > MAX_EXTRA:
        raise LimitError(f"the extra has {len(extra)} bytes: give at most {MAX_EXTRA}, which leaves room for zip64")
    _check_kinds(extra)
    if found := end_signature_in(extra):
        raise EntryError(f"the extra carries {found!r}, {_NO_END}")
    return extra


@lru_cache(maxsize=64)
def _check_kinds(extra: bytes) -> None:
    for kind, _ in extra_fields(extra):
        if kind == 1:
            raise EntryError("the extra carries a zip64 field (0x0001), which the writer adds itself: leave it out")
        if kind == AES_EXTRA_ID:
            raise EntryError(
                f"the extra carries an encryption field ({kind:#06x}), which the writer adds itself: leave it out"
            )


def check_zip64(zip64: bool | None) -> bool | None:
    """Refuse a value that is not True, False or None."""
    if zip64 is not None and not isinstance(zip64, bool):
        raise EntryTypeError(f"zip64={zip64!r}: give True (always), False (never) or None (if needed)")
    return zip64


def check_grown(grown: GrownPolicy) -> GrownPolicy:
    """Refuse a value that is not a policy for files that grow."""
    if grown not in GROWN_POLICIES:
        raise OptionError(f"grown={grown!r}: give 'error', 'cut', or None for the archive's own")
    return grown


def check_seekable(seekable: bool | int) -> int:
    """Return the bytes of a chunk; 0 for a member that is not seekable. Refuses other sizes than SOZip's multiples."""
    if isinstance(seekable, bool):
        return CHUNK if seekable else 0
    number = whole(seekable)
    if number is None or not 0 <= number <= MOST_CHUNK or number % CHUNK:
        raise OptionError(
            f"seekable={seekable!r}: give True, False, or the bytes of a chunk, a multiple of {CHUNK} to {MOST_CHUNK}"
        )
    return number


def check_seekable_coding(
    seekable: int, method: int | None, level: int | None, *, is_encrypted: bool, is_raw: bool = False
) -> None:
    """Raise OptionError if a member so coded cannot have an index. method: None if it is not known yet."""
    fault = ""
    if is_raw:
        fault = "data that is already compressed is copied as it is"
    elif method is not None and method not in (ZIP_DEFLATED, AUTO):
        fault = f"compression={method_name(method)!r} has no index, only deflate has"
    elif level == 0:
        fault = "level=0 does not compress: use compression='stored', in which any reader can seek"
    elif is_encrypted:
        fault = "an encrypted member has no index"
    if fault:
        raise OptionError(f"seekable={seekable}: {fault}. Leave it out, or change the other option")


def check_flags(method: int | None, flag_bits: int | None) -> int:
    """Return the general purpose flag bits for data already compressed by `method`. Only bits 1 and 2 are allowed."""
    if flag_bits is None:
        return LZMA_EOS_FLAG if method == ZIP_LZMA else 0
    number = whole(flag_bits)
    if number is None or number & ~METHOD_FLAGS:
        raise OptionError(f"flag_bits={flag_bits!r}: give bits 1 and 2 (0, 2, 4 or 6), which belong to the method")
    return number


def check_password(password: str | bytes | None) -> Secret | None:
    """Return the bytes of a password. Raises if it is not a password; ImportError if the extra is not installed.

    Error messages do not show the password.
    """
    if password is None:
        return None
    if not isinstance(password, str | bytes):
        raise EntryTypeError(f"password=…: give a str or bytes, not {type(password).__name__}")
    password = hidden(password)
    if not password:
        raise OptionError("password='': an empty one protects nothing: give another, or None for no encryption")
    check_installed()
    if not isinstance(password, Secret):
        raise OptionError("password=…: it has characters that UTF-8 cannot encode: give bytes, or another password")
    return password
