"""S3 multipart upload whose parts are sent to signed URLs: a worker that has a URL needs no credentials.

obstore's own multipart upload gives no access to single parts. Here parts can be made and sent on any machine.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from ...errors import RemoteError, RemoteNotFoundError, RemotePermissionError, SourceChangedError
from ..s3_client import ClientSettings, S3Object, client_of, mapping_errors

# Tries to abort an upload: parts may arrive after an abort (Amazon S3 API Reference, AbortMultipartUpload).
_MAX_ABORTS = 5


class PartTarget(NamedTuple):
    """Signed URL of one part, with all that a worker needs to send it. Can be pickled."""

    url: str
    where: str
    place: dict[str, Any]
    settings: ClientSettings


def put_part(target: PartTarget, data: bytes | bytearray) -> str:
    """Upload one part and return its ETag. The store verifies the data by its MD5 (RFC 1864)."""
    return _put(target, data, hashlib.md5(data, usedforsecurity=False).digest())


def stream_part(target: PartTarget, size: int, make: Callable[[], Iterable[bytes]]) -> str:
    """Like `put_part`, while the part is made. `make` returns its `size` bytes, and is called again for each try.

    The ETag is compared with the MD5 of the bytes that were sent. If it is another value, as in buckets encrypted by
    AWS KMS, the part is sent once more with its MD5, which the store verifies. This process then makes further parts
    for the bucket twice, and sends them once.
    """
    place = target.settings.endpoint, target.place["Bucket"]
    body = _PartBody(size, make)
    try:
        if place in _without_md5:
            body.seek(0)
            while body.read():
                pass
            return _put(target, body, body.md5)
        etag = _put(target, body, None)
        if etag.strip('"') != body.md5.hex():
            _without_md5.add(place)
            etag = _put(target, body, body.md5)
        return etag
    except _SourceFailed as failed:
        raise failed.error from None
    finally:
        body.close()


# Endpoints and buckets whose ETags are not the MD5s of parts.
_without_md5: set[tuple[str, str]] = set()


def _put(target: PartTarget, body: Any, md5: bytes | None) -> str:
    known = {} if md5 is None else {"ContentMD5": base64.b64encode(md5).decode()}
    if isinstance(body, _PartBody):
        body.seek(0)
    with mapping_errors(target.where, target.settings.tries):
        client = client_of(target.settings)
        etag = client.upload_part(**target.place, SignedUrl=target.url, Body=body, **known).get("ETag")
    if isinstance(body, _PartBody) and md5 not in (None, body.md5):
        raise SourceChangedError(f"{target.where}: the sources of a part gave other data when it was made again")
    if not etag:
        raise RemoteError(f"{target.where}: the store accepted a part but returned no ETag")
    return str(etag)


class _SourceFailed(BaseException):
    """An error in making a part. botocore would take it for one of the connection, and repeat the request."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class _PartBody:
    """A part as the file that botocore sends. It can be rewound to the beginning only, which makes the part anew."""

    def __init__(self, size: int, make: Callable[[], Iterable[bytes]]) -> None:
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
            raise _SourceFailed(exc) from None

    def close(self) -> None:
        """Close the source."""
        close = getattr(self._chunks, "close", None)
        if callable(close):
            close()


class Multipart:
    """A multipart upload, begun on creation, unless `upload_id` names one. The caller must complete or abort it."""

    def __init__(self, store: Any, path: str, upload_id: str | None = None) -> None:
        self._object = S3Object(store, path)
        self.where = self._object.where
        self._id: Any = upload_id
        if upload_id is not None:
            return
        self._id = self._object.call("create_multipart_upload", ContentType="application/zip").get("UploadId")
        if not self._id:
            raise RemoteError(f"{self.where}: the store returned no upload id")

    @property
    def upload_id(self) -> str:
        """The store's name of the upload."""
        return str(self._id)

    def sent_parts(self) -> Iterator[tuple[int, str, int]]:
        """Yield number, ETag and size of each part that the store has, asking for 1,000 at a time."""
        marker = 0
        while True:
            try:
                found = self._object.call("list_parts", UploadId=self._id, PartNumberMarker=marker)
            except RemoteNotFoundError:
                raise RemoteNotFoundError(
                    f"{self.where}: there is no upload {self._id!r} any more: it was completed or aborted"
                ) from None
            for part in found.get("Parts", ()):
                yield part["PartNumber"], part["ETag"], part["Size"]
            if not found.get("IsTruncated"):
                return
            marker = int(found["NextPartNumberMarker"])

    def target(self, number: int) -> PartTarget:
        """Return the target of part `number`, counted from 1."""
        part = {"PartNumber": number, "UploadId": self._id}
        url = self._object.signed_url("upload_part", **part)
        return PartTarget(url, self.where, {**self._object.place, **part}, self._object.settings.for_workers)

    def complete(self, etags: Sequence[str]) -> tuple[str | None, str | None]:
        """Assemble the object from the parts. Returns its ETag and version."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        failure = "the parts could not be made one object"
        try:
            done = self._object.call(
                "complete_multipart_upload", failure=failure, UploadId=self._id, MultipartUpload={"Parts": parts}
            )
        except RemoteNotFoundError:
            # The first request may have succeeded without a response reaching us.
            done = {}
            with suppress(RemoteNotFoundError):
                done = self._object.call("head_object")
            if not done.get("ETag") or done["ETag"] != _multipart_etag(etags):
                raise
        if not done.get("ETag"):
            raise RemoteError(f"{self.where}: {failure}: no response")
        return done["ETag"], done.get("VersionId")

    def abort(self, failure: BaseException) -> None:
        """Abort the upload, including parts that arrive late. Adds a note to `failure` if that fails."""
        left: object = "parts keep arriving"
        try:
            for _ in range(_MAX_ABORTS):
                self._object.call("abort_multipart_upload", UploadId=self._id)
                if not self._still_exists():
                    return
        except RemoteNotFoundError:
            return
        except Exception as exc:
            left = exc
        failure.add_note(f"(the unfinished upload {self._id!r} could not be aborted and remains in the store: {left})")

    def _still_exists(self) -> bool:
        """Whether the store still lists the upload. False if listing its parts is not permitted."""
        try:
            self._object.call("list_parts", UploadId=self._id, MaxParts=1)
        except (RemoteNotFoundError, RemotePermissionError):
            return False
        return True


def _multipart_etag(parts: Iterable[str]) -> str | None:
    """Return the ETag of an object made of parts with these ETags; None if they are not MD5 sums."""
    sums = [etag.strip('"') for etag in parts]
    if not all(re.fullmatch("[0-9a-f]{32}", part_sum) for part_sum in sums):
        return None
    whole = hashlib.md5(bytes.fromhex("".join(sums)), usedforsecurity=False).hexdigest()
    return f'"{whole}-{len(sums)}"'
