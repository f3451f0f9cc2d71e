"""nginx in front: a stream is passed on as it comes, and a layout can be kept."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.layouts import archive
from tests.support.oracles import members, need
from tests.support.servers import AFTER_THE_GATE, BEFORE_THE_GATE, LIFETIME, PATIENCE, gunicorn, serve, wait_for
from tests.support.web_servers import whole

_CONFIGURATION = """
daemon off; master_process off; error_log {home}/error.log; pid {home}/nginx.pid;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {home}/body; fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi; proxy_temp_path {home}/proxy;
  proxy_cache_path {home}/cache keys_zone=kept:1m;
  gzip on; gzip_types *; gzip_proxied any; gzip_min_length 0;
  server {{
    listen unix:{home}/nginx.socket;
    location / {{
      proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1;
      proxy_cache kept; proxy_cache_valid 200 1m; add_header X-Kept $upstream_cache_status;
    }}
  }}
}}
"""


class Nginx(NamedTuple):
    socket: Path
    control: Path

    def answers(self) -> bool:
        """Whether its socket is there and takes connections."""
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.connect(os.fspath(self.socket))
            return True
        return False

    def ask(self, path: str, **fields: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect(os.fspath(self.socket))
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request("GET", path, headers={"Accept-Encoding": "gzip", **headers})
        return connection, connection.getresponse()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    # Debian has it where users do not look.
    program = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin") or need("nginx")
    home = tmp_path_factory.mktemp("home")
    (control := home / "control").mkdir()
    with serve(gunicorn("tests.support.web_servers:wsgi()", "gthread"), home, {"CONTROL": str(control)}) as server:
        (home / "nginx.conf").write_text(_CONFIGURATION.format(home=home, port=server.port))
        process = subprocess.Popen(
            ["timeout", str(LIFETIME), program, "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"],
            stderr=subprocess.DEVNULL,
        )
        try:
            made = Nginx(home / "nginx.socket", control)
            wait_for(lambda: made.answers() or process.poll() is not None, "nginx")
            assert process.poll() is None, (home / "error.log").read_text()
            yield made
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def test_a_layout_is_kept(nginx: Nginx) -> None:
    kept = []

    def is_hit() -> bool:
        connection, answer = nginx.ask("/layout.zip")
        assert answer.read() == whole()
        kept.append(answer.getheader("X-Kept"))
        connection.close()
        return kept[-1] == "HIT"

    wait_for(is_hit, "an answer that was kept")  # nginx keeps one a moment after its end
    assert kept[0] == "MISS"
    connection, answer = nginx.ask("/layout.zip", Range="bytes=100-199", If_Range='"first"')
    assert (answer.status, answer.read()) == (206, whole()[100:200])
    connection.close()


def test_a_stream_is_passed_on_as_it_comes_and_not_kept(nginx: Nginx) -> None:
    (nginx.control / "report").write_text("gated")
    connection, answer = nginx.ask("/stream.zip")
    body = b""
    while len(body) < len(BEFORE_THE_GATE):
        body += answer.read1(1 << 16)
    assert not (nginx.control / "ends").exists()
    (nginx.control / "gate").write_text("open")
    body += answer.read()
    connection.close()
    assert members(body)["report.txt"] == BEFORE_THE_GATE + AFTER_THE_GATE
    connection, answer = nginx.ask("/stream.zip")
    assert answer.getheader("X-Kept") == "MISS"
    assert members(answer.read())["report.txt"] == BEFORE_THE_GATE + AFTER_THE_GATE
    connection.close()


def test_nothing_is_compressed(nginx: Nginx) -> None:
    """It does not know no-transform."""
    connection, answer = nginx.ask("/named?a.zip")
    assert (answer.read(), answer.getheader("Content-Encoding")) == (archive(), "identity")
    connection.close()


def test_a_stream_that_fails_breaks_the_transfer(nginx: Nginx) -> None:
    for left in nginx.control.iterdir():
        left.unlink()
    (nginx.control / "report").write_text("gated")
    connection, answer = nginx.ask("/stream.zip")
    answer.read(1000)
    (nginx.control / "gate").write_text("fail")
    until = time.monotonic() + PATIENCE
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        while time.monotonic() < until and answer.read(1 << 16):
            pass
    connection.close()
