"""botocore's client for an S3 object: requests that obstore does not offer (extra ``s3``).

Endpoint, region, credentials and client options are those of the obstore store. Nothing is taken from the files and
variables in which botocore would look for them.
"""

from __future__ import annotations

import atexit
import base64
import os
import re
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, lru_cache, partial
from http.client import responses
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from ..errors import OptionError, RemoteConnectionError, RemoteError, RemoteNotFoundError, RemotePermissionError
from .stores import checked_config, import_extra, import_obstore, map_errors, object_name

# Validity of a signed URL: parts may wait hours for a worker.
URL_LIFETIME = timedelta(hours=12)
# botocore pauses up to 1, 2, 4 … seconds: two minutes on average, as a throttled bucket may need.
_MAX_TRIES = 9
# Seconds without data before a connection counts as broken.
_TIMEOUT_S = 60
_MAX_CLIENTS, _MAX_CONNECTIONS = 8, 64
_MAX_SHOWN_CHARS = 300
# Options of an S3Store that these requests do not apply.
_UNSUPPORTED_OPTIONS = (
    "server_side_encryption", "sse_kms_key_id", "sse_bucket_key_enabled", "sse_customer_key_base64", "request_payer",
    "checksum_algorithm", "s3_express", "skip_signature",
)  # fmt: skip
# Client options of obstore that are applied here, and those that make no difference here.
_HONOURED_OPTIONS = ("allow_invalid_certificates", "root_certificate", "proxy_url", "default_headers", "user_agent")
_IRRELEVANT_OPTIONS = (
    "allow_http", "timeout", "connect_timeout", "read_timeout", "randomize_addresses", "default_content_type",
)  # fmt: skip


def import_botocore(module: str = "botocore") -> Any:
    """Return botocore or a module of it; see `import_extra`."""
    return import_extra(module, "uploads by parts and the checksums that S3 stores")


class ClientSettings(NamedTuple):
    """Settings of a botocore client. Can be pickled; a worker's have no credentials.

    Attributes:
        endpoint: URL of the server, without the bucket.
        is_virtual: whether the host name begins with the bucket's name, instead of the path.
        key: access key id; None for requests that are not signed.
        tries: most requests to send for one call.
    """

    endpoint: str
    region: str
    is_virtual: bool
    key: str | None = None
    secret: str | None = None
    token: str | None = None
    tries: int = _MAX_TRIES
    insecure: bool = False
    root: str | None = None
    proxy: str | None = None
    user_agent: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<ClientSettings for {self.endpoint}>"  # without the secret

    @property
    def for_workers(self) -> ClientSettings:
        """The settings without credentials."""
        return self._replace(key=None, secret=None, token=None)


class S3Object:
    """The object at `path` in an obstore S3Store, as botocore needs it.

    Attributes:
        where: name of the object in errors.
        settings: settings of the client.
        place: parameters that name bucket and key.

    Raises OptionError if the store has an option that is not supported here, or its secret key is not accessible.
    """

    def __init__(self, store: Any, path: str) -> None:
        self.where = object_name(store, path)
        config = checked_config(store, self.where, "AWS", _UNSUPPORTED_OPTIONS)
        with map_errors(self.where):
            example = urlsplit(import_obstore().sign(store, "GET", path, URL_LIFETIME))
        signed = {key: value[0] for key, value in parse_qs(example.query).items()}
        key, _, region, _, _ = signed["X-Amz-Credential"].rsplit("/", 4)
        key, secret, token = self._find_secret(store, config, key, signed.get("X-Amz-Security-Token"))
        bucket = config.get("bucket") or os.environ.get("AWS_BUCKET") or os.environ.get("AWS_BUCKET_NAME", "")
        object_key = "/".join(filter(None, ((store.prefix or "").strip("/"), path)))
        self.place = {"Bucket": bucket, "Key": object_key}
        endpoint, is_virtual = self._find_endpoint(example)
        self.settings = ClientSettings(
            endpoint, region, is_virtual, key, secret, token, **_client_options(store, self.where)
        )

    def _find_secret(
        self, store: Any, config: Mapping[str, Any], key: str, token: str | None
    ) -> tuple[str, str, str | None]:
        """Return an access key, its secret and its session token; `key` and `token` are those of obstore."""
        provider = getattr(store, "credential_provider", None)
        if callable(provider):
            given = provider()
            if hasattr(given, "__await__"):
                given.close()
                raise OptionError(f"{self.where}: credential_provider is asynchronous: give a synchronous one")
            return given["access_key_id"], given["secret_access_key"], given.get("token")
        for known, prefix in ((config, ""), (os.environ, "AWS_")):
            names = [f"{prefix}{name}".upper() if prefix else name for name in ("access_key_id", "secret_access_key")]
            if known.get(names[0]) == key and known.get(names[1]):
                return key, known[names[1]], token
        raise OptionError(
            f"{self.where}: the store's secret key is not accessible: give it access_key_id= and "
            "secret_access_key=, or credential_provider= (such as obstore.auth.boto3.Boto3CredentialProvider())"
        )

    def _find_endpoint(self, example: SplitResult) -> tuple[str, bool]:
        """Return the endpoint in the object's URL `example`, and whether the bucket's name is part of the host name."""
        bucket, key = self.place["Bucket"], self.place["Key"]
        before = unquote(example.path).removesuffix(f"/{key}")
        if bucket and before.endswith(f"/{bucket}"):
            return example._replace(path=before.removesuffix(f"/{bucket}"), query="").geturl(), False
        host = example.netloc.removeprefix(f"{bucket}.")
        if not bucket or host == example.netloc:
            raise OptionError(
                f"{self.where}: the bucket's name is neither in the host nor in the path of the store's URLs, which is "
                "not supported for uploads by parts: give the store the bucket's name and the endpoint"
            )
        return example._replace(netloc=host, path=before.rstrip("/"), query="").geturl(), True

    def call(self, operation: str, *, failure: str = "", **parameters: Any) -> dict[str, Any]:
        """Call `operation` of the client for this object and return the response.

        Raises: RemoteError and its subclasses. `failure` describes a failure for the error.
        """
        with mapping_errors(self.where, self.settings.tries, failure):
            client = client_of(self.settings)
            try:
                answer: dict[str, Any] = getattr(client, operation)(**self.place, **parameters)
            except (ValueError, OverflowError) as exc:  # a date or a number in the answer
                raise _invalid_answer(self.where, exc) from None
            return answer

    def signed_url(self, operation: str, **parameters: Any) -> str:
        """Return a URL with which anyone can call `operation` for `URL_LIFETIME`."""
        with mapping_errors(self.where, self.settings.tries):
            url: str = client_of(self.settings).generate_presigned_url(
                operation, {**self.place, **parameters}, int(URL_LIFETIME.total_seconds())
            )
            return url


def stored_crc32(target: S3Object) -> tuple[str | None, int | None]:
    """Return an object's ETag, and the CRC-32 of its whole data if S3 stores it, else None.

    A composite CRC-32 (of the parts' checksums), CRC-32C and CRC-64 do not count. If the store does not state the type,
    an ETag with a dash marks a multipart object, whose CRC-32 may be composite.
    """
    found = target.call("head_object", ChecksumMode="ENABLED")
    etag, value = found.get("ETag"), found.get("ChecksumCRC32", "")
    kind = found.get("ChecksumType", "COMPOSITE" if etag is None or "-" in etag else "FULL_OBJECT")
    if kind != "FULL_OBJECT" or not re.fullmatch(r"[A-Za-z0-9+/]{6}==", value):
        return etag, None
    return etag, int.from_bytes(base64.b64decode(value), "big")


def _client_options(store: Any, where: str) -> dict[str, Any]:
    """Return the client options of the obstore `store`, as ClientSettings has them.

    Raises OptionError if the store has a client option that is not supported here.
    """
    options = dict(store.client_options or {})
    for option in options:
        if option not in (*_HONOURED_OPTIONS, *_IRRELEVANT_OPTIONS) and not option.startswith(("http", "pool_")):
            raise OptionError(
                f"{where}: the client option {option!r} is not supported for uploads by parts: leave it out"
            )
    headers = dict(options.get("default_headers") or {})
    root = options.get("root_certificate")
    return {
        "tries": 1 + int((store.retry_config or {}).get("max_retries", _MAX_TRIES - 1)),
        "insecure": str(options.get("allow_invalid_certificates", "")).lower() == "true",
        "root": _text(root) if root else None,
        "proxy": options.get("proxy_url"),
        "user_agent": options.get("user_agent"),
        "headers": tuple((_text(key), _text(value)) for key, value in headers.items()),
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# Clients.


def client_of(settings: ClientSettings) -> Any:
    """Return the client with these settings. Threads share it: to make one takes tens of milliseconds."""
    with _lock:
        return _make_client(settings)


@lru_cache(maxsize=_MAX_CLIENTS)
def _make_client(settings: ClientSettings) -> Any:
    config = import_botocore("botocore.config").Config(
        signature_version="s3v4" if settings.key else import_botocore().UNSIGNED,
        s3={"addressing_style": "virtual" if settings.is_virtual else "path"},
        retries={"total_max_attempts": settings.tries, "mode": "legacy"},
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
        max_pool_connections=_MAX_CONNECTIONS,
        proxies={"http": settings.proxy, "https": settings.proxy} if settings.proxy else None,
        user_agent=settings.user_agent,
        # Other stores do not know the checksums that botocore would add.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = _session().create_client(
        "s3",
        settings.region,
        endpoint_url=settings.endpoint,
        verify=not settings.insecure and (certificates_file(settings.root) if settings.root else trusted_file()),
        aws_access_key_id=settings.key,
        aws_secret_access_key=settings.secret,
        aws_session_token=settings.token,
        config=config,
    )
    client.meta.events.register("before-send.s3", partial(_add_headers, dict(settings.headers)))
    client.meta.events.register("before-parameter-build.s3.UploadPart", _keep_signed_url)
    client.meta.events.register("before-call.s3.UploadPart", _use_signed_url)
    return client


@cache
def _session() -> Any:
    """The session of all clients. It reads no settings from files or environment variables."""
    kind = import_botocore("botocore.session").Session
    settings = {name: (None, None, *rest) for name, (_, _, *rest) in kind.SESSION_VARIABLES.items()}
    nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return kind({**settings, **nowhere})


def trusted_file() -> str:
    """Return the file of the certificates that Python trusts, or else of those that botocore brings."""
    file: str = ssl.get_default_verify_paths().cafile or import_botocore("botocore.httpsession").get_cert_path(True)
    return file


@cache
def certificates_file(root: str) -> str:
    """Return a file with the certificate `root` and the trusted ones; it is removed at exit."""
    known = Path(trusted_file()).read_text("utf-8")
    handle, name = tempfile.mkstemp(".pem", "zipstream-adapter-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{known}\n{root}")
    atexit.register(Path(name).unlink, missing_ok=True)
    return name


def _add_headers(headers: Mapping[str, str], request: Any, **_: Any) -> None:
    for name, value in headers.items():
        request.headers[name] = value


def _keep_signed_url(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Take the argument `SignedUrl`, which botocore does not know, out of a call's arguments."""
    context["signed_url"] = params.pop("SignedUrl", None)


def _use_signed_url(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    params["url"] = context["signed_url"] or params["url"]


_lock = threading.Lock()


def _reset_in_child() -> None:
    """Start afresh in a forked child: it must not use the connections of its parent."""
    global _lock
    _lock = threading.Lock()
    _make_client.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)


# Errors.


@contextmanager
def mapping_errors(where: str, tries: int, failure: str = "") -> Iterator[None]:
    """Context manager that raises botocore's exceptions as errors of this package, without the signed URL."""
    exceptions = import_botocore("botocore.exceptions")
    try:
        yield
    except exceptions.ClientError as exc:
        raise _error_of(exc.response, where, failure) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as exc:
        error = exc.kwargs.get("error")
        cause = getattr(error, "reason", None) or error or type(exc).__name__
        raise RemoteConnectionError(f"{where}: the connection failed (tried {tries} times): {cause}") from None
    except import_botocore("botocore.parsers").ResponseParserError as exc:
        raise _invalid_answer(where, exc) from None
    except exceptions.BotoCoreError as exc:
        raise RemoteError(f"{where}: {str(exc)[:_MAX_SHOWN_CHARS]}") from None


def _invalid_answer(where: str, exc: Exception) -> RemoteError:
    return RemoteError(f"{where}: the store sent an invalid answer: {str(exc)[:_MAX_SHOWN_CHARS]}")


def _error_of(response: Mapping[str, Any], where: str, failure: str) -> RemoteError:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, message = (str(response["Error"].get(name, ""))[:_MAX_SHOWN_CHARS] for name in ("Code", "Message"))
    said = ": ".join(filter(None, (code, message))) if code != str(status) else ""  # a response without a body
    answer = ": ".join(filter(None, (f"{status} {responses.get(status, '')}".rstrip(), said)))
    if status in (401, 403):
        return RemotePermissionError(f"{where}: access denied: {answer}")
    if status == 404:
        return RemoteNotFoundError(f"{where} does not exist: {answer}")
    return RemoteError(f"{where}: {f'{failure}: {said or answer}' if failure else answer}")
