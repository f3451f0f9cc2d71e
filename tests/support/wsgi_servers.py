"""WSGI servers that look at the body that an application returns, each in a process of its own: waitress and gevent.

    python -m tests.support.wsgi_servers KIND APP

APP is an example, whose report is under control as `servers` has it; or "ng" or "ng-sized", which return a
ZipStream of `compat.zipstream_ng` as it is.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

NG_MEMBERS = {"a.bin": bytes(range(256)) * 1024, "b.txt": b"some text\n"}


def command(kind: str, app: str) -> list[str]:
    """What runs the server."""
    return [sys.executable, "-m", "tests.support.wsgi_servers", kind, app]


def ng(environ: WSGIEnvironment, start_response: StartResponse, *, sized: bool = False) -> Iterable[bytes]:
    """A ZipStream as the body, with no Content-Length."""
    from zipstream_adapter.compat.zipstream_ng import ZipStream

    stream = ZipStream(sized=sized)
    for name, data in NG_MEMBERS.items():
        stream.add(data, name)
    start_response("200 OK", [("Content-Type", "application/zip")])
    return stream


def ng_sized(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Likewise, of a stream that has a len()."""
    return ng(environ, start_response, sized=True)


def _app(name: str) -> Any:
    if name in ("ng", "ng-sized"):
        return ng if name == "ng" else ng_sized
    from tests.support.servers import probed

    return probed(name)


def main(kind: str, name: str) -> None:
    """Serve until the process is ended."""
    if kind == "gevent":
        importlib.import_module("gevent.monkey").patch_all()
        server = importlib.import_module("gevent.pywsgi").WSGIServer(("127.0.0.1", 0), _app(name))
        server.start()
        port, run = server.server_port, server.serve_forever
    else:
        server = importlib.import_module("waitress").create_server(_app(name), host="127.0.0.1", port=0)
        port, run = server.effective_port, server.run
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    run()


if __name__ == "__main__":
    main(*sys.argv[1:])
