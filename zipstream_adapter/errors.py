"""Everything this package raises on its own account.

An exception from the user's own source, callback or file passes through unchanged, with a note that
names the entry. Everything else is one of these; each leaf also is the built-in people already catch::

    ZipStreamError
    ├── OptionError (ValueError)                an argument outside what the function takes
    ├── EntryError (ValueError)                 an entry that cannot become a member
    │   ├── UnsafeNameError                     a name that could not be stored, or could climb out
    │   ├── DuplicateNameError                  a name taken already, or a file where a directory stands
    │   ├── BadArchiveError (BadZipFile)        an archive, or a member of it, that cannot be read
    │   ├── EncryptedMemberError (RuntimeError)  a member to be read without its password, or with another
    │   ├── UnsupportedMethodError (NotImplementedError)  a member that cannot be decompressed here
    │   ├── NotAFileError (OSError)             a directory, socket, device or pipe given as data
    │   └── UnsafeLinkError (OSError)           a followed link that leaves the root, or loops
    ├── EntryTypeError (TypeError)              an item, source or chunk of a type that is not data
    ├── IntegrityError (ValueError)             what was declared did not come true
    │   ├── SizeMismatchError                   more or fewer bytes than declared
    │   ├── CRC32MismatchError                  another checksum than declared
    │   └── SourceChangedError (OSError)        a file or object that changed while it was read
    ├── LimitError (OverflowError)              a field of the format that is too small for the value
    │   └── Zip64RequiredError (LargeZipFile)   zip64 was refused, and is needed
    ├── RemoteError (OSError)                   an object elsewhere that could not be read, or written
    │   ├── RangesUnsupportedError              a server that gives the whole, and no range of it
    │   ├── RemoteConnectionError (ConnectionError)  it could not be reached, or did not stay
    │   ├── RemoteNotFoundError (FileNotFoundError)  there is no such object or bucket
    │   └── RemotePermissionError (PermissionError)  access was refused, or nothing was there to ask for it
    └── StreamStateError (ValueError)           a stream or archive used after its end
        ├── PoisonedError                       it failed or was aborted: nothing more leaves it
        └── StreamClosedError                   it was closed before its end
"""

from zipfile import BadZipFile, LargeZipFile

__all__ = [
    "BadArchiveError",
    "CRC32MismatchError",
    "DuplicateNameError",
    "EncryptedMemberError",
    "EntryError",
    "EntryTypeError",
    "IntegrityError",
    "LimitError",
    "NotAFileError",
    "OptionError",
    "PoisonedError",
    "RangesUnsupportedError",
    "RemoteConnectionError",
    "RemoteError",
    "RemoteNotFoundError",
    "RemotePermissionError",
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
    """The root: catch it to catch everything this package raises on its own account."""


class OptionError(ZipStreamError, ValueError):
    """An argument is outside what the function takes."""


class EntryError(ZipStreamError, ValueError):
    """An entry cannot become a member of the archive."""


class UnsafeNameError(EntryError):
    """A member's name could not be stored, or could be extracted outside of its directory."""


class DuplicateNameError(EntryError):
    """A member's name is taken already, or names a file where a directory stands (or the reverse)."""


class BadArchiveError(EntryError, BadZipFile):
    """An archive that is read, or that a member is to be copied from, is none, or is broken there."""


class EncryptedMemberError(EntryError, RuntimeError):
    """A member of a remote archive is encrypted, and its password was not given, or is another."""


class UnsupportedMethodError(EntryError, NotImplementedError):
    """A member of a remote archive is compressed, or encrypted, in a way that cannot be read here."""


class NotAFileError(EntryError, OSError):
    """A directory, socket, device or pipe was given where a file's data is needed."""


class UnsafeLinkError(EntryError, OSError):
    """A symbolic link that was to be followed leaves the root of the walk, or leads into a loop."""


class EntryTypeError(ZipStreamError, TypeError):
    """An item, a source or a chunk has a type that cannot be data."""


class IntegrityError(ZipStreamError, ValueError):
    """What was declared of an entry did not come true."""


class SizeMismatchError(IntegrityError):
    """The data has more or fewer bytes than declared."""


class CRC32MismatchError(IntegrityError):
    """The data's CRC-32 is not the declared one."""


class SourceChangedError(IntegrityError, OSError):
    """A file or a remote object changed while it was read."""


class LimitError(ZipStreamError, OverflowError):
    """A value does not fit the field that the zip format has for it."""


class Zip64RequiredError(LimitError, LargeZipFile):
    """A value needs the zip64 extensions, and they were refused.

    Attributes:
        field: which it was: of a member its "size", "compressed_size" or "offset"; of the archive the number of its
            "members", its "directory_size" or "directory_offset".
    """

    def __init__(self, message: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RemoteError(ZipStreamError, OSError):
    """An object in a store, or behind a URL, could not be read or written."""


class RangesUnsupportedError(RemoteError):
    """A server gives an object as a whole only, and not the bytes of it that were asked for."""


class RemoteConnectionError(RemoteError, ConnectionError):
    """A server could not be reached, did not answer in time, or broke the connection, however often it was tried."""


class RemoteNotFoundError(RemoteError, FileNotFoundError):
    """There is no such object, or no such bucket."""


class RemotePermissionError(RemoteError, PermissionError):
    """Access was refused, or no credentials were found to ask for it."""


class StreamStateError(ZipStreamError, ValueError):
    """A stream or an archive was used after its end."""


class PoisonedError(StreamStateError):
    """It failed or was aborted before: not one more byte leaves it."""


class StreamClosedError(StreamStateError):
    """It was closed before its end."""


# ValueError comes first of their bases, and its __new__ makes no OSError: what calls that (tblib, for Dask) would fail.
for _kind in (NotAFileError, SourceChangedError, UnsafeLinkError):
    _kind.__new__ = OSError.__new__  # type: ignore[method-assign]
del _kind
