"""What the fields of an Entry may hold: each is checked, and what is wrong is said."""

from __future__ import annotations

import reprlib
import stat
import struct
from functools import lru_cache
from zipfile import ZIP_LZMA

from .ciphers import check_installed
from .dates import EXTENDED_TIMESTAMP_SIZE
from .errors import EntryError, EntryTypeError, LimitError, OptionError
from .records import AES_EXTRA_ID, LIMIT16, LZMA_EOS_FLAG, METHOD_FLAGS, ZIP64_EXTRA_ROOM

MAX_SIZE = (1 << 64) - 1
# What zip64 fields and our own date may still add has to fit behind the user's extra.
MAX_EXTRA = LIMIT16 - ZIP64_EXTRA_ROOM - EXTENDED_TIMESTAMP_SIZE
_END_SIGNATURE = b"PK\5\6"


def check_comment(comment: bytes) -> bytes:
    """Refuse a member's comment that is no bytes, or too long (APPNOTE 4.4.12)."""
    if not isinstance(comment, bytes):
        raise EntryTypeError(f"comment={comment!r}: give bytes, as in 'text'.encode()")
    if len(comment) > LIMIT16:
        raise LimitError(f"the comment has {len(comment)} bytes, and {LIMIT16} is the most")
    return comment


def check_archive_comment(comment: bytes) -> bytes:
    """Refuse an archive's comment that is no bytes, too long, or would be taken for the archive's end."""
    if _END_SIGNATURE in check_comment(comment):
        raise OptionError(f"the comment carries {_END_SIGNATURE!r}, which readers take for the end of the archive")
    return comment


def check_whole(what: str, value: int | None, most: int) -> int | None:
    """Refuse a number that is none, or is negative or above `most`."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise EntryTypeError(f"{what}={value!r}: give a whole number, or None where it is not known")
    if not 0 <= value <= most:
        raise OptionError(f"{what}={value!r} is out of range: 0 to {most}")
    return value


def check_mode(name: str, mode: int) -> int:
    """Refuse a Unix mode that is none, or is of another kind than the name."""
    if not isinstance(mode, int) or isinstance(mode, bool) or not 0 <= mode <= 0xFFFF:
        raise OptionError(f"mode={mode!r}: give Unix permissions, as in 0o644")
    kind = stat.S_IFMT(mode)
    is_dir = name.endswith("/")
    if kind and (kind == stat.S_IFDIR) != is_dir:
        other = (
            "a directory, but its name does not end in '/'" if not is_dir else "no directory, but its name ends in '/'"
        )
        raise EntryError(f"mode={mode:#o} says that this is {other}")
    return mode


def check_extra(extra: bytes) -> bytes:
    """Refuse extra fields that are malformed, too long, or the writer's own."""
    if not isinstance(extra, bytes):
        raise EntryTypeError(f"extra={extra!r}: give bytes: extra fields as APPNOTE 4.5 lays them out")
    if len(extra) > MAX_EXTRA:
        raise LimitError(f"the extra has {len(extra)} bytes, and {MAX_EXTRA} is the most that leaves room for zip64")
    _check_kinds(extra)
    return extra


@lru_cache(maxsize=64)
def _check_kinds(extra: bytes) -> None:
    for kind, _ in extra_fields(extra):
        if kind == 1:
            raise EntryError("the extra carries a zip64 field (0x0001), which the writer makes itself: leave it out")
        if kind == AES_EXTRA_ID:
            raise EntryError(f"the extra carries a field of encryption ({kind:#06x}), which the writer makes itself")


def extra_fields(extra: bytes) -> list[tuple[int, bytes]]:
    """(id, data) of each extra field (APPNOTE 4.5.1); malformed ones are refused."""
    fields, at = [], 0
    while at < len(extra):
        if at + 4 > len(extra):
            raise EntryError(f"the extra is malformed: {len(extra) - at} bytes are left over at byte {at}")
        kind, size = struct.unpack_from("<2H", extra, at)
        if at + 4 + size > len(extra):
            raise EntryError(
                f"the extra is malformed: field {kind:#06x} at byte {at} says {size} bytes, "
                f"and {len(extra) - at - 4} are left"
            )
        fields.append((kind, extra[at + 4 : at + 4 + size]))
        at += 4 + size
    return fields


def check_zip64(zip64: bool | None) -> bool | None:
    """Refuse what is neither yes, no, nor None."""
    if zip64 is not None and not isinstance(zip64, bool):
        raise EntryTypeError(f"zip64={zip64!r}: give True (always), False (never) or None (where it is needed)")
    return zip64


def check_flags(method: int | None, flag_bits: int | None) -> int:
    """Bits 1 and 2 of the flags for data that is compressed by `method` already; others are refused."""
    if flag_bits is None:
        return LZMA_EOS_FLAG if method == ZIP_LZMA else 0
    if not isinstance(flag_bits, int) or isinstance(flag_bits, bool) or flag_bits & ~METHOD_FLAGS:
        raise OptionError(f"flag_bits={flag_bits!r}: give bits 1 and 2 (0, 2, 4 or 6), which belong to the method")
    return flag_bits


def check_password(password: str | bytes | None) -> bytes | None:
    """The bytes of a password; one that is none is refused, and, with an ImportError, all where the extra is missing.

    What is refused is not shown.
    """
    if password is None:
        return None
    if not isinstance(password, str | bytes):
        raise EntryTypeError(f"password=…: give a str, or bytes, not {type(password).__name__}")
    if not password:
        raise OptionError("password='': an empty one protects nothing: give one, or None for no encryption")
    check_installed()
    try:
        return password.encode() if isinstance(password, str) else password
    except UnicodeEncodeError:
        raise OptionError("password=…: it has characters that UTF-8 cannot say") from None


class _Brief(reprlib.Repr):
    """Short reprs that are never long on the way: of large data, only what is shown is put into words."""

    def repr_bytes(self, data: bytes, level: int) -> str:
        return repr(data) if len(data) <= self.maxstring else repr(data[: self.maxstring // 2]) + "..."

    repr_bytearray = repr_bytes


_BRIEF = _Brief()
_BRIEF.maxstring = _BRIEF.maxother = 80


def brief(value: object) -> str:
    """`value` as an error can carry it: its repr, cut where it is long."""
    return _BRIEF.repr(value)


def described(value: object) -> str:
    """`value`, briefly, and its type."""
    return f"{brief(value)} ({type(value).__name__})"
