"""What users pass as an entry, made one: an Entry, a path, a pair, or a mapping."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from .checksum import fastest_crc32
from .dates import date_of
from .entry import Entry, path_of
from .errors import EntryTypeError, NotAFileError
from .fields import described

if TYPE_CHECKING:
    from .entry import StrPath

_SOURCE_KEYS = ("source", "file", "stream", "data")
_OPTION_KEYS = ("size", "crc32", "modified", "mode", "compression", "level", "comment", "extra", "zip64", "password")

_KEYS = ("name", *_SOURCE_KEYS, *_OPTION_KEYS)


class Draft(NamedTuple):
    """An Entry to be, by a module of this package that knows all but the name and the source to be right.

    It is made an Entry, and checked, where it cannot go the short way, than which to make one takes longer.

    Attributes:
        dated: what is said of the date that the file at `source` has: the member's date, and its extra.
        is_declared: whether `source` is bytes, and their size and CRC-32 count as declared.
    """

    name: str
    source: Any
    modified: datetime | None = None
    mode: int | None = None
    extra: bytes = b""
    zip64: bool | None = None
    compression: int | None = None
    level: int | None = None
    dated: Callable[[datetime], tuple[datetime, bytes]] | None = None
    is_declared: bool = False

    def entry(self) -> Entry:
        """The Entry. Where it is `dated`, the file is asked now."""
        return Entry(self.name, self.source, mode=self.mode, **self.options())

    def options(self) -> dict[str, Any]:
        """What its Entry is told but for name, source and mode."""
        modified, extra = self.modified, self.extra
        if self.dated is not None:
            modified, extra = self.dated(date_of(os.stat(self.source)))
        known: dict[str, Any] = {}
        if self.is_declared:
            known = {"size": len(self.source), "crc32": fastest_crc32()(self.source, 0)}
        coded = {"zip64": self.zip64, "compression": self.compression, "level": self.level}
        return {"modified": modified, "extra": extra, **coded, **known}


def coerce(item: Any) -> Entry:
    """An Entry from whatever stands in `entries`: an Entry, a path, ``(name, source)``, or a mapping."""
    if isinstance(item, Entry):
        return item
    if isinstance(item, Draft):
        return item.entry()
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


def masked(item: Mapping[str, Any]) -> dict[str, Any]:
    """`item` as it may be shown: without its password, and what is under keys that may be meant for one."""
    return {key: "…" if key == "password" or key not in _KEYS else value for key, value in item.items()}


def _from_mapping(item: Mapping[str, Any]) -> Entry:
    unknown = [key for key in item if key not in _KEYS]
    said = masked(item)
    if unknown:
        known = ", ".join(_KEYS)
        raise EntryTypeError(f"entry {described(said)} has the unknown key {unknown[0]!r}: an entry's keys are {known}")
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
            raise EntryTypeError(f"entry {described(said)} has no 'name', and only a path brings one of its own")
        name = PurePath(source).name
    return Entry(name, source, **options)
