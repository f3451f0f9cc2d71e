"""Zip archives streamed while they are being made: entries go in, the archive's bytes come out."""

from .archive import StreamingZipFile
from .entry import Entry
from .errors import (
    CRC32MismatchError,
    DuplicateNameError,
    EntryError,
    EntryTypeError,
    IntegrityError,
    LimitError,
    NotAFileError,
    OptionError,
    PoisonedError,
    SizeMismatchError,
    SourceChangedError,
    StreamClosedError,
    StreamStateError,
    UnsafeLinkError,
    UnsafeNameError,
    Zip64RequiredError,
    ZipStreamError,
)
from .pipeline import Progress, Skipped
from .stream import ZipStream, stream_zip
from .walk import walk

__version__ = "0.1.0"

__all__ = [
    "CRC32MismatchError",
    "DuplicateNameError",
    "Entry",
    "EntryError",
    "EntryTypeError",
    "IntegrityError",
    "LimitError",
    "NotAFileError",
    "OptionError",
    "PoisonedError",
    "Progress",
    "SizeMismatchError",
    "Skipped",
    "SourceChangedError",
    "StreamClosedError",
    "StreamStateError",
    "StreamingZipFile",
    "UnsafeLinkError",
    "UnsafeNameError",
    "Zip64RequiredError",
    "ZipStream",
    "ZipStreamError",
    "stream_zip",
    "walk",
]
