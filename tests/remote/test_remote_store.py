"""URLs to stores: what they name, how errors show them, and which are refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import module
from tests.support.remote_archives import archive_of, noise
from zipstream_adapter.errors import (
    OptionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SourceChangedError,
)
from zipstream_adapter.remote import open_remote
from zipstream_adapter.remote.stores import READING, map_error, object_name, quoted_url, redact_url, store_of

obstore: Any = module("obstore")
KEYS: dict[str, Any] = {"access_key_id": "id", "secret_access_key": "secret"}


@pytest.mark.parametrize(
    ("url", "kind", "path"),
    [
        ("s3://bucket/key", "S3Store", "key"),
        ("S3://bucket/dir/a b%20ü#?.zip", "S3Store", "dir/a b%20ü#?.zip"),
        ("gs://bucket/dir/key", "GCSStore", "dir/key"),
        ("az://container/dir/key", "AzureStore", "dir/key"),
        ("http://host/dir/a.zip", "HTTPStore", ""),
        ("https://host:8443/dir/a.zip?sig=1", "HTTPStore", ""),
    ],
)
def test_what_a_url_names(url: str, kind: str, path: str) -> None:
    options = {"az": {"account_name": "account"}, "s3": KEYS}.get(url[:2].lower(), {})
    store, found = store_of(url, **options)
    assert type(store).__name__ == kind
    assert found == path


def test_a_file(tmp_path: Path) -> None:
    store, path = store_of((tmp_path / "a b%20ü#?.zip").as_uri())
    store.put(path, b"data")
    assert (tmp_path / "a b%20ü#?.zip").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("a.zip", "has an unknown scheme: use one of s3://, gs://, az://, http://, https://, file://"),
        ("C:\\a.zip", "open a local file with zipfile.ZipFile(path)"),
        ("ftp://host/a.zip", "has an unknown scheme"),
        ("s3:bucket/key", "has an unknown scheme"),
        ("s3://bucket", "names a bucket but no object: add the key"),
        ("s3://bucket/", "names a bucket but no object: add the key"),
        ("s3:///key", "names no bucket"),
        ("http:///key", "names no host"),
        ("http://[::1/key", "is not a URL"),
        ("http://host:99999/", "is not a URL: Port out of range"),
        ("s3://bucket//key", "obstore does not accept this key"),
        ("s3://bucket/a//b", "obstore does not accept this key"),
        ("s3://bucket/a/../b", "obstore does not accept this key"),
        ("s3://bucket/a/", "obstore does not accept this key"),
        ("s3://id:secret@bucket/key", "credentials are not allowed in the URL"),
        ("file://host/a.zip", "must not have a host"),
        ("file:///tmp/", "names a directory but no file: add the file name"),
        (b"s3://bucket/key", "give a URL"),
        (Path("a.zip"), "give a URL"),
    ],
)
def test_urls_that_are_refused(url: Any, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        store_of(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("s3://bucket/key", {"nothing": 1}, "Configuration key: 'nothing'"),
        ("http://host/a", {"region": "here"}, "unexpected keyword argument 'region'"),
        ("http://host/a", {"client_options": {"nothing": 1}}, "Invalid key: nothing"),
        ("http://ho st/a", {}, "rejects the options"),
    ],
)
def test_options_that_are_refused(url: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        store_of(url, **options)
    assert said in str(caught.value)
    assert quoted_url(url) in str(caught.value)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RemoteNotFoundError, match="there is no directory"):
        store_of((tmp_path / "nothing" / "a.zip").as_uri())


def test_no_account_is_a_matter_of_credentials() -> None:
    with pytest.raises(RemotePermissionError, match="no credentials found"):
        store_of("az://container/key")


def test_client_options_are_taken_from_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROXY_URL", "http://proxy")
    monkeypatch.setenv("AWS_CONNECT_TIMEOUT", "3s")
    store, _ = store_of("s3://b/k", allow_http=True, client_options={"connect_timeout": "2s"}, **KEYS)
    found = {**READING, "proxy_url": "http://proxy", "connect_timeout": "2s", "allow_http": "true"}
    assert store.client_options == found
    assert pickle.loads(pickle.dumps(store)).client_options == found


@pytest.mark.parametrize(
    ("url", "visible"),
    [
        ("https://user:secret@host:1/dir/a.zip?secret#secret", "https://host:1/dir/a.zip"),
        ("https://host?secret", "https://host"),
        ("s3://id:secret@bucket/dir/a?b#c", "s3://bucket/dir/a?b#c"),
        ("user:secret@host/a?secret", "host/a"),
        ("ftp://user:secret@host/a", "ftp://host/a"),
    ],
)
def test_what_is_shown_of_a_url(url: str, visible: str) -> None:
    assert redact_url(url) == visible
    assert quoted_url(url) == repr(visible)
    assert "secret" not in quoted_url(url)


def test_what_is_shown_is_not_endless() -> None:
    assert len(quoted_url("s3://bucket/" + "k" * 10_000)) < 400
    assert object_name(obstore.store.MemoryStore(), "dir/a") == "'dir/a' in MemoryStore"


def test_what_is_no_error_of_obstores_stays_as_it_is() -> None:
    for error in (KeyError("mine"), FileNotFoundError("mine"), ValueError("mine"), OSError("mine")):
        assert map_error(error, "here") is error


def test_what_nobody_knows_is_said_without_any_url() -> None:
    error = obstore.exceptions.GenericError("Generic error at https://host/?secret: it broke\n\nDebug source: secret")
    made = map_error(error, "'here'")
    assert type(made) is RemoteError
    assert str(made) == "'here': Generic error at  it broke"


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    (tmp_path / "obstore.py").write_text("raise ImportError('not here')")
    code = (
        "from zipstream_adapter.remote import open_remote\n"
        "try:\n    open_remote('s3://bucket/key')\n"
        "except ImportError as exc:\n    print(exc)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    assert "install the extra 's3' (pip install 'zipstream-adapter[s3]')" in done.stdout


def test_a_file_by_its_url(tmp_path: Path) -> None:
    path = tmp_path / "a b%20ü#?.zip"
    path.write_bytes(archive_of((300_000, 100)))
    with open_remote(path.as_uri()) as archive:
        assert archive.read("0.bin") == noise(300_000)
        path.write_bytes(archive_of((300_001, 100)))
        with pytest.raises(SourceChangedError):
            archive.read("0.bin")


def test_a_store_of_the_callers(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive_of((300_000, 100)))
    with open_remote("a.zip", store=obstore.store.LocalStore(prefix=tmp_path)) as archive:
        assert archive.read("0.bin") == noise(300_000)
    with pytest.raises(RemoteNotFoundError, match=r"'b\.zip' in LocalStore does not exist"):
        open_remote("b.zip", store=obstore.store.LocalStore(prefix=tmp_path))
    store = obstore.store.MemoryStore()
    store.put("dir/a.zip", archive_of((5,)))
    with open_remote("dir/a.zip", store=store) as archive:
        assert archive.read("0.bin") == noise(5)
    with pytest.raises(OptionError, match="region"):
        open_remote("a.zip", store=store, region="here")
    with pytest.raises(OptionError, match="obstore does not accept this key"):
        open_remote("a//b.zip", store=store)
