"""S3's multipart upload by signed URLs; obstore signs the same."""

from __future__ import annotations

import os
import pickle
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.support.buckets import BUCKET, KEYS, PART, Bucket, need_obstore, refuse, serving
from zipstream_adapter import (
    OptionError,
    RemoteConnectionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
)
from zipstream_adapter.remote import s3_client
from zipstream_adapter.remote.s3_client import URL_LIFETIME, S3Object, client_of, stored_crc32
from zipstream_adapter.remote.uploading.multipart import open_multipart
from zipstream_adapter.remote.uploading.s3_multipart import S3Multipart

obstore = need_obstore()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


@pytest.mark.parametrize("token", [None, "session/token+=="])
@pytest.mark.parametrize("path", ["a.zip", "some dir/ü?&+~(1)'*!.zip", "a%20b=c/d", "bucket/a"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"virtual_hosted_style_request": True},
        {"prefix": "some prefix/ü"},
        {"endpoint": "http://127.0.0.1:9"},
        {"endpoint": "http://127.0.0.1:9/base/bucket"},
        {"endpoint": "https://bucket.example.com", "virtual_hosted_style_request": True},
    ],
)
def test_obstore_signs_the_same(options: dict[str, Any], path: str, token: str | None) -> None:
    """Address, region, credentials and time of life are in what is signed."""
    keys: dict[str, Any] = {"access_key_id": "key/id", "secret_access_key": "se+cret/", "region": "eu-west-3"}
    if token:
        keys["session_token"] = token
    store = obstore.store.S3Store(BUCKET, client_options={"allow_http": True}, **keys, **options)
    for _ in range(20):
        theirs = obstore.sign(store, "GET", path, URL_LIFETIME)
        ours = S3Object(store, path).signed_url("get_object")
        if parse_qsl(urlsplit(theirs).query)[2] == parse_qsl(urlsplit(ours).query)[2]:  # in the same second
            break
    assert urlsplit(ours).netloc == urlsplit(theirs).netloc
    assert dict(parse_qsl(urlsplit(ours).query)) == dict(parse_qsl(urlsplit(theirs).query))


def test_the_signature_of_a_part_is_that_of_the_part(bucket: Bucket) -> None:
    """A worker's URL names upload and part, is valid for 12 hours, and comes without the secret."""
    upload = S3Multipart(bucket.store(), "a.zip")
    target = upload.target(7)
    asked = dict(parse_qsl(urlsplit(target.url).query))
    assert (asked["partNumber"], asked["X-Amz-Expires"], asked["X-Amz-SignedHeaders"]) == ("7", "43200", "host")
    assert (target.settings.key, target.settings.secret, target.settings.token) == (None, None, None)
    target.put(b"data")
    sent = dict(parse_qsl(bucket.asked[-1][2]))
    assert sent == asked
    assert "HTTP_AUTHORIZATION" not in bucket.headers[-1]


def test_nothing_is_taken_from_the_files_of_other_tools(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile other]\nregion = eu-west-3\nrole_arn = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere")
    for name in ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"):  # botocore takes no endpoint with these
        monkeypatch.setenv(name, "true")
    s3_client._session.cache_clear()
    bucket.rules.append(refuse(503, "PUT", "partNumber"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(RemoteError, match="503"):
        S3Multipart(bucket.store(), "other settings.zip").target(1).put(b"data")
    assert bucket.parts_asked() == [1, 1, 1]


def test_a_client_is_made_once_for_all_objects_of_a_store(bucket: Bucket) -> None:
    store = bucket.store()
    assert KEYS["secret_access_key"] not in repr(S3Object(store, "a").settings)
    assert client_of(S3Object(store, "a").settings) is client_of(S3Object(store, "b").settings)
    workers = S3Multipart(store, "a.zip").target(1).settings
    assert client_of(workers) is client_of(pickle.loads(pickle.dumps(workers)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_uses_no_connection_of_its_parent(bucket: Bucket) -> None:
    store = bucket.store()
    bucket.client().put_object(Bucket=BUCKET, Key="a", Body=b"data")
    settings = S3Object(store, "a").settings
    known = client_of(settings)
    assert stored_crc32(S3Object(store, "a"))[0]
    pid = os.fork()
    if not pid:
        try:
            os._exit(int(client_of(settings) is known))
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_an_upload_in_parts(bucket: Bucket) -> None:
    upload = S3Multipart(bucket.store(prefix="sub"), "a b.zip")
    etags = [pickle.loads(pickle.dumps(upload.target(n))).put(b"x" * PART + bytes([n])) for n in (1, 2)]
    assert bucket.unfinished() == ["sub/a b.zip"]
    etag, _ = upload.complete(etags)
    assert bucket.read("sub/a b.zip") == (b"x" * PART + b"\1") + (b"x" * PART + b"\2")
    found = bucket.client().head_object(Bucket=BUCKET, Key="sub/a b.zip")
    assert (found["ETag"], found["ContentType"]) == (etag, "application/zip")
    assert bucket.unfinished() == []


def test_an_answer_that_is_lost_is_no_failure(bucket: Bucket) -> None:
    upload = S3Multipart(bucket.store(), "a.zip")
    etags = [upload.target(1).put(b"data")]
    lost = iter([-500])
    bucket.rules.append(lambda method, path, query: next(lost, None) if method == "POST" else None)
    etag, _ = upload.complete(etags)
    assert bucket.read("a.zip") == b"data"
    assert bucket.client().head_object(Bucket=BUCKET, Key="a.zip")["ETag"] == etag


def test_another_object_is_not_taken_for_what_was_lost(bucket: Bucket) -> None:
    upload = S3Multipart(bucket.store(), "a.zip")
    etags = [upload.target(1).put(b"data")]
    upload.abort(Exception())
    bucket.client().put_object(Bucket=BUCKET, Key="a.zip", Body=b"another")
    with pytest.raises(RemoteError):
        upload.complete(etags)


def test_an_upload_that_has_parts_again_is_aborted_again(bucket: Bucket) -> None:
    upload = S3Multipart(bucket.store(), "a.zip")
    bucket.rules.append(refuse(204, "DELETE", "uploadId"))
    failure = Exception()
    upload.abort(failure)
    assert [method for method, _, _ in bucket.asked].count("DELETE") == 5
    assert "could not be aborted and remains in the store: parts keep arriving" in failure.__notes__[0]


def test_who_may_not_list_parts_may_abort(bucket: Bucket) -> None:
    upload = S3Multipart(bucket.store(), "a.zip")
    bucket.rules.append(refuse(403, "GET", "uploadId"))
    failure = Exception()
    upload.abort(failure)
    assert not hasattr(failure, "__notes__") and bucket.unfinished() == []


def test_a_part_brings_its_md5_for_the_store_to_check(bucket: Bucket) -> None:
    upload = S3Multipart(bucket.store(), "a.zip")
    upload.target(1).put(b"data")
    assert bucket.headers[-1]["HTTP_CONTENT_MD5"] == "jXd/OF09/siBXSD3SWAm3A=="


def test_what_is_said_in_the_end_counts(bucket: Bucket) -> None:
    """S3 answers 200 before it knows, and 'InternalError' after it."""
    upload = S3Multipart(bucket.store(), "a.zip")
    upload.target(1).put(b"data")
    bucket.rules.append(lambda method, path, query: 200 if method == "POST" else None)
    with pytest.raises(RemoteError, match="could not be made one object: Injected: a fault of the test"):
        upload.complete(['"etag"'])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"server_side_encryption": "aws:kms"},
            "server_side_encryption='aws:kms' is not supported for uploads by parts",
        ),
        ({"request_payer": True}, "request_payer"),
        ({"sse_customer_key_base64": "c2VjcmV0"}, "sse_customer_key_base64=… is not supported"),
        ({"client_options": {"allow_http": True, "proxy_excludes": "x"}}, "client option 'proxy_excludes'"),
    ],
)
def test_what_signed_urls_cannot_do_is_refused(options: dict[str, Any], message: str) -> None:
    known: dict[str, Any] = {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1", **options}
    store = obstore.store.S3Store(BUCKET, endpoint="http://127.0.0.1:1", **known)
    with pytest.raises(OptionError, match=message):
        S3Object(store, "a.zip")


def test_credentials_come_from_where_the_store_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def provider() -> dict[str, Any]:
        return {"access_key_id": "given", "secret_access_key": "b", "token": "t", "expires_at": None}

    store = obstore.store.S3Store(BUCKET, region="us-east-1", credential_provider=provider)
    assert "X-Amz-Credential=given%2F" in S3Object(store, "a").signed_url("get_object")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-outside")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    store = obstore.store.S3Store(BUCKET, region="us-east-1")
    assert "X-Amz-Credential=from-outside%2F" in S3Object(store, "a").signed_url("get_object")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")  # of which the store knows nothing
    with pytest.raises(OptionError, match="Boto3CredentialProvider"):
        S3Object(store, "a")


@pytest.mark.parametrize("given", [{"allow_http": True}, {"allow_http": True, "client_options": {"timeout": "60s"}}])
def test_client_options_among_the_others_are_refused(given: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """obstore cannot say then what a store was told."""
    try:
        store = obstore.store.S3Store(BUCKET, endpoint="http://127.0.0.1:9", region="us-east-1", **KEYS, **given)
    except Exception as exc:
        pytest.skip(f"obstore takes no such options: {exc}")
    for _ in range(3):
        with pytest.raises(OptionError, match="give allow_http, timeout and other client options as client_options"):
            S3Object(store, "a.zip")
    assert capfd.readouterr().err.count("panicked") <= 1


def test_other_stores_are_refused() -> None:
    """The error names the way to Google's buckets."""
    google = obstore.store.GCSStore("bucket", skip_signature=True)
    for store in (obstore.store.MemoryStore(), google):
        with pytest.raises(
            OptionError, match=r"a.zip' in \w+Store: only an S3Store or an AzureStore .*: use upload_zip"
        ) as caught:
            open_multipart(store, "a.zip")
        assert "endpoint='https://storage.googleapis.com', region='auto'" in str(caught.value)


def test_errors_say_no_secret(bucket: Bucket) -> None:
    upload = S3Multipart(bucket.store(), "a.zip")
    target = upload.target(1)
    for status, error in ((403, RemotePermissionError), (404, RemoteNotFoundError), (400, RemoteError)):
        bucket.rules[:] = [refuse(status, "PUT", "partNumber")]
        with pytest.raises(error, match=rf"a.zip' in S3Store.*{status}.*Injected") as caught:
            target.put(b"data")
        assert "Signature" not in str(caught.value)
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    unreachable = target._replace(url=target.url.replace(bucket.url, "http://127.0.0.1:9"))
    with pytest.raises(
        RemoteConnectionError, match=r"a.zip' in S3Store: the connection failed .tried 3 times."
    ) as caught:
        unreachable.put(b"data")
    assert "Signature" not in str(caught.value)


def test_requests_are_sent_again_for_a_while(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    bucket.rules.append(refuse(503, "PUT", "partNumber"))
    target = S3Multipart(bucket.store(), "a.zip").target(1)
    with pytest.raises(RemoteError, match="503"):
        target._replace(settings=target.settings._replace(tries=5)).put(b"data")
    assert len(waited) == 4
    assert all(0 <= seconds <= 2**n for n, seconds in enumerate(waited))


def test_checksums_that_a_store_knows(bucket: Bucket) -> None:
    client = bucket.client()
    client.put_object(Bucket=BUCKET, Key="crc", Body=b"data", ChecksumAlgorithm="CRC32")
    client.put_object(Bucket=BUCKET, Key="sha", Body=b"data", ChecksumAlgorithm="SHA256")
    store = bucket.store()
    etag = client.head_object(Bucket=BUCKET, Key="crc")["ETag"]
    assert stored_crc32(S3Object(store, "crc")) == (etag, 0xADF3F363)
    assert stored_crc32(S3Object(store, "sha")) == (etag, None)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL of a server that begins uploads over TLS, and its certificate, which nobody else has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    home = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command.split(), *names], cwd=home, check=True, capture_output=True, timeout=200)

    class Begins(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = self.headers.get("x-said", "nothing")
            body = (
                f"<InitiateMultipartUploadResult><UploadId>{said}</UploadId></InitiateMultipartUploadResult>".encode()
            )
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Clients that do not trust it go."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "certificate", home / "key")
    with Quiet(("127.0.0.1", 0), Begins) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", (home / "certificate").read_text()
        server.shutdown()
        thread.join(60)


def test_certificates_and_header_fields_are_those_of_the_store(tls: tuple[str, str]) -> None:
    url, certificate = tls

    def begun_with(**client: Any) -> str:
        known: dict[str, Any] = {"region": "us-east-1", "retry_config": {"max_retries": 0}, **KEYS}
        headers = {"default_headers": {"x-said": "given"}}
        store = obstore.store.S3Store(BUCKET, endpoint=url, client_options={**headers, **client}, **known)
        return str(S3Multipart(store, "a.zip")._id)

    with pytest.raises(RemoteConnectionError, match="certificate"):
        begun_with()
    assert begun_with(root_certificate=certificate.encode()) == "given"
    with pytest.warns(match="Unverified HTTPS request"):
        assert begun_with(allow_invalid_certificates=True) == "given"
