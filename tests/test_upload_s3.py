"""S3's multipart upload by signed URLs; botocore signs the same."""

from __future__ import annotations

import importlib
import pickle
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.buckets import BUCKET, KEYS, PART, Bucket, need_obstore, refuse, serving
from zipstream_adapter import (
    OptionError,
    RemoteConnectionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
)
from zipstream_adapter.http_send import Client, send
from zipstream_adapter.upload_s3 import Multipart, Signer, put_part, stored_crc32

obstore = need_obstore()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


def signed_by_botocore(method: str, url: str, headers: dict[str, str], token: str | None) -> str:
    """The signature that botocore makes of the same request at the same time."""
    botocore: Any = importlib.import_module("botocore.auth")
    request_of: Any = importlib.import_module("botocore.awsrequest").AWSRequest
    credentials = importlib.import_module("botocore.credentials").Credentials("key/id", "se+cret/", token)
    asked = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    kept = {name: value for name, value in asked.items() if not name.startswith("X-Amz-")}
    plain = urlsplit(url)._replace(query="").geturl()
    auth = botocore.S3SigV4QueryAuth(credentials, "s3", "eu-west-3", expires=int(asked["X-Amz-Expires"]))
    request = request_of(method, plain, headers={**headers}, params=kept)
    request.context["timestamp"] = asked["X-Amz-Date"]
    url_of = auth._modify_request_before_signing(request)
    assert url_of is None
    canonical = auth.canonical_request(request)
    return str(auth.signature(auth.string_to_sign(request, canonical), request))


@pytest.mark.parametrize("token", [None, "session/token+=="])
@pytest.mark.parametrize("path", ["a.zip", "some dir/ü?&+~(1)'*!.zip", "a%20b=c/d"])
@pytest.mark.parametrize(
    ("method", "query", "headers"),
    [
        ("PUT", {"partNumber": "7", "uploadId": "a/b+c==.d~e f"}, {}),
        ("POST", {"uploads": ""}, {}),
        ("HEAD", {}, {"x-amz-checksum-mode": "ENABLED"}),
    ],
)
@pytest.mark.parametrize("virtual", [False, True])
def test_botocore_signs_the_same(
    method: str, query: dict[str, str], headers: dict[str, str], path: str, token: str | None, virtual: bool
) -> None:
    keys: dict[str, Any] = {"access_key_id": "key/id", "secret_access_key": "se+cret/", "region": "eu-west-3"}
    if token:
        keys["session_token"] = token
    store = obstore.store.S3Store(BUCKET, virtual_hosted_style_request=virtual, **keys)
    url = Signer(store, path).url(method, query, headers)
    ours = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    assert ours["X-Amz-Signature"] == signed_by_botocore(method, url, headers, token)
    assert ours.get("X-Amz-Security-Token") == token
    assert (urlsplit(url).hostname or "").startswith("bucket." if virtual else "s3.eu-west-3.")


def test_an_upload_in_parts(bucket: Bucket) -> None:
    upload = Multipart(bucket.store(prefix="sub"), "a b.zip")
    etags = [put_part(pickle.loads(pickle.dumps(upload.target(n))), [b"x" * PART, bytes([n])]) for n in (1, 2)]
    assert bucket.unfinished() == ["sub/a b.zip"]
    etag, _ = upload.complete(etags)
    assert bucket.read("sub/a b.zip") == (b"x" * PART + b"\1") + (b"x" * PART + b"\2")
    found = bucket.client().head_object(Bucket=BUCKET, Key="sub/a b.zip")
    assert (found["ETag"], found["ContentType"]) == (etag, "application/zip")
    assert bucket.unfinished() == []


def test_an_answer_that_is_lost_is_no_failure(bucket: Bucket) -> None:
    upload = Multipart(bucket.store(), "a.zip")
    etags = [put_part(upload.target(1), [b"data"])]
    lost = iter([-500])
    bucket.rules.append(lambda method, path, query: next(lost, None) if method == "POST" else None)
    etag, _ = upload.complete(etags)
    assert bucket.read("a.zip") == b"data"
    assert bucket.client().head_object(Bucket=BUCKET, Key="a.zip")["ETag"] == etag


def test_another_object_is_not_taken_for_what_was_lost(bucket: Bucket) -> None:
    upload = Multipart(bucket.store(), "a.zip")
    etags = [put_part(upload.target(1), [b"data"])]
    upload.abort(Exception())
    bucket.client().put_object(Bucket=BUCKET, Key="a.zip", Body=b"another")
    with pytest.raises(RemoteError):
        upload.complete(etags)


def test_an_upload_that_has_parts_again_is_aborted_again(bucket: Bucket) -> None:
    upload = Multipart(bucket.store(), "a.zip")
    bucket.rules.append(lambda method, path, query: 200 if method == "GET" and "uploadId" in query else None)
    failure = Exception()
    upload.abort(failure)
    assert [method for method, _, _ in bucket.asked].count("DELETE") == 5
    assert "could not be aborted, so it is left: parts of it keep arriving" in failure.__notes__[0]


def test_who_may_not_list_parts_may_abort(bucket: Bucket) -> None:
    upload = Multipart(bucket.store(), "a.zip")
    bucket.rules.append(refuse(403, "GET", "uploadId"))
    failure = Exception()
    upload.abort(failure)
    assert not hasattr(failure, "__notes__") and bucket.unfinished() == []


def test_a_part_brings_its_md5_for_the_store_to_check(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = Multipart(bucket.store(), "a.zip")
    seen: dict[str, str] = {}

    def noting(method: str, url: str, body: Any, headers: dict[str, str], *rest: Any, **more: Any) -> Any:
        seen.update(headers)
        return send(method, url, body, headers, *rest, **more)

    monkeypatch.setattr("zipstream_adapter.upload_s3.send", noting)
    put_part(upload.target(1), [b"da", b"ta"])
    assert seen["content-md5"] == "jXd/OF09/siBXSD3SWAm3A=="  # printf data | openssl md5 -binary | base64


def test_what_is_said_in_the_end_counts(bucket: Bucket) -> None:
    """S3 answers 200 before it knows, and 'InternalError' after it."""
    upload = Multipart(bucket.store(), "a.zip")
    put_part(upload.target(1), [b"data"])
    bucket.rules.append(lambda method, path, query: 200 if method == "POST" else None)
    with pytest.raises(RemoteError, match="could not be made one object: Injected: a fault of the test"):
        upload.complete(['"etag"'])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server_side_encryption": "aws:kms"}, "server_side_encryption='aws:kms' cannot be had part by part"),
        ({"request_payer": True}, "request_payer"),
        ({"client_options": {"allow_http": True, "proxy_excludes": "x"}}, "client option 'proxy_excludes'"),
    ],
)
def test_what_signed_urls_cannot_do_is_refused(options: dict[str, Any], message: str) -> None:
    known: dict[str, Any] = {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1", **options}
    store = obstore.store.S3Store(BUCKET, endpoint="http://127.0.0.1:1", **known)
    with pytest.raises(OptionError, match=message):
        Signer(store, "a.zip")


def test_credentials_come_from_where_the_store_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def provider() -> dict[str, Any]:
        return {"access_key_id": "given", "secret_access_key": "b", "token": "t", "expires_at": None}

    store = obstore.store.S3Store(BUCKET, region="us-east-1", credential_provider=provider)
    assert "X-Amz-Credential=given%2F" in Signer(store, "a").url("PUT")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-outside")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    store = obstore.store.S3Store(BUCKET, region="us-east-1")
    assert "X-Amz-Credential=from-outside%2F" in Signer(store, "a").url("PUT")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")  # of which the store knows nothing
    with pytest.raises(OptionError, match="Boto3CredentialProvider"):
        Signer(store, "a")


@pytest.mark.parametrize("given", [{"allow_http": True}, {"allow_http": True, "client_options": {"timeout": "60s"}}])
def test_client_options_among_the_others_are_refused(given: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """obstore cannot say then what a store was told."""
    try:
        store = obstore.store.S3Store(BUCKET, endpoint="http://127.0.0.1:9", region="us-east-1", **KEYS, **given)
    except Exception as exc:
        pytest.skip(f"obstore takes no such options: {exc}")
    for _ in range(3):
        with pytest.raises(OptionError, match="give it allow_http, timeout and the like as client_options"):
            Signer(store, "a.zip")
    assert capfd.readouterr().err.count("panicked") <= 1


def test_other_stores_are_refused() -> None:
    with pytest.raises(OptionError, match=r"a.zip' in MemoryStore: only an S3Store"):
        Signer(obstore.store.MemoryStore(), "a.zip")


def test_errors_say_no_secret(bucket: Bucket) -> None:
    upload = Multipart(bucket.store(), "a.zip")
    target = upload.target(1)
    for status, error in ((403, RemotePermissionError), (404, RemoteNotFoundError), (400, RemoteError)):
        bucket.rules[:] = [refuse(status, "PUT", "partNumber")]
        with pytest.raises(error, match=rf"a.zip' in S3Store.*{status}.*Injected") as caught:
            put_part(target, [b"data"])
        assert "Signature" not in str(caught.value)
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    unreachable = target._replace(url=target.url.replace(bucket.url, "http://127.0.0.1:9"))
    with pytest.raises(
        RemoteConnectionError, match=r"a.zip' in S3Store: the connection failed .tried 3 times."
    ) as caught:
        put_part(unreachable, [b"data"])
    assert "Signature" not in str(caught.value)


def test_requests_are_sent_again_for_a_while(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    bucket.rules.append(refuse(503, "PUT", "partNumber"))
    target = Multipart(bucket.store(), "a.zip").target(1)
    with pytest.raises(RemoteError, match="503"):
        put_part(target._replace(client=Client(tries=5)), [b"data"])
    assert len(waited) == 4
    assert all(0.1 * 2**n <= seconds <= 0.2 * 2**n for n, seconds in enumerate(waited))


def test_checksums_that_a_store_knows(bucket: Bucket) -> None:
    client = bucket.client()
    client.put_object(Bucket=BUCKET, Key="crc", Body=b"data", ChecksumAlgorithm="CRC32")
    client.put_object(Bucket=BUCKET, Key="sha", Body=b"data", ChecksumAlgorithm="SHA256")
    store = bucket.store()
    etag = client.head_object(Bucket=BUCKET, Key="crc")["ETag"]
    assert stored_crc32(Signer(store, "crc")) == (etag, 0xADF3F363)
    assert stored_crc32(Signer(store, "sha")) == (etag, None)
