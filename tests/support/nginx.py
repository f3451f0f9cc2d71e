"""nginx as a file server on 127.0.0.1, a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.support.oracles import need
from tests.support.servers import LIFETIME, is_settled, wait_for

_CONFIGURATION = """
daemon off; master_process off; error_log {home}/error.log; pid {home}/nginx.pid;
events {{ }}
http {{
  access_log {home}/access.log;
  client_body_temp_path {home}/body; fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi; proxy_temp_path {home}/proxy;
  limit_req_zone $server_name zone=slow:1m rate=4r/s;
  gzip on; gzip_types *; gzip_min_length 0;
  server {{
    listen 127.0.0.1:{port}; root {home};
    location /limited/ {{ alias {home}/; limit_req zone=slow; limit_req_status 429; }}
    location /whole/ {{ alias {home}/; max_ranges 0; }}
  }}
}}
"""


@contextmanager
def nginx(home: Path) -> Iterator[str]:
    """The files in `home`; gives the URL. Below /limited/, 4 requests a second; below /whole/, no ranges."""
    # Debian has it where users do not look.
    program = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin") or need("nginx")
    files = ["-p", str(home), "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")]
    process: subprocess.Popen[bytes] | None = None
    while process is None or process.poll() is not None:  # until nobody else takes the port in between
        assert process is None or "in use" in (home / "error.log").read_text()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (home / "nginx.conf").write_text(_CONFIGURATION.format(home=home, port=port))
        process = subprocess.Popen(["timeout", str(LIFETIME), program, *files], stderr=subprocess.DEVNULL)
        wait_for(partial(is_settled, process, port), "nginx")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
