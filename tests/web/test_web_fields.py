"""Header fields of a download: names of files, tags, dates, and what must not get into them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from tests.support.layouts import CHANGED, CHANGED_FIELD, BytesLayout
from zipstream_adapter import EntryTypeError, OptionError, web
from zipstream_adapter.web import respond, zip_headers
from zipstream_adapter.web.headers import by_lower_name, byte_ranges, check_filename, etag_matches, http_date

ROOT = Path(__file__).parents[2]


def disposition(filename: str) -> str:
    return zip_headers(filename)["Content-Disposition"]


def test_a_stream_of_unknown_size() -> None:
    assert zip_headers("photos.zip") == {
        "Content-Type": "application/zip",
        "Content-Disposition": 'attachment; filename="photos.zip"',
        "Cache-Control": "no-transform",
        "Content-Encoding": "identity",
        "X-Accel-Buffering": "no",
    }


def test_a_whole_layout() -> None:
    fields = zip_headers("photos.zip", size=2**70, etag="0f-x", last_modified=CHANGED)
    assert fields["Content-Length"] == str(2**70)
    assert fields["ETag"] == '"0f-x"'
    assert fields["Last-Modified"] == CHANGED_FIELD
    assert fields["Accept-Ranges"] == "bytes"
    assert "X-Accel-Buffering" not in fields  # nginx would not keep it


def test_ranges_are_promised_only_where_they_can_be_told_apart() -> None:
    assert "Accept-Ranges" not in zip_headers("a.zip", size=5)
    assert "Accept-Ranges" not in zip_headers("a.zip", etag="a")


@pytest.mark.parametrize(
    ("filename", "plain"),
    [
        ("my photos.zip", "my photos.zip"),
        ("a;b=c,d.zip", "a;b=c,d.zip"),
        ("Grüße.zip", "Gru_e.zip"),
        ("世界.zip", "__.zip"),
        ("👩‍🚀 trip.zip", "___ trip.zip"),
        ('a"b.zip', "a_b.zip"),
        ("it's.zip", "it_s.zip"),
        ("100%41.zip", "100_41.zip"),
        ("a:b|c?d*e<f>.zip", "a_b_c_d_e_f_.zip"),
        ("\u2100.zip", "a_c.zip"),  # whose ASCII spelling has a slash
        ("\uff0e\uff0e", "download.zip"),  # and two dots
        ("\u0301", "download.zip"),  # and nothing
        ("نسخة\u202e.zip", "_____.zip"),
    ],
)
def test_names_that_ascii_cannot_say(filename: str, plain: str) -> None:
    value = disposition(filename)
    assert value.isascii()
    assert value.startswith(f'attachment; filename="{plain}"')
    kind, options = parse_options_header(value)
    assert kind == "attachment"
    assert options["filename"] == filename
    if plain != filename:
        assert unquote(value.partition("filename*=UTF-8''")[2], errors="strict") == filename
    else:
        assert "filename*" not in value


@pytest.mark.parametrize(
    "filename",
    [
        "", ".", "..", " ", "...", ". .", "a/b.zip", "/a.zip", "a\\b.zip", "..\\a.zip", "a\r\nX-Evil: 1.zip", "a\n.zip",
        "a\0.zip", "a\x7f.zip", "a\x85.zip", "a\u2028.zip", "a\udc80.zip", "x" * 252 + ".zip", "世" * 84 + ".zip",
    ],
)  # fmt: skip
def test_names_that_are_refused(filename: str) -> None:
    with pytest.raises(OptionError, match=r"filename=.*Give a plain file name"):
        disposition(filename)


def test_the_longest_name() -> None:
    assert len(disposition("世" * 83 + ".zip")) < 1000


@pytest.mark.parametrize("filename", [None, b"a.zip", Path("a.zip"), 5])
def test_a_name_is_text(filename: Any) -> None:
    with pytest.raises(EntryTypeError, match="filename="):
        disposition(filename)


@given(st.text(max_size=60))
@example("a\r\n\r\n<script>")
def test_any_name_is_carried_or_refused(filename: str) -> None:
    try:
        check_filename(filename)
    except OptionError:
        with pytest.raises(OptionError):
            disposition(filename)
        return
    value = disposition(filename)
    assert value.isascii() and value.isprintable()
    assert parse_options_header(value)[1]["filename"] == filename


@pytest.mark.parametrize("etag", ["", '"a"', 'a"b', "a b", "W/ x", "a\r\nb", "ä", "a\x7f"])
def test_tags_that_are_refused(etag: str) -> None:
    with pytest.raises(OptionError, match="etag="):
        zip_headers("a.zip", etag=etag)


def test_a_tag_is_text() -> None:
    with pytest.raises(EntryTypeError, match="etag="):
        zip_headers("a.zip", etag=b"a")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [-1, True, 1.5, "5"])
def test_sizes_that_are_refused(size: Any) -> None:
    with pytest.raises(OptionError, match="size="):
        zip_headers("a.zip", size=size)


@pytest.mark.parametrize(
    ("date", "said"),
    [
        (CHANGED.replace(tzinfo=None), CHANGED_FIELD),
        (CHANGED.astimezone(timezone(timedelta(hours=9))), CHANGED_FIELD),
        (CHANGED.replace(microsecond=999_999), CHANGED_FIELD),
        (datetime(1980, 1, 1, tzinfo=UTC), "Tue, 01 Jan 1980 00:00:00 GMT"),
    ],
)
def test_dates(date: datetime, said: str) -> None:
    assert zip_headers("a.zip", last_modified=date)["Last-Modified"] == said


def test_a_date_of_the_future_is_now() -> None:
    """RFC 9110 section 8.8.2.1."""
    said = http_date(zip_headers("a.zip", last_modified=datetime(2107, 1, 1, tzinfo=UTC))["Last-Modified"])
    assert said is not None and abs((datetime.now(UTC) - said).total_seconds()) < 100


def test_a_date_is_a_datetime() -> None:
    with pytest.raises(EntryTypeError, match="last_modified="):
        zip_headers("a.zip", last_modified=12345)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "extra",
    [
        {"X-A": "a\r\nX-B: b"}, {"X-A": "ä"}, {"X-A": "a\0"}, {"X A": "a"}, {"X-A\r\n": "a"}, {"": "a"}, {"X-A": " a"},
        {"X-A": 5}, {5: "a"}, {"content-length": "5"}, {"ETag": '"a"'}, {"Last-Modified": CHANGED_FIELD},
        {"Content-Range": "bytes 0-1/2"}, {"Transfer-Encoding": "chunked"}, {"Connection": "close"},
        {"Accept-Ranges": "none"}, {"Content-Disposition": "inline"},
    ],
)  # fmt: skip
def test_fields_that_cannot_be_given(extra: Any) -> None:
    with pytest.raises(OptionError, match="header "):
        respond(BytesLayout(b"data"), "GET", filename="a.zip", extra=extra)


def test_fields_are_a_mapping() -> None:
    with pytest.raises(EntryTypeError, match="give a mapping"):
        respond(BytesLayout(b"data"), "GET", filename="a.zip", extra=[("Vary", "Cookie")])  # type: ignore[arg-type]


def test_a_requests_fields_from_any_framework() -> None:
    from starlette.datastructures import Headers as StarletteHeaders
    from werkzeug.datastructures import Headers

    raw = [(b"Range", b"bytes=0-"), (b"X-A", b"1"), (b"x-a", b"\xe4")]
    text = [(name.decode(), value.decode("latin-1")) for name, value in raw]
    expected = {"range": "bytes=0-", "x-a": "1, ä"}
    assert by_lower_name(raw) == by_lower_name(text) == by_lower_name(Headers(text)) == expected
    assert by_lower_name(StarletteHeaders(raw=[(name.lower(), value) for name, value in raw])) == expected
    assert by_lower_name({"Range": "bytes=0-"}) == {"range": "bytes=0-"}
    with pytest.raises(TypeError):
        by_lower_name(text)["range"] = ""  # type: ignore[index]


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        (" Sun, 06 Nov 1994 08:49:37 GMT\t", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Sun Nov  6 08:49:37 1994", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("Wed Nov 16 08:49:37 1994", datetime(1994, 11, 16, 8, 49, 37, tzinfo=UTC)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        *(
            (bad, None)
            for bad in (
                "",
                "0",
                "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
                "Sun, 06 Nov 1994 08:49:37 +0000",
                "Sun, 06 Nov 1994 08:49:37 UTC",
                "Sun, 06 Nov 1994 08:49:37",
                "Sun, 06 Nov 1994 08:49 GMT",
                "Sun, 6 Nov 1994 08:49:37 GMT",
                "06 Nov 1994 08:49:37 GMT",
                "Sun, 06 nov 1994 08:49:37 GMT",
                "Sun, 06-Nov-1994 08:49:37 GMT",
                "Sun, 31 Feb 1994 08:49:37 GMT",
                "Sun, 06 Nov 0000 08:49:37 GMT",
                "Sun, 06 Nov ١٩٩٤ 08:49:37 GMT",
                "1994-11-06T08:49:37Z",
            )
        ),
    ],
)
def test_only_an_http_date_is_a_date(value: str, date: datetime | None) -> None:
    """RFC 9110 section 5.6.7; a leap second is the one before it."""
    assert http_date(value) == date


def test_two_digits_of_a_year_are_at_most_50_years_ahead() -> None:
    now = datetime.now(UTC).year
    for ahead, year in ((0, now), (50, now + 50), (51, now - 49)):
        assert http_date(f"Monday, 01-Jan-{(now + ahead) % 100:02} 00:00:00 GMT") == datetime(year, 1, 1, tzinfo=UTC)


@given(st.text(st.characters(max_codepoint=255)))
@example('"' * 1000 + "W/" * 1000)
@example("Sat, 21 Nov 2026 12:00:00 +99999999999")
@example("Sat, 21 Nov " + "9" * 5000 + " 12:00:00 GMT")
@example("bytes=" + "0-0," * 5000)
def test_nothing_in_a_request_makes_them_fail(value: str) -> None:
    etag_matches(value, "tag", weak=True)
    http_date(value)
    byte_ranges(value)
    byte_ranges("bytes=" + value)


def test_what_the_room_shows() -> None:
    assert web.__all__ == sorted(web.__all__)
    assert [name for name in web.__all__ if not inspect.getdoc(getattr(web, name))] == []


def test_without_werkzeug_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['werkzeug'] = None\n"
        "import zipstream_adapter\n"
        "assert b''.join(zipstream_adapter.stream_zip([('a', b'a')]))\n"
        "try:\n    import zipstream_adapter.web\n"
        "except ImportError as exc:\n    assert \"'zipstream-adapter[web]'\" in str(exc), exc\n"
        "else:\n    raise SystemExit('it was imported')\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=200)


def test_the_package_does_without_web() -> None:
    code = (
        "import sys, zipstream_adapter\n"
        "zipstream_adapter.async_stream_zip([])\n"
        "assert not any(name.partition('.')[0] == 'werkzeug' or '.web' in name for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=200)


@pytest.mark.parametrize("headers", [{"Range": None}, {3: "a"}, [("Range", 7)]])
def test_fields_of_the_request_that_are_no_text_are_named(headers: Any) -> None:
    with pytest.raises(EntryTypeError, match=r"^header fields of the request: .* is neither str nor bytes"):
        by_lower_name(headers)
