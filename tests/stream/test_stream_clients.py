"""Streams sent by HTTP clients and by the clients of object stores: whole, with their length, and never twice."""

from __future__ import annotations

import http.client
import io
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support import buckets
from tests.support.loops import module, run
from tests.support.oracles import members
from tests.support.sweeps import pairwise
from tests.support.uploads import PART, Receiver, receiving
from zipstream_adapter import (
    AsyncZipStream,
    Entry,
    StreamingZipFile,
    StreamStateError,
    ZipLayout,
    ZipStream,
    async_stream_zip,
    stream_zip,
)

# More than is on its way between two sockets: a server that answers early is heard before all of it was sent.
BLOCK, BLOCKS = bytes(range(256)) * 256, 256
DATA = BLOCK * BLOCKS


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def known() -> ZipStream:
    return stream_zip([("a.bin", DATA)])


def unknown() -> ZipStream:
    return stream_zip(iter([("a.bin", (BLOCK for _ in range(BLOCKS)))]))


KINDS = pytest.mark.parametrize("make", [known, unknown])
Send = Callable[[str, ZipStream], int]


def by_requests(url: str, stream: ZipStream) -> int:
    return int(module("requests").put(url, data=stream, timeout=60).status_code)


def by_requests_with_retries(url: str, stream: ZipStream) -> int:
    session = module("requests").Session()
    session.mount("http://", module("requests.adapters").HTTPAdapter(max_retries=_retries()))
    with session:
        return int(session.put(url, data=stream, timeout=60).status_code)


def by_urllib3(url: str, stream: ZipStream) -> int:
    """urllib3 itself follows a redirect without rewinding what was read already: only a Content-Length tells."""
    fields = {} if stream.size is None else {"Content-Length": str(stream.size)}
    redirect = stream.size is not None
    # After a redirect it waits in vain: the server waits for a body of that length.
    timeout = 10 if "moved" in url else 60
    with module("urllib3").PoolManager(retries=_retries(), timeout=timeout) as pool:
        return int(pool.request("PUT", url, body=stream, headers=fields, redirect=redirect).status)


def _retries() -> Any:
    return module("urllib3").Retry(3, backoff_factor=0, status_forcelist=[503], allowed_methods=None)


def by_httpx(url: str, stream: ZipStream) -> int:
    """httpx reads what has a read() again after a redirect; a generator it refuses to begin a second time."""
    fields = {} if stream.size is None else {"Content-Length": str(stream.size)}
    chunks = (chunk for chunk in stream)
    sent = module("httpx").put(url, content=chunks, headers=fields, follow_redirects=True, timeout=60)
    return int(sent.status_code)


def by_http_client(url: str, stream: ZipStream) -> int:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.netloc, timeout=60)
    try:
        fields = {} if stream.size is None else {"Content-Length": str(stream.size)}
        connection.request("PUT", place.path, body=stream, headers=fields)
        return connection.getresponse().status
    finally:
        connection.close()


def by_urllib(url: str, stream: ZipStream) -> int:
    fields = {} if stream.size is None else {"Content-Length": str(stream.size)}
    request = urllib.request.Request(url, data=stream, headers=fields, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        exc.close()
        raise


CLIENTS = [by_requests, by_requests_with_retries, by_urllib3, by_httpx, by_http_client, by_urllib]


@pairwise(send=CLIENTS, make=[known, unknown])
def test_all_of_it_is_sent_and_its_length_where_it_is_known(
    server: Receiver, send: Send, make: Callable[[], ZipStream]
) -> None:
    stream = make()
    size = stream.size
    assert send(server.url + "plain", stream) == 200
    (upload,) = server.uploads
    assert upload.whole
    assert members(upload.body) == {"a.bin": DATA}
    assert upload.length == (None if size is None else str(len(upload.body)))


@pairwise(send=CLIENTS, answer=["busy", "moved", "busy-early", "moved-early"], make=[known, unknown])
def test_what_cannot_be_sent_again_is_not_sent_again(
    server: Receiver, send: Send, answer: str, make: Callable[[], ZipStream]
) -> None:
    """Whoever retries, or follows a redirect, raises. Nobody is told 200 about an empty or a cut archive."""
    with make() as stream:
        try:
            status = send(server.url + answer, stream)
        except Exception as exc:
            assert not isinstance(exc, AssertionError)
        else:
            assert status in (307, 503)
    assert not [upload for upload in server.uploads[1:] if upload.whole]


def test_requests_sends_what_is_left_of_one_that_was_begun(server: Receiver) -> None:
    """With the length of that."""
    stream = known()
    first = stream.read(PART)
    assert by_requests(server.url + "plain", stream) == 200
    (upload,) = server.uploads
    assert upload.length == str(len(upload.body))
    assert members(first + upload.body) == {"a.bin": DATA}


@KINDS
def test_one_that_was_read_to_its_end_is_not_sent(server: Receiver, make: Callable[[], ZipStream]) -> None:
    stream = make()
    stream.read()
    with pytest.raises(StreamStateError, match="already read to its end"):
        by_httpx(server.url + "plain", stream)
    assert server.uploads == []


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(BLOCKS):
        yield BLOCK


async def by_aiohttp(url: str, stream: AsyncZipStream) -> int:
    async with module("aiohttp").ClientSession() as session, session.put(url, data=stream) as answer:
        return int(answer.status)


async def by_asynchronous_httpx(url: str, stream: AsyncZipStream) -> int:
    async with module("httpx").AsyncClient(follow_redirects=True, timeout=60) as client:
        return int((await client.put(url, content=(chunk async for chunk in stream))).status_code)


@pytest.mark.parametrize("send", [by_aiohttp, by_asynchronous_httpx], ids=lambda send: send.__name__)
@pytest.mark.parametrize("answer", ["plain", "busy", "moved", "moved-early"])
def test_asynchronous_streams(server: Receiver, send: Callable[..., Any], answer: str) -> None:
    async def main() -> int:
        async with async_stream_zip([("a.bin", chunks())]) as stream:
            return int(await send(server.url + answer, stream))

    try:
        status = run(main())
    except Exception as exc:
        assert answer.startswith("moved") and not isinstance(exc, AssertionError)
    else:
        assert status == {"plain": 200, "busy": 503}[answer]
        assert members(server.uploads[0].body) == {"a.bin": DATA}
    assert len([upload for upload in server.uploads if upload.whole]) == (0 if answer == "moved-early" else 1)


# Object stores.


@pytest.fixture
def bucket() -> Iterator[buckets.Bucket]:
    with buckets.serving() as running:
        yield running


@KINDS
def test_boto3(bucket: buckets.Bucket, make: Callable[[], ZipStream]) -> None:
    """upload_fileobj reads once. put_object reads twice over plain HTTP, for a checksum: it needs a layout's file."""
    client = bucket.client()
    client.upload_fileobj(make(), buckets.BUCKET, "a.zip")
    assert members(client.get_object(Bucket=buckets.BUCKET, Key="a.zip")["Body"].read()) == {"a.bin": DATA}
    with make() as stream, pytest.raises(io.UnsupportedOperation, match="cannot be rewound"):
        client.put_object(Bucket=buckets.BUCKET, Key="b.zip", Body=stream)
    assert [each["Key"] for each in client.list_objects_v2(Bucket=buckets.BUCKET)["Contents"]] == ["a.zip"]
    with ZipLayout([Entry("a.bin", DATA)]).open() as file:
        client.put_object(Bucket=buckets.BUCKET, Key="b.zip", Body=file)
    assert members(client.get_object(Bucket=buckets.BUCKET, Key="b.zip")["Body"].read()) == {"a.bin": DATA}


@KINDS
def test_obstore(make: Callable[[], ZipStream]) -> None:
    """It takes what has seek() for a file of a known length, unless it is told to write parts."""
    obstore = buckets.need_obstore()
    store = module("obstore.store").MemoryStore()
    obstore.put(store, "a", make(), use_multipart=True)
    obstore.put(store, "b", (chunk for chunk in make()))

    async def main() -> None:
        await obstore.put_async(store, "c", async_stream_zip([("a.bin", chunks())]))

    run(main())
    for key in "abc":
        assert members(bytes(obstore.get(store, key).bytes())) == {"a.bin": DATA}
    with make() as stream, pytest.raises(OSError, match="cannot be rewound"):
        obstore.put(store, "d", stream)


class Cloud(BaseHTTPRequestHandler):
    """As much of Google Cloud Storage as takes uploads: in one request, and resumable ones in several."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    begun: list[tuple[str, bytearray]]

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if query["uploadType"] == ["resumable"]:
            self.begun.append((module("json").loads(body)["name"], bytearray()))
            self._answer(200, Location=f"http://{self.headers['Host']}/{len(self.begun) - 1}")
        else:
            boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
            about, data = body.split(b"--" + boundary)[1:3]
            name = module("json").loads(about.partition(b"\r\n\r\n")[2])["name"]
            self._put(name, data.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))

    def do_PUT(self) -> None:
        name, data = self.begun[int(self.path.strip("/"))]
        data += self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Range"].rpartition("/")[2] != str(len(data)):
            self._answer(308, Range=f"bytes=0-{len(data) - 1}")
        else:
            self._put(name, bytes(data))

    def _put(self, name: str, data: bytes) -> None:
        self.objects[name] = data
        checksum = module("base64").b64encode(module("google_crc32c").Checksum(data).digest()).decode()
        self._answer(200, module("json").dumps({"name": name, "size": str(len(data)), "crc32c": checksum}).encode())

    def _answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def blob() -> Iterator[tuple[Any, dict[str, bytes]]]:
    """A blob by google-cloud-storage, and what there is in the store behind it."""
    storage = module("google.cloud.storage")
    objects: dict[str, bytes] = {}
    kind = type("Kind", (Cloud,), {"objects": objects, "begun": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as cloud:
        thread = threading.Thread(target=cloud.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        client = storage.Client(
            project="project",
            credentials=module("google.auth.credentials").AnonymousCredentials(),
            client_options={"api_endpoint": f"http://127.0.0.1:{cloud.server_port}"},
        )
        try:
            yield client.bucket("bucket").blob("a.zip", chunk_size=1 << 20), objects
        finally:
            client.close()
            cloud.shutdown()
            thread.join()


@KINDS
def test_google_cloud_storage(blob: tuple[Any, dict[str, bytes]], make: Callable[[], ZipStream]) -> None:
    """upload_from_file asks for tell(), with and without a size."""
    target, objects = blob
    for size in {None, make().size}:
        target.upload_from_file(make(), size=size)
        assert members(objects.pop("a.zip")) == {"a.bin": DATA}
    with make() as stream, pytest.raises(io.UnsupportedOperation, match="cannot be rewound"):
        target.upload_from_file(stream, rewind=True)
    assert objects == {}


def test_google_cloud_storages_writer(blob: tuple[Any, dict[str, bytes]]) -> None:
    """It cannot be flushed, only closed."""
    target, objects = blob
    with target.open("wb") as file, StreamingZipFile(file) as archive:
        archive.writestr("a.bin", DATA)
    assert members(objects["a.zip"]) == {"a.bin": DATA}


@pytest.mark.parametrize("more", [0, 1])
def test_google_cloud_storage_where_the_last_part_is_full(blob: tuple[Any, dict[str, bytes]], more: int) -> None:
    target, objects = blob
    frame = stream_zip([("a.bin", b"x" * 1000)]).size
    assert frame is not None
    data = bytes((2 << 20) - (frame - 1000) + more)
    target.upload_from_file(stream_zip(iter([Entry("a.bin", data, size=len(data))])))
    archive = objects["a.zip"]
    assert members(archive) == {"a.bin": data}
