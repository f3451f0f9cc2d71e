"""All exceptions that this package raises itself.

An exception from the caller's own source, callback or file passes through unchanged, with a note that names the
entry. So do the OSErrors of paths that the caller gives, as of ``walk("report.txt")``, which is no directory. Besides,
there are a TypeError for an option that a function does not have, an ImportError for an extra that is not installed,
and an `io.UnsupportedOperation` for what a stream as a file cannot do (seek). All other exceptions are listed here.
Each leaf is also a subclass of the built-in that callers already catch::

    ZipStreamError
    ├── OptionError (ValueError)                an argument with an invalid value
    ├── EntryError (ValueError)                 an entry that cannot become a member
    │   ├── UnsafeNameError                     a name that cannot be stored, or is not safe to extract
    │   ├── DuplicateNameError                  a name that is taken, or a file in place of a directory
    │   ├── FieldRangeError (struct.error)      a date, or another field of a ZipInfo, that a header cannot store
    │   ├── BadArchiveError (BadZipFile)        an archive, or a member of it, that cannot be read
    │   ├── EncryptedMemberError (RuntimeError)  an encrypted member read without its password, or with a wrong one
    │   ├── UnsupportedMethodError (NotImplementedError)  a member that cannot be decompressed or decrypted here
    │   ├── NotAFileError (OSError)             a directory, socket, device or pipe given as data
    │   ├── ProcessFailedError (ChildProcessError)  a process given as data whose exit status is not 0
    │   └── UnsafeLinkError (OSError)           a followed link that leaves the root of the walk, or loops
    ├── EventLoopError (RuntimeError)           an asynchronous function used without asyncio, as under trio
    ├── EntryTypeError (TypeError)              an item, source or chunk whose type is not data
    ├── IntegrityError (ValueError)             data that differs from its declaration
    │   ├── SizeMismatchError                   more or fewer bytes than declared
    │   ├── CRC32MismatchError                  a CRC-32 other than declared
    │   └── SourceChangedError (OSError)        a file or remote object that changed while it was read
    ├── LimitError (OverflowError)              a value too large for its field in the zip format
    │   └── Zip64RequiredError (LargeZipFile)   a value that needs zip64, which was not allowed
    ├── RemoteError (OSError)                   a remote object that could not be read or written
    │   ├── RangesUnsupportedError              a server that cannot return a byte range of an object
    │   ├── ForkedError (RuntimeError)          obstore used in a forked child of a process that has used it
    │   ├── RemoteConnectionError (ConnectionError)  a server that could not be reached, or broke the connection
    │   │   └── RemoteTimeoutError (TimeoutError)  a call that did not end within its deadline
    │   ├── RemoteNotFoundError (FileNotFoundError)  an object or bucket that does not exist
    │   └── RemotePermissionError (PermissionError)  access that was denied, or missing credentials
    └── StreamStateError (ValueError)           a stream or archive used after its end
        ├── PoisonedError                       one that failed or was aborted: it emits no further bytes
        └── StreamClosedError                   one that was closed before its end
"""

import struct
from zipfile import BadZipFile, LargeZipFile

__all__ = [
    "BadArchiveError",
    "CRC32MismatchError",
    "DuplicateNameError",
    "EncryptedMemberError",
    "EntryError",
    "EntryTypeError",
    "EventLoopError",
    "FieldRangeError",
    "ForkedError",
    "IntegrityError",
    "LimitError",
    "NotAFileError",
    "OptionError",
    "PoisonedError",
    "ProcessFailedError",
    "RangesUnsupportedError",
    "RemoteConnectionError",
    "RemoteError",
    "RemoteNotFoundError",
    "RemotePermissionError",
    "RemoteTimeoutError",
    "SizeMismatchError",
    "SourceChangedError",
    "StreamClosedError",
    "StreamStateError",
    "UnsafeLinkError",
    "UnsafeNameError",
    "UnsupportedMethodError",
    "Zip64RequiredError",
    "ZipStreamError",
]


class ZipStreamError(Exception):
    """The root of the hierarchy: catch it to catch every exception that this package raises itself."""


class OptionError(ZipStreamError, ValueError):
    """An argument has an invalid value."""


class EntryError(ZipStreamError, ValueError):
    """An entry cannot become a member of the archive."""


class UnsafeNameError(EntryError):
    """A member's name cannot be stored, could be extracted outside of its directory, or is not portable."""


class DuplicateNameError(EntryError):
    """A member's name is taken; or it names a file where the archive has a directory, or the reverse."""


class FieldRangeError(EntryError, struct.error):
    """A date, or another field of a ZipInfo, does not fit into a header (`zipfile` raises struct.error)."""


class BadArchiveError(EntryError, BadZipFile):
    """The archive to read, or to copy a member from, is not a zip archive, or is corrupt."""


class EncryptedMemberError(EntryError, RuntimeError):
    """A member of a remote archive is encrypted, and its password is missing or wrong."""


class UnsupportedMethodError(EntryError, NotImplementedError):
    """A member of a remote archive has a compression or encryption method that cannot be read here."""


class NotAFileError(EntryError, OSError):
    """A directory, socket, device or pipe was given instead of a file."""


class ProcessFailedError(EntryError, ChildProcessError):
    """A process whose output is an entry's data ended with an exit status other than 0.

    Attributes:
        program: name of the program, without arguments; None if unknown.
        status: exit status of the process, or the negative number of the signal that ended it; None if unknown.
    """

    program: str | None = None
    status: int | None = None


class UnsafeLinkError(EntryError, OSError):
    """A symbolic link to be followed leaves the root of the walk, or leads into a loop."""


class EventLoopError(ZipStreamError, RuntimeError):
    """An asynchronous function was used outside of an asyncio event loop, for instance under trio."""


class EntryTypeError(ZipStreamError, TypeError):
    """An item, source or chunk has a type that is not data."""


class IntegrityError(ZipStreamError, ValueError):
    """An entry's data differs from its declaration."""


class SizeMismatchError(IntegrityError):
    """The data has more or fewer bytes than declared."""


class CRC32MismatchError(IntegrityError):
    """The data's CRC-32 differs from the declared CRC-32."""


class SourceChangedError(IntegrityError, OSError):
    """A file or a remote object changed while it was read."""


class LimitError(ZipStreamError, OverflowError):
    """A value is too large for its field in the zip format."""


class Zip64RequiredError(LimitError, LargeZipFile):
    """A value needs the zip64 extensions, which were not allowed.

    Attributes:
        field: name of the value. Of a member: "size", "compressed_size" or "offset". Of the archive: "members" (their
            number), "directory_size" or "directory_offset". None if not given.
    """

    def __init__(self, message: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RemoteError(ZipStreamError, OSError):
    """An object in a store, or at a URL, could not be read or written."""


class RangesUnsupportedError(RemoteError):
    """A server returns only the whole object, not the requested range of bytes."""


class RemoteConnectionError(RemoteError, ConnectionError):
    """A server could not be reached, did not answer in time, or broke the connection, even after retries."""


class RemoteTimeoutError(RemoteConnectionError, TimeoutError):
    """A call did not end within its ``deadline=``."""


class ForkedError(RemoteError, RuntimeError):
    """obstore was used in a child made by fork(), whose parent has used it: its threads do not survive a fork."""


class RemoteNotFoundError(RemoteError, FileNotFoundError):
    """The object or its bucket does not exist."""


class RemotePermissionError(RemoteError, PermissionError):
    """Access was denied, or no credentials were found."""


class StreamStateError(ZipStreamError, ValueError):
    """A stream or an archive was used after its end."""


class PoisonedError(StreamStateError):
    """The stream or archive failed or was aborted before: it emits no further bytes."""


class StreamClosedError(StreamStateError):
    """The stream or archive was closed before its end."""


# ValueError precedes OSError in their bases, and its __new__ cannot create an OSError. Code that calls __new__ directly
# (tblib, for Dask) would fail.
for _kind in (NotAFileError, ProcessFailedError, SourceChangedError, UnsafeLinkError):
    _kind.__new__ = OSError.__new__  # type: ignore[method-assign]
del _kind
