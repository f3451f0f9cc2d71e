"""A real server that is told to end while it sends archives leaves no source open."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.async_servers import uvicorn
from tests.support.loops import module
from tests.support.servers import serve, wait_for

KINDS = ("slow", "generator", "sync", "layout")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("app", ["whole", "raw"])
def test_uvicorn_that_ends_by_its_grace_period_leaves_no_source_open(app: str, loop: str, tmp_path: Path) -> None:
    module("werkzeug")
    module("uvicorn")
    module(loop)
    notes = tmp_path / "notes"
    notes.touch()
    command = uvicorn(f"tests.support.shutdown_servers:{app}", "--factory", "--loop", loop)
    with ExitStack() as clients, serve(command, tmp_path, {"NOTES": str(notes)}) as server:
        for kind in KINDS:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            client.sendall(f"GET /{kind} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert client.recv(100)  # and no more: the server has to wait for its client
        wait_for(lambda: notes.read_text().count("opened") >= len(KINDS), "the sources")
    said = notes.read_text().split()
    assert said.count("closed") == said.count("opened")
    assert "timeout graceful shutdown exceeded" in (tmp_path / "server.log").read_text()
