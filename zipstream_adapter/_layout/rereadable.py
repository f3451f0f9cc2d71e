"""Checks whether a layout can read an entry's source again and again, and finds the source's data tag."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from types import FunctionType
from typing import Any

from .._buffers import flat_view
from .._checks import typed_repr
from .._entries.entry import Entry
from .._entries.foreign.processes import is_async_process, is_process
from .._entries.foreign.readers import is_context
from .._entries.foreign.responses import response_of
from .._entries.inspection import SourceInfo, _is_function, _size_in_memory, size_to_read
from .._entries.source import OpenSource, size_of
from ..errors import EntryError, EntryTypeError

_ASYNCHRONOUS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def data_tag(source: Any) -> bytes | None:
    """Return the ETag under which a store keeps the data of `source`; None if it has none."""
    tag = getattr(source, "data_tag", None)
    return tag if type(tag) is bytes else None


def require_rereadable(entry: Entry, found: SourceInfo) -> SourceInfo:
    """Return `found` with a source that can be read again and again. Mutable data in memory is copied.

    Raises:
        EntryTypeError: if the source can be read only once, is not called by a layout, or is not data.
        EntryError: if the size of its data is not known in advance.
    """
    source = entry.source
    if type(source) is FunctionType and source.__code__.co_flags & _ASYNCHRONOUS:
        raise EntryTypeError(
            f"entry {entry.name!r}: the source is {typed_repr(source)}, and a layout does not call asynchronous "
            "functions: give bytes, a path object, or a plain function"
        )
    if entry.is_dir or type(source) is bytes or _is_function(source) or isinstance(source, os.PathLike):
        pass
    elif callable(getattr(source, "read", None)) or isinstance(source, Iterator) or _is_once(source):
        raise EntryTypeError(
            f"entry {entry.name!r}: the source is {typed_repr(source)}, which can be read only once, and a layout has "
            "to read it again: give bytes, a path object, or a callable that returns a new one (and declare its size)"
        )
    elif found.size is not None and _size_in_memory(source) is not None:
        with flat_view(source) as view:
            found = found._replace(source=bytes(view))
    elif isinstance(source, list | tuple):
        found = _joined(entry, found)
    elif isinstance(source, str | Mapping | Set) or not (callable(source) or isinstance(source, Iterable)):
        OpenSource(entry).close()  # raises the error of an invalid source
        raise EntryTypeError(f"entry {entry.name!r}: the source is {typed_repr(source)}, which does not give data")
    if found.size is None:
        raise EntryError(
            f"entry {entry.name!r}: the size of its data is not known in advance, and a layout needs it: declare size=…"
        )
    return found


def _is_once(source: Any) -> bool:
    """Return whether `source` is a response, a process, or a context manager of something that is read once."""
    if response_of(source, "") is not None or is_process(source) or is_async_process(source):
        return True
    return is_context(source) and _size_in_memory(source) is None and not isinstance(source, Iterable)


def _joined(entry: Entry, found: SourceInfo) -> SourceInfo:
    for chunk in entry.source:
        size_of(chunk, entry.name)
    data = b"".join(bytes(flat_view(chunk)) for chunk in entry.source)
    size_to_read(entry, len(data))
    return found._replace(source=data, size=len(data))
