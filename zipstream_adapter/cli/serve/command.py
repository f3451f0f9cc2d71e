"""Run the server: uvicorn, on a socket of our own."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from ..._entries.crc_cache import ChecksumCache
from ...errors import OptionError
from ..passwords import password_of
from ..printing import to_nowhere
from ..terminal import say, shown_name
from .shelf import Shelf

# Seconds that downloads have to end after Ctrl-C.
_GRACE_S = 3


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes. Returns the exit status. Raises ZipStreamError, OSError or ImportError."""
    try:
        import uvicorn

        from .app import Library, make_app
    except ImportError as exc:
        raise ImportError(f"'serve' needs uvicorn and werkzeug: install the extra 'serve' ({exc})") from exc
    password = password_of(arguments, twice=False)
    shelf = Shelf(arguments.paths, hidden=arguments.hidden)
    listener, host = _listener(arguments.bind, arguments.port)
    only_local = host.is_loopback
    if not only_local and password is None:
        say(f"warning: everyone who can reach {arguments.bind} can read the files: see --password-file")
    port = listener.getsockname()[1]
    shown = f"[{host}]" if host.version == 6 else str(host)
    _tell(f"serving {', '.join(map(shown_name, arguments.paths))} at http://{shown}:{port}/ (Ctrl-C ends it)")
    with (
        tempfile.TemporaryDirectory(prefix="zipstream-adapter-") as own,
        listener,
        ChecksumCache(os.path.join(own, "checksums.sqlite")) as checksums,
    ):
        app = make_app(
            Library(shelf, checksums),
            password=password,
            only_local=only_local and password is None,
            log=_log(arguments.quiet),
        )
        config = uvicorn.Config(
            app,
            log_config=None,  # uvicorn's own needs a standard output
            log_level="critical",
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = uvicorn.Server(config)
        try:
            with _ended_by_hangup(server):
                server.run(sockets=[listener])
        except KeyboardInterrupt:  # the usual end of a server
            return 0
    return 0


@contextlib.contextmanager
def _ended_by_hangup(server: Any) -> Iterator[None]:
    """Let SIGHUP end the server as SIGTERM does: uvicorn leaves that signal alone."""
    number = getattr(signal, "SIGHUP", None)
    before = None if number is None else signal.getsignal(number)
    came: list[int] = []

    def end(number: int, frame: object) -> None:
        came.append(number)
        server.should_exit = True

    handles = number is not None and callable(before) and threading.current_thread() is threading.main_thread()
    if handles:
        signal.signal(number, end)  # type: ignore[arg-type]
    try:
        yield
    finally:
        if handles:
            signal.signal(number, before)  # type: ignore[arg-type]
    if came:
        raise SystemExit(128 + came[0])


def _log(quiet: bool) -> Any:
    def log(method: str, path: str, status: int, error: str) -> None:
        if error or not quiet:
            _tell(f"{status} {shown_name(method)} {shown_name(path)}" + (f": {shown_name(error)}" if error else ""))

    return log


def _tell(line: str) -> None:
    """Write a line to standard output. If nobody reads it any more, as in ``serve … | head``, serve on."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(f"{line}\n".encode("utf-8", "backslashreplace").decode())
        sys.stdout.flush()
    except OSError:
        to_nowhere(sys.stdout)


def _listener(bind: str, port: int) -> tuple[socket.socket, ipaddress.IPv4Address | ipaddress.IPv6Address]:
    if not 0 <= port <= 65535:
        raise OptionError(f"--port {port}: give a number from 0 to 65535")
    try:
        found = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(found[4][:2], family=found[0])
    except OSError as exc:
        raise OSError(f"--bind {bind} --port {port}: {exc.strerror or exc}") from exc
    return listener, ipaddress.ip_address(str(found[4][0]).partition("%")[0])
