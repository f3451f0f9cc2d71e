"""Entry: one frozen description of a member, and the coercion of everything users pass into one.

An Entry says what a member shall be; it opens nothing and looks at no file (`zipstream_adapter.source` does, when
the member's turn comes).
"""

from __future__ import annotations

import os
import reprlib
import stat
import struct
import zlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from .compress import check_level, method_number
from .dates import EXTENDED_TIMESTAMP_SIZE, to_utc
from .errors import EntryError, EntryTypeError, LimitError, NotAFileError, OptionError, ZipStreamError
from .records import LIMIT16, ZIP64_EXTRA_ROOM

if TYPE_CHECKING:
    from typing import Self

    StrPath = str | os.PathLike[str]

MAX_SIZE = (1 << 64) - 1
# What zip64 fields and our own date may still add has to fit behind the user's extra.
MAX_EXTRA = LIMIT16 - ZIP64_EXTRA_ROOM - EXTENDED_TIMESTAMP_SIZE
_END_SIGNATURE = b"PK\5\6"


class Entry:
    """One member to be: its name, where its data comes from, and what is known or wished of it. Frozen.

    Args:
        name: the member's name, with forward slashes; a directory's ends in ``/``.
        source: the data: bytes-like, a path object, a file object opened for reading bytes, an iterable of
            bytes-like chunks, or a callable that returns any of these and is called when the member's turn comes.
            It is handed over: what can be closed is closed, once. A directory takes None, or the path of the
            directory whose date and mode it gets.
        size: bytes of data, where known. A promise: any other number fails the member.
        crc32: the data's CRC-32, where known. A promise likewise.
        modified: a datetime (a naive one is UTC), a timestamp in seconds since 1970, or a 6-tuple (UTC).
            Default: the file's own date for a path, else SOURCE_DATE_EPOCH where set, else now.
        mode: Unix permissions, with or without the file type. Default: the file's own for a path, else 0o644
            (0o755 for directories).
        compression: a `zipfile` constant or "stored", "deflate", "bzip2", "lzma". Default: the archive's.
        level: 0 to 9 for deflate and lzma, 1 to 9 for bzip2. Default: the archive's.
        comment: the member's comment, at most 65,535 bytes.
        extra: extra fields (APPNOTE 4.5), at most 65,498 bytes, without zip64 (0x0001), which the writer owns.
        zip64: True writes the zip64 local header whatever the size, False fails the member as soon as it would need
            zip64. Default: only where a known size needs it.

    Raises:
        EntryTypeError, EntryError, OptionError, LimitError: named after the entry, for values outside of these.
        Whether the name is safe and free is judged by the archive it goes into.
    """

    __slots__ = (  # noqa: RUF023, in the order of the arguments
        "name", "source", "size", "crc32", "modified", "mode", "compression", "level", "comment", "extra", "zip64",
    )  # fmt: skip

    name: str
    source: Any
    size: int | None
    crc32: int | None
    modified: datetime | None
    mode: int | None
    compression: int | None
    level: int | None
    comment: bytes
    extra: bytes
    zip64: bool | None

    def __init__(
        self,
        name: str,
        source: Any = None,
        *,
        size: int | None = None,
        crc32: int | None = None,
        modified: datetime | float | tuple[int, ...] | None = None,
        mode: int | None = None,
        compression: int | str | None = None,
        level: int | None = None,
        comment: bytes = b"",
        extra: bytes = b"",
        zip64: bool | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise EntryTypeError(f"entry {name!r}: a member's name is a str, not {type(name).__name__}")
        put = object.__setattr__
        put(self, "name", name)
        put(self, "source", source)
        try:
            put(self, "size", _whole("size", size, MAX_SIZE))
            put(self, "crc32", _whole("crc32", crc32, 0xFFFFFFFF))
            put(self, "modified", None if modified is None else to_utc(modified))
            put(self, "mode", None if mode is None else _check_mode(name, mode))
            put(self, "compression", None if compression is None else method_number(compression))
            put(self, "level", level)
            check_level(self.compression, level)
            put(self, "comment", check_comment(comment))
            put(self, "extra", _check_extra(extra))
            put(self, "zip64", _check_zip64(zip64))
        except ZipStreamError as exc:
            raise type(exc)(f"entry {name!r}: {exc}") from exc.__cause__

    @property
    def is_dir(self) -> bool:
        """Whether this is a directory: its name ends in ``/``."""
        return self.name.endswith("/")

    @classmethod
    def from_path(cls, path: StrPath, name: str | None = None, **options: Any) -> Self:
        """The file (or directory, without what is in it) at `path`, under `name` or else its own last component.

        Its size, date and mode are read when its turn comes, from the opened file.
        """
        place = path_of(path)
        if name is None:
            name = place.name if place.name not in ("", "..") else os.path.basename(os.path.abspath(place))
        if os.path.isdir(place) and not name.endswith("/"):
            name += "/"
        return cls(name, place, **options)

    @classmethod
    def directory(cls, name: str, **options: Any) -> Self:
        """A directory; the slash at the end of `name` may be left out."""
        if isinstance(name, str) and name and not name.endswith("/"):
            name += "/"
        return cls(name, options.pop("source", None), **options)

    @classmethod
    def symlink(cls, name: str, target: StrPath, **options: Any) -> Self:
        """A symbolic link to `target`, which is stored as it is written; Unix readers make the link anew."""
        text = os.fsencode(path_text(target))
        if not text:
            raise EntryError(f"entry {name!r}: a symbolic link needs a target, and this one is empty")
        mode = options.pop("mode", 0o777)
        if isinstance(mode, int):
            mode = stat.S_IFLNK | stat.S_IMODE(mode)
        known = {"size": len(text), "crc32": zlib.crc32(text), "compression": "stored"}
        return cls(name, text, **{**known, **options, "mode": mode})

    def replace(self, **changes: Any) -> Self:
        """Another Entry, like this one but for `changes`: ``entry.replace(name="other")``."""
        return type(self)(**{**self._fields(), **changes})

    __replace__ = replace  # for copy.replace, from Python 3.13 on

    def _fields(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in Entry.__slots__}

    def __setattr__(self, field: str, value: object) -> None:
        raise AttributeError(f"an Entry is frozen: entry.replace({field}=…) makes another")

    def __delattr__(self, field: str) -> None:
        raise AttributeError(f"an Entry is frozen: its {field} stays")

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, Entry) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._fields().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self._fields())

    def __repr__(self) -> str:
        parts = [repr(self.name), brief(self.source)]
        for field in Entry.__slots__[2:]:
            value = getattr(self, field)
            if value not in (None, b""):
                parts.append(f"{field}={brief(value)}")
        return f"Entry({', '.join(parts)})"


def _remade(kind: type[Entry], fields: dict[str, Any]) -> Entry:
    return kind(**fields)


def coerce(item: Any) -> Entry:
    """An Entry from whatever stands in `entries`: an Entry, a path, ``(name, source)``, or a mapping."""
    if isinstance(item, Entry):
        return item
    if isinstance(item, str | os.PathLike):
        return _from_path_item(item)
    if isinstance(item, tuple | list) and len(item) == 2:
        return Entry(*item)
    if isinstance(item, Mapping):
        return _from_mapping(item)
    raise EntryTypeError(
        f"{described(item)} is no entry: give an Entry, a path, a pair (name, source), or a mapping with 'name' and "
        "'file' or 'stream'"
    )


def _from_path_item(path: StrPath) -> Entry:
    entry = Entry.from_path(path)
    if entry.is_dir:
        raise NotAFileError(
            f"entry {os.fspath(path)!r}: this is a directory. Use walk({os.fspath(path)!r}) for what is in it, or "
            "Entry.directory(name) for the directory alone"
        )
    return entry


_SOURCE_KEYS = ("source", "file", "stream", "data")
_OPTION_KEYS = ("size", "crc32", "modified", "mode", "compression", "level", "comment", "extra", "zip64")


def _from_mapping(item: Mapping[str, Any]) -> Entry:
    unknown = [key for key in item if key not in (*_SOURCE_KEYS, *_OPTION_KEYS, "name")]
    if unknown:
        known = ", ".join(("name", *_SOURCE_KEYS, *_OPTION_KEYS))
        raise EntryTypeError(f"entry {described(item)} has the unknown key {unknown[0]!r}: an entry's keys are {known}")
    sources = [key for key in _SOURCE_KEYS if key in item]
    name = item.get("name")
    if len(sources) > 1 or (not sources and not (isinstance(name, str) and name.endswith("/"))):
        raise EntryTypeError(
            f"entry {name!r} has {' and '.join(map(repr, sources)) or 'no source'}: give one of 'file' (a path or a "
            "file object), 'stream' (an iterable) or 'source' (anything)"
        )
    options = {key: item[key] for key in _OPTION_KEYS if key in item}
    source = item[sources[0]] if sources else None
    if sources == ["file"]:
        if isinstance(source, bytes | bytearray):
            raise EntryTypeError(f"entry {name!r}: 'file' is {described(source)}: give a path as str, or use 'source'")
        source = path_of(source) if isinstance(source, str) else source
    if name is None:
        if not isinstance(source, os.PathLike):
            raise EntryTypeError(f"entry {described(item)} has no 'name', and only a path brings one of its own")
        name = PurePath(source).name
    return Entry(name, source, **options)


def path_of(path: StrPath) -> PurePath:
    """`path` as a path object, so that a str is never taken for data."""
    return path if isinstance(path, PurePath) else PurePath(path_text(path))


def path_text(path: StrPath) -> str:
    """`path` as a str; whatever is none is refused."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise EntryTypeError(f"path {path!r}: give a str or a path object (os.fsdecode makes one of bytes)")
    return text


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


def _whole(what: str, value: int | None, most: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise EntryTypeError(f"{what}={value!r}: give a whole number, or None where it is not known")
    if not 0 <= value <= most:
        raise OptionError(f"{what}={value!r} is out of range: 0 to {most}")
    return value


def _check_mode(name: str, mode: int) -> int:
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


def _check_extra(extra: bytes) -> bytes:
    if not isinstance(extra, bytes):
        raise EntryTypeError(f"extra={extra!r}: give bytes: extra fields as APPNOTE 4.5 lays them out")
    if len(extra) > MAX_EXTRA:
        raise LimitError(f"the extra has {len(extra)} bytes, and {MAX_EXTRA} is the most that leaves room for zip64")
    for kind, _ in extra_fields(extra):
        if kind == 1:
            raise EntryError("the extra carries a zip64 field (0x0001), which the writer makes itself: leave it out")
    return extra


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


def _check_zip64(zip64: bool | None) -> bool | None:
    if zip64 is not None and not isinstance(zip64, bool):
        raise EntryTypeError(f"zip64={zip64!r}: give True (always), False (never) or None (where it is needed)")
    return zip64


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
