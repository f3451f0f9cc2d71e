"""Archives in S3, as moto's server has it: a process of its own, spoken to by obstore, filled by boto3."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import module
from tests.support.remote_archives import MIB, archive_of, members_of, noise
from tests.support.remote_servers import s3_environment, s3_server, serving
from zipstream_adapter import Entry, stream_zip
from zipstream_adapter.errors import RemoteError, RemoteNotFoundError, RemotePermissionError, SourceChangedError
from zipstream_adapter.remote import member_stream, open_remote, open_remote_async

stores: Any = module("obstore.store")
boto3: Any = module("boto3")

SIZES = (11 * MIB, 3 * MIB, 300)
OPTIONS: dict[str, Any] = {"access_key_id": "testing", "secret_access_key": "secret", "allow_http": True}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with s3_server(tmp_path_factory.mktemp("moto")) as server:
        client = _client(server.port)
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="dir/a b%20ü#?.zip", Body=archive_of(SIZES))
        client.put_object(Bucket="bucket", Key="texts.zip", Body=archive_of((3 * MIB, 500), zipfile.ZIP_DEFLATED))
        yield server.port


def _client(port: int) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def endpoint(port: int) -> dict[str, Any]:
    return {"endpoint": f"http://127.0.0.1:{port}", **OPTIONS}


@pytest.mark.parametrize("window", [1, 4])
def test_members_of_an_object(port: int, window: int) -> None:
    with open_remote("s3://bucket/dir/a b%20ü#?.zip", window=window, **endpoint(port)) as archive:
        assert archive.filename == "s3://bucket/dir/a b%20ü#?.zip"
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"{number}.bin": noise(size, number) for number, size in enumerate(SIZES)
        }
        assert archive.testzip() is None


def test_credentials_and_endpoint_from_the_environment(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in s3_environment(port).items():
        monkeypatch.setenv(key, value)
    with open_remote("s3://bucket/texts.zip") as archive:
        assert archive.read("1.bin") == members_of(archive_of((3 * MIB, 500), zipfile.ZIP_DEFLATED))["1.bin"]


def test_a_store_of_the_callers(port: int) -> None:
    store = stores.S3Store("bucket", prefix="dir", **endpoint(port))
    with open_remote("a b%20ü#?.zip", store=store) as archive:
        assert archive.read("2.bin") == noise(SIZES[2], 2)


async def test_a_member_on_an_event_loop_and_a_copy_of_another(port: int) -> None:
    archive = await open_remote_async("s3://bucket/texts.zip", **endpoint(port))
    members = members_of(archive_of((3 * MIB, 500), zipfile.ZIP_DEFLATED))
    assert b"".join([chunk async for chunk in member_stream(archive, "0.bin")]) == members["0.bin"]
    new = b"".join(stream_zip([Entry.copy(archive, "0.bin", "one")]))
    assert members_of(new) == {"one": members["0.bin"]}
    archive.close()
    at_once = member_stream("s3://bucket/texts.zip", "1.bin", **endpoint(port))
    assert b"".join([chunk async for chunk in at_once]) == members["1.bin"]


def test_boto3_under_a_fetch_function(port: int) -> None:
    client, place = _client(port), {"Bucket": "bucket", "Key": "dir/a b%20ü#?.zip"}
    head = client.head_object(**place)

    def fetch(start: int, stop: int) -> bytes:
        got = client.get_object(**place, Range=f"bytes={start}-{stop - 1}", IfMatch=head["ETag"])
        data: bytes = got["Body"].read()
        return data

    with open_remote(fetch, size=head["ContentLength"]) as archive:
        assert archive.read("0.bin") == noise(SIZES[0], 0)


def test_what_is_not_there(port: int) -> None:
    with pytest.raises(RemoteNotFoundError, match=r"'s3://bucket/none\.zip' does not exist: 404"):
        open_remote("s3://bucket/none.zip", **endpoint(port))
    with pytest.raises(RemoteNotFoundError, match=r"'s3://nobody/none\.zip' does not exist"):
        open_remote("s3://nobody/none.zip", **endpoint(port))


def test_an_object_that_is_replaced(port: int) -> None:
    client = _client(port)
    client.put_object(Bucket="bucket", Key="changing.zip", Body=archive_of(SIZES))
    with open_remote("s3://bucket/changing.zip", **endpoint(port)) as archive:
        assert archive.read("2.bin") == noise(SIZES[2], 2)
        client.put_object(Bucket="bucket", Key="changing.zip", Body=archive_of(tuple(reversed(SIZES))))
        with pytest.raises(SourceChangedError, match=r"'s3://bucket/changing\.zip' has changed"):
            archive.read("1.bin")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (301, b"<Error><Code>PermanentRedirect</Code></Error>", "the bucket is in another region: give region="),
        (
            400,
            b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting "
            b"'eu-west-1'</Message><Region>eu-west-1</Region></Error>",
            "the bucket is in another region, 'eu-west-1': give region='eu-west-1'",
        ),
    ],
)
def test_a_bucket_in_another_region(status: int, body: bytes, said: str) -> None:
    """As S3 itself answers; moto has no regions."""
    with serving() as server:
        server.status, server.body = status, body
        with pytest.raises(RemoteError, match="'s3://bucket/key'") as caught:
            open_remote("s3://bucket/key", endpoint=server.url.rstrip("/"), **OPTIONS)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_access_that_is_refused() -> None:
    with serving() as server:
        server.status = 403
        server.body = (
            b"<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match"
            b"</Message><AWSAccessKeyId>secret</AWSAccessKeyId><StringToSign>secret</StringToSign></Error>"
        )
        with pytest.raises(RemotePermissionError, match="403 Forbidden: SignatureDoesNotMatch: The request") as caught:
            open_remote("s3://bucket/key", endpoint=server.url.rstrip("/"), **OPTIONS)
    assert "secret" not in str(caught.value)


def test_credentials_that_have_expired() -> None:
    with serving() as server:
        server.status = 400
        server.body = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
        with pytest.raises(RemotePermissionError, match="access denied: 400 Bad Request: ExpiredToken"):
            open_remote("s3://bucket/key", endpoint=server.url.rstrip("/"), **OPTIONS)


def test_the_command_line(port: int, tmp_path: Path) -> None:
    import os

    environment = {**os.environ, **s3_environment(port)}

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "zipstream_adapter", *arguments]
        return subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path, timeout=200, check=False)

    listed = run("list", "s3://bucket/dir/a b%20ü#?.zip")
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.decode().splitlines()] == [str(size) for size in SIZES]
    data = run("cat", "s3://bucket/dir/a b%20ü#?.zip", "0.bin", "2.bin")
    assert data.stdout == noise(SIZES[0], 0) + noise(SIZES[2], 2)
    missing = run("cat", "s3://bucket/none.zip", "a")
    assert missing.returncode == 1
    assert missing.stderr.decode().startswith("zipstream-adapter: 's3://bucket/none.zip' does not exist: 404")
    assert missing.stdout == b""
