"""The errors of `compat.stream_zip`, by its names; each is one of this package's, too.

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

from ..errors import CRC32MismatchError, IntegrityError, LimitError, SizeMismatchError, ZipStreamError


class ZipError(ZipStreamError):
    """The root."""


class ZipValueError(ZipError, ValueError):
    """Something that was given cannot become a member."""


class ZipIntegrityError(ZipValueError, IntegrityError):
    """What was said of a member's data is not so."""


class CRC32IntegrityError(ZipIntegrityError, CRC32MismatchError):
    """The data has another CRC-32 than was said."""


class UncompressedSizeIntegrityError(ZipIntegrityError, SizeMismatchError):
    """The data has another size than was said."""


class ZipOverflowError(ZipValueError, LimitError):
    """A value is too large for its field."""


class UncompressedSizeOverflowError(ZipOverflowError):
    """The data has 4 GiB or more, and zip64 was refused."""


class CompressedSizeOverflowError(ZipOverflowError):
    """The compressed data has 4 GiB or more, and zip64 was refused."""


class CentralDirectorySizeOverflowError(ZipOverflowError):
    """The central directory has 4 GiB or more, and no member asks for zip64."""


class OffsetOverflowError(ZipOverflowError):
    """A member, or the central directory, begins behind 4 GiB, and zip64 was refused."""


class CentralDirectoryNumberOfEntriesOverflowError(ZipOverflowError):
    """There are more than 65,535 members, and none asks for zip64."""


class NameLengthOverflowError(ZipOverflowError):
    """A name has more than 65,535 bytes in UTF-8."""
