"""HTTP requests that can be ended at any time, from any thread (urllib3, which the extra ``s3`` installs).

obstore reports no header fields of an error, and its threads do not survive a fork. Archives behind ``http(s)://`` are
therefore read by urllib3. All archives of the process with the same settings share one client and its connections,
which close with the last of them.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from http.client import responses
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from .._buffers import flat_view, slices
from ..errors import OptionError, RemoteConnectionError, RemoteError
from .s3_client import certificates_file, trusted_file
from .stores import basic_auth, import_extra, quoted_url, untrusted
from .waiting import seconds_of

_MAX_REDIRECTS = 10
_MAX_CONNECTIONS, _MAX_HOSTS = 64, 32
_REDIRECTS = {301, 302, 303, 307, 308}
_SENT_AT_ONCE = 1 << 17
_MAX_ERROR_BODY = 1 << 14
_CODE, _MESSAGE = re.compile(rb"<Code>([\w.-]{1,80})</Code>"), re.compile(rb"<Message>([^<]{1,300})</Message>")
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")
# obstore's client options that make no difference here.
_IRRELEVANT = (
    "default_content_type",
    "http1_only",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "randomize_addresses",
)
_APPLIED = (
    "allow_http", "allow_invalid_certificates", "connect_timeout", "default_headers", "proxy_excludes", "proxy_url",
    "read_timeout", "root_certificate", "timeout", "user_agent",
)  # fmt: skip


def import_urllib3(module: str = "urllib3") -> Any:
    """Return urllib3 or a module of it; see `import_extra`."""
    return import_extra(module, "object stores and HTTP")


class HttpSettings(NamedTuple):
    """Settings of a client, from obstore's client options. Times are in seconds.

    Attributes:
        headers: header fields of every request; they may contain credentials.
        allow_http: whether a redirect may lead from https to http.
        timeout: for one request with its whole body.
    """

    headers: tuple[tuple[str, str], ...]
    allow_http: bool = False
    insecure: bool = False
    root: str | None = None
    proxy: str | None = None
    excludes: str = ""
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    timeout: float = 7 * 86400.0

    def __repr__(self) -> str:
        return "<HttpSettings>"  # without the headers


def settings_of(
    url: SplitResult,
    options: Mapping[str, Any],
    where: str,
    what: str = "URLs: leave it out, or give store=obstore.store.HTTPStore(…)",
) -> HttpSettings:
    """Return the settings for a URL from obstore's client options.

    Raises OptionError for an option that is unknown, or not supported; `what` says for what, and what to do.
    """
    for option in options:
        if option not in _APPLIED and option not in _IRRELEVANT:
            raise OptionError(f"{where}: the client option {option!r} is unknown, or not supported for {what}")
    headers = {"Accept-Encoding": "identity", "User-Agent": str(options.get("user_agent") or "zipstream-adapter")}
    if url.username is not None:
        headers["Authorization"] = basic_auth(url)
    for name, value in (options.get("default_headers") or {}).items():
        headers = {known: old for known, old in headers.items() if known.lower() != _text(name).lower()}
        headers[_text(name)] = _text(value)
    root, proxy = options.get("root_certificate"), options.get("proxy_url")
    times = {
        name: seconds_of(name, options[name])
        for name in ("connect_timeout", "read_timeout", "timeout")
        if options.get(name) is not None
    }
    return HttpSettings(
        tuple(headers.items()),
        allow_http=_flag(options.get("allow_http")) or url.scheme == "http",
        insecure=_flag(options.get("allow_invalid_certificates")),
        root=_text(root) if root else None,
        proxy=_text(proxy) if proxy else None,
        excludes=_text(options.get("proxy_excludes") or ""),
        **times,
    )


def _flag(value: Any) -> bool:
    return str(value).lower() in ("true", "1")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class Exchange:
    """One request and its response, which any thread can end.

    Attributes:
        response: urllib3's response, once its header has arrived.
        ended: whether `end` was called.
    """

    def __init__(self) -> None:
        self.response: Any = None
        self.ended = False
        self.generation = generation()
        self._connection: Any = None
        self._socket: socket.socket | None = None

    def watch(self, connection: Any) -> None:
        """Note the connection that carries the request."""
        self._connection = connection
        if connection.sock is not None:
            self._socket = connection.sock
        if self.ended:
            raise OSError("the request was ended")

    def limit(self, seconds: float) -> None:
        """Wait at most `seconds` for the next bytes."""
        if self._socket is not None:
            with suppress(OSError):  # ended meanwhile
                self._socket.settimeout(max(0.001, seconds))

    def end(self) -> None:
        """End the request: whoever waits for its bytes gets none. Has no effect on a forked parent's request."""
        self.ended = True
        connected = self._socket or getattr(self._connection, "sock", None)
        if isinstance(connected, socket.socket) and self.generation == generation():
            with suppress(OSError):
                # Not SSLSocket's method, after which a waiting read would return undecrypted bytes.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def discard(self) -> None:
        """Close the socket of a response that urllib3 refused, and that it leaves to the garbage collector."""
        if isinstance(self._socket, socket.socket):
            with suppress(OSError):
                socket.close(self._socket.detach())

    def close(self, *, is_read: bool) -> None:
        """Close the connection; or, if the whole body has been read, return it to the client."""
        if self.response is None or self.generation != generation():
            return
        if is_read and not self.ended:
            with suppress(Exception):  # it stays unusable, and is closed
                self.response.read()
        self.response.close()


class HttpClient:
    """Connections to any number of servers, with the same settings."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._managers: dict[str | None, Any] = {}
        self._lock = threading.Lock()
        self.leases = 0

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        exchange: Exchange,
        seconds: float,
        where: str,
        body: Iterable[Any] | None = None,
    ) -> Any:
        """Send a request, follow redirects, and return urllib3's response, whose body has not been read.

        Args:
            headers: header fields in addition to those of the settings.
            exchange: ends the request, if needed.
            seconds: time for each step, at most the settings'.
            where: the object's name in errors.
            body: chunks of the request's body; `headers` have its Content-Length. Redirects are not followed then.

        Raises: urllib3's exceptions; RemoteError for a redirect that is not followed.
        """
        fields = {**dict(self._settings.headers), **headers}
        for count in range(_MAX_REDIRECTS + 1):
            try:
                exchange.response = response = self._send_once(method, url, fields, exchange, seconds, body)
            except import_urllib3("urllib3.exceptions").LocationValueError:
                if not count:
                    raise  # the caller's own URL
                raise _invalid_redirect(where, url) from None
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target or body is not None:
                return response
            response.close()
            old_parts = urlsplit(url)
            try:
                new = urljoin(url, target)
                new_parts = urlsplit(new)
                _ = new_parts.port
            except ValueError:
                raise _invalid_redirect(where, target) from None
            if new_parts.scheme not in ("http", "https"):
                raise RemoteError(f"{where}: the server redirects to a {new_parts.scheme!r} URL, which is not followed")
            if new_parts.scheme == "http" and not self._settings.allow_http:
                raise RemoteError(f"{where}: the server redirects to plain HTTP: give allow_http=True to follow")
            if (old_parts.scheme, old_parts.netloc) != (new_parts.scheme, new_parts.netloc):
                fields = {name: value for name, value in fields.items() if name.lower() not in _CREDENTIALS}
            url = new
        raise RemoteError(f"{where}: the server redirects more than {_MAX_REDIRECTS} times")

    def _send_once(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        exchange: Exchange,
        seconds: float,
        body: Iterable[Any] | None,
    ) -> Any:
        wait = min(seconds, self._settings.read_timeout)
        timeout = import_urllib3().Timeout(connect=min(seconds, self._settings.connect_timeout), read=wait)
        pieces = None if body is None else _in_pieces(body, exchange, wait)
        manager = self._manager(self._proxy_for(url))
        _thread.exchange = exchange
        try:
            return manager.request(
                method, url, body=pieces, headers=fields, preload_content=False, decode_content=False, retries=False,
                redirect=False, timeout=timeout,
            )  # fmt: skip
        except import_urllib3("urllib3.exceptions").InvalidHeader:
            exchange.discard()
            raise
        finally:
            _thread.exchange = None

    def _manager(self, proxy: str | None) -> Any:
        with self._lock:
            manager = self._managers.get(proxy)
            if manager is None:
                manager = self._managers[proxy] = _make_manager(self._settings, proxy)
            return manager

    def _proxy_for(self, url: str) -> str | None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self._settings.proxy:
            excluded = [name.strip().lstrip("*.") for name in self._settings.excludes.split(",") if name.strip()]
            return None if any(host == name or host.endswith(f".{name}") for name in excluded) else self._settings.proxy
        found = getproxies()
        proxy = found.get(parts.scheme) or found.get("all")
        return None if not proxy or proxy_bypass(host) else proxy if "://" in proxy else f"http://{proxy}"

    def close(self) -> None:
        """Close all connections that are idle."""
        with self._lock:
            managers = list(self._managers.values())
        for manager in managers:
            manager.clear()


def _invalid_redirect(where: str, url: str) -> RemoteError:
    shown = quoted_url(url.partition("?")[0])
    return RemoteError(f"{where}: the server redirects to {shown}, which is not a URL that can be requested")


def _in_pieces(body: Iterable[Any], exchange: Exchange, seconds: float) -> Iterator[memoryview]:
    """Yield the body in pieces, and allow `seconds` for each. Otherwise one timeout would limit the whole body."""
    for chunk in body:
        for piece in slices(flat_view(chunk), _SENT_AT_ONCE):
            exchange.limit(seconds)
            yield piece


_thread = threading.local()  # `exchange`: the one whose request this thread sends


@cache
def _connection_kinds() -> dict[str, Any]:
    """Scheme -> class of urllib3's pool, whose connections register with their exchange."""
    connections: Any = import_urllib3("urllib3.connection")
    pools: Any = import_urllib3("urllib3.connectionpool")
    plain: Any = connections.HTTPConnection
    secure: Any = connections.HTTPSConnection
    plain_pool: Any = pools.HTTPConnectionPool
    secure_pool: Any = pools.HTTPSConnectionPool

    class Watched:
        def connect(self) -> None:
            _tell(self)
            super().connect()  # type: ignore[misc]
            _tell(self)

        def request(self, *args: Any, **options: Any) -> None:
            _tell(self)
            super().request(*args, **options)  # type: ignore[misc]
            _tell(self)

    class Plain(Watched, plain):  # type: ignore[misc]
        pass

    class Secure(Watched, secure):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            if self.ssl_context is not None and self.ssl_context.verify_mode == ssl.CERT_NONE:
                self.is_verified = True  # the caller has allowed it: no warning for each request

    class PlainPool(plain_pool):  # type: ignore[misc]
        ConnectionCls = Plain

    class SecurePool(secure_pool):  # type: ignore[misc]
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _tell(connection: Any) -> None:
    exchange = getattr(_thread, "exchange", None)
    if exchange is not None:
        exchange.watch(connection)


def _make_manager(settings: HttpSettings, proxy: str | None) -> Any:
    urllib3 = import_urllib3()
    common: dict[str, Any] = {
        "num_pools": _MAX_HOSTS,
        "maxsize": _MAX_CONNECTIONS,
        "ssl_context": _ssl_context(settings.insecure, settings.root),
    }
    manager = urllib3.ProxyManager(proxy, **common) if proxy else urllib3.PoolManager(**common)
    manager.pool_classes_by_scheme = _connection_kinds()
    return manager


@cache
def _ssl_context(insecure: bool, root: str | None) -> ssl.SSLContext:
    """Return the shared context: reading the trusted certificates takes tens of milliseconds."""
    context = ssl.create_default_context(cafile=certificates_file(root) if root else trusted_file())
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# Shared clients.

_lock = threading.Lock()
_clients: dict[HttpSettings, HttpClient] = {}
_left: deque[ClientLease] = deque()  # leases whose client is to be given back
_parents: list[object] = []
_generation = 0


def generation() -> int:
    """Return a number that changes in a forked child, whose connections are its parent's."""
    return _generation


class ClientLease:
    """One object's use of the shared client with some settings, until `close`. In a forked child it begins anew."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._generation = -1
        self._client: HttpClient | None = None

    @property
    def client(self) -> HttpClient:
        """The client, leased on first use."""
        try:
            with _lock:
                if self._client is None or self._generation != _generation:
                    self._client = _clients.setdefault(self._settings, HttpClient(self._settings))
                    self._client.leases += 1
                    self._generation = _generation
                return self._client
        finally:
            _close_left()

    def close(self) -> None:
        """Give the client back. Using `client` again leases it again.

        Does not wait for the lock: the garbage collector calls this, maybe while its thread holds the lock. Then the
        client is closed once the lock is free.
        """
        _left.append(self)
        _close_left()

    def _give_back(self) -> HttpClient | None:
        """Give the client back. Returns it if nobody else uses it. Called with the lock held."""
        client, self._client = self._client, None
        if client is None or self._generation != _generation:
            return None
        client.leases -= 1
        return None if client.leases else _clients.pop(self._settings, client)


def _close_left() -> None:
    while _left and _lock.acquire(blocking=False):
        unused = None
        try:
            with suppress(IndexError):  # another thread has taken it
                unused = _left.popleft()._give_back()
        finally:
            _lock.release()
        if unused is not None:
            unused.close()


def _reset_in_child() -> None:
    """Start afresh in a forked child. The parent's clients are kept: closing them would close its connections."""
    global _generation, _lock, _clients
    _parents.append(_clients)
    _lock, _clients = threading.Lock(), {}
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)


# Errors.


def answer_of(response: Any) -> str:
    """Return the status, and the code and message in the body of an object store's error."""
    body = b""
    try:
        while len(body) < _MAX_ERROR_BODY and (data := response.read1(_MAX_ERROR_BODY)):
            body += data
    except Exception:  # the status suffices
        body = body[:]
    parts = [f"{response.status} {responses.get(response.status, '')}".rstrip()]
    found = [each[1].decode("utf-8", "replace") for pattern in (_CODE, _MESSAGE) if (each := pattern.search(body))]
    parts += [text.partition("\n")[0] for text in found]  # lines with the request's number and time may follow
    return ": ".join(parts)


_REASON = re.compile(r"\[Errno -?\d+\] |\[[A-Z_: ]+\] ")


def map_http_error(exc: Exception, where: str, often: str = "") -> tuple[Exception, bool]:
    """Return an exception of urllib3 or of a socket as an error of this package, and whether to try again.

    All other exceptions are returned unchanged. `often` says how often the request was tried.
    """
    known = import_urllib3("urllib3.exceptions")
    if isinstance(exc, RemoteError):
        return exc, False
    cause: Any = exc
    while isinstance(cause, known.ProxyError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, known.SSLError | ssl.SSLError):
        found = cause.args[0] if cause.args and isinstance(cause.args[0], ssl.SSLError) else cause
        if isinstance(found, ssl.SSLCertVerificationError):
            return untrusted(where, found.verify_message or "unknown issuer"), False
        if getattr(found, "reason", None) == "WRONG_VERSION_NUMBER":
            return RemoteConnectionError(f"{where}: the server does not speak TLS: give an http:// URL"), False
        return RemoteConnectionError(f"{where}: the connection broke{often}: {_plain(found)}"), True
    if isinstance(cause, known.ReadTimeoutError | TimeoutError) and not isinstance(cause, known.ConnectTimeoutError):
        return RemoteConnectionError(f"{where}: the server did not respond in time{often}"), True
    if isinstance(cause, known.NewConnectionError | known.ConnectTimeoutError):
        is_late = not isinstance(cause, known.NewConnectionError)
        reason = "timed out" if is_late else _plain(cause.__cause__ or cause)
        return RemoteConnectionError(f"{where}: the server could not be reached{often}: {reason}"), True
    if isinstance(cause, known.LocationParseError | known.LocationValueError):
        return OptionError(f"{where} is not a URL that can be requested: {_plain(cause)}"), False
    if isinstance(cause, known.InvalidHeader):
        return RemoteError(f"{where}: the server sent an invalid header field: {_plain(cause)}"), False
    if isinstance(cause, known.HTTPError | OSError):
        reason = _plain(cause.args[-1] if cause.args and isinstance(cause.args[-1], Exception) else cause)
        return RemoteConnectionError(f"{where}: the connection broke{often}: {reason}"), True
    return exc, False


def _plain(exc: Any) -> str:
    """Return the reason of a failure, without addresses and objects."""
    text = getattr(exc, "strerror", None) or str(exc)
    text = _REASON.sub("", str(text).rpartition(">: ")[2] or str(text))
    return re.sub(r"\w+://\S+", "", text).strip()[:200] or type(exc).__name__
