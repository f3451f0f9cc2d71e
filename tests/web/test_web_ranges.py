"""Several ranges in one request, hostile ones, and the laws that hold for any."""

from __future__ import annotations

import email
import email.policy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.layouts import BytesLayout, archive
from zipstream_adapter.web import Answer, respond
from zipstream_adapter.web.ranges import MOST_RANGES

DATA = archive()
SIZE = len(DATA)


def ranged(value: str, data: bytes = DATA, **extra: str) -> Answer:
    fields = {name.replace("_", "-"): field for name, field in extra.items()}
    return respond(BytesLayout(data), "GET", {"Range": value}, filename="a.zip", extra=fields)


def parts(answer: Answer) -> list[tuple[str, bytes]]:
    """(Content-Range, data) of each part, as the standard library's MIME parser takes a body apart."""
    body = b"".join(answer.body())
    assert answer.headers["Content-Length"] == str(len(body)) == str(answer.size)
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert message.is_multipart() and not message.defects
    boundary = message.get_boundary()
    assert boundary is not None and boundary.encode() not in DATA
    assert len(boundary) <= 70  # RFC 2046 section 5.1.1
    # The parser knows lines of text only; the bytes are cut out here.
    blocks = body.removesuffix(f"\r\n--{boundary}--\r\n".encode()).split(f"--{boundary}\r\n".encode())[1:]
    assert len(blocks) == len(list(message.iter_parts()))
    found = []
    for number, block in enumerate(blocks, 1):
        fields, data = block.split(b"\r\n\r\n", 1)
        told = email.message_from_bytes(fields)
        assert told["Content-Type"] == "application/zip"
        found.append((told["Content-Range"], data if number == len(blocks) else data.removesuffix(b"\r\n")))
    return found


def test_several_ranges_come_as_parts() -> None:
    answer = ranged("bytes=0-3, 100-299,-22")
    assert answer.status == 206
    assert re.fullmatch(r"multipart/byteranges; boundary=[0-9a-f]{32}", answer.headers["Content-Type"])
    assert "Content-Range" not in answer.headers  # RFC 9110 section 15.3.7.2
    assert parts(answer) == [
        (f"bytes 0-3/{SIZE}", DATA[:4]),
        (f"bytes 100-299/{SIZE}", DATA[100:300]),
        (f"bytes {SIZE - 22}-{SIZE - 1}/{SIZE}", DATA[-22:]),
    ]
    assert answer.headers["ETag"] == '"tag"'


def test_parts_are_of_the_users_type() -> None:
    body = b"".join(ranged("bytes=0-3,100-299", Content_Type="application/epub+zip").body())
    assert body.count(b"Content-Type: application/epub+zip\r\n") == 2


def test_of_parts_only_those_that_exist_come() -> None:
    assert parts(ranged(f"bytes=0-3,100-299,{SIZE}-"))[1:] == [(f"bytes 100-299/{SIZE}", DATA[100:300])]


def test_as_many_as_are_sensible() -> None:
    few = ",".join(f"{at}-{at}" for at in range(0, 2 * MOST_RANGES, 2))
    assert len(parts(ranged(f"bytes={few}"))) == MOST_RANGES
    assert ranged(f"bytes={few},500-500").status == 200


@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 20_000, 2)),
        "bytes=" + ",".join(["0-"] * 10_000),
        "bytes=" + ",".join(["-1"] * 10_000),
        "bytes=" + ",".join(f"0-{at}" for at in range(10_000)),
        "bytes=" + "," * 100_000,
        "bytes=" + " " * 100_000 + "0-0x",
        "bytes=" + "-" * 100_000,
        "=" * 100_000,
    ],
    ids=["many", "whole", "suffixes", "prefixes", "commas", "spaces", "dashes", "signs"],
)
def test_hostile_ranges_get_the_whole_once(value: str) -> None:
    layout = BytesLayout(DATA)
    answer = respond(layout, "GET", {"Range": value}, filename="a.zip")
    assert answer.status == 200
    assert b"".join(answer.body()) == DATA
    assert layout.opened == [(0, SIZE)]


numbers = st.integers(0, 400) | st.integers(0, 2**80)
one = st.builds("{}-{}".format, numbers, numbers) | st.builds("{}-".format, numbers) | st.builds("-{}".format, numbers)


@given(st.binary(max_size=300), st.lists(one, min_size=1, max_size=5).map(", ".join))
def test_any_ranges_are_slices_of_the_whole(data: bytes, asked: str) -> None:
    layout = BytesLayout(data, chunk=7)
    answer = respond(layout, "GET", {"Range": f"bytes={asked}"}, filename="a.zip")
    body = b"".join(answer.body())
    assert len(body) == int(answer.headers["Content-Length"])
    assert sum((stop or 0) - start for start, stop in layout.opened) <= len(data)
    assert layout.closed == len(layout.opened)
    if answer.status == 200:
        assert body == data
    elif answer.status == 416:
        assert answer.headers["Content-Range"] == f"bytes */{len(data)}"
    elif "Content-Range" in answer.headers:
        first, last, size = map(int, re.findall(r"\d+", answer.headers["Content-Range"]))
        assert (size, body) == (len(data), data[first : last + 1])
    else:
        for said, part in re.findall(rb"Content-Range: bytes (\S+)\r\n\r\n(.*?)\r\n--", body, re.DOTALL):
            first, last, size = map(int, re.findall(rb"\d+", said))
            assert part == data[first : last + 1] and size == len(data)
