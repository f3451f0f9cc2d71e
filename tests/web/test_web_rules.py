"""The rules of RFC 9110 for conditions and ranges, and what is answered: a table."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.layouts import CHANGED_FIELD, BytesLayout
from zipstream_adapter import stream_zip
from zipstream_adapter.web import Answer, respond

DATA = bytes(range(100)) * 10
SIZE = len(DATA)
EARLIER, LATER = "Fri, 02 Jan 2026 03:04:04 GMT", "Fri, 02 Jan 2026 03:04:06 GMT"
TAG = '"tag"'
WHOLE = (0, SIZE)


def ask(method: str = "GET", layout: Any = None, **fields: str) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return respond(layout or BytesLayout(DATA), method, headers, filename="a.zip")


# (section, what it says, the request, status, the bytes; None for a body that is no part of the archive)
RULES: list[tuple[str, str, dict[str, str], int, tuple[int, int] | None]] = [
    ("14.2", "no Range: the whole", {}, 200, WHOLE),
    ("14.1.2", "first to last, both inclusive", {"range": "bytes=0-0"}, 206, (0, 1)),
    ("14.1.2", "in the middle", {"range": "bytes=10-19"}, 206, (10, 20)),
    ("14.1.2", "to the end", {"range": "bytes=990-"}, 206, (990, SIZE)),
    ("14.1.2", "from the beginning to the end", {"range": "bytes=0-"}, 206, WHOLE),
    ("14.1.2", "a last position past the end is the end", {"range": "bytes=990-99999"}, 206, (990, SIZE)),
    ("14.1.2", "a suffix", {"range": "bytes=-10"}, 206, (990, SIZE)),
    ("14.1.2", "a suffix longer than everything is everything", {"range": "bytes=-99999"}, 206, WHOLE),
    ("14.1.2", "a first position at the end is unsatisfiable", {"range": "bytes=1000-"}, 416, None),
    ("14.1.2", "a first position past the end, too", {"range": "bytes=99999-100000"}, 416, None),
    ("14.1", "units are case-insensitive", {"range": "Bytes=0-0"}, 206, (0, 1)),
    ("14.2", "an unknown unit is ignored", {"range": "lines=0-0"}, 200, WHOLE),
    ("14.1.1", "first after last is invalid, and ignored", {"range": "bytes=5-2"}, 200, WHOLE),
    ("14.1.1", "no position is invalid", {"range": "bytes=-"}, 200, WHOLE),
    ("14.1.1", "no range is invalid", {"range": "bytes="}, 200, WHOLE),
    ("14.1.1", "letters are invalid", {"range": "bytes=a-b"}, 200, WHOLE),
    ("14.1.1", "signs are invalid", {"range": "bytes=+1-2"}, 200, WHOLE),
    ("14.1.1", "other scripts' digits are invalid", {"range": "bytes=\u0663-\u0664"}, 200, WHOLE),
    ("14.1.1", "digits are not grouped", {"range": "bytes=1_0-20"}, 200, WHOLE),
    ("14.2", "a Range field given twice is invalid", {"range": "bytes=0-0, bytes=2-3"}, 200, WHOLE),
    ("14.2", "numbers of any length", {"range": "bytes=" + "9" * 3000 + "-"}, 416, None),
    ("14.2", "numbers that Python would not convert", {"range": "bytes=" + "9" * 9000 + "-"}, 416, None),
    ("14.2", "also in a suffix", {"range": "bytes=-" + "9" * 9000}, 206, WHOLE),
    ("14.1.2", "zeros in front", {"range": "bytes=" + "0" * 9000 + "1-0002"}, 206, (1, 3)),
    ("14.1.2", "a suffix of nothing is unsatisfiable", {"range": "bytes=-0"}, 416, None),
    ("14.1.2", "however it is written", {"range": "bytes=-000"}, 416, None),
    ("14.1.2", "beside one that can be satisfied", {"range": "bytes=-0,0-9"}, 206, (0, 10)),
    ("14.1.2", "or behind it", {"range": "bytes=0-9,-0"}, 206, (0, 10)),
    ("5.6.1.2", "an empty element at the end", {"range": "bytes=0-9,"}, 206, (0, 10)),
    ("5.6.1.2", "an empty element at the beginning", {"range": "bytes=,0-9"}, 206, (0, 10)),
    ("5.6.1.2", "empty elements and white space", {"range": "bytes= ,\t, 0-9 , ,\t"}, 206, (0, 10)),
    ("5.6.1.2", "empty elements in between", {"range": "bytes=0-9, ,10-19"}, 206, (0, 20)),
    ("5.6.1.2", "nothing but empty elements is no range", {"range": "bytes=, ,"}, 200, WHOLE),
    ("14.2", "white space before the equals sign is invalid", {"range": "bytes =0-9"}, 200, WHOLE),
    ("14.1.1", "white space inside a range is invalid", {"range": "bytes=0 - 9"}, 200, WHOLE),
    ("14.2", "ranges that overlap may be ignored", {"range": "bytes=0-9,5-14"}, 200, WHOLE),
    ("14.2", "ranges out of order may be ignored", {"range": "bytes=20-29,0-9"}, 200, WHOLE),
    ("15.3.7.2", "of two, one is satisfiable: no multipart", {"range": "bytes=0-9,2000-2001"}, 206, (0, 10)),
    ("15.3.7.2", "ranges that touch are joined", {"range": "bytes=0-9,10-19"}, 206, (0, 20)),
    ("15.3.7.2", "a suffix that reaches into another is joined", {"range": "bytes=900-989,-50"}, 206, (900, SIZE)),
    ("14.2", "of two, none is satisfiable", {"range": "bytes=1000-1001,2000-"}, 416, None),
    ("13.1.5", "If-Range with the tag", {"range": "bytes=0-0", "if_range": TAG}, 206, (0, 1)),
    ("13.1.5", "If-Range with another tag", {"range": "bytes=0-0", "if_range": '"other"'}, 200, WHOLE),
    ("13.1.5", "If-Range with a weak tag", {"range": "bytes=0-0", "if_range": 'W/"tag"'}, 200, WHOLE),
    ("13.1.5", "If-Range with a bare tag", {"range": "bytes=0-0", "if_range": "tag"}, 200, WHOLE),
    ("13.1.5", "If-Range is one tag, no list", {"range": "bytes=0-0", "if_range": '"tag", "b"'}, 200, WHOLE),
    ("13.1.5", "If-Range is no star", {"range": "bytes=0-0", "if_range": "*"}, 200, WHOLE),
    ("13.1.5", "a date is no strong validator", {"range": "bytes=0-0", "if_range": CHANGED_FIELD}, 200, WHOLE),
    ("13.1.5", "nor is a later one", {"range": "bytes=0-0", "if_range": LATER}, 200, WHOLE),
    ("13.1.5", "If-Range without Range is ignored", {"if_range": '"other"'}, 200, WHOLE),
    ("13.1.5", "it stands above 416", {"range": "bytes=1000-", "if_range": '"other"'}, 200, WHOLE),
    ("13.1.1", "If-Match with the tag", {"if_match": TAG}, 200, WHOLE),
    ("13.1.1", "If-Match with it in a list", {"if_match": '"a", "tag" , "b"'}, 200, WHOLE),
    ("13.1.1", "If-Match with a star", {"if_match": "*"}, 200, WHOLE),
    ("5.6.1.2", "If-Match with empty elements", {"if_match": ', ,"a",, "tag" ,'}, 200, WHOLE),
    ("8.8.3", "a tag without quotes is none", {"if_match": "tag"}, 412, None),
    ("8.8.3", "nor is one beside others", {"if_match": '"a", tag'}, 412, None),
    ("8.8.3", "a comma is part of a tag", {"if_match": '"a,"tag","b"'}, 412, None),
    ("13.1.1", "a star is no element of a list", {"if_match": '*, "a"'}, 412, None),
    ("13.1.1", "If-Match with others", {"if_match": '"a", "b"'}, 412, None),
    ("13.1.1", "If-Match compares strongly", {"if_match": 'W/"tag"'}, 412, None),
    ("13.2.2", "If-Match stands above a range", {"if_match": '"a"', "range": "bytes=0-0"}, 412, None),
    ("13.2.2", "and above 304", {"if_match": '"a"', "if_none_match": TAG}, 412, None),
    ("13.2.2", "and holds with a range", {"if_match": TAG, "range": "bytes=0-0"}, 206, (0, 1)),
    ("13.1.4", "If-Unmodified-Since before", {"if_unmodified_since": EARLIER}, 412, None),
    ("13.1.4", "If-Unmodified-Since, the second", {"if_unmodified_since": CHANGED_FIELD}, 200, WHOLE),
    ("13.1.4", "If-Unmodified-Since after", {"if_unmodified_since": LATER}, 200, WHOLE),
    ("13.1.4", "which is no date is ignored", {"if_unmodified_since": "yesterday"}, 200, WHOLE),
    ("13.1.4", "two dates are ignored", {"if_unmodified_since": f"{EARLIER}, {EARLIER}"}, 200, WHOLE),
    ("5.6.7", "a date of another zone is none", {"if_unmodified_since": "Fri, 02 Jan 2026 03:04:04 -0000"}, 200, WHOLE),
    ("5.6.7", "nor is one without its day", {"if_unmodified_since": "02 Jan 2026 03:04:04 GMT"}, 200, WHOLE),
    ("5.6.7", "nor one in small letters", {"if_unmodified_since": EARLIER.lower()}, 200, WHOLE),
    ("5.6.7", "in asctime", {"if_unmodified_since": "Fri Jan  2 03:04:04 2026"}, 412, None),
    ("5.6.7", "as RFC 850 has it", {"if_unmodified_since": "Friday, 02-Jan-26 03:04:04 GMT"}, 412, None),
    (
        "8.8.2.2",
        "an archive of that date can be another",
        {"if_unmodified_since": LATER, "range": "bytes=0-0"},
        200,
        WHOLE,
    ),
    (
        "13.1.5",
        "but not if the tag is the same",
        {"if_unmodified_since": LATER, "range": "bytes=0-0", "if_range": TAG},
        206,
        (0, 1),
    ),
    (
        "13.2.2",
        "also in If-Match",
        {"if_unmodified_since": LATER, "range": "bytes=0-0", "if_match": TAG},
        206,
        (0, 1),
    ),
    ("13.2.2", "If-Match takes its place", {"if_match": TAG, "if_unmodified_since": EARLIER}, 200, WHOLE),
    ("13.1.2", "If-None-Match with the tag", {"if_none_match": TAG}, 304, None),
    ("13.1.2", "If-None-Match compares weakly", {"if_none_match": 'W/"tag"'}, 304, None),
    ("13.1.2", "If-None-Match with it in a list", {"if_none_match": '"a", W/"tag"'}, 304, None),
    ("13.1.2", "If-None-Match with a star", {"if_none_match": "*"}, 304, None),
    ("5.6.1.2", "If-None-Match with empty elements", {"if_none_match": ', ,"a",, W/"tag",'}, 304, None),
    ("8.8.3", "If-None-Match without quotes", {"if_none_match": "tag"}, 200, WHOLE),
    ("8.8.3", "If-None-Match with a small w", {"if_none_match": 'w/"tag"'}, 200, WHOLE),
    ("8.8.3", "If-None-Match with an empty tag", {"if_none_match": '""'}, 200, WHOLE),
    ("13.1.2", "If-None-Match with others", {"if_none_match": '"a", "b"'}, 200, WHOLE),
    ("13.1.2", "If-None-Match that is malformed", {"if_none_match": '"tag'}, 200, WHOLE),
    ("13.2.2", "304 stands above a range", {"if_none_match": TAG, "range": "bytes=0-0"}, 304, None),
    ("13.2.2", "also above one that is unsatisfiable", {"if_none_match": TAG, "range": "bytes=1000-"}, 304, None),
    ("13.1.3", "If-Modified-Since before", {"if_modified_since": EARLIER}, 200, WHOLE),
    (
        "8.8.2.2",
        "If-Modified-Since, the second: an older member can be another",
        {"if_modified_since": CHANGED_FIELD},
        200,
        WHOLE,
    ),
    ("8.8.2.2", "also If-Modified-Since after", {"if_modified_since": LATER}, 200, WHOLE),
    ("8.8.2.2", "also with a range", {"if_modified_since": LATER, "range": "bytes=0-0"}, 206, (0, 1)),
    ("13.1.3", "which is no date is ignored", {"if_modified_since": "tomorrow"}, 200, WHOLE),
    ("13.2.2", "If-None-Match takes its place", {"if_none_match": '"a"', "if_modified_since": LATER}, 200, WHOLE),
    ("13.2.2", "also where it is malformed", {"if_none_match": '"tag', "if_modified_since": LATER}, 200, WHOLE),
    ("5.1", "names of fields are case-insensitive", {"RANGE": "bytes=0-0", "If_Range": TAG}, 206, (0, 1)),
]


@pytest.mark.parametrize(("section", "rule", "fields", "status", "sent"), RULES, ids=[f"{r[0]} {r[1]}" for r in RULES])
def test_get(section: str, rule: str, fields: dict[str, str], status: int, sent: tuple[int, int] | None) -> None:
    answer = ask("GET", **fields)
    body = b"".join(answer.body())
    assert answer.status == status
    if sent:
        start, stop = sent
        assert body == DATA[start:stop]
        assert answer.headers["Content-Length"] == str(stop - start)
        assert answer.headers.get("Content-Range") == (f"bytes {start}-{stop - 1}/{SIZE}" if status == 206 else None)
    elif status == 416:
        assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    assert "multipart" not in answer.headers.get("Content-Type", "")


@pytest.mark.parametrize(("section", "rule", "fields", "status", "sent"), RULES, ids=[f"{r[0]} {r[1]}" for r in RULES])
def test_head(section: str, rule: str, fields: dict[str, str], status: int, sent: tuple[int, int] | None) -> None:
    """HEAD is GET without a body, but Range is for GET only (section 14.2)."""
    layout = BytesLayout(DATA)
    answer = ask("HEAD", layout, **fields)
    assert b"".join(answer.body()) == b""
    assert layout.opened == []
    ranged = status in (206, 416)
    assert answer.status == (200 if ranged else status)
    if answer.status == 200:
        assert answer.headers == ask("GET").headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "BREW"])
def test_other_methods(method: str) -> None:
    answer = ask(method, range="bytes=0-0", if_match='"a"')
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert "ETag" not in answer.headers


def test_a_206_has_the_fields_of_the_200() -> None:
    """Section 15.3.7: Date is the server's; Content-Location and Expires are the user's."""
    extra = {"Vary": "Cookie", "Cache-Control": "private", "Expires": "0", "X-Mine": "1"}
    layout = BytesLayout(DATA)
    whole = respond(layout, "GET", filename="a.zip", extra=extra)
    part = respond(layout, "GET", {"Range": "bytes=5-9"}, filename="a.zip", extra=extra)
    assert part.headers.pop("Content-Range") == f"bytes 5-9/{SIZE}"
    assert part.headers.pop("Content-Length") == "5"
    assert whole.headers.pop("Content-Length") == str(SIZE)
    assert part.headers == whole.headers
    assert part.headers == {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-transform",
        "Content-Disposition": 'attachment; filename="a.zip"',
        "Content-Encoding": "identity",
        "Content-Type": "application/zip",
        "ETag": TAG,
        "Expires": "0",
        "Last-Modified": CHANGED_FIELD,
        "Vary": "Cookie",
        "X-Mine": "1",
    }


def test_a_304_has_no_field_of_the_body() -> None:
    """Section 15.4.5: those that a cache needs; Last-Modified only where there is no entity-tag."""
    extra = {"Vary": "Cookie", "Cache-Control": "max-age=60"}
    answer = respond(BytesLayout(DATA), "GET", {"If-None-Match": TAG}, filename="a.zip", extra=extra)
    told = {"ETag": TAG, "Vary": "Cookie", "Cache-Control": "max-age=60, no-transform"}
    assert (answer.status, answer.headers) == (304, told)
    untagged = BytesLayout(DATA, etag=None)
    answer = respond(untagged, "GET", {"If-None-Match": "*"}, filename="a.zip")
    assert (answer.status, answer.headers["Last-Modified"]) == (304, CHANGED_FIELD)


@pytest.mark.parametrize("fields", [{"range": "bytes=1000-"}, {"if_match": '"a"'}])
def test_a_refusal_says_nothing_of_the_archive(fields: dict[str, str]) -> None:
    """It must not be cached for as long as the archive, nor be taken for it."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    extra = {"Vary": "Cookie", "Cache-Control": "max-age=60", "Content-Type": "application/epub+zip"}
    answer = respond(BytesLayout(DATA), "GET", headers, filename="a.zip", extra=extra)
    assert answer.status in (412, 416)
    assert answer.headers["Vary"] == "Cookie"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Length"] == str(len(b"".join(answer.body())))
    assert not {"ETag", "Last-Modified", "Cache-Control", "Content-Disposition"} & set(answer.headers)


@pytest.mark.parametrize("if_range", [{}, {"if_range": '"tag"'}, {"if_range": CHANGED_FIELD}])
def test_without_a_tag_there_are_no_ranges(if_range: dict[str, str]) -> None:
    """Nobody could tell whether two of them are of the same archive."""
    answer = ask("GET", BytesLayout(DATA, etag=None), range="bytes=0-9", **if_range)
    assert (answer.status, b"".join(answer.body())) == (200, DATA)
    assert "Accept-Ranges" not in answer.headers
    assert answer.headers["Content-Length"] == str(SIZE)


STREAMED = [
    ({}, 200),
    ({"range": "bytes=0-9"}, 200),
    ({"range": "bytes=99999999-"}, 200),
    ({"if_match": '"a"'}, 412),
    ({"if_match": "*"}, 200),
    ({"if_none_match": '"a"'}, 200),
    ({"if_none_match": "*"}, 304),
    ({"if_modified_since": LATER}, 200),
    ({"if_unmodified_since": EARLIER}, 200),
]


@pytest.mark.parametrize(("fields", "status"), STREAMED, ids=lambda value: str(value))
def test_a_stream_has_no_validators_and_no_ranges(fields: dict[str, str], status: int) -> None:
    entries = [("a.txt", b"a" * 100)]
    with stream_zip(entries) as stream:
        answer = ask("GET", stream, **fields)
        body = b"".join(answer.body())
    assert answer.status == status
    assert not {"ETag", "Last-Modified", "Accept-Ranges", "Content-Range"} & set(answer.headers)
    if status == 200:
        assert body[:4] == b"PK\3\4"
        assert "Content-Length" not in answer.headers or answer.headers["Content-Length"] == str(len(body))
