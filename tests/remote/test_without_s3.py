"""What needs the extra s3 says so, where it is not installed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.buckets import BUCKET, KEYS, need_obstore
from zipstream_adapter import Entry, ZipLayout
from zipstream_adapter.remote.s3_client import S3Object, stored_crc32
from zipstream_adapter.remote.uploading.upload import upload_zip
from zipstream_adapter.remote.uploading.upload_async import upload_zip_async
from zipstream_adapter.remote.uploading.upload_parts import upload_parts
from zipstream_adapter.remote.walk import walk_store


@pytest.mark.parametrize(
    "use",
    [
        lambda: upload_zip(object(), "a.zip", []),
        lambda: asyncio.run(upload_zip_async(object(), "a.zip", [])),
        lambda: upload_parts(object(), "a.zip", ZipLayout([]), ThreadPoolExecutor(1)),
        lambda: Entry.from_store(object(), "a"),
        lambda: walk_store(object()),
    ],
    ids=["upload_zip", "upload_zip_async", "upload_parts", "from_store", "walk_store"],
)
def test_the_extra_is_named(use: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ImportError, match=r"install the extra 's3' \(pip install 'zipstream-adapter\[s3\]'\)"):
        use()


@pytest.mark.parametrize("use", [upload_parts, lambda store, path, *_: stored_crc32(S3Object(store, path))])
def test_the_extra_is_named_where_only_obstore_is_there(
    use: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = need_obstore().store.S3Store(BUCKET, region="us-east-1", endpoint="https://127.0.0.1:9", **KEYS)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    with pytest.raises(ImportError, match=r"botocore.* the extra 's3' \(pip install 'zipstream-adapter\[s3\]'\)"):
        use(store, "a.zip", ZipLayout([]), ThreadPoolExecutor(1))


def test_streams_and_layouts_bring_in_nothing_of_it() -> None:
    code = (
        "import sys; from zipstream_adapter import Entry, ZipLayout, stream_zip, walk; import zipstream_adapter.cli\n"
        "b''.join(stream_zip([('a', b'')])); ZipLayout([('a', b''), ('b', lambda: b'')][:1]).etag\n"
        "outsiders = ('obstore', 'botocore', 'urllib', 'http', 'ssl')\n"
        "print(*[name for name in sys.modules if name.partition('.')[0] in outsiders])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=200)
    assert set(done.stdout.split()) <= {"urllib", "urllib.parse"}
