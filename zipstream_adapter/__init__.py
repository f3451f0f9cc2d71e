"""Zip archives streamed while they are being made: entries go in, the archive's bytes come out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aio import AsyncZipStream, async_stream_zip
    from .archive import StreamingZipFile
    from .checksums import ChecksumCache
    from .entry import Entry
    from .errors import (
        BadArchiveError,
        CRC32MismatchError,
        DuplicateNameError,
        EncryptedMemberError,
        EntryError,
        EntryTypeError,
        IntegrityError,
        LimitError,
        NotAFileError,
        OptionError,
        PoisonedError,
        RangesUnsupportedError,
        RemoteConnectionError,
        RemoteError,
        RemoteNotFoundError,
        RemotePermissionError,
        SizeMismatchError,
        SourceChangedError,
        StreamClosedError,
        StreamStateError,
        UnsafeLinkError,
        UnsafeNameError,
        UnsupportedMethodError,
        Zip64RequiredError,
        ZipStreamError,
    )
    from .layout import LayoutEntry, ZipLayout
    from .options import Progress, Skipped
    from .stream import ZipStream, stream_zip
    from .tree import walk

__version__ = "0.1.0"

__all__ = [
    "AsyncZipStream",
    "BadArchiveError",
    "CRC32MismatchError",
    "ChecksumCache",
    "DuplicateNameError",
    "EncryptedMemberError",
    "Entry",
    "EntryError",
    "EntryTypeError",
    "IntegrityError",
    "LayoutEntry",
    "LimitError",
    "NotAFileError",
    "OptionError",
    "PoisonedError",
    "Progress",
    "RangesUnsupportedError",
    "RemoteConnectionError",
    "RemoteError",
    "RemoteNotFoundError",
    "RemotePermissionError",
    "SizeMismatchError",
    "Skipped",
    "SourceChangedError",
    "StreamClosedError",
    "StreamStateError",
    "StreamingZipFile",
    "UnsafeLinkError",
    "UnsafeNameError",
    "UnsupportedMethodError",
    "Zip64RequiredError",
    "ZipLayout",
    "ZipStream",
    "ZipStreamError",
    "async_stream_zip",
    "stream_zip",
    "walk",
]

# Where each of them lives. Imported when it is first asked for: a program that only mentions the package waits for
# nothing.
_ROOMS = {
    "AsyncZipStream": "aio",
    "BadArchiveError": "errors",
    "CRC32MismatchError": "errors",
    "ChecksumCache": "checksums",
    "DuplicateNameError": "errors",
    "EncryptedMemberError": "errors",
    "Entry": "entry",
    "EntryError": "errors",
    "EntryTypeError": "errors",
    "IntegrityError": "errors",
    "LayoutEntry": "layout",
    "LimitError": "errors",
    "NotAFileError": "errors",
    "OptionError": "errors",
    "PoisonedError": "errors",
    "Progress": "options",
    "RangesUnsupportedError": "errors",
    "RemoteConnectionError": "errors",
    "RemoteError": "errors",
    "RemoteNotFoundError": "errors",
    "RemotePermissionError": "errors",
    "SizeMismatchError": "errors",
    "Skipped": "options",
    "SourceChangedError": "errors",
    "StreamClosedError": "errors",
    "StreamStateError": "errors",
    "StreamingZipFile": "archive",
    "UnsafeLinkError": "errors",
    "UnsafeNameError": "errors",
    "UnsupportedMethodError": "errors",
    "Zip64RequiredError": "errors",
    "ZipLayout": "layout",
    "ZipStream": "stream",
    "ZipStreamError": "errors",
    "async_stream_zip": "aio",
    "stream_zip": "stream",
    "walk": "tree",
}


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{room}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
