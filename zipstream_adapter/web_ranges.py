"""What a request gets: which status, and which bytes. RFC 9110 sections 13.2.2 (conditions) and 14.2 (ranges)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple

from .web_fields import MEDIA_TYPE, byte_ranges, holds_etag, http_date, in_seconds, quoted_etag

# More ranges than this in one request are ignored: nobody who reads an archive needs them.
MOST_RANGES = 16


class Span(NamedTuple):
    """Bytes of a representation, from `start` up to `stop`."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """The value of Content-Range (RFC 9110 section 14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


Piece = bytes | Span


def length(pieces: Sequence[Piece]) -> int:
    """Bytes of all `pieces`."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.stop - piece.start for piece in pieces)


def condition(
    method: str, headers: Mapping[str, str], etag: str | None, last_modified: datetime | None
) -> HTTPStatus | None:
    """304 or 412 if a condition of the request says so, in the order of RFC 9110 section 13.2.2; else None.

    A date cannot tell that an archive is still the same: it is the newest of its members', and stays if an older one is
    exchanged. So If-Modified-Since is ignored, and If-Unmodified-Since only refuses what certainly is newer; see
    `spans` for the rest of it.

    method: GET or HEAD. headers: by lower-case name. etag, last_modified: of what would be sent, None if unknown.
    """
    if "if-match" in headers:
        if not holds_etag(headers["if-match"], etag, weak=False):
            return HTTPStatus.PRECONDITION_FAILED
    elif last_modified and (date := _unmodified_since(headers)) and in_seconds(last_modified) > date:
        return HTTPStatus.PRECONDITION_FAILED
    if "if-none-match" in headers and holds_etag(headers["if-none-match"], etag, weak=True):
        return HTTPStatus.NOT_MODIFIED
    return None


def _unmodified_since(headers: Mapping[str, str]) -> datetime | None:
    """The date of If-Unmodified-Since, unless If-Match takes its place."""
    return None if "if-match" in headers else http_date(headers.get("if-unmodified-since", ""))


def spans(method: str, headers: Mapping[str, str], etag: str | None, size: int) -> list[Span] | None:
    """The ranges to send, ascending and apart; none if none can be satisfied (416); None for the whole (200).

    Range is for GET, and is ignored if If-Range does not hold. That is compared exactly, with a strong entity-tag: a
    date never holds, as that of an archive is no strong validator (RFC 9110 section 8.8.2.2; see `condition`). So
    If-Unmodified-Since, too, gets the whole, unless a tag holds. Without an entity-tag nobody could tell whether two
    ranges belong together: then Range is ignored, too.
    """
    if method != "GET" or "range" not in headers or etag is None:
        return None
    if "if-range" in headers:
        if headers["if-range"].strip() != quoted_etag(etag):
            return None
    elif _unmodified_since(headers):
        return None
    asked = byte_ranges(headers["range"])
    if asked is None or len(asked) > MOST_RANGES:
        return None
    return _joined([span for start, stop in asked if (span := _span(start, stop, size))])


def _span(start: int, stop: int | None, size: int) -> Span | None:
    """What there is of a range; a suffix that is longer than everything is everything. None: nothing."""
    if start < 0:
        start = max(0, start + size)
    stop = size if stop is None else min(stop, size)
    return Span(start, stop) if start < stop else None


def _joined(found: list[Span]) -> list[Span]:
    """`found`, those that touch or overlap joined (a suffix can reach into the range before it)."""
    joined: list[Span] = []
    for span in sorted(found):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = Span(joined[-1].start, max(span.stop, joined[-1].stop))
        else:
            joined.append(span)
    return joined


def multipart(found: Sequence[Span], size: int, media_type: str = MEDIA_TYPE) -> tuple[str, list[Piece]]:
    """The media type and the pieces of several ranges (RFC 9110 section 14.6)."""
    boundary = secrets.token_hex(16)
    pieces: list[Piece] = []
    for number, span in enumerate(found):
        head = f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {span.content_range(size)}\r\n\r\n"
        pieces += [("\r\n" * bool(number) + head).encode("ascii"), span]
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return f"multipart/byteranges; boundary={boundary}", pieces
