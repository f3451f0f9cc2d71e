"""Requests for a blob in Azure that obstore does not offer, by urllib3 and signed URLs (extra ``s3``).

Endpoint, credentials and client options are those of the obstore store, which signs the URLs.
"""

from __future__ import annotations

import base64
import hmac
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from ..errors import OptionError, RemoteError, RemoteNotFoundError, RemotePermissionError
from .background import call_in_time
from .http_client import ClientLease, Exchange, HttpSettings, answer_of, import_urllib3, map_http_error, settings_of
from .s3_client import URL_LIFETIME
from .stores import checked_config, import_obstore, is_transient_status, map_errors, object_name
from .waiting import WAITING, Tries, Waiting, retry_after_of

# Version of the Blob service REST API: the one that obstore uses.
_VERSION = "2023-11-03"
# Options of an AzureStore that these requests do not apply.
_UNSUPPORTED_OPTIONS = ("encryption_key", "skip_signature")
# Client options of obstore that make no difference here.
_IRRELEVANT_OPTIONS = ("http", "pool_", "randomize_addresses", "default_content_type")
# Environment variables of obstore's credentials, without AZURE_STORAGE_.
_ACCOUNT_VARIABLES, _SAS_VARIABLES = ("ACCOUNT_NAME",), ("SAS_KEY", "SAS_TOKEN")
_KEY_VARIABLES = ("ACCOUNT_KEY", "ACCESS_KEY", "MASTER_KEY")
# Seconds for which a signed URL is given to workers; for the rest of its life it can wait with them.
_RENEWED_S = 3600.0
_MAX_CLIENTS = 8


class Answer(NamedTuple):
    """Header fields and body of a response."""

    headers: Mapping[str, str]
    data: bytes


class _Passing(NamedTuple):
    """A failure that may pass: makes its error, from a text that says how often the request was tried."""

    error: Callable[[str], Exception]
    retry_after: float | None


class SignedBlob(NamedTuple):
    """A signed URL of a blob, and how to send requests to it. Can be pickled, and has no other credentials.

    Attributes:
        url: the URL. The signature does not cover further parameters.
        waiting: how long requests are repeated.
    """

    url: str
    where: str
    settings: HttpSettings
    waiting: Waiting

    def __repr__(self) -> str:
        return f"<SignedBlob of {self.where}>"  # without the signature

    def call(
        self,
        method: str,
        query: str,
        *,
        fields: Mapping[str, str] | None = None,
        body: Callable[[], Iterable[Any]] | None = None,
        size: int = 0,
        failure: str = "",
        given_up: threading.Event | None = None,
    ) -> Answer:
        """Send a request, and repeat it while the failure is transient.

        Args:
            query: parameters in addition to those of the signed URL.
            body: returns the body's chunks, and is called for each try.
            size: bytes of the body.
            failure: describes a failure for the error.
            given_up: set once the request must not be repeated any more.

        Raises RemoteError and its subclasses.
        """
        sent = {"x-ms-version": _VERSION, **(fields or {})}
        if body is not None:
            sent["Content-Length"] = str(size)
        tries = Tries(self.waiting, self.where)
        given_up = given_up or threading.Event()
        while True:
            answer = self._ask(method, f"{self.url}&{query}", sent, None if body is None else body(), failure)
            if isinstance(answer, Answer):
                return answer
            if given_up.wait(tries.pause(answer.error, answer.retry_after)):
                raise answer.error("")

    def _ask(
        self, method: str, url: str, fields: Mapping[str, str], body: Iterable[Any] | None, failure: str
    ) -> Answer | _Passing:
        """Send a request once. Raises an error for a failure that will not pass."""
        exchange = Exchange()
        is_read = False
        try:
            client = _lease_of(self.settings).client
            response = client.send(method, url, fields, exchange, self.settings.timeout, self.where, body)
            if 200 <= response.status < 300:
                data = response.read()
                is_read = True
                return Answer(response.headers, data)
            error = self._error_of(response, failure)
            if not is_transient_status(response.status):
                raise error
            after = retry_after_of(response.headers.get("Retry-After"))
            return _Passing(lambda often: RemoteError(f"{error}{often}"), after)
        except Exception as exc:
            cause = exc
            mapped, is_passing = map_http_error(cause, self.where)
            if is_passing:
                return _Passing(lambda often: map_http_error(cause, self.where, often)[0], None)
            if mapped is exc:
                raise
            raise mapped from None
        finally:
            exchange.close(is_read=is_read)

    def _error_of(self, response: Any, failure: str) -> RemoteError:
        status, said = response.status, answer_of(response)
        if status in (401, 403, 407):
            return RemotePermissionError(f"{self.where}: access denied: {said}")
        if status == 404:
            return RemoteNotFoundError(f"{self.where} does not exist: {said}")
        return RemoteError(f"{self.where}: {failure}: {said}" if failure else f"{self.where}: {said}")


@lru_cache(maxsize=_MAX_CLIENTS)
def _lease_of(settings: HttpSettings) -> ClientLease:
    """Return a lease that is kept: the parts of a worker share connections."""
    return ClientLease(settings)


class AzureBlob:
    """The blob at `path` in an obstore AzureStore.

    Attributes:
        where: name of the blob in errors.

    Raises OptionError if the store has an option that is not supported here.
    """

    def __init__(self, store: Any, path: str) -> None:
        import_urllib3()
        self.where = object_name(store, path)
        self._store, self._path = store, path
        self._config = checked_config(store, self.where, "AZURE", _UNSUPPORTED_OPTIONS)
        self._waiting = WAITING.with_retries(store.retry_config)
        self._signed: dict[str, tuple[float, SignedBlob]] = {}

    def signed(self, method: str) -> SignedBlob:
        """Return a URL with which anyone can send requests of this method. It is valid for 11 hours, or 12."""
        made, known = self._signed.get(method, (0.0, None))
        if known is None or time.monotonic() - made > _RENEWED_S:
            url = self._url(method)
            known = SignedBlob(url, self.where, self._settings_for(url), self._waiting)
            self._signed[method] = time.monotonic(), known
        return known

    def _url(self, method: str) -> str:
        signed = self._sign(self._store, method)
        if signed is None:  # obstore makes no signature from one
            token = self._find("sas_token", "sas_key", _SAS_VARIABLES)
            return f"{self._unsigned_url(method)}?{token.lstrip('?')}"
        url = urlsplit(signed)
        fields = dict(parse_qsl(url.query))
        account = self._config.get("account_name") or _in_environment(_ACCOUNT_VARIABLES)
        key = "" if "skoid" in fields else self._find("access_key", "account_key", _KEY_VARIABLES)
        if account and key:
            fields.pop("st", None)  # it would not be valid yet if this clock is ahead of Azure's
            name = "/".join(filter(None, ((self._store.prefix or "").strip("/"), self._path)))
            container = unquote(url.path).removesuffix(f"/{name}").rpartition("/")[2]
            fields["sig"] = signature_of(fields, f"/blob/{account}/{container}/{name}", key)
            return url._replace(query=urlencode(fields)).geturl()
        if "%" in url.path:  # obstore signs the percent-encoding, which Azure refuses
            raise OptionError(
                f"{self.where}: obstore signs keys with spaces, '%' or letters beyond ASCII wrongly, so that Azure "
                "would refuse the parts. Give another key; or account_name= and account_key=, with which it is signed "
                "here"
            )
        return signed

    def _sign(self, store: Any, method: str) -> str | None:
        """Return obstore's signed URL; None if the store itself has no more than a shared access signature."""
        sign = import_obstore().sign_async
        with map_errors(self.where):
            try:
                return str(call_in_time(lambda: sign(store, method, self._path, URL_LIFETIME), self.where))
            except Exception as exc:
                if "SASforSASNotSupported" not in str(exc):
                    raise
        return None

    def _unsigned_url(self, method: str) -> str:
        """Return the URL of the blob, as obstore makes it for a key."""
        config = {name: value for name, value in self._config.items() if name not in ("sas_key", "credential_type")}
        client = dict(self._store.client_options or {}) or None
        kind = type(self._store)
        store = kind(config={**config, "account_key": "AAAA"}, prefix=self._store.prefix, client_options=client)
        return (self._sign(store, method) or "").partition("?")[0]

    def _find(self, provided: str, option: str, variables: Iterable[str]) -> str:
        """Return a credential of the store, from where obstore takes it; "" if it has none of this kind."""
        provider = getattr(self._store, "credential_provider", None)
        if not callable(provider):
            return self._config.get(option) or _in_environment(variables)
        given = provider()
        if hasattr(given, "__await__"):
            given.close()
            raise OptionError(f"{self.where}: credential_provider is asynchronous: give a synchronous one")
        found = given.get(provided, "")
        return found if isinstance(found, str) else urlencode(found)

    def _settings_for(self, url: str) -> HttpSettings:
        given = dict(self._store.client_options or {})
        options = {name: value for name, value in given.items() if not name.startswith(_IRRELEVANT_OPTIONS)}
        return settings_of(urlsplit(url), options, self.where, "uploads by parts: leave it out")


def signature_of(fields: Mapping[str, str], resource: str, key: str) -> str:
    """Return the signature of a shared access signature with these fields, by an account key.

    (Blob service REST API, "Create a service SAS", version 2020-12-06 and later)
    """
    before = [fields.get(name, "") for name in ("sp", "st", "se")]
    names = ("si", "sip", "spr", "sv", "sr", "snapshot", "ses", "rscc", "rscd", "rsce", "rscl", "rsct")
    text = "\n".join([*before, resource, *(fields.get(name, "") for name in names)])
    return base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), "sha256")).decode()


def _in_environment(variables: Iterable[str]) -> str:
    return next((value for name in variables if (value := os.environ.get(f"AZURE_STORAGE_{name}"))), "")
