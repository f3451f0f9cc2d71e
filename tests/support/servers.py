"""Real servers for the examples, each a process of its own on a free port of 127.0.0.1.

The server chooses the port and says so in its log. It ends with the `with` block, and by an alarm where the test run
was killed and cannot end it. In the server's process, `probed` puts a source under the test's control into an example:
the two talk through files in the directory that CONTROL names.
"""

from __future__ import annotations

import ast
import http.client
import importlib
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from wsgiref.simple_server import make_server

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_T = TypeVar("_T")
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
# Random, so that it does not shrink on its way; longer than deflate looks back, so that it can be repeated.
BLOCK = random.Random(7).randbytes(1 << 16)
# More than may be in flight between workers.
BEFORE_THE_GATE, AFTER_THE_GATE = BLOCK * 64, b"and this is the end\n"
LIFETIME = 600  # seconds after which a server ends by itself
PATIENCE = 60.0  # seconds that anything here is waited for

# exec() keeps the alarm, and whoever is started does not know of it.
_WITH_ALARM = (
    sys.executable,
    "-c",
    f"import os, signal, sys; signal.alarm({LIFETIME}); os.execvp(sys.argv[1], sys.argv[1:])",
)


class Server(NamedTuple):
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@dataclass(frozen=True)
class Place:
    """A server, and the directory by which a test controls the source in it."""

    server: Server
    control: Path

    def url(self, path: str) -> str:
        return self.server.url + path

    def ends(self) -> list[str]:
        """How the controlled source ended, a line for each time it was opened."""
        place = self.control / "ends"
        return place.read_text().splitlines() if place.exists() else []


def need_packages(example: str) -> None:
    """Skip the test if a package that the example imports is not installed."""
    from tests.support.loops import module  # not in a server's process

    for node in ast.walk(ast.parse((EXAMPLES / f"{example}.py").read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in [node.module or ""] if isinstance(node, ast.ImportFrom) else names:
            if name.partition(".")[0] not in sys.stdlib_module_names | {"zipstream_adapter"}:
                module(name)


def werkzeug(app: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", app, "run", "--port", "0"]


def gunicorn(app: str, worker: str) -> list[str]:
    threads = ["--threads", "2"] if worker == "gthread" else []
    options = ["--bind", "127.0.0.1:0", "--worker-class", worker, *threads, "--graceful-timeout", "2"]
    return [sys.executable, "-m", "gunicorn", *options, app]


def wsgiref(example: str) -> list[str]:
    return [sys.executable, "-m", "tests.support.servers", example]


@contextmanager
def serve(command: Sequence[str], home: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Run `command` until the block ends. `home`: an empty directory for its log and whatever else it writes."""
    log = home / "server.log"
    kept = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_WITH_ALARM, *command],
            cwd=ROOT,
            env={**kept, "HOME": str(home), "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Server(_port(process, log), log)
        wait_for(lambda: _answers(server.port), f"an answer of {command}")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    def said() -> re.Match[str] | None:
        assert process.poll() is None, f"the server ended: {log.read_text()}"
        return re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())

    return int(wait_for(said, "the server's port")[1])


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("HEAD", "/")
        return connection.getresponse().status < 500
    except ConnectionError:
        return False
    finally:
        connection.close()


def is_settled(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether a server has come to listen, or to an end."""
    with suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return process.poll() is not None


def wait_for(happened: Callable[[], _T | None], what: str, pause: float = 0.01) -> _T:
    """What `happened` gives, once it is true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        result = happened()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(pause)


# What runs in the server's process.


def probed(example: str) -> Any:
    """The app of an example whose report is under control."""
    return probe(example, "report", watched).app


def probe(example: str, function: str, instead: Callable[[Path], Any]) -> Any:
    """The example. Where the test has left a file "report", its `function` gives what `instead` does."""
    sys.path.insert(0, str(EXAMPLES))
    found: Any = importlib.import_module(example)
    control, own = Path(os.environ["CONTROL"]), getattr(found, function)
    setattr(found, function, lambda: instead(control) if (control / "report").exists() else own())
    return found


def watched(control: Path) -> Iterator[bytes]:
    """The report under control; a line in the file "ends" says how it ended."""
    how = "closed"
    try:
        yield from _gated(control) if (control / "report").read_text() == "gated" else _long()
        how = "read to its end"
    except BrokenSourceError:
        how = "failed"
        raise
    finally:
        with (control / "ends").open("a") as ends:
            ends.write(how + "\n")


class BrokenSourceError(Exception):
    """What the test has told a source to raise."""


def _gated(control: Path) -> Iterator[bytes]:
    """Some data, and the rest (or a failure) when the test says so in the file "gate"."""
    yield from (BLOCK,) * (len(BEFORE_THE_GATE) // len(BLOCK))
    gate = control / "gate"
    if wait_for(lambda: gate.exists() and gate.read_text(), "the gate") == "fail":  # empty while it is being written
        raise BrokenSourceError("the source broke midway")
    yield AFTER_THE_GATE


def _long() -> Iterator[bytes]:
    for _ in range(1024):
        yield BLOCK


def receive(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """A store that takes a PUT: the body stands under its final name only once it was received whole."""
    control, name = Path(os.environ["CONTROL"]), environ["PATH_INFO"].strip("/")
    try:
        with (control / "part").open("wb") as part:
            while block := environ["wsgi.input"].read(1 << 16):
                part.write(block)
    except Exception as exc:
        (control / "broken").write_text(repr(exc))
        raise
    if name == "full":
        start_response("507 Insufficient Storage", [("Content-Length", "0")])
    elif environ["REQUEST_METHOD"] == "PUT":
        (control / "part").rename(control / name)
        start_response("201 Created", [("Content-Length", "0")])
    else:
        start_response("405 Method Not Allowed", [("Content-Length", "0")])
    return []


def main() -> None:
    with make_server("127.0.0.1", 0, probed(sys.argv[1])) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
        server.serve_forever()


if __name__ == "__main__":
    main()
