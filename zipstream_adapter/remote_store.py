"""Where objects lie: URLs to obstore's stores (extra ``s3``), and what those complain of, in this package's errors.

What obstore says carries the whole URL of the request, with its signature, and what the server has answered. Of that,
only what is no secret is passed on: the status, the error's code and message, or what became of the connection.
"""

from __future__ import annotations

import base64
import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from .errors import (
    OptionError,
    RangesUnsupportedError,
    RemoteConnectionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SourceChangedError,
)
from .fields import brief, described

# Scheme -> obstore's class for it.
_BUCKETS = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}
_VARIABLES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
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
# For clients that obstore makes. Its own limit, 30 s for a request with all of its body, is none for large bodies:
# a read ends where nothing has come for a while, and a write after an hour.
READING = {"timeout": "7days", "read_timeout": "60s"}
WRITING = {"timeout": "1h"}
# How often a request is sent again that cannot be sent, or is answered by a 5xx or 429: after 0.1 s, then 0.2 s …
RETRIES = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}

_LONGEST_SHOWN = 300
_STATUS = re.compile(r"non-2xx status code: (\d{3}(?: [A-Za-z' -]+)?)")
_CODE, _SAID = re.compile(r"<Code>([\w.-]{1,80})</Code>"), re.compile(r"<Message>([^<]{1,300})</Message>")
_REGION = re.compile(r"<Region>([\w-]{1,40})</Region>|expecting '([\w-]{1,40})'")
_CAUSE = re.compile(r'(?:message|error): "([^"]{1,200})"')
# Where obstore looks for credentials when it was given none; and what S3 says, under another status, of some it got.
_CREDENTIALS = re.compile(
    r"169\.254\.|token request|/computeMetadata/|MissingAccessKeyId|MissingSecretAccessKey|MissingAccount"
)
_REFUSED = re.compile(r"<Code>(ExpiredToken|InvalidToken|TokenRefreshRequired)</Code>")


def import_obstore() -> Any:
    """The library, imported now; an ImportError that names the extra, where it is not installed."""
    try:
        importlib.import_module("obstore.exceptions")
        importlib.import_module("obstore.store")
        return importlib.import_module("obstore")
    except ImportError as exc:
        raise ImportError(
            "object stores and HTTP are spoken by obstore, which is not installed: install the extra 's3' "
            "(pip install 'zipstream-adapter[s3]')"
        ) from exc


def store_of(url: str, *, client: Mapping[str, Any] = READING, **options: Any) -> tuple[Any, str]:
    """The obstore store that `url` names, and the object's path in it.

    Nothing is asked of it yet.

    Args:
        url: ``s3://bucket/key``, ``gs://bucket/key``, ``az://container/key`` (keys as they are, not percent-encoded),
            ``http(s)://host/path`` (as it is; its query, as of a presigned URL, is kept, and ``user:password@`` is sent
            as Basic authorization), or ``file:///path``.
        client: client options that hold where `options` don't say otherwise: READING or WRITING.
        options: as obstore's S3Store, GCSStore, AzureStore, HTTPStore and LocalStore take them: ``region``,
            ``endpoint``, ``access_key_id``, ``skip_signature``, ``allow_http`` …, ``credential_provider``,
            ``client_options``, ``retry_config`` (default: RETRIES). The first three also read their environment
            variables (``AWS_REGION``, ``AWS_ENDPOINT_URL`` …).

    Raises: OptionError for a URL or an option that is none; RemoteError; ImportError without the extra.
    """
    parts = _split(url)
    obstore = import_obstore()
    if parts.scheme == "file":
        return _made(url, obstore.store.LocalStore, *_place_of(url, parts), options)
    options.setdefault("retry_config", RETRIES)
    options["client_options"] = _client(parts.scheme, client, options)
    if parts.scheme in _BUCKETS:
        bucket, path = _key_of(url, parts)
        return _made(url, getattr(obstore.store, _BUCKETS[parts.scheme]), bucket, path, options)
    if parts.scheme == "http":
        options["client_options"]["allow_http"] = True  # whoever gives such a URL allows it
    if parts.username is not None:
        options["client_options"] = _authorized(parts, options["client_options"])
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
    return _made(url, obstore.store.HTTPStore, urlunsplit(plain), "", options)


def shown(url: str) -> str:
    """`url` as an error may show it: quoted, without user, password, query and fragment."""
    return _quoted(plain(url)) if isinstance(url, str) else brief(url)


def plain(url: str) -> str:
    """`url` without user, password, query and fragment."""
    scheme, colon, rest = url.partition("://") if "://" in url else ("", "", url)
    if scheme.lower() not in _BUCKETS:  # a key may have any character
        rest = re.split("[?#]", rest, maxsplit=1)[0]
    place, slash, path = rest.partition("/")
    return f"{scheme}{colon}{place.rpartition('@')[2]}{slash}{path}"


def shown_in(store: Any, path: str) -> str:
    """Likewise, of the object at `path` in a store that the caller has made."""
    return f"{_quoted(path)} in {type(store).__name__}"


def _quoted(text: str) -> str:
    return repr(text) if len(text) <= _LONGEST_SHOWN else repr(text[:_LONGEST_SHOWN]) + "..."


@contextmanager
def translating(where: str) -> Iterator[None]:
    """Raise what obstore raises inside as an error of this package.

    where: the object, by `shown` or `shown_in`.
    """
    try:
        yield
    except Exception as exc:
        error = translated(exc, where)
        if error is exc:
            raise
        # Its own text must not follow as the cause: it carries the signature.
        raise error from None


def translated(exc: Exception, where: str) -> Exception:
    """What `exc`, which obstore has raised for the object `where`, is as an error of this package; or itself."""
    text = str(exc)
    kind = type(exc).__name__
    if not type(exc).__module__.startswith("obstore"):
        return _of_built_in(exc, text, where)
    if kind == "PreconditionError" or "NotModified" in kind:
        return SourceChangedError(f"{where} has changed since it was opened: open it again")
    if "RangeNotSupported" in text or "NotPartial" in text:
        return RangesUnsupportedError(
            f"{where} can be had as a whole only: the server ignores Range. Download it, and open the file"
        )
    if _answer(text).startswith("416"):
        return RangesUnsupportedError(f"{where}: the server refuses the bytes that it was asked for: {_answer(text)}")
    for fault in (_of_region, _of_access, _of_connection):
        error = fault(kind, text, where)
        if error is not None:
            return error
    return RemoteError(f"{where}: {_answer(text) or _first_line(text)}")


def _of_built_in(exc: Exception, text: str, where: str) -> Exception:
    if isinstance(exc, FileNotFoundError) and "Debug source" in text:
        bucket = " (there is no such bucket)" if "<Code>NoSuchBucket</Code>" in text else ""
        return RemoteNotFoundError(f"{where} does not exist{bucket}: {_answer(text) or 'not found'}")
    if isinstance(exc, ValueError) and text.startswith("Could not parse path"):
        return OptionError(
            f"{where}: a key that obstore cannot name (an empty, '.' or '..' part, or a control character)"
        )
    return exc


def _of_region(kind: str, text: str, where: str) -> Exception | None:
    if "incorrectly configured region" not in text and not (
        "AuthorizationHeaderMalformed" in text and "region" in text
    ):
        return None
    found = _REGION.search(text)
    region = found and (found[1] or found[2])
    return RemoteError(
        f"{where}: its bucket lies in another region{f', {region!r}' if region else ''}: give region="
        f"{region or '...'!r}, or set AWS_REGION"
    )


def _of_access(kind: str, text: str, where: str) -> Exception | None:
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or _REFUSED.search(text):
        return RemotePermissionError(f"{where}: access was refused: {_answer(text)}")
    if kind == "GenericError" and _CREDENTIALS.search(text):
        return RemotePermissionError(
            f"{where}: no credentials were found for it: {_answer(text) or _cause(text) or _first_line(text)}. Give "
            "them as obstore takes them, or skip_signature=True for what is public"
        )
    return None


def _of_connection(kind: str, text: str, where: str) -> Exception | None:
    if "BadScheme" in text:
        return OptionError(f"{where}: plain HTTP is refused: give allow_http=True")
    found = re.search(r"kind: (Connect|Timeout|Interrupted|Request|Decode)\b", text)
    if found is None or _STATUS.search(text):
        return None
    what = {"Connect": "it could not be reached", "Timeout": "it did not answer in time"}
    tries = re.search(r"after (\d+) retries", text)
    often = f" (tried {int(tries[1]) + 1} times)" if tries else ""
    cause = _cause(text)
    return RemoteConnectionError(
        f"{where}: {what.get(found[1], 'the connection broke')}{often}{f': {cause}' if cause else ''}"
    )


def _answer(text: str) -> str:
    """What the server has answered: status, and an object store's own code and message."""
    parts = [found[1].strip() for found in (pattern.search(text) for pattern in (_STATUS, _CODE, _SAID)) if found]
    return ": ".join(parts)


def _cause(text: str) -> str:
    """What has become of the connection."""
    if "TimedOut" in text:
        return "timed out"
    found = _CAUSE.search(text)
    return found[1] if found else ""


def _first_line(text: str) -> str:
    return re.sub(r"\w+://\S+", "", text.splitlines()[0] if text else "").strip() or "it failed"


def _split(url: str) -> SplitResult:
    if not isinstance(url, str):
        raise OptionError(f"url={described(url)}: give a URL, as in 's3://bucket/key'")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise OptionError(f"{shown(url)} is no URL: {exc}") from None
    if parts.scheme not in _SCHEMES or "://" not in url:
        raise OptionError(
            f"{shown(url)} has no scheme that is known: give one of {', '.join(f'{it}://' for it in _SCHEMES)}, or a "
            "store= of your own; a file is opened by zipfile.ZipFile(path)"
        )
    if parts.scheme != "file" and not parts.hostname:
        raise OptionError(f"{shown(url)} names no {'bucket' if parts.scheme in _BUCKETS else 'host'}")
    return parts


def _key_of(url: str, parts: SplitResult) -> tuple[str, str]:
    """Bucket and key. A key is taken as it is, as by the stores' own tools: '?' and '%' are parts of it."""
    bucket, _, key = url.partition("://")[2].partition("/")
    if "@" in bucket:
        raise OptionError(f"{shown(url)}: credentials do not go into the URL: pass access_key_id= and the like")
    if not key:
        raise OptionError(f"{shown(url)} names a bucket, and no object in it")
    return bucket, checked_path(key, shown(url))


def check_store(store: Any, method: str) -> None:
    """Refuse what is no obstore store, or none that has `method`."""
    if not callable(getattr(store, method, None)):
        raise OptionError(f"store={store!r}: give an obstore store, such as obstore.store.S3Store('bucket')")


def checked_path(path: str, where: str) -> str:
    """Refuse a key that obstore would take for another one, or not at all."""
    if not isinstance(path, str):
        raise OptionError(f"path={described(path)}: give the object's key, a str")
    if path.startswith("/") or path.endswith("/") or any(part in ("", ".", "..") for part in path.split("/")[:-1]):
        raise OptionError(f"{where}: a key that obstore cannot name (an empty, '.' or '..' part)")
    return path


def _place_of(url: str, parts: SplitResult) -> tuple[str, str]:
    """Directory and name."""
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise OptionError(f"{shown(url)}: a file's URL has no host: give file:///path")
    directory, name = os.path.split(url2pathname(parts.path))
    if not name:
        raise OptionError(f"{shown(url)} names a directory, and no file in it")
    return directory, name


def _client(scheme: str, client: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Client options, from all places where obstore takes them.

    Where any are given, it does not look for them in the environment; and a store that has them among the others cannot
    be pickled.
    """
    prefix = _VARIABLES.get(scheme)
    found = {key: os.environ.get(f"{prefix}_{key.upper()}") for key in _CLIENT_OPTIONS if prefix}
    known = {key: value for key, value in found.items() if value}
    given = {key: options.pop(key) for key in _CLIENT_OPTIONS if key in options}
    return {**client, **known, **given, **(options.get("client_options") or {})}


def _authorized(parts: SplitResult, client: Mapping[str, Any]) -> dict[str, Any]:
    """Client options that send the URL's user and password (RFC 7617)."""
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    headers = {"authorization": f"Basic {base64.b64encode(pair).decode()}", **(client.get("default_headers") or {})}
    return {**client, "default_headers": headers}


def _made(url: str, kind: Any, place: str, path: str, options: dict[str, Any]) -> tuple[Any, str]:
    where = shown(url)
    try:
        return kind(place, **options), path
    except (TypeError, ValueError) as exc:
        raise OptionError(f"{where}: obstore's {kind.__name__} refuses the options: {exc}") from None
    except Exception as exc:
        if type(exc).__name__ == "UnknownConfigurationKeyError":
            raise OptionError(f"{where}: {_first_line(str(exc))}") from None
        if "Unable to canonicalize" in str(exc):
            raise RemoteNotFoundError(f"{where} does not exist: there is no directory {place!r}") from None
        raise translated(exc, where) from None
