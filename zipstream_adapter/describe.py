"""What is known of a member before its data -> its ZipInfo."""

from __future__ import annotations

import stat
from datetime import datetime
from zipfile import ZipInfo

from .dates import EXTENDED_TIMESTAMP_ID, extended_timestamp
from .entry import Entry, RawEntry
from .errors import SizeMismatchError
from .fields import extra_fields
from .records import DOS_DIRECTORY

_UNIX = 3


def describe(name: str, date: datetime, mode: int | None, method: int, *, timestamps: bool) -> ZipInfo:
    """The ZipInfo of a member that nothing else is said of. timestamps: whether it gets an extended one."""
    info = ZipInfo(name, date.timetuple()[:6])
    info.filename = name  # ZipInfo turns the system's own separator into a slash
    info.create_system = _UNIX
    info.external_attr = _attributes(name.endswith("/"), mode)
    info.compress_type = method
    if timestamps:
        info.extra = extended_timestamp(date)
    return info


def amend(info: ZipInfo, entry: Entry) -> None:
    """What else `entry` says. An extended timestamp of its own takes the place of ours."""
    info.comment = entry.comment
    if entry.extra:
        info.extra = with_extra(info.extra, entry.extra)
    if entry.compression is not None:
        info.compress_type = entry.compression
    if isinstance(entry, RawEntry):
        info.flag_bits = entry.flag_bits


def with_extra(own: bytes, extra: bytes) -> bytes:
    """The writer's `own` extra and the user's. An extended timestamp of the user's takes the place of ours."""
    return extra if any(kind == EXTENDED_TIMESTAMP_ID for kind, _ in extra_fields(extra)) else own + extra


def size_to_read(entry: Entry, found: int | None) -> int | None:
    """Bytes that `entry`'s source has to give, where known. found: what the opened source says of itself."""
    stated = entry.source_size
    if None not in (stated, found) and stated != found:
        raise SizeMismatchError(f"entry {entry.name!r}: its data has {found} bytes, not the declared {stated}")
    return stated if found is None else found


def _attributes(is_dir: bool, mode: int | None) -> int:
    """External attributes (APPNOTE 4.4.15): the Unix mode, and MS-DOS's directory bit."""
    if mode is None:
        mode = 0o755 if is_dir else 0o644
    if not stat.S_IFMT(mode):
        mode |= stat.S_IFDIR if is_dir else stat.S_IFREG
    return mode << 16 | (DOS_DIRECTORY if is_dir else 0)
