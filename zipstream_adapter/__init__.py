"""Stream zip archives while they are made: entries go in, the archive's bytes come out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import compat as compat
    from . import errors as errors
    from . import remote as remote
    from . import web as web
    from ._concurrency.offload import streams_closed
    from ._entries.crc_cache import ChecksumCache
    from ._entries.entry import Entry
    from ._entries.walk import walk
    from ._entries.walked import Walk
    from ._layout.layout import LayoutEntry, ZipLayout
    from ._stream.asynchronous import AsyncZipStream, async_stream_zip
    from ._stream.saving import async_save, save
    from ._stream.sync import ZipStream, stream_zip
    from ._writer.progress import Grown, Progress, Skipped
    from ._writer.zipfile_archive import StreamingZipFile
    from .errors import (
        BadArchiveError,
        CRC32MismatchError,
        DuplicateNameError,
        EncryptedMemberError,
        EntryError,
        EntryTypeError,
        EventLoopError,
        FieldRangeError,
        ForkedError,
        IntegrityError,
        LimitError,
        NotAFileError,
        OptionError,
        PoisonedError,
        ProcessFailedError,
        RangesUnsupportedError,
        RemoteConnectionError,
        RemoteError,
        RemoteNotFoundError,
        RemotePermissionError,
        RemoteTimeoutError,
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

__version__ = "0.2.0"

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
    "EventLoopError",
    "FieldRangeError",
    "ForkedError",
    "Grown",
    "IntegrityError",
    "LayoutEntry",
    "LimitError",
    "NotAFileError",
    "OptionError",
    "PoisonedError",
    "ProcessFailedError",
    "Progress",
    "RangesUnsupportedError",
    "RemoteConnectionError",
    "RemoteError",
    "RemoteNotFoundError",
    "RemotePermissionError",
    "RemoteTimeoutError",
    "SizeMismatchError",
    "Skipped",
    "SourceChangedError",
    "StreamClosedError",
    "StreamStateError",
    "StreamingZipFile",
    "UnsafeLinkError",
    "UnsafeNameError",
    "UnsupportedMethodError",
    "Walk",
    "Zip64RequiredError",
    "ZipLayout",
    "ZipStream",
    "ZipStreamError",
    "async_save",
    "async_stream_zip",
    "save",
    "stream_zip",
    "streams_closed",
    "walk",
]

# The module of each public name. It is imported on first use of the name, so that importing the package is fast.
_ROOMS = {
    "AsyncZipStream": "_stream.asynchronous",
    "BadArchiveError": "errors",
    "CRC32MismatchError": "errors",
    "ChecksumCache": "_entries.crc_cache",
    "DuplicateNameError": "errors",
    "EncryptedMemberError": "errors",
    "Entry": "_entries.entry",
    "EntryError": "errors",
    "EntryTypeError": "errors",
    "EventLoopError": "errors",
    "FieldRangeError": "errors",
    "ForkedError": "errors",
    "Grown": "_writer.progress",
    "IntegrityError": "errors",
    "LayoutEntry": "_layout.layout",
    "LimitError": "errors",
    "NotAFileError": "errors",
    "OptionError": "errors",
    "PoisonedError": "errors",
    "ProcessFailedError": "errors",
    "Progress": "_writer.progress",
    "RangesUnsupportedError": "errors",
    "RemoteConnectionError": "errors",
    "RemoteError": "errors",
    "RemoteNotFoundError": "errors",
    "RemotePermissionError": "errors",
    "RemoteTimeoutError": "errors",
    "SizeMismatchError": "errors",
    "Skipped": "_writer.progress",
    "SourceChangedError": "errors",
    "StreamClosedError": "errors",
    "StreamStateError": "errors",
    "StreamingZipFile": "_writer.zipfile_archive",
    "UnsafeLinkError": "errors",
    "UnsafeNameError": "errors",
    "UnsupportedMethodError": "errors",
    "Walk": "_entries.walked",
    "Zip64RequiredError": "errors",
    "ZipLayout": "_layout.layout",
    "ZipStream": "_stream.sync",
    "ZipStreamError": "errors",
    "async_save": "_stream.saving",
    "async_stream_zip": "_stream.asynchronous",
    "save": "_stream.saving",
    "stream_zip": "_stream.sync",
    "streams_closed": "_concurrency.offload",
    "walk": "_entries.walk",
}


# Packages that users import by themselves. Named as an attribute, they are imported then.
_PACKAGES = ("compat", "errors", "remote", "web")
# Names that users of other libraries look for here, and advice for each.
_ADVICE = {
    "ZipFile": "StreamingZipFile writes, and zipfile.ZipFile or zipstream_adapter.remote.open_remote reads",
    "ZipInfo": "Entry describes a member to write",
    "open_remote": "it is in zipstream_adapter.remote",
    "upload_zip": "it is in zipstream_adapter.remote",
    "asgi_app": "it is in zipstream_adapter.web",
    "wsgi_app": "it is in zipstream_adapter.web",
    "respond": "it is in zipstream_adapter.web",
    "zip_headers": "it is in zipstream_adapter.web",
}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    room = _ROOMS.get(name)
    if room is None:
        advice = f": {_ADVICE[name]}" if name in _ADVICE else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{advice}", name=name)
    value = getattr(importlib.import_module(f"{__name__}.{room}"), name)
    if room.startswith("_"):
        value.__module__ = __name__  # the public module, not the private one that defines it
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
