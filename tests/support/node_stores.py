"""Object stores that npm installs (``npm install azurite s3rver``), each a process of its own, on 127.0.0.1.

They are looked for in PATH, in the checkout's node_modules, and in the directory that ZIPSTREAM_NODE names. "none"
says that npm's registry cannot be reached: their tests are skipped, in CI, too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import need_obstore
from tests.support.oracles import miss
from tests.support.servers import ROOT, serve

CONTAINER = "container"
# Azurite's well-known account.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def _program(name: str) -> str:
    if os.environ.get("ZIPSTREAM_NODE") == "none":
        pytest.skip("npm's registry cannot be reached")
    places = [ROOT / "node_modules" / ".bin", Path(os.environ.get("ZIPSTREAM_NODE", ROOT)) / "node_modules" / ".bin"]
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)]))
    return found or miss(f"{name} is not installed (npm install azurite s3rver)")


@contextmanager
def azurite(home: Path) -> Iterator[dict[str, Any]]:
    """Azure Blob Storage; gives the options of an AzureStore, without the container, which is there."""
    need_obstore()
    program = _program("azurite-blob")
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", "0", "--location", str(home), "--skipApiVersionCheck"]
    with serve(command, home, {}) as server:
        endpoint = f"http://127.0.0.1:{server.port}/{ACCOUNT}"
        _make_container(endpoint)
        yield {"account_name": ACCOUNT, "account_key": KEY, "endpoint": endpoint, "allow_http": True}


def _make_container(endpoint: str) -> None:
    """obstore makes none."""
    import base64
    import hashlib
    import hmac
    import urllib.request
    from email.utils import formatdate

    date, version = formatdate(usegmt=True), "2021-12-02"
    resource = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    text = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n{resource}"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    fields = {
        "Authorization": f"SharedKey {ACCOUNT}:{signature}",
        "x-ms-date": date,
        "x-ms-version": version,
        "Content-Length": "0",
    }
    request = urllib.request.Request(f"{endpoint}/{CONTAINER}?restype=container", headers=fields, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


_S3RVER = """
const S3rver = require(process.argv[1]);
const server = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory: process.argv[2],
    configureBuckets: [{ name: 'bucket' }] });
server.run().then(({ address, port }) => console.log(`http://127.0.0.1:${port}`));
"""


@contextmanager
def s3rver(home: Path) -> Iterator[dict[str, Any]]:
    """An S3 that takes a suffix range for one from the beginning; gives the options of an S3Store but the bucket."""
    need_obstore()
    module = Path(_program("s3rver")).resolve().parent.parent
    with serve([_program("node"), "-e", _S3RVER, str(module), str(home / "data")], home, {}) as server:
        yield {
            "endpoint": f"http://127.0.0.1:{server.port}",
            "access_key_id": "S3RVER",
            "secret_access_key": "S3RVER",
            "region": "us-east-1",
            "allow_http": True,
        }
