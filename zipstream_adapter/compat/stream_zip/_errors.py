"""The errors of `compat.stream_zip`, named as in stream-zip. Each is also an error of this package.

::

    ZipError
    └── ZipValueError (ValueError)
        ├── ZipIntegrityError
        │   ├── CRC32IntegrityError
        │   └── UncompressedSizeIntegrityError
        └── ZipOverflowError (OverflowError)
            ├── UncompressedSizeOverflowError, CompressedSizeOverflowError, OffsetOverflowError
            ├── CentralDirectorySizeOverflowError, CentralDirectoryNumberOfEntriesOverflowError
            └── NameLengthOverflowError
"""

from __future__ import annotations

from ...errors import CRC32MismatchError, IntegrityError, LimitError, SizeMismatchError, ZipStreamError


class ZipError(ZipStreamError):
    """Base class of all errors in this module."""


class ZipValueError(ZipError, ValueError):
    """An argument or data cannot be stored in the archive."""


class ZipIntegrityError(ZipValueError, IntegrityError):
    """A member's data differs from its declaration."""


class CRC32IntegrityError(ZipIntegrityError, CRC32MismatchError):
    """The CRC-32 of the data differs from the declared one."""


class UncompressedSizeIntegrityError(ZipIntegrityError, SizeMismatchError):
    """The size of the data differs from the declared one."""


class ZipOverflowError(ZipValueError, LimitError):
    """A value is too large for its field."""


class UncompressedSizeOverflowError(ZipOverflowError):
    """The data has 4 GiB or more, and the method does not allow zip64."""


class CompressedSizeOverflowError(ZipOverflowError):
    """The compressed data has 4 GiB or more, and the method does not allow zip64."""


class CentralDirectorySizeOverflowError(ZipOverflowError):
    """The central directory has 4 GiB or more, and no member allows zip64."""


class OffsetOverflowError(ZipOverflowError):
    """A member or the central directory begins at 4 GiB or later, and zip64 is not allowed."""


class CentralDirectoryNumberOfEntriesOverflowError(ZipOverflowError):
    """There are more than 65,535 members, and none allows zip64."""


class NameLengthOverflowError(ZipOverflowError):
    """A name has more than 65,535 bytes in UTF-8."""
