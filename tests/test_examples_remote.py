"""The examples that read archives elsewhere: under a real server, from a real server."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.support.async_servers import uvicorn
from tests.support.loops import module
from tests.support.remote_archives import MIB, archive_of, members_of
from tests.support.remote_servers import serving
from tests.support.servers import EXAMPLES, serve

module("obstore")
ARCHIVE = archive_of((3 * MIB, 200_000, 50), zipfile.ZIP_DEFLATED)


def test_remote_component() -> None:
    with serving(archive=ARCHIVE) as server:
        command = [sys.executable, str(EXAMPLES / "remote_component.py"), server.url + "archive"]
        listed = subprocess.run(command, capture_output=True, timeout=200, check=True).stdout.decode()
        assert [line.split()[1] for line in listed.splitlines()] == ["0.bin", "1.bin", "2.bin"]
        assert len(server.asked) == 1
        server.forget()
        data = subprocess.run([*command, "1.bin"], capture_output=True, timeout=200, check=True).stdout
        assert data == members_of(ARCHIVE)["1.bin"]
        assert len(server.asked) == 2


def test_remote_proxy(tmp_path: Path) -> None:
    members = members_of(ARCHIVE)
    (control := tmp_path / "control").mkdir()
    with serving(archive=ARCHIVE) as server:
        environment = {"ARCHIVE": server.url + "archive", "PYTHONPATH": str(EXAMPLES)}
        with serve(uvicorn("remote_proxy:app"), control, environment) as proxy:
            with urllib.request.urlopen(proxy.url + "member/0.bin", timeout=200) as answer:
                assert int(answer.headers["Content-Length"]) == len(members["0.bin"])
                assert answer.read() == members["0.bin"]
            with urllib.request.urlopen(proxy.url + "selection?prefix=1", timeout=200) as answer:
                assert members_of(answer.read()) == {"1.bin": members["1.bin"]}
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(proxy.url + "member/nothing", timeout=200)
        assert len(server.asked) == 3
