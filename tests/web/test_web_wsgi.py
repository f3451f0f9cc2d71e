"""wsgi_app by itself, mounted, and as the standard library's validator wants an application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from tests.support.layouts import BytesLayout, archive
from tests.support.oracles import members
from zipstream_adapter import EntryTypeError, OptionError, ZipStreamError, async_stream_zip, stream_zip
from zipstream_adapter.web import Download, Request, wsgi_app

DATA = archive()


class Closing(Client):
    """A client that closes what it has read, as servers do."""

    def open(self, *arguments: Any, **options: Any) -> Any:
        return super().open(*arguments, buffered=True, **options)


def client(resolve: Callable[[Request], Any], **options: Any) -> Client:
    """A client of an application that keeps to PEP 3333."""
    return Closing(validator(wsgi_app(resolve, **options)))


def test_entries_are_streamed() -> None:
    answer = client(lambda request: [("a.txt", b"data" * 100)], compression="deflate").get("/x/photos.zip")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="photos.zip"'
    assert members(answer.data) == {"a.txt": b"data" * 100}


def test_a_generator_as_resolve() -> None:
    def resolve(request: Request) -> Iterator[Any]:
        yield "path.txt", request.path.encode()

    assert members(client(resolve).get("/a/b").data) == {"path.txt": b"/a/b"}


def test_a_layout_has_ranges() -> None:
    app = client(lambda request: BytesLayout(DATA))
    answer = app.get("/", headers={"Range": "bytes=100-199", "If-Range": '"tag"'})
    assert (answer.status_code, answer.data) == (206, DATA[100:200])
    answer = app.get("/", headers={"If-None-Match": '"tag"'})
    assert (answer.status_code, answer.data) == (304, b"")
    head = app.head("/")
    assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", str(len(DATA)))
    assert head.headers["Accept-Ranges"] == "bytes"


def test_a_stream_of_ones_own() -> None:
    answer = client(lambda request: stream_zip([("a", b"a")])).get("/")
    assert members(answer.data) == {"a": b"a"}


def test_a_download_has_a_name_and_fields() -> None:
    found = Download(BytesLayout(DATA), "Grüße.zip", {"Vary": "Cookie"})
    answer = client(lambda request: found).get("/")
    assert answer.headers["Content-Disposition"].endswith("filename*=UTF-8''Gr%C3%BC%C3%9Fe.zip")
    assert answer.headers["Vary"] == "Cookie"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/my photos (2).zip", "my photos (2).zip"),
        ("/GRÜSSE.ZIP", "GRUSSE.ZIP"),
        ("/", "download.zip"),
        ("/photos", "download.zip"),
        ("/.zip", "download.zip"),
        ("/a%0D%0AX:%20y.zip", "download.zip"),
        ("/a\\b.zip", "download.zip"),
        ("/" + "x" * 3000 + ".zip", "download.zip"),
        ("/%ff.zip", "download.zip"),
    ],
)
def test_a_path_that_is_a_name_names_the_download(path: str, name: str) -> None:
    answer = client(lambda request: BytesLayout(DATA)).get(path)
    assert answer.headers["Content-Disposition"].partition(";")[2].startswith(f' filename="{name}"')


def test_what_resolve_is_given() -> None:
    seen: list[Request] = []

    def resolve(request: Request) -> None:
        seen.append(request)

    answer = Client(wsgi_app(resolve)).get("/ä/b?q=1&r=%20", base_url="http://x/mounted", headers={"X-Who": "me"})
    assert (answer.status_code, answer.data) == (404, b"Not Found\n")
    (request,) = seen
    assert (request.method, request.root, request.path) == ("GET", "/mounted", "/ä/b")
    assert request.query == "q=1&r=%20"
    assert request.headers["x-who"] == "me"
    assert request.raw["REQUEST_METHOD"] == "GET"
    with pytest.raises(AttributeError):
        request.path = "/other"  # type: ignore[misc]


def test_mounted_in_flask() -> None:
    app = Flask(__name__)
    app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, {"/archives": wsgi_app(lambda request: [("path.txt", f"{request.root} {request.path}".encode())])}
    )
    answer = app.test_client().get("/archives/a.zip")
    assert members(answer.data) == {"path.txt": b"/archives /a.zip"}
    assert app.test_client().get("/other").status_code == 404


def test_other_methods_are_refused_unresolved() -> None:
    def resolve(request: Request) -> Any:
        raise AssertionError("nobody should ask")

    answer = client(resolve).post("/", data=b"data")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


class Started:
    """What start_response was called with."""

    def __init__(self) -> None:
        self.with_: list[Any] = []

    def __call__(self, *arguments: Any) -> Callable[[bytes], object]:
        self.with_.append(arguments)
        return lambda data: None


ENVIRON = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}


def test_what_fails_before_the_first_byte_starts_nothing() -> None:
    layout = BytesLayout(DATA, fails_at=0)
    failing: list[tuple[Any, type[Exception]]] = [
        (lambda request: layout, ZipStreamError),
        (lambda request: [("gone.txt", Path("/nowhere/at all"))], ZipStreamError),
        (lambda request: [("../up.txt", b"")], ZipStreamError),
        (lambda request: {}[request], KeyError),
    ]
    for resolve, error in failing:
        started = Started()
        with pytest.raises(error):
            wsgi_app(resolve)(ENVIRON, started)
        assert started.with_ == []
    assert (len(layout.opened), layout.closed) == (1, 1)


def test_an_oserror_is_carried() -> None:
    with pytest.raises(ZipStreamError, match="the disk broke") as caught:
        wsgi_app(lambda request: BytesLayout(DATA, fails_at=0))(ENVIRON, Started())
    assert isinstance(caught.value.__cause__, OSError)


def test_what_fails_later_comes_out_of_the_iterator() -> None:
    layout = BytesLayout(DATA, fails_at=1000)
    started = Started()
    body = wsgi_app(lambda request: layout)(ENVIRON, started)
    assert started.with_[0][0] == "200 OK"
    with pytest.raises(ZipStreamError, match="the disk broke") as caught:
        list(body)
    assert isinstance(caught.value.__cause__, OSError)
    body.close()  # type: ignore[attr-defined]
    assert (len(layout.opened), layout.closed) == (1, 1)


def test_a_server_that_does_not_start_closes_all() -> None:
    layout = BytesLayout(DATA)

    def start_response(*arguments: Any) -> Any:
        raise ConnectionError("no")

    with pytest.raises(ConnectionError):
        wsgi_app(lambda request: layout)(ENVIRON, start_response)
    assert (len(layout.opened), layout.closed) == (1, 1)


def test_a_client_that_leaves_closes_all() -> None:
    layout = BytesLayout(DATA)
    body = wsgi_app(lambda request: layout)(ENVIRON, Started())
    next(iter(body))
    assert layout.closed == 0
    body.close()  # type: ignore[attr-defined]
    assert layout.closed == 1


@pytest.mark.parametrize(
    "found", ["photos.zip", b"data", Path("photos"), {"name": "a"}, 5, object(), Download("a.zip")]
)
def test_what_resolve_must_not_return(found: Any) -> None:
    with pytest.raises(EntryTypeError, match=r"resolve returned .*return an iterable of entries"):
        wsgi_app(lambda request: found)(ENVIRON, Started())


def test_an_asynchronous_stream_is_for_the_other_one() -> None:
    with pytest.raises(EntryTypeError, match="asynchronous"):
        wsgi_app(lambda request: async_stream_zip([]))(ENVIRON, Started())  # type: ignore[arg-type, return-value]


def test_options_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="compresion"):
        wsgi_app(lambda request: None, compresion="deflate")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="compression="):
        wsgi_app(lambda request: None, compression="zip")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="resolve="):
        wsgi_app([("a", b"a")])  # type: ignore[arg-type]
