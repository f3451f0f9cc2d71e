"""A part that is sent while it is made, and made anew for each try."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator

from ...errors import SourceChangedError


class SourceFailed(BaseException):
    """An error in making a part. A client would take it for one of the connection, and repeat the request."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class PartBody:
    """A part as a file that clients send. It can be rewound to the beginning only, which makes the part anew.

    Args:
        size: bytes of the part.
        make: returns the chunks of the part.
        where: name of the object in errors.
    """

    def __init__(self, size: int, make: Callable[[], Iterable[bytes]], where: str) -> None:
        self._where = where
        self._size = size
        self._make = make
        self._chunks: Iterator[bytes] = iter(())
        self._first = b""
        self._at = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def __len__(self) -> int:
        return self._size

    @property
    def md5(self) -> bytes:
        """MD5 of the bytes that have been read."""
        return self._md5.digest()

    def find_md5(self) -> bytes:
        """Make the part, and return its MD5."""
        self.seek(0)
        while self.read():
            pass
        return self.md5

    def refuse_other(self, md5: bytes) -> None:
        """Raise SourceChangedError if the part has been read to its end, and does not have this MD5."""
        if self._at == self._size and self.md5 != md5:
            raise SourceChangedError(
                f"{self._where}: the sources of a part gave other data when it was made again"
            ) from None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset or whence:
            raise io.UnsupportedOperation("a part can be rewound to its beginning only")
        self.close()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._at = 0
        self._chunks = iter(self._make())
        self._first = self._next()  # before the request begins: it may take long
        return 0

    def read(self, size: int = -1) -> bytes:
        """Return the next chunk, of any length; b"" at the end."""
        chunk, self._first = self._first or self._next(), b""
        self._md5.update(chunk)
        self._at += len(chunk)
        return chunk

    def _next(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except Exception as exc:
            raise SourceFailed(exc) from None

    def close(self) -> None:
        """Close the source."""
        close = getattr(self._chunks, "close", None)
        if callable(close):
            close()
