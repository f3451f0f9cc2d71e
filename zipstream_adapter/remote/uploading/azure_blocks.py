"""An upload to Azure by blocks that are sent to signed URLs: a worker that has a URL needs no credentials.

Blocks become the blob when their list is sent (Blob service REST API, Put Block and Put Block List). Until then Azure
keeps them out of sight, and drops them a week after the last one came.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree

from ...errors import OptionError, RemoteError, RemoteNotFoundError
from ..azure_client import AzureBlob, SignedBlob
from .part_body import PartBody, SourceFailed

# The names of a blob's blocks must have one length. obstore's have 32 characters: so blocks that are left of an upload
# by `upload_zip` do not stand in the way.
_ID_CHARS, _NUMBER_CHARS = 27, 5


class AzureBlock(NamedTuple):
    """See `PartTarget`: the signed URL of the blob, and the name of one block."""

    blob: SignedBlob
    name: str

    def put(self, data: bytes | bytearray) -> str:
        """See `PartTarget.put`. The store verifies the data by its MD5 (RFC 1864)."""
        return self._send(lambda: [data], len(data), hashlib.md5(data, usedforsecurity=False).digest())

    def stream(self, size: int, make: Callable[[], Iterable[bytes]]) -> str:
        """See `PartTarget.stream`. The part is made once before, for its MD5, which the store verifies.

        (Azure returns no MD5 of what it has received, but a CRC-64 that no module of Python computes.)
        """
        body = PartBody(size, make, self.blob.where)

        def anew() -> PartBody:
            body.seek(0)
            return body

        try:
            md5 = body.find_md5()
            try:
                return self._send(anew, size, md5)
            except RemoteError:
                body.refuse_other(md5)
                raise
        except SourceFailed as failed:
            raise failed.error from None
        finally:
            body.close()

    def _send(self, body: Callable[[], Iterable[Any]], size: int, md5: bytes) -> str:
        fields = {"Content-MD5": base64.b64encode(md5).decode(), "Content-Type": "application/octet-stream"}
        query = f"comp=block&blockid={quote(self.name, safe='')}"
        try:
            self.blob.call("PUT", query, fields=fields, body=body, size=size)
        except RemoteError as exc:
            if "InvalidBlobOrBlock" in str(exc):
                exc.add_note(
                    "(Another program's unfinished upload to this path may have blocks with names of another length. "
                    "Azure drops them a week after the last one came, or when a blob is written there.)"
                )
            raise
        return self.name


class AzureBlocks:
    """See `Multipart`.

    Azure knows no uploads: its blocks belong to a blob. So the name of each begins with the upload's.
    """

    def __init__(self, store: Any, path: str, upload_id: str | None = None) -> None:
        self._blob = AzureBlob(store, path)
        self.where = self._blob.where
        self._id = secrets.token_hex(_ID_CHARS)[:_ID_CHARS] if upload_id is None else upload_id
        if len(self._id) != _ID_CHARS:
            raise OptionError(f"{self.where}: the upload {upload_id!r} is of another kind of store")
        self._given_up = threading.Event()

    @property
    def upload_id(self) -> str:
        """The beginning of its blocks' names."""
        return self._id

    def sent_parts(self) -> Iterator[tuple[int, str, int]]:
        """See `Multipart.sent_parts`."""
        try:
            answer = self._blob.signed("GET").call("GET", "comp=blocklist&blocklisttype=all")
        except RemoteNotFoundError:
            return  # no block has come, or the first one will be refused
        for is_committed, name, size in _listed(answer.data, self.where):
            number = self._number_in(name)
            if number is None:
                continue
            if is_committed:
                raise RemoteNotFoundError(f"{self.where}: there is no upload {self._id!r} any more: it was completed")
            yield number, name, size

    def _number_in(self, name: str) -> int | None:
        """Return the number of the part that a block is; None if it belongs to another upload."""
        known = base64.b64decode(name).decode("latin-1")
        number = known.removeprefix(self._id)
        return int(number) if known != number and len(number) == _NUMBER_CHARS and number.isdecimal() else None

    def target(self, number: int) -> AzureBlock:
        """See `Multipart.target`."""
        name = base64.b64encode(f"{self._id}{number:0{_NUMBER_CHARS}}".encode()).decode()
        return AzureBlock(self._blob.signed("PUT"), name)

    def complete(self, marks: Sequence[str]) -> tuple[str | None, str | None]:
        """See `Multipart.complete`. If the response is lost, the request can be repeated."""
        failure = "the blocks could not be made one blob"
        blocks = "".join(f"<Latest>{name}</Latest>" for name in marks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode()
        answer = self._blob.signed("PUT").call(
            "PUT",
            "comp=blocklist",
            fields={"x-ms-blob-content-type": "application/zip", "Content-Type": "application/xml"},
            body=lambda: [body],
            size=len(body),
            failure=failure,
            given_up=self._given_up,
        )
        etag = answer.headers.get("ETag")
        if not etag:  # not of the store: a proxy may answer in its place
            raise RemoteError(f"{self.where}: {failure}: the answer has no ETag")
        return etag, answer.headers.get("x-ms-version-id")

    def abort(self, failure: BaseException) -> None:
        """See `Multipart.abort`. Azure has no request that removes blocks: it drops them itself, a week later."""
        self._given_up.set()  # a thread that was left alone does not complete the blob any more


def _listed(xml: bytes, where: str) -> Iterator[tuple[bool, str, int]]:
    """Yield (is committed, name, size) of each block in a block list."""
    try:
        for kind in ElementTree.fromstring(xml):
            for block in kind.iter("Block"):
                name, size = block.findtext("Name", ""), block.findtext("Size", "")
                yield kind.tag == "CommittedBlocks", name, int(size)
    except (ElementTree.ParseError, ValueError) as exc:
        raise RemoteError(f"{where}: the store sent an invalid list of blocks: {exc}") from None
