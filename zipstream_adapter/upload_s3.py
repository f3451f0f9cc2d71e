"""S3's multipart upload, part by part, by signed URLs: whoever has one needs no credentials, and no obstore.

obstore uploads by itself, and shows nothing of it; here a part can be made, and sent, anywhere. Signatures are of
version 4, in the query, with the payload unsigned (Amazon S3 API Reference, "Authenticating Requests: Using Query
Parameters").
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from .errors import OptionError, RemoteError, RemoteNotFoundError, RemotePermissionError
from .http_send import Answer, Client, send
from .remote_store import import_obstore, shown_in, translating

# How long a URL holds: parts may wait for a worker for hours.
_EXPIRES = timedelta(hours=12)
# How often an upload is aborted that has parts again (Amazon S3 API Reference, AbortMultipartUpload).
_ABORTS = 5
_SAFE = "-._~"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_configs: dict[int, tuple[weakref.ref[Any], dict[str, Any] | None]] = {}
# What a store may be told that these requests would not do.
_UNSPOKEN = (
    "server_side_encryption", "sse_kms_key_id", "sse_bucket_key_enabled", "sse_customer_key_base64", "request_payer",
    "checksum_algorithm", "s3_express", "skip_signature",
)  # fmt: skip


class Signer:
    """Makes signed URLs for the object at `path` in an obstore S3Store.

    Raises OptionError where the store has what these URLs cannot say, or keeps its secret key to itself.
    """

    def __init__(self, store: Any, path: str) -> None:
        self.where = shown_in(store, path)
        if type(store).__name__ != "S3Store":
            raise OptionError(
                f"{self.where}: only an S3Store can be written part by part from many places. (Google's buckets are "
                "one, too: S3Store(bucket, endpoint='https://storage.googleapis.com', …) with an HMAC key)"
            )
        config = _config_of(store)
        if config is None:
            raise OptionError(
                f"{self.where}: obstore cannot tell the options of its store: give it allow_http, timeout and the like "
                "as client_options={'allow_http': True, …}"
            )
        for option in _UNSPOKEN:
            value = str(config.get(option, os.environ.get(f"AWS_{option.upper()}", "false")))
            if value.lower() not in ("false", "0", ""):
                raise OptionError(f"{self.where}: {option}={config.get(option, value)!r} cannot be had part by part")
        with translating(self.where):
            example = import_obstore().sign(store, "GET", path, _EXPIRES)
        address, asked = urlsplit(example), {key: value[0] for key, value in parse_qs(urlsplit(example).query).items()}
        self._address = address._replace(query="").geturl()
        self._host, self._path = address.netloc, address.path
        self._key, _, self._region, self._service, _ = asked["X-Amz-Credential"].rsplit("/", 4)
        self._secret, self._token = self._secret_of(store, config, asked.get("X-Amz-Security-Token"))
        self.client = Client.of(store, self.where)

    def _secret_of(self, store: Any, config: Mapping[str, Any], token: str | None) -> tuple[str, str | None]:
        """The secret key that belongs to what obstore signs with."""
        provider = getattr(store, "credential_provider", None)
        if callable(provider):
            given = provider()
            if hasattr(given, "__await__"):
                given.close()
                raise OptionError(f"{self.where}: its credential_provider is asynchronous: give one that is not")
            self._key = given["access_key_id"]
            return given["secret_access_key"], given.get("token")
        for known, prefix in ((config, ""), (os.environ, "AWS_")):
            names = [f"{prefix}{name}".upper() if prefix else name for name in ("access_key_id", "secret_access_key")]
            if known.get(names[0]) == self._key and known.get(names[1]):
                return known[names[1]], token
        raise OptionError(
            f"{self.where}: its store finds its credentials by itself and keeps them: give access_key_id= and "
            "secret_access_key=, or credential_provider= (such as obstore.auth.boto3.Boto3CredentialProvider())"
        )

    def url(self, method: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> str:
        """A URL for `method` with `query`, to be sent with the `headers`, whose names are in lower case."""
        now = datetime.now(UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        signed = {"host": self._host, **(headers or {})}
        asked = {
            **(query or {}),
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self._key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(int(_EXPIRES.total_seconds())),
            "X-Amz-SignedHeaders": ";".join(sorted(signed)),
            **({"X-Amz-Security-Token": self._token} if self._token else {}),
        }
        pairs = sorted((quote(key, safe=_SAFE), quote(value, safe=_SAFE)) for key, value in asked.items())
        line = "&".join(f"{key}={value}" for key, value in pairs)
        fields = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
        request = "\n".join((method, self._path, line, fields, ";".join(sorted(signed)), "UNSIGNED-PAYLOAD"))
        text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
        key = f"AWS4{self._secret}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return f"{self._address}?{line}&X-Amz-Signature={hmac.new(key, text.encode(), 'sha256').hexdigest()}"


def _config_of(store: Any) -> dict[str, Any] | None:
    """The options of `store`; None where client options were given among them.

    At that obstore panics, which prints some lines on standard error: so each store is asked once.
    """
    kept = _configs.get(id(store))
    if kept is not None and kept[0]() is store:
        return kept[1]
    try:
        config = dict(store.config)
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":
            raise
        config = None
    key = id(store)
    _configs[key] = weakref.ref(store, lambda _: _configs.pop(key, None)), config
    return config


class PartTarget(NamedTuple):
    """Where one part goes, and how: all that whoever sends it needs. Can be pickled."""

    url: str
    where: str
    client: Client


def put_part(target: PartTarget, chunks: Sequence[bytes]) -> str:
    """Upload one part; returns its ETag. The store checks its MD5 (RFC 1864)."""
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    headers = {"content-md5": base64.b64encode(digest.digest()).decode(), "content-type": "application/octet-stream"}
    answer = send("PUT", target.url, chunks, headers, target.client, target.where)
    etag = answer.headers.get("etag")
    if not etag:
        raise RemoteError(f"{target.where}: the store has taken a part, and given no ETag for it")
    return etag


class Multipart:
    """One multipart upload, begun: it is completed or aborted by whoever has begun it."""

    def __init__(self, store: Any, path: str) -> None:
        self._signer = Signer(store, path)
        self.where = self._signer.where
        answer = self._send("POST", {"uploads": ""}, content_type="application/zip")
        self._id = _field(answer.body, "UploadId") or ""
        if not self._id:
            raise RemoteError(f"{self.where}: the store has given no upload id")

    def target(self, number: int) -> PartTarget:
        """Where part `number`, from 1 on, goes."""
        url = self._signer.url("PUT", {"partNumber": str(number), "uploadId": self._id})
        return PartTarget(url, self.where, self._signer.client)

    def complete(self, etags: Sequence[str]) -> tuple[str | None, str | None]:
        """Make the object of the parts; returns its ETag and version."""
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        text = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{parts}</CompleteMultipartUpload>'
        try:
            answer = self._send("POST", {"uploadId": self._id}, [text.encode()], content_type="application/xml")
        except RemoteNotFoundError:
            # Sent again, as no answer came, where it had been done already.
            etag, version = self._what_is_there()
            if etag is None or etag != _etag_of(etags):
                raise
            return etag, version
        # The status leaves before it is known what comes of it.
        if b"<Error" in answer.body or not (etag := _field(answer.body, "ETag")):
            code, said = _field(answer.body, "Code"), _field(answer.body, "Message")
            raise RemoteError(f"{self.where}: the parts could not be made one object: {code or 'no answer'}: {said}")
        return etag, answer.headers.get("x-amz-version-id")

    def _what_is_there(self) -> tuple[str | None, str | None]:
        found = self._send("HEAD", {}, missing_ok=True).headers
        return found.get("etag"), found.get("x-amz-version-id")

    def abort(self, failure: BaseException) -> None:
        """Leave nothing behind, also of parts that arrive late; where that fails, a note at `failure` says so."""
        left: object = "parts of it keep arriving"
        try:
            for _ in range(_ABORTS):
                self._send("DELETE", {"uploadId": self._id}, missing_ok=True)
                if not self._is_left():
                    return
        except Exception as exc:
            left = exc
        failure.add_note(f"(and the unfinished upload {self._id!r} could not be aborted, so it is left: {left})")

    def _is_left(self) -> bool:
        """Whether the store knows of the upload still, as far as it may be asked for that."""
        try:
            return self._send("GET", {"uploadId": self._id, "max-parts": "1"}, missing_ok=True).status != 404
        except RemotePermissionError:
            return False

    def _send(
        self,
        method: str,
        query: dict[str, str],
        body: Sequence[bytes] = (),
        *,
        content_type: str = "",
        missing_ok: bool = False,
    ) -> Answer:
        headers = {"content-type": content_type} if content_type else {}
        url = self._signer.url(method, query)
        return send(method, url, body, headers, self._signer.client, self.where, missing_ok=missing_ok)


def stored_crc32(signer: Signer) -> tuple[str | None, int | None]:
    """An object's ETag, and the CRC-32 of all of its data, where its store has been told it; else None.

    A composite one (of the parts' checksums), CRC-32C and CRC-64 are others. Who does not say which it is, may well
    mean that one for an object of parts, as its ETag shows it to be.
    """
    headers = {"x-amz-checksum-mode": "ENABLED"}
    found = send("HEAD", signer.url("HEAD", None, headers), (), headers, signer.client, signer.where).headers
    etag, value = found.get("etag"), found.get("x-amz-checksum-crc32", "")
    kind = found.get("x-amz-checksum-type", "COMPOSITE" if etag is None or "-" in etag else "FULL_OBJECT")
    if kind != "FULL_OBJECT" or not re.fullmatch(r"[A-Za-z0-9+/]{6}==", value):
        return etag, None
    return etag, int.from_bytes(base64.b64decode(value), "big")


def _etag_of(parts: Iterable[str]) -> str | None:
    """The ETag of an object made of parts with these, where they are MD5 sums."""
    sums = [etag.strip('"') for etag in parts]
    if not all(re.fullmatch("[0-9a-f]{32}", each) for each in sums):
        return None
    whole = hashlib.md5(bytes.fromhex("".join(sums)), usedforsecurity=False).hexdigest()
    return f'"{whole}-{len(sums)}"'


def _field(body: bytes, name: str) -> str | None:
    """The text of the first element `name`, whatever its namespace."""
    try:
        root = ElementTree.fromstring(body.strip() or b"<none/>")
    except ElementTree.ParseError:
        return None
    return next((it.text for it in root.iter() if it.tag.rpartition("}")[2] == name), None)
