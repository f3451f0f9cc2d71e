"""One HTTP request with a body that can be sent again, by the standard library; errors without what signs the URL."""

from __future__ import annotations

import random
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cache
from http.client import HTTPException
from typing import Any, NamedTuple

from .errors import (
    OptionError,
    RemoteConnectionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
)

_TRIES = 6
# Seconds without a byte on the connection.
_TIMEOUT = 60.0
_RETRIED = (408, 429, 500, 502, 503, 504)
# obstore's client options that are honoured here, and those that change nothing that matters here.
_HONOURED = ("allow_invalid_certificates", "root_certificate", "proxy_url", "default_headers", "user_agent")
_NO_MATTER = ("allow_http", "timeout", "connect_timeout", "read_timeout", "randomize_addresses", "default_content_type")


class Client(NamedTuple):
    """How a store is reached. Can be pickled."""

    tries: int = _TRIES
    insecure: bool = False
    root: str | None = None
    proxy: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, store: Any, where: str) -> Client:
        """As the `store` was told. Refuses what would be done otherwise than it says."""
        options = dict(store.client_options or {})
        for option in options:
            if option not in (*_HONOURED, *_NO_MATTER) and not option.startswith(("http", "pool_")):
                raise OptionError(f"{where}: the client option {option!r} cannot be had part by part")
        headers = {_text(key): _text(value) for key, value in dict(options.get("default_headers") or {}).items()}
        if options.get("user_agent"):
            headers["user-agent"] = options["user_agent"]
        root = options.get("root_certificate")
        return cls(
            tries=1 + int((store.retry_config or {}).get("max_retries", _TRIES - 1)),
            insecure=str(options.get("allow_invalid_certificates", "")).lower() == "true",
            root=_text(root) if root else None,
            proxy=options.get("proxy_url"),
            headers=tuple(headers.items()),
        )


class Answer(NamedTuple):
    """What came back; the names of the headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def send(
    method: str,
    url: str,
    body: Sequence[bytes],
    headers: Mapping[str, str],
    client: Client,
    where: str,
    *,
    missing_ok: bool = False,
) -> Answer:
    """The answer to one request, if it is a good one (or a 404, where that is `missing_ok`).

    Sent again, after a while that doubles, where the connection fails or the server says that it is its own fault.

    Raises RemoteError and its kin, named after `where`.
    """
    for attempt in range(1, client.tries + 1):
        last = attempt == client.tries
        if attempt > 1:
            time.sleep(min(0.1 * 2 ** (attempt - 2), 5) * (1 + random.random()))
        try:
            return _sent(method, url, body, headers, client)
        except urllib.error.HTTPError as exc:
            with exc:
                said = exc.read(4096)
            if exc.code == 404 and missing_ok:
                return Answer(exc.code, {}, said)
            if last or not (exc.code in _RETRIED or b"<Code>RequestTimeout</Code>" in said):
                raise _refused(exc.code, exc.reason, said, where) from None
        except (OSError, HTTPException) as exc:
            if last:
                cause = getattr(exc, "reason", exc)
                raise RemoteConnectionError(
                    f"{where}: the connection failed (tried {attempt} times): {cause}"
                ) from None
    raise AssertionError


def _sent(method: str, url: str, body: Sequence[bytes], headers: Mapping[str, str], client: Client) -> Answer:
    sent = {**dict(client.headers), **headers}
    if body or method in ("PUT", "POST"):
        sent["content-length"] = str(sum(map(len, body)))
        request = urllib.request.Request(url, list(body), sent, method=method)
    else:
        request = urllib.request.Request(url, None, sent, method=method)
    with _opener(client.insecure, client.root, client.proxy).open(request, timeout=_TIMEOUT) as answer:
        return Answer(answer.status, {key.lower(): value for key, value in answer.headers.items()}, answer.read())


@cache
def _opener(insecure: bool, root: str | None, proxy: str | None) -> urllib.request.OpenerDirector:
    import ssl

    context = ssl.create_default_context()
    if root:
        context.load_verify_locations(cadata=root)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)


def _refused(status: int, reason: str, said: bytes, where: str) -> RemoteError:
    text = said.decode("utf-8", "replace")
    found = [re.search(rf"<{name}>([^<]{{1,300}})</{name}>", text) for name in ("Code", "Message")]
    answer = ": ".join([f"{status} {reason}", *(match[1] for match in found if match)])
    if status in (401, 403):
        return RemotePermissionError(f"{where}: access was refused: {answer}")
    if status == 404:
        return RemoteNotFoundError(f"{where} does not exist: {answer}")
    return RemoteError(f"{where}: {answer}")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
