"""A browser downloads a layout: it knows the length beforehand, and takes the name that no ASCII can say."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.layouts import archive
from tests.support.loops import module, run
from tests.support.oracles import need
from tests.support.servers import PATIENCE, gunicorn, serve, wait_for
from tests.support.web_servers import whole

# It gets to see nothing but this machine.
ALONE = ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--disable-background-networking"]
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-sync", "--no-first-run", *ALONE]
FILENAME = "Grüße 世界 🏖.zip"


class Browser:
    """Chromium, by its DevTools protocol."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0

    async def say(self, method: str, **params: Any) -> None:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})

    async def download(self, url: str) -> list[dict[str, Any]]:
        """What it tells of a download, from its beginning to its end."""
        await self.say("Target.createTarget", url=url)
        told: list[dict[str, Any]] = []
        while not told or told[-1].get("state", "inProgress") == "inProgress":
            message = await self._socket.receive_json()
            if message.get("method", "").startswith("Browser.download"):
                told.append(message["params"])
        return told


@contextmanager
def chromium(home: Path) -> Iterator[str]:
    """The address of a browser's socket."""
    program, log = need("chromium", "chromium-browser", "google-chrome"), home / "chromium.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={home / 'profile'}", "about:blank"],
            stderr=output,
            env={**os.environ, "HOME": str(home)},
            start_new_session=True,
        )

    def said() -> re.Match[str] | None:
        return re.search(r"ws://127\.0\.0\.1:\S+", log.read_text(errors="replace"))

    try:
        yield wait_for(said, "the browser's socket", 0.05)[0]
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it has started, and nothing else
        process.wait()


async def download(address: str, url: str, home: Path) -> list[dict[str, Any]]:
    """What the browser at `address` tells of a download."""
    async with module("aiohttp").ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
        browser = Browser(socket)
        await browser.say("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(home), eventsEnabled=True)
        return await browser.download(url)


@pytest.mark.parametrize(("path", "name"), [("layout.zip", "layout.zip"), ("named?" + quote(FILENAME), FILENAME)])
def test_chromium_knows_the_length_and_the_name(tmp_path: Path, path: str, name: str) -> None:
    (home := tmp_path / "home").mkdir()
    data = whole() if name == "layout.zip" else archive()
    command = gunicorn("tests.support.web_servers:wsgi()", "gthread")
    with serve(command, tmp_path, {"CONTROL": str(tmp_path)}) as server, chromium(home) as address:
        begun, *progress = run(asyncio.wait_for(download(address, server.url + path, home), PATIENCE * 2))
    assert begun["suggestedFilename"] == name
    assert {each["totalBytes"] for each in progress} == {len(data)}
    assert (progress[-1]["state"], progress[-1]["receivedBytes"]) == ("completed", len(data))
    (got,) = home.glob("*.zip")
    assert got.name == name
    assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(data).digest()
