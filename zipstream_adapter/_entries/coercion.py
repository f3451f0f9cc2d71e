"""Turn the items of `entries` into Entry objects: an Entry, a path, a pair, or a mapping."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

from .._checks import did_you_mean, typed_repr
from .._compression.secret import hidden
from ..errors import EntryTypeError, NotAFileError
from .entry import Entry, path_of, plain_entry

if TYPE_CHECKING:
    from .types import AsyncSource, Source, StrPath

_SOURCE_KEYS = ("source", "file", "stream", "data")
_OPTION_KEYS = (
    "size",
    "crc32",
    "modified",
    "mode",
    "compression",
    "level",
    "comment",
    "extra",
    "zip64",
    "password",
    "grown",
    "seekable",
)

_KEYS = ("name", *_SOURCE_KEYS, *_OPTION_KEYS)
_KNOWN = frozenset(_KEYS)


# An item of `entries`, of a stream and of an asynchronous stream. A list is a pair.
EntryLike: TypeAlias = "Entry | StrPath | tuple[str, Source | None] | list[Any] | Mapping[str, Any]"
AsyncEntryLike: TypeAlias = "EntryLike | tuple[str, AsyncSource | None]"


def coerce(item: Any) -> Entry:
    """Return the Entry of one item of `entries`: an Entry, a path, ``(name, source)``, or a mapping."""
    if type(item) is tuple and len(item) == 2 and type(item[0]) is str:
        return plain_entry(*item)
    if isinstance(item, Entry):
        return item
    if isinstance(item, tuple | list) and len(item) == 2:
        return Entry(*item)
    if isinstance(item, str | os.PathLike):
        return _from_path_item(item)
    if isinstance(item, Mapping):
        return _from_mapping(item)
    raise EntryTypeError(
        f"{typed_repr(item)} is not an entry: give an Entry, a path, a pair (name, source), or a mapping with 'name' "
        "and 'source', 'file' or 'stream'"
    )


def _from_path_item(path: StrPath) -> Entry:
    if path == "":
        raise EntryTypeError("entry '': the path is empty: give the path of a file, or a pair (name, source)")
    entry = Entry.from_path(path)
    if entry.is_dir:
        raise NotAFileError(
            f"entry {os.fspath(path)!r}: this is a directory: use walk({os.fspath(path)!r}) for its contents, or "
            "Entry.directory(name) for the directory alone"
        )
    return entry


def masked(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return `item` for display: the password, and the values of unknown keys (it may be misspelt), are hidden."""
    return {key: "…" if not _is_known(key) or key == "password" else value for key, value in item.items()}


def _is_known(key: object) -> bool:
    return isinstance(key, str) and key in _KNOWN


def _from_mapping(item: Mapping[str, Any]) -> Entry:
    unknown = [key for key in item if not _is_known(key)]
    if unknown:
        known = ", ".join(_KEYS)
        hint = did_you_mean(unknown[0], _KEYS) if isinstance(unknown[0], str) else ""
        raise EntryTypeError(
            f"entry {typed_repr(masked(item))} has the unknown key {unknown[0]!r}: its keys may be {known}{hint}"
        )
    sources = [key for key in _SOURCE_KEYS if key in item]
    name = item.get("name")
    if len(sources) > 1 or (not sources and not (isinstance(name, str) and name.endswith("/"))):
        raise EntryTypeError(
            f"entry {name!r} has {' and '.join(map(repr, sources)) or 'no source'}: give one of 'file' (a path or a "
            "file object), 'stream' (an iterable), 'source' or 'data' (anything)"
        )
    options: dict[str, Any] = {
        key: hidden(item[key]) if key == "password" else item[key] for key in _OPTION_KEYS if key in item
    }
    source = item[sources[0]] if sources else None
    if sources == ["file"]:
        if isinstance(source, bytes | bytearray):
            raise EntryTypeError(f"entry {name!r}: 'file' is {typed_repr(source)}: give a path as str, or use 'source'")
        source = path_of(source) if isinstance(source, str) else source
    if name is None:
        if not isinstance(source, os.PathLike):
            raise EntryTypeError(
                f"entry {typed_repr(masked(item))} has no 'name': give one, as only a path has its own"
            )
        name = PurePath(source).name
    if options or type(name) is not str:
        return Entry(name, source, **options)
    return plain_entry(name, source)
