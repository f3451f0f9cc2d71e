"""Object stores: make obstore's stores from URLs (extra ``s3``) and map obstore's exceptions to this package's errors.

An obstore exception contains the whole URL of the request, with its signature, and the server's response. Errors
repeat only the parts that are not secret: the status, the error's code and message, or the cause of a broken
connection.
"""

from __future__ import annotations

import base64
import importlib
import os
import re
import stat
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from .._checks import short_repr, typed_repr
from .._entries.files.regular import no_file
from ..errors import (
    NotAFileError,
    OptionError,
    RangesUnsupportedError,
    RemoteConnectionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SourceChangedError,
)
from .background import check_fork
from .waiting import PATIENCE_S

if TYPE_CHECKING:
    from typing import Unpack

    from .store_options import StoreOptions

# Scheme -> class in obstore.store.
_BUCKET_STORES = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}
_ENV_PREFIXES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
_CLIENT_OPTIONS = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "read_timeout",
    "timeout",
    "user_agent",
)
_SCHEMES = ("s3", "gs", "az", "http", "https", "file")
# Defaults for clients that obstore makes. Its own limit of 30 s for a request with its whole body is too short for
# large bodies. A read ends after 60 s without data; a write after an hour.
READING = {"timeout": "7days", "read_timeout": "60s"}
WRITING = {"timeout": "1h"}
# This package repeats requests to read, and can end them; obstore repeats those to write, for the default patience.
ONCE = {"max_retries": 0, "retry_timeout": timedelta(seconds=PATIENCE_S)}
RETRIES = {
    "max_retries": 1000,
    "retry_timeout": timedelta(seconds=PATIENCE_S),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 2},
}

_MAX_SHOWN_CHARS = 300
_STATUS = re.compile(r"non-2xx status code: (\d{3}(?: [A-Za-z' -]+)?)")
_CODE, _MESSAGE = re.compile(r"<Code>([\w.-]{1,80})</Code>"), re.compile(r"<Message>([^<]{1,300})</Message>")
_REGION = re.compile(r"<Region>([\w-]{1,40})</Region>|expecting '([\w-]{1,40})'")
_YEAR = re.compile(r"year -?\d+ is out of range")
_CAUSE = re.compile(r'(?:message|error): "([^"]{1,200})"')
_UNTRUSTED = re.compile(r"InvalidCertificate\(\s*(?:Other\(\s*OtherError\(\s*)?(\w+)|invalid peer certificate: (\w+)")
# Signs of missing credentials: the last places where obstore looks for them.
_NO_CREDENTIALS = re.compile(
    r"169\.254\.|token request|/computeMetadata/|MissingAccessKeyId|MissingSecretAccessKey|MissingAccount"
)
# Codes for expired or invalid credentials, which S3 sends with a status other than 401 or 403.
_REFUSED_TOKEN = re.compile(r"<Code>(ExpiredToken|InvalidToken|TokenRefreshRequired)</Code>")


def import_obstore() -> Any:
    """Return the module `obstore`.

    Raises ImportError that names the extra if it is not installed, ForkedError in a child that cannot use it.
    """
    for module in ("obstore.exceptions", "obstore.store", "obstore"):
        obstore = import_extra(module, "object stores and HTTP")
    check_fork()
    return obstore


def import_extra(module: str, what: str) -> Any:
    """Return a module that `what` needs. Raises ImportError that names the extra ``s3``, which installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ImportError(
            f"{what} need {module.partition('.')[0]}, which is not installed: install the extra 's3' "
            "(pip install 'zipstream-adapter[s3]')"
        ) from exc


def store_of(
    url: str, *, client: Mapping[str, Any] = READING, **store_options: Unpack[StoreOptions]
) -> tuple[Any, str]:
    """Return the obstore store that `url` names, and the object's path in it. Sends no request.

    Args:
        url: ``s3://bucket/key``, ``gs://bucket/key``, ``az://container/key`` (keys are literal, not percent-encoded),
            ``http(s)://host/path`` (sent as given; a query, such as a presigned URL's, is kept, and ``user:password@``
            is sent as Basic authorization), or ``file:///path``.
        client: default client options, READING or WRITING; `store_options` take precedence.
        store_options: options of obstore's S3Store, GCSStore, AzureStore, HTTPStore and LocalStore: ``region``,
            ``endpoint``, ``access_key_id``, ``skip_signature``, ``allow_http`` …, ``credential_provider``,
            ``client_options``, ``retry_config`` (default: RETRIES). S3, Google and Azure also read their environment
            variables (``AWS_REGION``, ``AWS_ENDPOINT_URL`` …).

    Raises: OptionError for an invalid URL or option; RemoteError; ImportError without the extra.
    """
    parts = _parse_url(url)
    obstore = import_obstore()
    options: dict[str, Any] = {**store_options}
    if parts.scheme == "file":
        return _make_store(url, obstore.store.LocalStore, *_directory_and_name(url, parts), options)
    options.setdefault("retry_config", RETRIES)
    options["client_options"] = _client_options(parts.scheme, client, options)
    if parts.scheme in _BUCKET_STORES:
        bucket, path = _bucket_and_key(url)
        return _make_store(url, getattr(obstore.store, _BUCKET_STORES[parts.scheme]), bucket, path, options)
    if parts.scheme == "http":
        options["client_options"]["allow_http"] = True  # an http:// URL is permission enough
    if parts.username is not None:
        given = options["client_options"].get("default_headers") or {}
        options["client_options"]["default_headers"] = {"authorization": basic_auth(parts), **given}
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
    return _make_store(url, obstore.store.HTTPStore, urlunsplit(bare), "", options)


_MAX_SHARED_STORES = 16
_shared: dict[Any, tuple[Any, str]] = {}
_shared_lock = threading.Lock()


def shared_store_of(url: str, **store_options: Unpack[StoreOptions]) -> tuple[Any, str]:
    """Like `store_of`, for reading; calls with the same bucket, options and environment share a store.

    A store of its own takes some 10 ms and 0.8 MiB. The last 16 are kept. Requests are not repeated by the store.
    """
    parts = _parse_url(url)
    if parts.scheme not in _BUCKET_STORES:
        return store_of(url, **store_options)
    options: dict[str, Any] = {**store_options, "retry_config": ONCE}
    bucket, path = _bucket_and_key(url)
    prefix = _ENV_PREFIXES[parts.scheme]
    environment = {name: value for name, value in os.environ.items() if name.startswith((prefix, "SERVICE_ACCOUNT"))}
    try:
        key = (parts.scheme, bucket, _frozen(options), _frozen(environment))
        hash(key)
    except TypeError:
        return store_of(url, **options)
    with _shared_lock:
        kept = _shared.pop(key, None)
    store = store_of(url, **options)[0] if kept is None else kept[0]
    with _shared_lock:
        _shared[key] = (store, bucket)  # the latest last
        while len(_shared) > _MAX_SHARED_STORES:
            del _shared[next(iter(_shared))]
    return store, path


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return frozenset((name, _frozen(each)) for name, each in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _forget_shared() -> None:
    """Start afresh in a forked child, which cannot use its parent's stores, nor destroy them."""
    global _shared, _shared_lock
    _parents.append(_shared)
    _shared, _shared_lock = {}, threading.Lock()


_parents: list[object] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_shared)


_configs: dict[int, tuple[weakref.ref[Any], dict[str, Any] | None]] = {}


def checked_config(store: Any, where: str, prefix: str, unsupported: Iterable[str]) -> dict[str, Any]:
    """Return the options of a store. Those in environment variables are not among them.

    Raises OptionError if it has one that is not supported for uploads by parts, also in a variable with `prefix`.
    """
    config = _config_of(store)
    if config is None:
        raise OptionError(
            f"{where}: obstore cannot report the store's options: give allow_http, timeout and other client "
            "options as client_options={'allow_http': True, …}"
        )
    for option in unsupported:
        value = str(config.get(option, os.environ.get(f"{prefix}_{option.upper()}", "false")))
        if value.lower() not in ("false", "0", ""):
            shown = "…" if "key" in option else repr(config.get(option, value))  # it may be a secret
            raise OptionError(f"{where}: {option}={shown} is not supported for uploads by parts: leave it out")
    return config


def _config_of(store: Any) -> dict[str, Any] | None:
    """Return the options of `store`; None if client options were given among them.

    In that case obstore panics and prints to standard error, so each store is asked only once.
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


def quoted_url(url: str) -> str:
    """Return `url` quoted for an error: without user, password, query and fragment."""
    return _short_quoted(redact_url(url)) if isinstance(url, str) else short_repr(url)


def redact_url(url: str) -> str:
    """Return `url` without user, password, query and fragment."""
    scheme, colon, rest = url.partition("://") if "://" in url else ("", "", url)
    if scheme.lower() not in _BUCKET_STORES:  # a key may contain '?' and '#'
        rest = re.split("[?#]", rest, maxsplit=1)[0]
    place, slash, path = rest.partition("/")
    return f"{scheme}{colon}{place.rpartition('@')[2]}{slash}{path}"


def object_name(store: Any, path: str) -> str:
    """Return the name for errors of the object at `path` in a store made by the caller."""
    return f"{_short_quoted(path)} in {type(store).__name__}"


def _short_quoted(text: str) -> str:
    return repr(text) if len(text) <= _MAX_SHOWN_CHARS else repr(text[:_MAX_SHOWN_CHARS]) + "..."


@contextmanager
def map_errors(where: str) -> Iterator[None]:
    """Context manager that raises obstore's exceptions as errors of this package.

    Args:
        where: the object's name in errors, from `quoted_url` or `object_name`.
    """
    try:
        yield
    except Exception as exc:
        error = map_error(exc, where)
        if error is exc:
            raise
        # The original text contains the signature, so it must not appear as the cause.
        raise error from None


def map_error(exc: Exception, where: str) -> Exception:
    """Return the exception `exc` as an error of this package.

    Exceptions that obstore did not raise are returned unchanged. `where` is the object's name in errors.
    """
    text = str(exc)
    kind = type(exc).__name__
    if not type(exc).__module__.startswith("obstore"):
        return _map_built_in(exc, text, where)
    if kind == "PreconditionError" or "NotModified" in kind:
        return SourceChangedError(f"{where} has changed since it was opened: open it again")
    if "RangeNotSupported" in text or "NotPartial" in text:
        return ranges_ignored(where)
    if _server_answer(text).startswith("416"):
        return RangesUnsupportedError(f"{where}: the server rejected the requested range: {_server_answer(text)}")
    for map_kind in (_region_error, _access_error, _connection_error):
        error = map_kind(kind, text, where)
        if error is not None:
            return error
    return RemoteError(f"{where}: {_server_answer(text) or _first_line(text)}")


def ranges_ignored(where: str) -> RangesUnsupportedError:
    """Return the error for a server that answers a Range request with the whole object."""
    return RangesUnsupportedError(
        f"{where} cannot be read by ranges: the server ignores Range. Download it and open the file"
    )


def untrusted(where: str, reason: str) -> RemoteConnectionError:
    """Return the error for a server whose certificate is refused."""
    return RemoteConnectionError(
        f"{where}: the server's certificate is not trusted: {reason}. Give its issuer's certificate as "
        "client_options={'root_certificate': …}"
    )


def basic_auth(parts: SplitResult) -> str:
    """Return the Authorization field for the user and password of a URL (RFC 7617)."""
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def is_transient(exc: RemoteError) -> bool:
    """Whether the same request may succeed later: after a status of 5xx, 408 or 429, or a broken connection."""
    if isinstance(exc, RemoteConnectionError):
        return "certificate" not in str(exc)
    found = re.search(r": (\d{3})\b", str(exc))
    return found is not None and is_transient_status(int(found[1]))


def is_transient_status(status: int) -> bool:
    """Whether a server that answers with `status` may answer otherwise later (RFC 9110, section 15)."""
    return status in (408, 425, 429) or (500 <= status <= 599 and status not in (501, 505))


def _map_built_in(exc: Exception, text: str, where: str) -> Exception:
    if isinstance(exc, FileNotFoundError) and "Debug source" in text:
        bucket = " (no such bucket)" if "<Code>NoSuchBucket</Code>" in text else ""
        return RemoteNotFoundError(f"{where} does not exist{bucket}: {_server_answer(text) or 'not found'}")
    if isinstance(exc, ValueError) and text.startswith("Could not parse path"):
        return OptionError(
            f"{where}: obstore does not accept this key (an empty, '.' or '..' part, or a control character)"
        )
    if isinstance(exc, ValueError) and _YEAR.fullmatch(text):
        return RemoteError(f"{where}: it has a date that Python cannot represent: {text}. Give it another date")
    return exc


def _region_error(kind: str, text: str, where: str) -> Exception | None:
    if "incorrectly configured region" not in text and not (
        "AuthorizationHeaderMalformed" in text and "region" in text
    ):
        return None
    found = _REGION.search(text)
    region = found and (found[1] or found[2])
    return RemoteError(
        f"{where}: the bucket is in another region{f', {region!r}' if region else ''}: give region="
        f"{region or '...'!r}, or set AWS_REGION"
    )


def _access_error(kind: str, text: str, where: str) -> Exception | None:
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or _REFUSED_TOKEN.search(text):
        return RemotePermissionError(f"{where}: access denied: {_server_answer(text)}")
    if kind == "GenericError" and _NO_CREDENTIALS.search(text):
        cause = _server_answer(text) or _connection_cause(text) or _first_line(text)
        return RemotePermissionError(
            f"{where}: no credentials found: {cause}. Give "
            "obstore's credential options, or skip_signature=True for a public object"
        )
    return None


def _connection_error(kind: str, text: str, where: str) -> Exception | None:
    if "BadScheme" in text:
        return OptionError(f"{where}: plain HTTP is not allowed: give allow_http=True")
    found = re.search(r"kind: (Connect|Timeout|Interrupted|Request|Decode)\b", text)
    if found is None or _STATUS.search(text):
        return None
    refused = _UNTRUSTED.search(text)
    if refused:
        return untrusted(where, refused[1] or refused[2])
    faults = {"Connect": "the server could not be reached", "Timeout": "the server did not respond in time"}
    tries = re.search(r"after (\d+) retries", text)
    often = f" (tried {int(tries[1]) + 1} times)" if tries and int(tries[1]) else ""
    cause = _connection_cause(text)
    return RemoteConnectionError(
        f"{where}: {faults.get(found[1], 'the connection broke')}{often}{f': {cause}' if cause else ''}"
    )


def _server_answer(text: str) -> str:
    """Return the server's status and the code and message of the object store; empty if there is no response."""
    parts = [found[1].strip() for found in (pattern.search(text) for pattern in (_STATUS, _CODE, _MESSAGE)) if found]
    return ": ".join(part.partition("\n")[0] for part in parts)


def _connection_cause(text: str) -> str:
    """Return why the connection failed; empty if unknown."""
    if "TimedOut" in text:
        return "timed out"
    found = _CAUSE.search(text)
    return found[1] if found else ""


def _first_line(text: str) -> str:
    return re.sub(r"\w+://\S+", "", text.splitlines()[0] if text else "").strip() or "unknown error"


def _parse_url(url: str) -> SplitResult:
    if not isinstance(url, str):
        raise OptionError(f"url={typed_repr(url)}: give a URL, as in 's3://bucket/key'")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise OptionError(f"{quoted_url(url)} is not a URL: {exc}") from None
    if parts.scheme not in _SCHEMES or "://" not in url:
        raise OptionError(
            f"{quoted_url(url)} has an unknown scheme: use one of "
            f"{', '.join(f'{scheme}://' for scheme in _SCHEMES)}, or give a "
            "store=; open a local file with zipfile.ZipFile(path)"
        )
    if parts.scheme != "file" and not parts.hostname:
        raise OptionError(
            f"{quoted_url(url)} names no {'bucket' if parts.scheme in _BUCKET_STORES else 'host'}: give {parts.scheme}://…/…"
        )
    return parts


def _bucket_and_key(url: str) -> tuple[str, str]:
    """Return bucket and key. The key is literal, as in the stores' own tools: '?' and '%' belong to it."""
    bucket, _, key = url.partition("://")[2].partition("/")
    if "@" in bucket:
        raise OptionError(
            f"{quoted_url(url)}: credentials are not allowed in the URL: give options such as access_key_id="
        )
    if not key:
        raise OptionError(f"{quoted_url(url)} names a bucket but no object: add the key")
    return bucket, checked_path(key, quoted_url(url))


def check_store(store: Any, method: str) -> None:
    """Raise OptionError if `store` is not an obstore store with the method `method`."""
    if isinstance(store, str):
        raise OptionError(
            f"store={quoted_url(store)}: give an obstore store, such as obstore.store.S3Store('bucket'): only "
            "open_remote, upload_zip and open_object take a URL"
        )
    if not callable(getattr(store, method, None)):
        raise OptionError(f"store={store!r}: give an obstore store, such as obstore.store.S3Store('bucket')")


def checked_path(path: str, where: str) -> str:
    """Return the key `path`. Raises OptionError if obstore would reject it or change it to another key."""
    if not isinstance(path, str):
        raise OptionError(f"path={typed_repr(path)}: give the object's key, a str")
    if path.startswith("/") or path.endswith("/") or any(part in ("", ".", "..") for part in path.split("/")[:-1]):
        raise OptionError(f"{where}: obstore does not accept this key (an empty, '.' or '..' part)")
    return path


def _directory_and_name(url: str, parts: SplitResult) -> tuple[str, str]:
    """Return the directory and the file name of a file URL."""
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise OptionError(f"{quoted_url(url)}: a file URL must not have a host: use file:///path")
    directory, name = os.path.split(url2pathname(parts.path))
    if not name:
        raise OptionError(f"{quoted_url(url)} names a directory but no file: add the file name")
    try:
        mode = os.stat(os.path.join(directory, name)).st_mode
    except (OSError, ValueError):
        return directory, name  # opening the file reports the fault
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # obstore would block on a named pipe
        raise NotAFileError(f"{quoted_url(url)}: {no_file(os.path.join(directory, name), mode)}")
    return directory, name


def client_options_of(url: str, options: dict[str, Any]) -> tuple[SplitResult, dict[str, Any]]:
    """Return the parts of a URL, and its client options, which are taken out of `options`."""
    parts = _parse_url(url)
    merged = _client_options(parts.scheme, READING, options)
    options.pop("client_options", None)
    return parts, merged


def is_http(url: str) -> bool:
    """Whether `url` is an ``http(s)://`` URL. Raises OptionError if it is not a URL."""
    return _parse_url(url).scheme in ("http", "https")


def _client_options(scheme: str, client: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Merge client options from the places where obstore looks for them.

    obstore ignores the environment if any client options are given, and a store that has them among its other options
    cannot be pickled.
    """
    prefix = _ENV_PREFIXES.get(scheme)
    found = {key: os.environ.get(f"{prefix}_{key.upper()}") for key in _CLIENT_OPTIONS if prefix}
    known = {key: value for key, value in found.items() if value}
    given = {key: options.pop(key) for key in _CLIENT_OPTIONS if key in options}
    return {**client, **known, **given, **(options.get("client_options") or {})}


def _make_store(url: str, kind: Any, place: str, path: str, options: dict[str, Any]) -> tuple[Any, str]:
    where = quoted_url(url)
    try:
        return kind(place, **options), path
    except (TypeError, ValueError) as exc:
        raise OptionError(f"{where}: obstore's {kind.__name__} rejects the options: {exc}") from None
    except Exception as exc:
        if type(exc).__name__ == "UnknownConfigurationKeyError":
            raise OptionError(f"{where}: {_first_line(str(exc))}") from None
        if "Unable to canonicalize" in str(exc):
            raise RemoteNotFoundError(f"{where} does not exist: there is no directory {place!r}") from None
        raise map_error(exc, where) from None
