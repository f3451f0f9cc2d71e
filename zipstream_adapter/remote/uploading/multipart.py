"""An upload whose parts are sent one by one, from any machine: what each kind of store implements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from ...errors import OptionError
from ..stores import object_name
from .azure_blocks import AzureBlocks
from .s3_multipart import S3Multipart


class PartTarget(Protocol):
    """Where a worker sends one part: a signed URL, without credentials. Can be pickled.

    Both methods return the store's mark of the part, for `Multipart.complete`. The store verifies the data.
    """

    def put(self, data: bytes | bytearray) -> str:
        """Send a part that has been made."""
        ...

    def stream(self, size: int, make: Callable[[], Iterable[bytes]]) -> str:
        """Send a part of `size` bytes while it is made. `make` returns its chunks, and is called for each try."""
        ...


class Multipart(Protocol):
    """An unfinished object. The caller must complete or abort it.

    Attributes:
        where: name of the object in errors.
        upload_id: name of the upload, by which another process goes on.
    """

    where: str

    @property
    def upload_id(self) -> str: ...

    def sent_parts(self) -> Iterator[tuple[int, str, int]]:
        """Yield number, mark and size of each part that the store has. Raises RemoteNotFoundError if it was ended."""
        ...

    def target(self, number: int) -> PartTarget:
        """Return the target of part `number`, counted from 1."""
        ...

    def complete(self, marks: Sequence[str]) -> tuple[str | None, str | None]:
        """Make the parts one object. Returns its ETag and version."""
        ...

    def abort(self, failure: BaseException) -> None:
        """Give up. Adds a note to `failure` if parts remain that the store would keep."""
        ...


def open_multipart(store: Any, path: str, upload_id: str | None = None) -> Multipart:
    """Begin an upload, or go on with the one that `upload_id` names.

    Raises OptionError if the store, or one of its options, is not supported.
    """
    kind = type(store).__name__
    if kind == "S3Store":
        return S3Multipart(store, path, upload_id)
    if kind == "AzureStore":
        return AzureBlocks(store, path, upload_id)
    raise OptionError(
        f"{object_name(store, path)}: only an S3Store or an AzureStore supports uploads by parts: use upload_zip, "
        "which writes to any bucket. (For Google's buckets, give S3Store(bucket, "
        "endpoint='https://storage.googleapis.com', region='auto', …) with an HMAC key)"
    )
