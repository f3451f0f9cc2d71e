"""S3 multipart upload whose parts are sent to signed URLs: a worker that has a URL needs no credentials.

obstore's own multipart upload gives no access to single parts. Here parts can be made and sent on any machine.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from ...errors import RemoteError, RemoteNotFoundError, RemotePermissionError
from ..s3_client import ClientSettings, S3Object, client_of, mapping_errors
from .part_body import PartBody, SourceFailed

# Tries to abort an upload: parts may arrive after an abort (Amazon S3 API Reference, AbortMultipartUpload).
_MAX_ABORTS = 5


class S3Part(NamedTuple):
    """See `PartTarget`: the signed URL of one part, with all that a worker needs to send it."""

    url: str
    where: str
    place: dict[str, Any]
    settings: ClientSettings

    def __repr__(self) -> str:
        return f"<S3Part of {self.where}>"  # without the signature

    def put(self, data: bytes | bytearray) -> str:
        """See `PartTarget.put`. The store verifies the data by its MD5 (RFC 1864)."""
        return self._send(data, hashlib.md5(data, usedforsecurity=False).digest())

    def stream(self, size: int, make: Callable[[], Iterable[bytes]]) -> str:
        """See `PartTarget.stream`.

        The ETag is compared with the MD5 of the bytes that were sent. If it is another value, as in buckets encrypted
        by AWS KMS, the part is sent once more with its MD5, which the store verifies. This process then makes further
        parts for the bucket twice, and sends them once.
        """
        bucket = self.settings.endpoint, self.place["Bucket"]
        body = PartBody(size, make, self.where)
        try:
            if bucket in _without_md5:
                return self._send(body, body.find_md5())
            etag = self._send(body, None)
            if etag.strip('"') != body.md5.hex():
                _without_md5.add(bucket)
                etag = self._send(body, body.md5)
            return etag
        except SourceFailed as failed:
            raise failed.error from None
        finally:
            body.close()

    def _send(self, body: bytes | bytearray | PartBody, md5: bytes | None) -> str:
        known = {} if md5 is None else {"ContentMD5": base64.b64encode(md5).decode()}
        if isinstance(body, PartBody):
            body.seek(0)
        try:
            with mapping_errors(self.where, self.settings.tries):
                client = client_of(self.settings)
                etag = client.upload_part(**self.place, SignedUrl=self.url, Body=body, **known).get("ETag")
        finally:  # a store that verifies the MD5 would only say that it is wrong
            if isinstance(body, PartBody) and md5 is not None:
                body.refuse_other(md5)
        if not etag:
            raise RemoteError(f"{self.where}: the store accepted a part but returned no ETag")
        return str(etag)


# Endpoints and buckets whose ETags are not the MD5s of parts.
_without_md5: set[tuple[str, str]] = set()


class S3Multipart:
    """See `Multipart`."""

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
        """The UploadId."""
        return str(self._id)

    def sent_parts(self) -> Iterator[tuple[int, str, int]]:
        """See `Multipart.sent_parts`. Asks for 1,000 at a time."""
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

    def target(self, number: int) -> S3Part:
        """See `Multipart.target`."""
        part = {"PartNumber": number, "UploadId": self._id}
        url = self._object.signed_url("upload_part", **part)
        return S3Part(url, self.where, {**self._object.place, **part}, self._object.settings.for_workers)

    def complete(self, etags: Sequence[str]) -> tuple[str | None, str | None]:
        """See `Multipart.complete`."""
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
        """See `Multipart.abort`. Parts that arrive late are removed, too."""
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
