"""Responses of HTTP clients as data: the status is checked, the length is held to, and each is closed once."""

from __future__ import annotations

import asyncio
import gzip
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import bodies, oracles
from tests.support.bodies import ASYNC_CLIENTS, CLIENTS, DATA
from tests.support.loops import module
from tests.support.sweeps import sample
from zipstream_adapter import (
    Entry,
    EntryTypeError,
    SizeMismatchError,
    StreamStateError,
    ZipLayout,
    ZipStreamError,
    async_stream_zip,
    stream_zip,
)
from zipstream_adapter.errors import RemoteError, RemoteNotFoundError, RemotePermissionError

_DECODING = {"urllib3", "urllib3 loaded", "requests", "requests loaded", "httpx loaded", "httpx stream", "aiohttp"}
_DECODING |= {"httpx", "httpx sent"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with bodies.serving() as address:
        yield address


def sync_archive(source: Any, **options: Any) -> bytes:
    return b"".join(stream_zip([("a", source)], **options))


async def _async_archive(source: Any, **options: Any) -> bytes:
    async with async_stream_zip([("a", source)], **options) as stream:
        return await stream.read()


def async_archive(source: Any, **options: Any) -> bytes:
    return asyncio.run(_async_archive(source, **options))


FACADES: dict[str, Callable[..., bytes]] = {"sync": sync_archive, "async": async_archive}
WAYS = [(facade, client) for facade in FACADES for client in CLIENTS]
WAYS += [("async", "= " + name) for name in ASYNC_CLIENTS]


@pytest.fixture(params=WAYS, ids=lambda way: "-".join(way).replace(" ", "_"))
def way(request: pytest.FixtureRequest) -> tuple[str, Callable[[str], bytes]]:
    facade, client = request.param
    name = client.removeprefix("= ")
    bodies.need(name)
    if client != name:

        def archive(url: str, **options: Any) -> bytes:
            work = bodies.ASYNC_CLIENTS[name](url, lambda source: _async_archive(source, **options))
            return asyncio.run(work)  # type: ignore[no-any-return]

        return name, archive
    return name, lambda url, **options: FACADES[facade](lambda: CLIENTS[client](url), **options)


@pytest.mark.parametrize("path", sample(["whole", "empty", "chunked", "gzip"], 3))
def test_a_whole_body_is_the_data(way: Any, server: str, path: str) -> None:
    client, archive = way
    data = {"empty": b""}.get(path, DATA)
    if path == "gzip" and client not in _DECODING:
        data = gzip.compress(DATA)
        with_header = oracles.members(archive(f"{server}/{path}"))["a"]
        assert gzip.decompress(with_header) == DATA
        return
    assert oracles.members(archive(f"{server}/{path}")) == {"a": data}


@pytest.mark.parametrize("path", ["cut", "chunked-cut", "gzip-cut"])
def test_a_cut_body_is_no_member(way: Any, server: str, path: str) -> None:
    _, archive = way
    with pytest.raises(Exception) as caught:  # the client's own, or SizeMismatchError
        archive(f"{server}/{path}")
    assert not isinstance(caught.value, AssertionError)
    try:
        rest = archive(f"{server}/{path}", on_error=lambda entry, exc: None)
    except Exception:
        return  # its first bytes have left
    assert oracles.members(rest) == {}


@pytest.mark.parametrize(
    ("path", "error"),
    sample(
        [
            ("404", RemoteNotFoundError),
            ("410", RemoteNotFoundError),
            ("403", RemotePermissionError),
            ("500", RemoteError),
            ("302", RemoteError),
            ("304", RemoteError),
            ("204", RemoteError),
        ],
        4,
    ),
)
def test_no_other_status_is_taken_for_data(way: Any, server: str, path: str, error: type[Exception]) -> None:
    client, archive = way
    url = f"{server}/{path}?token=secret"
    with pytest.raises(error, match=f"entry 'a': .*{path} ") as caught:
        archive(url)
    said = "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "secret" not in said
    if client not in ("http.client",):
        assert f"/{path}?…" in said
    skipped: list[Exception] = []
    assert oracles.members(archive(url, on_error=lambda entry, exc: skipped.append(exc))) == {}
    assert [type(exc) for exc in skipped] == [error]


def test_a_part_that_nobody_asked_for_is_no_data(way: Any, server: str) -> None:
    client, archive = way
    said = "no range was asked for"
    if client in ("urllib", "http.client", "urllib3", "urllib3 loaded"):  # they keep no request
        said = "does not tell whether it was asked for: if so, give its bytes"
    with pytest.raises(RemoteError, match=f"206 .*this is a part of the data, and .*{said}"):
        archive(f"{server}/part")


def test_a_part_that_is_all_of_the_data_is_a_whole_body(way: Any, server: str) -> None:
    _, archive = way
    assert oracles.members(archive(f"{server}/all-of-it")) == {"a": DATA}


@pytest.mark.parametrize("facade", FACADES)
def test_a_part_is_the_member_if_its_bytes_are_given(server: str, facade: str) -> None:
    with urllib.request.urlopen(f"{server}/part", timeout=60) as response:
        part = iter(lambda: response.read(4), b"")  # as the error says
        assert oracles.members(FACADES[facade](part))["a"] == DATA[10:20]


@pytest.mark.parametrize("facade", FACADES)
def test_a_part_of_the_body_of_requests_is_no_data(server: str, facade: str) -> None:
    requests = module("requests")
    with pytest.raises(RemoteError, match="this is a part of the data"):
        FACADES[facade](lambda: requests.get(f"{server}/part", stream=True, timeout=60).raw)


# Digits that int() does not take, and more of them than it takes.
ODD = [(None, f"bytes 0-{last}/5") for last in ("\u00b2", "9" * 5000, "", "-4")]


class _OtherClient:
    """A response with the interface of httpx, of a client that is not known."""

    status_code, reason_phrase, url = 206, "Partial Content", "http://host/a"

    def __init__(self, asked: dict[str, str] | None, part: str) -> None:
        self.headers = {"Content-Range": part}
        if asked is not None:
            self.request = type("Request", (), {"headers": asked})()

    def raise_for_status(self) -> None:
        raise AssertionError("the status is a number")

    def iter_bytes(self) -> Iterator[bytes]:
        yield b"01234"


@pytest.mark.parametrize("facade", FACADES)
def test_a_length_of_thousands_of_digits_is_none(facade: str) -> None:
    response = _OtherClient(None, "bytes 0-4/5")
    response.headers["Content-Length"] = "9" * 5000
    assert oracles.members(FACADES[facade](response)) == {"a": b"01234"}


@pytest.mark.parametrize("facade", FACADES)
def test_a_part_from_another_client_is_data_if_it_was_asked_for_or_is_all(facade: str) -> None:
    archive = FACADES[facade]
    for asked, part in (({"Range": "bytes=0-4"}, "bytes 0-4/10"), (None, "bytes 0-4/5"), ({}, "bytes 0-4/5")):
        assert oracles.members(archive(_OtherClient(asked, part))) == {"a": b"01234"}
    for asked, part in (
        (None, "bytes 0-4/10"),
        ({}, "bytes 0-4/10"),
        (None, "bytes 0-4/*"),
        (None, "bytes 5-9/10"),
        *ODD,
    ):
        with pytest.raises(RemoteError, match="this is a part of the data"):
            archive(_OtherClient(asked, part))


@pytest.mark.parametrize("facade", FACADES)
def test_a_part_that_was_asked_for_is(server: str, facade: str) -> None:
    requests = module("requests")

    def part() -> Any:
        return requests.get(f"{server}/part", stream=True, headers={"Range": "bytes=10-19"}, timeout=60)

    assert oracles.members(FACADES[facade](part))["a"] == DATA[10:20]


@pytest.mark.parametrize("facade", FACADES)
def test_the_answer_to_a_head_is_no_empty_member(server: str, facade: str) -> None:
    requests = module("requests")
    with pytest.raises(EntryTypeError, match="send a GET"):
        FACADES[facade](lambda: requests.head(f"{server}/empty", timeout=60))


@pytest.mark.parametrize("facade", FACADES)
@pytest.mark.parametrize("client", ["urllib", "http.client", "urllib3", "requests"])
def test_a_body_that_was_read_before_is_no_empty_member(server: str, client: str, facade: str) -> None:
    bodies.need(client)
    response = CLIENTS[client](f"{server}/chunked")
    if client == "requests":
        assert b"".join(response.iter_content(65536)) == DATA
    else:
        assert response.read() == DATA
    if client == "requests":
        response._content = False
    with pytest.raises(StreamStateError, match="was read before"):
        FACADES[facade](response)


@pytest.mark.parametrize("facade", FACADES)
@pytest.mark.parametrize("client", ["urllib", "http.client", "urllib3", "requests"])
def test_the_rest_of_a_body_is_data(server: str, client: str, facade: str) -> None:
    bodies.need(client)
    for path, whole in (("whole", True), ("cut", False)):
        response = CLIENTS[client](f"{server}/{path}")
        (response.raw if client == "requests" else response).read(1000)
        if whole:
            assert oracles.members(FACADES[facade](response))["a"] == DATA[1000:]
        else:
            with pytest.raises(ZipStreamError if "url" not in client and client != "requests" else Exception):
                FACADES[facade](response)


def _first_chunk_given_up(response: Any) -> None:
    assert next(response.iter_content(5)) == DATA[:5]  # the iterator is closed


def _read_within_a_chunk(response: Any) -> Any:
    chunks = response.iter_content(5)
    assert next(chunks) == DATA[:5]
    return chunks


@pytest.mark.parametrize("facade", FACADES)
@pytest.mark.parametrize(
    ("path", "use"),
    [
        ("chunked", _first_chunk_given_up),
        ("chunked", _read_within_a_chunk),
        ("chunked", lambda response: response.raw.read()),
        ("whole", lambda response: response.raw.read()),
        ("whole", lambda response: response.raw.read(len(DATA))),
        ("whole", lambda response: response.close()),
        ("gzip", lambda response: response.raw.read()),
    ],
)
def test_a_body_of_requests_of_which_nothing_is_left_is_no_empty_member(
    server: str, facade: str, path: str, use: Callable[[Any], Any]
) -> None:
    module("requests")
    response = CLIENTS["requests"](f"{server}/{path}")
    held = use(response)
    with pytest.raises(StreamStateError, match=f"the body of the response 200 .*/{path} was read before"):
        FACADES[facade](response)
    del held


@pytest.mark.parametrize("facade", FACADES)
def test_an_empty_body_of_requests_is_an_empty_member_also_if_it_was_read(server: str, facade: str) -> None:
    module("requests")
    response = CLIENTS["requests"](f"{server}/empty")
    assert response.raw.read() == b""
    assert oracles.members(FACADES[facade](response)) == {"a": b""}


def test_a_size_that_the_length_contradicts_is_refused_before_a_byte(server: str) -> None:
    stream = stream_zip([Entry("a", lambda: CLIENTS["urllib"](f"{server}/whole"), size=5)])
    with pytest.raises(SizeMismatchError, match="200000"):
        next(stream)


class _Counted:
    """Counts the closings of a response."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> None:
        self.count = 0
        original = getattr(kind, name)

        def close(response: Any) -> Any:
            self.count += 1
            return original(response)

        monkeypatch.setattr(kind, name, close)


@pytest.mark.parametrize("ending", ["end", "abandoned", "refused", "failed", "skipped"])
@pytest.mark.parametrize("facade", FACADES)
def test_it_is_closed_once(server: str, facade: str, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = module("requests")
    counted = _Counted(monkeypatch, requests.Response, "close")
    path = {"refused": "404", "skipped": "404", "failed": "cut"}.get(ending, "whole")
    url = f"{server}/{path}"

    def source() -> Any:
        return requests.get(url, stream=True, timeout=60)

    if ending == "abandoned":
        if facade == "sync":
            with stream_zip([("a", source)]) as stream:
                next(stream)
        else:

            async def leave() -> None:
                async with async_stream_zip([("a", source)]) as opened:
                    await anext(opened)

            asyncio.run(leave())
    elif ending in ("refused", "failed"):
        with pytest.raises(Exception):  # noqa: B017
            FACADES[facade](source)
    else:
        options = {"on_error": lambda entry, exc: None} if ending == "skipped" else {}
        FACADES[facade](source, **options)
    assert counted.count == 1


def test_a_context_manager_of_a_response_is_left_once(server: str) -> None:
    module("httpx")
    for facade in FACADES.values():
        entered = bodies.HttpxStream(f"{server}/whole")
        assert oracles.members(facade(entered)) == {"a": DATA}
        assert entered.left == 1


def test_the_loop_is_free_while_a_response_is_read(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    requests = module("requests")
    asked: list[bool] = []
    original = requests.Response.iter_content

    def iter_content(response: Any, size: int) -> Iterator[bytes]:
        for chunk in original(response, size):
            try:
                asyncio.get_running_loop()
                asked.append(True)
            except RuntimeError:
                asked.append(False)
            yield chunk

    def content(response: Any) -> bytes:
        raise AssertionError("the whole body was asked for")

    monkeypatch.setattr(requests.Response, "iter_content", iter_content)
    monkeypatch.setattr(requests.Response, "content", property(content))
    whole = async_archive(lambda: requests.get(f"{server}/whole", stream=True, timeout=60))
    assert oracles.members(whole) == {"a": DATA}
    assert asked
    assert not any(asked)


@pytest.mark.parametrize("client", ["aiohttp", "httpx"])
def test_an_asynchronous_response_is_refused_without_a_loop(server: str, client: str) -> None:
    module(client)

    async def main() -> None:
        async def work(source: Any) -> None:
            if client == "aiohttp":
                async with source() as response:
                    with pytest.raises(EntryTypeError, match="async_stream_zip"):
                        sync_archive(response)
            else:
                async with source() as response:
                    with pytest.raises(EntryTypeError, match="async_stream_zip"):
                        sync_archive(response)

        await ASYNC_CLIENTS[client](f"{server}/whole", work)

    asyncio.run(main())


def test_files_by_urllib_are_held_to_their_size(tmp_path: Any) -> None:
    import urllib.request

    path = tmp_path / "file"
    path.write_bytes(DATA)
    assert oracles.members(sync_archive(lambda: urllib.request.urlopen(path.as_uri()))) == {"a": DATA}

    def cut() -> Any:
        response = urllib.request.urlopen(path.as_uri())
        path.write_bytes(DATA[:1000])
        return response

    with pytest.raises(SizeMismatchError, match="Content-Length"):
        sync_archive(cut)
    assert oracles.members(sync_archive(lambda: urllib.request.urlopen("data:,hello"))) == {"a": b"hello"}


@pytest.mark.parametrize("facade", FACADES)
def test_a_file_by_urllib_that_was_read_is_no_empty_member(tmp_path: Any, facade: str) -> None:
    import urllib.request

    path = tmp_path / "file"
    path.write_bytes(DATA)
    for url in (path.as_uri(), "data:,hello"):
        response = urllib.request.urlopen(url)
        assert response.read()
        with pytest.raises(StreamStateError, match="was read before"):
            FACADES[facade](response)
    path.write_bytes(b"")
    response = urllib.request.urlopen(path.as_uri())
    assert response.read() == b""
    assert oracles.members(FACADES[facade](response)) == {"a": b""}


def test_a_range_of_a_layout_takes_the_end_of_a_response_that_can_be_seeked(tmp_path: Any) -> None:
    import urllib.request

    path = tmp_path / "file"
    path.write_bytes(DATA)
    layout = ZipLayout([Entry("a", lambda: urllib.request.urlopen(path.as_uri()), size=len(DATA), modified=10**9)])
    whole = b"".join(layout.iter_range())
    for start in (40, 1000, len(DATA) - 1000):
        assert b"".join(layout.iter_range(start)) == whole[start:]


def test_a_layout_asks_anew_for_each_range_and_takes_no_error_page(server: str) -> None:
    requests = module("requests")

    def layout(path: str) -> ZipLayout:
        source = lambda: requests.get(f"{server}/{path}", stream=True, timeout=60)  # noqa: E731
        return ZipLayout([Entry("a", source, size=len(DATA), crc32=zlib.crc32(DATA), modified=(2026, 1, 2, 3, 4, 6))])

    whole = b"".join(layout("whole").iter_range(0))
    assert oracles.members(whole) == {"a": DATA}
    assert b"".join(layout("whole").iter_range(150_000)) == whole[150_000:]
    with pytest.raises(RemoteNotFoundError):
        b"".join(layout("404").iter_range(0))
    with pytest.raises(Exception):  # noqa: B017
        b"".join(layout("cut").iter_range(0))
    response = requests.get(f"{server}/whole", stream=True, timeout=60)
    with response, pytest.raises(EntryTypeError, match="can be read only once"):
        ZipLayout([Entry("a", response, size=len(DATA))])
