"""`respond` with a real layout: ranges are slices of the stream, and a file that changes never mixes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.test_web_answer import BOTH, take
from zipstream_adapter import Entry, SourceChangedError, ZipLayout, stream_zip, walk
from zipstream_adapter.web import respond, wsgi_app
from zipstream_adapter.web.response import is_layout

DATE = datetime(2026, 1, 1, tzinfo=UTC)
ENTRIES = [
    Entry("a.txt", b"some text\n" * 50, modified=DATE),
    Entry("big.bin", bytes(range(256)) * 1024, modified=DATE),
    Entry.directory("d", modified=DATE),
]
WHOLE = b"".join(stream_zip(ENTRIES))


def test_a_layout_is_one_for_the_web() -> None:
    layout = ZipLayout(ENTRIES)
    assert is_layout(layout) and not is_layout(stream_zip(ENTRIES))
    answer = respond(layout, "HEAD", filename="a.zip")
    assert answer.headers["Content-Length"] == str(len(WHOLE))
    assert answer.headers["Last-Modified"] == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert answer.headers["ETag"] == f'"{ZipLayout(ENTRIES).etag}"'


places = st.integers(0, len(WHOLE) + 10)


@given(places, places, st.sampled_from(["sync", "async"]))
def test_any_range_is_a_slice_of_the_stream(one: int, other: int, how: str) -> None:
    start, last = sorted((one, other))
    layout = ZipLayout(ENTRIES)
    headers = {"Range": f"bytes={start}-{last}", "If-Range": f'"{layout.etag}"'}
    answer = respond(layout, "GET", headers, filename="a.zip")
    if start < len(WHOLE):
        assert (answer.status, take(answer, how)) == (206, WHOLE[start : last + 1])
    else:
        assert answer.status == 416


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    for name in "abc":
        (tmp_path / "tree" / name).write_bytes(name.encode() * 300_000)
    return tmp_path / "tree"


def test_a_change_between_two_requests_begins_anew(root: Path) -> None:
    first = respond(ZipLayout(walk(root)), "GET", {"Range": "bytes=0-99"}, filename="a.zip")
    tag = first.headers["ETag"]
    os.utime(root / "b", ns=(1, 10**18))
    answer = respond(ZipLayout(walk(root)), "GET", {"Range": "bytes=100-", "If-Range": tag}, filename="a.zip")
    assert answer.status == 200 and answer.headers["ETag"] != tag


def test_an_older_member_that_is_exchanged_is_no_304_and_no_range_of_the_other_archive() -> None:
    """The date of an archive is that of its newest member, and stays."""
    one, other = (
        ZipLayout([Entry("a", data, modified=datetime(2020, 1, 1, tzinfo=UTC)), Entry("b", b"2", modified=DATE)])
        for data in (b"1" * 99, b"9" * 99)
    )
    date = respond(one, "GET", filename="a.zip").headers["Last-Modified"]
    assert respond(other, "GET", filename="a.zip").headers["Last-Modified"] == date
    assert respond(other, "GET", {"If-Modified-Since": date}, filename="a.zip").status == 200
    ranged = {"Range": "bytes=50-", "If-Unmodified-Since": date}
    answer = respond(other, "GET", ranged, filename="a.zip")
    assert (answer.status, take(answer, "sync")) == (200, b"".join(other.iter_range()))
    assert respond(other, "GET", {**ranged, "If-Range": f'"{other.etag}"'}, filename="a.zip").status == 206
    assert respond(other, "GET", {**ranged, "If-Range": f'"{one.etag}"'}, filename="a.zip").status == 200
    assert respond(other, "GET", {**ranged, "If-Match": f'"{one.etag}"'}, filename="a.zip").status == 412


def test_nginx_is_kept_from_collecting_streams_only() -> None:
    """X-Accel-Buffering also keeps it from caching, which is right for a stream, and wrong for a layout."""
    assert respond(stream_zip(ENTRIES), "GET", filename="a.zip").headers["X-Accel-Buffering"] == "no"
    layout = ZipLayout([Entry("a", lambda: b"1", size=1, modified=DATE)])
    assert layout.etag is None
    for archive in (layout, ZipLayout(ENTRIES)):
        answer = respond(archive, "GET", filename="a.zip")
        assert "X-Accel-Buffering" not in answer.headers
        own = respond(archive, "GET", filename="a.zip", extra={"X-Accel-Buffering": "no"})
        assert own.headers == {**answer.headers, "X-Accel-Buffering": "no"}


@BOTH
def test_a_change_while_it_is_sent_breaks_it(root: Path, how: str) -> None:
    layout = ZipLayout(walk(root))
    (root / "c").write_bytes(b"C" * 300_000)
    with pytest.raises(SourceChangedError):
        take(respond(layout, "GET", filename="a.zip"), how)


def test_an_application_of_layouts(root: Path) -> None:
    def ask(fields: dict[str, str]) -> tuple[str, dict[str, str], bytes]:
        told: list[tuple[str, dict[str, str]]] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", **fields}
        body = wsgi_app(lambda request: ZipLayout(walk(root)))(
            environ,
            lambda status, headers, exc_info=None: told.append((status, dict(headers))),  # type: ignore[arg-type]
        )
        data = b"".join(body)
        body.close()  # type: ignore[attr-defined]
        return *told[0], data

    status, headers, whole = ask({})
    assert status == "200 OK" and len(whole) == int(headers["Content-Length"])
    assert ask({"HTTP_RANGE": "bytes=500000-"})[2] == whole[500_000:]
    assert ask({"HTTP_IF_NONE_MATCH": headers["ETag"]})[0] == "304 Not Modified"


def test_what_nobody_can_know_has_no_ranges() -> None:
    """The data of a callable, of which only the size is declared."""

    def data() -> Iterator[bytes]:
        yield b"0123456789"

    layout = ZipLayout([Entry("a", data, size=10, modified=DATE)])
    answer = respond(layout, "GET", {"Range": "bytes=0-9"}, filename="a.zip")
    assert answer.status == 200 and "ETag" not in answer.headers
    assert len(take(answer, "sync")) == layout.size
