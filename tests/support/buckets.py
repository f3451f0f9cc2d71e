"""moto's server as S3, on 127.0.0.1, in this process, with faults on demand; and what is in it, asked by boto3.

Nothing here is needed where the tests run without the extra ``s3``: they skip there.
"""

from __future__ import annotations

import importlib
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from tests.support.loops import module

BUCKET = "bucket"
KEYS = {"access_key_id": "test", "secret_access_key": "secret"}
# A part's smallest size, and so that of two parts.
PART = 5 << 20
_AGENT = "client-of-the-test"

Rule = Callable[[str, str, str], object]


def need_obstore() -> Any:
    """obstore; without it the test is skipped."""
    return module("obstore")


class Bucket:
    """A bucket, empty at first, and what its server was asked.

    Attributes:
        url: of the server.
        asked: (method, path, query) of each request but `client`'s own.
        headers: the header fields of each of these, as WSGI has them.
        answered: of each that the server itself has answered, when it has.
        rules: each is given (method, path, query), and may answer with a status in place of the server, or, negated,
            after it.
        delay: seconds by which it answers what uploads a part later.
        ranges: the Range of each GET of an object, "" where it has none.
        cuts: of the GETs of objects to come, after how many bytes the connection breaks.
        hides_md5: whether the ETag of a part that came without its MD5 is another value, as with AWS KMS.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.url = ""
        self.asked: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, Any]] = []
        self.answered: list[tuple[str, str, str]] = []
        self.rules: list[Rule] = []
        self._client: Any = None
        self.delay = 0.0
        self.ranges: list[str] = []
        self.cuts: list[int] = []
        self.hides_md5 = False

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        query = environ.get("QUERY_STRING", "")
        request = environ["REQUEST_METHOD"], environ["PATH_INFO"], query
        if _AGENT not in environ.get("HTTP_USER_AGENT", ""):
            self.asked.append(request)
            self.headers.append(environ)
        if "partNumber" in query and self.delay:
            time.sleep(self.delay)
        for rule in list(self.rules):
            status = rule(*request)
            if not isinstance(status, int):
                continue
            if status < 0:
                b"".join(self._app(environ, lambda *answer: None))
                return _fault({}, start, -status)
            return _fault(environ, start, status)
        if self.hides_md5 and "partNumber" in query and "HTTP_CONTENT_MD5" not in environ:
            start = _with_other_etag(start)
        body = self._app(environ, start)
        self.answered.append(request)
        if request[0] == "GET" and not query and request in self.asked:
            self.ranges.append(environ.get("HTTP_RANGE", ""))
            if self.cuts:
                return _cut(body, self.cuts.pop(0))
        return body

    def store(self, **options: Any) -> Any:
        """An obstore store of it, which does not try for long."""
        obstore = need_obstore()
        retries = {
            "max_retries": 2,
            "retry_timeout": timedelta(seconds=10),
            "backoff": {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=5), "base": 2},
        }
        known = {"endpoint": self.url, "region": "us-east-1", "client_options": {"allow_http": True}, **KEYS}
        return obstore.store.S3Store(BUCKET, **{**known, "retry_config": retries, **options})

    def client(self) -> Any:
        """boto3, whose requests do not count as asked. It is closed with the server."""
        if self._client is not None:
            return self._client
        config = importlib.import_module("botocore.config")
        self._client = importlib.import_module("boto3").client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEYS["access_key_id"],
            aws_secret_access_key=KEYS["secret_access_key"],
            region_name="us-east-1",
            # Without a checksum, where a test does not ask for one.
            config=config.Config(
                retries={"total_max_attempts": 1}, request_checksum_calculation="when_required", user_agent_extra=_AGENT
            ),
        )
        return self._client

    def objects(self) -> dict[str, int]:
        """The sizes of its objects by their keys."""
        found = self.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {each["Key"]: each["Size"] for each in found}

    def unfinished(self) -> list[str]:
        """The keys of the multipart uploads that were begun, and neither completed nor aborted."""
        return [each["Key"] for each in self.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def read(self, key: str) -> bytes:
        data: bytes = self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data

    def parts_asked(self) -> list[int]:
        """The numbers of the parts that were uploaded, as they came."""
        return [int(found[1]) for _, _, query in self.asked if (found := re.search(r"partNumber=(\d+)", query))]


def _with_other_etag(start: Any) -> Any:
    def begin(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start(status, [(name, f'"{0:032x}"' if name == "ETag" else value) for name, value in headers], *more)

    return begin


def _cut(body: Iterable[bytes], after: int) -> Iterator[bytes]:
    for chunk in body:
        yield chunk[:after]
        after -= len(chunk)
        if after <= 0:
            raise ConnectionAbortedError


def _fault(environ: dict[str, Any], start: Any, status: int) -> list[bytes]:
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (chunk := environ["wsgi.input"].read(min(left, 1 << 16))):
        left -= len(chunk)
    body = b"<Error><Code>Injected</Code><Message>a fault of the test</Message></Error>" if status != 204 else b""
    start(f"{status} {HTTPStatus(status).phrase}", [("Content-Length", str(len(body))), ("Content-Type", "text/xml")])
    return [body]


def refuse(status: int, method: str, query: str) -> Rule:
    """A rule: requests of `method` whose query holds `query` (a pattern) get `status`."""
    return lambda asked, path, given: status if asked == method and re.search(query, given) else None


@contextmanager
def serving() -> Iterator[Bucket]:
    """A server, with nothing in it but a bucket, for as long as the block lasts."""
    need_obstore()
    moto = module("moto.server")
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, type: str, message: str, *arguments: Any) -> None:
            """Nothing: what is dropped on purpose fails here."""

    bucket = Bucket(moto.DomainDispatcherApplication(moto.create_backend_app))
    server = make_server("127.0.0.1", 0, bucket, threaded=True, request_handler=Quiet)
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        bucket.client().create_bucket(Bucket=BUCKET)
        yield bucket
    finally:
        bucket.rules.clear()
        bucket.client().close()
        _forget(bucket)
        server.shutdown()
        thread.join(60)
        server.server_close()


def _forget(bucket: Bucket) -> None:
    """moto keeps all in the process: what is in it is not to be there for the next test."""
    urllib.request.urlopen(f"{bucket.url}/moto-api/reset", data=b"", timeout=10).close()
