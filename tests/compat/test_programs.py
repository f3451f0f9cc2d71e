"""The other libraries' programs on a real server: whole archives, and none where a source breaks."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.compat.programs import PROGRAMS, TEXT
from tests.support import oracles
from tests.support.async_servers import uvicorn
from tests.support.servers import Server, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tree, home = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("home")
    (tree / "a.txt").write_bytes(b"hello")
    (broken := tree / "broken").mkdir()
    (broken / "a").write_bytes(os.urandom(3_000_000))  # more than waits to be compressed
    (broken / "b").symlink_to(tree / "nowhere")
    with serve(uvicorn("tests.compat.programs:app"), home, {"DOWNLOAD_ROOT": str(tree)}) as running:
        yield running


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_download_is_an_archive(program: str, server: Server, tmp_path: Path) -> None:
    with urlopen(server.url + program, timeout=60) as response:
        data, length = response.read(), response.headers["Content-Length"]
    assert length in (None, str(len(data)))
    assert (length is not None) == (program in ("zipstreamer", "zipstream_ng", "zipfly64"))
    generated = {} if program == "spideroak" else {"generated": TEXT}
    assert oracles.members(data) == {"a.txt": b"hello", **generated}
    (path := tmp_path / "a.zip").write_bytes(data)
    for opens in (oracles.unzip, oracles.bsdtar, oracles.seven_zip):
        assert opens(path)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_source_that_breaks_breaks_the_download(program: str, server: Server) -> None:
    with urlopen(f"{server.url}{program}?fails", timeout=60) as response:
        assert response.read(100)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
